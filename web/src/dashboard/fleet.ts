// The picture of all machines: messages in, state out. No clock and no socket of its own; it is
// kept when the connection is lost, and bounded whatever the broker holds.

import { Series } from "./history";
import type { Health, Life, Message, Mood, Role } from "./messages";

export interface Turn {
  mood: Mood;
  /** By the device's clock, ms. */
  since: number;
  reason: string;
}

export interface Component extends Turn {
  restarts: number;
  /** The moods before, the newest first. */
  before: Turn[];
}

export interface Entry {
  device: string;
  /** When it happened, by our clock, ms. */
  at: number;
  /** "mood", "loss", …; "state" for what the broker tells of a device. */
  what: string;
  component: string;
  text: string;
}

export type Curve = "level" | "backlog" | "viewers" | "load" | "temperature" | "memory" | "dropped";

export interface Device {
  name: string;
  life: Life | null;
  /** When `life` became known here, ms. */
  lifeHeard: number;
  /** Since when it is so, ms; null: the broker had kept it, for nobody knows how long. */
  lifeSince: number | null;
  role: Role;
  version: string;
  started: number | null;
  rooms: string[];
  components: Map<string, Component>;
  /** How components were before this page was loaded, until the broker tells how they are now. */
  past: Map<string, Turn[]>;
  health: Health | null;
  healthHeard: number;
  preview: Uint8Array | null;
  previewHeard: number;
  /** When it last said anything that was not merely kept by the broker; null: not yet. */
  heard: number | null;
  /** Our clock minus the device's, ms, where that is more than a message takes. */
  skew: number;
  curves: { [name in Curve]?: Series };
  /** Lost material: total as told last, and when it last grew. */
  lossSeen: number | null;
  lossGrew: number | null;
  /** Frames dropped when it was told last. */
  droppedSeen: number | null;
}

export const MAX_DEVICES = 2000;
export const MAX_COMPONENTS = 1000;
export const MAX_ENTRIES = 600;
const MAX_BEFORE = 12;
/** A clock that is off by less than this is right. */
const SKEW_WORTH = 5000;

export class Fleet {
  readonly devices = new Map<string, Device>();
  /** What happened, the newest first. */
  entries: Entry[] = [];
  /** Messages that could not be read, and the topic of the last. */
  unread = 0;
  unreadTopic = "";
  /** When the last message came, ms. */
  newest: number | null = null;

  /** Forgets everything: it was another broker's. */
  clear(): void {
    this.devices.clear();
    this.entries = [];
    this.unread = 0;
    this.newest = null;
  }

  /** Takes a message that could not be read into account. */
  garbage(topic: string): void {
    this.unread += 1;
    this.unreadTopic = topic.slice(0, 120);
  }

  /** Takes a message; `kept` when the broker had kept it, so that it may be of any age. */
  take(message: Message, kept: boolean, now: number): void {
    if (message.kind === "ack") return;
    const { kind, device: name } = message;
    const device = kind === "forgotten" ? this.devices.get(name) : this.meet(name);
    if (!device) return;
    this.newest = now;
    // The last will is the broker's word, not the device's.
    const lost = message.kind === "state" && message.life === "lost";
    if (!kept && !lost && message.kind !== "forgotten") device.heard = now;
    switch (message.kind) {
      case "state":
        return this.state(device, message.life, kept, now);
      case "birth":
        device.role = message.role;
        device.version = message.version;
        device.started = message.started;
        device.rooms = message.rooms;
        return;
      case "health":
        return this.health(device, message, kept, now);
      case "component":
        return component(device, message);
      case "event":
        // None of ours is kept by the broker.
        return kept ? undefined : this.enter(happened(device, message, now));
      case "preview":
        device.preview = message.jpeg;
        device.previewHeard = now;
        return;
      case "forgotten":
        return this.forget(device, message.leaf, message.name);
    }
  }

  /** The machine of that name; null when it is new, and one too many. */
  meet(name: string): Device | null {
    const known = this.devices.get(name);
    if (known || this.devices.size >= MAX_DEVICES) return known ?? null;
    const device = newDevice(name);
    this.devices.set(name, device);
    return device;
  }

  private state(device: Device, life: Life, kept: boolean, now: number): void {
    const before = device.life;
    device.life = life;
    if (before !== life) {
      device.lifeHeard = now;
      device.lifeSince = kept ? null : now;
    }
    if (kept || before === life) return;
    const text = changes(before, life);
    if (text) this.enter({ device: device.name, at: now, what: "state", component: "", text });
  }

  private health(device: Device, health: Health, kept: boolean, now: number): void {
    device.health = health;
    if (kept) return;
    device.healthHeard = now;
    const skew = now - health.at;
    device.skew = Math.abs(skew) >= SKEW_WORTH ? skew : 0;
    // Whoever speaks is there, whatever the broker kept of it.
    if (device.life === "lost" || device.life === "disconnected") {
      this.state(device, "ready", false, now);
    }
    const note = (name: Curve, value: number | null): void => {
      if (value === null) return;
      (device.curves[name] ?? (device.curves[name] = new Series())).push(value, now);
    };
    note("level", health.levels.length > 0 ? Math.max(...health.levels) : null);
    note("backlog", health.backlogMs === null ? null : health.backlogMs / 1000);
    note("load", health.load);
    note("temperature", health.temperatureC);
    note("memory", health.memoryBytes === null ? null : health.memoryBytes / 1e6);
    const viewers = Object.keys(health.viewers).map((room) => health.viewers[room] ?? 0);
    if (viewers.length > 0) note("viewers", viewers.reduce((sum, it) => sum + it, 0));
    const { framesDropped: dropped, lostMs: lost } = health;
    if (dropped !== null) {
      if (device.droppedSeen !== null) note("dropped", Math.max(0, dropped - device.droppedSeen));
      device.droppedSeen = dropped;
    }
    if (lost !== null) {
      // What was lost before we looked is no news.
      if (device.lossSeen !== null && lost > device.lossSeen) device.lossGrew = now;
      device.lossSeen = lost;
    }
  }

  private forget(device: Device, leaf: "state" | "birth" | "component", name: string): void {
    if (leaf === "component") device.components.delete(name);
    else if (leaf === "state") device.life = null;
    else device.rooms = [];
    // A machine whose every kept message was taken back is no more.
    if (device.life === null && device.rooms.length === 0 && device.components.size === 0) {
      this.devices.delete(device.name);
    }
  }

  private enter(entry: Entry): void {
    // QoS 1 may bring one twice.
    const same = (it: Entry): boolean =>
      it.device === entry.device && it.at === entry.at && it.text === entry.text;
    if (this.entries.slice(0, 50).some(same)) return;
    this.entries.unshift(entry);
    if (this.entries.length > MAX_ENTRIES) this.entries.length = MAX_ENTRIES;
  }
}

function newDevice(name: string): Device {
  return {
    name,
    life: null,
    lifeHeard: 0,
    lifeSince: null,
    role: "unknown",
    version: "",
    started: null,
    rooms: [],
    components: new Map(),
    past: new Map(),
    health: null,
    healthHeard: 0,
    preview: null,
    previewHeard: 0,
    heard: null,
    skew: 0,
    curves: {},
    lossSeen: null,
    lossGrew: null,
    droppedSeen: null,
  };
}

function component(device: Device, told: Message & { kind: "component" }): void {
  const { name, mood, since, reason, restarts } = told;
  const known = device.components.get(name);
  if (!known && device.components.size >= MAX_COMPONENTS) return;
  const before = known ? known.before : pastOf(device, name, mood, since);
  if (known && (known.mood !== mood || known.since !== since)) {
    before.unshift({ mood: known.mood, since: known.since, reason: known.reason });
    if (before.length > MAX_BEFORE) before.length = MAX_BEFORE;
  }
  device.components.set(name, { mood, since, reason, restarts, before });
}

/** The moods before this one, if it is the first that is told here. */
function pastOf(device: Device, name: string, mood: Mood, since: number): Turn[] {
  const past = device.past.get(name) ?? [];
  device.past.delete(name);
  const same = past[0]?.mood === mood && past[0].since === since;
  return past.slice(same ? 1 : 0).slice(0, MAX_BEFORE);
}

function happened(device: Device, message: Message & { kind: "event" }, now: number): Entry {
  const { what, component, text } = message;
  // It may have waited for the broker; it cannot come from the future.
  return { device: device.name, at: Math.min(now, ours(device, message.at)), what, component, text };
}

function changes(before: Life | null, life: Life): string | null {
  switch (life) {
    case "lost":
      return "the broker lost it: no power, no network, or it crashed";
    case "disconnected":
      return "left in good order";
    case "ready":
    case "alert":
      return before === "lost" || before === "disconnected" || before === "init" || before === null
        ? "is there"
        : null;
    default:
      return null;
  }
}

/** Whether it is a flashed box: only that has the daemon which hears orders. */
export function isBox(device: Device): boolean {
  return device.components.has("box.mqtt");
}

/** A time of the device's clock by ours. */
export function ours(device: Device, at: number): number {
  return at + device.skew;
}
