//! How a room's stream comes in: segments by HTTP, or RTMP.
//!
//! ```text
//!  PUT /ingest/… ─┬─▶ archive: every byte
//!                 └─▶ desk ── publisher: who may │ ordering: segments in order ──▶ room
//!  RTMP :1935 ────┬─▶ desk ── publisher: who may ────────────────────────────────▶ room
//!                 └─▶ segmenter ─▶ archive
//! ```
//! * [`publisher`], [`ordering`]: the decisions, pure.
//! * [`desk`]: one room's; drives both, and feeds the room's live stream.
//! * [`http`], [`upload`]: the ingest contract (`protocol::ingest`).
//! * [`rtmp`], [`recorder`]: publishing by RTMP, and its archive.
//! * [`problem`]: every refusal, with its code, sentence and what to do.

pub mod desk;
pub mod http;
pub mod ordering;
pub mod problem;
pub mod publisher;
pub mod recorder;
pub mod rtmp;
pub mod upload;

use std::time::Duration;

pub use desk::Desk;
pub use http::{routes, routes_with};
pub use problem::Refused;

/// What a sender may take.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a sender may send nothing at all.
    pub stall: Duration,
    /// How long an RTMP client may take until it asks to publish.
    pub handshake: Duration,
    /// Bytes of one segment.
    pub segment: u64,
    /// RTMP connections at a time.
    pub connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            // Ten times the largest GOP of a collector.
            segment: 64 << 20,
            connections: 256,
        }
    }
}
