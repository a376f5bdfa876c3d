//! Capture devices: what udev sees, what would be chosen, and why.
//!
//! ```text
//! udev ─▶ facts ─▶ classify (pure) ─▶ devices ─▶ choose (pure, with the configuration) ─▶ choice
//!   └────▶ events, debounced ─▶ watch ─▶ changes
//! ```
//!
//! Nothing here is known by `/dev/videoN`, whose numbers change with every plug: a device is its
//! stable path under `/dev/v4l/`, its GUID, or its sound card's name.

mod choose;
mod classify;
mod command;
mod enumerate;
mod watch;

use std::path::PathBuf;

use serde::Serialize;

use crate::capture::{AudioDevice, SourceSpec};

pub use choose::choose;
pub(crate) use choose::sound_of;
pub use command::{Args, run};
pub use enumerate::{EnumerateError, snapshot};
pub use watch::{Change, ChangeKind, watch};

/// A device that udev shows and that has to do with capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its place in sysfs, by which events name it.
    pub syspath: String,
    /// What it calls itself.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: DeviceKind,
    /// The USB device it is part of, by its place in sysfs.
    pub usb: Option<String>,
    /// Why it is no source, in plain words; absent for one that may be chosen.
    pub ignored: Option<String>,
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeviceKind {
    /// A video4linux node.
    Video {
        /// Its stable path, or its node where udev makes no links.
        path: PathBuf,
        /// Other stable names: links and `ID_PATH`.
        aliases: Vec<String>,
        /// Made to grab a signal rather than to look at a room.
        grabber: bool,
    },
    /// A sound card that can record.
    Sound {
        /// Its ALSA name, such as `hw:CARD=Capture`.
        alsa: String,
    },
    /// A FireWire node.
    Firewire {
        /// Its EUI-64, as `0x…` with sixteen digits.
        guid: String,
    },
}

impl Device {
    /// The name by which a person or the configuration points at it.
    pub fn label(&self) -> String {
        match &self.kind {
            DeviceKind::Video { path, .. } => format!("{} ({})", self.name, path.display()),
            DeviceKind::Sound { alsa } => format!("{} ({alsa})", self.name),
            DeviceKind::Firewire { guid } => format!("{} ({guid})", self.name),
        }
    }
}

/// The source to capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The source; absent when what is configured is not there.
    #[serde(serialize_with = "as_text")]
    pub source: Option<SourceSpec>,
    /// The sound that goes with a v4l2 source.
    #[serde(serialize_with = "device_text")]
    pub audio: AudioDevice,
    /// Why this one, or what is missing, in plain words.
    pub why: String,
    /// The other devices and why not they.
    pub rejected: Vec<Rejected>,
}

/// A device that is not the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The device, by [`Device::label`].
    pub device: String,
    /// Why not.
    pub why: String,
}

fn as_text<S: serde::Serializer>(
    source: &Option<SourceSpec>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match source {
        Some(source) => serializer.collect_str(source),
        None => serializer.serialize_none(),
    }
}

fn device_text<S: serde::Serializer>(
    device: &AudioDevice,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(device)
}
