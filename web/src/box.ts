// The box's own page: the checklist as it is now, the meter as it moves, and a few buttons.

import {
  contact,
  length,
  parseLevels,
  parsePicture,
  patience,
  Peak,
  QUIET,
  word,
  zone,
  zoneWord,
  LOUD,
  type Picture,
  type Row,
} from "./box-model";
import { startOrders } from "./box-orders";

const byId = (id: string): HTMLElement => document.getElementById(id) as HTMLElement;
const banner = byId("banner");
const loadedVersion = document.body.getAttribute("data-version") || "";

function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

// --- the checklist ------------------------------------------------------------------------------

function showRow(row: Row): void {
  const item = document.getElementById(`row-${row.id}`);
  const head = item && item.querySelector(".head");
  if (!head) return;
  if (head.getAttribute("data-light") !== row.light) head.setAttribute("data-light", row.light);
  const part = (selector: string): HTMLElement => head.querySelector(selector) as HTMLElement;
  say(part(".lamp b"), word(row.light));
  say(part(".says"), row.says);
  say(part(".todo"), row.todo);
  part(".todo").hidden = row.todo === "";
}

let shownPreview: number | null = null;
function showPreview(at: number | null): void {
  const frame = byId("preview");
  if (at === shownPreview) return;
  shownPreview = at;
  if (at === null) {
    const old = frame.querySelector("img");
    if (old) old.remove();
    byId("no-preview").hidden = false;
    return;
  }
  const next = new Image();
  next.alt = "What is sent";
  // Shown only once it is there: no flicker, and no broken picture.
  next.onload = () => {
    if (shownPreview === null) return;
    const old = frame.querySelector("img");
    if (old) old.remove();
    byId("no-preview").hidden = true;
    frame.appendChild(next);
  };
  next.src = `preview.jpg?t=${at}`;
}

function showDetails(details: [string, string][]): void {
  const table = byId("details");
  const text = details.map((it) => it.join("\t")).join("\n");
  if (table.getAttribute("data-shown") === text) return;
  table.setAttribute("data-shown", text);
  table.textContent = "";
  for (const [name, value] of details) {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = name;
    description.textContent = value;
    table.appendChild(term);
    table.appendChild(description);
  }
}

function show(picture: Picture): void {
  // After an update the box has another page.
  if (picture.version !== loadedVersion) {
    window.location.reload();
    return;
  }
  say(byId("room"), picture.room || "This box");
  say(byId("headline"), picture.headline);
  banner.setAttribute("data-light", picture.light);
  document.title = `${picture.room || "This box"} · Backrow box`;
  picture.rows.forEach(showRow);
  showPreview(picture.preview);
  showDetails(picture.details);
  byId("change").hidden = !picture.canChange;
}

// --- the meter ----------------------------------------------------------------------------------

const peak = new Peak(1500);

function showLevels(levels: number[], now: number): void {
  const meter = byId("meter");
  const bars = byId("bars");
  peak.push(levels, now);
  meter.hidden = levels.length === 0;
  while (bars.children.length > levels.length) bars.removeChild(bars.lastChild as Node);
  while (bars.children.length < levels.length) {
    const bar = document.createElement("div");
    bar.className = "bar-of-sound";
    bar.appendChild(document.createElement("i"));
    bars.appendChild(bar);
  }
  levels.forEach((level, at) => {
    const bar = bars.children[at] as HTMLElement;
    bar.setAttribute("data-zone", zone(level));
    (bar.firstChild as HTMLElement).style.width = `${(length(level) * 100).toFixed(1)}%`;
  });
  const now_zone = zone(peak.value());
  meter.setAttribute("data-zone", now_zone);
  say(byId("zone"), zoneWord(now_zone));
}

const bars = byId("bars");
bars.style.setProperty("--quiet-at", `${length(QUIET) * 100}%`);
bars.style.setProperty("--loud-at", `${length(LOUD) * 100}%`);

// --- the line to the box ------------------------------------------------------------------------

let heard: number | null = null;
let since = Date.now();
let stream: EventSource | null = null;
let attempt = 0;

function hear(value: unknown): void {
  const picture = parsePicture(value);
  if (!picture) return;
  heard = Date.now();
  attempt = 0;
  show(picture);
  watch();
}

function parse(data: unknown): unknown {
  try {
    return JSON.parse(String(data));
  } catch (_) {
    return null;
  }
}

function follow(): void {
  if (stream) stream.close();
  stream = null;
  if (typeof EventSource !== "function") {
    ask();
    return;
  }
  const opened = new EventSource("api/v1/live");
  stream = opened;
  opened.addEventListener("status", (event) => hear(parse((event as MessageEvent).data)));
  opened.addEventListener("levels", (event) => {
    const levels = parseLevels(parse((event as MessageEvent).data));
    if (levels) {
      heard = Date.now();
      showLevels(levels, heard);
    }
  });
  opened.onerror = () => {
    if (stream !== opened) return;
    opened.close();
    stream = null;
    // The box may be full of followers: then it is asked now and then.
    ask();
  };
}

function ask(): void {
  const again = (): void => {
    attempt += 1;
    setTimeout(follow, patience(attempt));
  };
  fetch("api/v1/status", { cache: "no-store", credentials: "omit" })
    .then((answer) => answer.json() as Promise<unknown>)
    .then(hear)
    .then(again, again);
}

function watch(): void {
  const state = contact(heard, since, Date.now());
  if (document.body.getAttribute("data-contact") === state) return;
  document.body.setAttribute("data-contact", state);
  byId("gone").hidden = state !== "gone";
  say(byId("link"), state === "there" ? "Connected" : state === "asking" ? "Connecting…" : "No answer");
  if (state === "gone") {
    showLevels([], Date.now());
    // A connection can be dead without having ended (the cable, the phone's sleep).
    follow();
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden || contact(heard, since, Date.now()) !== "gone") return;
  since = Date.now();
  follow();
});

follow();
setInterval(watch, 500);
watch();
startOrders();
