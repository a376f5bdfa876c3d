//! One FLV tag, and the first bytes of its body (FLV 10.1, E.4).

use crate::{Error, TAG_HEADER, TRAILER};
use bytes::{BufMut, Bytes, BytesMut};

/// The longest body a tag can have: its size field has 24 bits.
pub const MAX_BODY: usize = 0xff_ffff;

const AVC: u8 = 7;
const AAC: u8 = 10;
/// AAC, 44 kHz, 16 bits, stereo: the fixed first byte of every AAC tag (E.4.2.1).
const AAC_FLAGS: u8 = 0xaf;

/// What a tag carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TagKind {
    /// Audio data.
    Audio = 8,
    /// Video data.
    Video = 9,
    /// Script data, that is AMF0: `onMetaData` and the like.
    Script = 18,
}

impl TagKind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

/// One FLV tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it carries.
    pub kind: TagKind,
    /// Decoding time, milliseconds; wraps after 49.7 days (see [`crate::timeline::Unroll`]).
    pub timestamp: u32,
    /// The body, at most [`MAX_BODY`] bytes.
    pub data: Bytes,
}

/// What an AVC video tag holds (AVCPacketType).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvcPacket {
    /// An AVCDecoderConfigurationRecord (avcC).
    SequenceHeader,
    /// One access unit, NAL units with length prefixes.
    Nalu,
    /// End of sequence; empty.
    EndOfSequence,
}

/// The header of an AVC video tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoHeader {
    /// FrameType says keyframe. Sequence headers are marked so too: see [`Tag::is_keyframe`].
    pub keyframe: bool,
    /// What follows.
    pub packet: AvcPacket,
    /// Presentation time minus decoding time, milliseconds.
    pub composition_ms: i32,
}

/// What an AAC audio tag holds (AACPacketType).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AacPacket {
    /// An AudioSpecificConfig.
    SequenceHeader,
    /// One raw AAC frame.
    Raw,
}

/// The header of an AAC audio tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioHeader {
    /// What follows.
    pub packet: AacPacket,
}

impl Tag {
    /// Writes the tag as it stands in a file: header, body, PreviousTagSize.
    ///
    /// A body longer than [`MAX_BODY`] cannot be written in FLV; such a tag writes nothing.
    pub fn encode(&self, out: &mut BytesMut) {
        let size = self.data.len();
        if size > MAX_BODY {
            debug_assert!(false, "an FLV tag of {size} bytes");
            return;
        }
        out.reserve(self.encoded_len());
        let ts = self.timestamp.to_be_bytes();
        out.put_u8(self.kind as u8);
        out.put_uint(size as u64, 3);
        out.put_slice(&[ts[1], ts[2], ts[3], ts[0]]);
        out.put_uint(0, 3);
        out.put_slice(&self.data);
        out.put_u32((TAG_HEADER + size) as u32);
    }

    /// The tag as it stands in a file.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode(&mut out);
        out.freeze()
    }

    /// Bytes that [`Tag::encode`] writes.
    pub fn encoded_len(&self) -> usize {
        TAG_HEADER + self.data.len() + TRAILER
    }

    /// The AVC header, or `None` when this is not an H.264 video tag.
    pub fn video(&self) -> Option<VideoHeader> {
        if self.kind != TagKind::Video {
            return None;
        }
        let [first, packet, c0, c1, c2, ..] = *self.data else { return None };
        let frame_type = first >> 4;
        if first & 0x0f != AVC || !(1..=4).contains(&frame_type) {
            return None;
        }
        let packet = match packet {
            0 => AvcPacket::SequenceHeader,
            1 => AvcPacket::Nalu,
            2 => AvcPacket::EndOfSequence,
            _ => return None,
        };
        // A signed 24-bit number: put it at the top of 32 bits, and shift back with its sign.
        let composition_ms = i32::from_be_bytes([c0, c1, c2, 0]) >> 8;
        Some(VideoHeader { keyframe: frame_type == 1 || frame_type == 4, packet, composition_ms })
    }

    /// The AAC header, or `None` when this is not an AAC audio tag.
    pub fn audio(&self) -> Option<AudioHeader> {
        if self.kind != TagKind::Audio {
            return None;
        }
        let [first, packet, ..] = *self.data else { return None };
        if first >> 4 != AAC {
            return None;
        }
        let packet = match packet {
            0 => AacPacket::SequenceHeader,
            1 => AacPacket::Raw,
            _ => return None,
        };
        Some(AudioHeader { packet })
    }

    /// An H.264 keyframe: decoding can start here, given the sequence header.
    pub fn is_keyframe(&self) -> bool {
        self.video().is_some_and(|v| v.keyframe && v.packet == AvcPacket::Nalu)
    }

    /// An AVC or AAC sequence header.
    pub fn is_sequence_header(&self) -> bool {
        self.video().is_some_and(|v| v.packet == AvcPacket::SequenceHeader)
            || self.audio().is_some_and(|a| a.packet == AacPacket::SequenceHeader)
    }

    /// What follows the AVC (5 bytes) or AAC (2 bytes) header; the whole body of any other tag.
    pub fn payload(&self) -> Bytes {
        let skip = match self.kind {
            _ if self.video().is_some() => 5,
            _ if self.audio().is_some() => 2,
            _ => 0,
        };
        self.data.slice(skip.min(self.data.len())..)
    }

    /// Whether the tag is one that Backrow takes: H.264, AAC, script data, or a harmless empty or
    /// command tag.
    ///
    /// # Errors
    /// [`Error::UnsupportedCodec`] with the codec's name, [`Error::ShortTag`].
    pub fn check(&self) -> Result<(), Error> {
        let Some(&first) = self.data.first() else { return Ok(()) };
        let size = self.data.len();
        match self.kind {
            TagKind::Script => Ok(()),
            TagKind::Video if first & 0x80 != 0 => {
                Err(Error::UnsupportedCodec { track: "video", codec: four_cc(&self.data) })
            }
            TagKind::Video if first & 0x0f != AVC => {
                Err(Error::UnsupportedCodec { track: "video", codec: video_codec(first & 0x0f) })
            }
            // Frame type 5 is a command to the player, one byte, no picture.
            TagKind::Video if first >> 4 == 5 || size >= 5 => Ok(()),
            TagKind::Video => Err(Error::ShortTag { track: "video", size }),
            TagKind::Audio if first >> 4 == 9 => {
                Err(Error::UnsupportedCodec { track: "audio", codec: four_cc(&self.data) })
            }
            TagKind::Audio if first >> 4 != AAC => {
                Err(Error::UnsupportedCodec { track: "audio", codec: audio_codec(first >> 4) })
            }
            TagKind::Audio if size >= 2 => Ok(()),
            TagKind::Audio => Err(Error::ShortTag { track: "audio", size }),
        }
    }

    /// A video tag with an AVCDecoderConfigurationRecord.
    pub fn avc_sequence_header(ts: u32, avcc: &[u8]) -> Tag {
        Self::avc(ts, 0x17, 0, 0, avcc)
    }

    /// A video tag with one access unit, its NAL units prefixed by their lengths.
    /// `composition_ms` is held in 24 bits: it is clamped to ±8388 s.
    pub fn avc_frame(ts: u32, composition_ms: i32, keyframe: bool, avcc_data: &[u8]) -> Tag {
        Self::avc(ts, if keyframe { 0x17 } else { 0x27 }, 1, composition_ms, avcc_data)
    }

    /// An audio tag with an AudioSpecificConfig.
    pub fn aac_sequence_header(ts: u32, asc: &[u8]) -> Tag {
        Self::aac(ts, 0, asc)
    }

    /// An audio tag with one raw AAC frame.
    pub fn aac_frame(ts: u32, raw: &[u8]) -> Tag {
        Self::aac(ts, 1, raw)
    }

    fn avc(ts: u32, first: u8, packet: u8, composition_ms: i32, payload: &[u8]) -> Tag {
        let composition = composition_ms.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
        let mut data = BytesMut::with_capacity(5 + payload.len());
        data.put_slice(&[first, packet, composition[1], composition[2], composition[3]]);
        data.put_slice(payload);
        Tag { kind: TagKind::Video, timestamp: ts, data: data.freeze() }
    }

    fn aac(ts: u32, packet: u8, payload: &[u8]) -> Tag {
        let mut data = BytesMut::with_capacity(2 + payload.len());
        data.put_slice(&[AAC_FLAGS, packet]);
        data.put_slice(payload);
        Tag { kind: TagKind::Audio, timestamp: ts, data: data.freeze() }
    }
}

fn video_codec(id: u8) -> String {
    match id {
        2 => "Sorenson H.263".into(),
        3 => "Screen video".into(),
        4 => "On2 VP6".into(),
        5 => "On2 VP6 with alpha".into(),
        6 => "Screen video 2".into(),
        12 => "HEVC".into(),
        other => format!("codec {other}"),
    }
}

fn audio_codec(id: u8) -> String {
    match id {
        0 | 3 => "uncompressed PCM".into(),
        1 => "ADPCM".into(),
        2 | 14 => "MP3".into(),
        4..=6 => "Nellymoser".into(),
        7 => "G.711 A-law".into(),
        8 => "G.711 mu-law".into(),
        11 => "Speex".into(),
        other => format!("codec {other}"),
    }
}

/// The name of a codec in an "enhanced" tag: four letters after the first byte.
fn four_cc(data: &[u8]) -> String {
    match data.get(1..5) {
        Some(cc) if cc.iter().all(u8::is_ascii_graphic) => {
            format!("{} (enhanced FLV)", String::from_utf8_lossy(cc))
        }
        _ => "an enhanced FLV codec".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_read_back_what_the_constructors_wrote() {
        let key = Tag::avc_frame(7, -40, true, b"nal");
        assert_eq!(
            key.video(),
            Some(VideoHeader { keyframe: true, packet: AvcPacket::Nalu, composition_ms: -40 })
        );
        assert!(key.is_keyframe() && !key.is_sequence_header());
        assert_eq!(&key.payload()[..], b"nal");
        assert!(!Tag::avc_frame(7, 0, false, b"nal").is_keyframe());

        let header = Tag::avc_sequence_header(0, b"avcc");
        assert!(header.is_sequence_header() && !header.is_keyframe());
        assert!(Tag::aac_sequence_header(0, &[0x12, 0x10]).is_sequence_header());
        assert_eq!(&Tag::aac_frame(0, b"raw").payload()[..], b"raw");
    }

    #[test]
    fn other_codecs_are_named() {
        let refused = |kind, data: &'static [u8]| {
            Tag { kind, timestamp: 0, data: Bytes::from_static(data) }
                .check()
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(TagKind::Audio, &[0x2f, 0, 0]),
            "audio is MP3; only H.264 video and AAC audio are taken"
        );
        assert!(refused(TagKind::Video, &[0x22, 0, 0]).contains("Sorenson H.263"));
        assert!(refused(TagKind::Video, b"\x91hvc1").contains("hvc1"));
        assert!(refused(TagKind::Video, &[0x17, 1]).contains("too short"));
        assert!(Tag::avc_frame(0, 0, true, b"").check().is_ok());
        // A "seek" command frame and an empty tag are odd, and harmless.
        let command =
            Tag { kind: TagKind::Video, timestamp: 0, data: Bytes::from_static(&[0x57, 0]) };
        assert!(command.check().is_ok() && command.video().is_none());
    }

    proptest! {
        #[test]
        fn composition_times_survive(ms in -0x80_0000i32..=0x7f_ffff) {
            prop_assert_eq!(Tag::avc_frame(0, ms, false, b"").video().unwrap().composition_ms, ms);
        }
    }
}
