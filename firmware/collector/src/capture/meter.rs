//! Looks at picture and sound as they pass, and counts. The threads of the pipeline write here;
//! the worker reads once a second.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;
use jiff::Timestamp;
use watchdog::clock::SharedClock;

use super::args::Channels;
use super::channels;
use super::elements::pad;
use super::error::CaptureError;
use super::health::{Picture, Sound};
use super::report::{Condition, Health, Level};

/// How often the picture is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Samples taken across and down a picture.
const GRID: (usize, usize) = (64, 36);

/// All that is counted and measured.
pub(super) struct Meter {
    clock: SharedClock,
    /// Frames the source gave.
    frames_in: AtomicU64,
    /// Frames that left the first queue.
    frames_through: AtomicU64,
    /// Frames the driver's own counter says were lost.
    frames_missed: AtomicU64,
    /// Frames written.
    frames_out: AtomicU64,
    /// End of the newest frame written, in ms of the stream.
    video_end_ms: AtomicI64,
    /// End of the newest sound written, in ms of the stream.
    audio_end_ms: AtomicI64,
    eyes: Mutex<Eyes>,
    ears: Mutex<Ears>,
}

struct Eyes {
    picture: Picture,
    looked: Option<Duration>,
    sees: bool,
    black_since: Timestamp,
    frozen_since: Timestamp,
    samples: Vec<u8>,
}

struct Ears {
    sound: Sound,
    silent_since: Timestamp,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    pub(super) fn new(clock: SharedClock) -> Arc<Self> {
        let now = clock.utc();
        Arc::new(Self {
            clock,
            frames_in: AtomicU64::new(0),
            frames_through: AtomicU64::new(0),
            frames_missed: AtomicU64::new(0),
            frames_out: AtomicU64::new(0),
            video_end_ms: AtomicI64::new(0),
            audio_end_ms: AtomicI64::new(0),
            eyes: Mutex::new(Eyes {
                picture: Picture::default(),
                looked: None,
                sees: false,
                black_since: now,
                frozen_since: now,
                samples: Vec::with_capacity(GRID.0 * GRID.1),
            }),
            ears: Mutex::new(Ears { sound: Sound::default(), silent_since: now }),
        })
    }

    /// Frames the source has given so far.
    pub(super) fn frames_in(&self) -> u64 {
        self.frames_in.load(Ordering::Relaxed)
    }

    /// Frames have been written, the last of which ends at this time of the stream, in ms.
    pub(super) fn wrote_video(&self, frames: u32, end_ms: i64) {
        self.frames_out.fetch_add(frames.into(), Ordering::Relaxed);
        self.video_end_ms.store(end_ms, Ordering::Relaxed);
    }

    /// Sound has been written that ends at this time of the stream, in ms.
    pub(super) fn wrote_audio(&self, end_ms: i64) {
        self.audio_end_ms.store(end_ms, Ordering::Relaxed);
    }

    /// Counts the frames that come into and leave a branch's first queue.
    pub(super) fn watch_queue(self: &Arc<Self>, queue: &gst::Element) -> Result<(), CaptureError> {
        let meter = Arc::clone(self);
        let last = Mutex::new(None);
        pad(queue, "sink")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
                meter.frames_in.fetch_add(1, Ordering::Relaxed);
                let missed = missed(&mut lock(&last), buffer.offset());
                meter.frames_missed.fetch_add(missed, Ordering::Relaxed);
            }
            gst::PadProbeReturn::Ok
        });
        let meter = Arc::clone(self);
        pad(queue, "src")?.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            meter.frames_through.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    /// Looks at the pictures that leave this element, I420.
    pub(super) fn watch_picture(
        self: &Arc<Self>,
        shape: &gst::Element,
    ) -> Result<(), CaptureError> {
        let meter = Arc::clone(self);
        lock(&self.eyes).sees = true;
        pad(shape, "src")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else {
                return gst::PadProbeReturn::Ok;
            };
            let now = meter.clock.monotonic();
            if !meter.is_time_to_look(now) {
                return gst::PadProbeReturn::Ok;
            }
            let format = pad.current_caps();
            let format = format.and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
            if let Some(format) = format
                && let Ok(frame) =
                    gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &format)
            {
                meter.look(&frame, now);
            }
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    fn is_time_to_look(&self, now: Duration) -> bool {
        let mut eyes = lock(&self.eyes);
        let due = eyes.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK_EVERY);
        if due {
            eyes.looked = Some(now);
        }
        due
    }

    fn look(&self, frame: &gst_video::VideoFrameRef<&gst::BufferRef>, now: Duration) {
        let (Ok(luma), Some(&stride)) = (frame.plane_data(0), frame.plane_stride().first()) else {
            return;
        };
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let stride = usize::try_from(stride).unwrap_or(width);
        let utc = self.clock.utc();
        let eyes = &mut *lock(&self.eyes);
        eyes.samples.clear();
        for row in 0..GRID.1 {
            let y = (2 * row + 1) * height / (2 * GRID.1);
            for column in 0..GRID.0 {
                let x = (2 * column + 1) * width / (2 * GRID.0);
                eyes.samples.extend(luma.get(y * stride + x));
            }
        }
        let was = (eyes.picture.black.on(), eyes.picture.frozen.on());
        if eyes.picture.see(&eyes.samples, now) {
            if eyes.picture.black.on() != was.0 {
                eyes.black_since = utc;
            }
            if eyes.picture.frozen.on() != was.1 {
                eyes.frozen_since = utc;
            }
        }
    }

    /// Chooses channels and measures the sound that leaves this element, 16-bit stereo.
    pub(super) fn watch_sound(
        self: &Arc<Self>,
        shape: &gst::Element,
        choice: Channels,
    ) -> Result<(), CaptureError> {
        let meter = Arc::clone(self);
        pad(shape, "src")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else {
                return gst::PadProbeReturn::Ok;
            };
            if choice != Channels::Stereo
                && let Ok(mut map) = buffer.make_mut().map_writable()
            {
                channels::apply(&mut map, choice);
            }
            if let Ok(map) = buffer.map_readable() {
                let ears = &mut *lock(&meter.ears);
                if ears.sound.see(channels::frames(&map), meter.clock.monotonic()) {
                    ears.silent_since = meter.clock.utc();
                }
            }
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    /// How loud it has been since this was last asked.
    pub(super) fn levels(&self) -> Vec<Level> {
        lock(&self.ears).sound.take_meter()
    }

    /// The state of things now. `waiting` frames are in the first queue and not lost; None when the
    /// queue holds its source back and loses nothing.
    pub(super) fn health(&self, waiting: Option<u64>, duplicated: u64) -> Health {
        let frames_in = self.frames_in();
        let through = self.frames_through.load(Ordering::Relaxed);
        let lost =
            waiting.map_or(0, |waiting| frames_in.saturating_sub(through).saturating_sub(waiting));
        let (black, frozen) = {
            let eyes = lock(&self.eyes);
            let black = Condition { on: eyes.picture.black.on(), since: eyes.black_since };
            let frozen = Condition { on: eyes.picture.frozen.on(), since: eyes.frozen_since };
            if eyes.sees { (Some(black), Some(frozen)) } else { (None, None) }
        };
        let mut ears = lock(&self.ears);
        Health {
            frames_in,
            frames_out: self.frames_out.load(Ordering::Relaxed),
            frames_dropped: lost + self.frames_missed.load(Ordering::Relaxed),
            frames_duplicated: duplicated,
            audio: ears.sound.take_levels(),
            black,
            frozen,
            silent: Condition { on: ears.sound.silent.on(), since: ears.silent_since },
            av_offset_ms: self.audio_end_ms.load(Ordering::Relaxed)
                - self.video_end_ms.load(Ordering::Relaxed),
        }
    }
}

/// Frames missing between the driver's number of the last buffer and this one's.
fn missed(last: &mut Option<u64>, offset: u64) -> u64 {
    // GST_BUFFER_OFFSET_NONE: this source does not number its frames.
    if offset == u64::MAX {
        return 0;
    }
    let missed = last.map_or(0, |last| offset.saturating_sub(last).saturating_sub(1));
    *last = Some(offset);
    // A jump of minutes is a counter that began anew, not a loss.
    if missed > 10_000 { 0 } else { missed }
}

#[cfg(test)]
mod tests {
    use super::missed;

    #[test]
    fn gaps_in_the_drivers_numbers_are_lost_frames() {
        let mut last = None;
        let lost: Vec<u64> =
            [5, 6, 9, u64::MAX, 10, 3, 4].map(|offset| missed(&mut last, offset)).into();
        assert_eq!(lost, [0, 0, 2, 0, 0, 0, 0]);
    }
}
