//! Refusals: a status for HTTP, a code for machines, a sentence for people, and what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::ingest::Problem;
use protocol::names::RoomName;

use super::publisher::Occupied;
use crate::archive;

/// A refusal, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: StatusCode,
    /// Its body.
    pub problem: Problem,
}

impl Refused {
    /// A refusal with a hint.
    pub fn new(status: StatusCode, code: &str, message: String, hint: &str) -> Self {
        Self { status, problem: Problem::new(code, message).hint(hint) }
    }

    /// No such room. What was asked for may be anything, so it is cut.
    pub fn unknown_room(room: &str) -> Self {
        let room: String = room.chars().take(64).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown-room",
            format!("this encoder has no room {room:?}"),
            "check the room's name, or add a [[room]] to encoder.toml",
        )
    }

    /// A token was needed.
    pub fn missing_token(room: &RoomName) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "missing-token",
            format!("room \"{room}\" asks for its token"),
            "send it as `Authorization: Bearer TOKEN`",
        )
    }

    /// Another token was needed.
    pub fn wrong_token(room: &RoomName) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "wrong-token",
            format!("that is not the token of room \"{room}\""),
            "compare it with the room's `token` in encoder.toml",
        )
    }

    /// Somebody else is publishing.
    pub fn occupied(room: &RoomName, occupied: &Occupied) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "room-occupied",
            format!("room \"{room}\" is taken: {occupied}"),
            "stop that publisher first; the room is free 5 s after its last data",
        )
    }

    /// The encoder is about to stop, and begins nothing new.
    pub fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "this encoder is stopping".to_owned(),
            "send the segment again when it is back",
        )
    }

    /// What the archive could not do.
    pub fn archive(error: &archive::Error) -> Self {
        match error {
            archive::Error::DiskFull { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk-full",
                error.to_string(),
                "free some space, or lower archive.min_free in encoder.toml; live goes on",
            ),
            archive::Error::NoSession { .. } => Self::new(
                StatusCode::NOT_FOUND,
                "unknown-session",
                error.to_string(),
                "GET the room's /archive/ for the recordings there are",
            ),
            archive::Error::TooManyVersions { .. } => Self::new(
                StatusCode::CONFLICT,
                "segment-differs",
                error.to_string(),
                "two senders are using one session; give each its own",
            ),
            archive::Error::Io { .. } | archive::Error::Stopping => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "archive-failed",
                error.to_string(),
                "send it again later",
            ),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, axum::Json(self.problem)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}
