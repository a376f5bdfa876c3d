//! From the workers' tags to segments: one loop, which also says when the slate is wanted.

use std::time::Duration;

use flv::Tag;
use flv::segmenter::{Options, SegmentEvent, Segmenter};
use protocol::payload::EventKind;
use telemetry::life::Pulse;
use tokio::sync::{mpsc, watch};
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use super::local::Made;
use super::splice::Splice;
use super::worker::Incoming;
use crate::uplink::http::COMPONENT as UPLINK;
use crate::uplink::queue::Queue;
use crate::uplink::rtmp::{TagQueue, report_dropped};

/// How often the loop looks at the time.
const TICK: Duration = Duration::from_millis(250);
/// How long capture may be silent before the slate is started, once it has run.
const SLATE_AFTER_MS: u64 = 1_500;
/// The same from the daemon's start: a device takes its time to open.
const SLATE_AFTER_START_MS: u64 = 4_000;

/// Where the stream goes.
#[derive(Debug)]
pub enum Output {
    /// Segments, kept until they are confirmed.
    Segments(Box<Segmenter>, Queue),
    /// Tags, as they are made; those that find no room are dropped.
    Tags(TagQueue),
}

impl Output {
    /// Segments of one GOP each, into `queue`.
    #[must_use]
    pub fn segments(room: &str, queue: Queue) -> Self {
        let mut segmenter = Segmenter::new(Options::default());
        segmenter.set_room(room);
        Self::Segments(Box::new(segmenter), queue)
    }
}

/// The loop's view of the world.
#[derive(Debug)]
pub struct Stream {
    /// From the workers.
    pub incoming: mpsc::Receiver<Incoming>,
    /// To the uplink.
    pub output: Output,
    /// Whether the slate should run.
    pub slate: watch::Sender<bool>,
    /// Moods and events.
    pub board: Board,
    /// The time.
    pub clock: SharedClock,
    /// Shows the system's watchdog that the loop lives.
    pub pulse: Pulse,
    /// Counts what goes out.
    pub made: Made,
}

impl Stream {
    /// Runs until every worker's reader is gone, then ends the last segment.
    pub async fn run(mut self) {
        let began = self.clock.monotonic();
        let mut splice = Splice::default();
        let mut shown = false;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.pulse.beat();
            let incoming = tokio::select! {
                incoming = self.incoming.recv() => match incoming {
                    Some(incoming) => Some(incoming),
                    None => break,
                },
                _ = tick.tick() => None,
            };
            let now = self.clock.monotonic().saturating_sub(began);
            let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            match incoming {
                Some(Incoming::Started(origin)) => splice.started(origin),
                Some(Incoming::Tag(origin, tag)) => {
                    for tag in splice.push(origin, &tag, now_ms) {
                        self.send(tag);
                    }
                }
                None => {}
            }
            shown |= splice.shows_the_room();
            let patience = if shown { SLATE_AFTER_MS } else { SLATE_AFTER_START_MS };
            let wanted = splice.capture_is_silent(now_ms, patience);
            self.slate.send_if_modified(|slate| std::mem::replace(slate, wanted) != wanted);
        }
        if let Output::Segments(segmenter, queue) = &mut self.output {
            for event in segmenter.finish() {
                queue.offer(event);
            }
        }
    }

    fn send(&mut self, tag: Tag) {
        self.made.add(tag.data.len());
        match &mut self.output {
            Output::Segments(segmenter, queue) => {
                segmenter.set_wallclock(self.clock.utc().as_millisecond());
                for event in segmenter.push(tag) {
                    if let SegmentEvent::End { seq, duration_ms } = event {
                        tracing::debug!(seq, duration_ms, "a segment is whole");
                    }
                    for loss in queue.offer(event) {
                        self.board.event(
                            EventKind::Loss,
                            UPLINK,
                            format!(
                                "segment {} ({:.1} s, {} kB) is lost: the encoder is away and the \
                                 memory for unsent segments is full",
                                loss.seq,
                                loss.duration_ms as f64 / 1000.0,
                                loss.bytes / 1000
                            ),
                        );
                    }
                }
            }
            Output::Tags(tags) => {
                // A slow server must not hold up the room: RTMP gives no guarantees.
                if let Some(dropped) = tags.offer(tag) {
                    report_dropped(&self.board, dropped);
                }
            }
        }
    }
}
