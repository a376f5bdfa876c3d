//! Coded frames to one FLV stream whose time begins at 0. Pure: frames in, bytes out.
//!
//! ```text
//!             first key frame                    source rebuilt
//!  waiting ───────────────────▶ running ───────────────────────▶ joining ──┐
//!  (sound is kept)                 ▲            first key frame            │
//!                                  └───────────────────────────────────────┘
//! ```
//!
//! Time 0 is the first key frame; sound that was kept from before it is let go. When the worker rebuilds its pipeline the stream goes on where it
//! ended: joining puts the next key frame one frame after the last one written.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flv::Tag;
use flv::interleave::Interleaver;
use flv::metadata::Metadata;

/// How long picture waits for sound and the reverse, in ms of media.
const MAX_WAIT_MS: u32 = 1_000;
/// AAC frames kept while there is no picture yet: 5 s.
const MAX_EARLY: usize = 240;
/// AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): AAC-LC, 48 kHz, two channels.
pub const AUDIO_CONFIG: [u8; 2] = [0x11, 0x90];

/// One coded frame, or what decoders must know before one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coded {
    /// An AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
    VideoConfig(Bytes),
    /// One picture, NAL units with lengths.
    Video {
        /// Presentation and decoding time, by the pipeline's running time.
        pts: Duration,
        /// Decoding time.
        dts: Duration,
        /// A decoder can start here.
        keyframe: bool,
        /// NAL units, each after its four-byte length.
        data: Bytes,
    },
    /// One raw AAC frame.
    Audio {
        /// Presentation time, by the pipeline's running time.
        pts: Duration,
        /// The frame.
        data: Bytes,
    },
    /// Another pipeline with another running time follows.
    Rebuilt,
}

/// What a call has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Pictures.
    pub frames: u32,
    /// Time of the newest picture, ms.
    pub video_ms: Option<u32>,
    /// Time of the newest sound, ms.
    pub audio_ms: Option<u32>,
}

/// The muxer.
#[derive(Debug)]
pub struct Muxer {
    interleaver: Interleaver,
    header: Option<Metadata>,
    config: Option<Bytes>,
    frame: Duration,
    /// Running time at stream time `start`.
    origin: Option<Duration>,
    start: Duration,
    last_video: Option<u32>,
    last_audio: Option<u32>,
    /// Sound that came before the picture it belongs to.
    early: VecDeque<(Duration, Bytes)>,
}

impl Muxer {
    /// A muxer for this stream; `framerate` in frames per second.
    pub fn new(metadata: Metadata, framerate: u32) -> Self {
        Self {
            interleaver: Interleaver::new(MAX_WAIT_MS),
            header: Some(metadata),
            config: None,
            frame: Duration::from_secs(1) / framerate.max(1),
            origin: None,
            start: Duration::ZERO,
            last_video: None,
            last_audio: None,
            early: VecDeque::new(),
        }
    }

    /// Takes one frame and appends to `out` what can be written.
    pub fn push(&mut self, coded: Coded, out: &mut BytesMut) -> Written {
        match coded {
            Coded::VideoConfig(config) => self.config = Some(config),
            Coded::Rebuilt => {
                let written = self.flush(out);
                self.origin = None;
                self.early.clear();
                self.start = self
                    .last_video
                    .map_or(Duration::ZERO, |ms| Duration::from_millis(ms.into()) + self.frame);
                return written;
            }
            Coded::Video { pts, dts, keyframe, data } => self.video(pts, dts, keyframe, &data, out),
            Coded::Audio { pts, data } if self.origin.is_none() => {
                // The sound's encoder is often ready before the picture's.
                if self.early.len() == MAX_EARLY {
                    self.early.pop_front();
                }
                self.early.push_back((pts, data));
            }
            Coded::Audio { pts, data } => self.audio(pts, &data),
        }
        self.write(out, Interleaver::pop)
    }

    /// Appends to `out` all that still waits.
    pub fn flush(&mut self, out: &mut BytesMut) -> Written {
        self.write(out, Interleaver::drain)
    }

    fn video(
        &mut self,
        pts: Duration,
        dts: Duration,
        keyframe: bool,
        data: &[u8],
        out: &mut BytesMut,
    ) {
        if self.origin.is_none() && (!keyframe || self.config.is_none()) {
            return;
        }
        self.origin.get_or_insert(dts);
        let Some(ms) = self.stream_ms(dts, self.last_video) else { return };
        self.write_header(ms, out);
        if let Some(config) = self.config.take() {
            self.interleaver.push(Tag::avc_sequence_header(ms, &config));
        }
        let composition = milliseconds(pts) - milliseconds(dts);
        let composition = i32::try_from(composition).unwrap_or(0);
        self.last_video = Some(ms);
        self.interleaver.push(Tag::avc_frame(ms, composition, keyframe, data));
        for (pts, data) in std::mem::take(&mut self.early) {
            self.audio(pts, &data);
        }
    }

    fn audio(&mut self, pts: Duration, data: &[u8]) {
        if let Some(ms) = self.stream_ms(pts, self.last_audio) {
            self.last_audio = Some(ms);
            self.interleaver.push(Tag::aac_frame(ms, data));
        }
    }

    fn write_header(&mut self, ms: u32, out: &mut BytesMut) {
        if let Some(metadata) = self.header.take() {
            out.extend_from_slice(&flv::file_header(true, true));
            metadata.to_tag(ms).encode(out);
            if let Some(config) = self.config.take() {
                Tag::avc_sequence_header(ms, &config).encode(out);
            }
            Tag::aac_sequence_header(ms, &AUDIO_CONFIG).encode(out);
        }
    }

    /// Stream time of a running time in ms, never before `last`; None before the origin.
    fn stream_ms(&self, running: Duration, last: Option<u32>) -> Option<u32> {
        let since = running.checked_sub(self.origin?)?;
        // FLV's time wraps at 32 bits of ms; a capture that long is restarted long before.
        let ms = milliseconds(self.start + since) as u32;
        Some(last.map_or(ms, |last| ms.max(last)))
    }

    fn write(&mut self, out: &mut BytesMut, next: fn(&mut Interleaver) -> Option<Tag>) -> Written {
        let mut written = Written::default();
        while let Some(tag) = next(&mut self.interleaver) {
            if tag.is_sequence_header() {
            } else if tag.kind == flv::TagKind::Video {
                written.frames += 1;
                written.video_ms = Some(tag.timestamp);
            } else {
                written.audio_ms = Some(tag.timestamp);
            }
            tag.encode(out);
        }
        written
    }
}

/// Milliseconds, rounded to the nearest.
fn milliseconds(time: Duration) -> i64 {
    i64::try_from((time.as_nanos() + 500_000) / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flv::TagKind;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn video(at: u64, keyframe: bool) -> Coded {
        Coded::Video { pts: ms(at), dts: ms(at), keyframe, data: Bytes::from_static(b"nal") }
    }

    fn audio(at: u64) -> Coded {
        Coded::Audio { pts: ms(at), data: Bytes::from_static(b"aac") }
    }

    fn tags(coded: impl IntoIterator<Item = Coded>) -> Vec<Tag> {
        let mut muxer = Muxer::new(Metadata::default(), 25);
        let mut out = BytesMut::new();
        for coded in coded {
            muxer.push(coded, &mut out);
        }
        muxer.flush(&mut out);
        let mut parser = flv::Parser::new(flv::Limits::default());
        parser.push(&out);
        let mut tags = Vec::new();
        while let Some(tag) = parser.next_tag().expect("our own FLV") {
            tags.push(tag);
        }
        if !out.is_empty() {
            parser.finish().expect("whole");
        }
        tags
    }

    fn config() -> Coded {
        Coded::VideoConfig(Bytes::from_static(&[1, 0x64, 0, 31]))
    }

    #[test]
    fn headers_first_and_time_from_the_first_key_frame() {
        let tags = tags([
            audio(900),
            config(),
            video(960, false),
            audio(990),
            audio(1005),
            video(1000, true),
            audio(1010),
            video(1040, false),
        ]);
        let kinds: Vec<_> = tags.iter().map(|tag| (tag.kind, tag.timestamp)).collect();
        assert_eq!(
            kinds,
            [
                (TagKind::Script, 0),
                (TagKind::Video, 0),
                (TagKind::Audio, 0),
                (TagKind::Video, 0),
                (TagKind::Audio, 5),
                (TagKind::Audio, 10),
                (TagKind::Video, 40),
            ]
        );
        assert!(tags[1].is_sequence_header() && tags[2].is_sequence_header());
        assert!(tags[3].is_keyframe());
    }

    #[test]
    fn a_rebuilt_source_goes_on_where_the_last_ended() {
        let tags = tags([
            config(),
            video(0, true),
            video(40, false),
            Coded::Rebuilt,
            config(),
            video(5000, false),
            video(5040, true),
            audio(5050),
            video(5080, false),
        ]);
        let times: Vec<_> = tags.iter().skip(3).map(|tag| (tag.kind, tag.timestamp)).collect();
        assert_eq!(
            times,
            [
                (TagKind::Video, 0),
                (TagKind::Video, 40),
                (TagKind::Video, 80), // the new sequence header
                (TagKind::Video, 80),
                (TagKind::Audio, 90),
                (TagKind::Video, 120),
            ]
        );
    }

    #[test]
    fn thirds_of_a_frame_are_rounded_and_not_added_up() {
        let frames = (0..300_u64).map(|n| Coded::Video {
            pts: Duration::from_nanos(n * 1_000_000_000 / 30),
            dts: Duration::from_nanos(n * 1_000_000_000 / 30),
            keyframe: n % 60 == 0,
            data: Bytes::from_static(b"nal"),
        });
        let tags = tags([config()].into_iter().chain(frames));
        assert_eq!(tags.last().map(|tag| tag.timestamp), Some(9967));
    }

    proptest! {
        #[test]
        fn any_order_of_times_gives_whole_flv_with_each_track_in_order(
            input in prop::collection::vec((any::<bool>(), any::<bool>(), 0_u64..20_000), 0..200),
        ) {
            let coded = input.into_iter().map(|(is_video, keyframe, at)| {
                if is_video { video(at, keyframe) } else { audio(at) }
            });
            let tags = tags([config()].into_iter().chain(coded));
            for kind in [TagKind::Audio, TagKind::Video] {
                let times: Vec<_> =
                    tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.timestamp).collect();
                prop_assert!(times.is_sorted());
            }
        }
    }
}
