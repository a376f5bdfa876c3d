// A room: the machines whose birth names it, and what is to be said of them together.

import { ours, type Device, type Fleet } from "./fleet";
import { ordered, sentences, worse, type Light, type Moment, type Sentence } from "./sentences";
import { span, watching } from "./words";

export interface Room {
  /** The room's name; for a machine without a room, the machine's. */
  name: string;
  /** A machine that names no room stands for itself. */
  machine: boolean;
  devices: Device[];
  light: Light;
  /** What matters most, or that all is well. */
  text: string;
  sentences: Sentence[];
  backlogMs: number | null;
  viewers: number | null;
  /** Peak of each channel, dB; empty when nothing is measured now. */
  levels: number[];
  /** Whose picture to show. */
  seen: Device | null;
  /** When its source last said anything, ms; null: not yet. */
  heard: number | null;
}

/** Levels older than this are no longer shown. */
const LEVELS_OLD = 15_000;

/** All rooms, and machines without one, by name ("Hall 2" before "Hall 10"). */
export function rooms(fleet: Fleet, moment: Moment): Room[] {
  const of = new Map<string, Device[]>();
  const alone: Device[] = [];
  for (const device of fleet.devices.values()) {
    if (!shown(device)) continue;
    if (device.rooms.length === 0) alone.push(device);
    for (const room of device.rooms) {
      const there = of.get(room);
      if (there) there.push(device);
      else of.set(room, [device]);
    }
  }
  const found = Array.from(of, ([name, devices]) => look(name, false, devices, moment));
  found.push(...alone.map((device) => look(device.name, true, [device], moment)));
  return found.sort((a, b) => byName(a.name, b.name));
}

/** The machines, by name. */
export function machines(fleet: Fleet): Device[] {
  return Array.from(fleet.devices.values())
    .filter(shown)
    .sort((a, b) => byName(a.name, b.name));
}

const collator = new Intl.Collator("en", { numeric: true });
const byName = (a: string, b: string): number => collator.compare(a, b);

/** Not before it said who or how it is: a stray message makes no machine. */
export function shown(device: Device): boolean {
  return device.life !== null || device.rooms.length > 0 || device.health !== null;
}

function look(name: string, machine: boolean, devices: Device[], moment: Moment): Room {
  devices.sort((a, b) => a.role.localeCompare(b.role) || byName(a.name, b.name));
  const room = machine ? null : name;
  const found = ordered(devices.flatMap((device) => sentences(device, room, moment)));
  const collectors = devices.filter((device) => device.role !== "encoder");
  // With a box in the room, its own sentence says why the encoder gets nothing.
  const away = found.some((it) => it.rank === 100 && collectors.some((box) => box.name === it.device));
  const told = found.filter((it) => !(away && it.component === `${name}.ingest`));
  const unused = collectors.length === 0 && told.every((it) => it.component === `${name}.ingest`);
  const source = collectors.find((it) => there(it)) ?? collectors[0] ?? devices[0] ?? null;
  // A box that is off is no matter while another, or somebody else, is live.
  const live = devices.some((it) => it.components.get(`${name}.ingest`)?.mood === "happy");
  const off = !live && told.length > 0 && told.every((it) => it.light === "grey");
  const worst = told[0];
  let light: Light = off ? "grey" : told.reduce<Light>((so, it) => worse(so, it.light), "green");
  let text = worst && !(worst.light === "grey" && light === "green") ? worst.text : "";
  if (unused && told.length > 0) {
    light = "grey";
    text = "Nobody is publishing.";
  }
  if (text === "") text = well(name, devices, moment);
  const encoders = devices.filter((device) => device.role === "encoder" && there(device));
  const levels = source?.health && moment.now - source.healthHeard < LEVELS_OLD && there(source);
  return {
    name,
    machine,
    devices,
    light,
    text,
    sentences: told,
    backlogMs: source?.health?.backlogMs ?? null,
    viewers: viewers(machine ? null : name, encoders),
    levels: levels && source.health ? source.health.levels : [],
    seen: source?.preview ? source : (devices.find((device) => device.preview !== null) ?? null),
    heard: source?.heard ?? null,
  };
}

function there(device: Device): boolean {
  return device.life !== "lost" && device.life !== "disconnected";
}

/** Viewers at all the room's encoders (at all of a machine's rooms, without one). */
function viewers(room: string | null, encoders: Device[]): number | null {
  let sum: number | null = null;
  for (const { health } of encoders) {
    for (const name of Object.keys(health?.viewers ?? {})) {
      if (room === null || name === room) sum = (sum ?? 0) + (health?.viewers[name] ?? 0);
    }
  }
  return sum;
}

/** What to say when nothing is wrong. */
function well(room: string, devices: Device[], { now }: Moment): string {
  const encoder = devices.find((device) => device.components.has(`${room}.ingest`));
  const ingest = encoder?.components.get(`${room}.ingest`);
  if (encoder && ingest?.mood === "happy") {
    return `Live for ${span(now - ours(encoder, ingest.since))}.`;
  }
  if (devices.some((device) => device.components.get("uplink")?.mood === "happy")) {
    return "Picture and sound reach the encoder.";
  }
  return "All is well.";
}

/** "12 viewers · 40 s to send": the numbers beside the sentence. */
export function facts(room: Room): string[] {
  const told: string[] = [];
  if (room.viewers !== null) told.push(watching(room.viewers));
  if (room.backlogMs !== null && room.backlogMs > 4000) told.push(`${span(room.backlogMs)} to send`);
  return told;
}

/** How many watch in all rooms together; null: no encoder has told of any. Each encoder counts its
 *  own viewers by room, so nobody is counted twice. */
export function audience(all: Room[]): number | null {
  return all.reduce<number | null>((sum, { viewers }) => (viewers === null ? sum : (sum ?? 0) + viewers), null);
}

/** How many rooms have each light. */
export function tally(all: Room[]): { [light in Light]: number } {
  const counts = { grey: 0, green: 0, amber: 0, red: 0 };
  for (const room of all) counts[room.light] += 1;
  return counts;
}
