//! Is a device's own H.264 fit to be sent as it is? Pure.
//!
//! Segments are cut at key frames, so they must come at least every [`MAX_GOP`]; and the bit rate
//! must be near what the uplink was planned for. The verdict falls once.

use std::time::Duration;

/// Longest time between key frames.
pub const MAX_GOP: Duration = Duration::from_secs(4);
/// Bit rate is judged over this long.
const WINDOW: Duration = Duration::from_secs(5);
/// Up to this many halves of the configured bit rate are borne: 1.5 times.
const HALVES: u64 = 3;

/// Why the stream is unfit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No key frame for too long.
    #[error("it has had no key frame for {} s", since.as_secs())]
    NoKeyframe {
        /// Time since the last one, or since the start.
        since: Duration,
    },
    /// Too many bits.
    #[error("it has {kbit} kbit/s, and {limit_kbit} kbit/s are configured")]
    TooFast {
        /// What it has, in kbit/s.
        kbit: u64,
        /// What is configured, in kbit/s.
        limit_kbit: u64,
    },
}

/// Watches the stream.
#[derive(Debug)]
pub struct Monitor {
    limit: u64,
    keyframe: Option<Duration>,
    window: Option<Duration>,
    bytes: u64,
}

impl Monitor {
    /// For a stream that should have `bitrate` bit/s.
    pub fn new(bitrate: u32) -> Self {
        Self { limit: bitrate.into(), keyframe: None, window: None, bytes: 0 }
    }

    /// Takes one frame: its time, whether it is a key frame, its bytes.
    pub fn see(&mut self, at: Duration, keyframe: bool, bytes: usize) -> Option<Unfit> {
        let last = *self.keyframe.get_or_insert(at);
        if keyframe {
            self.keyframe = Some(at);
        }
        let since = at.saturating_sub(last);
        // Half a second of grace: a GOP of exactly four seconds is fit.
        if since > MAX_GOP + Duration::from_millis(500) {
            return Some(Unfit::NoKeyframe { since });
        }
        let began = *self.window.get_or_insert(at);
        let length = at.saturating_sub(began);
        if length >= WINDOW {
            let kbit = (self.bytes * 8).checked_div(length.as_millis() as u64).unwrap_or(0);
            self.window = Some(at);
            self.bytes = bytes as u64;
            if kbit * 1000 > self.limit * HALVES / 2 {
                return Some(Unfit::TooFast { kbit, limit_kbit: self.limit / 1000 });
            }
        } else {
            self.bytes += bytes as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(monitor: &mut Monitor, seconds: u64, gop: u64, bytes: usize) -> Option<Unfit> {
        (0..seconds * 25)
            .find_map(|n| monitor.see(Duration::from_millis(n * 40), n % (gop * 25) == 0, bytes))
    }

    #[test]
    fn sane_streams_pass() {
        for gop in [1, 2, 4] {
            // 7500 bytes a frame are 1.5 Mbit/s.
            assert_eq!(run(&mut Monitor::new(1_500_000), 60, gop, 7_500), None);
        }
    }

    #[test]
    fn a_long_gop_is_unfit() {
        let verdict = run(&mut Monitor::new(1_500_000), 60, 10, 7_500).expect("unfit");
        assert_eq!(verdict.to_string(), "it has had no key frame for 4 s");
    }

    #[test]
    fn a_stream_without_key_frames_is_unfit() {
        let mut monitor = Monitor::new(1_500_000);
        let verdict = (0..500).find_map(|n| monitor.see(Duration::from_millis(n * 40), false, 100));
        assert!(matches!(verdict, Some(Unfit::NoKeyframe { .. })));
    }

    #[test]
    fn too_many_bits_are_unfit() {
        let verdict = run(&mut Monitor::new(1_500_000), 60, 2, 60_000).expect("unfit");
        assert_eq!(verdict.to_string(), "it has 12000 kbit/s, and 1500 kbit/s are configured");
    }

    proptest! {
        #[test]
        fn any_times_are_taken(
            frames in prop::collection::vec((any::<u32>(), any::<bool>(), 0_usize..1_000_000), 0..100),
        ) {
            let mut monitor = Monitor::new(1_000_000);
            for (at, keyframe, bytes) in frames {
                let _ = monitor.see(Duration::from_millis(at.into()), keyframe, bytes);
            }
        }
    }
}
