//! MQTT payloads: JSON objects with a version field `v`. Times are RFC 3339 in UTC.
//!
//! A field may be added without a new version; a reader passes over what it does not know.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    mood::Mood,
    names::{DeviceName, Revision, RoomName},
};

/// The version of these payloads.
pub const VERSION: u8 = 1;

/// The life of a device, in the words of the Homie convention (version 5, "device lifecycle").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// Connected, not yet telling everything.
    Init,
    /// Connected and working.
    Ready,
    /// Idle on purpose.
    Sleeping,
    /// It left in good order.
    Disconnected,
    /// Connected, and a component needs a person.
    Alert,
    /// The broker lost it (its last will).
    Lost,
}

/// `state`, retained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`].
    pub v: u8,
    /// Where in its life the device is.
    pub state: Lifecycle,
}

impl State {
    /// The payload for a state.
    #[must_use]
    pub fn new(state: Lifecycle) -> Self {
        Self { v: VERSION, state }
    }
}

/// What a device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Captures a room.
    Collector,
    /// Makes the formats players need.
    Encoder,
}

/// `birth`, retained: what the device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// [`VERSION`].
    pub v: u8,
    /// The device.
    pub device: DeviceName,
    /// What it is for.
    pub role: Role,
    /// The program's version.
    pub version: String,
    /// When the program started.
    pub started: Timestamp,
    /// The rooms it works for.
    pub rooms: Vec<RoomName>,
    /// The revision of its configuration, if that has one: what `backrow push` brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// `health`, every 5 s: numbers. What a machine cannot tell is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// [`VERSION`].
    pub v: u8,
    /// When it was measured.
    pub at: Timestamp,
    /// The most worrying mood of all components.
    pub mood: Mood,
    /// Seconds since the program started.
    pub uptime_s: u64,
    /// The machine's load over one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Memory of the program itself, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Hottest thermal zone, degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// Telemetry events lost so far because the broker was away too long.
    #[serde(default)]
    pub events_dropped: u64,
    /// The role's own numbers, such as `frames_out` or `segments_pending`.
    #[serde(default, flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// `component/{name}`, retained: one component's mood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentState {
    /// [`VERSION`].
    pub v: u8,
    /// How it is.
    pub mood: Mood,
    /// Since when.
    pub since: Timestamp,
    /// Why, in plain words; never empty.
    pub reason: String,
    /// How often it was restarted since the program started.
    pub restarts: u64,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A component's mood changed.
    Mood,
    /// A worker was started again.
    Restart,
    /// Something was lost: frames, segments, events.
    Loss,
    /// A source or a publisher came.
    Came,
    /// A source or a publisher went.
    Went,
    /// Anything else worth telling.
    Notice,
}

/// `event`, QoS 1, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`VERSION`].
    pub v: u8,
    /// Counts this program's events from 1: a gap is what was dropped.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EventKind,
    /// To which component.
    pub component: String,
    /// What, in plain words.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-02-03T04:05:06Z".parse().unwrap()
    }

    #[test]
    fn payloads_are_the_documented_json() {
        let json = |value: serde_json::Value| value.to_string();
        assert_eq!(
            json(serde_json::to_value(State::new(Lifecycle::Lost)).unwrap()),
            r#"{"state":"lost","v":1}"#
        );
        let component = ComponentState {
            v: VERSION,
            mood: Mood::Hungry,
            since: at(),
            reason: "no signal".into(),
            restarts: 2,
        };
        assert_eq!(
            serde_json::to_string(&component).unwrap(),
            r#"{"v":1,"mood":"hungry","since":"2026-02-03T04:05:06Z","reason":"no signal","restarts":2}"#
        );
        let event = Event {
            v: VERSION,
            seq: 3,
            at: at(),
            kind: EventKind::Loss,
            component: "uplink".into(),
            message: "2 segments dropped".into(),
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn health_carries_the_roles_own_numbers_and_leaves_out_what_is_unknown() {
        let mut more = serde_json::Map::new();
        more.insert("frames_out".into(), 25.into());
        let health = Health {
            v: VERSION,
            at: at(),
            mood: Mood::Happy,
            uptime_s: 7,
            load: None,
            memory_bytes: None,
            temperature_c: None,
            events_dropped: 0,
            more,
        };
        let text = serde_json::to_string(&health).unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"at":"2026-02-03T04:05:06Z","mood":"happy","uptime_s":7,"events_dropped":0,"frames_out":25}"#
        );
        assert_eq!(serde_json::from_str::<Health>(&text).unwrap(), health);
    }

    #[test]
    fn a_birth_tells_the_revision_only_if_there_is_one() {
        let old = r#"{"v":1,"device":"box-7","role":"collector","version":"1.2.3","started":"2026-02-03T04:05:06Z","rooms":["demo"]}"#;
        let mut birth: Birth = serde_json::from_str(old).unwrap();
        assert_eq!(birth.revision, None);
        assert_eq!(serde_json::to_string(&birth).unwrap(), old);
        birth.revision = Some("3f2a91c07b54".parse().unwrap());
        let text = serde_json::to_string(&birth).unwrap();
        assert!(text.ends_with(r#""revision":"3f2a91c07b54"}"#), "{text}");
    }

    #[test]
    fn a_reader_passes_over_fields_it_does_not_know() {
        let state: State = serde_json::from_str(r#"{"v":1,"state":"ready","new":[1]}"#).unwrap();
        assert_eq!(state.state, Lifecycle::Ready);
    }
}
