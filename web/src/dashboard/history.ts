// One number over the last hour: a slot for every ten seconds, and nothing grows.

const SLOT = 10_000;
const SLOTS = 360;

/** How far back a series goes, ms. */
export const HOUR = SLOT * SLOTS;

export interface Point {
  at: number;
  value: number;
}

export class Series {
  private values = new Float32Array(SLOTS).fill(NaN);
  /** The newest slot's number, counted from 1970. */
  private newest = -1;

  /** Notes a value. Of several in one slot the last counts; one that is older than the newest, by
   *  a clock set back, begins the series anew. */
  push(value: number, now: number): void {
    const slot = Math.floor(now / SLOT);
    if (this.newest >= 0 && slot < this.newest - 1) this.values.fill(NaN);
    else {
      const from = Math.max(this.newest + 1, slot - SLOTS + 1);
      for (let empty = from; empty <= slot; empty += 1) this.values[empty % SLOTS] = NaN;
    }
    this.newest = slot;
    this.values[slot % SLOTS] = value;
  }

  /** The last hour's values, the oldest first; where nothing was told there is none. */
  points(now: number): Point[] {
    const last = Math.floor(now / SLOT);
    const points: Point[] = [];
    for (let slot = Math.max(last - SLOTS + 1, this.newest - SLOTS + 1); slot <= this.newest; slot += 1) {
      const value = slot >= 0 ? this.values[slot % SLOTS] : NaN;
      if (value !== undefined && !isNaN(value)) points.push({ at: slot * SLOT, value });
    }
    return points;
  }

  /** The last hour as text, "first slot:value,,value"; empty when there is nothing. */
  text(now: number): string {
    const first = this.points(now)[0];
    if (!first) return "";
    const from = first.at / SLOT;
    let text = `${from}:`;
    for (let slot = from; slot <= this.newest; slot += 1) {
      const value = this.values[slot % SLOTS] as number;
      if (slot > from) text += ",";
      // A graph shows no more than this.
      if (!isNaN(value)) text += Math.round(value * 100) / 100;
    }
    return text;
  }

  /** What `text` gave; null when it is none, or has nothing of the hour before `now`. */
  static read(text: string, now: number): Series | null {
    const [first = "", values = ""] = text.split(":");
    if (!/^[0-9]{1,12}$/.test(first)) return null;
    const series = new Series();
    values.split(",", SLOTS).forEach((told, index) => {
      const at = (Number(first) + index) * SLOT;
      const value = told === "" ? NaN : Number(told);
      if (isFinite(value) && at <= now) series.push(value, at);
    });
    return series.points(now).length > 0 ? series : null;
  }
}

/** Whether a line may be drawn from one point to the next: not across a silence. */
export function joined(one: Point, next: Point): boolean {
  return next.at - one.at <= 3 * SLOT;
}
