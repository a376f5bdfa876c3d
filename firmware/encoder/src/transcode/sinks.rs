//! What comes out of the encoders on its way to stdout: wrapped for its stream.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use flv::Tag;
use gstreamer as gst;

use super::{
    frame::Frame,
    keys::{DecodeTimes, Ledger},
    ogg::OggOpus,
    pipes::H264_OFFSET,
    slot::{Env, Sink},
    weave::{Side, Weave},
    webm::{self, Clusters, OpusTrack, Piece, Track},
};

/// How much picture a WebM stream holds back while its sound is behind, ms of media.
const WAIT_MS: u64 = 2_000;
/// Duration of our Opus packets, ms.
const OPUS_MS: u64 = 20;
/// 20 ms of silence, stereo (RFC 6716, section 3.1: fullband CELT, one frame).
const SILENCE: [u8; 3] = [0xfc, 0xff, 0xfe];
/// Sound may be this late before the silence is filled, ms.
const LATE_MS: u64 = 200;
/// A step this long is a jump of the timeline, not silence, ms.
const JUMP_MS: u64 = 10_000;
/// Sound in one page of Ogg, ms.
const PAGE_MS: u64 = 200;

/// One packet of an encoder.
pub(super) struct Packet {
    pub(super) ts_ms: u64,
    keyframe: bool,
    pub(super) data: Bytes,
}

/// Time, data and kind of what an encoder gave, in running time.
pub(super) fn packet(sample: &gst::Sample) -> Option<Packet> {
    let buffer = sample.buffer()?;
    let pts = buffer.pts()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let ts_ms = segment.to_running_time(pts)?.mseconds();
    let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let data = Bytes::copy_from_slice(&buffer.map_readable().ok()?);
    Some(Packet { ts_ms, keyframe, data })
}

fn caps_bytes(sample: &gst::Sample, field: &str) -> Option<Bytes> {
    let buffer = sample.caps()?.structure(0)?.get::<gst::Buffer>(field).ok()?;
    Some(Bytes::copy_from_slice(&buffer.map_readable().ok()?))
}

/// H.264 in FLV video tags.
pub(crate) fn rung(env: Arc<Env>, stream: u8, keys: Arc<Mutex<Ledger>>) -> Sink {
    let state = Mutex::new((None::<Bytes>, DecodeTimes::default()));
    Arc::new(move |sample| {
        let Some(mut packet) = packet(sample) else { return };
        packet.ts_ms = packet.ts_ms.saturating_sub(H264_OFFSET.mseconds());
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, times) = &mut *state;
        let key = keys.lock().unwrap_or_else(PoisonError::into_inner).decoded(packet.ts_ms);
        let dts = times.next(packet.ts_ms, key);
        let write = |header: bool, sync: bool, tag: &Tag| {
            env.output.write(&Frame { stream, header, sync, ts_ms: dts, data: tag.to_bytes() });
        };
        if packet.keyframe
            && let Some(new) = caps_bytes(sample, "codec_data")
            && config.as_ref() != Some(&new)
        {
            write(true, false, &Tag::avc_sequence_header(dts as u32, &new));
            *config = Some(new);
        }
        let composition = i32::try_from(packet.ts_ms.saturating_sub(dts)).unwrap_or(0);
        let tag = Tag::avc_frame(dts as u32, composition, packet.keyframe, &packet.data);
        write(false, packet.keyframe, &tag);
    })
}

/// MP3: whole frames, any of which a listener may start at.
pub(crate) fn mp3(env: Arc<Env>, stream: u8) -> Sink {
    Arc::new(move |sample| {
        let Some(Packet { ts_ms, data, .. }) = packet(sample) else { return };
        env.output.write(&Frame { stream, header: false, sync: true, ts_ms, data });
    })
}

/// A WebM stream: its picture and its sound meet here.
pub(crate) struct Webm {
    env: Arc<Env>,
    stream: u8,
    /// Sound has been seen in the source.
    sound_expected: Arc<AtomicBool>,
    state: Mutex<WebmState>,
}

struct WebmState {
    weave: Weave<Packet>,
    clusters: Clusters,
    size: Option<(u32, u32)>,
    sound: Option<OpusTrack>,
    /// What the header last written says.
    told: Option<((u32, u32), bool)>,
    /// Up to where sound has been written, ms.
    sounded: u64,
}

impl Webm {
    /// Nothing written yet.
    pub(crate) fn new(env: Arc<Env>, stream: u8, sound_expected: Arc<AtomicBool>) -> Arc<Self> {
        let state = WebmState {
            weave: Weave::new(WAIT_MS),
            clusters: Clusters::new(),
            size: None,
            sound: None,
            told: None,
            sounded: 0,
        };
        Arc::new(Self { env, stream, sound_expected, state: Mutex::new(state) })
    }

    /// Where the VP8 encoder's output goes.
    pub(crate) fn video_sink(self: &Arc<Self>) -> Sink {
        let webm = self.clone();
        Arc::new(move |sample| {
            let Some(packet) = packet(sample) else { return };
            let number =
                |field| u32::try_from(sample.caps()?.structure(0)?.get::<i32>(field).ok()?).ok();
            let size = number("width").zip(number("height"));
            let mut state = webm.state.lock().unwrap_or_else(PoisonError::into_inner);
            if packet.keyframe && size.is_some() {
                state.size = size;
            }
            state.weave.push(Side::Video, packet.ts_ms, packet);
            webm.write(&mut state, false);
        })
    }

    fn sound(&self, track: &OpusTrack, ts_ms: u64, data: &Bytes) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sound.get_or_insert_with(|| track.clone());
        let packet = Packet { ts_ms, keyframe: true, data: data.clone() };
        state.weave.push(Side::Audio, ts_ms, packet);
        self.write(&mut state, false);
    }

    /// Writes what is held.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut state, true);
    }

    fn write(&self, state: &mut WebmState, all: bool) {
        let expected = self.sound_expected.load(Ordering::Relaxed);
        let mut last = if all { state.weave.drain() } else { Vec::new() }.into_iter();
        while let Some((side, ts_ms, packet)) = last.next().or_else(|| state.weave.pop(expected)) {
            let track = match side {
                Side::Video => Track::Video { keyframe: packet.keyframe },
                Side::Audio => Track::Audio,
            };
            if track == (Track::Video { keyframe: true }) {
                self.header(state, ts_ms);
            }
            match side {
                Side::Video => self.silence(state, ts_ms),
                // It comes after silence was written in its place.
                Side::Audio if ts_ms + OPUS_MS <= state.sounded => continue,
                Side::Audio => state.sounded = ts_ms + OPUS_MS,
            }
            self.block(state, track, ts_ms, &packet.data);
        }
    }

    fn block(&self, state: &mut WebmState, track: Track, ts_ms: u64, data: &[u8]) {
        let Some(piece) = state.clusters.block(track, ts_ms, data) else { return };
        let Piece { sync, ts_ms, data } = piece;
        self.env.output.write(&Frame { stream: self.stream, header: false, sync, ts_ms, data });
    }

    /// Sound that does not come is replaced by silence: players wait for a track they were told of.
    fn silence(&self, state: &mut WebmState, now_ms: u64) {
        if !matches!(state.told, Some((_, true))) {
            return;
        }
        let missing = now_ms.saturating_sub(state.sounded);
        if missing > JUMP_MS {
            state.sounded = now_ms;
        } else if missing > LATE_MS {
            while state.sounded + OPUS_MS <= now_ms {
                let at = state.sounded;
                self.block(state, Track::Audio, at, &SILENCE);
                state.sounded += OPUS_MS;
            }
        }
    }

    /// Writes the header if it is not what viewers were told.
    fn header(&self, state: &mut WebmState, ts_ms: u64) {
        let Some(size) = state.size else { return };
        let says = (size, state.sound.is_some());
        if state.told == Some(says) {
            return;
        }
        state.told = Some(says);
        let data = webm::header(size.0, size.1, state.sound.as_ref());
        let stream = self.stream;
        self.env.output.write(&Frame { stream, header: true, sync: false, ts_ms, data });
    }
}

/// Opus: encoded once, for the Ogg stream and for every WebM.
pub(crate) struct Opus {
    env: Arc<Env>,
    stream: u8,
    webms: Vec<Arc<Webm>>,
    state: Mutex<Option<(OggOpus, OpusTrack)>>,
}

impl Opus {
    /// `stream` is the Ogg's.
    pub(crate) fn new(env: Arc<Env>, stream: u8, webms: Vec<Arc<Webm>>) -> Arc<Self> {
        Arc::new(Self { env, stream, webms, state: Mutex::new(None) })
    }

    /// Where the encoder's output goes.
    pub(crate) fn sink(self: &Arc<Self>) -> Sink {
        let opus = self.clone();
        Arc::new(move |sample| opus.packet(sample))
    }

    fn packet(&self, sample: &gst::Sample) {
        let Some(Packet { ts_ms, data, .. }) = packet(sample) else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_none() {
            let Some(track) = opus_track(sample) else { return };
            // A listener who stays through a restart must see that this is another stream.
            let mut ogg = OggOpus::new(ts_ms as u32 | 1, track.pre_skip, PAGE_MS);
            let head = ogg.header(&track.head);
            self.write(true, ts_ms, head);
            *state = Some((ogg, track));
        }
        let Some((ogg, track)) = state.as_mut() else { return };
        if let Some(page) = ogg.packet(ts_ms, &data) {
            self.write(false, page.ts_ms, page.data);
        }
        for webm in &self.webms {
            webm.sound(track, ts_ms, &data);
        }
    }

    fn write(&self, header: bool, ts_ms: u64, data: Bytes) {
        let stream = self.stream;
        self.env.output.write(&Frame { stream, header, sync: !header, ts_ms, data });
    }

    /// Writes what is held.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = state.as_mut().and_then(|(ogg, _)| ogg.flush()) {
            self.write(false, page.ts_ms, page.data);
        }
    }
}

/// The encoder's own header, from its caps (RFC 7845, section 5.1).
fn opus_track(sample: &gst::Sample) -> Option<OpusTrack> {
    let headers = sample.caps()?.structure(0)?.get::<gst::Array>("streamheader").ok()?;
    let first = headers.first()?.get::<gst::Buffer>().ok()?;
    let head = Bytes::copy_from_slice(&first.map_readable().ok()?);
    let channels = *head.get(9)?;
    let pre_skip = u16::from_le_bytes([*head.get(10)?, *head.get(11)?]);
    Some(OpusTrack { head, channels, pre_skip })
}
