// Which ways of playing a room there are, best first. Pure: what the browser can do and what the
// encoder offers in, a list out.

import type { Room } from "./api";

/** What the person chose. "auto", "audio", or the name of a rendition ("source", "480p", …). */
export type Choice = string;

export type Engine = "hls.js" | "native" | "progressive";

export interface Way {
  engine: Engine;
  /** Relative to the player page. */
  url: string;
  audioOnly: boolean;
  /** The HLS rendition to hold to, or null to let bandwidth decide. */
  rendition: string | null;
}

export const wayKey = (way: Way): string => `${way.engine} ${way.url}`;

export interface Abilities {
  /** Media Source Extensions with H.264 and AAC. */
  mse: boolean;
  /** The browser plays HLS by itself. */
  nativeHls: boolean;
  /** … and does it better than hls.js would (Safari, iOS). */
  preferNative: boolean;
  /** canPlayType for a content type: "" | "maybe" | "probably". */
  canPlay: (type: string) => string;
}

const AUDIO = ["audio-only.aac", "audio-only.mp3", "audio-only.ogg"];

/** Every way to play `choice` of `room`, best first. Empty: this browser can play nothing here. */
export function waysFor(room: Room, choice: Choice, can: Abilities): Way[] {
  const ways: Way[] = [];
  const rendition = room.renditions.filter((it) => it.name === choice)[0];
  const audio = choice === "audio" || (rendition !== undefined && rendition.audioOnly);

  for (const engine of hlsEngines(can)) {
    if (audio) {
      const name = rendition ? rendition.name : audioRendition(room);
      if (name) {
        ways.push({ engine, url: `hls/${name}/index.m3u8`, audioOnly: true, rendition: name });
      }
    } else {
      ways.push({
        engine,
        // A browser's own HLS player cannot be told to stay on one level: give it that one.
        url: engine === "native" && rendition ? `hls/${choice}/index.m3u8` : "hls/index.m3u8",
        audioOnly: false,
        rendition: rendition ? choice : null,
      });
    }
  }

  if (!audio) {
    const small = rendition !== undefined && rendition.height !== null && rendition.height < 400;
    const names = ["webcast-high.webm", "webcast-low.webm"];
    for (const name of small ? names.reverse() : names) add(name, false);
  }
  // Sound is worth more than nothing, so it ends every list.
  for (const name of AUDIO) add(name, true);
  return ways;

  function add(name: string, audioOnly: boolean): void {
    const mount = room.mounts[name];
    if (mount && can.canPlay(mount.type)) {
      ways.push({ engine: "progressive", url: name, audioOnly, rendition: null });
    }
  }
}

/** Whether the encoder has data for `way` now. */
export function isReady(way: Way, room: Room): boolean {
  if (way.engine !== "progressive") return room.hls;
  const mount = room.mounts[way.url];
  return mount !== undefined && mount.live;
}

/** What the quality menu offers, best first, beside "auto" and "audio". */
export function qualities(room: Room): string[] {
  return room.renditions.filter((it) => !it.audioOnly && it.name).map((it) => it.name);
}

function audioRendition(room: Room): string | null {
  const found = room.renditions.filter((it) => it.audioOnly)[0];
  return found ? found.name : null;
}

function hlsEngines(can: Abilities): Engine[] {
  const engines: Engine[] = [];
  if (can.nativeHls && can.preferNative) engines.push("native");
  if (can.mse) engines.push("hls.js");
  if (can.nativeHls && !can.preferNative && !can.mse) engines.push("native");
  return engines;
}
