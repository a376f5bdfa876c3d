// What the page says for each state of the machine. Pure, so that every sentence is tested.

import type { Model } from "./machine";

export interface View {
  /** Covers the picture; null while there is something to see. */
  headline: string | null;
  detail: string;
  busy: boolean;
  /** "live" | "off" | "unknown": the badge, which has words and a shape, not only a colour. */
  badge: "live" | "off" | "unknown";
  badgeText: string;
  soundOnly: boolean;
}

export function view(model: Model, online: boolean): View {
  const live = model.room !== null && model.room.live;
  const known = model.room !== null && model.phase !== "unreachable";
  return {
    ...words(model, online),
    badge: !known ? "unknown" : live ? "live" : "off",
    badgeText: !known ? "–" : live ? "Live" : "Off air",
    soundOnly: model.way !== null && model.way.audioOnly,
  };
}

function words(model: Model, online: boolean): Pick<View, "headline" | "detail" | "busy"> {
  switch (model.phase) {
    case "playing":
      return { headline: null, detail: "", busy: false };
    case "asking":
      return { headline: "One moment…", detail: "", busy: true };
    case "joining":
      if (model.paused) return { headline: null, detail: "", busy: false };
      return { headline: "Starting…", detail: "", busy: true };
    case "stalled":
      return { headline: "Waiting for the stream…", detail: "", busy: true };
    case "off":
      if (model.unknown) {
        return {
          headline: "No such room",
          detail: "This server has no room of this name. See the list of all rooms.",
          busy: false,
        };
      }
      return model.seenLive
        ? {
            headline: "Back soon",
            detail: "The room is off the air. The stream goes on here by itself.",
            busy: false,
          }
        : {
            headline: "Not live yet",
            detail: "Leave this page open: it starts by itself when the room goes live.",
            busy: false,
          };
    case "unreachable":
      return online
        ? {
            headline: "No answer from the streaming server",
            detail: "Trying again by itself. If other pages fail too, it is your connection.",
            busy: true,
          }
        : {
            headline: "You are offline",
            detail: "The stream goes on here by itself when your connection is back.",
            busy: true,
          };
    case "unplayable":
      return {
        headline: "This browser cannot play the stream",
        detail: "Try an address under “Other ways to watch”, for example in VLC.",
        busy: false,
      };
  }
}

/** "Automatic", "480p", "Original": what a person reads in the quality menu. */
export function qualityLabel(choice: string, height: number | null): string {
  if (choice === "auto") return "Auto";
  if (choice === "audio") return "Sound only";
  if (choice === "source") return height ? `Original (${height}p)` : "Original";
  return choice;
}

export function viewersText(count: number): string {
  return count === 1 ? "1 watching" : `${count} watching`;
}

/** "12 min", "2 h 05 min": how long a room has been live. `null` when that is not known. */
export function liveFor(since: string | null, now: number): string | null {
  if (!since) return null;
  const start = Date.parse(since);
  // A viewer's clock may be wrong by any amount: say nothing rather than nonsense.
  if (isNaN(start) || now < start) return null;
  const minutes = Math.floor((now - start) / 60000);
  if (minutes < 1) return "just started";
  if (minutes < 60) return `for ${minutes} min`;
  const rest = minutes % 60;
  return `for ${Math.floor(minutes / 60)} h ${rest < 10 ? "0" : ""}${rest} min`;
}
