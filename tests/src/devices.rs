//! Devices that say what a test wants: the protocol's own payloads, over a connection like a real
//! one's, with its last will.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use protocol::command::{self, Ack, AckState, Command};
use protocol::mood::Mood;
use protocol::names::DeviceName;
use protocol::payload::{
    Birth, ComponentState, Event, EventKind, Health, Lifecycle, Role, State, VERSION,
};
use protocol::topics::{ComponentName, Topic};
use rumqttc::{AsyncClient, Event as Happened, LastWill, MqttOptions, Packet, PublishOptions, QoS};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::broker::Broker;

/// How long the broker may take to take a message.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two `health`: more often than a real device, for a busy machine.
const HEALTH: Duration = Duration::from_secs(2);

/// A connection to the broker.
#[derive(Debug)]
pub struct Voice {
    client: AsyncClient,
    task: JoinHandle<()>,
    orders: mpsc::UnboundedReceiver<Command>,
}

impl Voice {
    /// Connects; with a device, as that device, whose last will is `lost` and who hears its orders.
    ///
    /// # Panics
    /// When the broker does not let it in.
    pub async fn connect(broker: &Broker, device: Option<&DeviceName>) -> Self {
        let address = broker.address();
        let id = device.map_or_else(|| "crowd".to_owned(), |name| format!("backrow-{name}"));
        let mut options = MqttOptions::new(id, (address.ip().to_string(), address.port()));
        if let Some(device) = device {
            let lost = serde_json::to_vec(&State::new(Lifecycle::Lost)).unwrap();
            let topic = Topic::State.of(device);
            options.set_last_will(LastWill::new(topic, lost, QoS::AtLeastOnce, true, None));
        }
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(10).build();
        if let Some(device) = device {
            client.subscribe(Topic::Command.of(device), QoS::AtLeastOnce).await.unwrap();
        }
        let (order, orders) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok(event) = eventloop.poll().await {
                if let Happened::Incoming(Packet::Publish(publish)) = event
                    && let Ok(understood) = command::parse(&publish.payload)
                {
                    let _ = order.send(understood);
                }
            }
        });
        Self { client, task, orders }
    }

    /// Says something, and waits until the broker has it.
    ///
    /// # Panics
    /// When it does not take it.
    pub async fn raw(&self, topic: &str, payload: Vec<u8>, retain: bool) {
        let options = PublishOptions::at_least_once().retain(retain);
        let said = self.client.publish_tracked(topic, payload, options).await.unwrap();
        let taken = timeout(PATIENCE, said.wait_completion_async()).await;
        taken.expect("the broker takes it in time").expect("the broker takes it");
    }

    /// Says a number that is out of date soon: once, and lost if the connection is going.
    pub async fn gauge(&self, topic: String, payload: Vec<u8>) {
        let _ = self.client.publish(topic, payload, PublishOptions::at_most_once()).await;
    }

    /// Waits for the next order.
    ///
    /// # Panics
    /// When none comes.
    pub async fn order(&mut self) -> Command {
        timeout(PATIENCE, self.orders.recv()).await.expect("an order").unwrap()
    }

    /// Whether no order waits to be taken.
    pub fn is_unasked(&self) -> bool {
        self.orders.is_empty()
    }

    async fn say(&self, device: &DeviceName, topic: &Topic, payload: &impl Serialize) {
        let bytes = serde_json::to_vec(payload).unwrap();
        self.raw(&topic.of(device), bytes, topic.retained()).await;
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        // The connection breaks off without a farewell: the broker speaks the last will.
        self.task.abort();
    }
}

/// A device of a script.
#[derive(Debug)]
pub struct Device {
    /// Its name.
    pub name: DeviceName,
    role: Role,
    rooms: Vec<String>,
    numbers: Arc<Mutex<BTreeMap<String, Value>>>,
    seq: u64,
}

impl Device {
    /// A collector in one room, or an encoder of several. It says nothing yet.
    ///
    /// # Panics
    /// When that is no name.
    pub fn new(name: &str, role: Role, rooms: &[&str]) -> Self {
        let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
        Self { name: name.parse().unwrap(), role, rooms, numbers: Arc::default(), seq: 0 }
    }

    /// Sets one of its own numbers in `health`.
    ///
    /// # Panics
    /// Never.
    pub fn number(&self, name: &str, value: Value) {
        self.numbers.lock().unwrap().insert(name.to_owned(), value);
    }

    /// How loud it is, dB; silent since a while when that is not at all.
    pub fn level(&self, peak_db: f64, silent_for: Option<u64>) {
        let channel = json!({ "peak_db": peak_db, "rms_db": peak_db - 9.0 });
        let since = ago(silent_for.unwrap_or(0));
        let off = json!({ "on": false, "since": since });
        let silent = json!({ "on": silent_for.is_some(), "since": since });
        let capture = json!({
            "frames_in": 1, "frames_out": 1, "frames_dropped": 0, "frames_duplicated": 0,
            "audio": [channel, channel], "black": off, "frozen": off, "silent": silent,
            "av_offset_ms": 0,
        });
        self.number("capture", capture);
    }

    /// Says who it is and that it is ready.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn is_born(&self, voice: &Voice) {
        let birth = Birth {
            v: VERSION,
            device: self.name.clone(),
            role: self.role,
            version: "1.2.3".to_owned(),
            started: ago(7200),
            rooms: self.rooms.iter().map(|room| room.parse().unwrap()).collect(),
            revision: None,
        };
        voice.say(&self.name, &Topic::State, &State::new(Lifecycle::Init)).await;
        voice.say(&self.name, &Topic::Birth, &birth).await;
        voice.say(&self.name, &Topic::State, &State::new(Lifecycle::Ready)).await;
        voice.say(&self.name, &Topic::Health, &self.health()).await;
    }

    /// Says how a component is, for so many seconds already.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn component(
        &self,
        voice: &Voice,
        name: &str,
        mood: Mood,
        reason: &str,
        seconds: u64,
    ) {
        let state = ComponentState {
            v: VERSION,
            mood,
            since: ago(seconds),
            reason: reason.to_owned(),
            restarts: 0,
        };
        let topic = Topic::Component(ComponentName::made_safe(name));
        voice.say(&self.name, &topic, &state).await;
    }

    /// Says that something happened.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn event(&mut self, voice: &Voice, kind: EventKind, component: &str, message: &str) {
        self.seq += 1;
        let (component, message) = (component.to_owned(), message.to_owned());
        let event =
            Event { v: VERSION, seq: self.seq, at: Timestamp::now(), kind, component, message };
        voice.say(&self.name, &Topic::Event, &event).await;
    }

    /// Shows a picture.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn preview(&self, voice: &Voice, jpeg: &[u8]) {
        voice.raw(&Topic::Preview.of(&self.name), jpeg.to_vec(), false).await;
    }

    /// Answers an order as a box does.
    ///
    /// # Panics
    /// When none comes, or the broker does not take the answer.
    pub async fn obeys(&self, voice: &mut Voice) -> Command {
        let order = voice.order().await;
        self.answers(voice, &order, AckState::Done, "the lights blink for 30 s").await;
        order
    }

    /// Says how it goes with an order.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn answers(&self, voice: &Voice, order: &Command, state: AckState, words: &str) {
        let ack = Ack::new(Some(order.id), state, words);
        voice.say(&self.name, &Topic::CommandAck, &ack).await;
    }

    /// Its numbers as they are now.
    ///
    /// # Panics
    /// Never.
    pub fn health(&self) -> Health {
        Health {
            v: VERSION,
            at: Timestamp::now(),
            mood: Mood::Happy,
            uptime_s: 7200,
            load: Some(0.7),
            memory_bytes: Some(81_000_000),
            temperature_c: Some(57.0),
            events_dropped: 0,
            more: self.numbers.lock().unwrap().clone().into_iter().collect(),
        }
    }
}

/// Says the health of all devices, over and over, until it is dropped.
#[derive(Debug)]
pub struct Pulse(JoinHandle<()>);

impl Pulse {
    /// Begins; the devices' numbers may change meanwhile.
    pub fn of(voice: &Voice, devices: &[&Device]) -> Self {
        let client = voice.client.clone();
        let devices: Vec<Device> = devices.iter().map(|device| device.shadow()).collect();
        Self(tokio::spawn(async move {
            loop {
                for device in &devices {
                    let health = serde_json::to_vec(&device.health()).unwrap();
                    let topic = Topic::Health.of(&device.name);
                    // The connection may be going; that is what the test is about, then.
                    let _ = client.publish(topic, health, PublishOptions::at_most_once()).await;
                }
                tokio::time::sleep(HEALTH).await;
            }
        }))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Device {
    /// The same device, with the same numbers.
    fn shadow(&self) -> Self {
        let (name, rooms, numbers) = (self.name.clone(), self.rooms.clone(), self.numbers.clone());
        Self { name, role: self.role, rooms, numbers, seq: 0 }
    }
}

fn ago(seconds: u64) -> Timestamp {
    Timestamp::now() - Duration::from_secs(seconds)
}
