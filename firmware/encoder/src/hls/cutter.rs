//! Decides where segments begin, from the source alone.
//!
//! ```text
//!                keyframe (or sound, where there are no pictures)
//!  Waiting ──────────────────────────────────────────────────────▶ Open
//!    ▲                                                              │  │ ▲
//!    │ broken off: headers changed, time jumped, session ended      │  └─┘ keyframe after
//!    └──────────────────────────────────────────────────────────────┘      `segment`, or too long
//! ```
//! What follows `Waiting` is a discontinuity.

use super::audio::SampleClock;
use super::fmp4::{AudioSample, TICKS, VideoSample};
use bytes::Bytes;

/// Keyframes may come this much early, milliseconds: FLV's times are rounded.
const EARLY_MS: u64 = 100;
/// A segment without a keyframe is cut anyway at this length...
const MAX_MS: u64 = 20_000;
/// ... or size, to bound memory.
const MAX_BYTES: usize = 48 << 20;
/// How long sound waits for pictures before it goes alone, milliseconds.
const VIDEO_WAIT_MS: u64 = 3000;
/// A frame's length where nothing better is known, milliseconds.
const FRAME_MS: u64 = 40;
/// The longest that the frame before an end is believed to last, milliseconds.
const MAX_FRAME_MS: u64 = 100;

/// An access unit as it came.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) dts_ms: u64,
    pub(super) pts_ms: u64,
    pub(super) key: bool,
    pub(super) data: Bytes,
}

/// A stretch of the source that is complete.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    /// Presentation time of its last picture.
    pub(super) last_pts_ms: u64,
    pub(super) utc_ms: i64,
    pub(super) discontinuity: bool,
    pub(super) independent: bool,
    /// What follows starts with a keyframe.
    pub(super) key_next: bool,
    pub(super) pictures: Vec<Picture>,
    pub(super) sound: Vec<AudioSample>,
    /// Decoding time of the picture after the last, when it is known.
    pub(super) next_dts_ms: Option<u64>,
}

#[derive(Debug)]
struct Open {
    cut: Cut,
    start_dts_ms: u64,
    bytes: usize,
}

/// The source's state.
#[derive(Debug)]
pub(super) struct Cutter {
    segment_ms: u64,
    open: Option<Open>,
    /// Rate, and the clock for it.
    clock: Option<(u32, SampleClock)>,
    /// Pictures are coming, or are awaited.
    video: bool,
    /// When sound without pictures began to wait for them.
    waiting_since: Option<u64>,
    last_video_ms: Option<u64>,
    last_audio_ms: Option<u64>,
}

impl Cutter {
    pub(super) fn new(segment_ms: u64) -> Self {
        Self {
            segment_ms: segment_ms.max(1),
            open: None,
            clock: None,
            video: true,
            waiting_since: None,
            last_video_ms: None,
            last_audio_ms: None,
        }
    }

    /// Sets the sound's rate and frame length.
    pub(super) fn set_audio(&mut self, rate: u32, frame: u32) {
        self.clock = Some((rate, SampleClock::new(rate, frame)));
    }

    /// True while segments have pictures.
    pub(super) fn has_video(&self) -> bool {
        self.video
    }

    /// Closes the open segment; what comes next does not continue it.
    pub(super) fn break_off(&mut self) -> Option<Cut> {
        let clock = self.clock.as_mut().map(|(_, clock)| clock);
        let expected = clock.as_ref().and_then(|clock| clock.expected());
        if let Some(clock) = clock {
            clock.restart();
        }
        self.waiting_since = None;
        self.last_video_ms = None;
        self.last_audio_ms = None;
        let mut cut = self.open.take()?.cut;
        finish_sound(&mut cut.sound, expected);
        let frame = match cut.pictures.as_slice() {
            [.., a, b] => b.dts_ms.saturating_sub(a.dts_ms).clamp(1, MAX_FRAME_MS),
            _ => FRAME_MS,
        };
        if let Some(last) = cut.pictures.last() {
            cut.next_dts_ms = Some(last.dts_ms + frame);
            cut.end_ms = cut.last_pts_ms + frame;
        }
        // A lone frame would be a segment of no use and no length.
        (cut.end_ms > cut.start_ms).then_some(cut)
    }

    /// Takes a picture. Up to two stretches may become complete: one broken off, one cut.
    pub(super) fn picture(&mut self, picture: Picture, utc_ms: i64) -> Vec<Cut> {
        let mut cuts = Vec::new();
        let jumped = self.jumped(self.last_video_ms, picture.dts_ms);
        if jumped || (!self.video && picture.key) {
            cuts.extend(self.break_off());
            self.video = true;
        }
        if !self.video {
            return cuts;
        }
        self.last_video_ms = Some(picture.dts_ms);
        match &self.open {
            None if picture.key => self.begin(&picture, utc_ms, true),
            None => return cuts,
            Some(open) => {
                let since = picture.pts_ms.saturating_sub(open.cut.start_ms);
                // A beginning is often irregular: a short first segment is better than one that
                // makes the target duration longer for good.
                let least =
                    if open.cut.discontinuity { self.segment_ms / 4 } else { self.segment_ms };
                let due = picture.key && since + EARLY_MS.min(least / 4) >= least;
                if due || since >= MAX_MS || open.bytes >= MAX_BYTES {
                    cuts.extend(self.cut(picture.dts_ms, picture.pts_ms, picture.key));
                    let rest = self.early_sound(&mut cuts, picture.dts_ms);
                    self.begin(&picture, utc_ms, false);
                    if let Some(open) = &mut self.open {
                        open.cut.sound = rest;
                    }
                }
            }
        }
        if let Some(open) = &mut self.open {
            open.bytes += picture.data.len();
            open.cut.last_pts_ms = open.cut.last_pts_ms.max(picture.pts_ms);
            open.cut.pictures.push(picture);
        }
        cuts
    }

    /// Takes an AAC frame.
    pub(super) fn sound(&mut self, ts_ms: u64, data: Bytes, utc_ms: i64) -> Vec<Cut> {
        let mut cuts = Vec::new();
        if self.clock.is_none() {
            return cuts;
        }
        // Sound alone may fail and come back; both tracks at a new time are a new time.
        let pictures_too = self.last_video_ms.is_none_or(|last| self.jumped(Some(last), ts_ms));
        if pictures_too && self.jumped(self.last_audio_ms, ts_ms) {
            cuts.extend(self.break_off());
        }
        if self.video {
            // Pictures have stopped, or never came: sound goes alone.
            let seen = self.last_video_ms.or(self.waiting_since);
            if self.last_video_ms.is_none() {
                self.waiting_since.get_or_insert(ts_ms);
            }
            if seen.is_some_and(|seen| ts_ms > seen + VIDEO_WAIT_MS.max(2 * self.segment_ms)) {
                cuts.extend(self.break_off());
                self.video = false;
            }
        }
        self.last_audio_ms = Some(ts_ms);
        if !self.video {
            let since = self.open.as_ref().map(|open| ts_ms.saturating_sub(open.cut.start_ms));
            if since.is_none_or(|since| since >= self.segment_ms) {
                if since.is_some() {
                    cuts.extend(self.cut(ts_ms, ts_ms, true));
                }
                let first = since.is_none();
                let at = Picture { dts_ms: ts_ms, pts_ms: ts_ms, key: true, data: Bytes::new() };
                self.begin(&at, utc_ms, first);
            }
        }
        let (Some(open), Some((rate, clock))) = (&mut self.open, &mut self.clock) else {
            return cuts;
        };
        let start = clock.place(ts_ms);
        if let Some(last) = open.cut.sound.last_mut() {
            last.duration = (start - last.start).try_into().unwrap_or(u32::MAX);
        }
        let expected = clock.expected().unwrap_or(start + 1);
        open.bytes += data.len();
        open.cut.sound.push(AudioSample { start, duration: (expected - start) as u32, data });
        if !self.video {
            open.cut.end_ms = expected * 1000 / u64::from(*rate);
            open.cut.last_pts_ms = ts_ms;
        }
        cuts
    }

    /// Frames are missing for so long that what follows had better be told as a discontinuity.
    fn jumped(&self, last: Option<u64>, now: u64) -> bool {
        let gap = (2 * self.segment_ms).max(3000);
        last.is_some_and(|last| now > last + gap || now + 1000 < last)
    }

    fn begin(&mut self, first: &Picture, utc_ms: i64, discontinuity: bool) {
        self.waiting_since = None;
        let cut = Cut {
            start_ms: first.pts_ms,
            end_ms: first.pts_ms,
            last_pts_ms: first.pts_ms,
            // The clock was read at the decoding time.
            utc_ms: utc_ms.saturating_add_unsigned(first.pts_ms.saturating_sub(first.dts_ms)),
            discontinuity,
            independent: first.key,
            key_next: true,
            pictures: Vec::new(),
            sound: Vec::new(),
            next_dts_ms: None,
        };
        self.open = Some(Open { cut, start_dts_ms: first.dts_ms, bytes: 0 });
    }

    fn cut(&mut self, dts_ms: u64, pts_ms: u64, key_next: bool) -> Option<Cut> {
        let Open { mut cut, start_dts_ms, .. } = self.open.take()?;
        cut.end_ms = pts_ms.max(cut.start_ms + 1);
        cut.key_next = key_next;
        cut.next_dts_ms = Some(dts_ms.max(start_dts_ms + 1));
        let expected = self.clock.as_ref().and_then(|(_, clock)| clock.expected());
        finish_sound(&mut cut.sound, expected);
        Some(cut)
    }

    /// Sound that came before the keyframe at `dts_ms`, and belongs after it.
    fn early_sound(&self, cuts: &mut [Cut], dts_ms: u64) -> Vec<AudioSample> {
        let (Some((rate, _)), Some(cut)) = (&self.clock, cuts.last_mut()) else {
            return Vec::new();
        };
        let boundary = dts_ms.saturating_mul((*rate).into()) / 1000;
        let at = cut.sound.partition_point(|sample| sample.start < boundary);
        cut.sound.split_off(at)
    }
}

/// The last frame lasts until where the next is expected.
fn finish_sound(sound: &mut [AudioSample], expected: Option<u64>) {
    if let (Some(last), Some(expected)) = (sound.last_mut(), expected) {
        last.duration = expected.saturating_sub(last.start).clamp(1, u32::MAX.into()) as u32;
    }
}

/// Pictures as samples, each lasting until the next; decoding times always go on.
///
/// `last_dts` is the one before the first, `end_dts_ms` where the last one ends.
pub(super) fn samples(
    pictures: &[Picture],
    last_dts: &mut Option<u64>,
    end_dts_ms: Option<u64>,
) -> Vec<VideoSample> {
    let mut samples: Vec<VideoSample> = Vec::with_capacity(pictures.len());
    for picture in pictures {
        let dts = (picture.dts_ms * TICKS).max(last_dts.map_or(0, |last| last + 1));
        *last_dts = Some(dts);
        if let Some(before) = samples.last_mut() {
            before.duration = (dts - before.dts).try_into().unwrap_or(u32::MAX);
        }
        let composition = (picture.pts_ms * TICKS) as i64 - dts as i64;
        samples.push(VideoSample {
            dts,
            composition: composition.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
            duration: (FRAME_MS * TICKS) as u32,
            key: picture.key,
            data: picture.data.clone(),
        });
    }
    let guess = samples
        .iter()
        .rev()
        .nth(1)
        .map(|before| before.duration.min(MAX_FRAME_MS as u32 * TICKS as u32));
    if let Some(last) = samples.last_mut() {
        let known = end_dts_ms.and_then(|end| (end * TICKS).checked_sub(last.dts));
        let known = known.filter(|&ticks| ticks > 0).and_then(|ticks| u32::try_from(ticks).ok());
        last.duration = known.or(guess).unwrap_or(last.duration);
    }
    samples
}
