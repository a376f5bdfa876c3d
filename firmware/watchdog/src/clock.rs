//! The time, passed in: so that decisions can be tested without waiting.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

/// Something that knows the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time that only goes forward, since some moment at or before the program's start.
    fn monotonic(&self) -> Duration;
    /// The time of day. It may jump when the machine learns the right time.
    fn utc(&self) -> Timestamp;
}

/// A clock, shared.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[must_use]
pub fn system() -> SharedClock {
    Arc::new(SystemClock::new())
}

/// The machine's clock; monotonic time counts from its making.
#[derive(Debug)]
pub struct SystemClock {
    began: std::time::Instant,
}

impl SystemClock {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        Self { began: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    fn utc(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock for tests: it stands still until it is moved.
#[derive(Debug, Clone)]
pub struct FakeClock {
    now: Arc<Mutex<(Duration, Timestamp)>>,
}

impl FakeClock {
    /// A clock that shows `utc`, with monotonic time 0.
    #[must_use]
    pub fn at(utc: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new((Duration::ZERO, utc))) }
    }

    /// Moves both times on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 = now.0.saturating_add(by);
        now.1 = now.1.saturating_add(by).unwrap_or(Timestamp::MAX);
    }

    /// Sets the time of day alone, as a time server does.
    pub fn set_utc(&self, utc: Timestamp) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1 = utc;
    }
}

impl Clock for FakeClock {
    fn monotonic(&self) -> Duration {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn utc(&self) -> Timestamp {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_goes_forward() {
        let clock = system();
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
        assert!(clock.utc() > Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_fake_clock_moves_when_it_is_told() {
        let began: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
        let clock = FakeClock::at(began);
        let same = clock.clone();
        clock.advance(Duration::from_secs(3));
        assert_eq!(
            (same.monotonic(), same.utc()),
            (Duration::from_secs(3), began + Duration::from_secs(3))
        );
        clock.set_utc(began);
        assert_eq!((same.monotonic(), same.utc()), (Duration::from_secs(3), began));
    }
}
