//! What a website's answers mean for one room, and when to tell it again. Pure.
//!
//! ```text
//!             OK: wait the interval               no answer, or a stumble,
//!   Waking ─────────────────────────▶ Happy ◀──── while it still lists us
//!     │                                 │ 60 s without OK, or a refusal
//!     └──── anything but OK ───▶ Sad ◀──┘         wait longer each time
//! ```

use std::time::Duration;

use protocol::mood::Mood;
use protocol::register::{Answer, FORGETS, Group};
use watchdog::backoff::Backoff;

/// The first wait after something failed.
const RETRY: Duration = Duration::from_secs(2);
/// The longest: a website that is back lists us within a minute.
const RETRY_CAP: Duration = Duration::from_secs(60);

/// What came of telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Status 200.
    Answered(Answer),
    /// It says to ask elsewhere. We do not: the secret is for one place only.
    Redirected {
        /// Where, if it said.
        to: Option<String>,
    },
    /// Another status.
    Status(u16),
    /// It did not get the report; why, in words.
    Unreachable(String),
    /// It may have got the report, but no answer came; how, in words.
    Unanswered(String),
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The component's mood.
    pub mood: Mood,
    /// Why, for people.
    pub reason: String,
    /// When to tell again, from when it was told this time.
    pub wait: Duration,
    /// Whether the website surely did not take the report.
    pub refused: bool,
}

/// One room on one website.
#[derive(Debug)]
pub struct Announcer {
    group: Group,
    interval: Duration,
    backoff: Backoff,
    /// When it last said OK, if it has refused nothing since.
    listed: Option<Duration>,
}

impl Announcer {
    /// Nothing has been told yet.
    #[must_use]
    pub fn new(group: Group, interval: Duration) -> Self {
        Self { group, interval, backoff: Backoff::new(RETRY, RETRY_CAP), listed: None }
    }

    /// Takes in what came of telling the website at `now`. `jitter` is 0 to 1.
    pub fn settled(&mut self, outcome: &Outcome, now: Duration, jitter: f64) -> Verdict {
        if *outcome == Outcome::Answered(Answer::Ok) {
            self.listed = Some(now);
            self.backoff.reset();
            let reason = format!("the website lists it as \"{}\"", self.group);
            let wait = self.interval;
            return Verdict { mood: Mood::Happy, reason, wait, refused: false };
        }
        let wait = self.backoff.next(jitter);
        if !may_pass(outcome) {
            self.listed = None;
        }
        let why = self.sentence(outcome);
        let ago = self.listed.map(|at| now.saturating_sub(at));
        let (mood, reason) = match ago.filter(|ago| *ago < FORGETS) {
            Some(ago) => {
                let seconds = ago.as_secs();
                (
                    Mood::Happy,
                    format!("the website took a report {seconds} s ago; since then, {why}"),
                )
            }
            None => (Mood::Sad, why),
        };
        let refused = match outcome {
            Outcome::Unanswered(_) => false,
            Outcome::Status(status) => *status < 500,
            _ => true,
        };
        Verdict { mood, reason, wait, refused }
    }

    fn sentence(&self, outcome: &Outcome) -> String {
        let group = &self.group;
        match outcome {
            Outcome::Answered(Answer::Ok) => "the website took the report".to_owned(),
            Outcome::Answered(Answer::NoSecret) => {
                "the website has no secret set, and takes no encoder: give it one".to_owned()
            }
            Outcome::Answered(Answer::WrongSecret) => {
                "the website does not know the secret: compare `secret` in [[register]] with its own"
                    .to_owned()
            }
            Outcome::Answered(Answer::UnknownGroup) => format!(
                "the website does not know the group \"{group}\": add it there, or correct `group` \
                 in [[room]]"
            ),
            Outcome::Answered(Answer::Exception { class, detail }) => {
                let what = if detail.is_empty() { class } else { detail };
                format!("the website stumbled over the report: {what}")
            }
            Outcome::Answered(Answer::Foreign { begins }) => format!(
                "what answers is no register, it says {begins:?}: check `url` in [[register]]"
            ),
            Outcome::Redirected { to: Some(to) } => format!(
                "the website sends us on to {to:?}: if that is its register, write it as `url` in \
                 [[register]]"
            ),
            Outcome::Redirected { to: None } => {
                "the website sends us on and does not say where: check `url` in [[register]]"
                    .to_owned()
            }
            Outcome::Status(status @ 400..500) => {
                format!("the website answers {status}: check `url` in [[register]]")
            }
            Outcome::Status(status) => format!("the website answers {status}"),
            Outcome::Unreachable(why) => format!("the website cannot be reached: {why}"),
            Outcome::Unanswered(how) => format!("the website {how}"),
        }
    }
}

/// Whether it may be well the next time without anybody's doing.
fn may_pass(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Unreachable(_)
        | Outcome::Unanswered(_)
        | Outcome::Answered(Answer::Exception { .. } | Answer::Foreign { .. }) => true,
        Outcome::Status(status) => *status >= 500 || *status == 429,
        Outcome::Answered(_) | Outcome::Redirected { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn announcer() -> Announcer {
        Announcer::new("demo".parse().unwrap(), INTERVAL)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ok_is_happy_and_told_again_after_the_interval() {
        let verdict = announcer().settled(&Outcome::Answered(Answer::Ok), at(5), 1.0);
        assert_eq!((verdict.mood, verdict.wait, verdict.refused), (Mood::Happy, INTERVAL, false));
        assert_eq!(verdict.reason, "the website lists it as \"demo\"");
    }

    #[test]
    fn a_refusal_is_a_mood_and_a_sentence() {
        let exception = |class: &str, detail: &str| Answer::Exception {
            class: class.to_owned(),
            detail: detail.to_owned(),
        };
        let cases = [
            (Outcome::Answered(Answer::WrongSecret), "does not know the secret"),
            (Outcome::Answered(Answer::NoSecret), "has no secret set"),
            (Outcome::Answered(Answer::UnknownGroup), "does not know the group \"demo\""),
            (Outcome::Answered(exception("TypeError", "TypeError: x")), "report: TypeError: x"),
            (Outcome::Answered(exception("ValueError", "")), "report: ValueError"),
            (Outcome::Answered(Answer::Foreign { begins: "<html>".into() }), "says \"<html>\""),
            (Outcome::Redirected { to: Some("https://x/".into()) }, "on to \"https://x/\""),
            (Outcome::Redirected { to: None }, "does not say where"),
            (Outcome::Status(404), "answers 404: check `url`"),
            (Outcome::Status(500), "answers 500"),
            (Outcome::Unreachable("no route".into()), "website cannot be reached: no route"),
            (Outcome::Unanswered("broke off".into()), "the website broke off"),
        ];
        for (outcome, words) in cases {
            let verdict = announcer().settled(&outcome, at(5), 1.0);
            assert_eq!((verdict.mood, verdict.wait), (Mood::Sad, RETRY), "{outcome:?}");
            assert!(verdict.reason.contains(words), "{}", verdict.reason);
        }
    }

    #[test]
    fn a_stumble_is_no_grief_while_the_website_still_lists_us() {
        let mut announcer = announcer();
        announcer.settled(&Outcome::Answered(Answer::Ok), at(100), 1.0);
        let verdict = announcer.settled(&Outcome::Status(500), at(130), 1.0);
        assert_eq!(verdict.mood, Mood::Happy);
        assert!(verdict.reason.contains("30 s ago") && verdict.reason.contains("500"));
        assert_eq!(announcer.settled(&Outcome::Status(500), at(160), 1.0).mood, Mood::Sad);
        announcer.settled(&Outcome::Answered(Answer::Ok), at(170), 1.0);
        let refused = Outcome::Answered(Answer::WrongSecret);
        assert_eq!(announcer.settled(&refused, at(171), 1.0).mood, Mood::Sad);
        let verdict = announcer.settled(&Outcome::Status(502), at(172), 1.0);
        assert_eq!(verdict.mood, Mood::Sad, "it was not taken back");
    }

    #[test]
    fn it_waits_longer_each_time_and_begins_anew_after_ok() {
        let mut announcer = announcer();
        let fault = Outcome::Unanswered("does not answer".into());
        let mut wait = || announcer.settled(&fault, at(0), 1.0).wait.as_secs();
        assert_eq!([wait(), wait(), wait(), wait(), wait(), wait()], [2, 4, 8, 16, 32, 60]);
        announcer.settled(&Outcome::Answered(Answer::Ok), at(0), 1.0);
        assert_eq!(announcer.settled(&fault, at(0), 0.0).wait, Duration::from_millis(1500));
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Answered(Answer::Ok)),
            Just(Outcome::Answered(Answer::WrongSecret)),
            any::<u16>().prop_map(Outcome::Status),
            ".{0,20}".prop_map(Outcome::Unreachable),
            proptest::option::of(".{0,20}").prop_map(|to| Outcome::Redirected { to }),
        ]
    }

    proptest! {
        /// It never gives up, never storms, and is happy only while the website lists us.
        #[test]
        fn whatever_happens_it_tells_again(
            steps in proptest::collection::vec((outcomes(), 0u64..100, 0.0..1.0), 1..60)
        ) {
            let mut announcer = announcer();
            let (mut now, mut ok) = (0, None);
            for (outcome, passed, jitter) in steps {
                now += passed;
                let verdict = announcer.settled(&outcome, at(now), jitter);
                prop_assert!(verdict.wait >= Duration::from_secs(1) && verdict.wait <= RETRY_CAP);
                if outcome == Outcome::Answered(Answer::Ok) {
                    ok = Some(now);
                }
                if verdict.mood == Mood::Happy {
                    prop_assert!(ok.is_some_and(|ok| now - ok < 60));
                }
                prop_assert!(!verdict.reason.is_empty());
            }
        }
    }
}
