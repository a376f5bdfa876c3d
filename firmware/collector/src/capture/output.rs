//! From the pipeline's ends to stdout: one thread owns the muxer and the pipe.
//!
//! The pipe's reader sets the pace: when it stops reading, this thread waits in `write`, the
//! bounded queue before it fills, the encoder waits, and a live source lets frames go (counted).

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flv::metadata::Metadata;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::error::CaptureError;
use super::meter::Meter;
use super::mux::{Coded, Muxer, Written};
use super::worker::Incident;

/// Coded frames between the pipeline and the pipe.
const WAITING_FRAMES: usize = 32;

/// Which end of the pipeline a frame comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    Video,
    Audio,
}

/// Starts the writing thread. It ends when every sender has gone, or the reader of the stream has;
/// the receiver returned is then disconnected.
pub(super) fn start(
    mut out: impl Write + Send + 'static,
    metadata: Metadata,
    framerate: u32,
    meter: Arc<Meter>,
    incidents: Sender<Incident>,
) -> std::io::Result<(SyncSender<Coded>, Receiver<()>)> {
    let (sender, frames) = sync_channel(WAITING_FRAMES);
    let (done, ended) = sync_channel(1);
    std::thread::Builder::new().name("output".into()).spawn(move || {
        // Dropped when this thread ends, which the receiver notices.
        let _done = done;
        let frame_ms = 1000 / i64::from(framerate.max(1));
        let result = copy(&frames, &mut out, Muxer::new(metadata, framerate), |written| {
            if let Some(ms) = written.video_ms {
                meter.wrote_video(written.frames, i64::from(ms) + frame_ms);
            }
            if let Some(ms) = written.audio_ms {
                meter.wrote_audio(i64::from(ms) + AUDIO_FRAME_MS);
            }
            if written.frames > 0 {
                let _ = incidents.send(Incident::Wrote);
            }
        });
        let error = match result {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                CaptureError::ReaderGone
            }
            Err(error) => CaptureError::Output { reason: error.to_string() },
        };
        let _ = incidents.send(Incident::Failed(error));
    })?;
    Ok((sender, ended))
}

/// voaacenc gives the sound 1600 samples late (a frame and the look-ahead of short blocks).
const AUDIO_DELAY: Duration = Duration::from_nanos(1600 * 1_000_000_000 / 48_000);
/// An AAC frame has 1024 samples, 21.3 ms at 48 kHz.
const AUDIO_FRAME_MS: i64 = 21;

fn copy(
    frames: &Receiver<Coded>,
    out: &mut impl Write,
    mut muxer: Muxer,
    mut wrote: impl FnMut(Written),
) -> std::io::Result<()> {
    let mut bytes = BytesMut::new();
    for coded in frames {
        let written = muxer.push(coded, &mut bytes);
        put(out, &mut bytes)?;
        wrote(written);
    }
    let written = muxer.flush(&mut bytes);
    put(out, &mut bytes)?;
    wrote(written);
    Ok(())
}

fn put(out: &mut impl Write, bytes: &mut BytesMut) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    out.write_all(bytes)?;
    bytes.clear();
    out.flush()
}

/// Sends what an appsink gets to the writing thread, after `inspect` has seen it.
pub(super) fn connect(
    sink: &gst_app::AppSink,
    track: Track,
    frames: SyncSender<Coded>,
    mut inspect: impl FnMut(&Coded) + Send + 'static,
) {
    let mut seen: Option<gst::Caps> = None;
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let mut send = |coded: Coded| {
            inspect(&coded);
            frames.send(coded).map_err(|_| gst::FlowError::Eos)
        };
        if track == Track::Video
            && let Some(caps) = sample.caps()
            && seen.as_deref() != Some(caps)
        {
            if let Some(config) = codec_data(caps) {
                send(Coded::VideoConfig(config))?;
            }
            seen = Some(caps.to_owned());
        }
        if let Some(coded) = coded(&sample, track) {
            send(coded)?;
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

fn codec_data(caps: &gst::CapsRef) -> Option<Bytes> {
    let buffer = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    let map = buffer.map_readable().ok()?;
    Some(Bytes::copy_from_slice(&map))
}

/// A sample as a coded frame; None without a time or data.
fn coded(sample: &gst::Sample, track: Track) -> Option<Coded> {
    let buffer = sample.buffer()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let running = |time: gst::ClockTime| {
        segment.to_running_time(time).map(|time| Duration::from_nanos(time.nseconds()))
    };
    let pts = running(buffer.pts()?)?;
    let map = buffer.map_readable().ok()?;
    if map.is_empty() {
        return None;
    }
    let data = Bytes::copy_from_slice(&map);
    Some(match track {
        Track::Audio => Coded::Audio { pts: pts.checked_sub(AUDIO_DELAY)?, data },
        Track::Video => Coded::Video {
            pts,
            dts: buffer.dts().and_then(running).unwrap_or(pts),
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            data,
        },
    })
}
