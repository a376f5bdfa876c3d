//! The health gate: whether the image that runs may stay. Pure.
//!
//! ```text
//!            ┌── failed units? ── collector ready 60 s? ── reached once, or 10 min? ──▶ mark good
//! on a try ──┤
//!            └── 15 min without all three ──▶ give up: restart, so that the boot loader's tries
//!                                             run out and it falls back
//! good before ──▶ nothing, ever
//! ```
//! A venue without a network must not lose good firmware: hence the ten minutes. And no box must
//! restart for ever. It stays as it is, and says so:
//! * after three times in a row: its boot loader does not fall back;
//! * if a restart cannot be recorded: those three could not be counted;
//! * if this image has been good before: then it is not the image that is at fault.

use std::time::Duration;

/// The collector must have been ready so long without a restart.
pub const READY: Duration = Duration::from_secs(60);
/// So long without encoder and broker, and the network is not held against the image.
pub const OFFLINE: Duration = Duration::from_secs(10 * 60);
/// So long a try may take.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// So often in a row an image is given up by a restart.
pub const GIVE_UPS: usize = 3;

/// How the collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collector {
    /// The box has no site yet: nothing to stream to.
    NotWanted,
    /// Its unit is not active.
    Down(String),
    /// Its unit is active, since the start that this number names.
    Ready(u64),
}

/// What is seen at a look around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Units that have failed.
    pub failed: Vec<String>,
    /// The collector.
    pub collector: Collector,
    /// Broker or encoder has been reached in this boot (the broker, if one is configured).
    pub reached: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more: the slot is good.
    Good,
    /// Look again; what is missing.
    Wait(String),
    /// Mark the slot good, and tell [`Gate::marked`] if that worked.
    MarkGood,
    /// Record why, and restart.
    GiveUp(String),
    /// It would be given up, but stays; what is missing, and why it stays.
    Stuck(String),
}

/// The gate's memory.
#[derive(Debug, Clone)]
pub struct Gate {
    began: Duration,
    good: bool,
    /// Why the image is not given up, whatever is missing.
    stays: Option<String>,
    ready: Option<(u64, Duration)>,
    trouble: Option<String>,
}

impl Gate {
    /// Begins at `now`; `good` if the slot was good before this boot; the image was given up so
    /// often in a row before.
    #[must_use]
    pub fn new(good: bool, given_up: usize, now: Duration) -> Self {
        let often = "it has been given up and came back; flash the box anew";
        let stays = (given_up >= GIVE_UPS).then(|| often.to_owned());
        Self { began: now, good, stays, ready: None, trouble: None }
    }

    /// From now on the image is not given up any more, and why.
    pub fn stays(&mut self, why: String) {
        self.stays = Some(why);
    }

    /// Whether the slot is good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.good
    }

    /// The slot was marked good.
    pub fn marked(&mut self) {
        self.good = true;
    }

    /// Marking did not work; tried again with the next look.
    pub fn not_marked(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// Takes a look around.
    pub fn look(&mut self, seen: &Seen, now: Duration) -> Verdict {
        if self.good {
            return Verdict::Good;
        }
        let age = now.saturating_sub(self.began);
        let missing = self.missing(seen, now, age);
        let Some(missing) = missing.or_else(|| self.trouble.take()) else {
            return Verdict::MarkGood;
        };
        if age < PATIENCE {
            Verdict::Wait(missing)
        } else if let Some(stays) = &self.stays {
            Verdict::Stuck(format!("{missing}; {stays}"))
        } else {
            Verdict::GiveUp(format!("not healthy after {} min: {missing}", PATIENCE.as_secs() / 60))
        }
    }

    fn missing(&mut self, seen: &Seen, now: Duration, age: Duration) -> Option<String> {
        self.ready = match (seen.collector.clone(), self.ready) {
            (Collector::Ready(start), Some((known, since))) if known == start => {
                Some((start, since))
            }
            (Collector::Ready(start), _) => Some((start, now)),
            _ => None,
        };
        if !seen.failed.is_empty() {
            return Some(format!("{} failed", seen.failed.join(", ")));
        }
        let ready_for = self.ready.map(|(_, since)| now.saturating_sub(since));
        match (&seen.collector, ready_for) {
            (Collector::Down(how), _) => {
                return Some(format!("the collector is not ready ({how})"));
            }
            (Collector::Ready(_), Some(lasted)) if lasted < READY => {
                return Some("the collector has not been ready for a minute yet".to_owned());
            }
            _ => {}
        }
        let network = seen.reached || age >= OFFLINE;
        (!network).then(|| "neither broker nor encoder was reached yet".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn well() -> Seen {
        Seen { failed: Vec::new(), collector: Collector::Ready(1), reached: true }
    }

    #[test]
    fn all_well_is_good_after_a_minute() {
        let mut gate = Gate::new(false, 0, s(5));
        assert!(matches!(gate.look(&well(), s(10)), Verdict::Wait(_)));
        assert!(matches!(gate.look(&well(), s(69)), Verdict::Wait(_)));
        assert_eq!(gate.look(&well(), s(70)), Verdict::MarkGood);
        assert_eq!(gate.look(&well(), s(71)), Verdict::MarkGood, "until it is said to be done");
        gate.not_marked("rauc failed".into());
        assert_eq!(gate.look(&well(), s(72)), Verdict::Wait("rauc failed".into()));
        assert_eq!(gate.look(&well(), s(73)), Verdict::MarkGood);
        gate.marked();
        let sad = Seen { failed: vec!["x".into()], ..well() };
        assert_eq!(gate.look(&sad, s(9999)), Verdict::Good);
    }

    #[test]
    fn a_restart_of_the_collector_begins_the_minute_anew() {
        let mut gate = Gate::new(false, 0, s(0));
        gate.look(&well(), s(0));
        let again = Seen { collector: Collector::Ready(2), ..well() };
        assert!(matches!(gate.look(&again, s(59)), Verdict::Wait(_)));
        assert!(matches!(gate.look(&again, s(118)), Verdict::Wait(_)));
        assert_eq!(gate.look(&again, s(119)), Verdict::MarkGood);
    }

    #[test]
    fn without_a_network_it_takes_ten_minutes_and_without_a_site_no_collector() {
        let mut gate = Gate::new(false, 0, s(0));
        let alone = Seen { failed: vec![], collector: Collector::NotWanted, reached: false };
        let waiting = Verdict::Wait("neither broker nor encoder was reached yet".into());
        assert_eq!(gate.look(&alone, s(599)), waiting);
        assert_eq!(gate.look(&alone, s(600)), Verdict::MarkGood);
    }

    #[test]
    fn a_try_that_does_not_get_well_is_given_up_but_not_for_ever() {
        let sad = Seen { failed: vec!["a.service".into(), "b.mount".into()], ..well() };
        let mut gate = Gate::new(false, 0, s(0));
        assert_eq!(gate.look(&sad, s(899)), Verdict::Wait("a.service, b.mount failed".into()));
        let why = "not healthy after 15 min: a.service, b.mount failed";
        assert_eq!(gate.look(&sad, s(900)), Verdict::GiveUp(why.into()));
        let mut gate = Gate::new(false, GIVE_UPS, s(0));
        assert!(matches!(gate.look(&sad, s(900)), Verdict::Stuck(_)));
        gate.look(&well(), s(901));
        assert_eq!(gate.look(&well(), s(961)), Verdict::MarkGood, "it may still become good");
    }

    #[test]
    fn what_stays_says_why_and_may_still_become_good() {
        let sad = Seen { failed: vec!["data.mount".into()], ..well() };
        let mut gate = Gate::new(false, 0, s(0));
        gate.stays("it worked before".into());
        assert!(matches!(gate.look(&sad, s(899)), Verdict::Wait(_)));
        let stuck = Verdict::Stuck("data.mount failed; it worked before".into());
        assert_eq!(gate.look(&sad, s(900)), stuck);
        gate.look(&well(), s(901));
        assert_eq!(gate.look(&well(), s(961)), Verdict::MarkGood);
        gate.not_marked("the disk takes no writes".into());
        let stuck = Verdict::Stuck("the disk takes no writes; it worked before".into());
        assert_eq!(gate.look(&well(), s(962)), stuck);
    }

    fn any_seen() -> impl Strategy<Value = Seen> {
        let collector = prop_oneof![
            Just(Collector::NotWanted),
            Just(Collector::Down("x".into())),
            (0u64..3).prop_map(Collector::Ready),
        ];
        (proptest::collection::vec("[a-z]", 0..2), collector, any::<bool>())
            .prop_map(|(failed, collector, reached)| Seen { failed, collector, reached })
    }

    proptest! {
        #[test]
        fn what_is_good_is_never_given_up_and_what_fails_is_never_good(
            good in any::<bool>(),
            given_up in 0..GIVE_UPS + 2,
            // From this look on.
            stays in 0usize..80,
            // Whether marking the slot works.
            marks in any::<bool>(),
            looks in proptest::collection::vec((any_seen(), 0u64..200), 1..40),
        ) {
            let mut gate = Gate::new(good, given_up, s(0));
            let mut now = 0;
            for (at, (seen, later)) in looks.into_iter().enumerate() {
                now += later;
                if at == stays {
                    gate.stays("it worked before".into());
                }
                let kept = given_up >= GIVE_UPS || at >= stays;
                match gate.look(&seen, s(now)) {
                    Verdict::Good => prop_assert!(gate.is_good()),
                    Verdict::MarkGood => {
                        prop_assert!(!gate.is_good() && seen.failed.is_empty());
                        prop_assert!(!matches!(seen.collector, Collector::Down(_)));
                        prop_assert!(seen.reached || s(now) >= OFFLINE);
                        match marks {
                            true => gate.marked(),
                            false => gate.not_marked("the disk takes no writes".into()),
                        }
                    }
                    Verdict::GiveUp(_) => {
                        prop_assert!(!gate.is_good() && !kept && s(now) >= PATIENCE);
                    }
                    Verdict::Wait(_) => prop_assert!(!gate.is_good() && s(now) < PATIENCE),
                    Verdict::Stuck(_) => {
                        prop_assert!(!gate.is_good() && kept && s(now) >= PATIENCE);
                    }
                }
            }
        }
    }
}
