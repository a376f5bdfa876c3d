//! The ingest contract: how a collector hands segments to an encoder over HTTP.
//!
//! ```text
//! PUT /ingest/{room}/{session}/{seq:010}.flv   body: one FLV segment, streamed as it is made
//!     Authorization: Bearer {token}
//!     backrow-device: {device}
//! → 201 Confirmation     the segment is durable; compare its digest
//! → 4xx/5xx Problem
//! GET /ingest/{room}/{session}                 the same two headers
//! → 200 SessionListing   what the encoder has of that session
//! ```

use serde::{Deserialize, Serialize};

use crate::names::{RoomName, SessionId};

/// The version of this contract's JSON.
pub const VERSION: u8 = 1;

/// Header that names the sending device.
pub const DEVICE_HEADER: &str = "backrow-device";

/// What a segment is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "video/x-flv";

/// Axum-style route of [`segment_path`].
pub const SEGMENT_ROUTE: &str = "/ingest/{room}/{session}/{segment}";
/// Axum-style route of [`session_path`].
pub const SESSION_ROUTE: &str = "/ingest/{room}/{session}";

/// Where a segment goes: `/ingest/demo/01J…/0000000042.flv`.
#[must_use]
pub fn segment_path(room: &RoomName, session: &SessionId, seq: u64) -> String {
    format!("/ingest/{room}/{session}/{}", segment_file(seq))
}

/// Where a session's listing is: `/ingest/demo/01J…`.
#[must_use]
pub fn session_path(room: &RoomName, session: &SessionId) -> String {
    format!("/ingest/{room}/{session}")
}

/// A segment's file name: `0000000042.flv`.
#[must_use]
pub fn segment_file(seq: u64) -> String {
    format!("{seq:010}.flv")
}

/// The sequence number in a segment's file name; `None` for any other spelling, so that a segment
/// has one address only.
#[must_use]
pub fn parse_segment_file(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".flv")?;
    let seq = digits.parse().ok()?;
    (segment_file(seq) == name).then_some(seq)
}

/// The value of the `Authorization` header for a token.
#[must_use]
pub fn bearer(token: &crate::token::Token) -> String {
    format!("Bearer {}", token.reveal())
}

/// What was offered in an `Authorization: Bearer` header (the scheme in any case, RFC 9110, 11.1).
#[must_use]
pub fn offered_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The encoder's word that a segment is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Bytes received.
    pub bytes: u64,
    /// SHA-256 of them, lower-case hex.
    pub sha256: String,
}

/// What the encoder has of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionListing {
    /// [`VERSION`].
    pub v: u8,
    /// The durable segments, by number.
    pub segments: Vec<SegmentInfo>,
}

/// One durable segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentInfo {
    /// Number within the session.
    pub seq: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// The JSON body of every HTTP error: a code for machines, a sentence for people, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable code, such as `unknown-room`.
    pub error: String,
    /// What is wrong, naming the room, device or segment.
    pub message: String,
    /// What to do about it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(error: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error: error.into(), message: message.into(), hint: String::new() }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_as_the_contract_says() {
        let room = "demo".parse().unwrap();
        let session = "01JZZZZZZZZZZZZZZZZZZZZZZZ".parse().unwrap();
        assert_eq!(
            segment_path(&room, &session, 42),
            "/ingest/demo/01JZZZZZZZZZZZZZZZZZZZZZZZ/0000000042.flv"
        );
        assert_eq!(session_path(&room, &session), "/ingest/demo/01JZZZZZZZZZZZZZZZZZZZZZZZ");
    }

    #[test]
    fn a_segment_has_one_spelling() {
        for wrong in ["42.flv", "00000000042.flv", "0000000042", "+000000042.flv", "", ".flv"] {
            assert_eq!(parse_segment_file(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_token_travels_in_a_bearer_header() {
        let token = "correct-horse".parse().unwrap();
        assert_eq!(offered_token(&bearer(&token)), Some("correct-horse"));
        assert_eq!(offered_token("bearer x"), Some("x"));
        assert_eq!(offered_token("Basic eDp5"), None);
        assert_eq!(offered_token(""), None);
    }

    #[test]
    fn a_problem_reads_well() {
        let problem = Problem::new("unknown-room", "there is no room \"x\"").hint("add [[room]]");
        assert_eq!(problem.to_string(), "there is no room \"x\" (add [[room]])");
        let json = serde_json::to_string(&Problem::new("a", "b")).unwrap();
        assert_eq!(json, r#"{"error":"a","message":"b"}"#);
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), Problem::new("a", "b"));
    }

    proptest! {
        #[test]
        fn segment_files_round_trip(seq in any::<u64>()) {
            prop_assert_eq!(parse_segment_file(&segment_file(seq)), Some(seq));
        }

        #[test]
        fn any_text_is_a_header_or_not(text in any::<String>()) {
            let _ = offered_token(&text);
            let _ = parse_segment_file(&text);
        }
    }
}
