//! Orders to boxes over MQTT.
//!
//! An order has an id and an end. It is sent again until the box answers, always with the same id: a
//! box does once what an id asks, and answers the same again. After its end a box refuses it, so that
//! none comes true in the middle of the next talk.

use std::{sync::Arc, time::Duration};

use protocol::{
    command::{Ack, AckState, Command, Order},
    names::DeviceName,
    topics::Topic,
};
use tokio::{sync::mpsc, task::JoinSet};
use ulid::Ulid;
use watchdog::clock::SharedClock;

use super::{heard::Heard, status::line};
use crate::push::{order::Order as Turns, watch::Watch};

/// How often is looked for an answer.
const LOOK: Duration = Duration::from_millis(100);
/// An order that was not answered is sent again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// And one that is under way after this.
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

/// Asks, and asks again, until the final answer.
#[derive(Debug)]
pub struct Conversation {
    /// The broker.
    pub watch: Arc<Watch<Heard>>,
    /// The time.
    pub clock: SharedClock,
    /// How long it may take.
    pub limits: Limits,
    /// What happens meanwhile.
    pub news: mpsc::UnboundedSender<(DeviceName, String)>,
}

impl Conversation {
    /// Has a box carry out an order.
    pub async fn order(&self, name: &DeviceName, order: Order) -> Ending {
        if !self.watch.look(|heard| heard.machine(name).is_some_and(|it| it.is_there())) {
            return Ending::Away("it is not at the broker".to_owned());
        }
        let id = Ulid::generate();
        let now = self.clock.utc();
        let Ok(expires) = now.checked_add(self.limits.taken) else {
            return Ending::NoAnswer("the clock is beyond all times".to_owned());
        };
        let payload = Command { id, expires: Some(expires), order }.to_json().into_bytes();
        let topic = Topic::Command.of(name);
        let begun = self.clock.monotonic();
        let (mut sent, mut said): (Option<Duration>, Option<Ack>) = (None, None);
        loop {
            let past = self.clock.monotonic().saturating_sub(begun);
            let key = id.to_string();
            let ack = self.watch.look(|heard| heard.machine(name)?.answers.get(&key).cloned());
            if let Some(ack) = ack
                && said.as_ref() != Some(&ack)
            {
                let message = line(&ack.message);
                match ack.state {
                    AckState::Done => return Ending::Done(message),
                    AckState::Refused => return Ending::Refused(message),
                    AckState::Failed => return Ending::Failed(message),
                    AckState::Accepted => {
                        let _ = self.news.send((name.clone(), message));
                    }
                }
                said = Some(ack);
            }
            match &said {
                None if past >= self.limits.taken => {
                    return Ending::NoAnswer(self.silence(past));
                }
                Some(ack) if past >= self.limits.done => {
                    let last = line(&ack.message);
                    let why = format!("after {} s it is still so: {last}", past.as_secs());
                    return Ending::NoAnswer(why);
                }
                _ => {}
            }
            // Also when it is under way: its last answer may have been lost on our side.
            let again = if said.is_none() { AGAIN } else { UNDER_WAY };
            if sent.is_none_or(|at| past.saturating_sub(at) >= again) {
                sent = Some(past);
                // What fails now is tried again; why is told at the end.
                let _ = self.watch.publish(topic.clone(), payload.clone(), false).await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn silence(&self, past: Duration) -> String {
        match self.watch.trouble() {
            Some(trouble) => line(&trouble),
            None => format!(
                "nothing within {} s; may you give it orders (the broker's ACL)?",
                past.as_secs()
            ),
        }
    }
}

/// The same order to all of them: one by one until so many canaries have done it, then so many at once.
/// A box that is away or refuses proves nothing, and the next one is the canary. Once anybody falls back
/// or does not answer, nobody begins any more.
pub async fn order_all(
    conversation: Arc<Conversation>,
    names: Vec<DeviceName>,
    order: Order,
    (canaries, at_once): (usize, usize),
) -> Vec<(DeviceName, Ending)> {
    let (mut endings, mut proved, mut stopped) = (Vec::new(), 0, false);
    let mut names = names.into_iter();
    while proved < canaries && !stopped {
        let Some(name) = names.next() else { break };
        let ending = conversation.order(&name, order.clone()).await;
        proved += usize::from(matches!(ending, Ending::Done(_)));
        stopped = !ending.lets_others_follow();
        endings.push((name, ending));
    }
    if stopped {
        endings.extend(names.map(|name| (name, Ending::Held)));
        return endings;
    }
    let names: Vec<_> = names.collect();
    let mut turns = Turns::new(names.len(), 0, at_once).strict();
    let mut tasks = JoinSet::new();
    while !turns.is_over() {
        while let Some(next) = turns.begin() {
            let Some(name) = names.get(next).cloned() else { continue };
            let (conversation, order) = (conversation.clone(), order.clone());
            tasks.spawn(async move {
                let ending = conversation.order(&name, order).await;
                (next, name, ending)
            });
        }
        let Some(Ok((next, name, ending))) = tasks.join_next().await else { break };
        turns.ended(next, ending.lets_others_follow());
        endings.push((name, ending));
    }
    let held = turns.held().into_iter().filter_map(|next| names.get(next).cloned());
    endings.extend(held.map(|name| (name, Ending::Held)));
    endings
}
