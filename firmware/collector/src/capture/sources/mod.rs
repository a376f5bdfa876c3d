//! The sources: each gives a picture and a sound end for the common tail.

pub(super) mod dv;
pub(super) mod dvswitch;
mod feed;
pub(super) mod file;
pub(super) mod flash;
pub(super) mod mixer;
mod offers;
pub(super) mod player;
pub(super) mod synthetic;
pub(super) mod v4l2;

use std::any::Any;
use std::sync::mpsc::Sender;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;

use super::args::{CaptureArgs, SourceSpec};
use super::error::CaptureError;
use super::report::Reporter;
use super::tail::Timing;
use super::worker::Incident;

/// Turns an error of GStreamer's (with its debug text) into a sentence about this source.
pub(super) type Explain = Box<dyn Fn(&glib::Error, Option<&str>) -> CaptureError + Send>;

/// The picture end of a source.
pub(super) enum Picture {
    /// Raw pictures of any size and rate.
    Raw(gst::Element),
    /// H.264 that is sent as it is.
    H264(gst::Element),
}

/// An opened source, not yet in a pipeline.
pub(super) struct Head {
    /// In plain words, with the format chosen.
    pub(super) description: String,
    pub(super) picture: Picture,
    pub(super) sound: gst::Element,
    pub(super) timing: Timing,
    /// This device has no signal when it gives no frame for this long.
    pub(super) patience: Option<(String, Duration)>,
    pub(super) explain: Explain,
    /// What must live as long as the source: another pipeline, a thread.
    #[expect(dead_code, reason = "it is held, not read")]
    pub(super) keep: Box<dyn Any>,
}

/// What a source may use beside its arguments.
pub(super) struct Context<'a> {
    pub(super) args: &'a CaptureArgs,
    pub(super) reporter: &'a Reporter,
    pub(super) incidents: Sender<Incident>,
    /// The device's own H.264 has turned out to be unfit.
    pub(super) avoid_h264: bool,
}

/// Opens the source that the arguments name.
pub(super) fn open(context: &Context<'_>) -> Result<Head, CaptureError> {
    match &context.args.source {
        SourceSpec::V4l2(path) => v4l2::open(context, path),
        SourceSpec::Dv(guid) => dv::open(context, *guid),
        SourceSpec::Mixer(address) => mixer::open(context, address),
        SourceSpec::File(path) => file::open(context, path),
        SourceSpec::Test => synthetic::test(context),
        SourceSpec::Slate => synthetic::slate(context),
        SourceSpec::Flash => flash::open(context),
    }
}
