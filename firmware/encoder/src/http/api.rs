//! `GET /api/v1/rooms`: the read model for players, dashboards and scripts. Fields are added,
//! never removed or given another meaning.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use protocol::mood::Mood;
use serde::Serialize;

use super::health::of_room;
use super::state::Shared;
use crate::room::Room;

#[derive(Serialize)]
struct Document {
    v: u8,
    /// Another one after a restart.
    instance: String,
    at: Timestamp,
    rooms: Vec<RoomDocument>,
}

#[derive(Serialize)]
struct RoomDocument {
    name: String,
    title: String,
    live: bool,
    since: Option<Timestamp>,
    publisher: Option<Publisher>,
    viewers: ViewersDocument,
    /// Whether the multivariant playlist can be had.
    hls: bool,
    renditions: Vec<RenditionDocument>,
    mounts: BTreeMap<String, MountDocument>,
    preview: bool,
    components: Vec<ComponentDocument>,
}

#[derive(Serialize)]
struct Publisher {
    session: Option<String>,
    device: Option<String>,
}

#[derive(Serialize)]
struct ViewersDocument {
    total: usize,
    hls: usize,
    progressive: usize,
}

#[derive(Serialize)]
struct RenditionDocument {
    name: String,
    audio_only: bool,
    width: Option<u32>,
    height: Option<u32>,
    /// Peak, bit/s.
    bandwidth: u64,
}

#[derive(Serialize)]
struct MountDocument {
    r#type: String,
    live: bool,
    clients: usize,
}

#[derive(Serialize)]
struct ComponentDocument {
    name: String,
    mood: Mood,
    since: Timestamp,
    reason: String,
    restarts: u64,
}

/// `GET /api/v1/rooms`
pub(super) async fn rooms(State(shared): State<Arc<Shared>>) -> Response {
    let document = Document {
        v: 1,
        instance: shared.instance.clone(),
        at: shared.clock.utc(),
        rooms: shared.rooms.iter().map(|room| describe(&shared, room)).collect(),
    };
    ([(CACHE_CONTROL, "no-store")], Json(document)).into_response()
}

fn describe(shared: &Shared, room: &Room) -> RoomDocument {
    let status = room.status();
    let hls = shared.hls_viewers(room);
    let progressive = shared.progressive_viewers(room);
    let mounts = room.mounts.iter().map(|(name, mount)| {
        let document = MountDocument {
            r#type: mount.content_type().to_owned(),
            live: status.live && mount.ready(),
            clients: shared.clients(room, name),
        };
        (name.clone(), document)
    });
    let components = shared.board.snapshot().into_iter();
    let components = components.filter(|(name, _)| of_room(name, room.name.as_str()));
    let publisher = || Publisher {
        session: status.session.as_ref().map(ToString::to_string),
        device: status.device.as_ref().map(ToString::to_string),
    };
    RoomDocument {
        name: room.name.to_string(),
        title: room.title.clone(),
        live: status.live,
        since: status.since,
        publisher: status.live.then(publisher),
        viewers: ViewersDocument { total: hls + progressive, hls, progressive },
        hls: room.hls.multivariant().is_some(),
        renditions: room
            .hls
            .renditions()
            .into_iter()
            .map(|rendition| RenditionDocument {
                name: rendition.name,
                audio_only: rendition.audio_only,
                width: (rendition.width > 0).then_some(rendition.width),
                height: (rendition.height > 0).then_some(rendition.height),
                bandwidth: rendition.bandwidth,
            })
            .collect(),
        mounts: mounts.collect(),
        preview: room.preview.borrow().is_some(),
        components: components
            .map(|(name, status)| ComponentDocument {
                name,
                mood: status.mood,
                since: status.since,
                reason: status.reason,
                restarts: status.restarts,
            })
            .collect(),
    }
}
