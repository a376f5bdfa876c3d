//! The framing between the transcode worker and the daemon: one pipe, many streams.
//!
//! ```text
//! +------+--------+-------+---------+----------------+---------+
//! | 0xB4 | stream | flags | ts (ms) | payload length | payload |
//! |  u8  |   u8   |  u8   | u64 BE  |     u32 BE     |         |
//! +------+--------+-------+---------+----------------+---------+
//! ```
//! `stream` is an index into [`super::Ladder::streams`], which both ends work out from the same
//! ladder. Bytes in, frames out; no I/O.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// First byte of every frame.
const MARK: u8 = 0xB4;
/// Bytes before the payload.
pub const HEAD: usize = 15;
/// Largest payload taken, in bytes: a 4K keyframe with room to spare.
pub const MAX_PAYLOAD: usize = 8 << 20;

const FLAG_HEADER: u8 = 1;
const FLAG_SYNC: u8 = 2;

/// One piece of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Index into the ladder's list of streams.
    pub stream: u8,
    /// What a viewer needs before any data of this stream; replaces an earlier one.
    pub header: bool,
    /// A viewer can start with header + this frame.
    pub sync: bool,
    /// Room time in ms: decode time for FLV tags, presentation time for all else.
    pub ts_ms: u64,
    /// The bytes.
    pub data: Bytes,
}

/// Why bytes are not frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The byte where a frame must start is not the mark.
    #[error("worker output at byte {offset}: expected the start of a frame, found 0x{found:02x}")]
    NoMark {
        /// Byte position in the stream.
        offset: u64,
        /// The byte that was there.
        found: u8,
    },
    /// Flags that this version does not know.
    #[error("worker output at byte {offset}: unknown frame flags 0x{flags:02x}")]
    UnknownFlags {
        /// Byte position in the stream.
        offset: u64,
        /// The flags that were there.
        flags: u8,
    },
    /// A payload beyond [`MAX_PAYLOAD`].
    #[error("worker output at byte {offset}: a frame of {len} bytes is over the limit of {limit}")]
    Oversize {
        /// Byte position in the stream.
        offset: u64,
        /// Length announced, or of the payload to be sent.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes ended inside a frame.
    #[error("worker output ends at byte {offset}, {missing} bytes short of a whole frame")]
    Truncated {
        /// Byte position of the end.
        offset: u64,
        /// How many bytes are missing, at least.
        missing: usize,
    },
}

impl Frame {
    /// The head that goes before [`Frame::data`] on the wire.
    pub fn head(&self) -> Result<[u8; HEAD], Error> {
        let len = u32::try_from(self.data.len())
            .ok()
            .filter(|l| *l as usize <= MAX_PAYLOAD)
            .ok_or(Error::Oversize { offset: 0, len: self.data.len(), limit: MAX_PAYLOAD })?;
        let flags =
            if self.header { FLAG_HEADER } else { 0 } | if self.sync { FLAG_SYNC } else { 0 };
        let mut head = [0; HEAD];
        let mut at = &mut head[..];
        at.put_u8(MARK);
        at.put_u8(self.stream);
        at.put_u8(flags);
        at.put_u64(self.ts_ms);
        at.put_u32(len);
        Ok(head)
    }
}

/// Takes bytes as they come and gives whole frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Bytes taken out of `buffer` so far.
    offset: u64,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes. Take all frames out between pushes and memory stays within one frame and one
    /// push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one. After an error the stream is lost.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        let offset = self.offset;
        match self.buffer.first() {
            None => return Ok(None),
            Some(&MARK) => {}
            Some(&found) => return Err(Error::NoMark { offset, found }),
        }
        let Some(mut head) = self.buffer.get(1..HEAD) else { return Ok(None) };
        let stream = head.get_u8();
        let flags = head.get_u8();
        let ts_ms = head.get_u64();
        let len = head.get_u32() as usize;
        if flags & !(FLAG_HEADER | FLAG_SYNC) != 0 {
            return Err(Error::UnknownFlags { offset, flags });
        }
        if len > MAX_PAYLOAD {
            return Err(Error::Oversize { offset, len, limit: MAX_PAYLOAD });
        }
        if self.buffer.len() < HEAD + len {
            self.buffer.reserve(HEAD + len - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let data = self.buffer.split_to(len).freeze();
        self.offset += (HEAD + len) as u64;
        let (header, sync) = (flags & FLAG_HEADER != 0, flags & FLAG_SYNC != 0);
        Ok(Some(Frame { stream, header, sync, ts_ms, data }))
    }

    /// Says whether the bytes ended between two frames.
    pub fn finish(&self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let len = self.buffer.get(11..HEAD).map_or(0, |mut l| l.get_u32() as usize);
        Err(Error::Truncated {
            offset: self.offset + self.buffer.len() as u64,
            missing: (HEAD + len).saturating_sub(self.buffer.len()).max(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|f| [&f.head().unwrap()[..], &f.data].concat()).collect()
    }

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Frame>, Error> {
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        for part in bytes.chunks(piece) {
            decoder.push(part);
            while let Some(frame) = decoder.next_frame()? {
                out.push(frame);
            }
        }
        decoder.finish()?;
        Ok(out)
    }

    fn frame() -> impl Strategy<Value = Frame> {
        (any::<u8>(), any::<bool>(), any::<bool>(), any::<u64>(), any::<Vec<u8>>()).prop_map(
            |(stream, header, sync, ts_ms, data)| Frame {
                stream,
                header,
                sync,
                ts_ms,
                data: data.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(frames in prop::collection::vec(frame(), 0..20), piece in 1usize..400) {
            prop_assert_eq!(decode(&wire(&frames), piece).unwrap(), frames);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, piece in 1usize..40) {
            let _ = decode(&bytes, piece);
        }

        #[test]
        fn a_cut_is_noticed(frames in prop::collection::vec(frame(), 1..5), cut in 1usize..15) {
            let bytes = wire(&frames);
            let last = frames.last().unwrap().data.len() + HEAD;
            let short = &bytes[..bytes.len() - cut.min(last - 1)];
            prop_assert!(matches!(decode(short, 64), Err(Error::Truncated { .. })), "cut unnoticed");
        }
    }

    #[test]
    fn errors_name_the_place() {
        let good = Frame {
            stream: 1,
            header: false,
            sync: true,
            ts_ms: 7,
            data: Bytes::from_static(b"abc"),
        };
        let mut bytes = wire(&[good]);
        bytes.push(0x47);
        assert_eq!(
            decode(&bytes, 5).unwrap_err().to_string(),
            "worker output at byte 18: expected the start of a frame, found 0x47"
        );
        let absurd = [MARK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(decode(&absurd, 15), Err(Error::Oversize { len: 0xffff_ffff, .. })));
        let odd = [MARK, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(matches!(decode(&odd, 15), Err(Error::UnknownFlags { flags: 0x80, .. })));
    }
}
