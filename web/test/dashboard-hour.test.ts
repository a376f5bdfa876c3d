import assert from "node:assert/strict";
import { test } from "node:test";
import { Fleet } from "../src/dashboard/fleet";
import { HOUR, Series } from "../src/dashboard/history";
import { LastHour, MOST, read, write } from "../src/dashboard/last-hour";
import { rooms } from "../src/dashboard/room";
import { ago, birth, component, health, moment, NOW, say, well } from "./scripted";

const BROKER = "wss://broker.example.org/";

/** An event with a past: a room that had no sound for a while. */
function eventful(): Fleet {
  const fleet = well();
  component(fleet, "hall-1:sound", "hungry", "no sound for 10 s", 20);
  component(fleet, "hall-1:sound", "happy", "there is sound", 5);
  say(fleet, "hall-1/event", { v: 1, seq: 4, at: ago(1), kind: "loss", component: "uplink", message: "2 segments" });
  for (let back = 600_000; back >= 0; back -= 5000) health(fleet, "hall-1", { load: 1.23456 }, NOW - back);
  health(fleet, "hall-1", { load: 0.5 }, NOW + 300_000);
  return fleet;
}

function reloaded(kept: string, broker = BROKER, now = NOW + 301_000): Fleet {
  const fleet = new Fleet();
  read(kept, fleet, broker, now);
  return fleet;
}

test("after a reload the past is there, and what is now comes from the broker only", () => {
  const before = eventful();
  const fleet = reloaded(write(before, BROKER, NOW + 300_000));
  assert.deepEqual(fleet.entries, before.entries);
  assert.deepEqual(rooms(fleet, moment), [], "no machine is shown before it is told");
  const points = fleet.devices.get("hall-1")?.curves.load?.points(NOW + 300_000) ?? [];
  assert.deepEqual([points.length, points[0]?.value.toFixed(3), points[points.length - 1]?.value], [62, "1.230", 0.5]);
  assert.deepEqual(points.map((it) => it.at), before.devices.get("hall-1")?.curves.load?.points(NOW + 300_000).map((it) => it.at));
  // The broker says the same as before, something new, and of one component nothing.
  component(fleet, "hall-1:sound", "happy", "there is sound", 5);
  component(fleet, "hall-1:picture", "hungry", "black", 2);
  const moods = (name: string) => fleet.devices.get("hall-1")?.components.get(name)?.before.map((it) => it.mood);
  assert.deepEqual(moods("sound"), ["hungry", "happy"]);
  assert.deepEqual(moods("picture"), ["happy"]);
  assert.equal(moods("capture"), undefined, "what is no more does not come back");
  assert.equal(reloaded(write(fleet, BROKER, NOW + 301_000)).devices.get("hall-1")?.past.has("capture"), false);
});

test("another broker's, another version's and an old hour are not taken", () => {
  const kept = write(eventful(), BROKER, NOW + 300_000);
  assert.equal(reloaded(kept, "wss://other/").devices.size, 0);
  assert.equal(reloaded(kept.replace('"v":1', '"v":2')).devices.size, 0);
  assert.equal(reloaded(kept, BROKER, NOW + 300_001 + HOUR).devices.size, 0);
  assert.equal(reloaded(kept, BROKER, NOW - HOUR).devices.size, 0, "it is from the future");
  assert.equal(reloaded(kept, BROKER, NOW + 299_000).devices.size, 2, "a clock was set back a little");
  // Nearly an hour later, only its end is of the last hour.
  const late = reloaded(kept, BROKER, NOW + HOUR - 60_000);
  assert.equal(late.devices.get("hall-1")?.curves.load?.points(NOW + HOUR - 60_000).length, 7);
  assert.equal(reloaded(kept, BROKER, NOW + HOUR).entries.length, 0, "events have an age, too");
});

test("whatever the store holds, nothing breaks", () => {
  const kept = write(eventful(), BROKER, NOW + 300_000);
  for (const garbage of ["", "{", "null", "7", "[]", '{"v":1}', "x".repeat(100_000)]) reloaded(garbage);
  const wrong = ["null", "7", "[]", '"x"', "{}", "-1", "1e308", '"__proto__"', '{"__proto__":{"a":1}}', "[[[]]]"];
  let at = 0;
  for (let round = 0; round < 1000; round += 1) {
    // Any value becomes another one.
    const values = Array.from(kept.matchAll(/(?<=[:[,])("[^"]*"|\d+|\[\]|\{\})/g));
    const value = values[(at += 7) % values.length]!;
    const broken = kept.slice(0, value.index) + wrong[round % wrong.length] + kept.slice(value.index + value[0].length);
    const fleet = reloaded(broken);
    component(fleet, "hall-1:sound", "happy", "there is sound", 5);
    for (const it of fleet.entries) assert.ok(it.text.length > 0 && it.device !== "" && isFinite(it.at));
    for (const device of fleet.devices.values()) {
      for (const curve of Object.values(device.curves)) assert.ok(curve instanceof Series && curve.points(NOW).length <= 360);
      for (const turns of device.past.values()) for (const it of turns) assert.ok(isFinite(it.since) && typeof it.reason === "string");
    }
    reloaded(write(fleet, BROKER, NOW + 301_000));
  }
  assert.equal(reloaded(kept.replace(/"hall-1":/g, '"<hall>":')).devices.has("<hall>"), false, "that is no name");
  assert.equal(({} as { a?: unknown }).a, undefined);
});

/** So many rooms, each with a box that told all it can for an hour, and one encoder. */
function crowd(count: number): Fleet {
  const fleet = new Fleet();
  const names = Array.from({ length: count }, (_, index) => `workshop-${index}`);
  birth(fleet, "cloud", "encoder", names);
  for (const [index, name] of names.entries()) {
    birth(fleet, `box-${name}`, "collector", [name]);
    for (const part of ["capture", "picture", "sound", "uplink", "spool", "mqtt", "box.mqtt", "box.update", "box.system"]) {
      for (let turn = 14; turn > 0; turn -= 1) component(fleet, `box-${name}:${part}`, turn % 2 ? "happy" : "sad", "a reason as it may be", turn);
    }
    for (const part of ["ingest", "archive", "hls", "480p", "register-w"]) component(fleet, `cloud:${name}.${part}`, "happy", "all is well here");
    say(fleet, `box-${name}/event`, { v: 1, seq: 1, at: ago(1), kind: "mood", component: "sound", message: `it is ${index}` });
    const curves = fleet.devices.get(`box-${name}`)!.curves;
    for (const curve of ["level", "backlog", "load", "temperature", "memory", "dropped"] as const) {
      const series = (curves[curve] = new Series());
      for (let slot = 359; slot >= 0; slot -= 1) series.push(-12.34 - slot / 7, NOW - slot * 10_000);
    }
  }
  return fleet;
}

test("sixty rooms have place for their hour, and five hundred take no more than there is", () => {
  const sixty = write(crowd(60), BROKER, NOW);
  assert.ok(sixty.length < MOST, `${sixty.length}`);
  const fleet = reloaded(sixty, BROKER, NOW);
  assert.equal(fleet.entries.length, 60);
  assert.equal(fleet.devices.get("box-workshop-59")?.curves.dropped?.points(NOW).length, 360);
  assert.equal(fleet.devices.get("box-workshop-59")?.past.get("box.system")?.length, 13);
  const many = crowd(500);
  for (const most of [MOST, 200_000, 1000]) {
    const kept = write(many, BROKER, NOW, most);
    assert.ok(kept.length <= most, `${kept.length} of ${most}`);
    assert.ok(JSON.parse(kept), "it is whole");
    assert.ok(reloaded(kept, BROKER, NOW).entries.length > 0, "what happened is kept first");
  }
});

/** A store with so much place; with less than nothing, one that is forbidden. */
class Store {
  kept: string | null = null;
  constructor(private readonly place: number) {}
  getItem(): string | null {
    if (this.place < 0) throw new Error("forbidden");
    return this.kept;
  }
  setItem(_: string, value: string): void {
    if (value.length > this.place) throw new Error("QuotaExceededError");
    this.kept = value;
  }
  removeItem(): void {
    if (this.place < 0) throw new Error("forbidden");
    this.kept = null;
  }
}

test("a store that is full, forbidden, or not wanted is no trouble", () => {
  const kept = (place: number, fleet = crowd(60), wanted = true): string | null => {
    const store = new Store(place);
    store.kept = "old";
    const hour = new LastHour(store as unknown as Storage);
    hour.restore(new Fleet(), BROKER, NOW);
    if (!wanted) hour.want(false);
    hour.keep(fleet, BROKER, NOW);
    assert.equal(store.kept, wanted ? "old" : null, "not before the broker has told what it keeps");
    hour.keep(fleet, BROKER, NOW + 5000);
    return store.kept;
  };
  const all = kept(MOST)?.length ?? 0;
  const some = kept(300_000)?.length ?? 0;
  assert.ok(all > 300_000 && some > 1000 && some <= 200_000, `${all}, ${some}`);
  assert.equal(kept(10), null, "an old hour does not stay in place of a new one");
  assert.equal(kept(-1), "old");
  assert.equal(kept(MOST, new Fleet()), "old", "nothing is known, so nothing is written");
  assert.equal(kept(MOST, crowd(1), false), null);
  new LastHour(null).keep(crowd(1), BROKER, NOW);
  new LastHour(null).restore(new Fleet(), BROKER, NOW);
});
