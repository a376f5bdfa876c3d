//! A room: one stream, and all that is made of it.
//!
//! ```text
//! ingest ─ LiveInput ─▶ task ─▶ pipeline ─┬▶ fan-out mounts: FLV and AAC as they came
//!                        ▲                ├▶ HLS packager
//!                        │                └▶ transcode worker
//!                        └── TranscodeEvent ─────┘
//! ```
//! [`Room`] is what the rest of the encoder sees; [`pipeline`] decides where each tag goes;
//! [`task`] is the loop around it.

pub mod mounts;
pub mod open;
pub mod pipeline;
pub mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::names::{DeviceName, RoomName, SessionId};
use protocol::token::Token;
use tokio::sync::watch;

use crate::archive::Archive;
use crate::fanout::Mount;
use crate::hls;
use crate::ingest::Desk;

/// What ingest tells the room, in the order of the live stream.
#[derive(Debug, Clone)]
pub enum LiveInput {
    /// A publisher begins; its timestamps have nothing to do with what came before.
    Session {
        /// The session.
        session: SessionId,
        /// The device, if it said.
        device: Option<DeviceName>,
    },
    /// The next tag, in the session's own time.
    Tag(flv::Tag),
    /// The publisher is gone; another may follow.
    Gone,
}

/// One configured room.
#[derive(Debug)]
pub struct Room {
    /// Its name in addresses and topics.
    pub name: RoomName,
    /// Its name for people.
    pub title: String,
    /// Who has this may publish and fetch the recording.
    pub token: Token,
    /// Where publishers are let in.
    pub desk: Desk,
    /// What was received.
    pub archive: Archive,
    /// The progressive streams by their file names (`webcast-high.webm`).
    pub mounts: BTreeMap<String, Mount>,
    /// The HLS playlists and segments.
    pub hls: Arc<hls::Store>,
    /// The newest preview image, JPEG.
    pub preview: watch::Receiver<Option<Bytes>>,
    /// What the room is doing.
    pub status: watch::Receiver<RoomStatus>,
}

/// What a room is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomStatus {
    /// Whether media arrives.
    pub live: bool,
    /// When it last began or ended.
    pub since: Option<jiff::Timestamp>,
    /// The session at hand, or the last one.
    pub session: Option<SessionId>,
    /// The device that publishes it, if it said.
    pub device: Option<DeviceName>,
    /// Picture size, if there is a picture.
    pub size: Option<(u32, u32)>,
}

impl Room {
    /// What the room is doing now.
    #[must_use]
    pub fn status(&self) -> RoomStatus {
        self.status.borrow().clone()
    }
}

/// All rooms of this encoder, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Rooms {
    rooms: Vec<Arc<Room>>,
}

impl Rooms {
    /// The rooms, in order.
    #[must_use]
    pub fn new(rooms: Vec<Arc<Room>>) -> Self {
        Self { rooms }
    }

    /// The room of that name.
    #[must_use]
    pub fn get(&self, name: &RoomName) -> Option<&Arc<Room>> {
        self.rooms.iter().find(|room| room.name == *name)
    }

    /// Every room, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Room>> {
        self.rooms.iter()
    }

    /// The only room, if there is just one: its streams are served at the root too.
    #[must_use]
    pub fn only(&self) -> Option<&Arc<Room>> {
        match self.rooms.as_slice() {
            [room] => Some(room),
            _ => None,
        }
    }
}
