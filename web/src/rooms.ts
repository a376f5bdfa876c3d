// The rooms page: one card per room, kept up to date.

import { fetchRooms, type Room } from "./api";
import { liveFor, viewersText } from "./view";

const list = document.getElementById("rooms") as HTMLElement;
const note = document.getElementById("note") as HTMLElement;
const cards: { [name: string]: Card } = {};
let failures = 0;
let order = "";

class Card {
  readonly element = document.createElement("li");
  private link = document.createElement("a");
  private picture = document.createElement("div");
  private image: HTMLImageElement | null = null;
  private title = document.createElement("h2");
  private badge = document.createElement("span");
  private badgeText = document.createElement("b");
  private facts = document.createElement("span");

  constructor(name: string) {
    this.link.href = `${encodeURIComponent(name)}/`;
    this.picture.className = "picture";
    this.badge.className = "badge";
    const dot = document.createElement("i");
    dot.setAttribute("aria-hidden", "true");
    this.badge.appendChild(dot);
    this.badge.appendChild(this.badgeText);
    const line = document.createElement("p");
    line.className = "facts";
    line.appendChild(this.badge);
    line.appendChild(this.facts);
    this.link.appendChild(this.picture);
    this.link.appendChild(this.title);
    this.link.appendChild(line);
    this.element.appendChild(this.link);
  }

  show(room: Room, now: number): void {
    this.title.textContent = room.title;
    this.badge.setAttribute("data-badge", room.live ? "live" : "off");
    this.badgeText.textContent = room.live ? "Live" : "Off air";
    const facts = room.live
      ? [room.viewers > 0 ? viewersText(room.viewers) : "", liveFor(room.since, now) || ""]
      : [];
    this.facts.textContent = facts.filter((it) => it !== "").join(" · ");
    this.showPicture(room, now);
  }

  private showPicture(room: Room, now: number): void {
    if (!room.live || !room.preview) {
      this.picture.textContent = "";
      this.image = null;
      return;
    }
    const next = new Image();
    next.alt = "";
    // Shown only once it is there: no flicker, and no broken picture.
    next.onload = () => {
      if (this.image) this.image.remove();
      this.image = next;
      this.picture.appendChild(next);
    };
    next.src = `${encodeURIComponent(room.name)}/preview.jpg?t=${Math.floor(now / 1000)}`;
  }
}

function show(rooms: Room[], now: number): void {
  const names = rooms.map((room) => room.name).join("/");
  if (names !== order) {
    order = names;
    list.textContent = "";
  }
  for (const room of rooms) {
    const card = cards[room.name] || (cards[room.name] = new Card(room.name));
    card.show(room, now);
    if (!card.element.parentNode) list.appendChild(card.element);
  }
  const on = rooms.filter((room) => room.live).length;
  say(
    rooms.length === 0
      ? "No rooms are set up on this server."
      : on === 0
        ? "No room is live at the moment. This page follows by itself."
        : on === 1
          ? "1 room is live."
          : `${on} rooms are live.`,
  );
}

function say(text: string): void {
  if (note.textContent !== text) note.textContent = text;
}

function poll(): void {
  if (document.hidden) {
    setTimeout(poll, 2000);
    return;
  }
  fetchRooms("api/v1/rooms")
    .then(
      (answer) => {
        failures = 0;
        show(answer.rooms, Date.now());
      },
      () => {
        failures += 1;
        say(
          navigator.onLine === false
            ? "You are offline."
            : "No answer from the streaming server. Trying again by itself.",
        );
      },
    )
    .then(() => {
      const wait = failures === 0 ? 8000 : Math.min(2000 * Math.pow(1.5, failures), 20000);
      setTimeout(poll, wait * (0.75 + Math.random() / 2));
    });
}

poll();
