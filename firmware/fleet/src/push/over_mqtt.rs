//! The push to a box that no ssh reaches: the revision waits at the broker, signed; the box takes it,
//! judges itself, and says what came of it.
//!
//! ```text
//! what it runs ─▶ up to date │ changed by hand │ publish ─▶ trial (by the box) ─▶ applied ─▶ well
//!                                                   │          └─▶ refused, went back
//!                                                   └─▶ away: the revision waits there for it
//! ```

use std::time::Duration;

use protocol::{
    payload::{Lifecycle, VERSION},
    push::{ConfigState, Document, SITE, Standing},
    topics::Topic,
};

use super::{
    CONNECT, LOOK, News, Options,
    outcome::Outcome,
    sign,
    trial::{Said, Trial, Verdict},
    watch::Watch,
    work::{HEAR, Work},
};

/// A box puts settings in place, starts anew, and may have to go back: besides its patience.
const WORK: Duration = Duration::from_secs(180);

/// What to do with a box.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Nothing: it runs this revision.
    UpToDate,
    /// Somebody changed its settings there.
    ByHand,
    /// It has this revision on trial, by this document.
    Resume(u64),
    /// Publish.
    Send,
}

/// Decides from what the box says.
fn decide(said: &Said, answer: Option<&ConfigState>, wanted: &str, overwrite: bool) -> Step {
    if let Some(ConfigState { state: Standing::Trial, sequence: Some(sequence), revision, .. }) =
        answer
        && revision.as_ref().is_some_and(|revision| revision.as_str() == wanted)
    {
        return Step::Resume(*sequence);
    }
    let by_hand = answer.is_some_and(|answer| answer.by_hand);
    match (by_hand, said.revision() == Some(wanted)) {
        (true, _) if !overwrite => Step::ByHand,
        (false, true) => Step::UpToDate,
        _ => Step::Send,
    }
}

/// Higher than all that the box has had; else the time, so that any laptop's next is higher.
fn sequence(now: jiff::Timestamp, answer: Option<&ConfigState>) -> u64 {
    let now = u64::try_from(now.as_millisecond()).unwrap_or(0);
    now.max(answer.map_or(0, |answer| answer.highest.saturating_add(1)))
}

/// How it goes with a document.
struct Following {
    sequence: u64,
    trial: Trial,
    /// When the box should have said that it took the document.
    heard: Duration,
    /// When it should have said how it ended.
    ended: Duration,
}

impl Following {
    fn new(sequence: u64, revision: &str, before: &Said, options: &Options, now: Duration) -> Self {
        let Options { settle, patience, .. } = *options;
        let whole = patience.saturating_mul(2).saturating_add(WORK);
        Self {
            sequence,
            trial: Trial::new(revision, before.worried(), settle, whole, now),
            heard: now.saturating_add(patience),
            ended: now.saturating_add(whole),
        }
    }

    /// Judges what the box said so far: the end, or what is waited for.
    fn look(
        &mut self,
        said: &Said,
        answer: Option<&ConfigState>,
        now: Duration,
    ) -> Result<Outcome, String> {
        let ours = answer.filter(|answer| answer.sequence == Some(self.sequence));
        let Some(answer) = ours else {
            let newer = answer.is_some_and(|answer| answer.highest > self.sequence);
            let away = !matches!(said.state, Some(Lifecycle::Ready | Lifecycle::Alert));
            return match (now >= self.heard, newer) {
                (_, true) => Ok(Outcome::Refused("somebody else pushed to it meanwhile".into())),
                (true, _) if away => Ok(Outcome::Unreachable(
                    "it is not at the broker; the revision waits there for it".into(),
                )),
                (true, _) => Ok(Outcome::Unreachable(
                    "it does not answer; the revision waits at the broker for it".into(),
                )),
                _ => Err("the box has not said yet that it takes it".into()),
            };
        };
        let reason = answer.reason.clone();
        match answer.state {
            Standing::Refused => Ok(Outcome::Refused(reason)),
            Standing::WentBack => Ok(Outcome::WentBack(reason)),
            Standing::Stuck => Ok(Outcome::Stuck(reason)),
            Standing::Applied => match self.trial.look(said, now) {
                Verdict::Well => Ok(Outcome::Pushed),
                Verdict::Unwell(why) => Ok(Outcome::Unwell(why)),
                Verdict::Wait(why) => Err(why),
            },
            Standing::Trial | Standing::None if now >= self.ended => {
                Ok(Outcome::CutOff(format!("it has not said how its trial ended: {reason}")))
            }
            Standing::Trial | Standing::None => Err(reason),
        }
    }
}

impl Work<'_> {
    /// Pushes over the broker: the outcome, and what the box runs then.
    pub(super) async fn over_mqtt(&self) -> (Outcome, Option<String>) {
        let Some(watch) = self.watch else {
            let why = "it has no `host`, so it is reached only over the broker";
            return (Outcome::Unreachable(why.to_owned()), None);
        };
        let outcome = self.published(watch).await;
        let runs = watch.said(&self.wanted.machine).revision().map(str::to_owned);
        (outcome, runs)
    }

    async fn published(&self, watch: &Watch) -> Outcome {
        let machine = &self.wanted.machine;
        let files = match sign::files(&self.wanted) {
            Ok(files) => files,
            Err(why) => return Outcome::Refused(why),
        };
        self.tell("listening at the broker");
        // A broker that is itself pushed to may only come now.
        let connect = if self.options.dry_run { CONNECT } else { self.options.patience };
        let end = self.clock.monotonic().saturating_add(connect);
        while let Some(trouble) = watch.trouble() {
            if self.clock.monotonic() >= end {
                return Outcome::Unreachable(trouble);
            }
            tokio::time::sleep(LOOK).await;
        }
        let before = self.before().await.unwrap_or_default();
        self.hear(watch).await;
        let answer = watch.answer(machine);
        let (wanted, now) = (self.wanted.revision.as_str(), || self.clock.monotonic());
        let step = decide(&before, answer.as_ref(), wanted, self.options.overwrite);
        if self.options.dry_run {
            return self.differs(&step, &before, wanted);
        }
        let (sequence, before) = match step {
            Step::UpToDate => return self.still_well(watch).await,
            Step::ByHand => return Outcome::ByHand(vec![SITE.to_owned()]),
            Step::Resume(sequence) => {
                self.tell("an earlier push is on trial there");
                (sequence, Said::default())
            }
            Step::Send => {
                let utc = self.clock.utc();
                let sequence = sequence(utc, answer.as_ref());
                let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
                let document = Document {
                    v: VERSION,
                    machine: machine.clone(),
                    revision: self.wanted.revision.clone(),
                    made: utc,
                    sequence,
                    settle_s: seconds(self.options.settle),
                    patience_s: seconds(self.options.patience),
                    files: files.into_iter().collect(),
                };
                let message = match sign::message(&document, &self.certificates) {
                    Ok(message) => message,
                    Err(why) => return Outcome::Refused(why),
                };
                self.tell("publishing");
                let topic = Topic::Config.of(machine);
                if let Err(why) = watch.publish(topic, message.into_bytes(), true).await {
                    return Outcome::Refused(why);
                }
                (sequence, before)
            }
        };
        let mut following = Following::new(sequence, wanted, &before, self.options, now());
        let mut told = String::new();
        loop {
            let (said, answer) = (watch.said(machine), watch.answer(machine));
            match following.look(&said, answer.as_ref(), now()) {
                Ok(outcome) => return outcome,
                Err(why) if why != told => {
                    self.tell(format!("waiting: {why}"));
                    told = why;
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What became of earlier revisions comes a moment after the birth, if the box ever took one.
    async fn hear(&self, watch: &Watch) {
        let end = self.clock.monotonic().saturating_add(HEAR);
        while watch.answer(&self.wanted.machine).is_none() && self.clock.monotonic() < end {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `--dry-run`.
    fn differs(&self, step: &Step, before: &Said, wanted: &str) -> Outcome {
        if before.birth.is_none() {
            return Outcome::Unreachable("it has never been at the broker".to_owned());
        }
        let runs = before.revision().unwrap_or("none of ours");
        match step {
            Step::UpToDate => Outcome::UpToDate,
            Step::ByHand => Outcome::ByHand(vec![SITE.to_owned()]),
            Step::Resume(_) | Step::Send => {
                let text = format!("-revision {runs}\n+revision {wanted}\n");
                let _ = self.news.send(News::Differs(self.wanted.machine.clone(), text));
                Outcome::WouldChange(0)
            }
        }
    }

    async fn still_well(&self, watch: &Watch) -> Outcome {
        let Options { settle, patience, .. } = *self.options;
        let wanted = self.wanted.revision.as_str();
        let mut trial = Trial::new(wanted, Vec::new(), settle, patience, self.clock.monotonic());
        loop {
            match self.verdict(watch, &mut trial) {
                Verdict::Well => return Outcome::UpToDate,
                Verdict::Unwell(why) => return Outcome::Unwell(why),
                Verdict::Wait(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::mood::Mood;

    use super::*;
    use crate::push::ssh::SshOptions;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn answer(state: Standing, sequence: u64) -> ConfigState {
        let mut answer = ConfigState::new(jiff::Timestamp::UNIX_EPOCH, state, "why");
        answer.sequence = Some(sequence);
        answer.revision = Some("2".parse().unwrap());
        answer.highest = sequence;
        answer
    }

    fn said(revision: &str, state: Lifecycle) -> Said {
        Said {
            state: Some(state),
            birth: Some((jiff::Timestamp::UNIX_EPOCH, Some(revision.to_owned()))),
            mood: Some(Mood::Happy),
            ..Said::default()
        }
    }

    fn following() -> Following {
        let options = Options {
            canaries: 0,
            at_once: 1,
            dry_run: false,
            overwrite: false,
            settle: Duration::from_secs(5),
            patience: PATIENCE,
            ssh: SshOptions::default(),
        };
        Following::new(7, "2", &Said::default(), &options, Duration::ZERO)
    }

    #[test]
    fn what_the_box_says_decides() {
        let (old, new) = (said("1", Lifecycle::Ready), said("2", Lifecycle::Ready));
        assert_eq!(decide(&old, None, "2", false), Step::Send);
        assert_eq!(decide(&new, None, "2", false), Step::UpToDate);
        let trial = answer(Standing::Trial, 5);
        assert_eq!(decide(&new, Some(&trial), "2", false), Step::Resume(5));
        assert_eq!(decide(&new, Some(&trial), "3", false), Step::Send);
        // What went back is tried again when it is pushed again.
        assert_eq!(decide(&old, Some(&answer(Standing::WentBack, 5)), "2", false), Step::Send);
        let mut hand = answer(Standing::Applied, 5);
        hand.by_hand = true;
        assert_eq!(decide(&new, Some(&hand), "2", false), Step::ByHand);
        assert_eq!(decide(&new, Some(&hand), "2", true), Step::Send);

        let now = jiff::Timestamp::from_second(1).unwrap();
        assert_eq!(sequence(now, None), 1000);
        assert_eq!(sequence(now, Some(&hand)), 1000);
        hand.highest = 5000;
        assert_eq!(sequence(now, Some(&hand)), 5001);
    }

    #[test]
    fn each_end_is_told_apart() {
        let (old, new) = (said("1", Lifecycle::Ready), said("2", Lifecycle::Ready));
        let at = Duration::from_secs;
        let end = |said: &Said, answer: Option<ConfigState>, now: Duration| {
            following().look(said, answer.as_ref(), now)
        };
        assert!(end(&old, None, at(59)).is_err());
        // An answer to something earlier says nothing of this.
        assert!(end(&old, Some(answer(Standing::Refused, 6)), at(1)).is_err());
        let gone = end(&said("1", Lifecycle::Lost), None, at(60)).unwrap();
        assert!(matches!(gone, Outcome::Unreachable(why) if why.contains("waits there")));
        assert!(matches!(end(&old, None, at(60)), Ok(Outcome::Unreachable(_))));
        assert!(matches!(
            end(&old, Some(answer(Standing::Applied, 8)), at(1)),
            Ok(Outcome::Refused(why)) if why.contains("somebody else")
        ));
        let why = || "why".to_owned();
        let now = |state| end(&old, Some(answer(state, 7)), at(1));
        assert_eq!(now(Standing::Refused), Ok(Outcome::Refused(why())));
        assert_eq!(now(Standing::WentBack), Ok(Outcome::WentBack(why())));
        assert_eq!(now(Standing::Stuck), Ok(Outcome::Stuck(why())));
        assert_eq!(now(Standing::Trial), Err(why()));
        let late = end(&old, Some(answer(Standing::Trial, 7)), at(300));
        assert!(matches!(late, Ok(Outcome::CutOff(_))), "{late:?}");
        // Applied, as the box says; and it is seen to run and to be well.
        let mut following = following();
        let applied = answer(Standing::Applied, 7);
        assert!(following.look(&old, Some(&applied), at(1)).is_err());
        assert!(following.look(&new, Some(&applied), at(2)).is_err());
        assert_eq!(following.look(&new, Some(&applied), at(7)), Ok(Outcome::Pushed));
    }

    proptest! {
        /// Whatever the box says and when: the push ends, and only a box that says so has it.
        #[test]
        fn it_comes_to_an_end(
            steps in proptest::collection::vec((1_u64..40, 0_usize..6, 5_u64..9, 1_u8..3), 1..60),
        ) {
            let states = [
                Standing::None, Standing::Trial, Standing::Applied, Standing::Refused,
                Standing::WentBack, Standing::Stuck,
            ];
            let (mut following, mut now, mut over) = (following(), Duration::ZERO, false);
            for (wait, state, sequence, revision) in steps {
                now += Duration::from_secs(wait);
                let said = said(&revision.to_string(), Lifecycle::Ready);
                let answer = answer(states[state], sequence);
                if let Ok(outcome) = following.look(&said, Some(&answer), now) {
                    over = true;
                    if outcome == Outcome::Pushed {
                        prop_assert!(revision == 2 && sequence == 7 && states[state] == Standing::Applied);
                    }
                    break;
                }
            }
            let late = Duration::from_secs(10_000);
            prop_assert!(over || following.look(&Said::default(), None, late).is_ok());
        }
    }
}
