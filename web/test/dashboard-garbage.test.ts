// Whatever anybody left on the broker: it does not hurt the dashboard, and is counted.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Fleet, MAX_DEVICES, MAX_ENTRIES } from "../src/dashboard/fleet";
import { read, stray } from "../src/dashboard/messages";
import { Orders } from "../src/dashboard/orders";
import { facts, rooms } from "../src/dashboard/room";
import { sentences } from "../src/dashboard/sentences";
import { ago, bytes, NOW, say, well } from "./scripted";

/** A small generator of numbers (mulberry32): the same at every run. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const LEAVES = ["state", "birth", "health", "event", "preview", "command/ack", "command", "config", "config/state",
  "component/capture", "component/hall.480p", "component/__proto__", "component/a/b/c/d/e", "", "nothing"];
const WORDS = ["ready", "lost", "happy", "sad", "hungry", "collector", "encoder", "hall", "__proto__",
  "constructor", "2026-05-01T10:00:00Z", "9999-99-99", "", "x".repeat(5000), "<img src=x onerror=alert(1)>", "\u0000"];
const KEYS = ["v", "state", "mood", "since", "at", "reason", "restarts", "rooms", "role", "version", "started",
  "seq", "kind", "component", "message", "capture", "audio", "peak_db", "silent", "black", "on", "uptime_s",
  "backlog_ms", "lost_ms", "viewers", "id", "__proto__", "hall", "temperature_c", "load"];

function anything(random: () => number, depth: number): unknown {
  const pick = <T>(of: T[]): T => of[Math.floor(random() * of.length)] as T;
  const kind = random();
  if (kind < 0.25) return pick(WORDS);
  if (kind < 0.45) return pick([0, 1, -1, 1e308, -1e308, 0.5, 4e12, 12, -40]);
  if (kind < 0.55) return pick([true, false, null]);
  if (depth === 0) return 1;
  if (kind < 0.7) return Array.from({ length: Math.floor(random() * 12) }, () => anything(random, depth - 1));
  const made: [string, unknown][] = [["v", random() < 0.9 ? 1 : anything(random, 0)]];
  for (let key = 0; key < 14; key += 1) made.push([pick(KEYS), anything(random, depth - 1)]);
  return Object.fromEntries(made);
}

/** What is right, for each topic. */
const RIGHT: { [leaf: string]: () => object } = {
  state: () => ({ v: 1, state: "alert" }),
  birth: () => ({ v: 1, device: "x", role: "encoder", version: "1", started: ago(9), rooms: ["hall", "a", "b"] }),
  health: () => ({
    v: 1, at: ago(1), mood: "sad", uptime_s: 3, load: 1, backlog_ms: 70_000, backlog_bytes: 9, lost_ms: 5, temperature_c: 90,
    capture: { audio: [{ peak_db: -9 }, { peak_db: -3 }], silent: { on: true, since: ago(9) }, black: { on: true, since: ago(9) }, frames_dropped: 2 },
    rooms: { hall: { viewers: 3 }, constructor: { viewers: 2 } },
  }),
  event: () => ({ v: 1, seq: 2, at: ago(1), kind: "loss", component: "uplink", message: "lost" }),
  "command/ack": () => ({ v: 1, id: "x", state: "done", message: "done" }),
};
const COMPONENT = (): object => ({ v: 1, mood: "hungry", since: ago(50), reason: "why", restarts: 1 });

/** Something right with some of it made wrong, or wholly wrong. */
function garbage(random: () => number, leaf: string): Uint8Array {
  const kind = random();
  if (kind < 0.1) return new Uint8Array(Math.floor(random() * 200)).map(() => Math.floor(random() * 256));
  if (kind < 0.15) return new Uint8Array([0xff, 0xd8, 0xff, 0, 1, 2]);
  if (kind < 0.2) return new Uint8Array(0);
  if (kind < 0.21) return bytes("[".repeat(30_000));
  if (kind < 0.3) return bytes(JSON.stringify(anything(random, 3)));
  const right = (RIGHT[leaf] ?? COMPONENT)() as { [key: string]: unknown };
  const keys = Object.keys(right);
  for (let times = Math.floor(random() * 4); times > 0; times -= 1) {
    const key = keys[Math.floor(random() * keys.length)] as string;
    if (key !== "v" || random() < 0.1) right[key] = anything(random, 2);
  }
  const text = JSON.stringify(right);
  return bytes(random() < 0.1 ? text.slice(0, Math.floor(random() * text.length)) : text);
}

test("whatever the broker holds, the picture stands and stays bounded", () => {
  const random = chance(20260501);
  const fleet = well();
  const orders = new Orders();
  let read_ = 0;
  for (let round = 0; round < 12_000; round += 1) {
    const device = random() < 0.6 ? "hall-1" : random() < 0.5 ? "enc" : `d${Math.floor(random() * 40)}`;
    const leaf = LEAVES[Math.floor(random() * LEAVES.length)] as string;
    const now = NOW + Math.floor((random() - 0.2) * 4e6);
    const message = read(`backrow/${device}/${leaf}`, garbage(random, leaf));
    if (!message) continue;
    read_ += 1;
    if (message.kind === "ack") orders.answered(message);
    else fleet.take(message, random() < 0.5, now);
    if (round % 97 !== 0) continue;
    for (const it of rooms(fleet, { now, since: now - 5000 })) {
      assert.ok(it.text.length > 0 && it.text.length < 600 && !/undefined|NaN/.test(it.text), it.text);
      assert.ok(it.name.length <= 64 && it.levels.length <= 8);
      facts(it);
    }
    for (const it of fleet.devices.values()) {
      sentences(it, null, { now, since: now });
      for (const curve of Object.values(it.curves)) assert.ok(curve.points(now).length <= 360);
    }
  }
  assert.ok(read_ > 2000, `the garbage reaches the picture (${read_})`);
  assert.ok(fleet.entries.length <= MAX_ENTRIES && fleet.devices.size <= 42);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
});

test("topics that are not ours, and bytes that are too many, are nothing", () => {
  for (const topic of ["", "backrow", "backrow//state", "other/x/state", "backrow/a b/state", "backrow/x/state/y",
    `backrow/${"x".repeat(65)}/state`, "backrow/x/component", "backrow/x/component/a//b", "$SYS/broker"]) {
    assert.equal(read(topic, bytes({ v: 1, state: "ready" })), null, topic);
  }
  assert.equal(read("backrow/x/state", bytes({ v: 2, state: "ready" })), null, "another version");
  assert.equal(read("backrow/x/preview", bytes("GIF89a")), null);
  const jpeg = (size: number): Uint8Array => {
    const picture = new Uint8Array(size);
    picture.set([0xff, 0xd8, 0xff]);
    return picture;
  };
  assert.equal(read("backrow/x/preview", jpeg(20_000))?.kind, "preview");
  assert.equal(read("backrow/x/preview", jpeg(70_000)), null);
  for (const since of ["soon", "1812-01-01T00:00:00Z", "+090000-01-01T00:00:00Z", 7, null]) {
    const told = { v: 1, mood: "happy", since, reason: "x", restarts: 0 };
    assert.equal(read("backrow/x/component/y", bytes(told)), null, `${since}`);
  }
});

test("no topic that is documented counts as garbage, and what is not understood does", () => {
  const table = readFileSync("../docs/mqtt.md", "utf8").split("\n## ")[0] ?? "";
  const topics = Array.from(table.matchAll(/^\| `([a-z/{}]+)` \|/gm), (it) => it[1] as string);
  assert.ok(topics.length >= 10 && topics.includes("config/state"), topics.join(" "));
  for (const documented of topics) {
    const topic = `backrow/hall-1/${documented.replace("{name}", "main-hall.register-w-example-org")}`;
    const right = RIGHT[documented] ?? COMPONENT;
    const payload = documented === "preview" ? new Uint8Array([0xff, 0xd8, 0xff]) : bytes(right());
    assert.ok(read(topic, payload) !== null || !stray(topic, payload), documented);
  }
  const long = `backrow/enc/component/${"h".repeat(64)}.register-${"w".repeat(100)}`;
  assert.equal(read(long, bytes(COMPONENT()))?.kind, "component", "a long website's name is one");
  assert.ok(stray("backrow/hall-1/state", bytes("{")));
  assert.ok(stray("backrow/hall-1/config/other", bytes("{}")));
  assert.ok(stray("backrow//config", bytes("{}")));
  assert.ok(!stray("backrow/hall-1/state", bytes("")), "it is taken back");
});

test("a thousand machines more than there can be are passed over", () => {
  const fleet = new Fleet();
  for (let device = 0; device < MAX_DEVICES + 1000; device += 1) {
    say(fleet, `box-${device}/state`, { v: 1, state: "ready" });
    say(fleet, `box-${device}/event`, { v: 1, seq: 1, at: ago(1), kind: "notice", component: "x", message: `m${device}` });
  }
  assert.deepEqual([fleet.devices.size, fleet.entries.length], [MAX_DEVICES, MAX_ENTRIES]);
});
