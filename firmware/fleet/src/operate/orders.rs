//! Orders to boxes over MQTT.
//!
//! An order has an id and an end. It is sent again until the box answers, always with the same id: a
//! box does once what an id asks, and answers the same again. After its end a box refuses it, so that
//! none comes true in the middle of the next talk.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::{
    command::{Command, Order},
    names::DeviceName,
    topics::Topic,
};
use tokio::{sync::mpsc, task::JoinSet};
use ulid::Ulid;
use watchdog::clock::SharedClock;

use super::{
    asking::{Asking, Ending, Limits, Step},
    heard::Heard,
};
use crate::push::{order::Order as Turns, watch::Watch};

/// How often is looked for an answer.
const LOOK: Duration = Duration::from_millis(100);

/// A box says its time this often, at least; so it may be later there by now.
const OLD: Duration = Duration::from_secs(10);
/// What two clocks may differ while a box has not said its time.
const APART: Duration = Duration::from_secs(120);

/// When an order ends that a box must have taken within `taken`: by the clock of the box, which may be
/// another than ours.
fn end(ours: Timestamp, theirs: Option<Timestamp>, taken: Duration) -> Option<Timestamp> {
    let (now, more) = theirs.map_or((ours, APART), |theirs| (theirs, OLD));
    now.checked_add(more).ok()?.checked_add(taken).ok()
}

/// Carries the orders to the boxes, and brings what they answer.
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
        let theirs = self.watch.look(|heard| Some(heard.machine(name)?.health.as_ref()?.at));
        let Some(expires) = end(self.clock.utc(), theirs, self.limits.taken) else {
            return Ending::NoAnswer("the clock is beyond all times".to_owned());
        };
        let payload = Command { id, expires: Some(expires), order }.to_json().into_bytes();
        let (topic, key) = (Topic::Command.of(name), id.to_string());
        let begun = self.clock.monotonic();
        let mut asking = Asking::new(self.limits);
        loop {
            let past = self.clock.monotonic().saturating_sub(begun);
            let ack = self.watch.look(|heard| heard.machine(name)?.answers.get(&key).cloned());
            match asking.step(past, ack.as_ref(), self.watch.trouble().as_deref()) {
                // What fails now is tried again; why is told at the end.
                Step::Send => {
                    let _ = self.watch.publish(topic.clone(), payload.clone(), false).await;
                }
                Step::Tell(message) => {
                    let _ = self.news.send((name.clone(), message));
                }
                Step::Wait => tokio::time::sleep(LOOK).await,
                Step::End(ending) => return ending,
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_ends_by_the_clock_of_its_box() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let ours = at("2026-05-01T10:00:00Z");
        let taken = Duration::from_secs(20);
        for (theirs, ends) in [
            (Some("2026-05-01T10:07:00Z"), "2026-05-01T10:07:30Z"),
            (Some("1970-01-01T00:01:00Z"), "1970-01-01T00:01:30Z"),
            (None, "2026-05-01T10:02:20Z"),
        ] {
            assert_eq!(end(ours, theirs.map(at), taken), Some(at(ends)));
        }
        assert_eq!(end(Timestamp::MAX, None, taken), None);
    }
}
