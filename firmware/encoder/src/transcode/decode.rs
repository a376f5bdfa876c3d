//! A decoder, started at a keyframe and started again at the next one when it fails.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::{
    pipes,
    report::Report,
    slot::{Env, Sink, error_on},
};

/// How long the end is waited for while nothing comes out.
const END: Duration = Duration::from_secs(5);

struct Run {
    pipeline: gst::Pipeline,
    src: gst_app::AppSrc,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

/// Decodes one track.
pub(crate) struct Decoder {
    /// `video` or `audio`.
    pub name: &'static str,
    env: Arc<Env>,
    sink: Sink,
    run: Mutex<Option<Arc<Run>>>,
    out: Arc<AtomicU64>,
}

impl Decoder {
    /// `sink` takes decoded frames, and may take its time.
    pub(crate) fn new(name: &'static str, env: Arc<Env>, sink: Sink) -> Self {
        Self { name, env, sink, run: Mutex::new(None), out: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Run>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it can take frames, or must be started at a keyframe first.
    pub(crate) fn is_running(&self) -> bool {
        self.lock().is_some()
    }

    /// Frames that have come out.
    pub(crate) fn frames(&self) -> u64 {
        self.out.load(Ordering::Relaxed)
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Result<(), String> {
        let (pipeline, src, appsink) = pipes::decoder(self.name == "video")?;
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (sink, out, end) = (self.sink.clone(), self.out.clone(), ended.clone());
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |appsink| {
                let sample = appsink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                sink(&sample);
                out.fetch_add(1, Ordering::Relaxed);
                Ok(gst::FlowSuccess::Ok)
            })
            .eos(move |_| {
                *end.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                end.1.notify_all();
            })
            .build();
        appsink.set_callbacks(callbacks);
        if pipeline.set_state(gst::State::Playing).is_err() {
            let why = error_on(&pipeline).unwrap_or_else(|| "its pipeline would not start".into());
            return Err(format!("{} decoder: {why}", self.name));
        }
        *self.lock() = Some(Arc::new(Run { pipeline, src, ended }));
        Ok(())
    }

    /// Brings an encoded frame; waits while the decoder, or whoever is behind it, is busy.
    pub(crate) fn push(&self, caps: &gst::Caps, buffer: gst::Buffer) {
        let Some(run) = self.lock().clone() else { return };
        let sample = gst::Sample::builder().buffer(&buffer).caps(caps).build();
        let _ = run.src.push_sample(&sample);
    }

    /// Looks after it; to be called a few times a second.
    pub(crate) fn tend(&self) {
        let Some(run) = self.lock().clone() else { return };
        if let Some(reason) = error_on(&run.pipeline) {
            *self.lock() = None;
            let name = self.name;
            let message = format!("{name} decoder: {reason}; it starts again at the next keyframe");
            Report::Log { message }.write();
            take_down(&self.env, run);
        }
    }

    /// Lets everything come out.
    pub(crate) fn finish(&self) {
        let Some(run) = self.lock().take() else { return };
        let _ = run.src.end_of_stream();
        let (ended, changed) = &*run.ended;
        let mut frames = self.frames();
        let mut guard = ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*guard {
            let (next, wait) =
                changed.wait_timeout(guard, END).unwrap_or_else(PoisonError::into_inner);
            guard = next;
            let now = self.frames();
            let stuck = wait.timed_out() && now == frames && !self.env.output.is_blocked();
            if error_on(&run.pipeline).is_some() || stuck {
                break;
            }
            frames = now;
        }
        drop(guard);
        take_down(&self.env, run);
    }
}

fn take_down(env: &Arc<Env>, run: Arc<Run>) {
    let env = env.clone();
    env.leaked.fetch_add(1, Ordering::Relaxed);
    std::thread::spawn(move || {
        let _ = run.pipeline.set_state(gst::State::Null);
        env.leaked.fetch_sub(1, Ordering::Relaxed);
    });
}
