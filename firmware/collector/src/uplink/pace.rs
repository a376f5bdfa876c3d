//! How fast the disk's segments are sent, so that live keeps its line. Pure.
//!
//! The rate grows while live is confirmed on time, and is halved when live had to wait: what is
//! found is what the line has left.

use std::time::Duration;

/// Bits per second at first, at least, and at most.
const FIRST: u64 = 2_000_000;
const LEAST: u64 = 100_000;
const MOST: u64 = 1_000_000_000;

/// The rate at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    bits_per_second: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bits_per_second: FIRST }
    }
}

impl Pace {
    /// How long so many bytes should take.
    #[must_use]
    pub fn time_for(&self, bytes: usize) -> Duration {
        let bits = (bytes as u64).saturating_mul(8);
        Duration::from_micros(bits.saturating_mul(1_000_000) / self.bits_per_second.max(1))
    }

    /// A segment was sent; live had to wait meanwhile, or not.
    pub fn sent(&mut self, live_waited: bool) {
        let next = match live_waited {
            true => self.bits_per_second / 2,
            false => self.bits_per_second.saturating_mul(3) / 2,
        };
        self.bits_per_second = next.clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with a fixed room beside live: the rate comes near it from either side.
    #[test]
    fn it_finds_what_the_line_has_left() {
        for left in [300_000_u64, 5_000_000, 80_000_000] {
            let mut pace = Pace::default();
            let mut late = 0;
            for round in 0..200 {
                let waited = pace.bits_per_second > left;
                pace.sent(waited);
                late += u32::from(waited && round > 20);
            }
            let now = pace.bits_per_second;
            assert!(now >= left / 3 && now <= left * 2, "{now} for {left}");
            assert!(late < 80, "live waited {late} times");
        }
    }

    #[test]
    fn it_never_stops_and_never_overflows() {
        let mut pace = Pace::default();
        (0..100).for_each(|_| pace.sent(true));
        assert_eq!(pace.bits_per_second, LEAST);
        assert_eq!(pace.time_for(12_500), Duration::from_secs(1));
        (0..100).for_each(|_| pace.sent(false));
        assert_eq!(pace.bits_per_second, MOST);
        assert!(pace.time_for(usize::MAX) > Duration::from_secs(1));
    }
}
