//! How long to wait before trying again: twice as long each time, up to a cap, and never quite the
//! same, so that a hundred boxes do not all come back in the same second.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Waits that grow.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    tries: u32,
}

impl Backoff {
    /// Waits from `first` to `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, tries: 0 }
    }

    /// The next wait: the full one when `jitter` is 1, three quarters of it when it is 0.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let factor = 2u32.checked_pow(self.tries).unwrap_or(u32::MAX);
        self.tries = self.tries.saturating_add(1);
        let full = self.first.saturating_mul(factor).min(self.cap);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        full.mul_f64(0.75 + 0.25 * jitter)
    }

    /// It worked: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A random number from 0 to 1, for [`Backoff::next`]. Not fit for secrets.
#[must_use]
pub fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    // The upper 32 bits, which an f64 holds exactly.
    let random = u32::try_from(random >> 32).unwrap_or(u32::MAX);
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_up_to_the_cap_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let mut next = || backoff.next(1.0).as_secs();
        assert_eq!([next(), next(), next(), next(), next(), next()], [1, 2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(750));
    }

    #[test]
    fn jitter_differs_and_stays_in_bounds() {
        let many: Vec<f64> = (0..100).map(|_| jitter()).collect();
        assert!(many.iter().all(|j| (0.0..=1.0).contains(j)));
        assert!(many.iter().any(|j| *j != many[0]));
    }

    proptest! {
        #[test]
        fn never_panics_nor_passes_the_cap(tries in 0u32..200, jitter in any::<f64>(), first in 0u64..u64::MAX) {
            let cap = Duration::from_secs(60);
            let mut backoff = Backoff::new(Duration::from_millis(first), cap);
            for _ in 0..tries {
                prop_assert!(backoff.next(jitter) <= cap);
            }
        }
    }
}
