// What the player does next. Pure: (model, event, now) in, (model, effects) out; the driver in
// player.ts owns the page, the network and the clock.
//
//              polled: live                attach, first frame
//   ┌────────┐ ───────────▶ ┌─────────┐ ───────────────▶ ┌─────────┐
//   │ asking │              │ joining │                  │ playing │◀─┐ progress
//   └────────┘ ◀─┐          └─────────┘ ◀─────────────── └─────────┘  │
//     │   │      │             │    ▲    failed, 12 s of     │ 3 s without
//     │   │ not  │ polled   not│    │    nothing, woken      ▼ progress
//     │   ▼ live │ again   live▼    │ live              ┌─────────┐
//     │ ┌────────┴─┐◀────────────── │ ◀──────────────── │ stalled │──┘
//     │ │   off    │────────────────┘  not live         └─────────┘
//     │ └──────────┘ (not live yet / back soon)
//     ▼ polls fail and nothing plays
//   ┌─────────────┐  polled                 ┌────────────┐
//   │ unreachable │ ───────▶ off/joining    │ unplayable │  no way of playing is left: links,
//   └─────────────┘                         └────────────┘  and another try every minute
//
// A room that goes off air is played to its last frame: only then does "back soon" appear.

import type { Room, Rooms } from "./api";
import { isReady, wayKey, waysFor, type Abilities, type Choice, type Way } from "./ways";

export type Phase =
  | "asking"
  | "off"
  | "joining"
  | "playing"
  | "stalled"
  | "unreachable"
  | "unplayable";

export type Failure = "network" | "media" | "unsupported";

export type Event =
  | { kind: "start" }
  | { kind: "polled"; rooms: Rooms }
  | { kind: "pollFailed" }
  | { kind: "progress" }
  | { kind: "failed"; failure: Failure }
  | { kind: "ended" }
  | { kind: "choose"; choice: Choice }
  | { kind: "pause" }
  | { kind: "resume" }
  | { kind: "online" }
  | { kind: "tick" };

export type Effect =
  | { do: "poll" }
  | { do: "attach"; way: Way }
  | { do: "detach" }
  | { do: "recover" }
  | { do: "edge" };

export interface Model {
  phase: Phase;
  /** The room has been seen live since the page was opened: "back soon", not "not live yet". */
  seenLive: boolean;
  /** The encoder has no such room (any more). */
  unknown: boolean;
  room: Room | null;
  instance: string;
  choice: Choice;
  way: Way | null;
  /** Ways that this browser has shown it cannot play, or that failed three times, by key. */
  bad: string[];
  /** Failures in a row on this way, and in all since something last played. */
  failures: number;
  attempts: number;
  paused: boolean;
  pollAt: number;
  polling: boolean;
  pollFailures: number;
  attachAt: number | null;
  attachedAt: number;
  progressAt: number;
  /** When the room was last seen to go live, or to go off air. */
  liveAt: number;
  offAt: number;
  tickAt: number;
  recoveredAt: number;
}

export interface Context {
  /** The room's name in the page's address. */
  room: string;
  can: Abilities;
  /** 0 ≤ random() < 1: spreads the polls of a full hall over time. */
  random: () => number;
}

/** ms without a frame before the page says so, and before it connects anew. */
export const STALLED = 3000;
export const GIVE_UP = 12000;
/** How long a room that went off air may go on from what is buffered. */
export const PLAY_OUT = 25000;
/** A tick this late means that the machine slept. */
export const SLEPT = 15000;
/** How long HLS may take to appear before another way is taken. */
export const HLS_GRACE = 10000;

export function initial(choice: Choice): Model {
  return {
    phase: "asking",
    seenLive: false,
    unknown: false,
    room: null,
    instance: "",
    choice,
    way: null,
    bad: [],
    failures: 0,
    attempts: 0,
    paused: false,
    pollAt: 0,
    polling: false,
    pollFailures: 0,
    attachAt: null,
    attachedAt: 0,
    progressAt: 0,
    liveAt: 0,
    offAt: 0,
    tickAt: 0,
    recoveredAt: -Infinity,
  };
}

/** One step. `model` is not changed. */
export function step(
  model: Model,
  event: Event,
  now: number,
  context: Context,
): { model: Model; effects: Effect[] } {
  const next: Model = { ...model, bad: model.bad.slice() };
  const effects: Effect[] = [];
  const machine = new Step(next, now, context, effects);
  machine.take(event);
  return { model: next, effects };
}

class Step {
  constructor(
    private m: Model,
    private now: number,
    private context: Context,
    private effects: Effect[],
  ) {}

  take(event: Event): void {
    switch (event.kind) {
      case "start":
        this.m.tickAt = this.now;
        this.poll();
        break;
      case "polled":
        this.polled(event.rooms);
        break;
      case "pollFailed":
        this.pollFailed();
        break;
      case "progress":
        this.progress();
        break;
      case "failed":
        this.failed(event.failure);
        break;
      case "ended":
        this.lost();
        break;
      case "choose":
        if (event.choice !== this.m.choice) this.choose(event.choice);
        break;
      case "pause":
        this.m.paused = true;
        break;
      case "resume":
        this.resume();
        break;
      case "online":
        if (this.m.phase !== "playing") this.poll();
        break;
      case "tick":
        this.tick();
        break;
    }
  }

  private poll(): void {
    if (this.m.polling) return;
    this.m.polling = true;
    this.effects.push({ do: "poll" });
  }

  private pollIn(ms: number): void {
    this.m.polling = false;
    this.m.pollAt = this.now + ms * (0.75 + this.context.random() / 2);
  }

  private polled(rooms: Rooms): void {
    const m = this.m;
    const room = rooms.rooms.filter((it) => it.name === this.context.room)[0] ?? null;
    const restarted = m.instance !== "" && rooms.instance !== m.instance;
    const wasLive = m.room !== null && m.room.live;
    m.instance = rooms.instance;
    m.room = room;
    m.unknown = room === null;
    m.pollFailures = 0;

    if (room && room.live) {
      if (!wasLive || restarted) {
        m.liveAt = this.now;
        // A new start deserves every way again, also those that only failed to connect.
        m.failures = 0;
        m.attempts = 0;
        m.bad = [];
      }
      m.seenLive = true;
      if (restarted && m.way) {
        this.detach();
        m.phase = "joining";
      }
      if (m.phase === "asking" || m.phase === "off" || m.phase === "unreachable") {
        m.phase = "joining";
      }
      if (m.phase === "joining" && !m.way && m.attachAt === null) this.attach();
    } else if (wasLive) {
      m.offAt = this.now;
      if (m.phase !== "playing" && m.phase !== "stalled") this.off();
    } else if (m.phase !== "playing") {
      // "stalled" is left by its own rule, once the last frames have had their chance.
      if (m.phase !== "stalled" || this.now - m.progressAt >= STALLED) this.off();
    }

    const away = m.phase === "off" || m.phase === "joining" || m.phase === "stalled";
    this.pollIn(m.phase === "joining" ? 1000 : away ? 3000 : 10000);
  }

  private pollFailed(): void {
    const m = this.m;
    m.pollFailures += 1;
    if (m.phase !== "playing" && (m.phase !== "stalled" || m.pollFailures > 1)) {
      this.detach();
      m.phase = "unreachable";
    }
    this.pollIn(Math.min(2000 * Math.pow(1.5, m.pollFailures - 1), 8000));
  }

  /** Takes the best way that has data; waits for a better one for a while. */
  private attach(): void {
    const m = this.m;
    m.attachAt = null;
    if (!m.room || m.paused) return;
    const ways = waysFor(m.room, m.choice, this.context.can);
    const left = ways.filter((way) => m.bad.indexOf(wayKey(way)) < 0);
    const first = left[0];
    if (!first) {
      this.unplayable();
      return;
    }
    let way: Way | undefined = first;
    if (!isReady(first, m.room)) {
      const room = m.room;
      if (this.now - m.liveAt < HLS_GRACE) return;
      // Not silently from pictures to sound only: that is for what cannot be played at all.
      way = left.filter((it) => isReady(it, room) && (it.audioOnly === first.audioOnly))[0];
      if (!way) return;
    }
    m.way = way;
    m.attachedAt = this.now;
    m.progressAt = this.now;
    m.phase = "joining";
    this.effects.push({ do: "attach", way });
  }

  private detach(): void {
    this.m.attachAt = null;
    if (!this.m.way) return;
    this.m.way = null;
    this.effects.push({ do: "detach" });
  }

  private off(): void {
    this.detach();
    this.m.phase = "off";
  }

  private unplayable(): void {
    const m = this.m;
    this.detach();
    m.phase = "unplayable";
    m.attachAt = this.now + 60000;
  }

  private progress(): void {
    const m = this.m;
    if (!m.way) return;
    m.progressAt = this.now;
    m.phase = "playing";
    // A second of pictures is not yet a success: a decoder may fail at each keyframe.
    if (this.now - m.attachedAt > GIVE_UP) {
      m.failures = 0;
      m.attempts = 0;
    }
  }

  private failed(failure: Failure): void {
    const m = this.m;
    if (!m.way) return;
    if (failure === "media" && this.now - m.recoveredAt > 5000) {
      m.recoveredAt = this.now;
      this.effects.push({ do: "recover" });
      return;
    }
    m.failures += 1;
    if (failure === "unsupported" || m.failures >= 3) {
      m.bad.push(wayKey(m.way));
      m.failures = 0;
    }
    this.lost();
  }

  /** The way is gone: ask what is on, and connect anew after a pause that grows. */
  private lost(): void {
    const m = this.m;
    if (!m.way) return;
    this.detach();
    m.phase = "joining";
    const pause = Math.min(500 * Math.pow(2, m.attempts), 8000);
    m.attempts += 1;
    m.attachAt = this.now + pause * (0.75 + this.context.random() / 2);
    this.poll();
  }

  private choose(choice: Choice): void {
    const m = this.m;
    m.choice = choice;
    m.bad = [];
    m.failures = 0;
    m.attempts = 0;
    if (m.room && m.room.live && (m.way || m.phase === "joining" || m.phase === "unplayable")) {
      // The driver moves within a running hls.js when it can; the rest starts anew.
      m.way = null;
      m.paused = false;
      this.attach();
      if (!m.way) this.effects.push({ do: "detach" });
    }
  }

  private resume(): void {
    const m = this.m;
    if (!m.paused) return;
    m.paused = false;
    m.progressAt = this.now;
    if (m.way && m.way.engine === "progressive") {
      // A progressive stream cannot wait: what was on its way is old.
      this.effects.push({ do: "attach", way: m.way });
      m.attachedAt = this.now;
    } else if (!m.way && m.room && m.room.live) {
      this.attach();
    }
  }

  private tick(): void {
    const m = this.m;
    const gap = this.now - m.tickAt;
    m.tickAt = this.now;
    if (gap > SLEPT) {
      this.woke();
      return;
    }
    if (this.now >= m.pollAt) this.poll();
    if (m.attachAt !== null && this.now >= m.attachAt) {
      if (m.phase === "unplayable") {
        m.bad = [];
        m.phase = "joining";
      }
      if (m.room && m.room.live) this.attach();
      else m.attachAt = null;
    }
    if (!m.way || m.paused) return;
    const still = this.now - m.progressAt;
    if (m.phase === "playing" && still >= STALLED) {
      m.phase = "stalled";
      this.poll();
    }
    const playedOut =
      (m.phase === "stalled" && still >= STALLED) || this.now - m.offAt >= PLAY_OUT;
    if (m.room && !m.room.live && playedOut) {
      this.off();
      this.poll();
    } else if (still >= GIVE_UP) {
      this.failed("network");
    }
  }

  /** Timers stood still: the stream moved on, connections are dead. */
  private woke(): void {
    const m = this.m;
    m.polling = false;
    this.poll();
    if (m.attachAt !== null) m.attachAt = this.now + 500;
    if (!m.way) return;
    // A hidden page's timers are slow, too, but its stream goes on: leave that alone.
    const still = this.now - m.progressAt > SLEPT;
    m.progressAt = this.now;
    if (m.way.engine === "progressive") {
      if (!still || m.paused) return;
      this.effects.push({ do: "attach", way: m.way });
      m.attachedAt = this.now;
    } else {
      this.effects.push({ do: "edge" });
    }
  }
}
