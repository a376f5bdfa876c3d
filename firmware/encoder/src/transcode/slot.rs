//! One rendition and the pipeline that makes it, rebuilt alone when it fails.
//!
//! ```text
//!             offer                    error, or no progress for 3 s
//!   Idle ─────────────▶ Running ─────────────────────────────────────▶ Broken
//!    ▲                    ▲  ▲                                           │
//!    │ allowed            │  └───────────────────────────────────────────┘
//!    ▼                    │     at once the first time, then after 1, 2, 4 … 30 s
//!   LeftOut               └── a start that fails goes to Broken as well
//! ```
//! Half a minute without a failure and the back-off starts anew. A pipeline is taken down in a
//! thread of its own, because a hung one may never let itself be.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use protocol::mood::Mood;

use super::{
    gate::{Entry, Gate},
    output::{Now, Output},
    report::Report,
};

const BACKOFF_CAP: Duration = Duration::from_secs(30);
const HEALTHY: Duration = Duration::from_secs(30);
/// Without a frame for this long a rendition is hungry.
const HUNGRY: Duration = Duration::from_secs(2);

/// What all slots share.
pub(crate) struct Env {
    /// Monotonic time.
    pub now: Now,
    /// Where frames go.
    pub output: Output,
    /// Pipelines given up that have not let themselves be taken down.
    pub leaked: AtomicUsize,
}

/// A pipeline, ready to be started.
pub(crate) struct Parts {
    /// The whole.
    pub pipeline: gst::Pipeline,
    /// Its entrance.
    pub src: gst_app::AppSrc,
    /// Whom to ask for keyframes.
    pub encoder: gst::Element,
    /// Its exit.
    pub sink: gst_app::AppSink,
    /// What its times are ahead of room time.
    pub offset: gst::ClockTime,
}

/// Makes a pipeline; the number counts how many were made before.
pub(crate) type Build = Box<dyn Fn(u32) -> Result<Parts, String> + Send + Sync>;
/// Takes what came out.
pub(crate) type Sink = Arc<dyn Fn(&gst::Sample) + Send + Sync>;

#[derive(Clone)]
struct Running {
    parts: Arc<Parts>,
    gate: Arc<Gate>,
    since: Duration,
}

enum Phase {
    Idle,
    LeftOut,
    Running(Running),
    Broken { retry: Duration },
}

struct State {
    phase: Phase,
    /// Why it is idle, left out or broken.
    reason: String,
    failures: u32,
    built: u32,
    offered: Option<Duration>,
    ending: bool,
    seen: (Mood, String),
}

/// One rendition.
pub(crate) struct Slot {
    /// Its name.
    pub name: String,
    env: Arc<Env>,
    limit: usize,
    build: Build,
    sink: Sink,
    state: Mutex<State>,
    frames: Arc<AtomicU64>,
    dropped: AtomicU64,
}

impl Slot {
    /// `limit`: how many frames may wait before it.
    pub(crate) fn new(name: &str, env: Arc<Env>, limit: usize, build: Build, sink: Sink) -> Self {
        let state = State {
            phase: Phase::Idle,
            reason: "waits for its first input".into(),
            failures: 0,
            built: 0,
            offered: None,
            ending: false,
            seen: (Mood::Sleeping, String::new()),
        };
        Self {
            name: name.into(),
            env,
            limit,
            build,
            sink,
            state: Mutex::new(state),
            frames: Arc::default(),
            dropped: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing to make from this source, and why; or, with `None`, there is again.
    pub(crate) fn leave_out(&self, reason: Option<String>) {
        let mut state = self.lock();
        match (reason, &state.phase) {
            (Some(reason), phase) => {
                if let Phase::Running(running) = phase {
                    self.take_down(running.clone());
                }
                state.phase = Phase::LeftOut;
                state.reason = reason;
            }
            (None, Phase::LeftOut) => state.phase = Phase::Idle,
            (None, _) => {}
        }
    }

    /// Which pipeline a frame offered now would go to; `None` when to none.
    pub(crate) fn generation(&self) -> Option<u32> {
        let state = self.lock();
        match state.phase {
            Phase::Idle => Some(state.built),
            Phase::Running(_) => Some(state.built.saturating_sub(1)),
            Phase::LeftOut | Phase::Broken { .. } => None,
        }
    }

    /// Counts frames that could not be offered.
    pub(crate) fn count_dropped(&self, frames: u64) {
        self.dropped.fetch_add(frames, Ordering::Relaxed);
        self.lock().offered = Some((self.env.now)());
    }

    /// There is input, even if none of it is to be offered now.
    pub(crate) fn fed(&self) {
        self.lock().offered = Some((self.env.now)());
    }

    /// Whether a frame would go in without waiting.
    pub(crate) fn has_room(&self) -> bool {
        match &self.lock().phase {
            Phase::Running(running) => running.gate.has_room(),
            Phase::Idle => true,
            Phase::LeftOut | Phase::Broken { .. } => false,
        }
    }

    /// Brings a frame; waits while the pipeline is behind, counts the frame as dropped when there
    /// is no pipeline that works.
    pub(crate) fn offer(&self, caps: &gst::Caps, buffer: &gst::BufferRef, keyframe: bool) {
        let running = {
            let mut state = self.lock();
            state.offered = Some((self.env.now)());
            if matches!(state.phase, Phase::Idle) {
                self.start(&mut state);
            }
            match &state.phase {
                Phase::Running(running) => running.clone(),
                Phase::LeftOut => return,
                Phase::Idle | Phase::Broken { .. } => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        };
        match running.gate.enter() {
            Entry::In => {}
            Entry::Closed => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Entry::Stalled => {
                self.fail(&running, "it hung: no frame came out for 3 s".into());
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let mut buffer = buffer.copy();
        let pts = buffer.pts().map(|pts| pts + running.parts.offset);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
        }
        if keyframe && let Some(pts) = pts {
            let event = gstreamer_video::UpstreamForceKeyUnitEvent::builder()
                .running_time(pts)
                .all_headers(false)
                .build();
            if let Some(pad) = running.parts.encoder.static_pad("src") {
                pad.send_event(event);
            }
        }
        let sample = gst::Sample::builder().buffer(&buffer).caps(caps).build();
        // An error here is on the bus too, in words.
        let _ = running.parts.src.push_sample(&sample);
    }

    fn start(&self, state: &mut State) {
        let number = state.built;
        state.built += 1;
        match (self.build)(number).and_then(|parts| self.connect(parts)) {
            Ok(running) => state.phase = Phase::Running(running),
            Err(reason) => self.broken(state, format!("cannot start: {reason}")),
        }
    }

    fn connect(&self, parts: Parts) -> Result<Running, String> {
        let env = self.env.clone();
        let gate =
            Arc::new(Gate::new(self.limit, env.now.clone(), move || env.output.is_blocked()));
        let pad = parts.src.static_pad("src").ok_or("its entrance has no pad")?;
        let taken = gate.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            taken.taken();
            gst::PadProbeReturn::Ok
        });
        let (sink, frames, out, end) =
            (self.sink.clone(), self.frames.clone(), gate.clone(), gate.clone());
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |appsink| {
                let sample = appsink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                if out.is_closed() {
                    return Err(gst::FlowError::Flushing);
                }
                sink(&sample);
                frames.fetch_add(1, Ordering::Relaxed);
                if out.emitted() { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Flushing) }
            })
            .eos(move |_| end.ended())
            .build();
        parts.sink.set_callbacks(callbacks);
        let running = Running { parts: Arc::new(parts), gate, since: (self.env.now)() };
        if running.parts.pipeline.set_state(gst::State::Playing).is_err() {
            let why = error_on(&running.parts.pipeline);
            self.take_down(running);
            return Err(why.unwrap_or_else(|| "its pipeline would not start".into()));
        }
        Ok(running)
    }

    fn broken(&self, state: &mut State, reason: String) {
        let delay = match state.failures {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(5)).min(BACKOFF_CAP),
        };
        state.failures = state.failures.saturating_add(1);
        state.phase = Phase::Broken { retry: (self.env.now)() + delay };
        state.reason = reason;
    }

    /// The pipeline failed, if it is still the one in use.
    fn fail(&self, failed: &Running, reason: String) {
        let mut state = self.lock();
        let Phase::Running(current) = &state.phase else { return };
        if !Arc::ptr_eq(&current.gate, &failed.gate) {
            return;
        }
        let current = current.clone();
        self.take_down(current);
        self.broken(&mut state, reason);
        drop(state);
        // It may run again before the next report is due.
        self.report(false);
    }

    fn take_down(&self, running: Running) {
        self.dropped.fetch_add(running.gate.close(), Ordering::Relaxed);
        let env = self.env.clone();
        env.leaked.fetch_add(1, Ordering::Relaxed);
        std::thread::spawn(move || {
            let _ = running.parts.pipeline.set_state(gst::State::Null);
            env.leaked.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Looks after the pipeline; to be called a few times a second.
    pub(crate) fn tend(&self) {
        let now = (self.env.now)();
        let running = match &self.lock().phase {
            Phase::Running(running) => Some(running.clone()),
            _ => None,
        };
        if let Some(running) = running {
            if let Some(reason) = error_on(&running.parts.pipeline) {
                self.fail(&running, reason);
            } else if running.gate.is_stalled() {
                self.fail(&running, "it hung: no frame came out for 3 s".into());
            }
        }
        let mut state = self.lock();
        match &state.phase {
            Phase::Broken { retry } if *retry <= now => self.start(&mut state),
            Phase::Running(r) if now.saturating_sub(r.since) >= HEALTHY => state.failures = 0,
            _ => {}
        }
    }

    /// No more will be offered: lets the pipeline finish. Waits for it in [`Slot::finished`].
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.ending = true;
        if let Phase::Running(running) = &state.phase {
            let _ = running.parts.src.end_of_stream();
        }
    }

    /// Waits until all has come out. A pipeline that hangs at the end is given up.
    pub(crate) fn finished(&self) {
        let running = match &self.lock().phase {
            Phase::Running(running) => running.clone(),
            _ => return,
        };
        if !running.gate.wait_for_end() {
            self.fail(&running, "it hung at the end of the stream".into());
        }
    }

    /// Takes the pipeline down for good.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if let Phase::Running(running) = &state.phase {
            self.take_down(running.clone());
            state.phase = Phase::Idle;
            state.reason = "the stream has ended".into();
        }
    }

    /// Says how it is: always, or only when that has changed.
    pub(crate) fn report(&self, always: bool) {
        let now = (self.env.now)();
        let (frames, dropped) =
            (self.frames.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed));
        let mut state = self.lock();
        let hungry =
            !state.ending && state.offered.is_none_or(|at| now.saturating_sub(at) > HUNGRY);
        let (mood, reason) = match &state.phase {
            Phase::LeftOut => (Mood::Sleeping, state.reason.clone()),
            Phase::Broken { .. } => (Mood::Sad, state.reason.clone()),
            Phase::Idle => (Mood::Hungry, state.reason.clone()),
            Phase::Running(_) if hungry => (Mood::Hungry, "no input for 2 s".into()),
            Phase::Running(_) if frames == 0 => (Mood::Waking, "nothing has come out yet".into()),
            Phase::Running(_) if state.failures > 0 => {
                (Mood::Happy, format!("running again; before, {}", state.reason))
            }
            Phase::Running(_) => (Mood::Happy, "running".into()),
        };
        let changed = state.seen != (mood, reason.clone());
        if changed {
            state.seen = (mood, reason.clone());
        }
        drop(state);
        if changed || always {
            Report::Rendition { name: self.name.clone(), mood, reason, frames, dropped }.write();
        }
    }
}

/// The first error on a pipeline's bus, in words.
pub(crate) fn error_on(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => {
            let who = message.src().map(|s| s.name().to_string()).unwrap_or_default();
            Some(format!("{who}: {}", error.error().message()))
        }
        _ => None,
    }
}
