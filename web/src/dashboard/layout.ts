// How many tiles go side by side, so that every room is in sight at once.

export type TileSize = "row" | "small" | "medium" | "large";

export interface Layout {
  columns: number;
  size: TileSize;
}

export const GAP = 6;
/** Up to this width it is a phone: one tile under the other, each as wide as the screen. */
export const PHONE = 640;
/** The least width of each size, and the width above which a tile is only blown up. */
const SMALL = 128;
const MEDIUM = 214;
const LARGE = 330;
const WIDEST = 520;

/** The height of a tile of that width, as the style sheet makes it. */
export function height(width: number): number {
  if (width >= LARGE) return Math.ceil((width * 9) / 16) + 118;
  return width >= MEDIUM ? Math.ceil((width * 9) / 16) + 98 : 131;
}

/** The largest tiles of which `count` are in sight in an area of that size, in pixels. */
export function layout(count: number, areaWidth: number, areaHeight: number): Layout {
  if (areaWidth <= PHONE) return { columns: 1, size: "row" };
  const most = Math.max(1, Math.floor((areaWidth + GAP) / (SMALL + GAP)));
  for (let columns = 1; columns <= most; columns += 1) {
    const width = (areaWidth + GAP) / columns - GAP;
    const rows = Math.ceil(count / columns);
    if (width <= WIDEST && rows * (height(width) + GAP) - GAP <= areaHeight) {
      return { columns, size: sizeOf(width) };
    }
  }
  // More than can be seen at once: the smallest, and the page scrolls.
  return { columns: most, size: sizeOf((areaWidth + GAP) / most - GAP) };
}

function sizeOf(width: number): TileSize {
  return width >= LARGE ? "large" : width >= MEDIUM ? "medium" : "small";
}
