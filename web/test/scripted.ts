// A scripted fleet: machines that say what a test wants, as the broker would pass it on.

import assert from "node:assert/strict";
import { Fleet } from "../src/dashboard/fleet";
import { read } from "../src/dashboard/messages";
import { rooms, type Room } from "../src/dashboard/room";
import type { Moment } from "../src/dashboard/sentences";

export const NOW = Date.parse("2026-05-01T10:00:00Z");
export const ago = (seconds: number): string => new Date(NOW - seconds * 1000).toISOString();
export const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
export const moment: Moment = { now: NOW, since: NOW - 60_000 };

/** Says something to the fleet, as the broker would pass it on. */
export function say(fleet: Fleet, topic: string, value: unknown, kept = false, now = NOW): void {
  const message = read(`backrow/${topic}`, bytes(value));
  assert.ok(message, `${topic} was not understood`);
  fleet.take(message, kept, now);
}

export function birth(fleet: Fleet, device: string, role: string, names: string[]): void {
  say(fleet, `${device}/state`, { v: 1, state: "ready" }, true);
  say(fleet, `${device}/birth`, { v: 1, device, role, version: "1", started: ago(9), rooms: names }, true);
}

export function health(fleet: Fleet, device: string, more: object, now = NOW): void {
  const at = new Date(now).toISOString();
  const told = { v: 1, at, mood: "happy", uptime_s: 9, events_dropped: 0, ...more };
  say(fleet, `${device}/health`, told, false, now);
}

export function component(fleet: Fleet, name: string, mood: string, reason: string, seconds = 30): void {
  const [device, ...rest] = name.split(":");
  const value = { v: 1, mood, since: ago(seconds), reason, restarts: 0 };
  say(fleet, `${device}/component/${rest.join(":")}`, value, true);
}

/** A room with a box and an encoder, both well. */
export function well(): Fleet {
  const fleet = new Fleet();
  birth(fleet, "hall-1", "collector", ["hall"]);
  birth(fleet, "enc", "encoder", ["hall", "attic"]);
  for (const name of ["capture", "picture", "sound", "uplink", "spool", "mqtt"]) {
    component(fleet, `hall-1:${name}`, "happy", "working");
  }
  component(fleet, "enc:hall.ingest", "happy", "hall-1 is publishing", 125);
  component(fleet, "enc:attic.ingest", "hungry", "nobody has published in room attic yet");
  health(fleet, "hall-1", { backlog_ms: 1500, lost_ms: 0, capture: { audio: [{ peak_db: -12 }] } });
  health(fleet, "enc", { rooms: { hall: { live: true, progressive_clients: 3, viewers: 12 } } });
  return fleet;
}

export function room(fleet: Fleet, name = "hall", at = moment): Room {
  const found = rooms(fleet, at).find((it) => it.name === name);
  assert.ok(found, `no room ${name}`);
  return found;
}
