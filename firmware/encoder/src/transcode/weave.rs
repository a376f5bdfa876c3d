//! Puts sound and picture into one order of time. Pure.
//!
//! A packet is given out once the other side has reached its time, or when waiting for that would
//! hold back more than the bound: then the other side is late or gone, and the stream goes on.

use std::collections::VecDeque;

/// Where a packet comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Picture.
    Video,
    /// Sound.
    Audio,
}

#[derive(Debug)]
struct Lane<T> {
    queue: VecDeque<(u64, T)>,
    /// Time of the newest packet ever taken.
    reached: Option<u64>,
}

/// Two lanes in, one order out.
#[derive(Debug)]
pub(crate) struct Weave<T> {
    video: Lane<T>,
    audio: Lane<T>,
    wait_ms: u64,
}

impl<T> Weave<T> {
    /// `wait_ms`: how much of one side is held, in ms of media, while the other is behind.
    pub(crate) fn new(wait_ms: u64) -> Self {
        let lane = || Lane { queue: VecDeque::new(), reached: None };
        Self { video: lane(), audio: lane(), wait_ms }
    }

    fn lane(&mut self, side: Side) -> (&mut Lane<T>, &Lane<T>) {
        match side {
            Side::Video => (&mut self.video, &self.audio),
            Side::Audio => (&mut self.audio, &self.video),
        }
    }

    /// Takes a packet; each side comes in its own order of time.
    pub(crate) fn push(&mut self, side: Side, ts_ms: u64, packet: T) {
        let (lane, _) = self.lane(side);
        lane.reached = Some(ts_ms);
        lane.queue.push_back((ts_ms, packet));
    }

    /// The next packet in order, if it is known to be next. `expect_audio` false: there is no sound
    /// to wait for.
    pub(crate) fn pop(&mut self, expect_audio: bool) -> Option<(Side, u64, T)> {
        let head = |lane: &Lane<T>| lane.queue.front().map(|(ts, _)| *ts);
        let side = match (head(&self.video), head(&self.audio)) {
            (None, None) => return None,
            (Some(video), Some(audio)) if audio <= video => Side::Audio,
            (Some(_), Some(_) | None) => Side::Video,
            (None, Some(_)) => Side::Audio,
        };
        let wait = self.wait_ms;
        let (lane, other) = self.lane(side);
        let ts = head(lane)?;
        let waited = lane.reached.is_some_and(|newest| newest.abs_diff(ts) > wait);
        let sure = !other.queue.is_empty()
            || other.reached.is_some_and(|reached| reached >= ts)
            || waited
            || (side == Side::Video && !expect_audio);
        if !sure {
            return None;
        }
        lane.queue.pop_front().map(|(ts, packet)| (side, ts, packet))
    }

    /// Everything held, in order: the end of the stream.
    pub(crate) fn drain(&mut self) -> Vec<(Side, u64, T)> {
        let mut all: Vec<_> = (self.audio.queue.drain(..).map(|(ts, p)| (Side::Audio, ts, p)))
            .chain(self.video.queue.drain(..).map(|(ts, p)| (Side::Video, ts, p)))
            .collect();
        all.sort_by_key(|(_, ts, _)| *ts);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_for_the_other_side_but_not_for_ever() {
        let mut weave = Weave::new(1000);
        weave.push(Side::Video, 0, "v0");
        assert_eq!(weave.pop(true), None);
        weave.push(Side::Audio, 10, "a10");
        assert_eq!(weave.pop(true), Some((Side::Video, 0, "v0")));
        assert_eq!(weave.pop(true), None);
        for ts in [40, 500, 1041] {
            weave.push(Side::Video, ts, "v");
        }
        assert_eq!(weave.pop(true), Some((Side::Audio, 10, "a10")));
        assert_eq!(weave.pop(true), Some((Side::Video, 40, "v")));
        assert_eq!(weave.pop(true), None);
        assert_eq!(weave.drain().len(), 2);
    }

    #[test]
    fn without_sound_nothing_waits() {
        let mut weave = Weave::new(1000);
        weave.push(Side::Video, 0, ());
        assert!(weave.pop(false).is_some());
    }

    proptest! {
        #[test]
        fn ordered_and_complete(
            mut video in prop::collection::vec(0u64..5000, 0..80),
            mut audio in prop::collection::vec(0u64..5000, 0..80),
            turns in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            video.sort_unstable();
            audio.sort_unstable();
            let mut all: Vec<u64> = video.iter().chain(&audio).copied().collect();
            all.sort_unstable();
            let mut weave = Weave::new(10_000);
            let (mut v, mut a, mut out) = (video.into_iter(), audio.into_iter(), Vec::new());
            for turn in turns.into_iter().chain([true; 80]).chain([false; 80]) {
                let (side, next) = if turn { (Side::Video, v.next()) } else { (Side::Audio, a.next()) };
                if let Some(ts) = next {
                    weave.push(side, ts, ());
                }
                while let Some((_, ts, ())) = weave.pop(true) {
                    out.push(ts);
                }
            }
            out.extend(weave.drain().into_iter().map(|(_, ts, ())| ts));
            prop_assert_eq!(out, all);
        }
    }
}
