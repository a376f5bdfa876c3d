// One room on the wall.

import { make, mark, say } from "./element";
import { Lamp, Meter, Picture } from "./look";
import { facts, type Room } from "./room";
import { SILENCE, word, type Light } from "./sentences";
import { span } from "./words";

const END = 5;

export class Tile {
  readonly element = make("li");
  private readonly link = make("a", "tile");
  private readonly lamp = new Lamp();
  private readonly start = make("span", "start");
  private readonly end = make("span", "end");
  private readonly name = make("h2", "", this.start, this.end);
  private readonly picture = new Picture();
  private readonly meter = new Meter();
  private readonly text = make("p", "says");
  private readonly facts = make("p", "facts");
  private readonly age = make("span", "age");

  constructor() {
    const media = make("div", "media", this.picture.element, this.meter.element);
    const words = make("div", "words", this.text, this.facts);
    this.link.append(make("header", "head", this.name, this.lamp.element), media, words);
    this.picture.element.append(this.age);
    this.element.append(this.link);
  }

  /** Whether it is in sight, as the browser says. */
  seen = false;
  /** What it shows; null before the first time. */
  light: Light | null = null;

  update(room: Room, now: number): void {
    const where = room.machine ? "machine" : "room";
    mark(this.link, "href", `#${where}/${encodeURIComponent(room.name)}`);
    this.light = room.light;
    mark(this.link, "data-light", room.light);
    mark(this.link, "title", room.text);
    mark(this.link, "aria-label", `${room.name}: ${word(room.light)}. ${room.text}`);
    this.lamp.update(room.light);
    // What does not fit is left out of the middle: names differ at their ends.
    say(this.start, room.name.slice(0, -END));
    say(this.end, room.name.slice(-END));
    say(this.text, room.text);
    say(this.facts, facts(room).join(" · "));
    const old = room.heard === null || now - room.heard > SILENCE;
    this.picture.update(room.seen, old, this.seen);
    this.meter.update(room.levels);
    // How old the picture is, as soon as it is old.
    say(this.age, old && room.heard !== null ? `${span(now - room.heard)} old` : "");
  }
}
