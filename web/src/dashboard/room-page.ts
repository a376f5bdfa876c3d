// One room, as large as the screen: what a person on site looks at on a phone.

import { make, mark, refill, say } from "./element";
import { Curves } from "./curves";
import type { Fleet } from "./fleet";
import { Lamp, Meter, Picture } from "./look";
import { facts, type Room } from "./room";
import { lines } from "./sentence-list";
import { sentences, SILENCE, titled, word, type Moment } from "./sentences";
import { entries, key } from "./timeline";
import { span } from "./words";

const EVENTS = 12;

export class RoomPage {
  readonly element = make("article", "page");
  private readonly lamp = new Lamp();
  private readonly name = make("h1");
  private readonly text = make("p", "says");
  private readonly banner = make("header", "banner");
  private readonly picture = new Picture();
  private readonly age = make("span", "age");
  private readonly meter = new Meter();
  private readonly facts = make("p", "facts");
  private readonly more = make("ul", "sentences");
  private readonly machines = make("ul", "machines");
  private readonly curves = new Curves();
  private readonly events = make("ol", "entries");

  constructor() {
    this.text.setAttribute("role", "status");
    this.banner.append(this.lamp.element, make("div", "", this.name, this.text));
    this.picture.element.append(this.age);
    const seen = make("section", "seen", this.picture.element, this.meter.element, this.facts);
    const told = make("section", "", this.more, make("h2", "", "Machines"), this.machines);
    const columns = make("div", "columns", seen, told);
    this.element.append(this.banner, columns, this.curves.element, make("h2", "", "What happened"), this.events);
  }

  update(room: Room, fleet: Fleet, moment: Moment): void {
    const { now } = moment;
    mark(this.banner, "data-light", room.light);
    this.lamp.update(room.light);
    say(this.name, room.name);
    say(this.text, room.text);
    const old = room.heard === null || now - room.heard > SILENCE;
    this.picture.update(room.seen, old);
    say(this.age, old && room.heard !== null ? `${span(now - room.heard)} old` : "");
    this.meter.update(room.levels);
    say(this.facts, facts(room).join(" · "));
    lines(this.more, room.sentences.slice(1), room.devices.length > 1);
    const ways = room.devices.map((device) => {
      const worst = sentences(device, room.name, moment)[0];
      return { device, light: worst?.light ?? "green" };
    });
    refill(this.machines, ways.map((it) => `${it.device.name}${it.light}`).join("/"), () =>
      ways.map(({ device, light }) => {
        const lamp = new Lamp();
        lamp.update(light);
        const link = make("a", "", titled(device));
        link.href = `#machine/${encodeURIComponent(device.name)}`;
        link.setAttribute("aria-label", `${titled(device)}: ${word(light)}`);
        return make("li", "", lamp.element, link);
      }),
    );
    const source = room.devices.find((it) => it.role !== "encoder") ?? room.devices[0] ?? null;
    this.curves.update(source, now);
    const names = room.devices.map((it) => it.name);
    const happened = fleet.entries.filter((it) => names.indexOf(it.device) >= 0).slice(0, EVENTS);
    refill(this.events, key(happened), () => entries(happened, now));
  }
}
