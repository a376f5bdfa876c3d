//! The chunk stream (RTMP 5.3): messages cut into interleaved chunks, and put together again.
//!
//! The reader takes a chunk's payload as it comes, so what waits unparsed is never more than a
//! header; what waits unfinished is bounded by [`ReadLimits`].

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Error;

/// Chunk payload size until a peer says otherwise (RTMP 5.4.1).
const DEFAULT_CHUNK_SIZE: usize = 128;
/// A 24-bit timestamp field of this value means that 32 bits follow the header (RTMP 5.3.1.3).
const EXTENDED: u32 = 0x00FF_FFFF;
/// First allocation for a message, whatever length it announces.
const FIRST_ALLOCATION: usize = 16 * 1024;

/// What a reader holds at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimits {
    /// Bytes of one message.
    pub(crate) message: usize,
    /// Bytes of all unfinished messages.
    pub(crate) pending: usize,
    /// Chunk streams in use.
    pub(crate) streams: usize,
}

/// One whole RTMP message (RTMP 6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Message type id (RTMP 7.1).
    pub(crate) kind: u8,
    /// Message stream id; 0 is the connection itself.
    pub(crate) stream: u32,
    /// Milliseconds.
    pub(crate) timestamp: u32,
    /// The payload.
    pub(crate) body: Bytes,
}

/// What a chunk stream remembers for its shorter headers (RTMP 5.3.1.2).
#[derive(Debug, Default)]
struct Stream {
    timestamp: u32,
    delta: u32,
    /// The last header's extended timestamp field, which type 3 chunks repeat.
    extended: Option<u32>,
    length: usize,
    kind: u8,
    message_stream: u32,
    body: BytesMut,
    in_message: bool,
}

/// Puts messages together.
#[derive(Debug)]
pub(crate) struct Reader {
    limits: ReadLimits,
    chunk_size: usize,
    streams: BTreeMap<u32, Stream>,
    /// The chunk whose payload is being taken: its stream and the bytes still to come.
    open: Option<(u32, usize)>,
    pending: usize,
    position: u64,
}

impl Reader {
    pub(crate) fn new(limits: ReadLimits) -> Self {
        Self {
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: BTreeMap::new(),
            open: None,
            pending: 0,
            position: 0,
        }
    }

    /// Bytes taken since the end of the handshake.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The peer's Set Chunk Size (RTMP 5.4.1).
    pub(crate) fn set_chunk_size(&mut self, size: u32) -> Result<(), Error> {
        // The top bit must be zero, and the size at least 1.
        if size == 0 || size & 0x8000_0000 != 0 {
            return Err(self.broken("a chunk size of 0 or over 2147483647 was asked for"));
        }
        self.chunk_size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(())
    }

    /// The peer's Abort Message (RTMP 5.4.2): the unfinished message of a chunk stream is void.
    pub(crate) fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.get_mut(&chunk_stream) {
            self.pending = self.pending.saturating_sub(stream.body.len());
            stream.body = BytesMut::new();
            stream.in_message = false;
        }
    }

    /// The next whole message, or `None` when `input` holds no more of one.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            if self.open.is_none() && !self.header(input)? {
                return Ok(None);
            }
            match self.payload(input)? {
                Progress::Message(message) => return Ok(Some(message)),
                Progress::Chunk => {}
                Progress::Starved => return Ok(None),
            }
        }
    }

    fn payload(&mut self, input: &mut BytesMut) -> Result<Progress, Error> {
        let Some((id, left)) = self.open else { return Ok(Progress::Chunk) };
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(Progress::Chunk) };
        let take = left.min(input.len());
        if let Some(bytes) = input.get(..take) {
            if stream.body.capacity() == 0 {
                stream.body.reserve(stream.length.min(FIRST_ALLOCATION).max(take));
            }
            stream.body.extend_from_slice(bytes);
        }
        input.advance(take);
        self.position += take as u64;
        self.pending += take;
        if take < left {
            self.open = Some((id, left - take));
            return Ok(Progress::Starved);
        }
        self.open = None;
        if stream.body.len() < stream.length {
            return Ok(Progress::Chunk);
        }
        stream.in_message = false;
        let body = std::mem::take(&mut stream.body).freeze();
        self.pending = self.pending.saturating_sub(body.len());
        Ok(Progress::Message(Message {
            kind: stream.kind,
            stream: stream.message_stream,
            timestamp: stream.timestamp,
            body,
        }))
    }

    /// Takes one chunk header (RTMP 5.3.1); false when it has not all come.
    fn header(&mut self, input: &mut BytesMut) -> Result<bool, Error> {
        let mut at = Cursor { bytes: input, used: 0 };
        let Some((format, id)) = at.basic() else { return Ok(false) };
        let Some(fields) = at.message(format) else { return Ok(false) };
        let known = self.streams.get(&id);
        if known.is_none() && self.streams.len() >= self.limits.streams {
            return Err(self.broken("too many chunk streams"));
        }
        // librtmp opens its chunk streams with type 1: stream id 0 and timestamp 0 are then meant.
        if known.is_none() && format > 1 {
            return Err(self.broken("a short header on a chunk stream that has had no full one"));
        }
        let in_message = known.is_some_and(|s| s.in_message);
        if in_message && format != 3 {
            return Err(self.broken("a new message inside an unfinished one"));
        }
        let extended = match fields.time {
            Some(EXTENDED) => match at.u32() {
                Some(value) => Some(value),
                None => return Ok(false),
            },
            Some(_) => None,
            // Type 3: the field is repeated (RTMP 5.3.1.3), but some senders leave it out; it is
            // taken as one only if it is the value that was sent before.
            None => match known.and_then(|s| s.extended) {
                Some(before) => match at.peek_u32() {
                    Some(value) => {
                        if value == before {
                            at.used += 4;
                        }
                        Some(before)
                    }
                    None => return Ok(false),
                },
                None => None,
            },
        };
        let used = at.used;
        if let Some(length) = fields.length
            && length > self.limits.message
        {
            let (offset, limit) = (self.position, self.limits.message);
            return Err(Error::OversizeMessage { offset, size: length, limit });
        }

        let stream = self.streams.entry(id).or_default();
        if !in_message {
            let time = extended.or(fields.time);
            match (format, time) {
                // A type 3 header that follows a type 0 one repeats its timestamp as a delta
                // (RTMP 5.3.1.2.4).
                (0, Some(time)) => {
                    stream.timestamp = time;
                    stream.delta = time;
                }
                (1 | 2, Some(delta)) => {
                    stream.timestamp = stream.timestamp.wrapping_add(delta);
                    stream.delta = delta;
                }
                _ => stream.timestamp = stream.timestamp.wrapping_add(stream.delta),
            }
            stream.extended = extended;
            stream.length = fields.length.unwrap_or(stream.length);
            stream.kind = fields.kind.unwrap_or(stream.kind);
            stream.message_stream = fields.stream.unwrap_or(stream.message_stream);
            stream.in_message = true;
        }
        let left = stream.length.saturating_sub(stream.body.len()).min(self.chunk_size);
        // Checked before the payload comes, so that it is the same however the bytes are cut.
        let (size, limit) = (self.pending + left, self.limits.pending);
        if size > limit {
            return Err(Error::TooMuchPending { size, limit });
        }
        input.advance(used);
        self.position += used as u64;
        self.open = Some((id, left));
        Ok(true)
    }

    fn broken(&self, what: &'static str) -> Error {
        Error::Chunk { offset: self.position, what }
    }
}

enum Progress {
    Message(Message),
    Chunk,
    Starved,
}

/// What a message header says; `None` is inherited from the header before.
struct Fields {
    time: Option<u32>,
    length: Option<usize>,
    kind: Option<u8>,
    stream: Option<u32>,
}

/// Reads without taking, since a header may not have come whole.
struct Cursor<'a> {
    bytes: &'a [u8],
    used: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.bytes.get(self.used..)?.first_chunk::<N>().copied()?;
        self.used += N;
        Some(found)
    }

    fn u24(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn peek_u32(&self) -> Option<u32> {
        self.bytes.get(self.used..)?.first_chunk::<4>().copied().map(u32::from_be_bytes)
    }

    /// Format and chunk stream id (RTMP 5.3.1.1).
    fn basic(&mut self) -> Option<(u8, u32)> {
        let [first] = self.array()?;
        let id = match first & 0x3F {
            0 => self.array().map(|[a]| u32::from(a) + 64)?,
            1 => self.array().map(|[a, b]| u32::from(a) + u32::from(b) * 256 + 64)?,
            id => u32::from(id),
        };
        Some((first >> 6, id))
    }

    /// The message header of this format (RTMP 5.3.1.2), without an extended timestamp.
    fn message(&mut self, format: u8) -> Option<Fields> {
        let mut fields = Fields { time: None, length: None, kind: None, stream: None };
        if format < 3 {
            fields.time = Some(self.u24()?);
        }
        if format < 2 {
            fields.length = Some(self.u24()? as usize);
            fields.kind = self.array().map(|[kind]| Some(kind))?;
        }
        if format == 0 {
            // The one little-endian field of RTMP.
            fields.stream = Some(self.array().map(u32::from_le_bytes)?);
        }
        Some(fields)
    }
}

/// Cuts messages into chunks. Every message gets a full header, which every server understands.
#[derive(Debug)]
pub(crate) struct Writer {
    chunk_size: usize,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { chunk_size: DEFAULT_CHUNK_SIZE }
    }

    /// From the next message on; the peer is to be told first.
    pub(crate) fn set_chunk_size(&mut self, size: u32) {
        self.chunk_size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
    }

    /// Writes a message on a chunk stream (2 to 63).
    pub(crate) fn write(&self, chunk_stream: u8, message: &Message, out: &mut BytesMut) {
        let extended = message.timestamp >= EXTENDED;
        let length = message.body.len();
        out.reserve(length + 16 + (length / self.chunk_size + 1) * 5);
        out.put_u8(chunk_stream & 0x3F);
        out.put_uint(u64::from(message.timestamp.min(EXTENDED)), 3);
        out.put_uint(length as u64 & 0x00FF_FFFF, 3);
        out.put_u8(message.kind);
        out.put_u32_le(message.stream);
        let mut first = true;
        let mut pieces = message.body.chunks(self.chunk_size);
        loop {
            let piece = pieces.next();
            if piece.is_none() && !first {
                return;
            }
            if !first {
                out.put_u8(0xC0 | (chunk_stream & 0x3F));
            }
            if extended {
                out.put_u32(message.timestamp);
            }
            out.put_slice(piece.unwrap_or_default());
            first = false;
        }
    }
}

#[cfg(test)]
mod tests;
