// What to say of a machine: every fault as a sentence for people, the one that matters first.
//
// A light says who is wanted: green nobody, amber somebody should look, red hands are needed, grey
// it is off. Within a light, the rank says what comes first: what nobody sees or hears any more,
// before what is lost of the recording, before what viewers lose, before what may wait.

import { isBox, ours, type Component, type Device } from "./fleet";
import type { Mood } from "./messages";
import { sentence, size, span } from "./words";

export type Light = "grey" | "green" | "amber" | "red";

export interface Sentence {
  light: Light;
  rank: number;
  device: string;
  component: string;
  text: string;
}

/** When the picture holds. */
export interface Moment {
  /** Our clock, ms: now, or when the connection was lost. */
  now: number;
  /** Since when we hear the broker, ms. */
  since: number;
}

/** A machine says something every five seconds; so long a silence is none of the network's. */
export const SILENCE = 20_000;
/** So long after it was switched off in good order, a machine is simply off. */
const OFF_SOON = 10 * 60_000;
/** A loss is told for so long. */
const LOSS_TOLD = 10 * 60_000;
/** More than this waits to be sent: the network is too slow, or was away. */
const BACKLOG_WORTH = 10_000;
const HOT = 85;
/** The collector speaks of silence and a black picture after so long. */
const SENSES_WAIT = 10_000;
/** Starting takes some time; longer than this is worth a word. */
const WAKING_WORTH = 20_000;

interface Rule {
  rank: number;
  /** What the reason is about; empty where the reason says it. */
  about: string;
  /** Without its input the component is `hungry`: null where another component's sentence says why. */
  hungry: Light | null;
  /** What it means that the component failed. */
  failed: Light;
  /** What it means that it starts, and does not come to an end with it. */
  waking: Light | null;
  /** What it means that it was switched off. */
  sleeping: Light | null;
}

const rule = (rank: number, about: string, hungry: Light | null, failed: Light = "red"): Rule => ({
  rank,
  about,
  hungry,
  failed,
  waking: "amber",
  sleeping: null,
});

/** A map: a component may be called `constructor`. */
function table(rules: { [component: string]: Rule }): Map<string, Rule> {
  return new Map(Object.keys(rules).map((name) => [name, rules[name] as Rule]));
}

const COLLECTOR = table({
  capture: rule(94, "No picture is captured", "red"),
  slate: rule(93, "Viewers see the slate, not the room", "amber", "amber"),
  uplink: rule(92, "The encoder is not reached", null),
  spool: rule(90, "The recording on the box", "amber"),
  sound: rule(80, "", "amber"),
  picture: rule(79, "", "amber"),
});

const BOX = table({
  "box.disk": rule(85, "The box's disk", "amber"),
  "box.network": rule(62, "The box's network", "amber", "amber"),
  "box.system": rule(60, "Part of the box does not run", "amber", "amber"),
  "box.update": rule(58, "The box's update", "amber", "amber"),
  "box.config": rule(50, "The box's settings", "amber", "amber"),
  "box.clock": rule(40, "The box's clock", "amber", "amber"),
  "box.page": rule(20, "The box's page", "amber", "amber"),
  "box.mqtt": rule(20, "The box's connection to the broker", "amber", "amber"),
});

/** Of an encoder, below `{room}.`. */
const OF_ROOM = table({
  ingest: rule(88, "The encoder gets nothing", "amber"),
  archive: rule(91, "The encoder does not record", null),
  hls: rule(87, "Viewers are stuck", null),
  transcode: rule(86, "The encoder's formats fail", null),
});
/** A rung of the ladder sleeps when it is left out, because the machine cannot keep up. */
const RENDITION: Rule = { ...rule(70, "", null), sleeping: "amber" };
/** `register-{website}`: who follows the website does not find the room; whoever is here goes on. */
const REGISTER: Rule = { ...rule(65, "Not listed on", null, "amber"), waking: null };
const REGISTERS = /^register-(.+)$/;
const OTHER = rule(30, "", null, "amber");

/** Everything to say of a machine, for one of its rooms or (null) all; the most important first. */
export function sentences(device: Device, room: string | null, moment: Moment): Sentence[] {
  const away = absence(device, moment);
  if (away) return [away];
  const found: Sentence[] = [];
  for (const [name, component] of device.components) {
    const said = ofComponent(device, name, component, room, moment);
    if (said) found.push(said);
  }
  found.push(...ofNumbers(device, moment));
  return ordered(found);
}

const WORRY: { [light in Light]: number } = { grey: 0, green: 1, amber: 2, red: 3 };

export function worse(one: Light, other: Light): Light {
  return WORRY[one] >= WORRY[other] ? one : other;
}

export function ordered(found: Sentence[]): Sentence[] {
  return found.sort(
    (a, b) =>
      WORRY[b.light] - WORRY[a.light] || b.rank - a.rank || (a.component < b.component ? -1 : 1),
  );
}

/** What a person calls the machine. */
export function titled(device: Device): string {
  if (device.role === "encoder") return `The encoder ${device.name}`;
  return isBox(device) || device.role === "collector"
    ? `The box ${device.name}`
    : device.name;
}

/** That it is not there, or says nothing. */
function absence(device: Device, { now, since }: Moment): Sentence | null {
  const say = (light: Light, text: string): Sentence => ({
    light,
    rank: 100,
    device: device.name,
    component: "",
    text,
  });
  const title = titled(device);
  if (device.life === "lost") {
    const spoke = device.heard !== null && device.heard > device.lifeHeard + 1000;
    if (spoke) return say("red", `${title} still speaks, but its main program is gone.`);
    const encoder = device.role === "encoder";
    const what = encoder ? "nobody can watch. Does it run?" : "has it power and network?";
    const { lifeSince } = device;
    const long = lifeSince === null ? "" : ` for ${span(now - lifeSince)}`;
    return say("red", `${title} is lost${long}: ${what}`);
  }
  if (device.life === "disconnected") {
    const ago = device.lifeSince === null ? null : now - device.lifeSince;
    if (ago !== null && ago < OFF_SOON) return say("amber", `${title} was stopped ${span(ago)} ago.`);
    return say("grey", `${title} is off.`);
  }
  const quiet = now - Math.max(device.healthHeard, since);
  if (quiet > SILENCE) {
    const kept = device.healthHeard === 0;
    return say(
      kept ? "amber" : "red",
      kept
        ? `${title} has not been heard yet: the broker only remembers it.`
        : `${title} has said nothing for ${span(quiet)}: is its network down?`,
    );
  }
  return null;
}

function ofComponent(
  device: Device,
  name: string,
  component: Component,
  room: string | null,
  moment: Moment,
): Sentence | null {
  const found = ruleOf(device, name, room);
  if (!found) return null;
  const light = lightOf(found.rule, component, device, moment.now);
  if (!light) return null;
  return {
    light,
    rank: rankOf(found.rule, component.mood),
    device: device.name,
    component: name,
    text: words(device, name, found, component, moment.now),
  };
}

interface Found {
  rule: Rule;
  /** What failed. */
  about: string;
  /** The part's own name. */
  part: string;
}

/** The rule for a component; null when it is another room's. */
function ruleOf(device: Device, name: string, room: string | null): Found | null {
  const plain = (it: Rule): Found => ({ rule: it, about: it.about, part: name });
  const box = BOX.get(name);
  if (box) return plain(box);
  if (name === "mqtt") return null;
  const own = COLLECTOR.get(name);
  if (own && device.role !== "encoder") return plain(own);
  const dot = name.indexOf(".");
  const of = dot > 0 ? name.slice(0, dot) : "";
  if (device.role !== "encoder" || device.rooms.indexOf(of) < 0) {
    return { ...plain(OTHER), about: name };
  }
  if (room !== null && of !== room) return null;
  const below = name.slice(dot + 1);
  const where = room === null && device.rooms.length > 1 ? `${of}: ` : "";
  const known = OF_ROOM.get(below);
  const part = where + below;
  if (known) return { rule: known, about: where + known.about, part };
  const website = REGISTERS.exec(below)?.[1];
  if (website) return { rule: REGISTER, about: `${where}${REGISTER.about} ${website}`, part };
  return { rule: RENDITION, about: `${part} fails`, part };
}

function lightOf(rule: Rule, component: Component, device: Device, now: number): Light | null {
  switch (component.mood) {
    case "sad":
    case "lost":
      return rule.failed;
    case "hungry":
      return rule.hungry;
    case "waking":
      return now - ours(device, component.since) > WAKING_WORTH ? rule.waking : null;
    case "sleeping":
      return rule.sleeping;
    case "happy":
      // The slate is there only while something is wrong.
      return rule === COLLECTOR.get("slate") ? "amber" : null;
  }
}

/** What has failed comes before what only starts, or is left out. */
function rankOf(rule: Rule, mood: Mood): number {
  if (mood === "waking") return Math.min(rule.rank, 25);
  return mood === "sleeping" ? Math.min(rule.rank, 22) : rule.rank;
}

function words(device: Device, name: string, found: Found, component: Component, now: number): string {
  const { about, part } = found;
  const { mood, reason, since } = component;
  if (mood === "hungry" && name === "sound") {
    const from = device.health?.silentSince ?? since - SENSES_WAIT;
    return `No sound for ${span(now - ours(device, from))}: is the mixer's output muted?`;
  }
  if (mood === "hungry" && name === "picture") {
    const from = device.health?.blackSince ?? since - SENSES_WAIT;
    const long = span(now - ours(device, from));
    return `The picture has been black for ${long}: is the projector's source on?`;
  }
  if (name === "slate") return `${about}.`;
  if (mood === "waking") return sentence(`${part} is starting: ${reason}`);
  if (mood === "sleeping") return sentence(`${part} is left out: ${reason}`);
  return sentence(about === "" ? reason || name : reason ? `${about}: ${reason}` : about);
}

function ofNumbers(device: Device, { now }: Moment): Sentence[] {
  const found: Sentence[] = [];
  const say = (light: Light, rank: number, text: string): void => {
    found.push({ light, rank, device: device.name, component: "", text });
  };
  const health = device.health;
  if (!health) return found;
  if (device.lossGrew !== null && now - device.lossGrew < LOSS_TOLD && health.lostMs !== null) {
    const ago = span(now - device.lossGrew);
    say("red", 89, `${span(health.lostMs)} of the talk are lost for good, the last ${ago} ago.`);
  }
  if (health.backlogMs !== null && health.backlogMs > BACKLOG_WORTH) {
    const bytes = health.backlogBytes === null ? "" : ` (${size(health.backlogBytes)})`;
    const long = span(health.backlogMs);
    say("amber", 75, `${long} of the talk${bytes} wait to be sent; they are kept.`);
  }
  if (health.temperatureC !== null && health.temperatureC >= HOT) {
    say("amber", 45, `It is hot, ${Math.round(health.temperatureC)} °C: can air get to it?`);
  }
  return found;
}

/** The word beside a light: nobody needs to tell colours apart. */
export function word(light: Light): string {
  return { grey: "Off", green: "OK", amber: "Look", red: "Fix" }[light];
}
