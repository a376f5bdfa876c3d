//! The progressive streams of a room, under the names the original system gave them.

/// A progressive stream: its file name and its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progressive {
    /// Name in the address.
    pub name: &'static str,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Whether a client that is already there needs a changed header in its stream: FLV and Ogg
    /// take it in their stride, WebM must not see a second one.
    pub header_in_stream: bool,
}

const fn stream(name: &'static str, content_type: &'static str) -> Progressive {
    Progressive { name, content_type, header_in_stream: true }
}

/// The source as it came.
pub const FLV_HIGH: Progressive = stream("webcast-high.flv", "video/x-flv");
/// The lowest rung of the ladder, with the source's sound.
pub const FLV_LOW: Progressive = stream("webcast-low.flv", "video/x-flv");
/// VP8 and Opus at the source's size.
pub const WEBM_HIGH: Progressive =
    Progressive { name: "webcast-high.webm", content_type: "video/webm", header_in_stream: false };
/// VP8 and Opus, small.
pub const WEBM_LOW: Progressive =
    Progressive { name: "webcast-low.webm", content_type: "video/webm", header_in_stream: false };
/// Opus in Ogg.
pub const OGG: Progressive = stream("audio-only.ogg", "audio/ogg");
/// The source's AAC in ADTS.
pub const AAC: Progressive = stream("audio-only.aac", "audio/aac");
/// MP3.
pub const MP3: Progressive = stream("audio-only.mp3", "audio/mpeg");

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
