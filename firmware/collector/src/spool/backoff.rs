//! When a disk that failed is tried again. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(4);
const LONGEST: Duration = Duration::from_secs(120);

/// Waits longer after each failure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    delay: Duration,
    until: Duration,
}

impl Backoff {
    /// Whether it may be tried.
    #[must_use]
    pub(super) fn may_try(&self, now: Duration) -> bool {
        now >= self.until
    }

    /// It failed; returns how long it is left alone.
    pub(super) fn failed(&mut self, now: Duration) -> Duration {
        self.delay = (self.delay * 2).clamp(FIRST, LONGEST);
        self.until = now.saturating_add(self.delay);
        self.delay
    }

    /// It works.
    pub(super) fn worked(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_less_and_less_often_but_always_again() {
        let mut backoff = Backoff::default();
        let mut now = Duration::ZERO;
        let mut delays = Vec::new();
        for _ in 0..8 {
            assert!(backoff.may_try(now));
            delays.push(backoff.failed(now).as_secs());
            assert!(!backoff.may_try(now));
            now = backoff.until;
        }
        assert_eq!(delays, [4, 8, 16, 32, 64, 120, 120, 120]);
        backoff.worked();
        assert!(backoff.may_try(Duration::ZERO));
        assert_eq!(backoff.failed(now), FIRST);
    }
}
