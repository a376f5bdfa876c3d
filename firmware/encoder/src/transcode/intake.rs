//! From the bytes on stdin to the decoders: tags, times, codec configurations.

use std::{
    io::Read,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use flv::{AacPacket, AvcPacket, Tag, TagKind, metadata::Metadata, timeline::Unroll};
use gstreamer as gst;

use super::{decode::Decoder, output::Output, picture::Known, report::Report};

/// One track on its way to its decoder.
struct Track {
    decoder: Arc<Decoder>,
    config: Option<(bytes::Bytes, gst::Caps)>,
    last_ms: Option<u64>,
    /// Frames that could not be decoded, and whether that has been said.
    skipped: u64,
}

impl Track {
    fn new(decoder: Arc<Decoder>) -> Self {
        Self { decoder, config: None, last_ms: None, skipped: 0 }
    }

    /// Time that steps back would confuse every encoder after.
    fn is_late(&mut self, ts: u64) -> bool {
        let late = self.last_ms.is_some_and(|last| ts < last);
        if !late {
            self.last_ms = Some(ts);
        }
        late
    }

    fn skip(&mut self, why: &str) {
        self.skipped += 1;
        if self.skipped.is_power_of_two() {
            let (name, n) = (self.decoder.name, self.skipped);
            Report::Log { message: format!("{name}: {n} tags left out so far, the last {why}") }
                .write();
        }
    }

    fn push(&mut self, ts_ms: u64, data: bytes::Bytes, keyframe: bool) -> Result<(), String> {
        let Some((_, caps)) = &self.config else {
            self.skip("for want of a sequence header before it");
            return Ok(());
        };
        if !self.decoder.is_running() {
            if !keyframe {
                self.skip("for want of a keyframe before it");
                return Ok(());
            }
            self.decoder.start()?;
        }
        let mut buffer = gst::Buffer::from_slice(data);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_mseconds(ts_ms));
            if !keyframe {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.decoder.push(caps, buffer);
        Ok(())
    }
}

/// Takes tags to the decoders.
pub(crate) struct Intake {
    unroll: Unroll,
    video: Track,
    audio: Track,
    known: Arc<Mutex<Known>>,
    sound: Arc<AtomicBool>,
}

impl Intake {
    /// `known` and `sound` tell the outputs what only tags say.
    pub(crate) fn new(
        video: Arc<Decoder>,
        audio: Arc<Decoder>,
        known: Arc<Mutex<Known>>,
        sound: Arc<AtomicBool>,
    ) -> Self {
        let (video, audio) = (Track::new(video), Track::new(audio));
        Self { unroll: Unroll::new(), video, audio, known, sound }
    }

    /// Reads to the end, or until nobody reads the output.
    pub(crate) fn run(&mut self, mut input: impl Read, output: &Output) -> Result<(), String> {
        let mut parser = flv::Parser::new(flv::Limits::default());
        let mut piece = vec![0; 64 << 10];
        loop {
            if output.is_gone() {
                return Err("nobody reads the output any more".into());
            }
            let n = match input.read(&mut piece) {
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(format!("cannot read the input: {e}")),
            };
            parser.push(piece.get(..n).unwrap_or_default());
            while let Some(tag) = parser.next_tag().map_err(|e| format!("the input: {e}"))? {
                self.tag(&tag)?;
            }
            if n == 0 {
                return parser.finish().map_err(|e| format!("the input: {e}"));
            }
        }
    }

    fn tag(&mut self, tag: &Tag) -> Result<(), String> {
        let ts = self.unroll.next(tag.timestamp);
        match tag.kind {
            TagKind::Script => {
                if let Some(fps) = Metadata::from_tag(tag).and_then(|m| m.framerate) {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.cadence.claimed(fps);
                }
                Ok(())
            }
            TagKind::Video => self.video(ts, tag),
            TagKind::Audio => self.audio(ts, tag),
        }
    }

    fn video(&mut self, ts: u64, tag: &Tag) -> Result<(), String> {
        let Some(header) = tag.video() else {
            self.video.skip("is not H.264");
            return Ok(());
        };
        match header.packet {
            AvcPacket::EndOfSequence => Ok(()),
            AvcPacket::SequenceHeader => {
                let config = tag.payload();
                if self.video.config.as_ref().is_some_and(|(old, _)| *old == config) {
                    return Ok(());
                }
                if let Err(error) = flv::avc::AvcConfig::parse(&config) {
                    self.video.config = None;
                    self.video.skip(&format!("is a sequence header that is none: {error}"));
                    return Ok(());
                }
                let caps = gst::Caps::builder("video/x-h264")
                    .field("stream-format", "avc")
                    .field("alignment", "au")
                    .field("codec_data", gst::Buffer::from_slice(config.clone()))
                    .build();
                self.video.config = Some((config, caps));
                Ok(())
            }
            AvcPacket::Nalu => {
                if self.video.is_late(ts) {
                    self.video.skip("goes back in time");
                    return Ok(());
                }
                let pts = ts.saturating_add_signed(header.composition_ms.into());
                {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.cadence.frame(ts, header.keyframe);
                    if header.keyframe {
                        known.keys.keyframe(pts, pts.saturating_sub(ts));
                    }
                }
                self.video.push(pts, tag.payload(), header.keyframe)
            }
        }
    }

    fn audio(&mut self, ts: u64, tag: &Tag) -> Result<(), String> {
        let Some(header) = tag.audio() else {
            self.audio.skip("is not AAC");
            return Ok(());
        };
        match header.packet {
            AacPacket::SequenceHeader => {
                let bytes = tag.payload();
                if self.audio.config.as_ref().is_some_and(|(old, _)| *old == bytes) {
                    return Ok(());
                }
                let config = match flv::aac::AudioSpecificConfig::parse(&bytes) {
                    Ok(config) => config,
                    Err(error) => {
                        self.audio.config = None;
                        self.audio.skip(&format!("is a sequence header that is none: {error}"));
                        return Ok(());
                    }
                };
                let caps = gst::Caps::builder("audio/mpeg")
                    .field("mpegversion", 4)
                    .field("stream-format", "raw")
                    .field("framed", true)
                    .field("rate", i32::try_from(config.rate).unwrap_or(0))
                    .field("channels", i32::from(config.channels))
                    .field("codec_data", gst::Buffer::from_slice(bytes.clone()))
                    .build();
                self.audio.config = Some((bytes, caps));
                Ok(())
            }
            AacPacket::Raw => {
                if self.audio.is_late(ts) {
                    self.audio.skip("goes back in time");
                    return Ok(());
                }
                self.sound.store(true, Ordering::Relaxed);
                self.audio.push(ts, tag.payload(), true)
            }
        }
    }
}
