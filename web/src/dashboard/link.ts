// The connection to the broker, by MQTT 5 over WebSocket. It comes back by itself, for ever.
//
//   connect ─▶ asking ──accepted──▶ there ──lost──▶ gone ──again and again──▶ there
//                 └──refused, no answer──▶ gone

import type { MqttClient } from "mqtt";
import { MAX_BYTES } from "./messages";
import type { Settings } from "./settings";

/** mqtt.js is a file of its own, loaded before this one. */
declare const mqtt: typeof import("mqtt").default;

export type Contact = "asking" | "there" | "gone";

export interface Events {
  message(topic: string, payload: Uint8Array, kept: boolean): void;
  contact(contact: Contact, why: string): void;
}

/** So long without a packet, and the broker is asked for one; so long, and we begin anew. */
const QUIET = 10_000;
const DEAD = 20_000;

export class Link {
  private client: MqttClient | null = null;
  private packet = 0;
  private asked = false;

  constructor(
    private readonly settings: Settings,
    private readonly events: Events,
  ) {}

  open(): void {
    const { broker, username, password } = this.settings;
    this.events.contact("asking", "");
    this.packet = Date.now();
    this.asked = false;
    const client = mqtt.connect(broker, {
      protocolVersion: 5,
      clean: true,
      clientId: `backrow-dashboard-${Math.random().toString(36).slice(2, 10)}`,
      ...(username === "" ? {} : { username }),
      ...(password === "" ? {} : { password }),
      // A hidden page's timers run once a minute: the broker waits half as long again.
      keepalive: 60,
      connectTimeout: 10_000,
      // Many pages do not come back in step.
      reconnectPeriod: 1500 + Math.floor(Math.random() * 1000),
      reconnectOnConnackError: true,
      // Workers would need a policy of their own, and this page has no hurry in the background.
      timerVariant: "native",
      // What is larger is none of ours: the broker keeps it back, and it cannot hurt.
      properties: { maximumPacketSize: 2 * MAX_BYTES },
    });
    this.client = client;
    let why = "";
    client.on("connect", () => {
      why = "";
      client.subscribe("backrow/#", { qos: 1 }, (error, granted) => {
        const refused = error ?? granted?.find((it) => it.qos >= 128);
        if (refused) this.events.contact("gone", "The broker does not let this user read backrow/#.");
        else this.events.contact("there", "");
      });
    });
    client.on("message", (topic, payload, packet) => {
      this.events.message(topic, payload, packet.retain);
    });
    client.on("packetreceive", () => {
      this.packet = Date.now();
      this.asked = false;
    });
    client.on("error", (error) => {
      why = explain(error);
      this.events.contact("gone", why);
    });
    client.on("close", () => {
      if (this.client === client) this.events.contact("gone", why);
    });
  }

  /** To be called often while the page is seen: a dead connection is noticed, and replaced. */
  tick(now: number): void {
    const quiet = now - this.packet;
    if (!this.client || !this.client.connected || quiet < QUIET) return;
    if (quiet >= DEAD && this.asked) {
      this.close();
      this.events.contact("gone", "The broker does not answer.");
      this.open();
    } else if (!this.asked) {
      this.asked = true;
      // The answer may take the time that is left, counted from now on.
      this.packet = now - QUIET;
      this.client.sendPing();
    }
  }

  /** Publishes with QoS 1; `done` hears why the broker did not take it, or null. */
  publish(topic: string, payload: string, done: (error: string | null) => void): void {
    if (!this.client || !this.client.connected) {
      done("There is no connection to the broker.");
      return;
    }
    this.client.publish(topic, payload, { qos: 1 }, (error) => done(error ? explain(error) : null));
  }

  close(): void {
    const client = this.client;
    this.client = null;
    client?.end(true);
  }
}

/** Reason codes of MQTT 5 (section 2.4) that an operator can do something about. */
function explain(error: Error): string {
  const code = (error as { code?: unknown }).code;
  switch (code) {
    case 4:
    case 5:
    case 134:
    case 135:
      return "The broker says no: wrong user or password, or this user may not do that.";
    case 136:
    case 137:
      return "The broker is too busy.";
    case 138:
      return "The broker has banned us.";
    default:
      return "";
  }
}
