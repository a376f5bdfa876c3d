// One machine: how its parts are and were, its numbers over the last hour, and its buttons.

import { Buttons } from "./buttons";
import { Curves } from "./curves";
import { make, mark, refill, say, show } from "./element";
import { ours, type Device, type Fleet } from "./fleet";
import { Lamp } from "./look";
import type { Mood } from "./messages";
import type { Command, Order } from "./orders";
import { lines } from "./sentence-list";
import { sentences, titled, type Light, type Moment } from "./sentences";
import { entries, key } from "./timeline";
import { clock, sentence, size, span } from "./words";

const EVENTS = 30;

/** A component's own light: how it is, whatever it means for the room. */
const LIGHTS: { [mood in Mood]: Light } = {
  sleeping: "grey",
  happy: "green",
  waking: "amber",
  hungry: "amber",
  sad: "red",
  lost: "red",
};

export class MachinePage {
  readonly element = make("article", "page");
  private readonly lamp = new Lamp();
  private readonly name = make("h1");
  private readonly text = make("p", "says");
  private readonly banner = make("header", "banner");
  private readonly facts = make("dl", "numbers");
  private readonly more = make("ul", "sentences");
  private readonly parts = make("tbody");
  private readonly curves = new Curves();
  private readonly events = make("ol", "entries");
  private readonly buttons: Buttons;

  constructor(give: (device: string, command: Command) => void) {
    this.buttons = new Buttons(give);
    this.text.setAttribute("role", "status");
    this.banner.append(this.lamp.element, make("div", "", this.name, this.text));
    const heads = ["Component", "Mood", "For", "Why", "Before"].map((it) => {
      const head = make("th", "", it);
      head.scope = "col";
      return head;
    });
    const table = make("table", "parts", make("thead", "", make("tr", "", ...heads)), this.parts);
    this.element.append(
      this.banner,
      this.more,
      this.facts,
      this.buttons.element,
      make("h2", "", "Components"),
      make("div", "scroll", table),
      make("h2", "", "The last hour"),
      this.curves.element,
      make("h2", "", "What happened"),
      this.events,
    );
  }

  update(device: Device, fleet: Fleet, moment: Moment, may: boolean, orders: Order[]): void {
    const { now } = moment;
    const told = sentences(device, null, moment);
    const light = told[0]?.light ?? "green";
    mark(this.banner, "data-light", light);
    this.lamp.update(light);
    say(this.name, titled(device));
    say(this.text, told[0]?.text ?? "All is well.");
    lines(this.more, told.slice(1), false);
    this.numbers(device, now);
    this.buttons.update(device, may, orders);
    this.table(device, now);
    this.curves.update(device, now);
    const happened = fleet.entries.filter((it) => it.device === device.name).slice(0, EVENTS);
    refill(this.events, key(happened), () => entries(happened, now));
  }

  private numbers(device: Device, now: number): void {
    const { health } = device;
    const all: [string, string | null][] = [
      ["Rooms", device.rooms.join(", ") || null],
      ["Version", device.version || null],
      ["Running for", health?.uptimeS == null ? null : span(health.uptimeS * 1000)],
      ["Heard", device.heard === null ? "not yet" : `${span(now - device.heard)} ago`],
      ["Load", health?.load == null ? null : health.load.toFixed(2)],
      ["Memory", health?.memoryBytes == null ? null : size(health.memoryBytes)],
      ["Temperature", health?.temperatureC == null ? null : `${health.temperatureC.toFixed(0)} °C`],
      ["Disk free", health?.diskFreeBytes == null ? null : size(health.diskFreeBytes)],
      ["To send", health?.backlogMs == null ? null : span(health.backlogMs)],
      ["Lost", health?.lostMs == null ? null : span(health.lostMs)],
      ["Its clock", device.skew === 0 ? null : `off by ${span(Math.abs(device.skew))}`],
    ];
    const known = all.filter((it): it is [string, string] => it[1] !== null);
    refill(this.facts, known.map((it) => it[0]).join("/"), () =>
      known.map(([name]) => make("div", "", make("dt", "", name), make("dd"))),
    );
    known.forEach(([, value], index) => {
      const shown = this.facts.children[index]?.lastElementChild;
      if (shown) say(shown, value);
    });
  }

  private table(device: Device, now: number): void {
    const parts = Array.from(device.components).sort((a, b) => (a[0] < b[0] ? -1 : 1));
    const content = parts.map(([name, it]) => `${name}${it.mood}${it.since}${it.reason}${it.restarts}`);
    refill(this.parts, content.join("/"), () =>
      parts.map(([name, it]) => {
        const lamp = new Lamp();
        lamp.update(LIGHTS[it.mood]);
        const word = lamp.element.querySelector("b");
        if (word) say(word, it.mood);
        const times = it.restarts === 1 ? "once" : `${it.restarts} times`;
        const restarts = it.restarts > 0 ? make("span", "restarts", `restarted ${times}`) : "";
        const before = it.before.slice(0, 5).map((turn) => {
          const moment = make("li", "", `${turn.mood} since ${clock(ours(device, turn.since), now)}`);
          moment.title = turn.reason;
          return moment;
        });
        const head = make("th", "", name);
        head.scope = "row";
        return make(
          "tr",
          "",
          head,
          make("td", "", lamp.element),
          make("td", "since"),
          make("td", "", sentence(it.reason), " ", restarts),
          make("td", "", make("ol", "before", ...before)),
        );
      }),
    );
    parts.forEach(([, it], index) => {
      const since = this.parts.children[index]?.querySelector(".since");
      if (since) say(since, span(now - ours(device, it.since)));
    });
    show(this.parts.closest("div") as HTMLElement, parts.length > 0);
  }
}
