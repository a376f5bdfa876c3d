//! FLV: bytes in, tags out, and back.
//!
//! Everything that crosses a wire in Backrow as live media is a sequence of FLV [`Tag`]s holding
//! H.264 and AAC: from the capture worker to the collector, from the collector to the encoder in
//! GOP [`segmenter`] segments, from the encoder to its transcode worker, and to viewers. This crate
//! is pure: no sockets, no files, no clocks.
//!
//! Sources: Adobe "Video File Format Specification" version 10.1 (annex E, FLV; "FLV 10.1" below),
//! Adobe AMF0 specification (December 2007), ISO/IEC 14496-15 (avcC), 14496-3 (AAC).
//!
//! * [`Parser`]: push parser, bounded memory, errors with byte offsets.
//! * [`metadata`]: `onMetaData`, with the collector's wall clock.
//! * [`segmenter`]: cuts tags into segments that each play alone.
//! * [`timeline`], [`interleave`]: timestamps made whole, two tracks made one.
//! * [`Headers`]: what a stream says once, for those who join it later.
//! * [`avc`], [`aac`]: codec configurations.

pub mod aac;
mod amf0;
pub mod avc;
mod bits;
mod error;
mod headers;
pub mod interleave;
pub mod metadata;
mod parser;
pub mod segmenter;
mod tag;
pub mod timeline;

pub use error::Error;
pub use headers::{Headers, Seen};
pub use parser::{Limits, Parser};
pub use tag::{AacPacket, AudioHeader, AvcPacket, MAX_BODY, Tag, TagKind, VideoHeader};

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a tag before its body (FLV 10.1, E.4.1).
pub const TAG_HEADER: usize = 11;
/// Bytes of the PreviousTagSize field after each tag.
pub const TRAILER: usize = 4;
/// Bytes that [`file_header`] writes: the 9-byte header and PreviousTagSize0.
pub const FILE_HEADER: usize = 13;

/// The FLV file header and the zero PreviousTagSize that follows it (FLV 10.1, E.2 and E.3).
pub fn file_header(audio: bool, video: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(FILE_HEADER);
    out.put_slice(b"FLV\x01");
    out.put_u8(u8::from(audio) << 2 | u8::from(video));
    out.put_u32(9);
    out.put_u32(0);
    out.freeze()
}
