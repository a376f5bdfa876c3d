// All rooms at once: as large as they fit; on a phone one under the other, the worst first.

import { by, make, mark, refill, say, show } from "./element";
import type { Fleet } from "./fleet";
import { GAP, layout, PHONE } from "./layout";
import { audience, tally, type Room } from "./room";
import { word, type Light } from "./sentences";
import { Tile } from "./tile";
import { entries as lines, key } from "./timeline";
import { watching } from "./words";

const LIGHTS: Light[] = ["red", "amber", "green", "grey"];
const WORST: { [light in Light]: number } = { red: 0, amber: 1, green: 2, grey: 3 };
/** A tile must stay to be looked at: events fill only what is left below. */
const LINE = 26;

export class Wall {
  private readonly list = by<HTMLElement>("tiles");
  private readonly area = by<HTMLElement>("wall");
  private readonly newest = by<HTMLElement>("newest");
  private readonly watching = by<HTMLElement>("watching");
  private readonly nothing = by<HTMLElement>("nothing");
  private readonly buttons = new Map<Light, HTMLButtonElement>();
  private readonly tiles = new Map<string, Tile>();
  /** Which tiles are in sight: with a thousand rooms most are not. */
  private readonly of = new WeakMap<Element, Tile>();
  private readonly sight = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const tile = this.of.get(target);
      if (tile) tile.seen = isIntersecting;
    }
  });
  private only: Light | null = null;
  private order = "";
  /** What the tiles' places depend on. */
  private placed = "";

  constructor(private readonly changed: () => void) {
    for (const light of LIGHTS) {
      const button = make("button", "count");
      button.type = "button";
      button.setAttribute("data-light", light);
      button.addEventListener("click", () => {
        this.only = this.only === light ? null : light;
        location.hash = "";
        this.changed();
      });
      this.buttons.set(light, button);
      by("counts").append(button);
    }
    this.list.addEventListener("keydown", (event) => this.walk(event));
  }

  /** How many rooms are how, and how many watch; on every page. */
  count(rooms: Room[]): void {
    const watch = audience(rooms);
    show(this.watching, watch !== null);
    say(this.watching.firstElementChild as Element, watch === null ? "" : watching(watch));
    const counts = tally(rooms);
    for (const light of LIGHTS) {
      const button = this.buttons.get(light) as HTMLButtonElement;
      refill(button, `${counts[light]}`, () => {
        const shape = make("i");
        shape.setAttribute("aria-hidden", "true");
        return [shape, `${counts[light]} ${word(light)}`];
      });
      mark(button, "aria-pressed", String(this.only === light));
      show(button, counts[light] > 0 || this.only === light);
    }
  }

  update(rooms: Room[], fleet: Fleet, now: number): void {
    const phone = document.documentElement.clientWidth <= PHONE;
    const shown = rooms.filter((room) => this.only === null || room.light === this.only);
    if (phone) shown.sort((a, b) => WORST[a.light] - WORST[b.light]);
    show(this.nothing, shown.length === 0);
    say(
      this.nothing,
      rooms.length > 0
        ? "No room is like that now."
        : "No machine has spoken on this broker yet. Each shows here by itself as soon as it does.",
    );
    this.fill(shown, now);
    this.place(shown.length);
    const room = Math.max(1, Math.floor((this.newest.clientHeight - 6) / LINE));
    const entries = fleet.entries.slice(0, Math.min(room, 40));
    const content = `${entries.length} ${key(entries)}`;
    refill(this.newest, content, () => lines(entries, now));
  }

  private fill(rooms: Room[], now: number): void {
    const names = rooms.map(id);
    for (const room of rooms) {
      let tile = this.tiles.get(id(room));
      if (!tile) {
        this.tiles.set(id(room), (tile = new Tile()));
        this.of.set(tile.element, tile);
        this.sight.observe(tile.element);
      }
      // What nobody sees need not be right to the second, only in its light.
      if (tile.seen || tile.light !== room.light) tile.update(room, now);
    }
    const order = names.join("/");
    if (order === this.order) return;
    this.order = order;
    const focused = document.activeElement;
    this.list.replaceChildren(...names.map((name) => (this.tiles.get(name) as Tile).element));
    if (focused instanceof HTMLElement && this.list.contains(focused)) focused.focus();
    for (const name of Array.from(this.tiles.keys())) if (names.indexOf(name) < 0) this.forget(name);
  }

  private forget(name: string): void {
    const tile = this.tiles.get(name);
    if (tile) this.sight.unobserve(tile.element);
    this.tiles.delete(name);
  }

  private place(count: number): void {
    // The list of events gets what is left, one line at least.
    const width = this.area.clientWidth;
    const height = this.area.clientHeight - LINE - 2 * GAP;
    const place = `${count}/${width}/${height}`;
    if (place === this.placed) return;
    this.placed = place;
    const { columns, size } = layout(count, width - 2 * GAP, height);
    mark(this.list, "data-size", size);
    this.list.style.setProperty("--columns", String(columns));
  }

  /** Arrow keys go from tile to tile. */
  private walk(event: KeyboardEvent): void {
    const links = Array.from(this.list.querySelectorAll<HTMLElement>("a"));
    const at = links.indexOf(document.activeElement as HTMLElement);
    const columns = Number(this.list.style.getPropertyValue("--columns")) || 1;
    const steps: { [key: string]: number } = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -columns,
      ArrowDown: columns,
    };
    const step = steps[event.key];
    if (at < 0 || step === undefined) return;
    const next = links[at + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

const id = (room: Room): string => `${room.machine ? "machine" : "room"} ${room.name}`;
