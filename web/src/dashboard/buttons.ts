// Restart and identify of a box, for those who may, and what came of it. Other machines hear no
// orders: there it says how they are restarted.

import { make, refill, say, show } from "./element";
import type { Device } from "./fleet";
import { byHand, type Command, type Order } from "./orders";

const QUESTION = "Restart it? What it does breaks off for some seconds.";

export class Buttons {
  readonly element = make("section", "orders");
  private readonly ask = make("p", "ask");
  private readonly buttons = make("div", "buttons");
  private readonly told = make("ul", "told");
  private readonly elsewhere = make("p", "elsewhere");
  private device = "";

  constructor(private readonly give: (device: string, command: Command) => void) {
    const identify = button("Which one is it?", () => this.give(this.device, "identify"));
    const restart = button("Restart it", () => this.asking(true));
    this.buttons.append(identify, restart);
    const go = button("Restart", () => {
      this.asking(false);
      this.give(this.device, "restart");
    });
    go.classList.add("go");
    this.ask.append(make("span", "", QUESTION), go, button("Not now", () => this.asking(false)));
    this.told.setAttribute("role", "status");
    this.element.append(make("h2", "", "Do something"), this.buttons, this.ask, this.elsewhere, this.told);
    this.asking(false);
  }

  update(device: Device, may: boolean, orders: Order[]): void {
    const { name } = device;
    const command = byHand(device);
    if (name !== this.device || command !== null) this.asking(false);
    this.device = name;
    show(this.element, may);
    show(this.buttons, command === null && this.ask.hidden === true);
    show(this.elsewhere, command !== null);
    refill(this.elsewhere, command ?? "", () => [
      "Only a box takes orders from this page. On the operator's laptop, this restarts it: ",
      make("code", "", command ?? ""),
    ]);
    const mine = orders.filter((it) => it.device === name).slice(0, 4);
    refill(this.told, mine.map((it) => `${it.id}${it.state}${it.text}`).join("/"), () =>
      mine.map((it) => {
        const line = make("li", "", make("b", "", `${NAMES[it.command]}: `), it.text);
        line.setAttribute("data-state", it.state);
        return line;
      }),
    );
  }

  private asking(asking: boolean): void {
    show(this.ask, asking);
    show(this.buttons, !asking);
    if (asking) (this.ask.querySelector("button:last-child") as HTMLElement).focus();
    else say(this.ask.firstElementChild as Element, QUESTION);
  }
}

const NAMES: { [command in Command]: string } = { restart: "Restart", identify: "Identify" };

function button(text: string, then: () => void): HTMLButtonElement {
  const made = make("button", "button", text);
  made.type = "button";
  made.addEventListener("click", then);
  return made;
}
