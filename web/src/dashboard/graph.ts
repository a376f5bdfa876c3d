// A graph of the last hour as the points of SVG lines. Pure: series in, coordinates out.

import { HOUR, joined, type Point } from "./history";

export interface Frame {
  width: number;
  height: number;
  /** The values at the bottom and the top. */
  low: number;
  high: number;
}

/** A line's path; a new line begins after a silence. Nothing when there is nothing to draw. */
export function path(points: Point[], now: number, frame: Frame): string {
  const { width, height, low, high } = frame;
  const across = (at: number): number => ((at - (now - HOUR)) / HOUR) * width;
  const up = (value: number): number => {
    const part = (value - low) / (high - low || 1);
    return height - Math.max(0, Math.min(1, part)) * height;
  };
  let before: Point | null = null;
  let drawn = "";
  for (const point of points) {
    const x = across(point.at);
    const command: string = before && joined(before, point) ? "L" : "M";
    drawn += `${command}${x.toFixed(1)} ${up(point.value).toFixed(1)}`;
    // A point alone would not be seen.
    if (command === "M") drawn += `h1`;
    before = point;
  }
  return drawn;
}

/** A round number that is not below the largest value, nor below `least`. */
export function ceiling(points: Point[], least: number): number {
  const largest = points.reduce((so, point) => Math.max(so, point.value), least);
  const power = Math.pow(10, Math.floor(Math.log10(Math.max(largest, 1e-9))));
  for (const step of [1, 2, 5, 10]) if (largest <= step * power * 1.0001) return step * power;
  return largest;
}
