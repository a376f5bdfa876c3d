// The dashboard: all rooms of an event over MQTT. What is known is in `fleet`, what is said of it
// in `sentences`; this is the page around them.

import { by, mark, say, show } from "./dashboard/element";
import { Fleet } from "./dashboard/fleet";
import { LastHour } from "./dashboard/last-hour";
import { Link, type Contact } from "./dashboard/link";
import { EventsPage, MachinesPage } from "./dashboard/lists";
import { MachinePage } from "./dashboard/machine-page";
import { read, stray } from "./dashboard/messages";
import { Orders, payload, ulid, type Command } from "./dashboard/orders";
import { rooms, shown, type Room } from "./dashboard/room";
import { RoomPage } from "./dashboard/room-page";
import type { Moment } from "./dashboard/sentences";
import * as settings from "./dashboard/settings";
import { Wall } from "./dashboard/wall";
import { span } from "./dashboard/words";

/** What changed is shown after so long; ages count every second. */
const SHOW = 250;
const TICK = 1000;
/** So often the last hour is kept. */
const KEEP = 15_000;
/** Showing takes at most one part in so many of the time: the rest is for listening. */
const PART = 3;

const fleet = new Fleet();
const orders = new Orders();
const opened = Date.now();
let chosen = settings.parse({});
let offered = chosen;
let link: Link | null = null;
let contact: Contact = "gone";
/** Since when it is so, and why. */
let since = opened;
let why = "";
let everThere = false;
let due = false;
/** How long showing took the last time, ms. */
let took = 0;

const storage = ((): Storage | null => {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
})();

const lastHour = new LastHour(storage);
const wall = new Wall(() => update());
const roomPage = new RoomPage();
const machinePage = new MachinePage(give);
const machinesPage = new MachinesPage();
const eventsPage = new EventsPage();
const page = by("page");

/** The picture holds now, or as it was when the connection was lost. */
function moment(now: number): Moment {
  return contact === "there" ? { now, since } : { now: everThere ? Math.min(now, since) : now, since };
}

function soon(): void {
  if (due) return;
  due = true;
  // With very many rooms on a slow machine it shows less often, and never falls behind.
  setTimeout(() => {
    due = false;
    if (!document.hidden) update();
  }, Math.max(SHOW, took * PART));
}

function update(): void {
  const now = Date.now();
  const at = moment(now);
  const all = rooms(fleet, at);
  // Names have only characters that need no escape.
  const [where = "", name = ""] = location.hash.slice(1).split("/");
  mark(document.body, "data-view", where === "" ? "wall" : where);
  mark(document.body, "data-contact", contact);
  show(by("wall"), where === "");
  show(page, where !== "");
  wall.count(all);
  if (where === "") wall.update(all, fleet, at.now);
  else turnTo(where, name, all, at);
  status(now);
  took = Date.now() - now;
}

function turnTo(where: string, name: string, all: Room[], at: Moment): void {
  const room = all.find((it) => it.name === name && it.machine === (where === "machine"));
  const device = fleet.devices.get(name);
  let element: HTMLElement | null = null;
  if (where === "room" && room) {
    roomPage.update(room, fleet, at);
    element = roomPage.element;
  } else if (where === "machine" && device && shown(device)) {
    machinePage.update(device, fleet, at, chosen.commands, orders.list);
    element = machinePage.element;
  } else if (where === "machines") {
    machinesPage.update(fleet, at);
    element = machinesPage.element;
  } else if (where === "events") {
    eventsPage.update(fleet, at.now);
    element = eventsPage.element;
  }
  show(by("missing"), element === null);
  if (page.lastElementChild === element) return;
  while (page.children.length > 1) page.lastElementChild?.remove();
  if (element) {
    page.append(element);
    window.scrollTo(0, 0);
  }
}

/** How old is what is shown? */
function status(now: number): void {
  const gone = contact !== "there" && chosen.broker !== "" && (everThere || contact === "gone");
  show(by("gone"), gone);
  const age = fleet.newest === null ? "" : ` What you see is ${span(now - fleet.newest)} old.`;
  say(by("gone-text"), `${why === "" ? "There is no connection to the broker." : why}${age}`);
  const newest = fleet.newest === null ? "" : `, newest ${span(now - fleet.newest)} ago`;
  say(
    by("link"),
    contact === "there" ? `Connected${newest}` : contact === "asking" ? "Connecting…" : "Not connected",
  );
  show(by("unread"), fleet.unread > 0);
  by("unread").title = `The last was on ${fleet.unreadTopic}`;
  const one = fleet.unread === 1;
  say(by("unread"), `${fleet.unread} message${one ? "" : "s"} on the broker ${one ? "is" : "are"} not understood`);
}

function give(device: string, command: Command): void {
  const now = Date.now();
  const bytes = new Uint8Array(16);
  crypto.getRandomValues(bytes);
  let used = 0;
  const id = ulid(now, () => bytes[used++ % 16] ?? 0);
  orders.give(id, device, command, now);
  const theirs = now - (fleet.devices.get(device)?.skew ?? 0);
  link?.publish(`backrow/${device}/command`, payload(id, command, theirs), (error) => {
    orders.passed(id, error === null ? null : error || "The broker did not take it.");
    soon();
  });
  soon();
}

function connect(): void {
  link?.close();
  link = null;
  const problem = settings.problem(chosen.broker, location.protocol === "https:");
  if (problem) {
    contact = "gone";
    form(true, chosen.broker === "" ? "" : problem);
    return;
  }
  link = new Link(chosen, {
    message(topic, bytes, kept) {
      const now = Date.now();
      const message = read(topic, bytes);
      if (!message) {
        if (stray(topic, bytes)) fleet.garbage(topic);
      } else if (message.kind === "ack") orders.answered(message);
      else fleet.take(message, kept, now);
      soon();
    },
    contact(now, reason) {
      if (reason !== "") why = reason;
      else if (now === "there") why = "";
      if (now !== contact) {
        // While it tries again, it is as long gone as before.
        if (now === "there" || contact === "there") since = Date.now();
        contact = now;
      }
      if (now === "there") {
        everThere = true;
        if (!by("connection").hidden && !byHand) form(false, "");
      } else if (now === "gone" && !everThere && !byHand) form(true, reason || unreachable());
      soon();
    },
  });
  link.open();
}

function unreachable(): string {
  return (
    "The broker cannot be reached. Is the address right? If its certificate is of an authority of " +
    "your own, this browser has to trust that first."
  );
}

/** A person opened the form: it does not go away by itself. */
let byHand = false;

function form(shown: boolean, problem: string): void {
  show(by("connection"), shown);
  if (!shown) byHand = false;
  by("connection-problem").textContent = problem;
  if (!shown) return;
  const field = (id: string): HTMLInputElement => by<HTMLInputElement>(id);
  // What is being typed stays.
  if (by("connection").contains(document.activeElement)) return;
  field("broker").value = chosen.broker;
  field("username").value = chosen.username;
  field("password").value = chosen.password;
  field("commands").checked = chosen.commands;
  field("remember").checked = settings.recall(storage) !== null || !everThere;
}

function submitted(event: Event): void {
  event.preventDefault();
  const field = (id: string): HTMLInputElement => by<HTMLInputElement>(id);
  const typed = {
    broker: settings.address(field("broker").value),
    username: field("username").value.trim(),
    password: field("password").value,
    commands: field("commands").checked,
  };
  const problem = settings.problem(typed.broker, location.protocol === "https:");
  if (problem) {
    by("connection-problem").textContent = problem;
    field("broker").focus();
    return;
  }
  const elsewhere = typed.broker !== chosen.broker;
  settings.remember(storage, field("remember").checked ? typed : null);
  chosen = typed;
  byHand = false;
  lastHour.want(field("remember").checked);
  if (elsewhere) {
    // Another broker has other machines.
    fleet.clear();
    everThere = false;
    lastHour.restore(fleet, chosen.broker, Date.now());
  }
  (document.activeElement as HTMLElement | null)?.blur();
  form(true, "Connecting…");
  connect();
}

function keep(): void {
  lastHour.keep(fleet, chosen.broker, Date.now());
}

function start(): void {
  by("connection-form").addEventListener("submit", submitted);
  by("connection-open").addEventListener("click", () => {
    byHand = by("connection").hidden === true;
    form(byHand, "");
    if (byHand) by("broker").focus();
  });
  window.addEventListener("hashchange", update);
  window.addEventListener("resize", soon);
  window.addEventListener("pagehide", keep);
  setInterval(keep, KEEP);
  document.addEventListener("visibilitychange", soon);
  document.addEventListener("keydown", (event) => {
    const typing = (event.target as HTMLElement | null)?.tagName === "INPUT";
    if (event.key === "Escape" && !typing && location.hash !== "") location.hash = "";
  });
  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now();
    orders.tick(now);
    link?.tick(now);
    soon();
  }, TICK);
  update();
  // What the encoder, or whoever serves this page, knows of the broker.
  fetch("config.json", { cache: "no-store", credentials: "same-origin" })
    .then((answer) => (answer.ok ? (answer.json() as Promise<unknown>) : null))
    .catch(() => null)
    .then((told) => {
      offered = settings.parse(told);
      chosen = settings.merge(settings.recall(storage), offered);
      lastHour.restore(fleet, chosen.broker, Date.now());
      connect();
      update();
    });
}

start();
