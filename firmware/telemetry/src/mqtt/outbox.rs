//! What is still to be told. Pure and bounded: a gauge keeps only its newest value, events keep
//! their order, and when there are too many the oldest is dropped and counted.

use std::collections::BTreeMap;

use bytes::Bytes;
use heapless::Deque;
use protocol::{
    command::Ack,
    names::DeviceName,
    payload::{Birth, ComponentState, Event, Health, Lifecycle, State},
    push::ConfigState,
    topics::{ComponentName, Topic},
};

use super::homeassistant::Discovery;

/// Events kept while the broker is away.
pub(super) const MAX_EVENTS: usize = 256;

/// Answers to commands kept while the broker is away.
pub(super) const MAX_ANSWERS: usize = 32;

/// Home Assistant is given up after so many connections that ended over it.
const FATAL: u32 = 2;

/// One thing to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    State(Lifecycle),
    Birth,
    /// What Home Assistant is told.
    Discovery,
    Component(ComponentName, ComponentState),
    /// A component that is no more: its retained message is removed.
    Gone(ComponentName),
    Config(ConfigState),
    Answer(Ack),
    Event(Event),
    Health(Health),
    Preview(Bytes),
}

/// An item as the broker gets it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) retain: bool,
    /// QoS 1: told until the broker has it. Else QoS 0.
    pub(super) surely: bool,
}

/// All that is to be told.
#[derive(Debug)]
pub(super) struct Outbox {
    device: DeviceName,
    /// `None` for a companion: the device's own daemon tells state, birth and health.
    birth: Option<Birth>,
    birth_told: bool,
    discovery: Option<Discovery>,
    discovery_told: bool,
    /// Connections in a row that ended while it was being told.
    discovery_fatal: u32,
    /// What the broker knows, and what it should.
    state_told: Option<Lifecycle>,
    state: Lifecycle,
    /// Each component's state, `None` when it is no more, and whether the broker knows it.
    components: BTreeMap<ComponentName, (Option<ComponentState>, bool)>,
    /// What became of the last revision, and whether the broker knows it.
    config: Option<(ConfigState, bool)>,
    health: Option<Health>,
    preview: Option<Bytes>,
    answers: Deque<Ack, MAX_ANSWERS>,
    events: Deque<Event, MAX_EVENTS>,
    dropped: u64,
}

impl Outbox {
    pub(super) fn new(
        device: DeviceName,
        birth: Option<Birth>,
        discovery: Option<Discovery>,
    ) -> Self {
        Self {
            device,
            birth,
            birth_told: false,
            discovery,
            discovery_told: false,
            discovery_fatal: 0,
            state_told: None,
            state: Lifecycle::Ready,
            components: BTreeMap::new(),
            config: None,
            health: None,
            preview: None,
            answers: Deque::new(),
            events: Deque::new(),
            dropped: 0,
        }
    }

    pub(super) fn device(&self) -> &DeviceName {
        &self.device
    }

    /// A new connection: the broker is taken to know nothing.
    pub(super) fn connected(&mut self) {
        self.birth_told = false;
        self.discovery_told = false;
        self.state_told = None;
        for (_, told) in self.components.values_mut() {
            *told = false;
        }
        if let Some((_, told)) = &mut self.config {
            *told = false;
        }
    }

    /// The state to be in once everything else is told.
    pub(super) fn set_state(&mut self, state: Lifecycle) {
        self.state = state;
    }

    /// All components as they are now.
    pub(super) fn set_components(&mut self, now: BTreeMap<ComponentName, ComponentState>) {
        for (name, known) in &mut self.components {
            if !now.contains_key(name) && known.0.is_some() {
                *known = (None, false);
            }
        }
        for (name, state) in now {
            let known = self.components.get(&name);
            if known.is_none_or(|(old, _)| old.as_ref() != Some(&state)) {
                self.components.insert(name, (Some(state), false));
            }
        }
    }

    pub(super) fn set_health(&mut self, health: Health) {
        if self.birth.is_some() {
            self.health = Some(health);
        }
    }

    pub(super) fn set_config(&mut self, state: ConfigState) {
        if self.config.as_ref().is_none_or(|(old, _)| *old != state) {
            self.config = Some((state, false));
        }
    }

    pub(super) fn set_preview(&mut self, jpeg: Bytes) {
        self.preview = Some(jpeg);
    }

    /// Adds an event; the oldest goes when there is no room.
    pub(super) fn push_event(&mut self, event: Event) {
        if self.events.is_full() {
            self.events.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        let _ = self.events.push_back(event);
    }

    /// Adds an answer; the oldest goes when there is no room.
    pub(super) fn push_answer(&mut self, answer: Ack) {
        if self.answers.is_full() {
            self.answers.pop_front();
        }
        let _ = self.answers.push_back(answer);
    }

    /// Events that were lost before they came here.
    pub(super) fn missed_events(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(count);
    }

    /// Events lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What to tell next, if anything: who we are, then how all is, then what happened, then
    /// numbers. The same until [`Outbox::told`].
    pub(super) fn next(&self) -> Option<Item> {
        let tells_state = self.birth.is_some();
        if tells_state && self.state_told.is_none() {
            return Some(Item::State(Lifecycle::Init));
        }
        if tells_state && !self.birth_told {
            return Some(Item::Birth);
        }
        if self.discovery.is_some() && !self.discovery_told && self.discovery_fatal < FATAL {
            return Some(Item::Discovery);
        }
        if let Some((name, (state, _))) = self.components.iter().find(|(_, (_, told))| !told) {
            return Some(match state {
                Some(state) => Item::Component(name.clone(), state.clone()),
                None => Item::Gone(name.clone()),
            });
        }
        if tells_state && self.state_told != Some(self.state) {
            return Some(Item::State(self.state));
        }
        if let Some((config, false)) = &self.config {
            return Some(Item::Config(config.clone()));
        }
        if let Some(answer) = self.answers.front() {
            return Some(Item::Answer(answer.clone()));
        }
        if let Some(event) = self.events.front() {
            return Some(Item::Event(event.clone()));
        }
        if let Some(health) = &self.health {
            return Some(Item::Health(health.clone()));
        }
        self.preview.clone().map(Item::Preview)
    }

    /// An item got there. What replaced it meanwhile is still to be told.
    pub(super) fn told(&mut self, item: &Item) {
        match item {
            Item::State(state) => self.state_told = Some(*state),
            Item::Birth => self.birth_told = true,
            Item::Discovery => {
                self.discovery_told = true;
                self.discovery_fatal = 0;
            }
            Item::Component(name, state) => {
                if let Some((now, told)) = self.components.get_mut(name) {
                    *told = now.as_ref() == Some(state);
                }
            }
            Item::Gone(name) => {
                if self.components.get(name).is_some_and(|(now, _)| now.is_none()) {
                    self.components.remove(name);
                }
            }
            Item::Config(config) => {
                if let Some((now, told)) = &mut self.config {
                    *told = now == config;
                }
            }
            Item::Answer(answer) => {
                if self.answers.front() == Some(answer) {
                    self.answers.pop_front();
                }
            }
            Item::Event(event) => {
                if self.events.front().is_some_and(|front| front.seq == event.seq) {
                    self.events.pop_front();
                }
            }
            Item::Health(health) => {
                if self.health.as_ref() == Some(health) {
                    self.health = None;
                }
            }
            Item::Preview(jpeg) => {
                if self.preview.as_ref() == Some(jpeg) {
                    self.preview = None;
                }
            }
        }
    }

    /// The connection ended while this was being told. Some brokers end it for what they do not
    /// allow, and Home Assistant is not worth the connection.
    pub(super) fn cut_off(&mut self, item: &Item) {
        if *item == Item::Discovery {
            self.discovery_fatal = self.discovery_fatal.saturating_add(1);
        }
    }

    /// Forgets what is of no use to say while leaving.
    pub(super) fn leaving(&mut self) {
        self.health = None;
        self.preview = None;
    }

    /// The item as the broker gets it.
    pub(super) fn message(&self, item: &Item) -> Message {
        let json =
            |value: Result<Vec<u8>, serde_json::Error>| Bytes::from(value.unwrap_or_default());
        let (topic, payload, surely) = match item {
            Item::Discovery => {
                let found = self.discovery.clone();
                let (topic, payload) = found.map(|it| (it.topic, it.payload)).unwrap_or_default();
                return Message { topic, payload, retain: true, surely: true };
            }
            Item::State(state) => (Topic::State, state_json(*state), true),
            Item::Birth => (Topic::Birth, json(serde_json::to_vec(&self.birth)), true),
            Item::Component(name, state) => {
                (Topic::Component(name.clone()), json(serde_json::to_vec(state)), true)
            }
            Item::Gone(name) => (Topic::Component(name.clone()), Bytes::new(), true),
            Item::Config(config) => (Topic::ConfigState, json(serde_json::to_vec(config)), true),
            Item::Answer(answer) => (Topic::CommandAck, json(serde_json::to_vec(answer)), true),
            Item::Event(event) => (Topic::Event, json(serde_json::to_vec(event)), true),
            Item::Health(health) => (Topic::Health, json(serde_json::to_vec(health)), false),
            Item::Preview(jpeg) => (Topic::Preview, jpeg.clone(), false),
        };
        Message { topic: topic.of(self.device()), payload, retain: topic.retained(), surely }
    }
}

/// A state's payload.
pub(super) fn state_json(state: Lifecycle) -> Bytes {
    serde_json::to_vec(&State::new(state)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
