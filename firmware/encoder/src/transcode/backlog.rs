//! Tags that wait for the worker. Pure.
//!
//! ```text
//!              a tag that does not fit
//!   Taking ──────────────────────────────▶ Skipping
//!     ▲                                        │
//!     └────────────────────────────────────────┘
//!        a keyframe, once half is free again: the codec configurations go before it
//! ```
//! The room is never held up. A worker that starts gets the configurations and a keyframe first.

use std::collections::VecDeque;

use flv::{Headers, Seen, Tag, TagKind};

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of tags.
    pub(crate) bytes: usize,
    /// Ms of media.
    pub(crate) ms: u64,
}

/// Without a picture for this long, the stream is taken for one of sound alone, ms.
const SOUND_ALONE: u64 = 10_000;

/// The queue.
#[derive(Debug)]
pub(crate) struct Backlog {
    bounds: Bounds,
    queue: VecDeque<(u64, Tag)>,
    bytes: usize,
    /// As of the newest tag pushed.
    newest: Headers,
    /// As of the last tag popped.
    oldest: Headers,
    picture_ms: u64,
    skipping: bool,
    fresh: bool,
    dropped: u64,
}

impl Backlog {
    /// Empty, for a worker that has not started.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            queue: VecDeque::new(),
            bytes: 0,
            newest: Headers::default(),
            oldest: Headers::default(),
            picture_ms: 0,
            skipping: false,
            fresh: true,
            dropped: 0,
        }
    }

    /// Frames that no worker got.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn fits(&self, ts_ms: u64, tag: &Tag, part: usize) -> bool {
        let oldest = self.queue.front().map_or(ts_ms, |(ts, _)| *ts);
        self.bytes + tag.encoded_len() <= self.bounds.bytes / part
            && ts_ms.saturating_sub(oldest) <= self.bounds.ms / part as u64
    }

    fn put(&mut self, ts_ms: u64, tag: Tag) {
        self.bytes += tag.encoded_len();
        self.queue.push_back((ts_ms, tag));
    }

    /// Takes a tag of the room.
    pub(crate) fn push(&mut self, ts_ms: u64, tag: &Tag) {
        let config = self.newest.keep(tag) != Seen::Media;
        if tag.kind == TagKind::Video {
            self.picture_ms = ts_ms;
        } else if ts_ms.saturating_sub(self.picture_ms) > SOUND_ALONE {
            self.newest.video = None;
        }
        if self.skipping {
            if config {
                return;
            }
            if !self.newest.start_at(tag) || !self.fits(ts_ms, tag, 2) {
                self.dropped += 1;
                return;
            }
            self.skipping = false;
            for config in self.newest.clone().all() {
                self.put(ts_ms, config);
            }
        } else if !self.fits(ts_ms, tag, 1) {
            self.skipping = true;
            self.dropped += u64::from(!config);
            return;
        }
        self.put(ts_ms, tag.clone());
    }

    /// A new worker begins to read.
    pub(crate) fn restart(&mut self) {
        self.fresh = true;
    }

    /// What is to be written next; nothing when nothing waits that the worker could use.
    pub(crate) fn pop(&mut self) -> Vec<(u64, Tag)> {
        while let Some((ts_ms, tag)) = self.queue.pop_front() {
            self.bytes = self.bytes.saturating_sub(tag.encoded_len());
            let config = self.oldest.keep(&tag) != Seen::Media;
            if self.newest.video.is_none() {
                self.oldest.video = None;
            }
            if !self.fresh {
                return vec![(ts_ms, tag)];
            }
            if config {
                continue;
            }
            if self.oldest.start_at(&tag) {
                self.fresh = false;
                let configs = self.oldest.all().map(|config| (ts_ms, config));
                return configs.chain([(ts_ms, tag)]).collect();
            }
            self.dropped += 1;
        }
        Vec::new()
    }
}

/// Room time from the low 32 bits that FLV carries: the value nearest to `near`.
pub(crate) fn widen(ts: u64, near: u64) -> u64 {
    let step = (ts as u32).wrapping_sub(near as u32).cast_signed();
    near.saturating_add_signed(step.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { bytes: 10_000, ms: 1_000 };

    fn config(n: u8) -> Tag {
        Tag::avc_sequence_header(0, &[n])
    }

    fn frame(key: bool) -> Tag {
        Tag::avc_frame(0, 0, key, &[0; 100])
    }

    fn drained(backlog: &mut Backlog) -> Vec<(u64, Tag)> {
        std::iter::from_fn(|| Some(backlog.pop()).filter(|p| !p.is_empty())).flatten().collect()
    }

    fn times(tags: &[(u64, Tag)]) -> Vec<u64> {
        tags.iter().map(|(ts, _)| *ts).collect()
    }

    #[test]
    fn a_worker_starts_with_configurations_and_a_keyframe() {
        let mut backlog = Backlog::new(BOUNDS);
        backlog.push(0, &config(1));
        backlog.push(10, &frame(false));
        backlog.push(20, &config(2));
        backlog.push(30, &frame(true));
        backlog.push(40, &frame(false));
        let out = drained(&mut backlog);
        assert_eq!(times(&out), [30, 30, 40]);
        assert_eq!(out[0].1, config(2));
        assert_eq!(backlog.dropped(), 1);
        backlog.push(50, &frame(false));
        backlog.push(60, &frame(true));
        backlog.restart();
        assert_eq!(times(&drained(&mut backlog)), [60, 60]);
    }

    #[test]
    fn full_it_skips_to_a_keyframe_and_counts() {
        let mut backlog = Backlog::new(BOUNDS);
        backlog.push(0, &config(1));
        backlog.push(0, &frame(true));
        for ts in [500, 1_000, 1_100, 1_200] {
            backlog.push(ts, &frame(false));
        }
        backlog.push(1_250, &frame(true));
        backlog.push(1_300, &config(3));
        assert_eq!(backlog.dropped(), 3, "no room yet for the keyframe");
        assert_eq!(times(&drained(&mut backlog)), [0, 0, 500, 1_000]);
        backlog.push(1_400, &frame(false));
        backlog.push(1_500, &frame(true));
        let out = drained(&mut backlog);
        assert_eq!(times(&out), [1_500, 1_500]);
        assert_eq!(out[0].1, config(3));
        assert_eq!(backlog.dropped(), 4);
    }

    #[test]
    fn sound_alone_flows() {
        let mut backlog = Backlog::new(BOUNDS);
        let sound = Tag::aac_frame(0, &[1, 2]);
        backlog.push(0, &Tag::aac_sequence_header(0, &[0x11, 0x90]));
        backlog.push(5, &sound);
        assert_eq!(times(&drained(&mut backlog)), [5, 5]);
        // The next publisher has a picture, and then none.
        backlog.push(10, &config(1));
        backlog.restart();
        backlog.push(20, &sound);
        assert!(drained(&mut backlog).is_empty());
        backlog.push(20_000, &sound);
        assert_eq!(times(&drained(&mut backlog)), [20_000, 20_000]);
    }

    #[test]
    fn time_is_widened_to_the_nearest() {
        let epoch = 5 << 32;
        assert_eq!(widen(100, epoch + 90), epoch + 100);
        assert_eq!(widen(0xffff_fff0, epoch + 3), epoch - 16);
        assert_eq!(widen(7, epoch - 1), epoch + 7);
    }

    proptest! {
        #[test]
        fn bounded_in_order_and_every_gap_ends_in_a_keyframe(
            steps in prop::collection::vec((0u64..300, 0u8..5, 0usize..400), 0..200),
        ) {
            let mut backlog = Backlog::new(BOUNDS);
            let (mut now, mut pushed, mut out) = (0, 0, Vec::new());
            for (step, what, pops) in steps {
                now += step;
                match what {
                    0 => backlog.push(now, &config(1)),
                    1 => { backlog.push(now, &frame(true)); pushed += 1; }
                    2 => { backlog.push(now, &frame(false)); pushed += 1; }
                    3 => backlog.restart(),
                    _ => for _ in 0..pops { out.extend(backlog.pop()); },
                }
                prop_assert!(backlog.bytes <= BOUNDS.bytes);
            }
            out.extend(drained(&mut backlog));
            prop_assert!(times(&out).is_sorted());
            let frames = out.iter().filter(|(_, t)| !t.is_sequence_header()).count() as u64;
            prop_assert_eq!(frames + backlog.dropped(), pushed);
            if let Some((_, first)) = out.iter().find(|(_, t)| !t.is_sequence_header()) {
                prop_assert!(first.is_keyframe());
            }
        }
    }
}
