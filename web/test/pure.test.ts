import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRooms } from "../src/api";
import { initial, type Model } from "../src/machine";
import { liveFor, qualityLabel, view, viewersText } from "../src/view";
import { qualities, waysFor, wayKey, type Abilities } from "../src/ways";

const answer = {
  v: 1,
  instance: "abc",
  a_field_of_the_future: {},
  rooms: [
    {
      name: "demo",
      title: "Demo room",
      live: true,
      since: "2026-11-22T10:00:00Z",
      viewers: { total: 3, hls: 1, progressive: 2 },
      hls: true,
      renditions: [
        { name: "source", audio_only: false, width: 1280, height: 720, bandwidth: 1 },
        { name: "480p", audio_only: false, width: 854, height: 480, bandwidth: 1 },
        { name: "240p", audio_only: false, width: 426, height: 240, bandwidth: 1 },
        { name: "audio", audio_only: true, width: null, height: null, bandwidth: 1 },
      ],
      mounts: {
        "webcast-high.webm": { type: "video/webm", live: true, clients: 1 },
        "webcast-low.webm": { type: "video/webm", live: true, clients: 1 },
        "audio-only.aac": { type: "audio/aac", live: true, clients: 0 },
        "audio-only.mp3": { type: "audio/mpeg", live: false, clients: 0 },
      },
      preview: true,
    },
  ],
};

const room = () => {
  const rooms = parseRooms(answer);
  const first = rooms && rooms.rooms[0];
  assert.ok(first);
  return first;
};

const can = (change: Partial<Abilities>): Abilities => ({
  mse: true,
  nativeHls: true,
  preferNative: false,
  canPlay: () => "maybe",
  ...change,
});

const keys = (choice: string, abilities: Abilities) => waysFor(room(), choice, abilities).map(wayKey);

test("the read model is read, and nonsense is not taken for it", () => {
  const first = room();
  assert.equal(first.viewers, 3);
  assert.deepEqual(qualities(first), ["source", "480p", "240p"]);
  assert.equal(first.mounts["audio-only.mp3"]?.live, false);
  for (const odd of [null, 7, "", [], {}, { rooms: 1 }, "<html>"]) {
    assert.equal(parseRooms(odd), null, JSON.stringify(odd));
  }
  const holes = parseRooms({ rooms: [null, { name: 5, mounts: [], renditions: {} }] });
  assert.equal(holes?.rooms.length, 2);
  assert.equal(holes?.rooms[1]?.live, false);
});

test("Safari plays HLS itself, others with hls.js, old ones WebM", () => {
  assert.equal(keys("auto", can({ preferNative: true }))[0], "native hls/index.m3u8");
  assert.equal(keys("auto", can({}))[0], "hls.js hls/index.m3u8");
  assert.equal(keys("auto", can({ mse: false }))[0], "native hls/index.m3u8");
  const old = keys("auto", can({ mse: false, nativeHls: false }));
  assert.deepEqual(old.slice(0, 2), ["progressive webcast-high.webm", "progressive webcast-low.webm"]);
  assert.deepEqual(keys("auto", can({ mse: false, nativeHls: false, canPlay: () => "" })), []);
});

test("a chosen rendition is held to by every engine", () => {
  assert.equal(waysFor(room(), "240p", can({}))[0]?.rendition, "240p");
  assert.equal(keys("240p", can({ preferNative: true }))[0], "native hls/240p/index.m3u8");
  const old = keys("240p", can({ mse: false, nativeHls: false }));
  assert.equal(old[0], "progressive webcast-low.webm", "the small one for a small choice");
});

test("sound only is HLS first, then the mounts, and never video", () => {
  const ways = waysFor(room(), "audio", can({}));
  assert.deepEqual(ways.map(wayKey), [
    "hls.js hls/audio/index.m3u8",
    "progressive audio-only.aac",
    "progressive audio-only.mp3",
  ]);
  assert.ok(ways.every((way) => way.audioOnly));
});

test("every phase has its words", () => {
  const base: Model = { ...initial("auto"), room: { ...room(), live: false } };
  const said = (change: Partial<Model>, online = true) => view({ ...base, ...change }, online);
  assert.equal(said({ phase: "off" }).headline, "Not live yet");
  assert.equal(said({ phase: "off", seenLive: true }).headline, "Back soon");
  assert.equal(said({ phase: "off", unknown: true }).headline, "No such room");
  assert.match(said({ phase: "unreachable" }).headline ?? "", /No answer/);
  assert.match(said({ phase: "unreachable" }, false).headline ?? "", /offline/);
  assert.match(said({ phase: "unplayable" }).detail, /Other ways/);
  assert.equal(said({ phase: "playing" }).headline, null);
  assert.equal(said({ phase: "off" }).badgeText, "Off air");
  assert.equal(said({ phase: "playing", room: room() }).badgeText, "Live");
  assert.equal(said({ phase: "unreachable", room: room() }).badge, "unknown");
});

test("labels and counts read well", () => {
  assert.equal(qualityLabel("source", 720), "Original (720p)");
  assert.equal(qualityLabel("source", null), "Original");
  assert.equal(qualityLabel("audio", null), "Sound only");
  assert.equal(viewersText(1), "1 watching");
  assert.equal(viewersText(0), "0 watching");
  const start = Date.parse("2026-11-22T10:00:00Z");
  assert.equal(liveFor("2026-11-22T10:00:00Z", start + 30_000), "just started");
  assert.equal(liveFor("2026-11-22T10:00:00Z", start + 12 * 60_000), "for 12 min");
  assert.equal(liveFor("2026-11-22T10:00:00Z", start + 125 * 60_000), "for 2 h 05 min");
  assert.equal(liveFor("2026-11-22T10:00:00Z", start - 1000), null, "a clock that is behind");
  assert.equal(liveFor("rubbish", start), null);
  assert.equal(liveFor(null, start), null);
});
