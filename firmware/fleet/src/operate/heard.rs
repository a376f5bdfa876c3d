//! What all machines have said at the broker. Pure.

use std::collections::BTreeMap;

use protocol::{
    command::Ack,
    names::DeviceName,
    payload::{Birth, ComponentState, Health, Lifecycle, State},
    topics::Topic,
};

use crate::push::watch::Hears;

/// Machines that are kept; whoever can write to the broker cannot fill our memory.
const MAX_MACHINES: usize = 4096;
/// Components, and answers, of one machine that are kept.
const MAX_PARTS: usize = 1024;

/// What one machine has said.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Where in its life it is.
    pub state: Option<Lifecycle>,
    /// What it is.
    pub birth: Option<Birth>,
    /// Its numbers, the last that were heard.
    pub health: Option<Health>,
    /// Its components by name.
    pub components: BTreeMap<String, ComponentState>,
    /// Its answers to commands, by the command's id: the last of each.
    pub answers: BTreeMap<String, Ack>,
}

impl Machine {
    /// Whether it is at the broker.
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self.state, Some(Lifecycle::Init | Lifecycle::Ready | Lifecycle::Alert))
    }
}

/// What all have said.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    machines: BTreeMap<DeviceName, Machine>,
}

impl Heard {
    /// A machine, if it ever said something.
    #[must_use]
    pub fn machine(&self, name: &DeviceName) -> Option<&Machine> {
        self.machines.get(name)
    }

    /// All that ever said something.
    pub fn machines(&self) -> impl Iterator<Item = (&DeviceName, &Machine)> {
        self.machines.iter()
    }
}

impl Hears for Heard {
    const TOPICS: &'static [&'static str] =
        &["state", "birth", "health", "component/#", "command/ack"];

    fn hear(&mut self, topic: &str, payload: &[u8]) {
        let Ok((name, topic)) = Topic::parse(topic) else { return };
        if !self.machines.contains_key(&name) && self.machines.len() >= MAX_MACHINES {
            return;
        }
        match topic {
            Topic::State => {
                let Ok(State { state, .. }) = serde_json::from_slice(payload) else { return };
                self.machines.entry(name).or_default().state = Some(state);
            }
            Topic::Birth => {
                let Ok(birth) = serde_json::from_slice::<Birth>(payload) else { return };
                self.machines.entry(name).or_default().birth = Some(birth);
            }
            Topic::Health => {
                let Ok(health) = serde_json::from_slice(payload) else { return };
                self.machines.entry(name).or_default().health = Some(health);
            }
            Topic::Component(component) => {
                let component = component.as_str();
                let Ok(state) = serde_json::from_slice(payload) else {
                    // Taken back by an empty message, or not understood.
                    if let Some(machine) = self.machines.get_mut(&name) {
                        machine.components.remove(component);
                    }
                    return;
                };
                let machine = self.machines.entry(name).or_default();
                let known = machine.components.contains_key(component);
                if known || machine.components.len() < MAX_PARTS {
                    machine.components.insert(component.to_owned(), state);
                }
            }
            Topic::CommandAck => {
                let Ok(ack) = serde_json::from_slice::<Ack>(payload) else { return };
                let machine = self.machines.entry(name).or_default();
                if machine.answers.contains_key(&ack.id) || machine.answers.len() < MAX_PARTS {
                    machine.answers.insert(ack.id.clone(), ack);
                }
            }
            Topic::ConfigState | Topic::Event | Topic::Preview | Topic::Config | Topic::Command => {
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::mood::Mood;

    use super::*;

    #[test]
    fn a_component_that_is_taken_back_is_gone() {
        let (mut heard, box_1) = (Heard::default(), "box-1".parse().unwrap());
        let sad =
            r#"{"v":1,"mood":"sad","since":"2026-01-01T00:00:00Z","reason":"why","restarts":0}"#;
        heard.hear("backrow/box-1/component/slate", sad.as_bytes());
        assert_eq!(heard.machine(&box_1).unwrap().components["slate"].mood, Mood::Sad);
        heard.hear("backrow/box-1/component/slate", b"");
        assert!(heard.machine(&box_1).unwrap().components.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_at_the_broker_is_heard_or_passed_over(
            leaf in "(state|birth|health|component/[a-z/]{0,9}|command/ack|event|\\PC{0,9})",
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut heard = Heard::default();
            heard.hear(&format!("backrow/m/{leaf}"), &payload);
            heard.hear(&leaf, &payload);
            prop_assert!(heard.machines().all(|(_, it)| it.components.is_empty()));
        }
    }
}
