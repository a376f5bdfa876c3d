//! Joins the runs of the capture worker and of the slate into one unbroken timeline. Pure.
//!
//! ```text
//!              first keyframe of a capture run: always
//!   nothing ───────────────────────────────────────────▶ capture ◀─┐ a new run: from its
//!      │                                                  │    ▲   │ first keyframe on
//!      │ first keyframe of the slate            no capture│    │   └──────────────────
//!      ▼                                       for a while│    │ keyframe of a capture run
//!    slate ◀──────────────────────────────────────────────┘    │
//!      └───────────────────────────────────────────────────────┘
//! ```
//! A run keeps its own spacing of audio and video: one offset is fixed at its first keyframe, so
//! that the run begins now, and after everything that was sent before.

use flv::{Headers, Seen, Tag, TagKind};

/// How long capture must have been silent before the slate takes its place, in milliseconds.
pub const SILENT_MS: u64 = 1_000;

/// Who made a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The capture worker: the room.
    Capture,
    /// The slate worker: the room's name and the fault.
    Slate,
}

/// The state of the timeline.
#[derive(Debug, Default)]
pub struct Splice {
    capture: Run,
    slate: Run,
    active: Option<Origin>,
    last_ms: u64,
    /// Of the last picture and the last sound.
    last_of_kind_ms: [Option<u64>; 2],
    capture_seen_ms: Option<u64>,
}

/// One run of a worker, from its start to its end.
#[derive(Debug, Default)]
struct Run {
    headers: Headers,
    /// Added to the run's own time; set at its first keyframe.
    offset_ms: Option<i64>,
}

impl Splice {
    /// A worker was started: what it sends has a time of its own.
    pub fn started(&mut self, origin: Origin) {
        *self.run(origin) = Run::default();
    }

    /// What of `tag`, which came `now_ms` after the session's start, goes into the stream.
    pub fn push(&mut self, origin: Origin, tag: &Tag, now_ms: u64) -> Vec<Tag> {
        if self.run(origin).headers.keep(tag) != Seen::Media {
            let running = self.active == Some(origin) && self.run(origin).offset_ms.is_some();
            return if running { vec![self.place(origin, tag)] } else { Vec::new() };
        }
        let begins = self.run(origin).offset_ms.is_none() || self.active != Some(origin);
        if begins {
            if !tag.is_keyframe() || !self.may_begin(origin, now_ms) {
                return Vec::new();
            }
            let start = if self.active.is_none() { now_ms } else { now_ms.max(self.last_ms + 1) };
            self.run(origin).offset_ms =
                Some(i64::try_from(start).unwrap_or(i64::MAX) - i64::from(tag.timestamp));
            self.active = Some(origin);
        }
        if origin == Origin::Capture {
            self.capture_seen_ms = Some(now_ms);
        }
        let mut out = Vec::new();
        if begins {
            for header in self.run(origin).headers.clone().at(tag.timestamp) {
                out.push(self.place(origin, &header));
            }
        }
        out.push(self.place(origin, tag));
        out
    }

    /// Whether the slate should run: capture gives nothing.
    #[must_use]
    pub fn capture_is_silent(&self, now_ms: u64, for_ms: u64) -> bool {
        now_ms.saturating_sub(self.capture_seen_ms.unwrap_or(0)) >= for_ms
    }

    /// Whether the stream carries the room itself and not the slate.
    #[must_use]
    pub fn shows_the_room(&self) -> bool {
        self.active == Some(Origin::Capture)
    }

    fn may_begin(&self, origin: Origin, now_ms: u64) -> bool {
        origin == Origin::Capture
            || self.active == Some(Origin::Slate)
            || self.capture_is_silent(now_ms, SILENT_MS)
    }

    /// The tag in the session's time, never before what was sent already; and no two pictures, and
    /// no two sounds, at one time.
    fn place(&mut self, origin: Origin, tag: &Tag) -> Tag {
        let offset = self.run(origin).offset_ms.unwrap_or(0);
        let mut at =
            u64::try_from(i64::from(tag.timestamp) + offset).unwrap_or(0).max(self.last_ms);
        if !tag.is_sequence_header() {
            let last = &mut self.last_of_kind_ms[usize::from(tag.kind == TagKind::Audio)];
            at = last.map_or(at, |last| at.max(last + 1));
            *last = Some(at);
        }
        self.last_ms = at;
        let mut placed = tag.clone();
        // FLV's 32 bits of milliseconds wrap after 49 days; readers unroll them.
        placed.timestamp = (at & u64::from(u32::MAX)) as u32;
        placed
    }

    fn run(&mut self, origin: Origin) -> &mut Run {
        match origin {
            Origin::Capture => &mut self.capture,
            Origin::Slate => &mut self.slate,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(ts: u32) -> Tag {
        Tag::avc_frame(ts, 0, true, b"key")
    }

    fn delta(ts: u32) -> Tag {
        Tag::avc_frame(ts, 0, false, b"delta")
    }

    fn times(tags: &[Tag]) -> Vec<u32> {
        tags.iter().map(|tag| tag.timestamp).collect()
    }

    #[test]
    fn a_run_begins_at_its_first_keyframe_with_its_headers() {
        let mut splice = Splice::default();
        splice.started(Origin::Capture);
        assert!(
            splice.push(Origin::Capture, &Tag::avc_sequence_header(0, b"avcc"), 300).is_empty()
        );
        assert!(splice.push(Origin::Capture, &Tag::aac_frame(0, b"early"), 300).is_empty());
        let out = splice.push(Origin::Capture, &key(10), 400);
        assert!(out[0].is_sequence_header() && out[1].is_keyframe());
        assert_eq!(times(&out), [400, 400]);
        assert_eq!(times(&splice.push(Origin::Capture, &delta(50), 441)), [440]);
    }

    #[test]
    fn a_restarted_worker_goes_on_after_what_was_sent() {
        let mut splice = Splice::default();
        splice.started(Origin::Capture);
        splice.push(Origin::Capture, &key(0), 100);
        splice.push(Origin::Capture, &delta(2_000), 2_050);
        splice.started(Origin::Capture);
        assert!(splice.push(Origin::Capture, &delta(0), 2_060).is_empty());
        assert_eq!(times(&splice.push(Origin::Capture, &key(40), 2_070)), [2_101]);
        assert_eq!(times(&splice.push(Origin::Capture, &delta(80), 2_110)), [2_141]);
    }

    #[test]
    fn the_slate_waits_for_silence_and_yields_at_once() {
        let mut splice = Splice::default();
        splice.started(Origin::Capture);
        splice.push(Origin::Capture, &key(0), 0);
        splice.started(Origin::Slate);
        assert!(splice.push(Origin::Slate, &key(0), 500).is_empty());
        assert!(splice.shows_the_room());
        assert_eq!(times(&splice.push(Origin::Slate, &key(1_000), 1_500)), [1_500]);
        assert!(!splice.shows_the_room());
        // Capture comes back in the middle of its run: from its next keyframe on.
        assert!(splice.push(Origin::Capture, &delta(1_600), 1_700).is_empty());
        assert_eq!(times(&splice.push(Origin::Capture, &key(2_000), 2_100)), [2_100]);
        assert!(splice.push(Origin::Slate, &key(2_000), 2_100).is_empty());
    }

    proptest! {
        /// Whatever the workers do, time in the stream never goes back, nor stands still from one
        /// picture to the next.
        #[test]
        fn time_never_goes_back(steps in proptest::collection::vec((0_u8..6, 0_u32..3_000, 0_u64..900), 1..300)) {
            let mut splice = Splice::default();
            let (mut now, mut last, mut picture) = (0, 0, None);
            for (step, ts, wait) in steps {
                now += wait;
                let origin = if step % 2 == 0 { Origin::Capture } else { Origin::Slate };
                let tag = match step / 2 {
                    0 => { splice.started(origin); continue }
                    1 => key(ts),
                    _ => delta(ts),
                };
                for out in splice.push(origin, &tag, now) {
                    prop_assert!(out.timestamp >= last);
                    last = out.timestamp;
                    if !out.is_sequence_header() {
                        prop_assert!(picture < Some(last));
                        picture = Some(last);
                    }
                }
            }
        }
    }
}
