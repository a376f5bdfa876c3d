// The last hour, kept in the browser so that a reload, or a crash of the tab, does not lose it: what
// happened, the moods before, the graphs. Only the past is kept: what is now, the broker tells.

import type { Curve, Device, Entry, Fleet, Turn } from "./fleet";
import { HOUR, Series } from "./history";
import { COMPONENT, MOODS, NAME } from "./messages";
import { clip } from "./words";

const KEY = "backrow-dashboard-hour";
const VERSION = 1;
/** Characters, two bytes each; browsers give a page some 5 million bytes. Sixty rooms take one million. */
export const MOST = 1_500_000;
/** What is tried when that is more than the browser gives. */
const LESS = 200_000;
const MOST_MACHINES = 500;
const MOST_ENTRIES = 600;
const MOST_TURNS = 13;
const CURVES: readonly Curve[] = ["level", "backlog", "viewers", "load", "temperature", "memory", "dropped"];

/** A clock that was set back by so little is no reason to lose the hour. */
const SET_BACK = 60_000;
/** So long the broker has to tell what it keeps: before, what is known is less than what was. */
const SETTLES = 5000;

type Json = { [key: string]: unknown };

const object = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const text = (value: unknown, most: number): string => (typeof value === "string" ? clip(value, most) : "");
const time = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < 4e12;

/** The past as text of at most `most` characters: what happened first, the graphs last. */
export function write(fleet: Fleet, broker: string, now: number, most = MOST): string {
  let recent = fleet.entries.filter((it) => now - it.at < HOUR);
  let entries = JSON.stringify(recent);
  while (entries.length > most / 2) {
    recent = recent.slice(0, recent.length / 2);
    entries = JSON.stringify(recent);
  }
  const head = `{"v":${VERSION},"broker":${JSON.stringify(broker)},"at":${now},"entries":${entries}`;
  const devices = Array.from(fleet.devices.values()).slice(0, MOST_MACHINES);
  const room = most - head.length - 40;
  const turns = fields(devices, (it) => it.name, (it) => fields(moods(it), (of) => of[0], (of) => JSON.stringify(of[1])), room);
  const curves = fields(devices, (it) => it.name, (it) => graphs(it, now), room - turns.length);
  return `${head},"turns":${turns},"curves":${curves}}`;
}

/** An object as JSON, with as many fields as there is place for; empty ones are left out. */
function fields<T>(all: T[], name: (it: T) => string, json: (it: T) => string, most = Infinity): string {
  let made = "";
  for (const it of all) {
    const value = json(it);
    if (value === "{}" || value === '""') continue;
    const field = `${made === "" ? "" : ","}${JSON.stringify(name(it))}:${value}`;
    if (made.length + field.length + 2 > most) break;
    made += field;
  }
  return `{${made}}`;
}

/** The moods of each component that there is, the newest first. */
function moods(device: Device): [string, Turn[]][] {
  return Array.from(device.components, ([name, { mood, since, reason, before }]): [string, Turn[]] => [
    name,
    [{ mood, since, reason }, ...before],
  ]);
}

function graphs(device: Device, now: number): string {
  return fields(CURVES.slice(), (it) => it, (it) => JSON.stringify(device.curves[it]?.text(now) ?? ""));
}

/** Puts the past into a picture that is still empty. What is not right is passed over. */
export function read(kept: string, fleet: Fleet, broker: string, now: number): void {
  let all: Json;
  try {
    all = object(JSON.parse(kept));
  } catch {
    return;
  }
  const { at } = all;
  if (all["v"] !== VERSION || all["broker"] !== broker || !time(at) || at > now + SET_BACK || now - at > HOUR) return;
  const entries = Array.isArray(all["entries"]) ? (all["entries"] as unknown[]) : [];
  fleet.entries = entries.slice(0, MOST_ENTRIES).map(entry).filter((it): it is Entry => {
    return it !== null && it.at <= now && now - it.at < HOUR;
  });
  each(all["turns"], MOST_MACHINES, NAME, (name, parts) => {
    each(parts, 1000, COMPONENT, (part, turns) => {
      const told = (Array.isArray(turns) ? turns.slice(0, MOST_TURNS) : []).map(turn);
      fleet.meet(name)?.past.set(part, told.filter((it): it is Turn => it !== null));
    });
  });
  each(all["curves"], MOST_MACHINES, NAME, (name, curves) => {
    for (const curve of CURVES) {
      const series = Series.read(text(object(curves)[curve], 10_000), now);
      const device = series ? fleet.meet(name) : null;
      if (series && device) device.curves[curve] = series;
    }
  });
}

function each(value: unknown, most: number, names: RegExp, take: (name: string, of: unknown) => void): void {
  const all = object(value);
  for (const name of Object.keys(all).slice(0, most)) if (names.test(name)) take(name, all[name]);
}

function entry(value: unknown): Entry | null {
  const { device, at, what, component, text: said } = object(value);
  if (typeof device !== "string" || !NAME.test(device) || !time(at) || text(said, 1) === "") return null;
  return { device, at, what: text(what, 20), component: text(component, 80), text: text(said, 400) };
}

function turn(value: unknown): Turn | null {
  const { mood, since, reason } = object(value);
  const known = MOODS.find((it) => it === mood);
  return known && time(since) ? { mood: known, since, reason: text(reason, 400) } : null;
}

/** The past in the browser's store. Of two pages, the one that wrote last. */
export class LastHour {
  private wanted = true;
  /** The newest message at the last writing: what has not changed is not written again. */
  private newest: number | null = null;
  /** When there first was something to write. */
  private first: number | null = null;

  constructor(private readonly storage: Storage | null) {}

  /** Somebody who wants nothing remembered in this browser means this, too. */
  want(wanted: boolean): void {
    this.wanted = wanted;
    if (!wanted) this.store(null);
  }

  keep(fleet: Fleet, broker: string, now: number): void {
    if (!this.storage || !this.wanted || fleet.newest === null || fleet.newest === this.newest) return;
    this.first = this.first ?? now;
    if (now - this.first < SETTLES) return;
    this.newest = fleet.newest;
    const kept = this.store(write(fleet, broker, now)) || this.store(write(fleet, broker, now, LESS));
    // Nothing is better than what is older than it seems.
    if (!kept) this.store(null);
  }

  restore(fleet: Fleet, broker: string, now: number): void {
    this.first = null;
    let kept: string | null = null;
    try {
      kept = this.storage?.getItem(KEY) ?? null;
    } catch {
      // A forbidden store: then the hour begins now.
    }
    if (kept !== null && kept.length <= MOST) read(kept, fleet, broker, now);
  }

  /** Whether the browser took it: its store may be full, or forbidden. */
  private store(value: string | null): boolean {
    try {
      if (value === null) this.storage?.removeItem(KEY);
      else this.storage?.setItem(KEY, value);
      return true;
    } catch {
      return false;
    }
  }
}
