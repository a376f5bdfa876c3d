//! The push parser: bytes in, tags out.
//!
//! ```text
//!            9+ bytes ok                  11 bytes ok              body + size ok
//!  Header ───────────────▶ between tags ─────────────▶ in a tag ───────────────────┐
//!    │                          ▲  │                       │                       │
//!    │ not FLV                  │  │ unknown kind          └───── tag out ◀────────┘
//!    ▼                          │  ▼ oversize, wrong size
//!  Failed ◀─────────────────────┴─ Failed: says the same error for ever, keeps no bytes
//! ```

use crate::{Error, MAX_BODY, TAG_HEADER, TRAILER, Tag, TagKind};
use bytes::{Buf, Bytes, BytesMut};

/// The longest file header that is believed: the specification's is 9.
const MAX_HEADER: u32 = 1024;
/// A kept body shorter than this is copied out of the read buffer, see [`Parser::next_tag`].
const SHARE_FROM: usize = 4096;

/// Bounds on what a parser will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest tag body taken, bytes.
    pub max_tag: usize,
}

impl Default for Limits {
    /// 8 MiB: ten times a keyframe of any stream that a room would send.
    fn default() -> Self {
        Self { max_tag: 8 << 20 }
    }
}

/// Takes a byte stream in pieces of any size, gives its tags.
///
/// Memory: the bytes pushed and not yet taken as tags. A caller that takes tags until `None` after
/// each push holds at most one tag (`max_tag`) and one piece.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    buffer: BytesMut,
    /// Stream offset of the first byte in `buffer`.
    position: u64,
    header_done: bool,
    failed: Option<Error>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { max_tag: limits.max_tag.min(MAX_BODY) };
        Self { limits, buffer: BytesMut::new(), position: 0, header_done: false, failed: None }
    }

    /// Adds bytes. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole tag, or `None` until more bytes are pushed. The file header is checked and
    /// passed over.
    ///
    /// # Errors
    /// Any [`Error`] but `Truncated`; the same one again on every later call.
    pub fn next_tag(&mut self) -> Result<Option<Tag>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.read().inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        })
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    /// [`Error::Truncated`] inside the header or a tag, or the error already met.
    pub fn finish(&self) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.header_done && self.buffer.is_empty() {
            return Ok(());
        }
        Err(Error::Truncated {
            offset: self.position,
            end: self.position + self.buffer.len() as u64,
            what: if self.header_done { "tag" } else { "file header" },
        })
    }

    /// Offset just after the last whole tag (or the header): cut a broken file here and it is whole.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes held and not yet given out as a tag.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn read(&mut self) -> Result<Option<Tag>, Error> {
        if !self.header_done && !self.read_header()? {
            return Ok(None);
        }
        let Some(head) = self.buffer.get(..TAG_HEADER) else {
            // The kind is checked as soon as it is there: a stream of rubbish fails early.
            if let Some(&first) = self.buffer.first() {
                self.kind(first)?;
            }
            return Ok(None);
        };
        let [kind, s0, s1, s2, t1, t2, t3, t0, ..] = *head else { return Ok(None) };
        let kind = self.kind(kind)?;
        let size = u32::from_be_bytes([0, s0, s1, s2]) as usize;
        if size > self.limits.max_tag {
            return Err(Error::OversizeTag {
                offset: self.position,
                size,
                limit: self.limits.max_tag,
            });
        }
        let whole = TAG_HEADER + size + TRAILER;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let offset = self.position;
        self.buffer.advance(TAG_HEADER);
        let body = self.buffer.split_to(size);
        let found = self.buffer.get_u32();
        let expected = (TAG_HEADER + size) as u32;
        if found != expected {
            return Err(Error::WrongPreviousTagSize { offset, expected, found });
        }
        self.position += whole as u64;
        // A slice keeps its whole read buffer alive. That is right for a frame, and wrong for a
        // 7-byte sequence header which somebody keeps for hours.
        let data = if size < SHARE_FROM { Bytes::copy_from_slice(&body) } else { body.freeze() };
        Ok(Some(Tag { kind, timestamp: u32::from_be_bytes([t0, t1, t2, t3]), data }))
    }

    fn kind(&self, byte: u8) -> Result<TagKind, Error> {
        TagKind::from_byte(byte).ok_or(Error::UnknownTagKind { offset: self.position, kind: byte })
    }

    /// True when the header has been passed.
    fn read_header(&mut self) -> Result<bool, Error> {
        let seen = self.buffer.len().min(3);
        if self.buffer[..seen] != b"FLV"[..seen] {
            let reason =
                format!("the stream starts with {:02x?}, not \"FLV\"", &self.buffer[..seen]);
            return Err(Error::NotFlv { reason });
        }
        let [_, _, _, version, _, o0, o1, o2, o3, ..] = *self.buffer else { return Ok(false) };
        let offset = u32::from_be_bytes([o0, o1, o2, o3]);
        if version != 1 {
            return Err(Error::NotFlv { reason: format!("version {version}, not 1") });
        }
        if !(9..=MAX_HEADER).contains(&offset) {
            return Err(Error::NotFlv { reason: format!("a header of {offset} bytes") });
        }
        let whole = offset as usize + TRAILER;
        let Some(mut first_size) = self.buffer.get(offset as usize..whole) else {
            return Ok(false);
        };
        let first_size = first_size.get_u32();
        if first_size != 0 {
            let reason = format!("the size before the first tag is {first_size}, not 0");
            return Err(Error::NotFlv { reason });
        }
        self.buffer.advance(whole);
        self.position = whole as u64;
        self.header_done = true;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]]) -> (Vec<Tag>, Result<(), Error>) {
        let mut parser = Parser::default();
        let mut tags = Vec::new();
        for piece in pieces {
            parser.push(piece);
            loop {
                match parser.next_tag() {
                    Ok(Some(tag)) => tags.push(tag),
                    Ok(None) => break,
                    Err(error) => return (tags, Err(error)),
                }
            }
        }
        (tags, parser.finish())
    }

    fn file(tags: &[Tag]) -> Vec<u8> {
        let mut out = BytesMut::from(&crate::file_header(true, true)[..]);
        tags.iter().for_each(|tag| tag.encode(&mut out));
        out.to_vec()
    }

    fn any_tag() -> impl Strategy<Value = Tag> {
        let kind = prop_oneof![Just(TagKind::Audio), Just(TagKind::Video), Just(TagKind::Script)];
        (kind, any::<u32>(), prop::collection::vec(any::<u8>(), 0..6000))
            .prop_map(|(kind, timestamp, data)| Tag { kind, timestamp, data: data.into() })
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_tags(
            tags in prop::collection::vec(any_tag(), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let bytes = file(&tags);
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(parse(&pieces), (tags, Ok(())));
        }

        #[test]
        fn mutated_input_never_panics_and_stays_bounded(
            tags in prop::collection::vec(any_tag(), 1..4),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = file(&tags);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let limits = Limits { max_tag: 8000 };
            let mut parser = Parser::new(limits);
            for piece in bytes.chunks(100) {
                parser.push(piece);
                while let Ok(Some(tag)) = parser.next_tag() {
                    prop_assert!(tag.data.len() <= limits.max_tag);
                }
                prop_assert!(parser.buffered() <= limits.max_tag + TAG_HEADER + TRAILER + 100);
                prop_assert!(parser.position() <= bytes.len() as u64);
            }
            let _ = parser.finish();
        }

        #[test]
        fn a_cut_file_is_whole_up_to_its_position(
            tags in prop::collection::vec(any_tag(), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = file(&tags);
            let cut = cut.index(bytes.len());
            let mut parser = Parser::default();
            parser.push(&bytes[..cut]);
            while parser.next_tag().unwrap().is_some() {}
            let position = parser.position() as usize;
            prop_assert!(position <= cut);
            prop_assert_eq!(parser.finish().is_ok(), position == cut && cut > 0);
            if position > 0 {
                prop_assert_eq!(parse(&[&bytes[..position]]).1, Ok(()));
            }
        }
    }

    #[test]
    fn faults_are_named_with_their_offsets() {
        let tag = Tag::aac_frame(5, b"abc");
        let good = file(&[tag.clone(), tag]);
        let second = 13 + 20;
        let fault = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            parse(&[&bytes]).1.unwrap_err().to_string()
        };
        assert_eq!(fault(0, b'X'), "not FLV: the stream starts with [58, 4c, 56], not \"FLV\"");
        assert_eq!(fault(3, 9), "not FLV: version 9, not 1");
        assert_eq!(
            fault(second, 3),
            "the tag at byte 33 has type 3, which is not audio (8), video (9) or script (18)"
        );
        assert_eq!(
            fault(second + 1, 0xff),
            "the tag at byte 33 says it is 16711685 bytes long; the limit is 8388608"
        );
        assert_eq!(
            fault(second + 19, 1),
            "the tag at byte 33 is 16 bytes long, but the size after it says 1"
        );
        assert_eq!(
            parse(&[&good[..good.len() - 1]]).1.unwrap_err().to_string(),
            "the stream ends at byte 52, inside the tag that starts at byte 33"
        );
        assert_eq!(
            parse(&[b"FL"]).1.unwrap_err().to_string(),
            "the stream ends at byte 2, inside the file header that starts at byte 0"
        );
    }

    #[test]
    fn an_error_is_final_and_keeps_no_bytes() {
        let mut parser = Parser::default();
        parser.push(b"GIF89a");
        let error = parser.next_tag().unwrap_err();
        parser.push(&[0; 4096]);
        assert_eq!(parser.next_tag(), Err(error.clone()));
        assert_eq!(parser.finish(), Err(error));
        assert_eq!(parser.buffered(), 0);
    }
}
