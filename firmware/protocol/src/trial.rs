//! Whether a machine does well with its new revision, from what it says over MQTT. Pure.
//!
//! ```text
//! ──▶ waiting ──says the revision, ready, no worrying mood──▶ settling ──for long enough──▶ well
//!        ▲                                                       │
//!        └────────────── something worrying ─────────────────────┘
//!     patience over ──▶ unwell, with the last reason
//! ```
//! A component that is only starting is waited for: an uplink that has not reached its encoder yet
//! says nothing of the token that it will show there. One that worried before may go on: a camera
//! that is broken is not the push's doing.

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
    /// Which components are worrying, and why.
    pub worries: BTreeMap<String, Worry>,
}

impl Said {
    /// The revision it runs.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.birth.as_ref()?.1.as_deref()
    }

    /// The names of the components that worry.
    #[must_use]
    pub fn worried(&self) -> Vec<String> {
        self.worries.keys().cloned().collect()
    }
}

/// A component that is not known to be well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worry {
    /// Waking, sad or lost.
    pub mood: Mood,
    /// Why.
    pub why: String,
}

impl Worry {
    /// `None` for the moods that a machine may stay in: what does not come to a hungry component
    /// is not its fault, nor the push's.
    pub fn new(mood: Mood, why: impl Into<String>) -> Option<Self> {
        match mood {
            Mood::Waking | Mood::Sad | Mood::Lost => Some(Self { mood, why: why.into() }),
            Mood::Sleeping | Mood::Happy | Mood::Hungry => None,
        }
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
    /// A trial of a revision that begins now. `before` are the components that worried before.
    #[must_use]
    pub fn new(
        revision: &str,
        before: Vec<String>,
        settle: Duration,
        patience: Duration,
        now: Duration,
    ) -> Self {
        Self {
            revision: revision.to_owned(),
            before,
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
        match said.state {
            Some(Lifecycle::Ready | Lifecycle::Sleeping | Lifecycle::Alert) => {}
            Some(Lifecycle::Init) => return Some("it is starting".to_owned()),
            Some(Lifecycle::Disconnected) => return Some("it has stopped".to_owned()),
            Some(Lifecycle::Lost) => return Some("the broker has lost it".to_owned()),
            None => return Some("it does not say how it is".to_owned()),
        }
        let Some(mood) = said.mood else {
            return Some("it has not said yet how it does".to_owned());
        };
        let new = said.worries.iter().filter(|(name, _)| !self.before.contains(name));
        if let Some((name, worry)) = new.max_by_key(|(_, worry)| worry.mood) {
            return Some(format!("{name}: {}", worry.why));
        }
        // What worries, it has not said yet; or it worried before.
        let known = |mood| said.worries.values().any(|worry| worry.mood >= mood);
        match (said.state, mood) {
            (_, Mood::Waking) if !known(mood) => Some("it is starting".to_owned()),
            (_, Mood::Sad | Mood::Lost) if !known(Mood::Sad) => Some(format!("it is {mood}")),
            (Some(Lifecycle::Alert), _) if !known(Mood::Sad) => Some("it is in trouble".to_owned()),
            _ => None,
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
            worries: BTreeMap::new(),
        }
    }

    fn trial(before: &Said) -> Trial {
        Trial::new("2", before.worried(), SETTLE, PATIENCE, Duration::ZERO)
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

    fn worried(mut said: Said, worries: &[(&str, Mood, &str)]) -> Said {
        for (name, mood, why) in worries {
            said.worries.insert((*name).to_owned(), Worry::new(*mood, *why).unwrap());
        }
        said
    }

    #[test]
    fn what_is_newly_sad_ends_it_and_what_was_sad_before_does_not() {
        let capture = ("capture", Mood::Sad, "no such device");
        let sad = worried(said("2", Lifecycle::Alert, Mood::Sad), &[capture]);
        let mut fresh = trial(&Said::default());
        let why = "capture: no such device".to_owned();
        assert_eq!(fresh.look(&sad, at(59)), Verdict::Wait(why.clone()));
        assert_eq!(fresh.look(&sad, at(60)), Verdict::Unwell(why));
        let mut known = trial(&sad);
        known.look(&sad, at(0));
        assert_eq!(known.look(&sad, at(5)), Verdict::Well);
        let worse = worried(sad, &[("uplink", Mood::Sad, "refused")]);
        assert_eq!(known.look(&worse, at(60)), Verdict::Unwell("uplink: refused".to_owned()));
    }

    #[test]
    fn what_is_only_starting_is_waited_for_behind_a_worse_mood_too() {
        let uplink = ("uplink", Mood::Waking, "going to https://encoder");
        // Without sound the box is hungry, which is worse than waking.
        let hungry = said("2", Lifecycle::Ready, Mood::Hungry);
        let going = worried(hungry.clone(), &[uplink]);
        let mut trial = trial(&Said::default());
        let wait = |why: &str| Verdict::Wait(why.to_owned());
        for second in [0, 10, 50] {
            assert_eq!(trial.look(&going, at(second)), wait("uplink: going to https://encoder"));
        }
        assert_eq!(trial.look(&hungry, at(51)), wait("it is well so far"));
        assert_eq!(trial.look(&hungry, at(56)), Verdict::Well);
        // Sad comes before starting, in what is told.
        let both = worried(going, &[("a", Mood::Sad, "broken")]);
        assert_eq!(trial.look(&both, at(60)), Verdict::Unwell("a: broken".to_owned()));
    }

    #[test]
    fn a_bad_mood_whose_component_was_not_heard_is_none_of_those_of_before() {
        let waking = worried(Said::default(), &[("capture", Mood::Waking, "starting")]);
        for (state, mood, why) in [
            (Lifecycle::Ready, Mood::Lost, "it is lost"),
            (Lifecycle::Alert, Mood::Hungry, "it is in trouble"),
        ] {
            let mut trial = trial(&waking);
            let said = Said { worries: waking.worries.clone(), ..said("2", state, mood) };
            assert_eq!(trial.look(&said, at(60)), Verdict::Unwell(why.to_owned()));
        }
        let said =
            Said { worries: waking.worries.clone(), ..said("2", Lifecycle::Ready, Mood::Waking) };
        assert_eq!(
            trial(&waking).look(&said, at(60)),
            Verdict::Wait("it is well so far".to_owned())
        );
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
