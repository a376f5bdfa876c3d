// How many tiles go side by side, so that every room is in sight at once.

export type TileSize = "row" | "tiny" | "small" | "medium" | "large";

export interface Layout {
  columns: number;
  size: TileSize;
}

export const GAP = 6;
/** Up to this width it is a phone: one tile under the other, each as wide as the screen. */
export const PHONE = 640;
/** The least width of each size, and the width above which a tile is only blown up. */
const TINY = 120;
const SMALL = 128;
const MEDIUM = 214;
const LARGE = 330;
const WIDEST = 520;

/** The height of a tile of that width, as the style sheet makes it. */
export function height(width: number, size: TileSize): number {
  switch (size) {
    case "large":
      return Math.ceil((width * 9) / 16) + 118;
    case "medium":
      return Math.ceil((width * 9) / 16) + 98;
    case "tiny":
      return 84;
    default:
      return 131;
  }
}

/** The largest tiles of which `count` are in sight in an area of that size, in pixels. */
export function layout(count: number, areaWidth: number, areaHeight: number): Layout {
  if (areaWidth <= PHONE) return { columns: 1, size: "row" };
  const most = (least: number): number => Math.max(1, Math.floor((areaWidth + GAP) / (least + GAP)));
  const across = (columns: number): number => (areaWidth + GAP) / columns - GAP;
  const fits = (columns: number, size: TileSize): boolean => {
    const rows = Math.ceil(count / columns);
    return rows * (height(across(columns), size) + GAP) - GAP <= areaHeight;
  };
  for (let columns = 1; columns <= most(SMALL); columns += 1) {
    const width = across(columns);
    if (width <= WIDEST && fits(columns, sizeOf(width))) return { columns, size: sizeOf(width) };
  }
  // Tiny ones are all as high, and a sentence wants width: the fewest side by side.
  for (let columns = 1; columns <= most(TINY); columns += 1) {
    if (across(columns) < MEDIUM && fits(columns, "tiny")) return { columns, size: "tiny" };
  }
  // More than can be seen at once: as many as there is place for, and the page scrolls.
  return { columns: most(TINY), size: "tiny" };
}

function sizeOf(width: number): TileSize {
  return width >= LARGE ? "large" : width >= MEDIUM ? "medium" : "small";
}
