//! Raw picture and sound on their way from a player to the encoding pipeline: one time line that
//! never goes back and has no hole.
//!
//! A track that is missing, or has ended before the other, is made up: the last picture stays (or
//! black), and sound is silent. When the input begins anew, both tracks go on at the end of the
//! longer one, rounded up to a whole frame so that the picture stays exactly regular.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::super::args::CaptureArgs;
use super::super::output::Track;
use super::super::tail::AUDIO_RATE;

/// Bytes of one stereo frame of 16-bit sound.
const SOUND_FRAME: u64 = 4;
/// Silence is made up in pieces of this many frames of sound: 20 ms.
const PIECE: u64 = AUDIO_RATE as u64 / 50;

/// The crossing. Its methods may be called from any thread.
pub(super) struct Feed {
    state: Mutex<State>,
    picture: gst_app::AppSrc,
    sound: gst_app::AppSrc,
    framerate: u64,
}

struct State {
    picture: Lane,
    sound: Lane,
    /// Where the present round of the input began.
    offset: gst::ClockTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// No pad of this kind has been seen yet.
    Unknown,
    /// Buffers come from the input.
    Flowing,
    /// Buffers are made up.
    MadeUp,
}

struct Lane {
    flow: Flow,
    /// The input has this track.
    exists: bool,
    /// End of what has been handed over.
    end: gst::ClockTime,
    /// The form of what is made up.
    caps: Option<gst::Caps>,
    /// The form the encoding pipeline has been told of.
    told: Option<gst::Caps>,
    /// What is repeated where nothing comes.
    filler: gst::Buffer,
}

impl Lane {
    fn new(filler: gst::Buffer) -> Self {
        let end = gst::ClockTime::ZERO;
        Self { flow: Flow::Unknown, exists: false, end, caps: None, told: None, filler }
    }
}

/// Buffers to push once the state is unlocked, for pushing waits.
#[derive(Default)]
struct Pushes {
    picture: (Option<gst::Caps>, Vec<gst::Buffer>),
    sound: (Option<gst::Caps>, Vec<gst::Buffer>),
}

impl Feed {
    pub(super) fn new(args: &CaptureArgs) -> Self {
        let make = |buffers: u64, bytes: u64| {
            gst_app::AppSrc::builder()
                .format(gst::Format::Time)
                .block(true)
                .max_buffers(buffers)
                .max_bytes(bytes)
                .build()
        };
        let mut picture = Lane::new(black(args.width, args.height));
        let mut sound = Lane::new(gst::Buffer::from_slice([0_u8; (PIECE * SOUND_FRAME) as usize]));
        picture.caps = format!(
            "video/x-raw,format=I420,width={},height={},framerate={}/1,pixel-aspect-ratio=1/1",
            args.width, args.height, args.framerate
        )
        .parse()
        .ok();
        sound.caps = format!(
            "audio/x-raw,format=S16LE,layout=interleaved,rate={AUDIO_RATE},channels=2,\
             channel-mask=(bitmask)0x3"
        )
        .parse()
        .ok();
        Self {
            // Few pictures, for they are large; half a second of sound.
            picture: make(2, 0),
            sound: make(0, u64::from(AUDIO_RATE) * SOUND_FRAME / 2),
            state: Mutex::new(State { picture, sound, offset: gst::ClockTime::ZERO }),
            framerate: u64::from(args.framerate.max(1)),
        }
    }

    /// The picture and sound ends.
    pub(super) fn ends(&self) -> (gst_app::AppSrc, gst_app::AppSrc) {
        (self.picture.clone(), self.sound.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A track has been found; false when there is one of its kind already.
    pub(super) fn accept(&self, track: Track) -> bool {
        let mut state = self.lock();
        let lane = state.lane(track);
        let first = !lane.exists;
        if first {
            lane.exists = true;
            lane.flow = Flow::Flowing;
        }
        first
    }

    /// All tracks are known: what is missing is made up from now on. (has picture, has sound)
    pub(super) fn all_known(&self) -> (bool, bool) {
        let mut state = self.lock();
        for track in [Track::Video, Track::Audio] {
            let lane = state.lane(track);
            if lane.flow == Flow::Unknown {
                lane.flow = Flow::MadeUp;
            }
        }
        (state.picture.exists, state.sound.exists)
    }

    /// One buffer of the input. Waits while the encoding pipeline has enough.
    pub(super) fn take(
        &self,
        track: Track,
        sample: &gst::Sample,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut pushes = Pushes::default();
        {
            let mut state = self.lock();
            let offset = state.offset;
            let (Some(buffer), Some(running)) = (sample.buffer_owned(), running_time(sample))
            else {
                return Ok(gst::FlowSuccess::Ok);
            };
            let start = running + offset;
            let end = start + self.duration(track, sample, &buffer);
            let lane = state.lane(track);
            lane.end = lane.end.max(end);
            let caps = sample.caps_owned().filter(|caps| lane.told.as_ref() != Some(caps));
            if caps.is_some() {
                lane.told.clone_from(&caps);
            }
            if track == Track::Video {
                lane.filler = buffer.clone();
            }
            let (to_caps, to_buffers) = pushes.lane(track);
            *to_caps = caps;
            to_buffers.push(retimed(buffer, start, end - start));
            let other = if track == Track::Video { Track::Audio } else { Track::Video };
            if state.lane(other).flow == Flow::MadeUp {
                let until = state.lane(track).end;
                self.make_up(&mut state, other, until, &mut pushes);
            }
        }
        self.push(pushes)
    }

    /// One track of the input has ended; the other may go on.
    pub(super) fn ended(&self, track: Track) {
        let mut pushes = Pushes::default();
        {
            let mut state = self.lock();
            state.lane(track).flow = Flow::MadeUp;
            let until = state.picture.end.max(state.sound.end);
            self.make_up(&mut state, track, until, &mut pushes);
        }
        // The encoding pipeline has stopped: there is nobody to tell.
        let _ = self.push(pushes);
    }

    /// The input begins at its start again.
    pub(super) fn begin_anew(&self) {
        let mut pushes = Pushes::default();
        {
            let mut state = self.lock();
            let until = self.frame_time(self.frames_until(state.picture.end.max(state.sound.end)));
            for track in [Track::Video, Track::Audio] {
                self.make_up(&mut state, track, until, &mut pushes);
                let lane = state.lane(track);
                lane.flow = if lane.exists { Flow::Flowing } else { Flow::MadeUp };
            }
            state.offset = until;
        }
        let _ = self.push(pushes);
    }

    /// Nothing more comes.
    pub(super) fn finish(&self) {
        let _ = self.picture.end_of_stream();
        let _ = self.sound.end_of_stream();
    }

    /// Fills a track until this time.
    fn make_up(&self, state: &mut State, track: Track, until: gst::ClockTime, pushes: &mut Pushes) {
        let lane = state.lane(track);
        if lane.end >= until {
            return;
        }
        let (caps, buffers) = pushes.lane(track);
        if lane.told.is_none() {
            lane.told.clone_from(&lane.caps);
            caps.clone_from(&lane.caps);
        }
        while lane.end < until {
            let next = match track {
                Track::Video => self.frame_time(self.frames_until(lane.end) + 1),
                Track::Audio => lane.end + sound_time(PIECE),
            };
            // Silence stops where it should; a picture is whole.
            let next = if track == Track::Audio { next.min(until) } else { next };
            let mut buffer = lane.filler.copy();
            if track == Track::Audio {
                let frames = sound_frames(next - lane.end).clamp(1, PIECE);
                if let Some(buffer) = buffer.get_mut() {
                    buffer.set_size((frames * SOUND_FRAME) as usize);
                }
            }
            buffers.push(retimed(buffer, lane.end, next - lane.end));
            lane.end = next;
        }
    }

    fn push(&self, pushes: Pushes) -> Result<gst::FlowSuccess, gst::FlowError> {
        for (src, (caps, buffers)) in [(&self.picture, pushes.picture), (&self.sound, pushes.sound)]
        {
            if caps.is_some() {
                src.set_caps(caps.as_ref());
            }
            for buffer in buffers {
                src.push_buffer(buffer)?;
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn duration(&self, track: Track, sample: &gst::Sample, buffer: &gst::Buffer) -> gst::ClockTime {
        match track {
            Track::Audio => sound_time(buffer.size() as u64 / SOUND_FRAME),
            Track::Video => buffer.duration().unwrap_or_else(|| {
                let rate = sample
                    .caps()
                    .and_then(|caps| caps.structure(0)?.get::<gst::Fraction>("framerate").ok());
                rate.filter(|rate| rate.numer() > 0 && rate.denom() > 0).map_or_else(
                    || self.frame_time(1),
                    |rate| {
                        gst::ClockTime::from_nseconds(
                            1_000_000_000 * rate.denom() as u64 / rate.numer() as u64,
                        )
                    },
                )
            }),
        }
    }

    /// Whole frames that cover this time. A microsecond over is rounding.
    fn frames_until(&self, time: gst::ClockTime) -> u64 {
        (time.nseconds().saturating_sub(1_000) * self.framerate).div_ceil(1_000_000_000)
    }

    fn frame_time(&self, frames: u64) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(frames * 1_000_000_000 / self.framerate)
    }
}

impl State {
    fn lane(&mut self, track: Track) -> &mut Lane {
        match track {
            Track::Video => &mut self.picture,
            Track::Audio => &mut self.sound,
        }
    }
}

impl Pushes {
    fn lane(&mut self, track: Track) -> (&mut Option<gst::Caps>, &mut Vec<gst::Buffer>) {
        let (caps, buffers) = match track {
            Track::Video => &mut self.picture,
            Track::Audio => &mut self.sound,
        };
        (caps, buffers)
    }
}

fn running_time(sample: &gst::Sample) -> Option<gst::ClockTime> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(sample.buffer()?.pts()?)
}

fn sound_time(frames: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(frames * 1_000_000_000 / u64::from(AUDIO_RATE))
}

fn sound_frames(time: gst::ClockTime) -> u64 {
    (time.nseconds() * u64::from(AUDIO_RATE) + 500_000_000) / 1_000_000_000
}

/// The same data at another time.
fn retimed(mut buffer: gst::Buffer, start: gst::ClockTime, length: gst::ClockTime) -> gst::Buffer {
    let meta = buffer.make_mut();
    meta.set_pts(start);
    meta.set_dts(None);
    meta.set_duration(length);
    buffer
}

/// A black I420 picture with lines as long as GStreamer's default.
fn black(width: u32, height: u32) -> gst::Buffer {
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height).build();
    let Ok(info) = info else { return gst::Buffer::new() };
    let luma = info.offset().get(1).copied().unwrap_or(0);
    let mut data = vec![128_u8; info.size()];
    data.iter_mut().take(luma).for_each(|luma| *luma = 16);
    gst::Buffer::from_slice(data)
}
