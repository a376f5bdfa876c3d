//! A WebM stream as viewers join it: one header, then clusters that each start with a keyframe.
//!
//! Written for live viewing (Matroska specification, RFC 9559, section 23.2): segment and clusters
//! are of unknown size, so that a block leaves the moment it exists, and cluster times are room
//! time, so that a restarted worker goes on where the last one was. Packets in, bytes out; no I/O.

use bytes::{BufMut, Bytes, BytesMut};

const VIDEO_TRACK: u64 = 1;
const AUDIO_TRACK: u64 = 2;

/// What the header says about the sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpusTrack {
    /// The identification header, `OpusHead` (RFC 7845, section 5.1).
    pub head: Bytes,
    /// Channels, as in the head.
    pub channels: u8,
    /// Samples to skip at the start, at 48 kHz, as in the head.
    pub pre_skip: u16,
}

/// An element: id, one-byte-or-longer size, content.
fn element(out: &mut BytesMut, id: u32, content: &[u8]) {
    put_id(out, id);
    put_size(out, content.len() as u64);
    out.put_slice(content);
}

fn put_id(out: &mut BytesMut, id: u32) {
    let bytes = id.to_be_bytes();
    let skip = bytes.iter().take_while(|b| **b == 0).count();
    out.put_slice(bytes.get(skip..).unwrap_or_default());
}

fn put_size(out: &mut BytesMut, size: u64) {
    // RFC 8794, section 4: all ones is "unknown", so a length must be below that.
    let width = (1..8).find(|w| size < (1 << (7 * w)) - 1).unwrap_or(8);
    let coded = (1_u64 << (7 * width)) | size;
    out.put_slice(coded.to_be_bytes().get(8 - width..).unwrap_or_default());
}

/// An element without an end: it lasts until the next of its level.
fn open(out: &mut BytesMut, id: u32) {
    put_id(out, id);
    out.put_u64(0x01ff_ffff_ffff_ffff);
}

fn uint(out: &mut BytesMut, id: u32, value: u64) {
    let bytes = value.to_be_bytes();
    let skip = bytes.iter().take_while(|b| **b == 0).count().min(7);
    element(out, id, bytes.get(skip..).unwrap_or_default());
}

fn nested(out: &mut BytesMut, id: u32, fill: impl FnOnce(&mut BytesMut)) {
    let mut inner = BytesMut::new();
    fill(&mut inner);
    element(out, id, &inner);
}

/// The bytes every viewer gets first.
pub(crate) fn header(width: u32, height: u32, sound: Option<&OpusTrack>) -> Bytes {
    let mut out = BytesMut::with_capacity(400);
    nested(&mut out, 0x1a45_dfa3, |ebml| {
        uint(ebml, 0x4286, 1); // EBMLVersion
        uint(ebml, 0x42f7, 1); // EBMLReadVersion
        uint(ebml, 0x42f2, 4); // EBMLMaxIDLength
        uint(ebml, 0x42f3, 8); // EBMLMaxSizeLength
        element(ebml, 0x4282, b"webm"); // DocType
        uint(ebml, 0x4287, 4); // DocTypeVersion: CodecDelay and SeekPreRoll are of version 4
        uint(ebml, 0x4285, 2); // DocTypeReadVersion: SimpleBlock
    });
    open(&mut out, 0x1853_8067); // Segment
    nested(&mut out, 0x1549_a966, |info| {
        uint(info, 0x2a_d7b1, 1_000_000); // TimestampScale: milliseconds
        element(info, 0x4d80, b"Backrow"); // MuxingApp
        element(info, 0x5741, b"Backrow"); // WritingApp
    });
    nested(&mut out, 0x1654_ae6b, |tracks| {
        nested(tracks, 0xae, |track| {
            uint(track, 0xd7, VIDEO_TRACK); // TrackNumber
            uint(track, 0x73c5, VIDEO_TRACK); // TrackUID
            uint(track, 0x83, 1); // TrackType: video
            uint(track, 0x9c, 0); // FlagLacing
            element(track, 0x86, b"V_VP8"); // CodecID
            nested(track, 0xe0, |video| {
                uint(video, 0xb0, width.into()); // PixelWidth
                uint(video, 0xba, height.into()); // PixelHeight
            });
        });
        let Some(sound) = sound else { return };
        nested(tracks, 0xae, |track| {
            uint(track, 0xd7, AUDIO_TRACK);
            uint(track, 0x73c5, AUDIO_TRACK);
            uint(track, 0x83, 2); // TrackType: audio
            uint(track, 0x9c, 0);
            element(track, 0x86, b"A_OPUS");
            uint(track, 0x56aa, u64::from(sound.pre_skip) * 1_000_000_000 / 48_000); // CodecDelay, ns
            uint(track, 0x56bb, 80_000_000); // SeekPreRoll, ns: RFC 7845, section 4.6
            nested(track, 0xe1, |audio| {
                element(audio, 0xb5, &48_000_f64.to_be_bytes()); // SamplingFrequency
                uint(audio, 0x9f, sound.channels.into()); // Channels
            });
            element(track, 0x63a2, &sound.head); // CodecPrivate
        });
    });
    out.freeze()
}

/// One block's bytes; a viewer may start at it when `sync`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// A new cluster that begins with a keyframe.
    pub sync: bool,
    /// Presentation time in ms.
    pub ts_ms: u64,
    /// The bytes.
    pub data: Bytes,
}

/// Which track a block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// VP8; `keyframe` starts a cluster.
    Video {
        /// Decodes by itself.
        keyframe: bool,
    },
    /// Opus.
    Audio,
}

/// Turns packets, in the order they are to be written, into blocks and clusters.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    /// Time of the open cluster, ms.
    open_ms: Option<u64>,
}

impl Clusters {
    /// No cluster open: the first is opened by a video keyframe; what comes before it is not
    /// playable and gives `None`.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Writes one packet.
    pub(crate) fn block(&mut self, track: Track, ts_ms: u64, data: &[u8]) -> Option<Piece> {
        let sync = track == Track::Video { keyframe: true };
        // A block's time is 16 bits relative to its cluster's.
        let relative = |open: u64| i16::try_from(ts_ms.wrapping_sub(open).cast_signed()).ok();
        let mut out = BytesMut::with_capacity(data.len() + 40);
        let offset = match self.open_ms.filter(|_| !sync).map(relative) {
            Some(Some(offset)) => offset,
            None if !sync => return None,
            _ => {
                open(&mut out, 0x1f43_b675); // Cluster
                uint(&mut out, 0xe7, ts_ms); // Timestamp
                self.open_ms = Some(ts_ms);
                0
            }
        };
        let (number, keyframe) = match track {
            Track::Video { keyframe } => (VIDEO_TRACK, keyframe),
            Track::Audio => (AUDIO_TRACK, true),
        };
        put_id(&mut out, 0xa3); // SimpleBlock
        put_size(&mut out, data.len() as u64 + 4);
        put_size(&mut out, number);
        out.put_i16(offset);
        out.put_u8(if keyframe { 0x80 } else { 0 });
        out.put_slice(data);
        Some(Piece { sync, ts_ms, data: out.freeze() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Track = Track::Video { keyframe: true };
    const DELTA: Track = Track::Video { keyframe: false };

    #[test]
    fn sizes_are_coded_as_the_specification_says() {
        let coded = |size| {
            let mut out = BytesMut::new();
            put_size(&mut out, size);
            out.to_vec()
        };
        assert_eq!(coded(0), [0x80]);
        assert_eq!(coded(126), [0xfe]);
        assert_eq!(coded(127), [0x40, 127]);
        assert_eq!(coded(16_382), [0x7f, 0xfe]);
        assert_eq!(coded(16_383), [0x20, 0x3f, 0xff]);
    }

    #[test]
    fn a_keyframe_opens_a_cluster_at_its_own_time() {
        let mut clusters = Clusters::new();
        assert_eq!(clusters.block(DELTA, 5, b"x"), None);
        let key = clusters.block(KEY, 0x01_2345_6789, b"k").unwrap();
        assert!(key.sync);
        assert_eq!(
            key.data[..],
            [
                0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe7, 0x85,
                0x01, 0x23, 0x45, 0x67, 0x89, 0xa3, 0x85, 0x81, 0, 0, 0x80, b'k'
            ]
        );
        let next = clusters.block(DELTA, 0x01_2345_6789 + 40, b"d").unwrap();
        assert_eq!(next.data[..], [0xa3, 0x85, 0x81, 0, 40, 0, b'd']);
        let earlier = clusters.block(Track::Audio, 0x01_2345_6789 - 2, b"a").unwrap();
        assert_eq!(earlier.data[..], [0xa3, 0x85, 0x82, 0xff, 0xfe, 0x80, b'a']);
    }

    #[test]
    fn a_jump_beyond_16_bits_opens_a_cluster_that_is_no_sync_point() {
        let mut clusters = Clusters::new();
        clusters.block(KEY, 0, b"k").unwrap();
        let far = clusters.block(Track::Audio, 40_000, b"a").unwrap();
        assert!(!far.sync);
        assert!(far.data.starts_with(&[0x1f, 0x43, 0xb6, 0x75]));
    }

    proptest! {
        #[test]
        fn any_times_are_survived(times in prop::collection::vec((any::<u64>(), 0_usize..3), 0..50)) {
            let mut clusters = Clusters::new();
            for (ts, kind) in times {
                let track = [KEY, DELTA, Track::Audio][kind];
                let piece = clusters.block(track, ts, b"data");
                prop_assert_eq!(piece.as_ref().is_some_and(|p| p.sync), track == KEY);
            }
        }
    }
}
