// What the box's page knows without a browser: reading the status, the zones of the meter, and
// when the box counts as gone.

export type Light = "grey" | "green" | "amber" | "red";

export interface Row {
  id: string;
  title: string;
  light: Light;
  says: string;
  todo: string;
}

export interface Picture {
  room: string;
  device: string;
  light: Light;
  headline: string;
  rows: Row[];
  /** Changes with the preview; `null` while there is none. */
  preview: number | null;
  version: string;
  details: [string, string][];
  canChange: boolean;
}

type Json = { [key: string]: unknown };

const object = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number | null =>
  typeof value === "number" && isFinite(value) ? value : null;
const light = (value: unknown): Light =>
  value === "green" || value === "amber" || value === "red" ? value : "grey";

/** Reads the status; `null` when it is none (a captive portal's page, say). */
export function parsePicture(value: unknown): Picture | null {
  const root = object(value);
  if (!Array.isArray(root["rows"])) return null;
  return {
    room: text(root["room"]),
    device: text(root["device"]),
    light: light(root["light"]),
    headline: text(root["headline"]),
    rows: root["rows"].map((item) => {
      const row = object(item);
      return {
        id: text(row["id"]),
        title: text(row["title"]),
        light: light(row["light"]),
        says: text(row["says"]),
        todo: text(row["todo"]),
      };
    }),
    preview: number(root["preview"]),
    version: text(root["version"]),
    details: list(root["details"]).map((item): [string, string] => {
      const pair = list(item);
      return [text(pair[0]), text(pair[1])];
    }),
    canChange: root["can_change"] === true,
  };
}

/** Levels of each channel, dB below full scale; `null` when it is something else. */
export function parseLevels(value: unknown): number[] | null {
  if (!Array.isArray(value)) return null;
  const levels = value.map(number);
  return levels.every((level) => level !== null) ? (levels as number[]) : null;
}

/** The word beside a light: nobody needs to tell colours apart. */
export function word(of: Light): string {
  return { grey: "–", green: "OK", amber: "Look", red: "Fix" }[of];
}

/** The meter's ends and borders, dB below full scale; the box judges by the same two borders. */
export const FLOOR = -60;
export const QUIET = -36;
export const LOUD = -1;

export type Zone = "none" | "silent" | "quiet" | "good" | "loud";

export function zone(peak: number | null): Zone {
  if (peak === null) return "none";
  if (peak <= FLOOR) return "silent";
  if (peak < QUIET) return "quiet";
  return peak > LOUD ? "loud" : "good";
}

export function zoneWord(of: Zone): string {
  return { none: "", silent: "Silent", quiet: "Too quiet", good: "Good", loud: "Too loud" }[of];
}

/** How long a bar is, 0 to 1. */
export function length(level: number): number {
  return Math.max(0, Math.min(1, (level - FLOOR) / -FLOOR));
}

/** Speech has pauses: the word follows the loudest of the last moment. */
export class Peak {
  private heard: { at: number; level: number }[] = [];

  constructor(private readonly over: number) {}

  push(levels: number[], now: number): void {
    if (levels.length === 0) this.heard = [];
    else this.heard.push({ at: now, level: Math.max(...levels) });
    this.heard = this.heard.filter((it) => now - it.at <= this.over);
  }

  /** The loudest lately; `null` when nothing is measured. */
  value(): number | null {
    return this.heard.length === 0 ? null : Math.max(...this.heard.map((it) => it.level));
  }
}

/** The box says something at least every four seconds. */
export const SILENCE = 9000;

export type Contact = "asking" | "there" | "gone";

/** Whether the box answers, from when it was last heard; `since` is when asking began. */
export function contact(heard: number | null, since: number, now: number): Contact {
  const from = heard === null ? since : heard;
  if (now - from > SILENCE) return "gone";
  return heard === null ? "asking" : "there";
}

/** How long to wait before the n-th attempt in a row, ms. */
export function patience(attempt: number): number {
  return Math.min(1000 * Math.pow(1.6, attempt), 8000);
}

/** What an answer to an order says, for people. */
export function told(status: number, body: unknown): { ok: boolean; text: string; token: boolean } {
  const answer = object(body);
  const message = text(answer["message"]);
  const hint = text(answer["hint"]);
  const sentence = message === "" ? "" : message.charAt(0).toUpperCase() + message.slice(1);
  const end = (it: string): string => (it === "" || /[.!?]$/.test(it) ? it : `${it}.`);
  if (status >= 200 && status < 300) {
    return { ok: true, text: end(sentence) || "Done.", token: false };
  }
  const words = [end(sentence) || `The box said no (${status}).`, end(hint)];
  return { ok: false, text: words.filter((it) => it !== "").join(" "), token: status === 401 };
}
