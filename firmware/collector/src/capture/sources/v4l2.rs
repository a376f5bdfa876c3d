//! A video4linux device: its formats are probed, the best is taken, and its sound card joined.

use std::path::Path;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::offers::modes;
use super::synthetic::silence;
use super::{Context, Head, Picture};
use crate::capture::args::AudioDevice;
use crate::capture::elements::{bin, element, fault, first_of, named, pad, system_error};
use crate::capture::error::CaptureError;
use crate::capture::formats::{self, Encoding, Taken, Wanted};
use crate::capture::tail::Timing;

/// A grabber without a signal may give nothing at all.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn open(context: &Context<'_>, path: &Path) -> Result<Head, CaptureError> {
    let caps = probe(path)?;
    let args = context.args;
    let wanted = Wanted {
        width: args.width,
        height: args.height,
        framerate: args.framerate,
        passthrough: !context.avoid_h264,
    };
    let taken = formats::choose(&modes(&caps, wanted), wanted).ok_or_else(|| {
        CaptureError::NoFormat { device: path.display().to_string(), offered: offered(&caps) }
    })?;
    let device = path.display().to_string();
    context.reporter.log(format!("{device}: {}, for {}.", taken.mode, taken.why));
    let picture = picture(path, &taken)?;
    let card = card(context, path);
    let sound = match &card {
        Some(card) => alsa(card)?,
        None => silence()?,
    };
    let sound_words = card.as_deref().unwrap_or("no sound");
    let explained = path.to_owned();
    Ok(Head {
        description: format!("{device} ({}, {sound_words})", taken.mode),
        picture: if taken.passthrough {
            Picture::H264(picture.upcast())
        } else {
            Picture::Raw(picture.upcast())
        },
        sound: sound.upcast(),
        timing: Timing::Live,
        patience: Some((device, PATIENCE)),
        explain: Box::new(move |error, debug| {
            explain(&explained, explained.exists(), card.as_deref(), error, debug)
        }),
        keep: Box::new(()),
    })
}

/// Opens the device for a moment to ask what it can do.
fn probe(path: &Path) -> Result<gst::Caps, CaptureError> {
    let source = element("v4l2src")?;
    source.set_property("device", path.display().to_string());
    let bus = gst::Bus::new();
    source.set_bus(Some(&bus));
    let opened = source.set_state(gst::State::Ready);
    let caps = pad(&source, "src")?.query_caps(None);
    let _ = source.set_state(gst::State::Null);
    source.set_bus(None);
    if opened.is_ok() {
        return Ok(caps);
    }
    let message = bus.pop_filtered(&[gst::MessageType::Error]);
    Err(match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => {
            match explain(path, path.exists(), None, &error.error(), error.debug().as_deref()) {
                // It was never there.
                CaptureError::Gone { .. } => CaptureError::NoSuchDevice { path: path.to_owned() },
                other => other,
            }
        }
        _ => fault(path.display().to_string(), "the device cannot be opened"),
    })
}

/// The formats in the caps, for the sentence that none of them will do.
fn offered(caps: &gst::Caps) -> String {
    let mut names: Vec<&str> = caps.iter().map(|structure| structure.name().as_str()).collect();
    names.dedup();
    if names.is_empty() { "it offers none".to_owned() } else { names.join(", ") }
}

fn picture(path: &Path, taken: &Taken) -> Result<gst::Bin, CaptureError> {
    let decoder = match (&taken.mode.encoding, taken.passthrough) {
        (Encoding::H264, false) => format!("! h264parse ! {}", h264_decoder()?),
        (Encoding::Jpeg, _) => "! jpegdec".to_owned(),
        _ => String::new(),
    };
    let kind = match &taken.mode.encoding {
        Encoding::Raw(format) => format!("video/x-raw,format={format}"),
        Encoding::Jpeg => "image/jpeg".to_owned(),
        Encoding::H264 => "video/x-h264".to_owned(),
    };
    let bin = bin(&format!("v4l2src name=device ! capsfilter name=format {decoder}"))?;
    named(&bin, "device")?.set_property("device", path.display().to_string());
    let (frames, seconds) = taken.mode.rate;
    let caps = format!(
        "{kind},width={},height={},framerate={frames}/{seconds}",
        taken.mode.width, taken.mode.height
    );
    let caps: gst::Caps =
        caps.parse().map_err(|_| fault(path.display().to_string(), "its format has no name"))?;
    named(&bin, "format")?.set_property("caps", &caps);
    Ok(bin)
}

/// What decodes a grabber's H.264: the better one, or the one of the release image, whose licence it
/// can carry.
fn h264_decoder() -> Result<&'static str, CaptureError> {
    first_of(&["avdec_h264", "openh264dec"])
}

/// The sound card to record from.
fn card(context: &Context<'_>, path: &Path) -> Option<String> {
    match &context.args.audio_device {
        AudioDevice::None => None,
        AudioDevice::Alsa(name) => Some(name.clone()),
        AudioDevice::Auto => match crate::devices::snapshot() {
            Ok(devices) => crate::devices::sound_of(path, &devices),
            Err(error) => {
                context.reporter.log(format!("{error} Silence is sent."));
                None
            }
        },
    }
}

fn alsa(card: &str) -> Result<gst::Bin, CaptureError> {
    // The pipeline's clock is the system's; the card's drift is evened out by its own source.
    let bin = bin("alsasrc name=card provide-clock=false")?;
    named(&bin, "card")?.set_property("device", card);
    Ok(bin)
}

/// What an error of GStreamer's means. `exists` is whether the node is still there.
fn explain(
    path: &Path,
    exists: bool,
    card: Option<&str>,
    error: &glib::Error,
    debug: Option<&str>,
) -> CaptureError {
    let device = path.display().to_string();
    let system = system_error(debug).unwrap_or_default();
    if let Some(card) = card
        && debug.is_some_and(|debug| debug.contains("alsa"))
    {
        return explain_card(card, error, debug);
    }
    let says =
        |text: &str| system.contains(text) || debug.is_some_and(|debug| debug.contains(text));
    if error.matches(gst::ResourceError::Busy) || says("Device or resource busy") {
        return CaptureError::Busy { device };
    }
    if says("Permission denied") {
        return CaptureError::NotAllowed { what: device };
    }
    if !exists || says("No such device") {
        return CaptureError::Gone { device };
    }
    if error.matches(gst::ResourceError::NotFound) || says("Inappropriate ioctl") {
        return CaptureError::NotCapture { path: path.to_owned() };
    }
    let reason = if system.is_empty() { error.message().to_owned() } else { system };
    fault(device, reason)
}

fn explain_card(card: &str, error: &glib::Error, debug: Option<&str>) -> CaptureError {
    let device = card.to_owned();
    let says = |text: &str| debug.is_some_and(|debug| debug.contains(text));
    if error.matches(gst::ResourceError::Busy) || says("Device or resource busy") {
        CaptureError::Busy { device }
    } else if says("Permission denied") {
        CaptureError::NotAllowed { what: device }
    } else if error.matches(gst::ResourceError::OpenRead) || says("No such file") {
        CaptureError::NoSound { device }
    } else {
        // The card was open: it has been unplugged.
        CaptureError::Gone { device }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(exists: bool, kind: gst::ResourceError, debug: &str) -> String {
        let error = glib::Error::new(kind, "Could not.");
        explain(Path::new("/dev/video9"), exists, Some("hw:CARD=A"), &error, Some(debug))
            .code()
            .to_owned()
    }

    #[test]
    fn errors_are_told_apart() {
        use gst::ResourceError::{Busy, NotFound, OpenRead, OpenReadWrite, Read, Settings};
        for (exists, kind, debug, code) in [
            (true, Busy, "", "device_busy"),
            (
                true,
                Settings,
                "Call to S_FMT failed: system error: Device or resource busy",
                "device_busy",
            ),
            (true, OpenReadWrite, "system error: Permission denied", "not_allowed"),
            (true, Read, "Failed to dequeue: No such device", "device_gone"),
            (false, Read, "poll error 1", "device_gone"),
            (
                true,
                NotFound,
                "system error: Inappropriate ioctl for device",
                "not_a_capture_device",
            ),
            (true, Settings, "system error: Invalid argument", "pipeline"),
            (true, OpenRead, "gstalsasrc.c(1): No such file or directory", "no_sound_device"),
            (true, Busy, "gstalsasrc.c(1): busy", "device_busy"),
            (true, Read, "gstalsasrc.c(1): Can't record audio fast enough", "device_gone"),
        ] {
            assert_eq!(meaning(exists, kind, debug), code, "{debug}");
        }
    }
}
