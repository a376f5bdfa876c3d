//! Sources that need no hardware: the test picture and the slate.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::{Context, Head, Picture};
use crate::capture::args::CaptureArgs;
use crate::capture::elements::{bin, element, fault, named, pad};
use crate::capture::error::CaptureError;
use crate::capture::tail::{AUDIO_RATE, Timing};

/// A filter for pictures that the tail need not change.
pub(super) fn shape(args: &CaptureArgs) -> String {
    format!(
        "capsfilter caps=\"video/x-raw,format=I420,width={},height={},framerate={}/1,\
         pixel-aspect-ratio=1/1,colorimetry=bt709,interlace-mode=progressive\"",
        args.width, args.height, args.framerate
    )
}

/// A head of generated picture and sound.
pub(super) fn head(
    description: &str,
    args: &CaptureArgs,
    picture: gst::Bin,
    sound: gst::Bin,
) -> Result<Head, CaptureError> {
    // The two begin some milliseconds apart, whenever their threads get to run.
    count_time(&picture, args.framerate)?;
    count_time(&sound, AUDIO_RATE)?;
    let what = description.to_owned();
    Ok(Head {
        description: description.to_owned(),
        picture: Picture::Raw(picture.upcast()),
        sound: sound.upcast(),
        timing: Timing::Live,
        patience: None,
        explain: Box::new(move |error, _| fault(what.clone(), error.message())),
        keep: Box::new(()),
    })
}

/// Gives each buffer the time of its first frame or sample, counted from 0.
fn count_time(bin: &gst::Bin, rate: u32) -> Result<(), CaptureError> {
    let time = move |n: u64| {
        gst::ClockTime::SECOND.mul_div_floor(n, rate.into()).unwrap_or(gst::ClockTime::ZERO)
    };
    pad(bin, "src")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            let (first, end) = (time(buffer.offset()), time(buffer.offset_end()));
            let buffer = buffer.make_mut();
            buffer.set_pts(first);
            buffer.set_duration(end.saturating_sub(first));
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// A ball in flight, the room's name, a running clock and 440 Hz: plainly live.
pub(super) fn test(context: &Context<'_>) -> Result<Head, CaptureError> {
    let shape = shape(context.args);
    let text = has_text(context);
    let overlays = if text {
        "! textoverlay name=title valignment=top halignment=center ypad=40 font-desc=\"Sans Bold 30\" \
         ! clockoverlay valignment=bottom halignment=center ypad=40 time-format=\"%H:%M:%S\" \
           font-desc=\"Sans Bold 40\""
    } else {
        ""
    };
    let picture = bin(&format!(
        "videotestsrc is-live=true pattern=ball background-color=0xff16324f \
         foreground-color=0xfff2c14e ! {shape} {overlays}"
    ))?;
    if text {
        set_text(&picture, "title", &context.args.room)?;
    }
    let sound =
        bin("audiotestsrc is-live=true wave=sine freq=440 volume=0.1 samplesperbuffer=960 \
         ! capsfilter caps=audio/x-raw,format=S16LE,rate=48000,channels=2")?;
    head("the test picture", context.args, picture, sound)
}

/// The room's name and what is wrong, and silence.
pub(super) fn slate(context: &Context<'_>) -> Result<Head, CaptureError> {
    let shape = shape(context.args);
    let text = has_text(context);
    let overlays = if text {
        "! textoverlay name=title valignment=position ypos=0.36 halignment=center \
           font-desc=\"Sans Bold 34\" \
         ! textoverlay name=fault valignment=position ypos=0.62 halignment=center wrap-mode=wordchar \
           font-desc=\"Sans 18\""
    } else {
        ""
    };
    let picture = bin(&format!(
        "videotestsrc is-live=true pattern=solid-color foreground-color=0xff26303b \
         ! {shape} {overlays}"
    ))?;
    if text {
        set_text(&picture, "title", &context.args.room)?;
        set_text(&picture, "fault", &context.args.text)?;
    }
    head("the slate", context.args, picture, silence()?)
}

/// Silence without end.
pub(super) fn silence() -> Result<gst::Bin, CaptureError> {
    bin("audiotestsrc is-live=true wave=silence samplesperbuffer=960 \
         ! capsfilter caps=audio/x-raw,format=S16LE,rate=48000,channels=2")
}

/// Whether text can be drawn. A picture without its text is better than none.
fn has_text(context: &Context<'_>) -> bool {
    let has = element("textoverlay").is_ok() && element("clockoverlay").is_ok();
    if !has {
        context.reporter.log("GStreamer's pango plugin is missing: the picture has no text.");
    }
    has
}

/// Sets an overlay's text. The overlay reads markup, and the text is plain.
fn set_text(picture: &gst::Bin, name: &str, text: &str) -> Result<(), CaptureError> {
    named(picture, name)?.set_property("text", glib::markup_escape_text(text).as_str());
    Ok(())
}
