// The graphs of the last hour.

import { make, mark, say, show } from "./element";
import type { Curve, Device } from "./fleet";
import { ceiling, path } from "./graph";
import type { Point } from "./history";

interface Kind {
  curve: Curve;
  title: string;
  unit: string;
  /** The axis: fixed, or from zero to at least so much. */
  low: number;
  high: number | null;
  least: number;
  digits: number;
}

const kind = (
  curve: Curve,
  title: string,
  unit: string,
  axis: { low?: number; high?: number; least?: number; digits?: number },
): Kind => ({
  curve,
  title,
  unit,
  low: axis.low ?? 0,
  high: axis.high ?? null,
  least: axis.least ?? 1,
  digits: axis.digits ?? 0,
});

const KINDS: Kind[] = [
  kind("level", "Sound, loudest", "dB", { low: -60, high: 0 }),
  kind("backlog", "Waiting to be sent", "s", { least: 10 }),
  kind("viewers", "Viewers", "", { least: 10 }),
  kind("dropped", "Frames dropped", "in 5 s", { least: 10 }),
  kind("load", "Load", "", { least: 2, digits: 1 }),
  kind("temperature", "Temperature", "°C", { least: 100 }),
  kind("memory", "Memory", "MB", { least: 100 }),
];

const WIDTH = 300;
const HEIGHT = 60;
const SVG = "http://www.w3.org/2000/svg";

/** All graphs that a machine has numbers for. */
export class Curves {
  readonly element = make("div", "curves");
  private readonly graphs = KINDS.map((it) => new Graph(it));

  constructor() {
    this.element.append(...this.graphs.map((it) => it.element));
  }

  update(device: Device | null, now: number): void {
    for (const graph of this.graphs) graph.update(device, now);
  }
}

class Graph {
  readonly element = make("figure", "curve");
  private readonly line = document.createElementNS(SVG, "path");
  private readonly newest = make("b");
  private readonly top = make("span", "high");
  private readonly bottom = make("span", "low");

  constructor(private readonly kind: Kind) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    this.line.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(this.line);
    const caption = make("figcaption", "", `${kind.title} `, this.newest);
    const frame = make("div", "frame", this.top, this.bottom);
    frame.prepend(svg);
    const axis = make("p", "axis", make("span", "", "an hour ago"), make("span", "", "now"));
    this.element.append(caption, frame, axis);
  }

  update(device: Device | null, now: number): void {
    const points: Point[] = device?.curves[this.kind.curve]?.points(now) ?? [];
    show(this.element, points.length > 0);
    const last = points[points.length - 1];
    if (!last) return;
    const { low, least, digits, unit } = this.kind;
    const high = this.kind.high ?? ceiling(points, least);
    mark(this.line as unknown as HTMLElement, "d", path(points, now, { width: WIDTH, height: HEIGHT, low, high }));
    say(this.newest, `${last.value.toFixed(digits)} ${unit}`.trim());
    say(this.top, String(high));
    say(this.bottom, String(low));
  }
}
