//! What the machines say at the broker: heard by a task that never gives up, and kept by machine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::{
    config::Mqtt,
    names::DeviceName,
    payload::{Birth, ComponentState, Health, State},
    push::ConfigState,
    topics::{ROOT, Topic},
};
use rumqttc::{
    AsyncClient, Event, MqttOptions, Packet, PublishOptions, QoS, TlsConfiguration, Transport,
};
use tokio::task::JoinHandle;
use ulid::Ulid;

use super::trial::{Said, Worry};

/// The largest message that is taken: a preview, and some.
const MAX_PACKET: u32 = 64 * 1024;
/// Machines that are kept; whoever can write to the broker cannot fill our memory.
const MAX_MACHINES: usize = 4096;
/// Components of one machine that are kept.
const MAX_COMPONENTS: usize = 1024;
/// How long the broker may take to confirm a message.
const TAKEN: Duration = Duration::from_secs(30);
/// Between two tries to connect.
const RETRY: Duration = Duration::from_secs(2);

/// What all machines have said. Pure.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    said: BTreeMap<DeviceName, Said>,
    answers: BTreeMap<DeviceName, ConfigState>,
}

impl Fleet {
    /// What a machine has said.
    #[must_use]
    pub fn of(&self, machine: &DeviceName) -> Said {
        self.said.get(machine).cloned().unwrap_or_default()
    }

    /// What a machine made of what was last pushed to it over the broker.
    #[must_use]
    pub fn answer(&self, machine: &DeviceName) -> Option<ConfigState> {
        self.answers.get(machine).cloned()
    }

    /// Takes note of a message; what is not understood is passed over.
    pub fn hear(&mut self, topic: &str, payload: &[u8]) {
        let Ok((machine, topic)) = Topic::parse(topic) else { return };
        if !self.said.contains_key(&machine) && self.said.len() >= MAX_MACHINES {
            return;
        }
        if topic == Topic::ConfigState {
            match serde_json::from_slice::<ConfigState>(payload) {
                Ok(state) => self.answers.insert(machine.clone(), state),
                Err(_) => self.answers.remove(&machine),
            };
        }
        let said = self.said.entry(machine).or_default();
        match topic {
            Topic::State => {
                if let Ok(State { state, .. }) = serde_json::from_slice(payload) {
                    said.state = Some(state);
                }
            }
            Topic::Birth => {
                let Ok(birth) = serde_json::from_slice::<Birth>(payload) else { return };
                let born = (birth.started, birth.revision.map(|revision| revision.to_string()));
                if said.birth.as_ref().is_some_and(|known| *known != born) {
                    // A new life: what its components were like before says nothing of it.
                    said.worries.clear();
                    said.mood = None;
                }
                said.birth = Some(born);
                said.version = Some(birth.version);
            }
            Topic::Health => {
                if let Ok(Health { mood, .. }) = serde_json::from_slice(payload) {
                    said.mood = Some(mood);
                }
            }
            Topic::Component(name) => {
                let name = name.as_str().to_owned();
                let state = serde_json::from_slice::<ComponentState>(payload).ok();
                let worry = state.and_then(|state| {
                    let why: String = state.reason.chars().take(300).collect();
                    Worry::new(state.mood, why)
                });
                match worry {
                    Some(worry) if said.worries.len() < MAX_COMPONENTS => {
                        said.worries.insert(name, worry);
                    }
                    Some(_) => {}
                    None => {
                        said.worries.remove(&name);
                    }
                }
            }
            Topic::ConfigState
            | Topic::Event
            | Topic::Preview
            | Topic::Config
            | Topic::Command
            | Topic::CommandAck => {}
        }
    }
}

/// What is made of the messages that are heard.
pub trait Hears: Default + Send + 'static {
    /// What is wanted of every machine: filters below its own topic.
    const TOPICS: &'static [&'static str];

    /// Takes note of a message; what is not understood is passed over.
    fn hear(&mut self, topic: &str, payload: &[u8]);
}

impl Hears for Fleet {
    const TOPICS: &'static [&'static str] =
        &["state", "birth", "health", "component/#", "config/state"];

    fn hear(&mut self, topic: &str, payload: &[u8]) {
        Self::hear(self, topic, payload);
    }
}

/// What the listening task and we both have.
type Kept<T> = Arc<Mutex<T>>;

/// A listener at the broker.
#[derive(Debug)]
pub struct Watch<Heard = Fleet> {
    fleet: Kept<Heard>,
    trouble: Kept<Option<String>>,
    client: Kept<Option<AsyncClient>>,
    task: JoinHandle<()>,
}

impl<Heard> Drop for Watch<Heard> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<Heard: Hears> Watch<Heard> {
    /// Begins to listen.
    ///
    /// # Errors
    /// In words: the certificates are missing or damaged.
    pub fn start(broker: &Mqtt) -> Result<Self, String> {
        // Of its own: of two with one name the broker throws out the first.
        let id = format!("backrow-operator-{}", Ulid::generate());
        let mut options = MqttOptions::new(id, (broker.host().to_owned(), broker.port()));
        options.set_keep_alive(10);
        options.set_connect_timeout(Duration::from_secs(10));
        options.set_clean_start(true);
        options.set_max_packet_size(Some(MAX_PACKET));
        if broker.tls() {
            let config = Arc::new(telemetry::mqtt::tls(broker)?);
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        }
        let fleet = Arc::new(Mutex::new(Heard::default()));
        let (trouble, client) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let ours = (fleet.clone(), trouble.clone(), client.clone());
        let task = tokio::spawn(listen(options, broker.shown(), ours));
        Ok(Self { fleet, trouble, client, task })
    }

    /// Looks at what was heard so far.
    pub fn look<T>(&self, at: impl FnOnce(&Heard) -> T) -> T {
        at(&self.fleet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes, and waits until the broker has it.
    ///
    /// # Errors
    /// In words: there is no connection, or the broker does not take it.
    pub async fn publish(
        &self,
        topic: String,
        payload: Vec<u8>,
        retain: bool,
    ) -> Result<(), String> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let client = client.ok_or_else(|| {
            self.trouble().unwrap_or_else(|| "there is no connection to the broker".to_owned())
        })?;
        let no = |why: String| format!("the broker does not take {topic}: {why}");
        let options = PublishOptions::at_least_once().retain(retain);
        let notice = client
            .try_publish_tracked(topic.clone(), payload, options)
            .map_err(|error| no(error.to_string()))?;
        match tokio::time::timeout(TAKEN, notice.wait_completion_async()).await {
            Ok(done) => done.map_err(|error| no(error.to_string())),
            Err(_) => Err(no(format!("no answer within {} s", TAKEN.as_secs()))),
        }
    }

    /// Why nothing is heard, if there is no connection.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Watch {
    /// What a machine has said so far.
    #[must_use]
    pub fn said(&self, machine: &DeviceName) -> Said {
        self.look(|fleet| fleet.of(machine))
    }

    /// What a machine made of what was last pushed to it over the broker.
    #[must_use]
    pub fn answer(&self, machine: &DeviceName) -> Option<ConfigState> {
        self.look(|fleet| fleet.answer(machine))
    }
}

async fn listen<Heard: Hears>(
    options: MqttOptions,
    shown: String,
    (fleet, trouble, connected): (Kept<Heard>, Kept<Option<String>>, Kept<Option<AsyncClient>>),
) {
    let tell = |what: Option<String>| {
        *trouble.lock().unwrap_or_else(PoisonError::into_inner) = what;
    };
    // Its name is in no message but those about two devices with one name.
    let us = DeviceName::of_this_host();
    tell(Some(format!("connecting to {shown}")));
    loop {
        let (client, mut eventloop) = AsyncClient::builder(options.clone()).capacity(8).build();
        loop {
            match eventloop.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    for leaf in Heard::TOPICS {
                        let filter = format!("{ROOT}/+/{leaf}");
                        if let Err(error) = client.try_subscribe(filter, QoS::AtLeastOnce) {
                            tell(Some(format!("the broker at {shown} cannot be asked: {error}")));
                        }
                    }
                    tell(None);
                    *connected.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(client.clone());
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    if let Ok(topic) = std::str::from_utf8(&publish.topic) {
                        let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
                        fleet.hear(topic, &publish.payload);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    connected.lock().unwrap_or_else(PoisonError::into_inner).take();
                    tell(Some(telemetry::mqtt::explain(&error, &shown, &us).1));
                    break;
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::payload::Lifecycle;

    use super::*;

    fn birth(revision: &str, second: u32) -> String {
        format!(
            r#"{{"v":1,"device":"m","role":"collector","version":"1","started":"2026-01-01T00:00:{second:02}Z","rooms":[],"revision":"{revision}"}}"#
        )
    }

    #[test]
    fn a_new_birth_forgets_what_was_before() {
        let (mut fleet, m) = (Fleet::default(), "m".parse().unwrap());
        let component = |mood: &str| {
            format!(
                r#"{{"v":1,"mood":"{mood}","since":"2026-01-01T00:00:00Z","reason":"why","restarts":0}}"#
            )
        };
        // As the broker keeps them, in any order.
        fleet.hear("backrow/m/component/capture", component("sad").as_bytes());
        fleet.hear("backrow/m/birth", birth("1", 1).as_bytes());
        fleet.hear("backrow/m/state", br#"{"v":1,"state":"alert"}"#);
        assert_eq!(fleet.of(&m).worries["capture"].why, "why");
        assert_eq!(fleet.of(&m).revision(), Some("1"));
        assert_eq!(fleet.of(&m).state, Some(Lifecycle::Alert));
        fleet.hear("backrow/m/birth", birth("2", 2).as_bytes());
        assert!(fleet.of(&m).worries.is_empty());
        fleet.hear("backrow/m/component/capture", component("lost").as_bytes());
        fleet.hear("backrow/m/component/capture", component("happy").as_bytes());
        assert!(fleet.of(&m).worries.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_at_the_broker_is_heard_or_passed_over(
            leaf in "(state|birth|health|component/[a-z/]{0,9}|event|\\PC{0,9})",
            payload in proptest::collection::vec(any::<u8>(), 0..200), real in any::<bool>(),
        ) {
            let mut fleet = Fleet::default();
            let payload = if real { birth("3", 3).into_bytes() } else { payload };
            fleet.hear(&format!("backrow/m/{leaf}"), &payload);
            fleet.hear(&leaf, &payload);
        }
    }
}
