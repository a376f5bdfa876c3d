// What comes from the broker: one topic and its bytes -> one message, or null. The broker keeps
// whatever anybody put there, so nothing is believed before it is looked at, and nothing grows:
// names, texts, lists and pictures have bounds. Shapes: firmware/protocol/src/payload.rs.

import { clip } from "./words";

export type Mood = "sleeping" | "happy" | "waking" | "hungry" | "sad" | "lost";
export type Life = "init" | "ready" | "sleeping" | "disconnected" | "alert" | "lost";
export type Role = "collector" | "encoder" | "unknown";
export type Answer = "accepted" | "done" | "refused" | "failed";

/** Numbers of a device; null where it tells none. */
export interface Health {
  /** By the device's clock, ms. */
  at: number;
  mood: Mood;
  uptimeS: number | null;
  load: number | null;
  memoryBytes: number | null;
  temperatureC: number | null;
  backlogMs: number | null;
  backlogBytes: number | null;
  lostMs: number | null;
  diskFreeBytes: number | null;
  /** Peak of each channel, dB below full scale. */
  levels: number[];
  /** Since when the picture is black, or the sound silent, by the device's clock; null: it is not. */
  blackSince: number | null;
  silentSince: number | null;
  framesDropped: number | null;
  /** Viewers of each room, from an encoder. */
  viewers: { [room: string]: number };
}

export type Message = { device: string } & (
  | { kind: "state"; life: Life }
  | { kind: "birth"; role: Role; version: string; started: number | null; rooms: string[] }
  | ({ kind: "health" } & Health)
  | { kind: "component"; name: string; mood: Mood; since: number; reason: string; restarts: number }
  | { kind: "event"; seq: number; at: number; what: string; component: string; text: string }
  | { kind: "preview"; jpeg: Uint8Array }
  | { kind: "ack"; id: string; answer: Answer; text: string }
  /** A message that the broker kept was taken back. */
  | { kind: "forgotten"; leaf: "state" | "birth" | "component"; name: string }
);

/** No message of ours is larger; the broker is asked to keep back what is. */
export const MAX_BYTES = 64 * 1024;
const MAX_TEXT = 400;
const MAX_ROOMS = 200;
const MAX_LEVELS = 8;

export const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** A level may have a room's name and a website's host in it: `main-hall.register-example-org`. */
export const COMPONENT = /^[A-Za-z0-9_.-]{1,330}(\/[A-Za-z0-9_.-]{1,64}){0,3}$/;
/** Orders and settings: ours, but for the machine and not for a page. */
const FOR_MACHINES = /^backrow\/[A-Za-z0-9_-]{1,64}\/(command|config|config\/state)$/;

type Json = { [key: string]: unknown };

const object = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const text = (value: unknown): string => (typeof value === "string" ? clip(value, MAX_TEXT) : "");
const number = (value: unknown): number | null =>
  typeof value === "number" && isFinite(value) ? value : null;
/** A count: no negative one is believed. */
const count = (value: unknown): number | null => {
  const read = number(value);
  return read !== null && read >= 0 ? read : null;
};
const one = <T extends string>(value: unknown, of: readonly T[]): T | null =>
  of.indexOf(value as T) >= 0 ? (value as T) : null;

/** RFC 3339 -> ms since 1970. A year that no device can mean counts as none. */
function time(value: unknown): number | null {
  if (typeof value !== "string" || value.length > 40) return null;
  const read = Date.parse(value);
  return isFinite(read) && read >= 0 && read < 4e12 ? read : null;
}

export const MOODS: readonly Mood[] = ["sleeping", "happy", "waking", "hungry", "sad", "lost"];
const LIVES: readonly Life[] = ["init", "ready", "sleeping", "disconnected", "alert", "lost"];
const ROLES: readonly Role[] = ["collector", "encoder"];
const ANSWERS: readonly Answer[] = ["accepted", "done", "refused", "failed"];

/** Whether a message that `read` makes nothing of is garbage, and worth a word. */
export function stray(topic: string, payload: Uint8Array): boolean {
  // An empty message only takes something back.
  return payload.length > 0 && !FOR_MACHINES.test(topic);
}

/** Reads a message; null when it is none of ours. */
export function read(topic: string, payload: Uint8Array): Message | null {
  const levels = topic.length <= 400 ? topic.split("/") : [];
  const device = levels[1] ?? "";
  if (levels[0] !== "backrow" || !NAME.test(device) || payload.length > MAX_BYTES) return null;
  const leaf = levels[2];
  const below = levels.slice(3).join("/");
  if (leaf === "component") {
    if (!COMPONENT.test(below)) return null;
    if (payload.length === 0) return { device, kind: "forgotten", leaf, name: below };
    return component(device, below, json(payload));
  }
  if (leaf === "command" && below === "ack") return ack(device, json(payload));
  if (below !== "" || levels.length !== 3) return null;
  if (leaf === "preview") return preview(device, payload);
  if (payload.length === 0) {
    return leaf === "state" || leaf === "birth" ? { device, kind: "forgotten", leaf, name: "" } : null;
  }
  switch (leaf) {
    case "state":
      return state(device, json(payload));
    case "birth":
      return birth(device, json(payload));
    case "health":
      return health(device, json(payload));
    case "event":
      return event(device, json(payload));
    default:
      return null;
  }
}

/** The payload as an object of version 1; null when it is none. */
function json(payload: Uint8Array): Json | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    return null;
  }
  const read = object(value);
  return read["v"] === 1 ? read : null;
}

function state(device: string, value: Json | null): Message | null {
  const life = value && one(value["state"], LIVES);
  return life ? { device, kind: "state", life } : null;
}

function birth(device: string, value: Json | null): Message | null {
  if (!value || !Array.isArray(value["rooms"])) return null;
  const given = value["rooms"].slice(0, MAX_ROOMS) as unknown[];
  const named = given.filter((room): room is string => typeof room === "string" && NAME.test(room));
  return {
    device,
    kind: "birth",
    role: one(value["role"], ROLES) ?? "unknown",
    version: clip(text(value["version"]), 40),
    started: time(value["started"]),
    rooms: Array.from(new Set(named)),
  };
}

function component(device: string, name: string, value: Json | null): Message | null {
  const mood = value && one(value["mood"], MOODS);
  const since = value && time(value["since"]);
  if (!value || !mood || since === null) return null;
  const restarts = count(value["restarts"]) ?? 0;
  return { device, kind: "component", name, mood, since, reason: text(value["reason"]), restarts };
}

function event(device: string, value: Json | null): Message | null {
  const seq = value && count(value["seq"]);
  const at = value && time(value["at"]);
  const said = value ? text(value["message"]) : "";
  if (!value || seq === null || at === null || said === "") return null;
  const what = clip(text(value["kind"]), 20);
  const component = clip(text(value["component"]), 80);
  return { device, kind: "event", seq, at, what, component, text: said };
}

function preview(device: string, payload: Uint8Array): Message | null {
  // The first three bytes of every JPEG: a start of image, and another marker.
  const jpeg = payload[0] === 0xff && payload[1] === 0xd8 && payload[2] === 0xff;
  return jpeg ? { device, kind: "preview", jpeg: payload } : null;
}

function ack(device: string, value: Json | null): Message | null {
  const answer = value && one(value["state"], ANSWERS);
  if (!value || !answer) return null;
  return { device, kind: "ack", id: clip(text(value["id"]), 40), answer, text: text(value["message"]) };
}

function health(device: string, value: Json | null): Message | null {
  const at = value && time(value["at"]);
  const mood = value && one(value["mood"], MOODS);
  if (!value || at === null || !mood) return null;
  const capture = object(value["capture"]);
  const since = (condition: unknown): number | null => {
    const told = object(condition);
    return told["on"] === true ? time(told["since"]) : null;
  };
  return {
    device,
    kind: "health",
    at,
    mood,
    uptimeS: count(value["uptime_s"]),
    load: count(value["load"]),
    memoryBytes: count(value["memory_bytes"]),
    temperatureC: number(value["temperature_c"]),
    backlogMs: count(value["backlog_ms"]),
    backlogBytes: count(value["backlog_bytes"]),
    lostMs: count(value["lost_ms"]),
    diskFreeBytes: count(value["spool_free_bytes"]) ?? count(value["archive_free_bytes"]),
    levels: channels(capture["audio"]),
    blackSince: since(capture["black"]),
    silentSince: since(capture["silent"]),
    framesDropped: count(capture["frames_dropped"]),
    viewers: viewers(value["rooms"]),
  };
}

function channels(value: unknown): number[] {
  if (!Array.isArray(value)) return [];
  const peaks = value.slice(0, MAX_LEVELS).map((it) => number(object(it)["peak_db"]));
  return peaks.filter((it): it is number => it !== null).map((it) => Math.max(-100, Math.min(0, it)));
}

function viewers(value: unknown): { [room: string]: number } {
  // Without a prototype: a room may be called `constructor`.
  const told = Object.create(null) as { [room: string]: number };
  const rooms = object(value);
  for (const room of Object.keys(rooms).slice(0, MAX_ROOMS)) {
    const facts = object(rooms[room]);
    const now = count(facts["viewers"]) ?? count(facts["progressive_clients"]);
    if (NAME.test(room) && now !== null) told[room] = now;
  }
  return told;
}
