import assert from "node:assert/strict";
import { test } from "node:test";
import { Fleet } from "../src/dashboard/fleet";
import { ceiling, path } from "../src/dashboard/graph";
import { HOUR, Series } from "../src/dashboard/history";
import { height, layout, GAP } from "../src/dashboard/layout";
import { read } from "../src/dashboard/messages";
import { byHand, Orders, PATIENCE, payload, ulid } from "../src/dashboard/orders";
import { audience, facts, rooms, tally } from "../src/dashboard/room";
import { sentences, SILENCE } from "../src/dashboard/sentences";
import * as settings from "../src/dashboard/settings";
import { clock, sentence, size, span } from "../src/dashboard/words";
import { ago, birth, bytes, component, health, moment, NOW, room, say, well } from "./scripted";

test("a room that is well says so, with its viewers and levels", () => {
  const hall = room(well());
  assert.deepEqual([hall.light, hall.text], ["green", "Live for 2 min."]);
  assert.deepEqual([hall.viewers, hall.levels, hall.sentences], [12, [-12], []]);
  assert.deepEqual(facts(hall), ["12 viewers"]);
  const attic = room(well(), "attic");
  assert.deepEqual([attic.light, attic.text], ["grey", "Nobody is publishing."]);
  assert.deepEqual(tally(rooms(well(), moment)), { grey: 1, green: 1, amber: 0, red: 0 });
});

test("the viewers of all rooms are told together, each once", () => {
  const fleet = well();
  assert.equal(audience(rooms(fleet, moment)), 12);
  // A second encoder with the hall has viewers of its own; a third serves no room that is named.
  birth(fleet, "enc-2", "encoder", ["hall"]);
  health(fleet, "enc-2", { rooms: { hall: { viewers: 5 } } });
  birth(fleet, "enc-3", "encoder", []);
  health(fleet, "enc-3", { rooms: { den: { viewers: 2 }, loft: { viewers: 1 } } });
  health(fleet, "enc", { rooms: { hall: { viewers: 12 }, attic: { viewers: 100 } } });
  assert.equal(audience(rooms(fleet, moment)), 120);
  // Of one that is lost, nobody knows.
  say(fleet, "enc-2/state", { v: 1, state: "lost" });
  assert.equal(audience(rooms(fleet, moment)), 115);
  const boxes = new Fleet();
  birth(boxes, "hall-1", "collector", ["hall"]);
  health(boxes, "hall-1", {});
  assert.equal(audience(rooms(boxes, moment)), null, "nothing is known, so nothing is said");
});

test("every component has its sentence", () => {
  const told = (name: string, mood: string, reason: string): [string, string] => {
    const fleet = well();
    component(fleet, name, mood, reason);
    const { light, text } = room(fleet);
    return [light, text];
  };
  const cases: [string, string, string, string, string][] = [
    ["hall-1:capture", "hungry", "no capture device is plugged in", "red", "No picture is captured: no capture device is plugged in."],
    ["hall-1:capture", "sad", "the worker ended", "red", "No picture is captured: the worker ended."],
    ["hall-1:picture", "hungry", "black", "amber", "The picture has been black for 40 s: is the projector's source on?"],
    ["hall-1:sound", "hungry", "silent", "amber", "No sound for 40 s: is the mixer's output muted?"],
    ["hall-1:slate", "happy", "shown", "amber", "Viewers see the slate, not the room."],
    ["hall-1:uplink", "sad", "no answer", "red", "The encoder is not reached: no answer."],
    ["hall-1:spool", "sad", "the disk is full", "red", "The recording on the box: the disk is full."],
    ["hall-1:capture", "waking", "opening the device", "amber", "Capture is starting: opening the device."],
    ["hall-1:constructor", "sad", "broken", "amber", "Constructor: broken."],
    ["hall-1:box.update", "sad", "1.3.0 was taken back", "amber", "The box's update: 1.3.0 was taken back."],
    ["hall-1:box.system", "sad", "systemd-timesyncd failed", "amber", "Part of the box does not run: systemd-timesyncd failed."],
    ["hall-1:box.disk", "sad", "read-only", "red", "The box's disk: read-only."],
    ["hall-1:box.network", "sad", "the settings were taken back", "amber", "The box's network: the settings were taken back."],
    ["hall-1:box.clock", "hungry", "no time server answers", "amber", "The box's clock: no time server answers."],
    ["hall-1:box.config", "sad", "line 3", "amber", "The box's settings: line 3."],
    ["hall-1:something/new", "sad", "broken", "amber", "Something/new: broken."],
    ["enc:hall.ingest", "hungry", "nobody is publishing", "amber", "The encoder gets nothing: nobody is publishing."],
    ["enc:hall.archive", "sad", "the disk is full", "red", "The encoder does not record: the disk is full."],
    ["enc:hall.hls", "sad", "no new segment for 8 s", "red", "Viewers are stuck: no new segment for 8 s."],
    ["enc:hall.transcode", "sad", "the worker ended", "red", "The encoder's formats fail: the worker ended."],
    ["enc:hall.480p", "sad", "no frames", "red", "480p fails: no frames."],
    ["enc:hall.480p", "sleeping", "the CPU cannot keep up", "amber", "480p is left out: the CPU cannot keep up."],
    ["enc:hall.register-w-example-org", "sad", "the website cannot be reached: no route", "amber", "Not listed on w-example-org: the website cannot be reached: no route."],
    // Another room's, and what is nobody's fault here.
    ["enc:attic.480p", "sad", "no frames", "green", "Live for 2 min."],
    ["hall-1:uplink", "hungry", "there is nothing to send: see capture", "green", "Live for 2 min."],
    ["enc:hall.hls", "hungry", "waiting for the room to be live", "green", "Live for 2 min."],
    ["hall-1:mqtt", "sad", "another device has this name", "green", "Live for 2 min."],
    ["enc:hall.register-w", "hungry", "the room is not live", "green", "Live for 2 min."],
    ["enc:hall.register-w", "sleeping", "the encoder is stopping: the website is told no more", "green", "Live for 2 min."],
    ["enc:hall.register-w", "waking", "the website has not been told of \"hall\" yet", "green", "Live for 2 min."],
    ["enc:attic.register-w", "sad", "the website answers 500", "green", "Live for 2 min."],
  ];
  for (const [name, mood, reason, light, text] of cases) {
    assert.deepEqual(told(name, mood, reason), [light, text], `${name} ${mood}`);
  }
});

test("what matters more comes first", () => {
  const fleet = well();
  const order = [
    ["hall-1:box.update", "sad"],
    ["enc:hall.register-w-example-org", "sad"],
    ["hall-1:picture", "hungry"],
    ["hall-1:sound", "hungry"],
    ["enc:hall.480p", "sad"],
    ["hall-1:spool", "sad"],
    ["hall-1:uplink", "sad"],
    ["hall-1:capture", "sad"],
  ] as const;
  for (const [name, mood] of order) {
    component(fleet, name, mood, "why");
    assert.equal(`${room(fleet).sentences[0]?.device}:${room(fleet).sentences[0]?.component}`, name);
  }
  assert.equal(room(fleet).sentences.length, order.length, "and none is lost");
});

test("of an encoder with several rooms, a website's trouble is told with the room", () => {
  const fleet = well();
  component(fleet, "enc:hall.register-w", "sad", "the website answers 500");
  const told = sentences(fleet.devices.get("enc")!, null, moment).map((it) => it.text);
  assert.ok(told.indexOf("Hall: Not listed on w: the website answers 500.") >= 0, told.join("\n"));
});

test("backlog, heat and losses are told in numbers", () => {
  const fleet = well();
  health(fleet, "hall-1", { backlog_ms: 184_000, backlog_bytes: 42_000_000, lost_ms: 0 });
  assert.equal(room(fleet).text, "3 min of the talk (42.0 MB) wait to be sent; they are kept.");
  assert.deepEqual(facts(room(fleet)), ["12 viewers", "3 min to send"]);
  health(fleet, "hall-1", { temperature_c: 91.4, lost_ms: 0 });
  assert.equal(room(fleet).text, "It is hot, 91 °C: can air get to it?");
  health(fleet, "hall-1", { lost_ms: 6000 });
  assert.deepEqual(
    [room(fleet).light, room(fleet).text],
    ["red", "6 s of the talk are lost for good, the last 0 s ago."],
  );
  // A loss before we looked is no news, and an old one is told no more.
  const later = new Fleet();
  birth(later, "hall-1", "collector", ["hall"]);
  health(later, "hall-1", { lost_ms: 6000 });
  assert.equal(room(later).light, "green");
  const at = NOW + 11 * 60_000;
  health(fleet, "hall-1", { lost_ms: 6000 }, at);
  health(fleet, "enc", {}, at);
  assert.equal(room(fleet, "hall", { now: at, since: NOW }).light, "green");
});

test("a machine that is lost, stopped, silent or only remembered says so", () => {
  const fleet = well();
  say(fleet, "hall-1/state", { v: 1, state: "lost" });
  component(fleet, "enc:hall.ingest", "hungry", "nobody is publishing");
  let hall = room(fleet, "hall", { now: NOW + 4000, since: NOW });
  assert.deepEqual([hall.light, hall.levels], ["red", []]);
  assert.equal(hall.text, "The box hall-1 is lost for 4 s: has it power and network?");
  assert.equal(hall.sentences.length, 1, "what follows from it is not told as well");
  assert.equal(fleet.entries[0]?.text, "the broker lost it: no power, no network, or it crashed");
  // It speaks again: whatever the broker keeps, it is there.
  component(fleet, "enc:hall.ingest", "happy", "hall-1 is publishing");
  health(fleet, "hall-1", {}, NOW + 9000);
  health(fleet, "enc", {}, NOW + 9000);
  hall = room(fleet, "hall", { now: NOW + 9000, since: NOW });
  assert.deepEqual([hall.light, fleet.entries[0]?.text], ["green", "is there"]);
  // Silence.
  const late = NOW + 9000 + SILENCE + 1000;
  health(fleet, "enc", {}, late);
  hall = room(fleet, "hall", { now: late, since: NOW });
  assert.equal(hall.text, "The box hall-1 has said nothing for 21 s: is its network down?");
  // Not before it had time to speak after we came (back).
  assert.equal(room(fleet, "hall", { now: late, since: late - 5000 }).light, "green");
  // In good order.
  say(fleet, "hall-1/state", { v: 1, state: "disconnected" }, false, late);
  assert.equal(room(fleet, "hall", { now: late, since: NOW }).text, "The box hall-1 was stopped 0 s ago.");
  const night = late + 3_600_000;
  health(fleet, "enc", {}, night);
  hall = room(fleet, "hall", { now: night, since: NOW });
  assert.deepEqual([hall.light, hall.text], ["green", "Live for 61 min."], "another publishes");
  component(fleet, "enc:hall.ingest", "hungry", "nobody is publishing");
  // Only what the broker kept.
  const kept = new Fleet();
  birth(kept, "old", "collector", ["hall"]);
  assert.equal(
    room(kept, "hall").text,
    "The box old has not been heard yet: the broker only remembers it.",
  );
  say(fleet, "enc/state", { v: 1, state: "lost" }, false, night);
  assert.match(room(fleet, "hall", { now: night, since: NOW }).text, /^The encoder enc is lost/);
});

test("what the broker only kept is told without a time", () => {
  const fleet = new Fleet();
  birth(fleet, "hall-1", "collector", ["hall"]);
  say(fleet, "hall-1/state", { v: 1, state: "lost" }, true);
  const soon = { now: NOW + 2000, since: NOW };
  assert.equal(room(fleet, "hall", soon).text, "The box hall-1 is lost: has it power and network?");
  say(fleet, "hall-1/state", { v: 1, state: "disconnected" }, true);
  const hall = room(fleet, "hall", soon);
  assert.deepEqual([hall.light, hall.text], ["grey", "The box hall-1 is off."]);
  // What is seen to happen has its time, also when the broker repeats it after a reconnect.
  say(fleet, "hall-1/state", { v: 1, state: "lost" }, false, NOW + 3000);
  say(fleet, "hall-1/state", { v: 1, state: "lost" }, true, NOW + 5000);
  const later = { now: NOW + 9000, since: NOW + 5000 };
  assert.match(room(fleet, "hall", later).text, /^The box hall-1 is lost for 6 s:/);
  // It was heard before the page was away; it is not speaking now.
  const away = well();
  say(away, "hall-1/state", { v: 1, state: "lost" }, true, NOW + 60_000);
  const back = { now: NOW + 61_000, since: NOW + 60_000 };
  assert.match(room(away, "hall", back).text, /^The box hall-1 is lost: /);
});

test("a clock that is off is reckoned with", () => {
  const fleet = well();
  const wrong = NOW - 7_200_000;
  const at = new Date(wrong).toISOString();
  const since = new Date(wrong - 40_000).toISOString();
  say(fleet, "hall-1/health", { v: 1, at, mood: "hungry", capture: { silent: { on: true, since } } });
  say(fleet, "hall-1/component/sound", { v: 1, mood: "hungry", since: new Date(wrong - 30_000).toISOString(), reason: "x", restarts: 0 });
  assert.equal(room(fleet).text, "No sound for 40 s: is the mixer's output muted?");
  say(fleet, "hall-1/event", { v: 1, seq: 1, at, kind: "mood", component: "sound", message: "silent" });
  assert.equal(fleet.entries[0]?.at, NOW);
});

test("machines without a room stand for themselves, and kept messages can be taken back", () => {
  const fleet = new Fleet();
  birth(fleet, "spare", "collector", []);
  health(fleet, "spare", {});
  assert.deepEqual(rooms(fleet, moment).map((it) => [it.name, it.machine]), [["spare", true]]);
  component(fleet, "spare:capture", "sad", "broken");
  fleet.take(read("backrow/spare/component/capture", bytes(""))!, false, NOW);
  assert.equal(rooms(fleet, moment)[0]?.light, "green");
  fleet.take(read("backrow/spare/birth", bytes(""))!, false, NOW);
  fleet.take(read("backrow/spare/state", bytes(""))!, false, NOW);
  assert.equal(fleet.devices.size, 0);
  // A stray message makes no machine.
  component(fleet, "stray:capture", "sad", "broken");
  assert.deepEqual(rooms(fleet, moment), []);
});

test("the moods a component had are kept, and events come once", () => {
  const fleet = well();
  component(fleet, "hall-1:sound", "hungry", "no sound for 10 s", 20);
  component(fleet, "hall-1:sound", "hungry", "no sound for 20 s", 20);
  component(fleet, "hall-1:sound", "happy", "there is sound", 5);
  const before = fleet.devices.get("hall-1")?.components.get("sound")?.before;
  assert.deepEqual(before?.map((it) => [it.mood, it.reason]), [
    ["hungry", "no sound for 20 s"],
    ["happy", "working"],
  ]);
  const event = { v: 1, seq: 4, at: ago(1), kind: "loss", component: "uplink", message: "2 segments" };
  say(fleet, "hall-1/event", event);
  say(fleet, "hall-1/event", event);
  assert.equal(fleet.entries.filter((it) => it.text === "2 segments").length, 1);
});

test("sixty rooms are in sight on a laptop, and one is as large as it can be", () => {
  // Of 1440×900; of 1366×768 and 1280×800 what a browser's own bars leave; of 1920×1080.
  const areas = [[1428, 820], [1354, 535], [1268, 559], [1908, 1000]] as const;
  for (let count = 1; count <= 60; count += 1) {
    for (const [width, tall] of areas) {
      const { columns, size: kind } = layout(count, width, tall);
      const tile = (width + GAP) / columns - GAP;
      const rows = Math.ceil(count / columns);
      assert.ok(rows * (height(tile, kind) + GAP) - GAP <= tall, `${count} at ${width}×${tall}: ${kind}`);
      assert.ok(tile >= 120, `${count} at ${width}×${tall}: ${tile} px leave no place for a sentence`);
    }
  }
  assert.equal(layout(1, 1428, 820).size, "large");
  assert.deepEqual(layout(60, 1428, 820), { columns: 10, size: "small" });
  assert.deepEqual(layout(60, 1354, 569), { columns: 10, size: "tiny" });
  assert.deepEqual(layout(24, 1354, 569).size, "small", "no smaller than it must be");
  assert.deepEqual(layout(500, 1354, 569).columns, 10, "the page scrolls");
  assert.deepEqual(layout(60, 390, 780), { columns: 1, size: "row" });
  assert.equal(layout(0, 1428, 820).columns > 0, true);
});

test("a series holds an hour, and a line breaks where nothing was told", () => {
  const series = new Series();
  for (let at = NOW - 2 * HOUR; at <= NOW; at += 5000) series.push(at === NOW ? 7 : 1, at);
  const points = series.points(NOW);
  assert.equal(points.length, 360);
  assert.deepEqual(points[359]?.value, 7);
  assert.equal(series.points(NOW + 2 * HOUR).length, 0, "an hour later all is gone");
  series.push(3, NOW + HOUR / 2);
  const broken = path(series.points(NOW + HOUR / 2), NOW + HOUR / 2, { width: 300, height: 60, low: 0, high: 10 });
  assert.equal(broken.split("M").length - 1, 2);
  assert.ok(!/NaN|Infinity/.test(broken));
  series.push(4, NOW - HOUR);
  assert.deepEqual(series.points(NOW - HOUR).map((it) => it.value), [4], "a clock set back begins anew");
  assert.deepEqual([ceiling([{ at: 0, value: 37 }], 1), ceiling([], 10), ceiling([{ at: 0, value: 0 }], 1)], [50, 10, 1]);
});

test("an order is a ULID with an expiry, and its answers are followed", () => {
  const id = ulid(NOW, () => 255);
  assert.match(id, /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
  assert.ok(ulid(NOW + 1, () => 0) > id, "later ones sort later");
  assert.deepEqual(JSON.parse(payload(id, "identify", NOW)), {
    v: 1, id, command: "identify", expires: "2026-05-01T10:01:00.000Z", seconds: 30,
  });
  const orders = new Orders();
  const order = orders.give(id, "hall-1", "restart", NOW);
  orders.passed(id, null);
  const ack = (device: string, state: string): void => {
    const message = read(`backrow/${device}/command/ack`, bytes({ v: 1, id, state, message: "restarting" }));
    assert.ok(message?.kind === "ack");
    orders.answered(message);
  };
  ack("hall-2", "done");
  assert.equal(order.state, "sent", "another machine's answer is none");
  ack("hall-1", "accepted");
  assert.deepEqual([order.state, order.text], ["accepted", "Restarting."]);
  const second = orders.give("b", "hall-1", "restart", NOW);
  orders.passed("b", "The broker says no.");
  assert.deepEqual([second.state, second.text], ["failed", "The broker says no."]);
  const third = orders.give("c", "hall-1", "restart", NOW);
  orders.tick(NOW + PATIENCE + 1);
  assert.deepEqual([third.state, order.state], ["unanswered", "accepted"]);
});

test("only a box has buttons; others are restarted by hand", () => {
  const fleet = well();
  const by = (name: string): string | null => byHand(fleet.devices.get(name)!);
  assert.deepEqual([by("enc"), by("hall-1")], ["backrow restart enc", "backrow restart hall-1"]);
  component(fleet, "hall-1:box.mqtt", "sad", "another device has this name");
  assert.equal(by("hall-1"), null, "a box is one however its parts are");
});

test("the broker's address is checked before it is tried", () => {
  assert.equal(settings.address(" broker.example.org "), "wss://broker.example.org");
  assert.equal(settings.problem("wss://broker.example.org:8084", true), null);
  assert.equal(settings.problem("ws://localhost:8083", true), null);
  assert.match(settings.problem("ws://broker", true) ?? "", /Use wss/);
  assert.match(settings.problem("mqtts://broker", false) ?? "", /WebSocket only/);
  assert.match(settings.problem("wss://", false) ?? "", /no address/);
  assert.match(settings.problem("wss://u:p@b", false) ?? "", /own fields/);
  assert.match(settings.problem("", false) ?? "", /Where is the broker/);
  const offered = settings.parse({ broker: "wss://b", commands: true, password: 7 });
  assert.deepEqual(offered, { broker: "wss://b", username: "", password: "", commands: true });
  assert.equal(settings.merge(null, offered).broker, "wss://b");
  assert.equal(settings.merge(settings.parse({ broker: "wss://c" }), offered).broker, "wss://c");
  for (const garbage of [null, 7, "x", [], { broker: {} }]) assert.equal(settings.parse(garbage).broker, "");
});

test("numbers are told as people say them", () => {
  assert.deepEqual([0, 119_000, 120_000, 7_500_000, 1e9].map(span), ["0 s", "119 s", "2 min", "2 h 05 min", "11 days"]);
  assert.deepEqual([0, 999, 1400, 2.5e11].map(size), ["0 B", "999 B", "1.4 kB", "250 GB"]);
  assert.deepEqual(["", "no sound", "Why?"].map(sentence), ["", "No sound.", "Why?"]);
  assert.match(clock(NOW, NOW), /^\d\d:\d\d:\d\d$/);
  assert.match(clock(NOW - 1e9, NOW), /^\d{4}-\d\d-\d\d /);
});
