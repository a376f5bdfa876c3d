//! Stopping without turning anybody away: websites are told no more, viewers may stay for a while.
//! Pure.
//!
//! ```text
//!  Running ── order ──▶ Draining ──▶ stop: the limit has come,
//!                        │    ▲           or no website sends anybody any more and nobody watches
//!                        └────┘ a further order: the earlier limit counts
//! ```
//! Who comes meanwhile is served: a website goes on sending viewers here until it has forgotten
//! this encoder, and they have nothing else to go to.

use std::fmt;
use std::time::Duration;

/// Viewers are let be until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    deadline: Duration,
}

/// What there is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Who watches.
    pub viewers: usize,
    /// When the last website has forgotten this encoder; `None`: none knows it.
    pub listed_until: Option<Duration>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Go on.
    Wait(Waiting),
    /// Stop now.
    Stop(End),
}

/// For what it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// For viewers to leave.
    Viewers {
        /// How many.
        viewers: usize,
        /// For how long at most.
        left: Duration,
    },
    /// For websites to forget this encoder.
    Websites {
        /// How long that takes.
        left: Duration,
    },
}

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nobody watches, and nobody is sent here.
    Empty,
    /// The limit has come.
    Limit {
        /// Who still watched.
        viewers: usize,
    },
}

impl Drain {
    /// Told at `now` to stop within `limit`.
    #[must_use]
    pub fn new(now: Duration, limit: Duration) -> Self {
        Self { deadline: now.saturating_add(limit) }
    }

    /// Told again.
    pub fn again(&mut self, now: Duration, limit: Duration) {
        self.deadline = self.deadline.min(now.saturating_add(limit));
    }

    /// What to do at `now`.
    #[must_use]
    pub fn look(&self, seen: Seen, now: Duration) -> Step {
        let left = self.deadline.saturating_sub(now);
        let listed = seen.listed_until.map_or(Duration::ZERO, |until| until.saturating_sub(now));
        match seen.viewers {
            0 if listed.is_zero() => Step::Stop(End::Empty),
            viewers if left.is_zero() => Step::Stop(End::Limit { viewers }),
            0 => Step::Wait(Waiting::Websites { left: listed.min(left) }),
            viewers => Step::Wait(Waiting::Viewers { viewers, left }),
        }
    }
}

/// Seconds, rounded up: there is never "another 0 s".
fn seconds(left: Duration) -> u64 {
    left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

fn people(viewers: usize) -> String {
    if viewers == 1 { "1 viewer".to_owned() } else { format!("{viewers} viewers") }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Viewers { viewers, left } => {
                write!(f, "{} may stay for another {} s", people(*viewers), seconds(*left))
            }
            Self::Websites { left } => write!(
                f,
                "nobody watches; websites may send viewers here for another {} s",
                seconds(*left)
            ),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nobody watches any more"),
            Self::Limit { viewers: 0 } => f.write_str("the limit has come; nobody watched"),
            Self::Limit { viewers } => {
                write!(f, "the limit has come, and {} had to go", people(*viewers))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn seen(viewers: usize, listed_until: Option<u64>) -> Seen {
        Seen { viewers, listed_until: listed_until.map(at) }
    }

    #[test]
    fn an_empty_encoder_that_nobody_knows_stops_at_once() {
        let drain = Drain::new(at(100), at(90));
        assert_eq!(drain.look(seen(0, None), at(100)), Step::Stop(End::Empty));
        assert_eq!(drain.look(seen(0, Some(99)), at(100)), Step::Stop(End::Empty));
    }

    #[test]
    fn it_waits_for_websites_and_viewers_and_not_longer_than_it_may() {
        let drain = Drain::new(at(100), at(90));
        let wait = |waiting| Step::Wait(waiting);
        assert_eq!(
            drain.look(seen(0, Some(155)), at(100)),
            wait(Waiting::Websites { left: at(55) })
        );
        assert_eq!(
            drain.look(seen(3, Some(155)), at(150)),
            wait(Waiting::Viewers { viewers: 3, left: at(40) })
        );
        assert_eq!(drain.look(seen(0, Some(155)), at(155)), Step::Stop(End::Empty));
        assert_eq!(drain.look(seen(3, None), at(190)), Step::Stop(End::Limit { viewers: 3 }));
    }

    #[test]
    fn no_limit_is_at_once_and_a_further_order_can_only_hurry() {
        let drain = Drain::new(at(100), Duration::ZERO);
        assert_eq!(drain.look(seen(9, Some(155)), at(100)), Step::Stop(End::Limit { viewers: 9 }));
        let mut drain = Drain::new(at(100), at(90));
        drain.again(at(110), at(300));
        assert!(matches!(drain.look(seen(1, None), at(189)), Step::Wait(_)));
        drain.again(at(120), at(5));
        assert!(matches!(drain.look(seen(1, None), at(125)), Step::Stop(_)));
    }

    #[test]
    fn it_says_what_it_waits_for() {
        let left = Duration::from_millis(40_200);
        let one = Waiting::Viewers { viewers: 1, left };
        assert_eq!(one.to_string(), "1 viewer may stay for another 41 s");
        assert_eq!(
            Waiting::Websites { left }.to_string(),
            "nobody watches; websites may send viewers here for another 41 s"
        );
        let end = End::Limit { viewers: 2 };
        assert_eq!(end.to_string(), "the limit has come, and 2 viewers had to go");
    }

    proptest! {
        #[test]
        fn it_ends_at_the_limit_at_the_latest_and_never_early_for_a_viewer(
            began in 0u64..1000, limit in 0u64..1000, passed in 0u64..2000,
            viewers in 0usize..3, listed in proptest::option::of(0u64..3000)
        ) {
            let drain = Drain::new(at(began), at(limit));
            let step = drain.look(seen(viewers, listed), at(began + passed));
            let wanted = viewers > 0 || listed.is_some_and(|until| until > began + passed);
            prop_assert_eq!(matches!(step, Step::Wait(_)), wanted && passed < limit);
        }
    }
}
