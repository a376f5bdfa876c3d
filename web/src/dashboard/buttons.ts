// Restart and identify, for those who may, and what came of it.

import { make, refill, say, show } from "./element";
import type { Command, Order } from "./orders";

const QUESTION = "Restart it? What it does breaks off for some seconds.";

export class Buttons {
  readonly element = make("section", "orders");
  private readonly ask = make("p", "ask");
  private readonly buttons = make("div", "buttons");
  private readonly told = make("ul", "told");
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
    this.element.append(make("h2", "", "Do something"), this.buttons, this.ask, this.told);
    this.asking(false);
  }

  update(device: string, may: boolean, orders: Order[]): void {
    if (device !== this.device) this.asking(false);
    this.device = device;
    show(this.element, may);
    const mine = orders.filter((it) => it.device === device).slice(0, 4);
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
