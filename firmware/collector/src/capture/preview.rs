//! A small JPEG of what is sent, now and then, for whoever looks after the room.
//!
//! The pipeline's thread only keeps a reference to a picture it has anyway; a thread of its own
//! makes it small and codes it.

use std::sync::mpsc::{Receiver, sync_channel};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::elements::{fault, pad};
use super::error::CaptureError;
use super::report::{Line, Reporter, jpeg_text};

/// Time of the stream between previews: for those far away, and for those who look at the box's own
/// page while they set up a camera.
const EVERY: gst::ClockTime = gst::ClockTime::from_seconds(10);
const EVERY_WATCHED: gst::ClockTime = gst::ClockTime::from_seconds(2);
/// The first comes this long after the first picture, which is often black.
const FIRST: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// Bytes at most.
const LIMIT: usize = 20_000;
/// Widths tried, in pixels, until the JPEG is small enough.
const WIDTHS: [i32; 3] = [320, 224, 160];
/// Coding that takes longer than this is given up.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Makes previews of the pictures that leave this element, more often when they are `watched`.
pub(super) fn watch(
    shape: &gst::Element,
    watched: bool,
    reporter: &Reporter,
) -> Result<(), CaptureError> {
    let every = if watched { EVERY_WATCHED } else { EVERY };
    // One picture at most waits: if coding is slow, previews are rarer.
    let (sender, pictures) = sync_channel::<gst::Sample>(1);
    let reporter = reporter.clone();
    std::thread::Builder::new()
        .name("preview".into())
        .spawn(move || make(&pictures, &reporter))
        .map_err(|error| fault("the preview", error.to_string()))?;
    let due = std::sync::Mutex::new(None);
    pad(shape, "src")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data
            && let Some(now) = buffer.pts()
            && is_due(
                &mut due.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
                now,
                every,
            )
            && let Some(caps) = pad.current_caps()
        {
            let _ = sender.try_send(gst::Sample::builder().buffer(buffer).caps(&caps).build());
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn is_due(due: &mut Option<gst::ClockTime>, now: gst::ClockTime, every: gst::ClockTime) -> bool {
    let at = *due.get_or_insert(now + FIRST);
    let is_due = now >= at;
    if is_due {
        *due = Some(now + every);
    }
    is_due
}

fn make(pictures: &Receiver<gst::Sample>, reporter: &Reporter) {
    for picture in pictures {
        match WIDTHS.iter().find_map(|&width| code(&picture, width).transpose()) {
            Some(Ok(jpeg)) => reporter.line(&Line::Preview { jpeg: jpeg_text(&jpeg) }),
            Some(Err(error)) => reporter.log(format!("There is no preview: {error}.")),
            None => reporter.log("There is no preview: the picture is too rich for 20 kB."),
        }
    }
}

/// A JPEG of this width; None when it is too large.
fn code(picture: &gst::Sample, width: i32) -> Result<Option<Vec<u8>>, gst::glib::Error> {
    let caps = gst::Caps::builder("image/jpeg")
        .field("width", width)
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .build();
    let sample = gst_video::convert_sample(picture, &caps, Some(PATIENCE))?;
    let bytes = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
    Ok(bytes.map(|bytes| bytes.to_vec()).filter(|bytes| bytes.len() <= LIMIT))
}
