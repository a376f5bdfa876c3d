import assert from "node:assert/strict";
import { test } from "node:test";
import {
  contact,
  FLOOR,
  length,
  LOUD,
  parseLevels,
  parsePicture,
  patience,
  Peak,
  QUIET,
  SILENCE,
  told,
  word,
  zone,
  zoneWord,
  type Light,
} from "../src/box-model";

test("a status is read, and what is not one is refused", () => {
  const picture = parsePicture({
    v: 1,
    room: "hall",
    light: "red",
    headline: "One thing needs you.",
    rows: [{ id: "power", title: "Power", light: "green", says: "The box has power." }, 7],
    preview: 1790000000000,
    version: "1.2.0",
    details: [["Board", "rpi4"], "nonsense"],
    can_change: true,
    a_field_of_the_future: {},
  });
  assert.ok(picture);
  assert.deepEqual(picture.rows[0], {
    id: "power",
    title: "Power",
    light: "green",
    says: "The box has power.",
    todo: "",
  });
  assert.equal(picture.rows[1]?.light, "grey");
  assert.deepEqual(picture.details, [["Board", "rpi4"], ["", ""]]);
  assert.equal(picture.canChange, true);
  for (const nothing of [null, 1, "rows", {}, { rows: "none" }, []]) {
    assert.equal(parsePicture(nothing), null);
  }
});

test("levels are numbers or nothing", () => {
  assert.deepEqual(parseLevels([-20.5, -100]), [-20.5, -100]);
  assert.deepEqual(parseLevels([]), []);
  for (const nothing of [null, {}, [1, "x"], [NaN], [null]]) {
    assert.equal(parseLevels(nothing), null);
  }
});

test("every light has its own word", () => {
  const lights: Light[] = ["grey", "green", "amber", "red"];
  assert.equal(new Set(lights.map(word)).size, 4);
});

test("the meter's zones meet without a gap", () => {
  assert.equal(zone(null), "none");
  assert.equal(zone(-100), "silent");
  assert.equal(zone(FLOOR), "silent");
  assert.equal(zone(QUIET - 0.1), "quiet");
  assert.equal(zone(QUIET), "good");
  assert.equal(zone(LOUD), "good");
  assert.equal(zone(LOUD + 0.1), "loud");
  assert.equal(zoneWord(zone(-20)), "Good");
  for (let level = -110; level <= 5; level += 0.7) {
    const at = length(level);
    assert.ok(at >= 0 && at <= 1);
    assert.ok(length(level + 0.7) >= at);
  }
});

test("the word beside the meter outlasts a pause between words, not a silence", () => {
  const peak = new Peak(1500);
  assert.equal(peak.value(), null);
  peak.push([-12, -40], 0);
  peak.push([-70, -70], 1000);
  assert.equal(peak.value(), -12);
  peak.push([-70, -65], 1600);
  assert.equal(peak.value(), -65);
  peak.push([], 1700);
  assert.equal(peak.value(), null);
});

test("a box that says nothing is gone, and one that was never heard is asked for a while", () => {
  assert.equal(contact(null, 0, 1000), "asking");
  assert.equal(contact(null, 0, SILENCE + 1), "gone");
  assert.equal(contact(5000, 0, 5000 + SILENCE), "there");
  assert.equal(contact(5000, 0, 5001 + SILENCE), "gone");
});

test("attempts come rarer, but never very rare", () => {
  const waits = Array.from({ length: 20 }, (_, attempt) => patience(attempt));
  assert.ok(waits.every((wait, at) => at === 0 || wait >= (waits[at - 1] as number)));
  assert.equal(Math.max(...waits), 8000);
});

test("answers to orders are sentences", () => {
  assert.deepEqual(told(200, { ok: true, message: "the stream starts again" }), {
    ok: true,
    text: "The stream starts again.",
    token: false,
  });
  assert.deepEqual(told(401, { error: "unauthorized", message: "the token is wrong", hint: "Look." }), {
    ok: false,
    text: "The token is wrong. Look.",
    token: true,
  });
  assert.equal(told(502, null).text, "The box said no (502).");
  assert.equal(told(200, null).text, "Done.");
});
