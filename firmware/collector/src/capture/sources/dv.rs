//! A FireWire DV device (TwinPact 100, a DV camera), found by its GUID.
//!
//! Its picture and sound come in one stream and share one clock, so they cannot drift apart.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::player::{AtEnd, Plan, play};
use super::{Context, Head, Picture};
use crate::capture::elements::{element, fault, system_error};
use crate::capture::error::CaptureError;
use crate::capture::tail::Timing;

/// A cable wiggled for a moment gives no notice but a lack of frames.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn open(context: &Context<'_>, guid: Option<u64>) -> Result<Head, CaptureError> {
    let input = element("dv1394src")?;
    // Converters have no tape to control, and some hang when asked.
    input.set_property("use-avc", false);
    if let Some(guid) = guid {
        input.set_property("guid", guid);
    }
    let name = match guid {
        Some(guid) => format!("the FireWire device 0x{guid:016x}"),
        None => "the first FireWire device".to_owned(),
    };
    let plan = Plan {
        what: name.clone(),
        input,
        at_end: AtEnd::Fail(CaptureError::Gone { device: name.clone() }),
        empty: CaptureError::NoSignal { device: name.clone(), seconds: PATIENCE.as_secs() },
        explain: Box::new({
            let name = name.clone();
            move |error, debug| explain(&name, guid, error, debug)
        }),
    };
    let (player, picture, sound) =
        play(plan, context.args, context.reporter, context.incidents.clone())?;
    let what = name.clone();
    Ok(Head {
        description: name.clone(),
        picture: Picture::Raw(picture.upcast()),
        sound: sound.upcast(),
        timing: Timing::Live,
        patience: Some((name, PATIENCE)),
        explain: Box::new(move |error, _| fault(what.clone(), error.message())),
        keep: Box::new(player),
    })
}

fn explain(
    name: &str,
    guid: Option<u64>,
    error: &glib::Error,
    debug: Option<&str>,
) -> CaptureError {
    let device = name.to_owned();
    if error.matches(gst::ResourceError::NotFound) {
        return CaptureError::NoDv { guid };
    }
    if error.matches(gst::ResourceError::Busy) {
        return CaptureError::Busy { device };
    }
    if error.matches(gst::ResourceError::Read) {
        return CaptureError::Gone { device };
    }
    fault(name, system_error(debug).unwrap_or_else(|| error.message().to_owned()))
}
