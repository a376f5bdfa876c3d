//! What is well on this box and what is not: one picture for page, screen, lights and MQTT.
//!
//! ```text
//! /sys, /proc, status.json, outcome.json, …
//!        │ gather (I/O, each second)
//!        ▼
//!      Facts ──rows (pure)──▶ Picture ──watch──▶ page · screen · lights
//! ```
//! Each [`Row`] is one line of the volunteer's checklist: a light, one sentence, and what to do
//! when the light is not green. No secret is ever in a picture: everybody in the room may see it.

mod facts;
mod gather;
pub mod leds;
mod network;
mod power;
mod rows;
pub mod screen;
pub mod storage;
mod watcher;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::facts::{Clock, Disk, Facts, Link, LinkKind, Network, Power, Software};
pub use self::gather::Gatherer;
pub use self::rows::picture;
pub use self::watcher::{Seen, spawn};

/// The version of [`Picture`] as JSON.
pub const VERSION: u8 = 1;

/// How something is, for people who tell colours apart and for those who do not: every light has a
/// word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// Not used, or not known yet.
    Grey,
    /// Well.
    Green,
    /// Worth a look; the stream goes on.
    Amber,
    /// Somebody must do something.
    Red,
}

impl Light {
    /// The word beside the light.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Grey => "–",
            Self::Green => "OK",
            Self::Amber => "Look",
            Self::Red => "Fix",
        }
    }

    /// The light's name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grey => "grey",
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// A stable name, such as `network`.
    pub id: String,
    /// What it is about, in a word or two.
    pub title: String,
    /// How it is.
    pub light: Light,
    /// How it is, in one sentence.
    pub says: String,
    /// What to do about it; empty when there is nothing to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub todo: String,
}

/// All that page and screen show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// [`VERSION`].
    pub v: u8,
    /// When it was taken, by the box's clock.
    pub at: Timestamp,
    /// The room; empty while the box is not set up.
    pub room: String,
    /// The box's name in the network.
    pub device: String,
    /// Its addresses, without prefix lengths.
    pub addresses: Vec<String>,
    /// The worst light of all.
    pub light: Light,
    /// The whole in one sentence.
    pub headline: String,
    /// The checklist, top to bottom.
    pub rows: Vec<Row>,
    /// What is captured; empty while nothing is.
    pub source: String,
    /// The preview's time in milliseconds since 1970, which changes with the picture; absent while
    /// there is no preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<i64>,
    /// The image's version.
    pub version: String,
    /// The board the image is for.
    pub board: String,
    /// More for who wants it, name and value.
    pub details: Vec<(String, String)>,
    /// Whether the token would be taken: restart, update and the like.
    pub can_change: bool,
}
