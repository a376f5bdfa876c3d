//! What a collector tells the box it runs on: `status.json` in its runtime directory, written anew
//! each second and on every change, and `preview.jpg` beside it. No secret is ever in either.
//!
//! A field may be added without a new version; a reader passes over what it does not know.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    mood::Mood,
    names::{DeviceName, RoomName},
};

/// The version of this file.
pub const VERSION: u8 = 1;
/// The file's name.
pub const FILE: &str = "status.json";
/// The name of the newest picture, a JPEG.
pub const PREVIEW: &str = "preview.jpg";

/// `status.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectorStatus {
    /// [`VERSION`].
    pub v: u8,
    /// When it was written, by the machine's clock.
    pub at: Timestamp,
    /// The room.
    pub room: RoomName,
    /// The device.
    pub device: DeviceName,
    /// This run of the collector, a ULID.
    #[serde(default)]
    pub session: String,
    /// Where the stream goes: scheme, host and port.
    #[serde(default)]
    pub encoder: String,
    /// What is captured; absent while nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What is sent; absent until anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<Sending>,
    /// Every component's mood.
    #[serde(default)]
    pub components: BTreeMap<String, Component>,
    /// As in the MQTT message `health`: backlog, losses, `capture`.
    #[serde(default)]
    pub numbers: serde_json::Map<String, serde_json::Value>,
    /// Peak of each channel since the last writing, in dB below full scale; empty without sound.
    #[serde(default)]
    pub levels_db: Vec<f64>,
    /// Whether the encoder has ever confirmed anything of this session.
    #[serde(default)]
    pub confirmed: bool,
}

impl CollectorStatus {
    /// One of the numbers that count.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
    }
}

/// What is captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The device and its format, in plain words.
    pub description: String,
}

/// What leaves the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// The formats, such as `H.264 and AAC`.
    pub codecs: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub framerate: u32,
    /// Bits made in the last seconds, per second.
    pub bits_per_second: u64,
}

/// How a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// How it is.
    pub mood: Mood,
    /// Since when.
    pub since: Timestamp,
    /// Why, in plain words.
    pub reason: String,
    /// How often it was restarted.
    #[serde(default)]
    pub restarts: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_that_is_a_status_is_read() {
        let text = r#"{"v":1,"at":"2026-02-03T04:05:06Z","room":"hall","device":"box-1","new":[1],
            "components":{"uplink":{"mood":"sad","since":"2026-02-03T04:05:06Z","reason":"gone"}},
            "numbers":{"backlog_ms":1200}}"#;
        let status: CollectorStatus = serde_json::from_str(text).unwrap();
        assert_eq!(status.components["uplink"].mood, Mood::Sad);
        assert_eq!((status.number("backlog_ms"), status.number("nothing")), (1200, 0));
        assert_eq!((status.source, status.sending, status.confirmed), (None, None, false));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let status = CollectorStatus {
            v: VERSION,
            at: "2026-02-03T04:05:06Z".parse().unwrap(),
            room: "hall".parse().unwrap(),
            device: "box-1".parse().unwrap(),
            session: "01".into(),
            encoder: "https://encoder.example.org".into(),
            source: Some(Source { description: "/dev/video0".into() }),
            sending: Some(Sending {
                codecs: "H.264 and AAC".into(),
                width: 1280,
                height: 720,
                framerate: 25,
                bits_per_second: 1_600_000,
            }),
            components: BTreeMap::new(),
            numbers: serde_json::Map::new(),
            levels_db: vec![-20.5, -100.0],
            confirmed: true,
        };
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<CollectorStatus>(&text).unwrap(), status);
    }
}
