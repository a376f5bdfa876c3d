//! What can be wrong with FLV input, in words that name the place.

/// A fault in an FLV stream. Offsets count bytes from the start of the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first bytes are not an FLV version 1 header.
    #[error("not FLV: {reason}")]
    NotFlv {
        /// What was found instead.
        reason: String,
    },
    /// A tag says it is bigger than the limit, so it is not read.
    #[error("the tag at byte {offset} says it is {size} bytes long; the limit is {limit}")]
    OversizeTag {
        /// Where the tag starts.
        offset: u64,
        /// The size it gives for its body, bytes.
        size: usize,
        /// The limit in force, bytes.
        limit: usize,
    },
    /// The stream ended inside its header or inside a tag.
    #[error("the stream ends at byte {end}, inside the {what} that starts at byte {offset}")]
    Truncated {
        /// Where the unfinished part starts.
        offset: u64,
        /// Where the stream ends.
        end: u64,
        /// "file header" or "tag".
        what: &'static str,
    },
    /// A tag is neither audio, nor video, nor script data.
    #[error(
        "the tag at byte {offset} has type {kind}, which is not audio (8), video (9) or script (18)"
    )]
    UnknownTagKind {
        /// Where the tag starts.
        offset: u64,
        /// The type byte found.
        kind: u8,
    },
    /// The size repeated after a tag is not the tag's size: the stream is corrupt before here.
    #[error(
        "the tag at byte {offset} is {expected} bytes long, but the size after it says {found}"
    )]
    WrongPreviousTagSize {
        /// Where the tag starts.
        offset: u64,
        /// Bytes of the tag, header and body.
        expected: u32,
        /// What PreviousTagSize says.
        found: u32,
    },
    /// A tag holds something other than H.264 or AAC.
    #[error("{track} is {codec}; only H.264 video and AAC audio are taken")]
    UnsupportedCodec {
        /// "video" or "audio".
        track: &'static str,
        /// The codec's name as FLV knows it.
        codec: String,
    },
    /// A tag's body is shorter than its own header.
    #[error("a {track} tag of {size} bytes is too short to hold a frame")]
    ShortTag {
        /// "video" or "audio".
        track: &'static str,
        /// Bytes in its body.
        size: usize,
    },
}
