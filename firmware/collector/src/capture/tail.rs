//! The end every capture pipeline shares: from any picture and sound to H.264 and AAC.
//!
//! ```text
//! picture ─ queue ─ deinterlace ─ videorate ─ convert+scale ─┬─ queue ─ x264enc ─ appsink
//!                                                          meter
//! sound ── queue ─ convert ─ resample ─┬─ audiorate ─ voaacenc ─ appsink
//!                            channels, meter
//! ```
//!
//! The first queue of a live source lets old frames go when the machine is behind (counted); that
//! of a file holds its source back. A progressive picture of the right size and rate passes
//! through everything before the encoder by reference.

use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::args::CaptureArgs;
use super::elements::{bin, named, pad};
use super::error::CaptureError;

/// Sound is always encoded at this rate, in Hz.
pub(super) const AUDIO_RATE: u32 = 48_000;
/// Seconds between key frames.
pub(super) const GOP_SECONDS: u32 = 2;
/// Additional key frames, after the first frame.
const EARLY_KEYFRAMES: [gst::ClockTime; 2] =
    [gst::ClockTime::from_mseconds(500), gst::ClockTime::from_mseconds(1000)];
/// Milliseconds of bit rate that the encoder may save up for a hard picture.
const VBV_MS: u32 = 1_000;

/// Whether the pipeline waits for the clock at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// The source is live: nothing waits, and what cannot be kept up with is let go.
    Live,
    /// The source is as fast as it is read: the end waits for the clock.
    Clocked,
    /// Nothing waits and nothing is let go.
    Unpaced,
}

/// One of the two branches.
pub(super) struct Branch {
    /// From a `sink` ghost pad to the appsink.
    pub(super) bin: gst::Bin,
    /// Gives coded frames.
    pub(super) out: gst_app::AppSink,
}

impl Branch {
    fn new(line: &str) -> Result<Self, CaptureError> {
        let bin = bin(line)?;
        let out = named(&bin, "out")?
            .downcast()
            .map_err(|_| CaptureError::MissingElement { element: "appsink".to_owned() })?;
        Ok(Self { bin, out })
    }
}

fn leaky(timing: Timing) -> &'static str {
    if timing == Timing::Live { "downstream" } else { "no" }
}

fn sink(timing: Timing) -> String {
    // async=false: the pipeline runs before the slower of the two branches has its first frame.
    format!(
        "appsink name=out async=false qos=false enable-last-sample=false sync={} max-buffers=8",
        timing == Timing::Clocked
    )
}

/// Raw picture in, H.264 out. Elements `queue`, `rate` and `shape` are for the meters.
pub(super) fn video(args: &CaptureArgs, timing: Timing) -> Result<Branch, CaptureError> {
    let CaptureArgs { width, height, framerate, threads, .. } = *args;
    // An interlaced picture has as many fields as twice its frames: all are kept only if asked for.
    let fields = if framerate > 30 { "all" } else { "top" };
    let (kbit, gop) = (args.bitrate.div_ceil(1000), framerate * GOP_SECONDS);
    let (leaky, sink) = (leaky(timing), sink(timing));
    // Pictures are large: a source that can wait need not be buffered.
    let buffers = if timing == Timing::Live { 5 } else { 2 };
    let branch = Branch::new(&format!(
        "queue name=queue max-size-buffers={buffers} max-size-bytes=0 max-size-time=0 leaky={leaky} \
         ! deinterlace fields={fields} method=greedyh \
         ! videorate name=rate skip-to-first=true \
         ! videoconvertscale add-borders=true \
         ! capsfilter name=shape caps=\"video/x-raw,format=I420,width={width},height={height},\
           framerate={framerate}/1,pixel-aspect-ratio=1/1\" \
         ! queue max-size-buffers=2 max-size-bytes=0 max-size-time=0 \
         ! x264enc name=encoder speed-preset=superfast tune=zerolatency bitrate={kbit} \
           vbv-buf-capacity={VBV_MS} key-int-max={gop} bframes=0 option-string=scenecut=0 \
           threads={threads} aud=false byte-stream=false \
         ! video/x-h264,stream-format=avc,alignment=au ! {sink}"
    ))?;
    name_colours(&branch.bin)?;
    Ok(branch)
}

/// Gives pictures that do not say how their colours are coded the usual coding of their size.
///
/// Else a small picture made large would be taken for the usual coding of the large size at the
/// scaler's other side, and converted, which costs more than the scaling itself.
fn name_colours(video: &gst::Bin) -> Result<(), CaptureError> {
    let queue = named(video, "queue")?;
    pad(&queue, "sink")?.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
            && let Some(caps) = with_colours(caps.caps())
        {
            *event = gst::event::Caps::new(&caps);
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// The same caps with colours; None when they are said already.
fn with_colours(caps: &gst::CapsRef) -> Option<gst::Caps> {
    if caps.structure(0)?.has_field("colorimetry") {
        return None;
    }
    let usual = gst_video::VideoInfo::from_caps(caps).ok()?.to_caps().ok()?;
    let usual = usual.structure(0)?.get::<String>("colorimetry").ok()?;
    let mut caps = caps.to_owned();
    caps.make_mut().set("colorimetry", usual);
    Some(caps)
}

/// Asks for key frames at half a second and a second after the first frame: a segment lasts from
/// key frame to key frame, and the first ones should be whole soon.
pub(super) fn force_early_keyframes(video: &gst::Bin) -> Result<(), CaptureError> {
    let encoder = named(video, "encoder")?;
    let ask = pad(&encoder, "src")?;
    let asked = Mutex::new((None, EARLY_KEYFRAMES.iter()));
    pad(&encoder, "sink")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else {
            return gst::PadProbeReturn::Ok;
        };
        let Some(now) = buffer.pts() else { return gst::PadProbeReturn::Ok };
        let (first, early) = &mut *asked.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_sub(*first.get_or_insert(now));
        if early.as_slice().first().is_some_and(|early| since >= *early) {
            early.next();
            // Without a time it is for the frame that follows, which is this one. (With a time it is
            // not: x264enc moves its frames by 1000 hours before it compares.)
            let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(false).build();
            ask.send_event(event);
        }
        if early.len() == 0 { gst::PadProbeReturn::Remove } else { gst::PadProbeReturn::Ok }
    });
    Ok(())
}

/// H.264 as the device makes it, to the form FLV has.
pub(super) fn video_passthrough(timing: Timing) -> Result<Branch, CaptureError> {
    let (leaky, sink) = (leaky(timing), sink(timing));
    Branch::new(&format!(
        "queue name=queue max-size-buffers=60 max-size-bytes=0 max-size-time=0 leaky={leaky} \
         ! h264parse name=shape config-interval=0 \
         ! video/x-h264,stream-format=avc,alignment=au ! {sink}"
    ))
}

/// Raw sound in, AAC out. Element `shape` is where channels are chosen and levels measured.
pub(super) fn audio(args: &CaptureArgs, timing: Timing) -> Result<Branch, CaptureError> {
    let (leaky, sink, bitrate) = (leaky(timing), sink(timing), args.audio_bitrate);
    Branch::new(&format!(
        "queue name=queue max-size-buffers=0 max-size-bytes=0 max-size-time=1000000000 \
           leaky={leaky} \
         ! audioconvert ! audioresample \
         ! capsfilter name=shape caps=\"audio/x-raw,format=S16LE,layout=interleaved,\
           rate={AUDIO_RATE},channels=2,channel-mask=(bitmask)0x3\" \
         ! audiorate skip-to-first=true tolerance=40000000 \
         ! voaacenc bitrate={bitrate} \
         ! audio/mpeg,mpegversion=4,stream-format=raw ! {sink}"
    ))
}
