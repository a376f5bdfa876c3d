//! A file, played over and over in real time. DV files take the same way as DV cameras: decodebin
//! finds the demultiplexer and libav's decoder.

use std::path::Path;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::player::{AtEnd, Plan, play};
use super::{Context, Head, Picture};
use crate::capture::args::{Pace, Repeat};
use crate::capture::elements::{element, fault};
use crate::capture::error::CaptureError;
use crate::capture::tail::Timing;

pub(super) fn open(context: &Context<'_>, path: &Path) -> Result<Head, CaptureError> {
    check(path)?;
    let input = element("filesrc")?;
    input.set_property("location", path);
    let unreadable = path.to_owned();
    let plan = Plan {
        what: path.display().to_string(),
        input,
        at_end: match context.args.repeat {
            Repeat::Loop => AtEnd::Loop,
            Repeat::Once => AtEnd::Finish,
        },
        explain: Box::new(move |error, _| explain(&unreadable, error)),
        empty: CaptureError::Empty { path: path.to_owned() },
    };
    let (player, picture, sound) =
        play(plan, context.args, context.reporter, context.incidents.clone())?;
    let what = path.display().to_string();
    Ok(Head {
        description: format!("the file {what}"),
        picture: Picture::Raw(picture.upcast()),
        sound: sound.upcast(),
        timing: match context.args.pace {
            Pace::RealTime => Timing::Clocked,
            Pace::Unpaced => Timing::Unpaced,
        },
        patience: None,
        explain: Box::new(move |error, _| fault(what.clone(), error.message())),
        keep: Box::new(player),
    })
}

/// What can be seen before anything is played.
fn check(path: &Path) -> Result<(), CaptureError> {
    use std::io::{ErrorKind, Read};
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut [0]));
    match read {
        Ok(0) => Err(unreadable(path, "it is empty")),
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            ErrorKind::NotFound => CaptureError::NoFile { path: path.to_owned() },
            ErrorKind::PermissionDenied => {
                CaptureError::NotAllowed { what: path.display().to_string() }
            }
            ErrorKind::IsADirectory => unreadable(path, "it is a directory"),
            _ => unreadable(path, &error.to_string()),
        }),
    }
}

fn unreadable(path: &Path, reason: &str) -> CaptureError {
    CaptureError::Unreadable { path: path.to_owned(), reason: reason.to_owned() }
}

/// Says what is wrong with the file in words that mean something to its owner.
fn explain(path: &Path, error: &glib::Error) -> CaptureError {
    use gst::StreamError;
    let known = [
        (StreamError::TypeNotFound, "it is not a video or sound file"),
        (StreamError::WrongType, "it is not a video or sound file"),
        (StreamError::CodecNotFound, "there is no decoder for it"),
        (StreamError::Demux, "it is damaged"),
        (StreamError::Decode, "it is damaged"),
    ];
    let reason = known.into_iter().find(|(kind, _)| error.matches(*kind)).map_or_else(
        || error.message().trim_end_matches('.').to_owned(),
        |(_, reason)| reason.to_owned(),
    );
    CaptureError::Unreadable { path: path.to_owned(), reason }
}
