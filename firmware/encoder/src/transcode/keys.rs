//! Which frames are keyframes, and when, and how many frames there are to a second. Pure.

use std::collections::VecDeque;

/// What the source's video tags said about frames that are still in the decoder.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    keys: VecDeque<(u64, u64)>,
}

/// More keyframes than this are never inside a decoder.
const LEDGER: usize = 64;

impl Ledger {
    /// A keyframe goes to the decoder: when it is shown, and how long after it is decoded, in ms.
    pub(crate) fn keyframe(&mut self, pts_ms: u64, composition_ms: u64) {
        if self.keys.len() == LEDGER {
            self.keys.pop_front();
        }
        self.keys.push_back((pts_ms, composition_ms));
    }

    /// Asked for each decoded frame, in order: whether it was a keyframe, with its composition
    /// time in ms. Keyframes that never came out are forgotten.
    pub(crate) fn decoded(&mut self, pts_ms: u64) -> Option<u64> {
        while let Some((pts, composition)) = self.keys.front().copied() {
            if pts > pts_ms {
                return None;
            }
            self.keys.pop_front();
            if pts == pts_ms {
                return Some(composition);
            }
        }
        None
    }

    /// The decoder starts afresh.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
    }
}

/// When a viewers' stream with no keyframes of its own gets one: at the source's, when those are
/// near enough, and never more than two seconds apart.
#[derive(Debug, Default)]
pub(crate) struct KeyPlan {
    last_ms: Option<u64>,
}

/// Two seconds, less a frame.
const AT_MOST_MS: u64 = 1_950;
/// A keyframe costs as much as ten others; the source's may come too often.
const AT_LEAST_MS: u64 = 1_000;

impl KeyPlan {
    /// Whether the frame shown at `pts_ms` is to be a keyframe.
    pub(crate) fn wants(&mut self, pts_ms: u64, source_key: bool) -> bool {
        let wanted = match self.last_ms.map(|last| pts_ms.checked_sub(last)) {
            None | Some(None) => true,
            Some(Some(since)) => since >= AT_MOST_MS || (source_key && since >= AT_LEAST_MS),
        };
        if wanted {
            self.last_ms = Some(pts_ms);
        }
        wanted
    }
}

/// Decode times for frames that leave an encoder in the order they are shown, such that keyframes
/// have the source's decode time: `dts = pts - composition of the newest keyframe`.
#[derive(Debug, Default)]
pub(crate) struct DecodeTimes {
    offset: u64,
    last: Option<u64>,
}

impl DecodeTimes {
    /// Decode time of the next frame, never before or at that of the one before it unless the
    /// frame is shown then. `key`: composition time of the source's keyframe shown then.
    pub(crate) fn next(&mut self, pts_ms: u64, key: Option<u64>) -> u64 {
        if let Some(offset) = key {
            self.offset = offset;
        }
        let ideal = pts_ms.saturating_sub(self.offset);
        let dts = match self.last {
            Some(last) if ideal <= last => last.saturating_add(1).min(pts_ms),
            _ => ideal,
        };
        self.last = Some(dts);
        dts
    }
}

/// Measures the frame rate from decode times.
#[derive(Debug, Default)]
pub(crate) struct Cadence {
    first_ms: Option<u64>,
    frames: u64,
    rate: Option<(i32, i32)>,
}

/// Frame rates in use, as fractions.
const RATES: [(i32, i32); 11] = [
    (5, 1),
    (10, 1),
    (12, 1),
    (15, 1),
    (20, 1),
    (24_000, 1001),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (50, 1),
    (60, 1),
];

impl Cadence {
    /// The source's word on it, frames per second; used until it has been measured.
    pub(crate) fn claimed(&mut self, fps: f64) {
        if self.rate.is_none() && fps.is_finite() && (1.0..=120.0).contains(&fps) {
            self.rate = Some(nearest(fps));
        }
    }

    /// A frame of the source; measures from keyframe to keyframe.
    pub(crate) fn frame(&mut self, dts_ms: u64, key: bool) {
        if key {
            let span = self.first_ms.map_or(0, |first| dts_ms.saturating_sub(first));
            if (400..20_000).contains(&span) && self.frames >= 4 {
                let fps = self.frames as f64 * 1000.0 / span as f64;
                let known = self.rate.map_or(0.0, |(n, d)| f64::from(n) / f64::from(d));
                if (1.0..=120.0).contains(&fps) && (fps / known.max(0.1) - 1.0).abs() > 0.15 {
                    self.rate = Some(nearest(fps));
                }
            }
            self.first_ms = Some(dts_ms);
            self.frames = 0;
        }
        self.frames += 1;
    }

    /// Frames per second as a fraction; 25 while nothing is known.
    pub(crate) fn rate(&self) -> (i32, i32) {
        self.rate.unwrap_or((25, 1))
    }
}

fn nearest(fps: f64) -> (i32, i32) {
    let close = |r: &&(i32, i32)| (f64::from(r.0) / f64::from(r.1) / fps - 1.0).abs() < 0.02;
    let off = |r: &(i32, i32)| (f64::from(r.0) / f64::from(r.1) - fps).abs();
    let best = RATES.iter().filter(close).min_by(|a, b| off(a).total_cmp(&off(b)));
    best.copied().unwrap_or((fps.round() as i32, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ledger_finds_keyframes_and_forgets_lost_ones() {
        let mut ledger = Ledger::default();
        ledger.keyframe(80, 80);
        ledger.keyframe(2080, 80);
        ledger.keyframe(4080, 40);
        assert_eq!(ledger.decoded(80), Some(80));
        assert_eq!(ledger.decoded(120), None);
        assert_eq!(ledger.decoded(3000), None);
        assert_eq!(ledger.decoded(2080), None);
        assert_eq!(ledger.decoded(4080), Some(40));
    }

    #[test]
    fn a_viewer_never_waits_more_than_two_seconds_for_a_keyframe() {
        let mut plan = KeyPlan::default();
        let keys: Vec<u64> =
            (0..250).map(|i| i * 40).filter(|t| plan.wants(*t, t % 5000 == 0)).collect();
        assert_eq!(keys, [0, 1960, 3920, 5000, 6960, 8920]);
        let mut dense = KeyPlan::default();
        let keys = (0..100).map(|i| i * 40).filter(|t| dense.wants(*t, t % 200 == 0)).count();
        assert_eq!(keys, 4);
    }

    #[test]
    fn a_jump_back_gets_a_keyframe() {
        let mut plan = KeyPlan::default();
        assert!(plan.wants(5000, false));
        assert!(plan.wants(10, false));
    }

    #[test]
    fn rates() {
        let mut cadence = Cadence::default();
        assert_eq!(cadence.rate(), (25, 1));
        cadence.claimed(29.97);
        assert_eq!(cadence.rate(), (30_000, 1001));
        for i in 0..101 {
            cadence.frame(i * 20, i % 50 == 0);
        }
        assert_eq!(cadence.rate(), (50, 1));
        cadence.claimed(10.0);
        assert_eq!(cadence.rate(), (50, 1));
        let mut seven = Cadence::default();
        seven.claimed(f64::NAN);
        seven.claimed(7.4);
        assert_eq!(seven.rate(), (7, 1));
    }

    proptest! {
        #[test]
        fn decode_times_rise_and_keyframes_keep_theirs(
            steps in prop::collection::vec((1u64..100, prop::option::of(0u64..200)), 1..100),
        ) {
            let mut times = DecodeTimes::default();
            let (mut pts, mut last) = (1000, None);
            for (step, key) in steps {
                pts += step;
                let dts = times.next(pts, key);
                prop_assert!(dts <= pts);
                prop_assert!(last.is_none_or(|l| dts > l), "{dts} after {last:?}");
                if let (Some(composition), true) = (key, last.is_none_or(|l| pts - key.unwrap_or(0) > l)) {
                    prop_assert_eq!(dts, pts - composition);
                }
                last = Some(dts);
            }
        }

        #[test]
        fn any_numbers_are_survived(numbers in prop::collection::vec((any::<u64>(), any::<bool>()), 0..60)) {
            let (mut ledger, mut plan, mut cadence, mut times) =
                (Ledger::default(), KeyPlan::default(), Cadence::default(), DecodeTimes::default());
            for (n, key) in numbers {
                ledger.keyframe(n, n);
                ledger.decoded(n);
                plan.wants(n, key);
                cadence.frame(n, key);
                times.next(n, key.then_some(n));
            }
        }
    }
}
