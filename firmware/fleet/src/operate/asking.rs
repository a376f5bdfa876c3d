//! One order to one box, from the first asking to its ending. Pure: it is told the time and what was
//! heard, and says what to do next.

use std::time::Duration;

use protocol::command::{Ack, AckState};

use super::status::line;

/// An order that was not answered is sent again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// And one that is under way after this: its last answer may have been lost on our side.
const UNDER_WAY: Duration = Duration::from_secs(30);

/// How it ended for a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It did it; what it said.
    Done(String),
    /// It will not; why.
    Refused(String),
    /// It tried, and it did not work out; of an update: it fell back.
    Failed(String),
    /// It is not at the broker.
    Away(String),
    /// It did not answer, or not finally.
    NoAnswer(String),
    /// It was not asked, because another did not do well.
    Held,
}

impl Ending {
    /// Two words, and what was said.
    #[must_use]
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Done(what) => ("done", what),
            Self::Refused(why) => ("refused", why),
            Self::Failed(why) => ("failed", why),
            Self::Away(why) => ("away", why),
            Self::NoAnswer(why) => ("no answer", why),
            Self::Held => ("held", "another did not do well"),
        }
    }

    /// Whether the others may go on. A box that refuses an update goes on with what it has, and so
    /// does one that is switched off; one that fell back is a warning.
    #[must_use]
    pub fn lets_others_follow(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::NoAnswer(_) | Self::Held)
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until a box has taken the order; then it expires.
    pub taken: Duration,
    /// Until it has done it.
    pub done: Duration,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the order, with the id that it always had.
    Send,
    /// Tell how it goes.
    Tell(String),
    /// Look again soon.
    Wait,
    /// Nothing more.
    End(Ending),
}

/// Asks, and asks again, until the final answer.
#[derive(Debug)]
pub struct Asking {
    limits: Limits,
    sent: Option<Duration>,
    said: Option<Ack>,
}

impl Asking {
    /// An order that may take so long.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, sent: None, said: None }
    }

    /// So long after the beginning, with the box's last answer and what is wrong with the broker.
    pub fn step(&mut self, past: Duration, ack: Option<&Ack>, trouble: Option<&str>) -> Step {
        if let Some(ack) = ack
            && self.said.as_ref() != Some(ack)
        {
            let message = line(&ack.message);
            self.said = Some(ack.clone());
            return match ack.state {
                AckState::Done => Step::End(Ending::Done(message)),
                AckState::Refused => Step::End(Ending::Refused(message)),
                AckState::Failed => Step::End(Ending::Failed(message)),
                AckState::Accepted => Step::Tell(message),
            };
        }
        let again = match &self.said {
            None if past >= self.limits.taken => {
                return Step::End(Ending::NoAnswer(silence(past, trouble)));
            }
            Some(ack) if past >= self.limits.done => {
                let last = line(&ack.message);
                let why = format!("after {} s it is still so: {last}", past.as_secs());
                return Step::End(Ending::NoAnswer(why));
            }
            None => AGAIN,
            Some(_) => UNDER_WAY,
        };
        if self.sent.is_none_or(|at| past.saturating_sub(at) >= again) {
            self.sent = Some(past);
            return Step::Send;
        }
        Step::Wait
    }
}

fn silence(past: Duration, trouble: Option<&str>) -> String {
    match trouble {
        Some(trouble) => line(trouble),
        None => format!(
            "nothing within {} s; may you give it orders (the broker's ACL)?",
            past.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ulid::Ulid;

    use super::*;

    const LIMITS: Limits = Limits { taken: Duration::from_secs(20), done: Duration::from_secs(90) };

    fn ack(state: AckState, message: &str) -> Ack {
        Ack::new(Some(Ulid::from_parts(1, 1)), state, message)
    }

    /// What comes of it second by second, with the box's answer at each, until it ends.
    fn ask(limits: Limits, heard: impl Fn(u64) -> Option<Ack>) -> Vec<(u64, Step)> {
        let (mut asking, mut steps) = (Asking::new(limits), Vec::new());
        for second in 0..=limits.done.as_secs() {
            match asking.step(Duration::from_secs(second), heard(second).as_ref(), None) {
                Step::Wait => {}
                step => steps.push((second, step)),
            }
            if matches!(steps.last(), Some((_, Step::End(_)))) {
                break;
            }
        }
        steps
    }

    #[test]
    fn an_order_is_sent_again_until_it_is_answered() {
        let steps = ask(LIMITS, |second| (second >= 7).then(|| ack(AckState::Done, "anew")));
        let done = Step::End(Ending::Done("anew".to_owned()));
        assert_eq!(steps, [(0, Step::Send), (5, Step::Send), (7, done)]);
    }

    #[test]
    fn a_lost_last_answer_is_asked_for() {
        let heard = |second| {
            let under_way = ack(AckState::Accepted, "installing");
            let done = ack(AckState::Done, "runs 1.3.0");
            Some(if second < 61 { under_way } else { done })
        };
        let steps = ask(LIMITS, heard);
        let told = Step::Tell("installing".to_owned());
        let done = Step::End(Ending::Done("runs 1.3.0".to_owned()));
        // The box answers what it is asked a second time; the fake clock's second 61.
        assert_eq!(steps, [(0, told), (1, Step::Send), (31, Step::Send), (61, done)]);
    }

    #[test]
    fn who_says_nothing_is_given_up_and_so_is_who_never_ends() {
        let steps = ask(LIMITS, |_| None);
        let Some((20, Step::End(Ending::NoAnswer(why)))) = steps.last() else {
            panic!("{steps:?}");
        };
        assert!(why.contains("ACL"), "{why}");
        let steps = ask(LIMITS, |_| Some(ack(AckState::Accepted, "installing")));
        let Some((90, Step::End(Ending::NoAnswer(why)))) = steps.last() else {
            panic!("{steps:?}");
        };
        assert_eq!(why, "after 90 s it is still so: installing");
        let mut asking = Asking::new(LIMITS);
        let end = asking.step(LIMITS.taken, None, Some("the broker is away"));
        assert_eq!(end, Step::End(Ending::NoAnswer("the broker is away".to_owned())));
    }

    #[test]
    fn a_box_that_fell_back_holds_the_others_and_one_that_refuses_does_not() {
        let failed = ask(LIMITS, |_| Some(ack(AckState::Failed, "1.3.0 did not become healthy")));
        let [(0, Step::End(ending))] = failed.as_slice() else { panic!("{failed:?}") };
        assert!(!ending.lets_others_follow());
        let refused = ask(LIMITS, |_| Some(ack(AckState::Refused, "it is older")));
        let [(0, Step::End(ending))] = refused.as_slice() else { panic!("{refused:?}") };
        assert!(ending.lets_others_follow());
    }

    proptest! {
        /// Whatever a box answers and when, it comes to an end, and is not asked all the time.
        #[test]
        fn it_ends_and_is_not_sent_too_often(
            taken in 0_u64..40, more in 0_u64..200,
            answers in proptest::collection::btree_map(0_u64..240, (0_u8..4, 0_u8..2), 0..6),
        ) {
            let done = taken.saturating_add(more);
            let limits =
                Limits { taken: Duration::from_secs(taken), done: Duration::from_secs(done) };
            let steps = ask(limits, |second| {
                let (_, (state, text)) = answers.range(..=second).next_back()?;
                let state = match state {
                    0 => AckState::Done,
                    1 => AckState::Refused,
                    2 => AckState::Failed,
                    _ => AckState::Accepted,
                };
                Some(ack(state, if *text == 0 { "one" } else { "two" }))
            });
            // An answer in the very last second is told first.
            let ended = matches!(steps.last(), Some((_, Step::End(_))));
            let told = matches!(steps.last(), Some((at, Step::Tell(_))) if *at == done);
            prop_assert!(ended || told, "{:?}", steps);
            let sent: Vec<u64> =
                steps.iter().filter(|(_, it)| *it == Step::Send).map(|(at, _)| *at).collect();
            prop_assert!(sent.windows(2).all(|two| two[1] - two[0] >= AGAIN.as_secs()));
        }
    }
}
