// The encoder's read model, GET /api/v1/rooms. The document only grows, so what is not known
// here is ignored, and what is missing reads as "no".

export interface Mount {
  type: string;
  live: boolean;
}

export interface Rendition {
  name: string;
  audioOnly: boolean;
  height: number | null;
}

export interface Room {
  name: string;
  title: string;
  live: boolean;
  since: string | null;
  viewers: number;
  /** The multivariant playlist exists. */
  hls: boolean;
  renditions: Rendition[];
  mounts: Record<string, Mount>;
  preview: boolean;
}

export interface Rooms {
  /** Changes when the encoder process does. */
  instance: string;
  rooms: Room[];
}

type Json = { [key: string]: unknown };

const object = (value: unknown): Json =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number | null =>
  typeof value === "number" && isFinite(value) ? value : null;

/** Reads the document; `null` when it is not one (a proxy's error page, say). */
export function parseRooms(value: unknown): Rooms | null {
  const root = object(value);
  if (!Array.isArray(root["rooms"])) return null;
  return { instance: text(root["instance"]), rooms: root["rooms"].map(parseRoom) };
}

function parseRoom(value: unknown): Room {
  const room = object(value);
  const mounts: Record<string, Mount> = {};
  const given = object(room["mounts"]);
  for (const name of Object.keys(given)) {
    const mount = object(given[name]);
    mounts[name] = { type: text(mount["type"]), live: mount["live"] === true };
  }
  const name = text(room["name"]);
  return {
    name,
    title: text(room["title"]) || name,
    live: room["live"] === true,
    since: text(room["since"]) || null,
    viewers: number(object(room["viewers"])["total"]) ?? 0,
    hls: room["hls"] === true,
    renditions: list(room["renditions"]).map((item) => {
      const rendition = object(item);
      return {
        name: text(rendition["name"]),
        audioOnly: rendition["audio_only"] === true,
        height: number(rendition["height"]),
      };
    }),
    mounts,
    preview: room["preview"] === true,
  };
}

/** Asks the encoder at `url`; rejects when it gives no sensible answer in `timeout` ms. */
export function fetchRooms(url: string, timeout = 8000): Promise<Rooms> {
  const abort = typeof AbortController === "function" ? new AbortController() : null;
  const ask = fetch(url, {
    cache: "no-store",
    credentials: "omit",
    ...(abort ? { signal: abort.signal } : {}),
  }).then((answer) => {
    if (!answer.ok) throw new Error(`the encoder answered ${answer.status}`);
    return answer.json() as Promise<unknown>;
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      if (abort) abort.abort();
      reject(new Error("no answer in time"));
    }, timeout);
    ask.then((body) => {
      const rooms = parseRooms(body);
      if (rooms) resolve(rooms);
      else reject(new Error("not the answer of an encoder"));
    }).catch(reject).then(() => clearTimeout(timer));
  });
}
