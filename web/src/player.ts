// The player page: wires the machine to the page, the network and the clock. No decisions here
// beyond what a browser makes necessary (autoplay, full screen, volume).

import { fetchRooms } from "./api";
import { abilities, start, type Running } from "./engines";
import { initial, step, type Effect, type Event } from "./machine";
import { liveFor, qualityLabel, view, viewersText } from "./view";
import { qualities } from "./ways";

const get = <T extends HTMLElement>(id: string): T => {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page lacks #${id}`);
  return element as T;
};

const player = get("player");
const video = get<HTMLVideoElement>("video");
const tap = get<HTMLButtonElement>("tap");
const play = get<HTMLButtonElement>("play");
const mute = get<HTMLButtonElement>("mute");
const volume = get<HTMLInputElement>("volume");
const live = get<HTMLButtonElement>("live");
const quality = get<HTMLSelectElement>("quality");

/** Counts this page once among the viewers. Made anew on every load and kept nowhere. */
const viewer = (Math.random().toString(36) + Math.random().toString(36)).replace(/0\./g, "").slice(0, 16);
const context = {
  room: player.getAttribute("data-room") || "",
  can: abilities(video),
  random: Math.random,
};

let model = initial("auto");
let running: Running | null = null;
let playingRendition: string | null = null;
/** A person has asked for sound (or for silence): do not guess any more. */
let soundChosen = false;
let lastTime = 0;
let furthest = 0;

const now = () => Date.now();

function send(event: Event): void {
  const result = step(model, event, now(), context);
  model = result.model;
  result.effects.forEach(perform);
  render();
}

function perform(effect: Effect): void {
  switch (effect.do) {
    case "poll":
      fetchRooms("../api/v1/rooms").then(
        (rooms) => send({ kind: "polled", rooms }),
        () => send({ kind: "pollFailed" }),
      );
      break;
    case "attach":
      if (running && running.adopt(effect.way)) break;
      if (running) running.destroy();
      playingRendition = null;
      lastTime = 0;
      furthest = 0;
      running = start(effect.way, video, viewer, {
        failed: (failure) => send({ kind: "failed", failure }),
        ended: () => send({ kind: "ended" }),
        rendition: (name) => {
          playingRendition = name;
          render();
        },
      });
      begin();
      break;
    case "detach":
      if (running) running.destroy();
      running = null;
      playingRendition = null;
      break;
    case "recover":
      if (running) running.recover();
      begin();
      break;
    case "edge":
      if (running && running.behind() > 10) running.edge();
      begin();
      break;
  }
}

// --- starting to play, as far as the browser lets us -------------------------------------------

/** Asks the element to play: with sound if that is allowed, else muted, else after a tap. */
function begin(): void {
  if (model.paused) return;
  const asked: Promise<void> | undefined = video.play();
  if (!asked) return;
  asked.then(render, (error: unknown) => {
    const name = error instanceof Error ? error.name : "";
    if (name !== "NotAllowedError") return;
    if (!video.muted && !soundChosen) {
      video.muted = true;
      begin();
    } else {
      // Not even muted (a phone saving power): wait for the tap.
      send({ kind: "pause" });
    }
  });
}

function tapped(): void {
  soundChosen = true;
  video.muted = false;
  if (video.volume === 0) video.volume = 1;
  if (model.paused) send({ kind: "resume" });
  begin();
  render();
}

function togglePlay(): void {
  if (model.paused) {
    send({ kind: "resume" });
    begin();
  } else {
    video.pause();
    send({ kind: "pause" });
  }
  render();
}

function toggleMute(): void {
  soundChosen = true;
  video.muted = !video.muted;
  render();
}

function jump(): void {
  if (model.paused) send({ kind: "resume" });
  if (running) running.edge();
  begin();
  render();
}

interface OldFullscreen {
  webkitRequestFullscreen?: () => void;
  webkitEnterFullscreen?: () => void;
  webkitExitFullscreen?: () => void;
  webkitFullscreenElement?: Element | null;
}

function toggleFull(): void {
  const page = document as Document & OldFullscreen;
  const frame = player as HTMLElement & OldFullscreen;
  const element = video as HTMLVideoElement & OldFullscreen;
  if (page.fullscreenElement || page.webkitFullscreenElement) {
    if (page.exitFullscreen) page.exitFullscreen();
    else if (page.webkitExitFullscreen) page.webkitExitFullscreen();
  } else if (frame.requestFullscreen) {
    frame.requestFullscreen().catch(() => undefined);
  } else if (frame.webkitRequestFullscreen) {
    frame.webkitRequestFullscreen();
  } else if (element.webkitEnterFullscreen) {
    element.webkitEnterFullscreen(); // an iPhone makes only the picture itself full-screen
  }
}

// --- the page ----------------------------------------------------------------------------------

function setText(element: HTMLElement, text: string): void {
  // Only on change: a live region is read aloud on every write.
  if (element.textContent !== text) element.textContent = text;
}

function label(button: HTMLButtonElement, text: string, key: string): void {
  button.setAttribute("aria-label", text);
  button.title = `${text} (${key})`;
}

function render(): void {
  const seen = view(model, navigator.onLine !== false);
  const waitsForTap = model.paused && model.way !== null && video.played.length === 0;
  player.setAttribute("data-phase", model.phase);
  player.setAttribute("data-engine", model.way ? model.way.engine : "");
  player.setAttribute("data-rendition", playingRendition || "");

  get("veil").hidden = seen.headline === null || waitsForTap;
  setText(get("headline"), seen.headline || "");
  setText(get("detail"), seen.detail);
  get("busy").setAttribute("data-busy", seen.busy ? "1" : "0");
  get("sound-only").hidden = !(seen.soundOnly && seen.headline === null);

  const silent = model.phase === "playing" && video.muted && !soundChosen && !model.paused;
  tap.hidden = !(silent || waitsForTap);
  setText(get("tap-text"), waitsForTap ? "Tap to play" : "Tap for sound");

  const on = !model.paused;
  play.disabled = !model.way && !model.paused && model.phase !== "joining";
  play.setAttribute("data-on", on && !play.disabled ? "1" : "0");
  label(play, on ? "Pause" : "Play", "space");
  const loud = !video.muted && video.volume > 0;
  mute.setAttribute("data-on", loud ? "1" : "0");
  label(mute, loud ? "Mute" : "Turn the sound on", "m");
  volume.value = String(video.muted ? 0 : Math.round(video.volume * 100));

  const behind = running && model.phase === "playing" ? running.behind() : 0;
  const late = behind > 5 || (model.paused && model.way !== null);
  live.hidden = model.phase !== "playing" && model.phase !== "stalled" && !model.paused;
  live.setAttribute("data-late", late ? "1" : "0");
  setText(get("live-text"), late ? "Go live" : "Live");

  const badge = get("badge");
  badge.setAttribute("data-badge", seen.badge);
  setText(get("badge-text"), seen.badgeText);
  const room = model.room;
  const isLive = room !== null && room.live && seen.badge === "live";
  setText(get("viewers"), isLive && room.viewers > 0 ? viewersText(room.viewers) : "");
  setText(get("since"), (isLive && liveFor(room.since, now())) || "");
  renderQualities();
  renderAddresses();
}

function renderQualities(): void {
  const room = model.room;
  const names = ["auto"].concat(room ? qualities(room) : []);
  // Kept when a room goes off air for a moment, so that the choice stays.
  if (names.indexOf(model.choice) < 0 && model.choice !== "audio") names.push(model.choice);
  names.push("audio");
  const narrow = document.documentElement.clientWidth < 400;
  const shortLabel = (name: string) => {
    const found = room ? room.renditions.filter((it) => it.name === name)[0] : undefined;
    return found && found.height ? `${found.height}p` : qualityLabel(name, null);
  };
  const texts = names.map((name) => {
    const rendition = room ? room.renditions.filter((it) => it.name === name)[0] : undefined;
    const text = qualityLabel(name, rendition ? rendition.height : null);
    const current = name === "auto" && model.choice === "auto" && playingRendition;
    return current && !narrow ? `${text} (${shortLabel(current)})` : text;
  });
  const key = names.join() + texts.join();
  if (quality.getAttribute("data-key") !== key && document.activeElement !== quality) {
    quality.setAttribute("data-key", key);
    quality.textContent = "";
    names.forEach((name, index) => {
      const option = document.createElement("option");
      option.value = name;
      option.textContent = texts[index] || name;
      quality.appendChild(option);
    });
  }
  if (quality.value !== model.choice) quality.value = model.choice;
}

function renderAddresses(): void {
  const room = model.room;
  if (!room) return;
  const items = get("addresses").children;
  for (let index = 0; index < items.length; index += 1) {
    const item = items[index] as HTMLElement;
    const needs = item.getAttribute("data-needs") || "";
    const mount = room.mounts[needs];
    // A live room shows what it has; one that is off air, what it may have.
    item.hidden = needs !== "hls" && (!mount || (room.live && !mount.live));
  }
}

function addCopyButtons(): void {
  const items = get("addresses").children;
  for (let index = 0; index < items.length; index += 1) {
    const item = items[index] as HTMLElement;
    const link = item.getElementsByTagName("a")[0];
    if (!link) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy the address of ${link.textContent}`);
    button.onclick = () => {
      copy(link.href, () => {
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 2000);
      });
    };
    item.appendChild(button);
  }
}

function copy(text: string, done: () => void): void {
  const old = () => {
    // Plain http has no clipboard API.
    const field = document.createElement("textarea");
    field.value = text;
    field.setAttribute("readonly", "");
    field.className = "unseen";
    document.body.appendChild(field);
    field.select();
    if (document.execCommand("copy")) done();
    field.remove();
  };
  if (navigator.clipboard && window.isSecureContext) {
    navigator.clipboard.writeText(text).then(done, old);
  } else {
    old();
  }
}

// --- what happens ------------------------------------------------------------------------------

video.addEventListener("timeupdate", () => {
  if (video.paused || video.currentTime === lastTime) return;
  const again = video.currentTime < furthest;
  lastTime = video.currentTime;
  furthest = Math.max(furthest, lastTime);
  // At the end of a stream that has ended, hls.js goes back and plays the same seconds again.
  if (again && model.room && !model.room.live) return;
  send({ kind: "progress" });
});
// A new source stops the element: what was asked of the old one is void.
video.addEventListener("loadedmetadata", begin);
// A browser pauses by itself, too: headphones unplugged, a media key, another app's sound.
video.addEventListener("pause", () => {
  if (model.phase === "playing" && running && !video.ended && video.readyState > 2) {
    send({ kind: "pause" });
  }
});
video.addEventListener("play", () => {
  if (model.paused && running) send({ kind: "resume" });
});
video.addEventListener("volumechange", render);
video.addEventListener("click", () => (tap.hidden ? togglePlay() : tapped()));
tap.addEventListener("click", tapped);
play.addEventListener("click", togglePlay);
mute.addEventListener("click", toggleMute);
live.addEventListener("click", jump);
get("full").addEventListener("click", toggleFull);
volume.addEventListener("input", () => {
  soundChosen = true;
  video.volume = Number(volume.value) / 100;
  video.muted = video.volume === 0;
});
quality.addEventListener("change", () => {
  const choice = quality.value;
  quality.blur();
  send({ kind: "choose", choice });
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target as HTMLElement;
  const own = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName);
  const presses = own || /^(BUTTON|A|SUMMARY)$/.test(target.tagName);
  const key = event.key;
  if ((key === " " || key === "Spacebar") && !presses) togglePlay();
  else if (own) return;
  else if (key === "k") togglePlay();
  else if (key === "m") toggleMute();
  else if (key === "f") toggleFull();
  else if (key === "l") jump();
  else if (key === "ArrowUp" || key === "ArrowDown") {
    if (document.activeElement && document.activeElement !== document.body) return;
    soundChosen = true;
    video.muted = false;
    video.volume = Math.min(1, Math.max(0, video.volume + (key === "ArrowUp" ? 0.1 : -0.1)));
  } else return;
  event.preventDefault();
});

window.addEventListener("online", () => send({ kind: "online" }));
window.addEventListener("offline", render);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) send({ kind: "tick" });
});

// A phone's volume belongs to its buttons: no slider that does nothing.
video.volume = 0.5;
if (video.volume !== 0.5) volume.hidden = true;
video.volume = 1;

addCopyButtons();
send({ kind: "start" });
setInterval(() => send({ kind: "tick" }), 500);
