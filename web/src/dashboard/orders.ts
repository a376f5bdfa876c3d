// Orders to a machine, and what came of them. See "Commands" in docs/mqtt.md.

import { isBox, type Device } from "./fleet";
import type { Message } from "./messages";
import { sentence } from "./words";

export type Command = "restart" | "identify";

export interface Order {
  id: string;
  device: string;
  command: Command;
  sent: number;
  state: "sending" | "sent" | "accepted" | "done" | "refused" | "failed" | "unanswered";
  text: string;
}

/** How somebody restarts a machine that hears no orders; null: it is a box, and does. */
export function byHand(device: Device): string | null {
  return isBox(device) ? null : `backrow restart ${device.name}`;
}

/** A machine answers at once; after so long it did not hear. */
export const PATIENCE = 15_000;
/** An order that came so late is not what anybody wants any more. */
const EXPIRES = 60_000;
const MOST = 50;

const DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A ULID: 48 bits of time and 80 of chance, in Crockford's base 32. `random` gives 0 to 255. */
export function ulid(now: number, random: () => number): string {
  let time = "";
  let rest = Math.floor(now);
  for (let digit = 0; digit < 10; digit += 1) {
    time = DIGITS.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  let chance = "";
  for (let digit = 0; digit < 16; digit += 1) chance += DIGITS.charAt(random() & 31);
  return time + chance;
}

/** The payload; `now` is by the machine's clock, which judges whether it is too late. */
export function payload(id: string, command: Command, now: number): string {
  const expires = new Date(now + EXPIRES).toISOString();
  const order = { v: 1, id, command, expires };
  return JSON.stringify(command === "identify" ? { ...order, seconds: 30 } : order);
}

/** The orders given here, the newest first. */
export class Orders {
  list: Order[] = [];

  give(id: string, device: string, command: Command, now: number): Order {
    const order: Order = { id, device, command, sent: now, state: "sending", text: "Sending…" };
    this.list.unshift(order);
    if (this.list.length > MOST) this.list.length = MOST;
    return order;
  }

  /** What the broker said to it. */
  passed(id: string, error: string | null): void {
    const order = this.list.find((it) => it.id === id);
    if (!order || order.state !== "sending") return;
    order.state = error === null ? "sent" : "failed";
    order.text = error === null ? "Sent; waiting for the answer…" : error;
  }

  /** What the machine said to it. */
  answered(ack: Message & { kind: "ack" }): void {
    const order = this.list.find((it) => it.id === ack.id && it.device === ack.device);
    if (!order) return;
    order.state = ack.answer;
    order.text = sentence(ack.text) || { accepted: "Under way.", done: "Done.", refused: "Refused.", failed: "It failed." }[ack.answer];
  }

  tick(now: number): void {
    for (const order of this.list) {
      const waits = order.state === "sent" || order.state === "sending";
      if (!waits || now - order.sent <= PATIENCE) continue;
      order.state = "unanswered";
      order.text = "No answer: the box may be away.";
    }
  }
}
