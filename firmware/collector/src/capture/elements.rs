//! Making GStreamer elements, with errors an operator can act on.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::error::CaptureError;

/// A bin from a launch line, its open `sink` and `src` ends as ghost pads. Outside text never goes
/// into the line: it is set as a property of the named element afterwards.
pub(super) fn bin(line: &str) -> Result<gst::Bin, CaptureError> {
    let bin = gst::parse::bin_from_description(line, false).map_err(|error| parse_error(&error))?;
    for element in bin.iterate_elements().into_iter().flatten() {
        // Only these two: an overlay's text pad, for one, is best left alone.
        for name in ["sink", "src"] {
            let open = element.static_pad(name).filter(|pad| !pad.is_linked());
            if let Some(pad) = open {
                let ghost = gst::GhostPad::with_target(&pad)
                    .map_err(|error| fault("the pipeline", error.to_string()))?;
                bin.add_pad(&ghost).map_err(|error| fault("the pipeline", error.to_string()))?;
            }
        }
    }
    Ok(bin)
}

fn parse_error(error: &glib::Error) -> CaptureError {
    if error.matches(gst::ParseError::NoSuchElement) {
        // The message is `no element "x264enc"`.
        let element = error.message().split('"').nth(1).unwrap_or("unknown").to_owned();
        return CaptureError::MissingElement { element };
    }
    fault("the pipeline", error.message())
}

/// One element.
pub(super) fn element(name: &'static str) -> Result<gst::Element, CaptureError> {
    gst::ElementFactory::make(name)
        .build()
        .map_err(|_| CaptureError::MissingElement { element: name.to_owned() })
}

/// The first of these elements that this machine has.
pub(super) fn first_of(names: &[&'static str]) -> Result<&'static str, CaptureError> {
    let found = names.iter().find(|name| gst::ElementFactory::find(name).is_some());
    found.copied().ok_or_else(|| CaptureError::MissingElement { element: names.join(" or ") })
}

/// A named element of a bin made from a line that has it.
pub(super) fn named(bin: &gst::Bin, name: &str) -> Result<gst::Element, CaptureError> {
    bin.by_name(name).ok_or_else(|| fault("the pipeline", format!("it has no element {name}")))
}

/// A pad that every instance of the element has.
pub(super) fn pad(
    element: &impl IsA<gst::Element>,
    name: &'static str,
) -> Result<gst::Pad, CaptureError> {
    element.static_pad(name).ok_or_else(|| {
        fault("the pipeline", format!("{} has no pad {name}", element.as_ref().name()))
    })
}

/// A fault of the pipeline itself; the reason loses its full stop, as the sentence brings one.
pub(super) fn fault(what: impl Into<String>, reason: impl Into<String>) -> CaptureError {
    let reason: String = reason.into();
    CaptureError::Pipeline {
        what: what.into(),
        reason: reason.trim_end_matches(['.', ' ', '\n']).to_owned(),
    }
}

/// The errno text in GStreamer's debug string, `…: system error: Device or resource busy`.
pub(super) fn system_error(debug: Option<&str>) -> Option<String> {
    debug?.rsplit_once("system error: ").map(|(_, text)| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_there_is_taken_and_all_are_named_when_none_is() {
        gst::init().expect("GStreamer");
        assert_eq!(first_of(&["no-such-one", "identity", "queue"]).ok(), Some("identity"));
        let error = first_of(&["no-such-one", "nor-this"]).expect_err("neither is there");
        assert!(error.to_string().contains("`no-such-one or nor-this` is missing"), "{error}");
    }
}
