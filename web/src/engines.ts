// The three ways of getting a stream into a <video>: hls.js, the browser's own HLS, and a plain
// progressive URL. Each reports the same few things and is told the same few things.

import type Hls from "hls.js";
import type { ErrorData, HlsConfig } from "hls.js";
import type { Failure } from "./machine";
import type { Abilities, Way } from "./ways";

declare const HLS_ASSET: string;

export interface Report {
  failed(failure: Failure): void;
  ended(): void;
  /** Automatic quality has settled on a rendition. */
  rendition(name: string | null): void;
}

export interface Running {
  way: Way;
  /** Goes over to `way` without a break when it can. */
  adopt(way: Way): boolean;
  recover(): void;
  /** Seconds behind the live edge as far as it is known; 0 at the edge. */
  behind(): number;
  edge(): void;
  destroy(): void;
}

export function abilities(video: HTMLVideoElement): Abilities {
  const w = window as unknown as { [key: string]: unknown };
  const source = (w["ManagedMediaSource"] || w["MediaSource"]) as typeof MediaSource | undefined;
  const apple = /^Apple/.test(navigator.vendor || "");
  return {
    mse:
      typeof source === "function" &&
      typeof source.isTypeSupported === "function" &&
      source.isTypeSupported('video/mp4; codecs="avc1.42E01E,mp4a.40.2"'),
    nativeHls: video.canPlayType("application/vnd.apple.mpegurl") !== "",
    preferNative: apple,
    canPlay: (type) => video.canPlayType(type),
  };
}

/** Starts `way` on `video`. `viewer` counts this page once, however often it reconnects. */
export function start(
  way: Way,
  video: HTMLVideoElement,
  viewer: string,
  report: Report,
): Running {
  if (way.engine === "hls.js") return new HlsJs(way, video, viewer, report);
  const stamp = way.engine === "native" ? `?v=${viewer}` : `?t=${Date.now()}`;
  return new Plain(way, video, way.url + stamp, report);
}

/** A URL given to the element itself: progressive streams, and native HLS. */
class Plain implements Running {
  private gone = false;
  private listeners: [string, () => void][] = [];

  constructor(
    public way: Way,
    private video: HTMLVideoElement,
    private url: string,
    report: Report,
  ) {
    this.on("error", () => {
      const code = video.error ? video.error.code : 0;
      report.failed(code === 4 ? "unsupported" : code === 3 ? "media" : "network");
    });
    this.on("ended", () => report.ended());
    this.load();
    report.rendition(way.rendition);
  }

  adopt(): boolean {
    return false;
  }

  recover(): void {
    this.load();
  }

  behind(): number {
    const end = this.end();
    if (end === null) return 0;
    // Native HLS starts three target durations before the end of what can be reached.
    const margin = this.way.engine === "native" ? 8 : 1;
    return Math.max(0, end - margin - this.video.currentTime);
  }

  edge(): void {
    const end = this.end();
    if (end === null) return;
    const margin = this.way.engine === "native" ? 6 : 0.5;
    if (end - margin > this.video.currentTime) this.video.currentTime = end - margin;
  }

  destroy(): void {
    this.gone = true;
    for (const [name, listener] of this.listeners) this.video.removeEventListener(name, listener);
    unload(this.video);
  }

  private load(): void {
    this.video.src = this.url;
    this.video.load();
  }

  private end(): number | null {
    const ranges = this.way.engine === "native" ? this.video.seekable : this.video.buffered;
    return ranges.length ? ranges.end(ranges.length - 1) : null;
  }

  private on(name: string, listener: () => void): void {
    const guarded = () => {
      if (!this.gone) listener();
    };
    this.listeners.push([name, guarded]);
    this.video.addEventListener(name, guarded);
  }
}

class HlsJs implements Running {
  private hls: Hls | null = null;
  private gone = false;

  constructor(
    public way: Way,
    private video: HTMLVideoElement,
    private viewer: string,
    private report: Report,
  ) {
    loadHls().then(
      (Class) => {
        if (!this.gone) this.run(Class);
      },
      () => {
        if (!this.gone) report.failed("network");
      },
    );
  }

  adopt(way: Way): boolean {
    if (way.engine !== "hls.js" || way.url !== this.way.url) return false;
    this.way = way;
    this.hold();
    return true;
  }

  recover(): void {
    if (this.hls) this.hls.recoverMediaError();
  }

  behind(): number {
    const edge = this.hls ? this.hls.liveSyncPosition : null;
    return edge === null ? 0 : Math.max(0, edge - this.video.currentTime);
  }

  edge(): void {
    const edge = this.hls ? this.hls.liveSyncPosition : null;
    if (edge !== null && edge > this.video.currentTime) this.video.currentTime = edge;
  }

  destroy(): void {
    this.gone = true;
    if (this.hls) this.hls.destroy();
    this.hls = null;
    unload(this.video);
  }

  private run(Class: typeof Hls): void {
    const hls = new Class(config());
    this.hls = hls;
    hls.on(Class.Events.ERROR, (_event, data) => this.error(Class, data));
    hls.on(Class.Events.MANIFEST_PARSED, () => this.hold());
    hls.on(Class.Events.LEVEL_SWITCHED, (_event, data) => {
      this.report.rendition(renditionOf(hls.levels[data.level]) || this.way.rendition);
    });
    hls.loadSource(`${this.way.url}?v=${this.viewer}`);
    hls.attachMedia(this.video);
  }

  private error(Class: typeof Hls, data: ErrorData): void {
    if (!data.fatal || this.gone) return;
    if (data.details === Class.ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) {
      this.report.failed("unsupported");
    } else if (data.type === Class.ErrorTypes.MEDIA_ERROR) {
      this.report.failed("media");
    } else {
      this.report.failed("network");
    }
  }

  /** Keeps to the chosen rendition, or lets bandwidth decide. */
  private hold(): void {
    const hls = this.hls;
    if (!hls || this.way.audioOnly) return;
    let level = -1;
    if (this.way.rendition !== null) {
      hls.levels.forEach((it, index) => {
        if (renditionOf(it) === this.way.rendition) level = index;
      });
    }
    hls.nextLevel = level;
  }
}

function config(): Partial<HlsConfig> {
  return {
    // Parsing is light (the encoder makes fMP4): a worker costs an old phone more than it gives.
    enableWorker: false,
    capLevelToPlayerSize: true,
    maxBufferLength: 20,
    maxMaxBufferLength: 30,
    backBufferLength: 20,
    // Creep back to the edge after a short stall; the pitch is kept.
    maxLiveSyncPlaybackRate: 1.05,
    // Beyond this far behind, jump: the window is about to close.
    liveSyncDurationCount: 3,
    liveMaxLatencyDurationCount: 7,
  };
}

function renditionOf(level: { url: string[] } | undefined): string | null {
  const url = level && level.url[0];
  const found = url ? /\/([^/]+)\/index\.m3u8/.exec(url) : null;
  return (found && found[1]) || null;
}

function unload(video: HTMLVideoElement): void {
  video.removeAttribute("src");
  video.load();
}

let loading: Promise<typeof Hls> | null = null;

/** Fetches hls.js once, and again after it could not be had. */
function loadHls(): Promise<typeof Hls> {
  if (!loading) {
    loading = new Promise<typeof Hls>((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `../assets/${HLS_ASSET}`;
      script.onload = () => resolve((window as unknown as { Hls: typeof Hls }).Hls);
      script.onerror = () => {
        loading = null;
        script.remove();
        reject(new Error("hls.js could not be loaded"));
      };
      document.head.appendChild(script);
    });
  }
  return loading;
}
