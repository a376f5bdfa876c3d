// The parts that tile and pages share: the light, the picture, the sound meter.

import { length, LOUD, QUIET, zone, zoneWord } from "../box-model";
import { make, mark, say, show } from "./element";
import type { Device } from "./fleet";
import { word, type Light } from "./sentences";

/** A colour, a shape and a word. */
export class Lamp {
  readonly element = make("span", "lamp");
  private readonly word = make("b");

  constructor() {
    const shape = make("i");
    shape.setAttribute("aria-hidden", "true");
    this.element.append(shape, this.word);
  }

  update(light: Light): void {
    mark(this.element, "data-light", light);
    say(this.word, word(light));
  }
}

/** The newest preview. Its memory is given back when another comes. */
export class Picture {
  readonly element = make("div", "picture");
  private readonly none = make("span", "no-picture", "no picture");
  private image: HTMLImageElement | null = null;
  private bytes: Uint8Array | null = null;
  private url = "";

  constructor() {
    this.element.append(this.none);
  }

  /** `seen`: whether anybody can see it now; a picture that nobody sees is not made. */
  update(device: Device | null, old: boolean, seen = true): void {
    const bytes = device?.preview ?? null;
    mark(this.element, "data-old", String(old));
    if (bytes === this.bytes || !seen) return;
    this.bytes = bytes;
    if (!bytes) {
      this.replace(null, "");
      return;
    }
    const url = URL.createObjectURL(new Blob([bytes as BlobPart], { type: "image/jpeg" }));
    const next = new Image();
    next.alt = "";
    // Shown only once it is there: no flicker, and what is no picture is never seen.
    next.onload = () => this.replace(next, url);
    next.onerror = () => URL.revokeObjectURL(url);
    next.src = url;
  }

  private replace(image: HTMLImageElement | null, url: string): void {
    if (this.url !== "") URL.revokeObjectURL(this.url);
    this.image?.remove();
    this.image = image;
    this.url = url;
    if (image) this.element.append(image);
    show(this.none, image === null);
  }
}

/** A bar for each channel, with a mark where speech should reach, and a word. */
export class Meter {
  readonly element = make("div", "vu");
  private readonly bars = make("div", "vu-bars");
  private readonly word = make("b", "vu-word");

  constructor() {
    this.element.append(this.bars, this.word);
    this.bars.style.setProperty("--quiet-at", `${length(QUIET) * 100}%`);
    this.bars.style.setProperty("--loud-at", `${length(LOUD) * 100}%`);
  }

  update(levels: number[]): void {
    const shown = levels.length === 0 ? [-100, -100] : levels;
    while (this.bars.children.length > shown.length) this.bars.lastElementChild?.remove();
    while (this.bars.children.length < shown.length) this.bars.append(make("span", "vu-bar", make("i")));
    shown.forEach((level, channel) => {
      const fill = this.bars.children[channel]?.firstElementChild as HTMLElement;
      fill.style.setProperty("--level", `${(length(level) * 100).toFixed(1)}%`);
    });
    const loudness = zone(levels.length === 0 ? null : Math.max(...levels));
    mark(this.element, "data-zone", loudness);
    say(this.word, levels.length === 0 ? "no level" : zoneWord(loudness));
  }
}
