//! The recordings of a room, for who has its token.
//!
//! ```text
//! GET /{room}/archive/                what there is, as JSON
//! GET /{room}/archive/{session}.flv   a recording as one FLV
//!     Authorization: Bearer {token}, or ?token={token}
//! ```

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use protocol::ingest::{CONTENT_TYPE, offered_token};
use serde::{Deserialize, Serialize};

use super::SessionSummary;
use crate::ingest::Refused;
use crate::ingest::http::{admit_token, session_id};
use crate::room::{Room, Rooms};

/// The routes of the archive.
pub fn routes() -> Router<Arc<Rooms>> {
    Router::new()
        .route("/{room}/archive/", get(list))
        .route("/{room}/archive/{file}", get(download))
}

#[derive(Deserialize)]
struct Access {
    token: Option<String>,
}

/// The list of a room's recordings.
#[derive(Debug, Serialize)]
struct Listing {
    v: u8,
    room: String,
    sessions: Vec<Recording>,
}

#[derive(Debug, Serialize)]
struct Recording {
    #[serde(flatten)]
    summary: SessionSummary,
    /// Where it is.
    url: String,
}

fn admit(
    rooms: &Rooms,
    room: &str,
    headers: &HeaderMap,
    access: &Access,
) -> Result<Arc<Room>, Refused> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    admit_token(rooms, room, header.and_then(offered_token).or(access.token.as_deref()))
}

async fn list(
    State(rooms): State<Arc<Rooms>>,
    Path(room): Path<String>,
    Query(access): Query<Access>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let room = admit(&rooms, &room, &headers, &access)?;
    let sessions = room.archive.sessions().await.map_err(|e| Refused::archive(&e))?;
    let recording = |summary: SessionSummary| {
        let url = format!("/{}/archive/{}.flv", room.name, summary.session);
        Recording { summary, url }
    };
    let sessions = sessions.into_iter().map(recording).collect();
    let listing = Listing { v: protocol::ingest::VERSION, room: room.name.to_string(), sessions };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(listing)).into_response())
}

async fn download(
    State(rooms): State<Arc<Rooms>>,
    Path((room, file)): Path<(String, String)>,
    Query(access): Query<Access>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let room = admit(&rooms, &room, &headers, &access)?;
    let session = file.strip_suffix(".flv").ok_or_else(|| {
        let message = format!("{:?} is not a recording", file.chars().take(64).collect::<String>());
        let hint = "a recording is named {session}.flv";
        Refused::new(StatusCode::NOT_FOUND, "bad-path", message, hint)
    })?;
    let session = session_id(session)?;
    let whole = room.archive.whole(session).await.map_err(|e| Refused::archive(&e))?;
    let began = session.began().strftime("%Y%m%d-%H%M%S");
    let disposition = format!("attachment; filename=\"{}-{began}.flv\"", room.name);
    let headers = [
        (header::CONTENT_TYPE, CONTENT_TYPE.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(whole)).into_response())
}
