// What happened, the newest first.

import { make } from "./element";
import type { Entry } from "./fleet";
import { clock, sentence } from "./words";

/** A word for each kind of event: what a shape or a colour says, says it too. */
const KINDS: { [what: string]: string } = {
  mood: "Mood",
  restart: "Restart",
  loss: "Loss",
  came: "Came",
  went: "Went",
  notice: "Note",
  state: "State",
};

export function line(entry: Entry, now: number): HTMLElement {
  const time = make("time", "", clock(entry.at, now));
  const kind = make("b", "kind", KINDS[entry.what] ?? "Note");
  kind.setAttribute("data-kind", entry.what);
  const link = make("a", "", entry.device);
  link.href = `#machine/${encodeURIComponent(entry.device)}`;
  const about = entry.component === "" ? "" : `${entry.component}: `;
  const text = entry.component === "" ? entry.text : sentence(entry.text);
  return make("li", "entry", time, kind, link, make("span", "", `${about}${text}`));
}

/** Changes whenever the list of these entries does. */
export function key(entries: Entry[]): string {
  const newest = entries[0];
  return newest ? `${entries.length} ${newest.at} ${newest.device} ${newest.text}` : "none";
}

/** All of them, or that there are none. */
export function entries(all: Entry[], now: number): HTMLElement[] {
  if (all.length > 0) return all.map((it) => line(it, now));
  return [make("li", "entry note", "What happens from now on shows here.")];
}
