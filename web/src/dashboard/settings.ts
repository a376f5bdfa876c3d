// Where the broker is and who we are there: from the form, from what the browser remembers, and
// from config.json beside the page.

export interface Settings {
  /** `wss://host:port/` or `ws://…`. */
  broker: string;
  username: string;
  password: string;
  /** Whether the buttons for orders are shown. */
  commands: boolean;
}

type Json = { [key: string]: unknown };

const text = (value: unknown): string =>
  typeof value === "string" && value.length <= 1000 ? value : "";

/** Reads settings; what is missing is empty. */
export function parse(value: unknown): Settings {
  const told: Json = typeof value === "object" && value !== null ? (value as Json) : {};
  return {
    broker: text(told["broker"]),
    username: text(told["username"]),
    password: text(told["password"]),
    commands: told["commands"] === true,
  };
}

/** What the browser remembers comes first; what it does not, the encoder or host may offer. */
export function merge(remembered: Settings | null, offered: Settings): Settings {
  if (!remembered || remembered.broker === "") return offered;
  return remembered;
}

/** An address as it is meant: `broker.example.org` is `wss://broker.example.org`. */
export function address(typed: string): string {
  const trimmed = typed.trim();
  if (trimmed === "" || /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed)) return trimmed;
  return `wss://${trimmed}`;
}

/** Why an address cannot be used; null when it can. `secure`: this page came over HTTPS. */
export function problem(broker: string, secure: boolean): string | null {
  const example = "for example wss://broker.example.org:8084";
  if (broker === "") return `Where is the broker? Write its address, ${example}.`;
  let url: URL;
  try {
    url = new URL(broker);
  } catch {
    return `This is no address; write it like this, ${example}.`;
  }
  if (url.protocol !== "wss:" && url.protocol !== "ws:") {
    return `A browser reaches a broker by WebSocket only: wss:// or ws://, ${example}.`;
  }
  if (url.username !== "" || url.password !== "") {
    return "Write user name and password into their own fields, not into the address.";
  }
  const here = ["localhost", "127.0.0.1", "[::1]"].indexOf(url.hostname) >= 0;
  if (secure && url.protocol === "ws:" && !here) {
    return "This page came encrypted, so the browser will not go to ws://. Use wss://.";
  }
  return null;
}

const KEY = "backrow-dashboard";

/** What the browser remembers; null when it does not, or must not. */
export function recall(storage: Storage | null): Settings | null {
  try {
    const kept = storage?.getItem(KEY);
    return kept ? parse(JSON.parse(kept)) : null;
  } catch {
    return null;
  }
}

export function remember(storage: Storage | null, settings: Settings | null): void {
  try {
    if (settings) storage?.setItem(KEY, JSON.stringify(settings));
    else storage?.removeItem(KEY);
  } catch {
    // A full or forbidden store: then it is asked for again.
  }
}
