//! The progressive streams of a room, under the names the original system gave them.

use crate::fanout::{Limits, Mount};

/// A progressive stream: its file name and its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progressive {
    /// Name in the address.
    pub name: &'static str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// What a format needs at its start.
    pub header: Header,
    /// How many sync points back a viewer starts.
    pub start_syncs: usize,
}

/// A format's header, and what a changed one means to viewers who are already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// There is none: every frame says it all.
    None,
    /// It may come again in the stream: FLV's sequence headers, Ogg's chained streams.
    InStream,
    /// There is one, at the start: WebM.
    Once,
}

impl Progressive {
    /// An empty mount for it.
    #[must_use]
    pub fn mount(&self) -> Mount {
        let limits = Limits {
            header: self.header != Header::None,
            start_syncs: self.start_syncs,
            ..Limits::default()
        };
        Mount::new(self.name, self.content_type, limits)
    }
}

const fn video(name: &'static str, content_type: &'static str, header: Header) -> Progressive {
    Progressive { name, content_type, header, start_syncs: 1 }
}

/// How much sound a new listener gets at once: browsers hold back until they have some seconds.
const BURST_MS: usize = 4_000;

/// Sound can be joined at every frame of `frame_ms`.
const fn sound(
    name: &'static str,
    content_type: &'static str,
    header: Header,
    frame_ms: usize,
) -> Progressive {
    Progressive { name, content_type, header, start_syncs: BURST_MS / frame_ms }
}

/// The source as it came.
pub const FLV_HIGH: Progressive = video("webcast-high.flv", "video/x-flv", Header::InStream);
/// The lowest rung of the ladder, with the source's sound.
pub const FLV_LOW: Progressive = video("webcast-low.flv", "video/x-flv", Header::InStream);
/// VP8 and Opus at the source's size.
pub const WEBM_HIGH: Progressive = video("webcast-high.webm", "video/webm", Header::Once);
/// VP8 and Opus, small.
pub const WEBM_LOW: Progressive = video("webcast-low.webm", "video/webm", Header::Once);
/// Opus in Ogg.
pub const OGG: Progressive = sound("audio-only.ogg", "audio/ogg", Header::InStream, 200);
/// The source's AAC in ADTS.
pub const AAC: Progressive = sound("audio-only.aac", "audio/aac", Header::None, 21);
/// MP3.
pub const MP3: Progressive = sound("audio-only.mp3", "audio/mpeg", Header::None, 24);

/// All of them.
pub const ALL: [Progressive; 7] = [FLV_HIGH, FLV_LOW, WEBM_HIGH, WEBM_LOW, OGG, AAC, MP3];

/// Another name of [`FLV_HIGH`]: the loop-through for other tools.
pub const LOOP: &str = "loop.raw";

/// The progressive stream that carries a stream of the transcode worker.
#[must_use]
pub fn of_transcode(stream: &str) -> Option<Progressive> {
    match stream {
        "webm-high" => Some(WEBM_HIGH),
        "webm-low" => Some(WEBM_LOW),
        "ogg" => Some(OGG),
        "mp3" => Some(MP3),
        _ => None,
    }
}
