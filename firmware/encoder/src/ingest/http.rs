//! The ingest contract's two requests (`protocol::ingest`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use futures_util::StreamExt;
use protocol::ingest::{
    DEVICE_HEADER, SEGMENT_ROUTE, SESSION_ROUTE, offered_token, parse_segment_file,
};
use protocol::names::{DeviceName, RoomName, SessionId};
use tokio_util::task::TaskTracker;

use super::upload::Upload;
use super::{Options, Refused};
use crate::room::{Room, Rooms};

/// The routes of ingest. Uploads run on `uploads`; when it is closed, no more are taken.
pub fn routes(uploads: TaskTracker) -> Router<Arc<Rooms>> {
    routes_with(Options::default(), uploads)
}

/// The same with other limits.
pub fn routes_with(options: Options, uploads: TaskTracker) -> Router<Arc<Rooms>> {
    Router::new()
        .route(SEGMENT_ROUTE, put(put_segment))
        .route(SESSION_ROUTE, get(get_session))
        .layer(Extension(options))
        .layer(Extension(uploads))
}

async fn put_segment(
    State(rooms): State<Arc<Rooms>>,
    Extension(options): Extension<Options>,
    Extension(uploads): Extension<TaskTracker>,
    Path((room, session, segment)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let admitted = admit(&rooms, &room, &headers).and_then(|room| {
        if uploads.is_closed() {
            return Err(Refused::stopping());
        }
        let (session, seq) = (session_id(&session)?, sequence(&segment)?);
        let device = device(&headers)?;
        check_length(&headers, &options)?;
        let role = room
            .desk
            .claim(session, device.as_ref())
            .map_err(|occupied| Refused::occupied(&room.name, &occupied))?;
        Ok(Upload { room, session, seq, role, options })
    });
    match admitted {
        // A task of its own: it sees to what came even when the client has gone.
        Ok(upload) => match uploads.spawn(upload.run(body)).await {
            Ok(answer) => answer,
            Err(_) => Refused::archive(&crate::archive::Error::Stopping).into_response(),
        },
        Err(refused) => {
            // Closing a connection with unread data may cost the client our answer.
            tokio::spawn(drain(body));
            refused.into_response()
        }
    }
}

async fn get_session(
    State(rooms): State<Arc<Rooms>>,
    Path((room, session)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let room = admit(&rooms, &room, &headers)?;
    let session = session_id(&session)?;
    let listing = room.archive.listing(session).await.map_err(|e| Refused::archive(&e))?;
    Ok(Json(listing).into_response())
}

/// The room, if its token was shown.
fn admit(rooms: &Rooms, room: &str, headers: &HeaderMap) -> Result<Arc<Room>, Refused> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    admit_token(rooms, room, header.and_then(offered_token))
}

/// The room, if this is its token.
pub(crate) fn admit_token(
    rooms: &Rooms,
    room: &str,
    offered: Option<&str>,
) -> Result<Arc<Room>, Refused> {
    let name = room.parse::<RoomName>().map_err(|_| Refused::unknown_room(room))?;
    let room = rooms.get(&name).ok_or_else(|| Refused::unknown_room(room))?;
    match offered {
        Some(offered) if room.token.matches(offered) => Ok(Arc::clone(room)),
        Some(_) => Err(Refused::wrong_token(&name)),
        None => Err(Refused::missing_token(&name)),
    }
}

pub(crate) fn session_id(text: &str) -> Result<SessionId, Refused> {
    text.parse().map_err(|error: protocol::names::NameError| {
        let hint = "a session is a ULID in capital letters";
        Refused::new(StatusCode::BAD_REQUEST, "bad-path", error.to_string(), hint)
    })
}

fn sequence(file: &str) -> Result<u64, Refused> {
    parse_segment_file(file).ok_or_else(|| {
        let file: String = file.chars().take(64).collect();
        Refused::new(
            StatusCode::BAD_REQUEST,
            "bad-path",
            format!("{file:?} is not a segment's name"),
            "a segment is named by its number in ten digits: 0000000042.flv",
        )
    })
}

fn device(headers: &HeaderMap) -> Result<Option<DeviceName>, Refused> {
    let Some(value) = headers.get(DEVICE_HEADER) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    text.parse().map(Some).map_err(|error: protocol::names::NameError| {
        let message = format!("the header {DEVICE_HEADER}: {error}");
        Refused::new(
            StatusCode::BAD_REQUEST,
            "bad-device",
            message,
            "correct `device` in site.toml",
        )
    })
}

fn check_length(headers: &HeaderMap, options: &Options) -> Result<(), Refused> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.parse::<u64>().ok()) {
        Some(length) if length > options.segment => Err(oversize_segment(options)),
        _ => Ok(()),
    }
}

/// A segment that is too long.
pub(super) fn oversize_segment(options: &Options) -> Refused {
    Refused::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "oversize-segment",
        format!("a segment has at most {} bytes", options.segment),
        "send one GOP a segment, of a few seconds",
    )
}

/// Reads on for a little, for politeness.
pub(super) async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    let mut left = 1usize << 20;
    let reading = async {
        while let Some(Ok(bytes)) = stream.next().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), reading).await;
}
