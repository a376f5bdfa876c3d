//! From the configuration to the capture worker's arguments.

use protocol::config::Site;
use protocol::config::site::SourceKind;

use crate::capture::{CaptureArgs, SourceSpec};

/// What to capture now, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The worker's arguments; `None` while there is nothing to capture.
    pub args: Option<CaptureArgs>,
    /// Why this, in plain words.
    pub why: String,
}

/// What the configuration asks for.
#[must_use]
pub fn plan(site: &Site) -> Plan {
    let source = &site.source;
    let planned =
        |spec: SourceSpec, why: &str| Plan { args: Some(args(site, spec)), why: why.to_owned() };
    match source.kind {
        SourceKind::Flash => planned(SourceSpec::Flash, "the measuring picture, as configured"),
        SourceKind::Test => planned(SourceSpec::Test, "the test picture, as configured"),
        SourceKind::File => match &source.path {
            Some(path) => planned(SourceSpec::File(path.clone()), "the file, as configured"),
            None => Plan { args: None, why: "no file is configured".to_owned() },
        },
        _ => Plan { args: None, why: "no capture device is connected".to_owned() },
    }
}

/// The stand-in picture, which names the room and the fault.
#[must_use]
pub fn slate(site: &Site, fault: &str) -> CaptureArgs {
    CaptureArgs { text: fault.to_owned(), ..args(site, SourceSpec::Slate) }
}

fn args(site: &Site, source: SourceSpec) -> CaptureArgs {
    CaptureArgs {
        width: site.video.width,
        height: site.video.height,
        framerate: site.video.framerate,
        room: site.room.to_string(),
        ..CaptureArgs::new(source)
    }
}
