//! The worker: one source, one pipeline, until it ends or fails.
//!
//! ```text
//! open source ─▶ build pipeline ─▶ play ─▶ incidents ─┬─ failed ─▶ one sentence, exit code 1
//!      ▲                                              ├─ reader gone ─▶ exit code 0
//!      └──────── the device's H.264 is unfit ─────────┴─ end of a file played once ─▶ exit code 0
//! ```

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::time::Duration;

use flv::metadata::Metadata;
use gstreamer as gst;
use gstreamer::prelude::*;
use watchdog::clock::SharedClock;

use super::args::CaptureArgs;
use super::elements::{fault, named};
use super::error::CaptureError;
use super::gop::Monitor;
use super::meter::Meter;
use super::mux::Coded;
use super::output::{self, Track};
use super::preview;
use super::report::{Line, Reporter};
use super::sources::{self, Context, Head, Picture};
use super::tail;

/// How often health is reported.
const TICK: Duration = Duration::from_secs(1);
/// How often the meter moves, for those who watch it.
const METER_TICK: Duration = Duration::from_millis(200);
/// A pipeline that does not stop within this is left to the end of the process.
const STOP: Duration = Duration::from_secs(2);

/// Something happened on one of the worker's threads.
#[derive(Debug)]
pub(super) enum Incident {
    /// The capture cannot go on.
    Failed(CaptureError),
    /// A message of GStreamer's.
    Message(gst::Message),
    /// Frames have been written.
    Wrote,
    /// The device's own H.264 cannot be sent as it is, for this reason.
    UnfitH264(String),
    /// No more comes: after what is on its way, the capture fails with this.
    Ending(CaptureError),
}

/// How one pipeline ended.
enum End {
    Finished,
    UnfitH264(String),
}

/// The worker's things, for all its pipelines.
pub(super) struct Worker {
    args: CaptureArgs,
    reporter: Reporter,
    clock: SharedClock,
    meter: Arc<Meter>,
    ready: bool,
}

impl Worker {
    pub(super) fn new(args: CaptureArgs, reporter: Reporter, clock: SharedClock) -> Self {
        let meter = Meter::new(Arc::clone(&clock));
        Self { args, reporter, clock, meter, ready: false }
    }

    /// Captures until the end.
    pub(super) fn run(
        &mut self,
        out: impl std::io::Write + Send + 'static,
    ) -> Result<(), CaptureError> {
        gst::init().map_err(|error| fault("GStreamer", error.message()))?;
        let (incidents, received) = channel();
        let (frames, written) = output::start(
            out,
            self.metadata(),
            self.args.framerate,
            Arc::clone(&self.meter),
            incidents.clone(),
        )
        .map_err(|error| CaptureError::Output { reason: error.to_string() })?;
        let result = self.capture_all(&frames, &incidents, &received);
        // What has been coded is written, unless the reader has stopped reading.
        drop(frames);
        let _ = written.recv_timeout(STOP);
        result
    }

    fn capture_all(
        &mut self,
        frames: &SyncSender<Coded>,
        incidents: &Sender<Incident>,
        received: &Receiver<Incident>,
    ) -> Result<(), CaptureError> {
        let mut avoid_h264 = false;
        loop {
            match self.capture(avoid_h264, frames, incidents, received)? {
                End::Finished => return Ok(()),
                End::UnfitH264(reason) => {
                    self.reporter.log(format!("The device's own H.264 is not used: {reason}."));
                    avoid_h264 = true;
                    let _ = frames.send(Coded::Rebuilt);
                }
            }
        }
    }

    fn metadata(&self) -> Metadata {
        let args = &self.args;
        Metadata {
            width: Some(args.width.into()),
            height: Some(args.height.into()),
            framerate: Some(args.framerate.into()),
            video_kbit: Some(f64::from(args.bitrate) / 1000.0),
            audio_kbit: Some(f64::from(args.audio_bitrate) / 1000.0),
            wallclock_ms: Some(self.clock.utc().as_millisecond()),
            room: Some(args.room.clone()).filter(|room| !room.is_empty()),
            encoder: Some(concat!("backrow collector ", env!("CARGO_PKG_VERSION")).to_owned()),
        }
    }

    fn capture(
        &mut self,
        avoid_h264: bool,
        frames: &SyncSender<Coded>,
        incidents: &Sender<Incident>,
        received: &Receiver<Incident>,
    ) -> Result<End, CaptureError> {
        let (args, reporter) = (&self.args, &self.reporter);
        let head =
            sources::open(&Context { args, reporter, incidents: incidents.clone(), avoid_h264 })?;
        let pipeline = Pipeline::build(&head, args, reporter, &self.meter, frames, incidents)?;
        pipeline.play(incidents, &head)?;
        let end = self.follow(&head, &pipeline, received);
        pipeline.stop();
        end
    }

    fn follow(
        &mut self,
        head: &Head,
        pipeline: &Pipeline,
        received: &Receiver<Incident>,
    ) -> Result<End, CaptureError> {
        let mut tick = self.clock.monotonic() + TICK;
        let mut meter_tick = self.args.watched.then(|| self.clock.monotonic() + METER_TICK);
        let mut seen = (self.meter.frames_in(), self.clock.monotonic());
        let mut ending = None;
        loop {
            let now = self.clock.monotonic();
            if now >= tick {
                self.reporter.line(&Line::Health(pipeline.health(&self.meter)));
                self.check_patience(head, &mut seen, now)?;
                // After a stop of the whole machine, ticks are not made up.
                tick = (tick + TICK).max(now);
            }
            if let Some(due) = meter_tick.filter(|due| now >= *due) {
                self.reporter.line(&Line::Levels { audio: self.meter.levels() });
                meter_tick = Some((due + METER_TICK).max(now));
            }
            let next = meter_tick.map_or(tick, |due| due.min(tick));
            match received.recv_timeout(next.saturating_sub(now)) {
                Ok(Incident::Failed(error)) => return Err(error),
                Ok(Incident::UnfitH264(reason)) => return Ok(End::UnfitH264(reason)),
                Ok(Incident::Ending(error)) => ending = Some(error),
                Ok(Incident::Wrote) => self.report_ready(head),
                Ok(Incident::Message(message)) => match message.view() {
                    gst::MessageView::Eos(_) => return ending.map_or(Ok(End::Finished), Err),
                    gst::MessageView::Error(error) => {
                        return Err((head.explain)(&error.error(), error.debug().as_deref()));
                    }
                    _ => {}
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(fault(head.description.clone(), "its threads have ended"));
                }
            }
        }
    }

    fn check_patience(
        &self,
        head: &Head,
        seen: &mut (u64, Duration),
        now: Duration,
    ) -> Result<(), CaptureError> {
        let frames = self.meter.frames_in();
        if frames != seen.0 {
            *seen = (frames, now);
        }
        match &head.patience {
            Some((device, patience)) if now.saturating_sub(seen.1) >= *patience => {
                let (device, seconds) = (device.clone(), patience.as_secs());
                Err(CaptureError::NoSignal { device, seconds })
            }
            _ => Ok(()),
        }
    }

    fn report_ready(&mut self, head: &Head) {
        if !std::mem::replace(&mut self.ready, true) {
            let CaptureArgs { width, height, framerate, .. } = self.args;
            let source = head.description.clone();
            self.reporter.line(&Line::Ready { source, width, height, framerate });
        }
    }
}

/// The encoding pipeline.
struct Pipeline {
    pipeline: gst::Pipeline,
    queue: gst::Element,
    /// The queue lets frames go rather than hold the source back.
    lets_go: bool,
    /// videorate, where the picture is raw.
    rate: Option<gst::Element>,
}

impl Pipeline {
    fn build(
        head: &Head,
        args: &CaptureArgs,
        reporter: &Reporter,
        meter: &Arc<Meter>,
        frames: &SyncSender<Coded>,
        incidents: &Sender<Incident>,
    ) -> Result<Self, CaptureError> {
        let pipeline = gst::Pipeline::new();
        // One clock for all devices: a sound card's own would bend the picture's times.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let (picture, video, monitor) = match &head.picture {
            Picture::Raw(picture) => (picture, tail::video(args, head.timing)?, None),
            Picture::H264(picture) => {
                let monitor = Monitor::new(args.bitrate);
                (picture, tail::video_passthrough(head.timing)?, Some(monitor))
            }
        };
        let audio = tail::audio(args, head.timing)?;
        let (video_bin, audio_bin) = (video.bin.upcast_ref(), audio.bin.upcast_ref());
        let linked = pipeline
            .add_many([picture, &head.sound, video_bin, audio_bin])
            .and_then(|()| picture.link(video_bin))
            .and_then(|()| head.sound.link(audio_bin));
        linked.map_err(|error| fault(head.description.clone(), error.to_string()))?;
        let queue = named(&video.bin, "queue")?;
        meter.watch_queue(&queue)?;
        if monitor.is_none() {
            let shape = named(&video.bin, "shape")?;
            meter.watch_picture(&shape)?;
            preview::watch(&shape, args.watched, reporter)?;
            tail::force_early_keyframes(&video.bin)?;
        }
        meter.watch_sound(&named(&audio.bin, "shape")?, args.channels)?;
        output::connect(&video.out, Track::Video, frames.clone(), inspect(monitor, incidents));
        output::connect(&audio.out, Track::Audio, frames.clone(), |_| {});
        let rate = video.bin.by_name("rate");
        let lets_go = head.timing == tail::Timing::Live;
        Ok(Self { pipeline, queue, lets_go, rate })
    }

    fn play(&self, incidents: &Sender<Incident>, head: &Head) -> Result<(), CaptureError> {
        let bus = self
            .pipeline
            .bus()
            .ok_or_else(|| fault(head.description.clone(), "the pipeline has no bus"))?;
        let incidents = std::sync::Mutex::new(incidents.clone());
        bus.set_sync_handler(move |_, message| {
            if matches!(message.type_(), gst::MessageType::Eos | gst::MessageType::Error) {
                let incidents = incidents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let _ = incidents.send(Incident::Message(message.clone()));
            }
            gst::BusSyncReply::Drop
        });
        // A failure here is also on the bus, with the reason.
        let _ = self.pipeline.set_state(gst::State::Playing);
        Ok(())
    }

    fn health(&self, meter: &Meter) -> super::report::Health {
        let waiting = self.queue.property::<u32>("current-level-buffers");
        let waiting = self.lets_go.then_some(waiting.into());
        let duplicated = self.rate.as_ref().map_or(0, |rate| rate.property::<u64>("duplicate"));
        meter.health(waiting, duplicated)
    }

    /// Stops, but waits for no driver that hangs: the process ends soon.
    fn stop(self) {
        let (done, stopped) = channel();
        let pipeline = self.pipeline;
        let thread = std::thread::Builder::new().name("stop".into()).spawn(move || {
            let _ = pipeline.set_state(gst::State::Null);
            let _ = done.send(());
        });
        if thread.is_ok() {
            let _ = stopped.recv_timeout(STOP);
        }
    }
}

/// Watches passed-through H.264, and says once when it is unfit.
fn inspect(
    mut monitor: Option<Monitor>,
    incidents: &Sender<Incident>,
) -> impl FnMut(&Coded) + Send + 'static {
    let incidents = incidents.clone();
    move |coded| {
        let Coded::Video { dts, keyframe, data, .. } = coded else { return };
        let verdict = monitor.as_mut().and_then(|monitor| monitor.see(*dts, *keyframe, data.len()));
        if let Some(reason) = verdict {
            monitor = None;
            let _ = incidents.send(Incident::UnfitH264(reason.to_string()));
        }
    }
}
