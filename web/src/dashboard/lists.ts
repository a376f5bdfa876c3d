// All machines, and all that happened.

import { make, mark, refill, say } from "./element";
import type { Device, Fleet } from "./fleet";
import { Lamp } from "./look";
import { machines } from "./room";
import { sentences, titled, type Moment } from "./sentences";
import { entries, key } from "./timeline";

export class MachinesPage {
  readonly element = make("article", "page");
  private readonly list = make("ul", "machines all");
  private readonly rows = new Map<string, Row>();

  constructor() {
    this.element.append(make("h1", "", "Machines"), this.list);
  }

  update(fleet: Fleet, moment: Moment): void {
    const all = machines(fleet);
    for (const device of all) {
      let row = this.rows.get(device.name);
      if (!row) this.rows.set(device.name, (row = new Row()));
      row.update(device, moment);
    }
    refill(this.list, all.map((it) => it.name).join("/"), () =>
      all.map((it) => (this.rows.get(it.name) as Row).element),
    );
  }
}

class Row {
  readonly element = make("li");
  private readonly lamp = new Lamp();
  private readonly link = make("a");
  private readonly text = make("span", "says");

  constructor() {
    this.element.append(this.lamp.element, this.link, this.text);
  }

  update(device: Device, moment: Moment): void {
    const worst = sentences(device, null, moment)[0];
    this.lamp.update(worst?.light ?? "green");
    mark(this.link, "href", `#machine/${encodeURIComponent(device.name)}`);
    say(this.link, titled(device));
    say(this.text, worst?.text ?? "All is well.");
  }
}

export class EventsPage {
  readonly element = make("article", "page");
  private readonly list = make("ol", "entries");

  constructor() {
    this.element.append(make("h1", "", "What happened"), this.list);
  }

  update(fleet: Fleet, now: number): void {
    refill(this.list, key(fleet.entries), () => entries(fleet.entries, now));
  }
}
