//! HLS: a room's source and its ladder as fragmented MP4 in playlists.
//!
//! ```text
//! source tags ─▶ cutter ─ slot n ─┬▶ "source": the slot's pictures and sound
//!                  │              ├▶ "audio":  the slot's sound
//!                  │ sound        └▶ rungs:    their own pictures, the slot's sound
//! rung tags ───────┴──────────────────▲
//!                                     └ as soon as a rung has come to the slot's end
//! ```
//! The source's keyframes decide where segments begin, once, for all variants; media sequence
//! numbers are shared. A rung that misses a segment, or falls too far behind, lists a gap there and
//! goes on with the next: no variant ever holds up another.
//!
//! The packager is pure: tags in, bytes into its [`Store`]; no socket, no clock.

mod audio;
mod cutter;
mod fmp4;
mod packager;
mod playlist;
mod rung;
mod store;
mod variant;
mod window;

pub use packager::Packager;
pub use playlist::RenditionInfo;
pub use store::{LiveEdge, Store};

use std::time::Duration;

/// The name of the variant that passes the source through.
pub const SOURCE: &str = "source";
/// The name of the variant without pictures.
pub const AUDIO: &str = "audio";

/// How a room is packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HlsConfig {
    /// The least length of a segment: a keyframe sooner than this does not begin a new one.
    pub segment: Duration,
    /// Segments listed.
    pub window: usize,
    /// Number of the first segment. Higher than any used before the encoder was restarted, so that
    /// players which kept the page open go on.
    pub first_msn: u64,
    /// First discontinuity sequence number, likewise. Keep it small: hls.js has an array that is
    /// as long as this number is big, and hangs on hundreds of millions.
    pub first_discontinuity: u64,
}

impl Default for HlsConfig {
    fn default() -> Self {
        Self { segment: Duration::from_secs(2), window: 8, first_msn: 0, first_discontinuity: 0 }
    }
}

/// A rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenditionSpec {
    /// Its name in addresses: neither `source` nor `audio`.
    pub name: String,
    /// What its video is encoded to, bit/s: announced until more has been measured.
    pub bitrate: u64,
}

#[cfg(test)]
mod tests;
