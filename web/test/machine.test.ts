import assert from "node:assert/strict";
import { test } from "node:test";
import type { Room, Rooms } from "../src/api";
import {
  GIVE_UP,
  HLS_GRACE,
  PLAY_OUT,
  SLEPT,
  STALLED,
  initial,
  step,
  type Context,
  type Effect,
  type Event,
  type Model,
} from "../src/machine";
import { wayKey, type Abilities } from "../src/ways";

const chrome: Abilities = {
  mse: true,
  nativeHls: false,
  preferNative: false,
  canPlay: (type) => (/webm|mpeg|ogg|aac/.test(type) ? "maybe" : ""),
};

function room(change: Partial<Room> = {}): Room {
  return {
    name: "demo",
    title: "Demo room",
    live: true,
    since: null,
    viewers: 0,
    hls: true,
    renditions: [
      { name: "source", audioOnly: false, height: 720 },
      { name: "240p", audioOnly: false, height: 240 },
      { name: "audio", audioOnly: true, height: null },
    ],
    mounts: {
      "webcast-high.webm": { type: "video/webm", live: true },
      "audio-only.mp3": { type: "audio/mpeg", live: true },
    },
    preview: false,
    ...change,
  };
}

/** Drives the machine as the page does, on a clock that the test moves. */
class Page {
  model: Model = initial("auto");
  now = 1_000_000;
  effects: Effect[] = [];
  instance = "one";

  constructor(private context: Partial<Context> = {}) {
    this.send({ kind: "start" });
  }

  send(event: Event): Effect[] {
    const before = JSON.stringify(this.model);
    const kept = this.model;
    const result = step(this.model, event, this.now, {
      room: "demo",
      can: chrome,
      random: () => 0.5,
      ...this.context,
    });
    assert.equal(JSON.stringify(kept), before, "the old model is left as it was");
    this.model = result.model;
    this.effects.push(...result.effects);
    return result.effects;
  }

  polled(...rooms: Room[]): Effect[] {
    const answer: Rooms = { instance: this.instance, rooms };
    return this.send({ kind: "polled", rooms: answer });
  }

  /** Lets time pass in ticks; answers each poll with `answer`, and plays if `plays`. */
  pass(ms: number, answer: Room | null, plays = false): void {
    const end = this.now + ms;
    while (this.now < end) {
      this.now += 500;
      this.send({ kind: "tick" });
      if (plays && this.model.way) this.send({ kind: "progress" });
      if (this.model.polling) {
        if (answer) this.polled(answer);
        else this.send({ kind: "pollFailed" });
      }
    }
  }

  did(kind: Effect["do"]): number {
    return this.effects.filter((it) => it.do === kind).length;
  }

  playing(): Page {
    this.polled(room());
    this.send({ kind: "progress" });
    assert.equal(this.model.phase, "playing");
    return this;
  }
}

test("a live room plays over hls.js at once", () => {
  const page = new Page();
  assert.deepEqual(page.effects, [{ do: "poll" }]);
  page.polled(room());
  assert.equal(page.model.phase, "joining");
  assert.equal(page.model.way && wayKey(page.model.way), "hls.js hls/index.m3u8");
  page.send({ kind: "progress" });
  assert.equal(page.model.phase, "playing");
});

test("not live yet turns into playing by itself", () => {
  const page = new Page();
  page.polled(room({ live: false, hls: false }));
  assert.equal(page.model.phase, "off");
  assert.equal(page.model.seenLive, false);
  page.pass(10_000, room({ live: false, hls: false }));
  assert.ok(page.did("poll") >= 3, "it keeps asking");
  page.pass(5_000, room());
  assert.ok(page.model.way);
});

test("a room that goes off air is played to its last frame, then says back soon", () => {
  const page = new Page().playing();
  page.pass(12_000, room({ live: false }), true);
  assert.equal(page.model.phase, "playing", "there is still something in the buffer");
  page.pass(STALLED + 1000, room({ live: false }));
  assert.equal(page.model.phase, "off");
  assert.equal(page.model.seenLive, true);
  assert.equal(page.model.way, null);
  page.pass(5_000, room());
  page.send({ kind: "progress" });
  assert.equal(page.model.phase, "playing");
});

test("a stream that never ends by itself is left some time after its room went off air", () => {
  const page = new Page().playing();
  page.pass(PLAY_OUT + 15_000, room({ live: false }), true);
  assert.equal(page.model.phase, "off");
});

test("HLS that is not made yet is waited for, and WebM taken after a while", () => {
  const page = new Page();
  page.polled(room({ hls: false }));
  assert.equal(page.model.phase, "joining");
  assert.equal(page.did("attach"), 0);
  page.pass(HLS_GRACE + 2000, room({ hls: false }));
  assert.equal(page.model.way && page.model.way.url, "webcast-high.webm");
});

test("the encoder restarts: the page says so and connects anew", () => {
  const page = new Page().playing();
  page.send({ kind: "failed", failure: "network" });
  assert.equal(page.model.phase, "joining");
  page.send({ kind: "pollFailed" });
  assert.equal(page.model.phase, "unreachable");
  const asked = page.did("poll");
  page.pass(60_000, null);
  const polls = page.did("poll") - asked;
  assert.ok(polls >= 4 && polls <= 12, `a server that is down is asked with patience: ${polls}`);
  page.instance = "two";
  page.pass(16_000, room());
  page.send({ kind: "progress" });
  assert.equal(page.model.phase, "playing");
});

test("another process behind the same address starts the stream anew", () => {
  const page = new Page().playing();
  page.instance = "two";
  page.effects = [];
  page.polled(room());
  assert.deepEqual(page.effects.map((it) => it.do), ["detach", "attach"]);
});

test("blocked HLS gives way to WebM, unsupported WebM to sound", () => {
  const page = new Page();
  page.polled(room());
  for (let failure = 0; failure < 3; failure += 1) {
    assert.equal(page.model.way && page.model.way.engine, "hls.js");
    page.send({ kind: "failed", failure: "network" });
    page.pass(9000, room());
  }
  assert.equal(page.model.way && page.model.way.url, "webcast-high.webm");
  page.send({ kind: "failed", failure: "unsupported" });
  page.pass(9000, room());
  assert.equal(page.model.way && page.model.way.url, "audio-only.mp3");
  page.send({ kind: "failed", failure: "unsupported" });
  page.pass(9000, room());
  assert.equal(page.model.phase, "unplayable");
  page.pass(61_000, room());
  assert.equal(page.model.way && page.model.way.engine, "hls.js", "it tries again after a minute");
});

test("a media error is recovered once, and then connected anew", () => {
  const page = new Page().playing();
  assert.deepEqual(page.send({ kind: "failed", failure: "media" }), [{ do: "recover" }]);
  assert.equal(page.model.phase, "playing");
  const effects = page.send({ kind: "failed", failure: "media" });
  assert.equal(effects[0] && effects[0].do, "detach");
});

test("attempts are spaced out, and each success forgets them", () => {
  const page = new Page().playing();
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 6; attempt += 1) {
    page.send({ kind: "failed", failure: "network" });
    const from = page.now;
    page.effects = [];
    while (page.did("attach") === 0) page.pass(500, room());
    pauses.push(page.now - from);
  }
  assert.ok((pauses[4] ?? 0) >= 4 * (pauses[0] ?? 0), pauses.join());
  assert.ok(Math.max(...pauses) <= 12_000, pauses.join());
  page.pass(GIVE_UP + 2000, room(), true);
  assert.equal(page.model.attempts, 0);
});

test("a frozen picture is noticed, shown, and connected anew", () => {
  const page = new Page().playing();
  page.pass(STALLED + 500, room());
  assert.equal(page.model.phase, "stalled");
  page.send({ kind: "progress" });
  assert.equal(page.model.phase, "playing");
  page.effects = [];
  page.pass(GIVE_UP + 4000, room());
  assert.equal(page.did("attach"), 1);
});

test("nothing is forced on someone who paused", () => {
  const page = new Page().playing();
  page.send({ kind: "pause" });
  page.effects = [];
  page.pass(60_000, room());
  assert.equal(page.did("attach") + page.did("detach"), 0);
  page.send({ kind: "resume" });
  page.send({ kind: "progress" });
  assert.equal(page.model.phase, "playing");
});

test("waking from sleep asks again and goes to the live edge", () => {
  const page = new Page().playing();
  page.effects = [];
  page.now += SLEPT * 100;
  page.send({ kind: "tick" });
  assert.deepEqual(page.effects.map((it) => it.do).sort(), ["edge", "poll"]);
});

test("waking from sleep reconnects a progressive stream", () => {
  const page = new Page({ can: { ...chrome, mse: false } }).playing();
  assert.equal(page.model.way && page.model.way.engine, "progressive");
  page.effects = [];
  page.now += SLEPT * 100;
  page.send({ kind: "tick" });
  assert.deepEqual(page.effects.map((it) => it.do).sort(), ["attach", "poll"]);
});

test("a poll lost in sleep does not stop the polling", () => {
  const page = new Page();
  page.now += SLEPT * 2; // the first answer never came
  assert.deepEqual(page.send({ kind: "tick" }), [{ do: "poll" }]);
});

test("choosing a quality stays on the stream, choosing sound leaves it", () => {
  const page = new Page().playing();
  page.effects = [];
  page.send({ kind: "choose", choice: "240p" });
  const way = page.model.way;
  assert.equal(way && way.url, "hls/index.m3u8");
  assert.equal(way && way.rendition, "240p");
  page.send({ kind: "choose", choice: "audio" });
  assert.equal(page.model.way && page.model.way.url, "hls/audio/index.m3u8");
  assert.equal(page.model.way && page.model.way.audioOnly, true);
  assert.equal(page.did("detach"), 0);
});

test("a room that the encoder does not know is said so, and found when it comes", () => {
  const page = new Page();
  page.polled();
  assert.equal(page.model.phase, "off");
  assert.equal(page.model.unknown, true);
  page.pass(5000, room());
  assert.ok(page.model.way);
  assert.equal(page.model.unknown, false);
});

test("polls of many pages are spread out", () => {
  const at = (random: number) => {
    const page = new Page({ random: () => random });
    page.polled(room({ live: false }));
    return page.model.pollAt - page.now;
  };
  assert.ok(at(0.999) - at(0) >= 1000);
});

test("no order of events leaves the machine stuck or inconsistent", () => {
  let seed = 20261122;
  const random = () => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed / 2147483648;
  };
  for (let run = 0; run < 300; run += 1) {
    const page = new Page({ random });
    for (let index = 0; index < 60; index += 1) {
      page.now += Math.floor(random() * 6000);
      const events: Event[] = [
        { kind: "tick" },
        { kind: "progress" },
        { kind: "pollFailed" },
        { kind: "ended" },
        { kind: "failed", failure: "network" },
        { kind: "failed", failure: "media" },
        { kind: "failed", failure: "unsupported" },
        { kind: "pause" },
        { kind: "resume" },
        { kind: "online" },
        { kind: "choose", choice: "audio" },
        { kind: "choose", choice: "auto" },
        { kind: "polled", rooms: { instance: "one", rooms: [room()] } },
        { kind: "polled", rooms: { instance: "two", rooms: [room({ hls: false })] } },
        { kind: "polled", rooms: { instance: "two", rooms: [room({ live: false })] } },
        { kind: "polled", rooms: { instance: "two", rooms: [] } },
      ];
      const event = events[Math.floor(random() * events.length)] as Event;
      page.send(event);
      const { phase, way } = page.model;
      if (phase === "off" || phase === "unreachable" || phase === "unplayable") {
        assert.equal(way, null, `${phase} after ${event.kind}`);
      }
      if (phase === "playing" || phase === "stalled") assert.ok(way, `${phase} after ${event.kind}`);
    }
    // Whatever happened: once all is well, it plays.
    page.send({ kind: "resume" });
    page.pass(90_000, room(), true);
    assert.equal(page.model.phase, "playing", `run ${run}`);
  }
});
