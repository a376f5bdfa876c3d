//! The worker: its threads, and how they are joined.
//!
//! ```text
//!  stdin ─▶ intake ─▶ video decoder ─▶ pictures ─┬▶ slot 480p ────▶ rung ──▶ stdout
//!             │                         (scaled  ├▶ slot webm-high ▶ Webm ─▶
//!             │                          once    ├▶ slot webm-low ─▶ Webm ─▶   ▲
//!             │                          a size) └▶ slot preview ──▶ JPEG ─▶   │
//!             └────▶ audio decoder ─▶ 48 kHz stereo ┬▶ slot ogg ───▶ Opus ─────┤
//!                                                   └▶ slot mp3 ─────────────▶ ┘
//! ```
//! Each decoder and each slot has a thread of GStreamer's; a full slot holds its decoder back, a
//! decoder the intake, the intake stdin. One more thread tends the slots and reports.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use gstreamer as gst;

use super::{
    decode::Decoder,
    intake::Intake,
    keys::Ledger,
    ladder::{Kind, Ladder},
    output::{Now, Output},
    picture::{Consumer, Known, Pictures, Want},
    pipes::{self, Encoder, Fault},
    preview::Preview,
    report::Report,
    sinks::{self, Opus, Webm},
    slot::{Build, Env, Slot},
};

/// Frames that wait before each encoder of pictures.
const PICTURES: usize = 8;
/// Buffers of sound that wait before each encoder of sound; about 20 ms each.
const SOUNDS: usize = 64;
const TEND: Duration = Duration::from_millis(200);
/// How long pipelines may take to come down at the end.
const CLOSE: Duration = Duration::from_secs(1);
const TENDS_PER_REPORT: u32 = 5;
/// More hung pipelines than this, and only a new process helps.
const MOST_LEAKED: usize = 8;

/// Renditions with a fault made on purpose.
pub(crate) type Faults = Vec<(String, Fault)>;

struct Works {
    slots: Vec<Arc<Slot>>,
    opus: Arc<Opus>,
    webms: Vec<Arc<Webm>>,
    video: Arc<Decoder>,
    audio: Arc<Decoder>,
    intake: Intake,
}

/// Transcodes `input` until its end.
pub(crate) fn run(
    ladder: &Ladder,
    faults: &Faults,
    input: impl std::io::Read,
    output: Output,
    now: Now,
) -> Result<(), String> {
    gst::init().map_err(|e| format!("GStreamer does not start: {e}"))?;
    let env = Arc::new(Env { now, output, leaked: AtomicUsize::new(0) });
    let mut works = assemble(ladder, faults, &env);
    let (stop, stopped) = mpsc::channel::<()>();
    let tending = {
        let (env, slots) = (env.clone(), works.slots.clone());
        let decoders = [works.video.clone(), works.audio.clone()];
        std::thread::spawn(move || tend(&env, &slots, &decoders, &stopped))
    };
    let result = works.intake.run(input, &env.output);
    // What came in whole is made to the end even when the input ended in an error.
    works.video.finish();
    works.audio.finish();
    works.slots.iter().for_each(|slot| slot.finish());
    works.slots.iter().for_each(|slot| slot.finished());
    works.opus.finish();
    works.webms.iter().for_each(|webm| webm.finish());
    drop(stop);
    let _ = tending.join();
    works.slots.iter().for_each(|slot| slot.report(true));
    works.slots.iter().for_each(|slot| slot.close());
    let deadline = (env.now)() + CLOSE;
    while env.leaked.load(Ordering::Relaxed) > 0 && (env.now)() < deadline {
        std::thread::yield_now();
    }
    result
}

fn assemble(ladder: &Ladder, faults: &Faults, env: &Arc<Env>) -> Works {
    let sound = Arc::new(AtomicBool::new(false));
    let known = Arc::new(Mutex::new(Known::default()));
    let (mut slots, mut consumers, mut webms, mut hearers) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut opus = Opus::new(env.clone(), 0, Vec::new());
    for (index, stream) in ladder.streams().iter().enumerate() {
        let number = u8::try_from(index).unwrap_or(u8::MAX);
        let fault = faults.iter().find(|(name, _)| *name == stream.name).map(|(_, f)| *f);
        let build = |which: Encoder| -> Build {
            Box::new(move |built| pipes::rendition(which, fault, built))
        };
        let slot =
            |limit, build, sink| Arc::new(Slot::new(&stream.name, env.clone(), limit, build, sink));
        let keys = Arc::new(Mutex::new(Ledger::default()));
        let slot = match stream.kind {
            Kind::Rung { height, bitrate } => {
                let sink = sinks::rung(env.clone(), number, keys.clone());
                let slot = slot(PICTURES, build(Encoder::H264(bitrate)), sink);
                consumers.push(Consumer::new(slot.clone(), Want::Rung(height), keys));
                slot
            }
            Kind::Webm { height, bitrate } => {
                let webm = Webm::new(env.clone(), number, sound.clone());
                let slot = slot(PICTURES, build(Encoder::Vp8(bitrate)), webm.video_sink());
                webms.push(webm);
                consumers.push(Consumer::new(slot.clone(), Want::AtMost(height), keys));
                slot
            }
            Kind::Ogg => {
                opus = Opus::new(env.clone(), number, webms.clone());
                let slot = slot(SOUNDS, build(Encoder::Opus), opus.sink());
                hearers.push(slot.clone());
                slot
            }
            Kind::Mp3 => {
                let slot = slot(SOUNDS, build(Encoder::Mp3), sinks::mp3(env.clone(), number));
                hearers.push(slot.clone());
                slot
            }
            Kind::Preview => {
                let preview = Preview::new(env.clone(), number);
                let attach = preview.clone();
                let build: Build = Box::new(move |built| {
                    let parts = pipes::rendition(Encoder::Jpeg, fault, built)?;
                    attach.attach(&parts);
                    Ok(parts)
                });
                let slot = slot(1, build, preview.sink());
                consumers.push(Consumer::new(slot.clone(), Want::Preview, keys));
                slot
            }
        };
        slots.push(slot);
    }
    let pictures = Mutex::new(Pictures::new(known.clone(), consumers));
    let video = Decoder::new(
        "video",
        env.clone(),
        Arc::new(move |sample| {
            pictures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).frame(sample);
        }),
    );
    let caps = pipes::audio_caps();
    let audio = Decoder::new(
        "audio",
        env.clone(),
        Arc::new(move |sample| {
            let Some(buffer) = sample.buffer() else { return };
            hearers.iter().for_each(|slot| slot.offer(&caps, buffer, false));
        }),
    );
    let (video, audio) = (Arc::new(video), Arc::new(audio));
    let intake = Intake::new(video.clone(), audio.clone(), known, sound);
    Works { slots, opus, webms, video, audio, intake }
}

fn tend(env: &Env, slots: &[Arc<Slot>], decoders: &[Arc<Decoder>], stopped: &mpsc::Receiver<()>) {
    let mut turn: u32 = 0;
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(TEND) {
        decoders.iter().for_each(|decoder| decoder.tend());
        for slot in slots {
            slot.tend();
            slot.report(turn.is_multiple_of(TENDS_PER_REPORT));
        }
        turn = turn.wrapping_add(1);
        if env.leaked.load(Ordering::Relaxed) > MOST_LEAKED {
            let message = format!("{MOST_LEAKED} pipelines hang for good: only a restart helps");
            Report::Error { message }.write();
            std::process::exit(1);
        }
    }
}
