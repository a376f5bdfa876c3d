//! The loop of one room: takes what ingest and the transcode worker bring, in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use protocol::mood::Mood;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use super::pipeline::Pipeline;
use super::{LiveInput, RoomStatus};
use crate::hls;
use crate::transcode::driver::{Feed, TranscodeEvent};

/// How often the loop looks at the time.
const TICK: Duration = Duration::from_secs(1);
/// How many segments may be missing before HLS is called sad.
const LATE_SEGMENTS: u32 = 3;

/// The loop's view of the world.
pub struct Task {
    /// The room's name, for the board.
    pub room: String,
    /// From ingest.
    pub live: mpsc::Receiver<LiveInput>,
    /// From the transcode worker.
    pub events: mpsc::Receiver<TranscodeEvent>,
    /// To the transcode worker.
    pub feed: Feed,
    /// Where tags go.
    pub pipeline: Pipeline,
    /// What HLS has.
    pub hls: Arc<hls::Store>,
    /// The length a segment should have.
    pub segment: Duration,
    /// The newest preview image.
    pub preview: watch::Sender<Option<Bytes>>,
    /// What the room is doing.
    pub status: watch::Sender<RoomStatus>,
    /// Moods.
    pub board: Board,
    /// The time.
    pub clock: SharedClock,
}

impl Task {
    /// Runs until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut hls = HlsMood::default();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Some(input) = self.live.recv() => self.live(input),
                Some(event) = self.events.recv() => self.transcoded(event),
                _ = tick.tick() => {
                    let live = self.status.borrow().live;
                    let (mood, reason) =
                        hls.judge(live, self.hls.live_edge().map(|edge| edge.msn), self.clock.monotonic(), self.segment);
                    self.board.set(&format!("{}.hls", self.room), mood, reason);
                }
            }
        }
    }

    fn live(&mut self, input: LiveInput) {
        match input {
            LiveInput::Session { session, device } => {
                let room_ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(0);
                self.pipeline.session(room_ms);
                self.status.send_modify(|status| {
                    status.session = Some(session);
                    status.device = device;
                });
            }
            LiveInput::Tag(tag) => {
                let utc = self.clock.utc();
                let (room_ms, tag) = self.pipeline.source(&tag, utc.as_millisecond());
                self.feed.push(room_ms, &tag);
                if !self.status.borrow().live {
                    self.turn(true, utc);
                }
                if tag.is_sequence_header() {
                    let size = self.pipeline.size();
                    self.status.send_if_modified(|status| {
                        std::mem::replace(&mut status.size, size) != size
                    });
                }
            }
            LiveInput::Gone => {
                self.pipeline.gone();
                self.preview.send_replace(None);
                let now = self.clock.utc();
                self.turn(false, now);
            }
        }
    }

    fn turn(&self, live: bool, now: Timestamp) {
        self.status.send_modify(|status| {
            status.live = live;
            status.since = Some(now);
        });
    }

    fn transcoded(&mut self, event: TranscodeEvent) {
        match event {
            TranscodeEvent::Tag { stream, ts_ms, tag } => {
                self.pipeline.rung(&stream, ts_ms, &tag);
            }
            TranscodeEvent::Header { stream, data } => self.pipeline.header(&stream, data),
            TranscodeEvent::Frame { stream, data, .. } if stream == "preview" => {
                self.preview.send_replace(Some(data));
            }
            TranscodeEvent::Frame { stream, sync, data, .. } => {
                self.pipeline.frame(&stream, data, sync);
            }
            TranscodeEvent::Mood { stream, mood: Mood::Sleeping | Mood::Sad, .. } => {
                self.pipeline.rung_failed(&stream);
            }
            TranscodeEvent::Mood { .. } => {}
        }
    }
}

/// Whether segments keep coming. Pure.
#[derive(Debug, Default)]
struct HlsMood {
    newest: Option<u64>,
    /// Since when nothing new has come.
    since: Duration,
}

impl HlsMood {
    fn judge(
        &mut self,
        live: bool,
        newest: Option<u64>,
        now: Duration,
        segment: Duration,
    ) -> (Mood, String) {
        if newest != self.newest || !live {
            self.newest = newest;
            self.since = now;
        }
        let waited = now.saturating_sub(self.since);
        if !live {
            (Mood::Hungry, "waiting for the room to be live".to_owned())
        } else if waited > segment * LATE_SEGMENTS + TICK {
            (
                Mood::Sad,
                format!(
                    "no new segment for {} s: does the source send keyframes?",
                    waited.as_secs()
                ),
            )
        } else if newest.is_none() {
            (Mood::Waking, "waiting for the first segment to be whole".to_owned())
        } else {
            (Mood::Happy, "segments come as they should".to_owned())
        }
    }
}

/// The room's progressive streams, empty.
#[must_use]
pub fn mounts() -> BTreeMap<String, crate::fanout::Mount> {
    let mut mounts: BTreeMap<_, _> =
        super::mounts::ALL.iter().map(|format| (format.name.to_owned(), format.mount())).collect();
    if let Some(source) = mounts.get(super::mounts::FLV_HIGH.name).cloned() {
        mounts.insert(super::mounts::LOOP.to_owned(), source);
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_segments_are_noticed_and_silence_is_no_fault() {
        let segment = Duration::from_secs(2);
        let at = Duration::from_secs;
        let mut hls = HlsMood::default();
        assert_eq!(hls.judge(false, None, at(100), segment).0, Mood::Hungry);
        assert_eq!(hls.judge(true, None, at(101), segment).0, Mood::Waking);
        assert_eq!(hls.judge(true, Some(1), at(103), segment).0, Mood::Happy);
        assert_eq!(hls.judge(true, Some(1), at(110), segment).0, Mood::Happy);
        let (mood, reason) = hls.judge(true, Some(1), at(111), segment);
        assert_eq!((mood, reason.starts_with("no new segment for 8 s")), (Mood::Sad, true));
        assert_eq!(hls.judge(true, Some(2), at(112), segment).0, Mood::Happy);
        assert_eq!(hls.judge(false, Some(2), at(130), segment).0, Mood::Hungry);
    }
}
