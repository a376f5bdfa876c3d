//! DVswitch's network protocol, as a sink speaks it. Pure: bytes in, DV frames out.
//!
//! The client opens the connection and sends the four bytes `SINK`. The mixer then sends, for each
//! frame, a header of four bytes and the DV frame. The header's first byte is not 0 when the mixer
//! has cut just before this frame (`C` by its operator, `O` because we were too slow, `S` at the
//! end of a recording, with no frame); the others are reserved. A frame is 120,000 bytes in the
//! 525-line system and 144,000 in the 625-line one, which bit 7 of its fourth byte (the header
//! block's DSF flag, IEC 61834-2) tells. (Source: DVswitch's protocol.h.)

use bytes::{Buf, Bytes, BytesMut};

/// What a client sends first.
pub(super) const GREETING: &[u8; 4] = b"SINK";
const HEADER: usize = 4;
const NTSC: usize = 120_000;
const PAL: usize = 144_000;

/// The bytes are not DVswitch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// A frame does not begin with a DV header block.
    #[error("frame {frame} begins with {byte:#04x} and not with a DV header")]
    NotDv {
        /// Number of the frame in this connection, from 0.
        frame: u64,
        /// The byte seen.
        byte: u8,
    },
}

/// Takes the stream apart.
#[derive(Debug, Default)]
pub(super) struct Framer {
    bytes: BytesMut,
    frames: u64,
}

impl Framer {
    /// Takes bytes as they come.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole DV frame.
    ///
    /// # Errors
    /// When the stream is not DVswitch's; it cannot be followed any more.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(&[b'S', _, _, _]) = self.bytes.first_chunk::<HEADER>() {
            self.bytes.advance(HEADER);
        }
        let Some(&[section, _, _, flags]) =
            self.bytes.get(HEADER..).and_then(|frame| frame.first_chunk::<4>())
        else {
            return Ok(None);
        };
        // The first block of a frame is a header block: section type 0 in the top three bits.
        if section >> 5 != 0 {
            return Err(Error::NotDv { frame: self.frames, byte: section });
        }
        let size = if flags & 0x80 == 0 { NTSC } else { PAL };
        if self.bytes.len() < HEADER + size {
            return Ok(None);
        }
        self.bytes.advance(HEADER);
        self.frames += 1;
        Ok(Some(self.bytes.split_to(size).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(pal: bool, fill: u8) -> Vec<u8> {
        let mut frame = vec![fill; if pal { PAL } else { NTSC }];
        frame[..4].copy_from_slice(&[0x1f, 0x07, 0, if pal { 0xbf } else { 0x3f }]);
        frame
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn frames_come_whole_however_they_are_cut(
            kinds in prop::collection::vec((any::<bool>(), any::<u8>(), prop::sample::select(vec![0, b'C', b'O'])), 1..5),
            piece in 1_usize..50_000,
        ) {
            let mut wire = Vec::new();
            for (pal, fill, cut) in &kinds {
                wire.extend([*cut, 0, 0, 0]);
                wire.extend(frame(*pal, *fill));
            }
            let mut framer = Framer::default();
            let mut got = Vec::new();
            for bytes in wire.chunks(piece) {
                framer.push(bytes);
                while let Some(frame) = framer.next_frame().expect("DV") {
                    got.push(frame.to_vec());
                }
            }
            let sent: Vec<_> = kinds.iter().map(|(pal, fill, _)| frame(*pal, *fill)).collect();
            prop_assert!(got == sent);
        }

        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut framer = Framer::default();
            framer.push(&bytes);
            while let Ok(Some(_)) = framer.next_frame() {}
        }
    }

    #[test]
    fn the_end_of_a_recording_has_no_frame() {
        let mut framer = Framer::default();
        framer.push(&[b'S', 0, 0, 0, 0, 0, 0, 0]);
        framer.push(&frame(true, 5));
        assert_eq!(framer.next_frame().map(|frame| frame.map(|frame| frame.len())), Ok(Some(PAL)));
    }

    #[test]
    fn another_protocol_is_refused() {
        let mut framer = Framer::default();
        framer.push(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(framer.next_frame(), Err(Error::NotDv { frame: 0, byte: b'/' }));
    }
}
