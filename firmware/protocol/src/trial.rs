//! Whether a machine does well with its new revision, from what it says over MQTT. Pure.
//!
//! ```text
//! ──▶ waiting ──says the revision, ready, no worrying mood──▶ settling ──for long enough──▶ well
//!        ▲                                                       │
//!        └────────────── something worrying ─────────────────────┘
//!     patience over ──▶ unwell, with the last reason
//! ```
//! A component that was sad before may stay so: a camera that is broken is not the push's doing.

use std::{collections::BTreeMap, time::Duration};

use crate::{mood::Mood, payload::Lifecycle};

/// What a machine has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Where it is in its life.
    pub state: Option<Lifecycle>,
    /// When it started, and with which revision.
    pub birth: Option<(jiff::Timestamp, Option<String>)>,
    /// The worst mood, since that birth.
    pub mood: Option<Mood>,
    /// Its version.
    pub version: Option<String>,
    /// Which components are sad or lost, and why.
    pub sad: BTreeMap<String, String>,
}

impl Said {
    /// The revision it runs.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.birth.as_ref()?.1.as_deref()
    }
}

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet, and what is missing.
    Wait(String),
    /// It is well.
    Well,
    /// It is not, and why.
    Unwell(String),
}

/// One machine's trial.
#[derive(Debug, Clone)]
pub struct Trial {
    revision: String,
    before: Vec<String>,
    settle: Duration,
    end: Duration,
    well_since: Option<Duration>,
}

impl Trial {
    /// A trial of a revision that begins now. `before` is what the machine said before.
    #[must_use]
    pub fn new(
        revision: &str,
        before: &Said,
        settle: Duration,
        patience: Duration,
        now: Duration,
    ) -> Self {
        Self {
            revision: revision.to_owned(),
            before: before.sad.keys().cloned().collect(),
            settle,
            end: now.saturating_add(patience),
            well_since: None,
        }
    }

    /// Judges what was said so far.
    pub fn look(&mut self, said: &Said, now: Duration) -> Verdict {
        match self.worry(said) {
            None => {
                let since = *self.well_since.get_or_insert(now);
                if now.saturating_sub(since) >= self.settle {
                    return Verdict::Well;
                }
                Verdict::Wait("it is well so far".to_owned())
            }
            Some(why) => {
                self.well_since = None;
                if now >= self.end { Verdict::Unwell(why) } else { Verdict::Wait(why) }
            }
        }
    }

    fn worry(&self, said: &Said) -> Option<String> {
        let Some((_, revision)) = &said.birth else {
            return Some("it says nothing at the broker".to_owned());
        };
        match revision {
            Some(revision) if *revision == self.revision => {}
            Some(revision) => return Some(format!("it still runs revision {revision}")),
            None => return Some("it runs no revision of ours".to_owned()),
        }
        let new = said.sad.iter().find(|(name, _)| !self.before.contains(name));
        let sad = |what: String| match new {
            Some((name, why)) => Some(format!("{name}: {why}")),
            None if said.sad.is_empty() => Some(what),
            // Sad for the reasons of before.
            None => None,
        };
        match said.state {
            Some(Lifecycle::Ready | Lifecycle::Sleeping) => {}
            Some(Lifecycle::Alert) => return sad("it is in trouble".to_owned()),
            Some(Lifecycle::Init) => return Some("it is starting".to_owned()),
            Some(Lifecycle::Disconnected) => return Some("it has stopped".to_owned()),
            Some(Lifecycle::Lost) => return Some("the broker has lost it".to_owned()),
            None => return Some("it does not say how it is".to_owned()),
        }
        match said.mood {
            Some(Mood::Sleeping | Mood::Happy | Mood::Hungry) => None,
            Some(Mood::Waking) => Some("it is starting".to_owned()),
            Some(mood @ (Mood::Sad | Mood::Lost)) => sad(format!("it is {mood}")),
            None => Some("it has not said yet how it does".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTLE: Duration = Duration::from_secs(5);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn said(revision: &str, state: Lifecycle, mood: Mood) -> Said {
        Said {
            state: Some(state),
            birth: Some((jiff::Timestamp::UNIX_EPOCH, Some(revision.to_owned()))),
            mood: Some(mood),
            version: None,
            sad: BTreeMap::new(),
        }
    }

    fn trial(before: &Said) -> Trial {
        Trial::new("2", before, SETTLE, PATIENCE, Duration::ZERO)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn well_is_the_new_revision_for_a_while() {
        let mut trial = trial(&Said::default());
        let wait = |why: &str| Verdict::Wait(why.to_owned());
        assert_eq!(trial.look(&Said::default(), at(0)), wait("it says nothing at the broker"));
        let old = said("1", Lifecycle::Ready, Mood::Happy);
        assert_eq!(trial.look(&old, at(1)), wait("it still runs revision 1"));
        let good = said("2", Lifecycle::Ready, Mood::Hungry);
        assert_eq!(trial.look(&good, at(2)), wait("it is well so far"));
        // A hiccup begins it anew.
        let lost = said("2", Lifecycle::Lost, Mood::Happy);
        assert_eq!(trial.look(&lost, at(4)), wait("the broker has lost it"));
        assert_eq!(trial.look(&good, at(6)), wait("it is well so far"));
        assert_eq!(trial.look(&good, at(10)), wait("it is well so far"));
        assert_eq!(trial.look(&good, at(11)), Verdict::Well);
    }

    #[test]
    fn what_is_newly_sad_ends_it_and_what_was_sad_before_does_not() {
        let mut sad = said("2", Lifecycle::Alert, Mood::Sad);
        sad.sad.insert("capture".into(), "no such device".into());
        let mut fresh = trial(&Said::default());
        let why = "capture: no such device".to_owned();
        assert_eq!(fresh.look(&sad, at(59)), Verdict::Wait(why.clone()));
        assert_eq!(fresh.look(&sad, at(60)), Verdict::Unwell(why));
        let mut known = trial(&sad);
        known.look(&sad, at(0));
        assert_eq!(known.look(&sad, at(5)), Verdict::Well);
        sad.sad.insert("uplink".into(), "refused".into());
        assert_eq!(known.look(&sad, at(60)), Verdict::Unwell("uplink: refused".to_owned()));
    }

    proptest! {
        /// Nothing but the new revision, up, and not worrying, for the whole time, is ever well; and
        /// a machine that never gets there is unwell in the end.
        #[test]
        fn only_what_is_well_is_well(
            steps in proptest::collection::vec((0_u64..4, 0_usize..3, 0_usize..6, 0_usize..6), 1..40)
        ) {
            let states = [
                Lifecycle::Init, Lifecycle::Ready, Lifecycle::Alert, Lifecycle::Lost,
                Lifecycle::Disconnected, Lifecycle::Sleeping,
            ];
            let mut trial = trial(&Said::default());
            let (mut now, mut good_since) = (Duration::ZERO, None);
            for (wait, revision, state, mood) in steps {
                now += at(wait);
                let said = said(&revision.to_string(), states[state], Mood::ALL[mood]);
                let good = revision == 2
                    && matches!(states[state], Lifecycle::Ready | Lifecycle::Sleeping)
                    && matches!(Mood::ALL[mood], Mood::Sleeping | Mood::Happy | Mood::Hungry);
                good_since = good.then(|| good_since.unwrap_or(now));
                match trial.look(&said, now) {
                    Verdict::Well => {
                        prop_assert!(good_since.is_some_and(|since| now - since >= SETTLE));
                    }
                    Verdict::Unwell(_) => prop_assert!(!good && now >= PATIENCE),
                    Verdict::Wait(_) => prop_assert!(good || now < PATIENCE),
                }
            }
        }
    }
}
