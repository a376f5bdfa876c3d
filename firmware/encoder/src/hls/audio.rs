//! Places AAC frames on a clock that counts samples.
//!
//! FLV dates frames in milliseconds, which no AAC frame lasts a whole number of: taken literally,
//! frames would overlap and gape by a millisecond all along. So frames follow each other by their
//! sample count; timestamps only correct it. A small lasting difference (a sound card's clock that
//! runs slow) is made good by a sample or two per frame, which nobody hears; a big one (lost frames)
//! at once.

/// Differences up to this are rounding and jitter, milliseconds.
const TOLERANCE_MS: i64 = 10;
/// Differences from this on are lost or repeated sound, milliseconds.
const RESYNC_MS: i64 = 80;
/// Samples by which one frame is stretched or shrunk.
const NUDGE: i64 = 2;

#[derive(Debug, Clone)]
pub(super) struct SampleClock {
    rate: u64,
    frame: u64,
    /// Where the next frame goes if nothing is amiss, and where the last one went.
    next: Option<(u64, u64)>,
}

impl SampleClock {
    /// For frames of `frame` samples at `rate` Hz.
    pub(super) fn new(rate: u32, frame: u32) -> Self {
        Self { rate: rate.max(1).into(), frame: frame.max(1).into(), next: None }
    }

    /// Where the frame dated `ts_ms` starts, in samples of room time. Always later than the one
    /// before.
    pub(super) fn place(&mut self, ts_ms: u64) -> u64 {
        let dated = (ts_ms.saturating_mul(self.rate) + 500) / 1000;
        let start = match self.next {
            None => dated,
            Some((counted, last)) => {
                let off = difference(dated, counted);
                let off_ms = off.saturating_mul(1000) / self.rate as i64;
                let placed = if off_ms.abs() <= TOLERANCE_MS {
                    counted
                } else if off_ms.abs() < RESYNC_MS {
                    counted.saturating_add_signed(off.signum() * NUDGE)
                } else {
                    dated
                };
                placed.max(last + 1)
            }
        };
        self.next = Some((start + self.frame, start));
        start
    }

    /// Where the next frame goes if nothing is amiss.
    pub(super) fn expected(&self) -> Option<u64> {
        self.next.map(|(next, _)| next)
    }

    /// The next frame is dated anew.
    pub(super) fn restart(&mut self) {
        self.next = None;
    }
}

/// `a - b`, as far as it fits.
fn difference(a: u64, b: u64) -> i64 {
    let size = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounded_milliseconds_do_not_drift() {
        let mut clock = SampleClock::new(44_100, 1024);
        // A day of frames, dated with rounding down as muxers do.
        for n in 0..3_700_000u64 {
            assert_eq!(clock.place(n * 1024 * 1000 / 44_100), n * 1024);
        }
    }

    #[test]
    fn lost_frames_leave_a_hole_of_their_length() {
        let mut clock = SampleClock::new(48_000, 1024);
        assert_eq!([0, 21, 43].map(|ts| clock.place(ts)), [0, 1024, 2048]);
        assert_eq!(clock.place(1000), 48_000);
        assert_eq!(clock.expected(), Some(49_024));
    }

    proptest! {
        #[test]
        fn a_slow_or_fast_sound_card_is_followed(ppm in -1000i64..1000, start in 0u64..1_000_000) {
            let mut clock = SampleClock::new(48_000, 1024);
            let mut last = None;
            for n in 0..20_000u64 {
                let true_samples = start * 48 + n * 1024;
                let ts = (true_samples as f64 * (1.0 + ppm as f64 / 1e6) / 48.0) as u64;
                let placed = clock.place(ts);
                let off_ms = placed as f64 / 48.0 - ts as f64;
                prop_assert!(off_ms.abs() < 12.0, "{off_ms} ms off after {n} frames");
                if let Some(last) = last {
                    prop_assert!((1022..=1026).contains(&(placed - last)));
                }
                last = Some(placed);
            }
        }

        #[test]
        fn whatever_comes_time_goes_on(dates in prop::collection::vec(0u64..u64::MAX / 1_000_000, 1..100)) {
            let mut clock = SampleClock::new(44_100, 1024);
            let mut last = None;
            for ts in dates {
                let placed = clock.place(ts);
                prop_assert!(last.is_none_or(|last| placed > last));
                last = Some(placed);
            }
        }
    }
}
