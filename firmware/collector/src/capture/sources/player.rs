//! Plays one input through a pipeline of its own and hands raw picture and sound to the encoding
//! pipeline: for everything that is demultiplexed and may lack one of the two.
//!
//! ```text
//! input ─ decodebin ─┬─ appsink ─┐ Feed ┌─▶ appsrc ─▶ picture of the common tail
//!                    └─ appsink ─┘      └─▶ appsrc ─▶ sound of the common tail
//! ```
//!
//! Buffers cross by reference. The feed gives them times that never go back: a file that begins
//! anew goes on where the longer of its two tracks ended.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::glib::prelude::StaticType;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::super::args::CaptureArgs;
use super::super::elements::{element, fault};
use super::super::error::CaptureError;
use super::super::output::Track;
use super::super::report::Reporter;
use super::super::tail::AUDIO_RATE;
use super::super::worker::Incident;
use super::Explain;
use super::feed::Feed;

/// What happens at the end of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AtEnd {
    /// It begins anew.
    Loop,
    /// The capture ends well.
    Finish,
    /// The capture fails with this.
    Fail(CaptureError),
}

/// What to play, and what to say when that fails.
pub(super) struct Plan {
    /// What is played, in plain words.
    pub(super) what: String,
    /// An element with a `src` pad that gives a container or DV.
    pub(super) input: gst::Element,
    pub(super) at_end: AtEnd,
    /// Says what an error of the pipeline means.
    pub(super) explain: Explain,
    /// The input has neither picture nor sound.
    pub(super) empty: CaptureError,
}

/// A running player; dropping it stops it.
pub(super) struct Player {
    pipeline: gst::Pipeline,
}

impl Drop for Player {
    fn drop(&mut self) {
        // Without a bus the player's thread ends.
        if let Some(bus) = self.pipeline.bus() {
            bus.set_flushing(true);
        }
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Starts playing. Returns the player and the picture and sound ends for the tail.
pub(super) fn play(
    plan: Plan,
    args: &CaptureArgs,
    reporter: &Reporter,
    incidents: Sender<Incident>,
) -> Result<(Player, gst_app::AppSrc, gst_app::AppSrc), CaptureError> {
    let feed = Arc::new(Feed::new(args));
    let (picture, sound) = feed.ends();
    let pipeline = gst::Pipeline::new();
    let decode = element("decodebin")?;
    // libav's DV decoder costs half of libdv's.
    if let Some(slow) = gst::Registry::get().lookup_feature("dvdec") {
        slow.set_rank(gst::Rank::NONE);
    }
    let built = pipeline.add_many([&plan.input, &decode]).and_then(|()| plan.input.link(&decode));
    built.map_err(|error| fault(plan.what.clone(), error.to_string()))?;
    // One thread decodes any venue's picture in time; more hold whole pictures back, each its own.
    pipeline.connect_deep_element_added(|_, _, element| {
        if element
            .find_property("max-threads")
            .is_some_and(|found| found.value_type() == i32::static_type())
        {
            element.set_property("max-threads", 1_i32);
        }
    });
    accept_pads(&pipeline, &decode, &feed);
    notice_missing(&decode, &feed, &plan, reporter.clone(), incidents.clone());
    let player = Player { pipeline };
    let watched = player.pipeline.clone();
    std::thread::Builder::new()
        .name("player".into())
        .spawn(move || watch(&watched, &feed, &plan, &incidents))
        .map_err(|error| fault("the player", error.to_string()))?;
    // An error here is also on the bus, with the reason.
    let _ = player.pipeline.set_state(gst::State::Playing);
    Ok((player, picture, sound))
}

/// Links each decoded track: the first picture, the first sound, and nothing else.
fn accept_pads(pipeline: &gst::Pipeline, decode: &gst::Element, feed: &Arc<Feed>) {
    let (pipeline, feed) = (pipeline.downgrade(), Arc::clone(feed));
    decode.connect_pad_added(move |_, pad| {
        let Some(pipeline) = pipeline.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let kind = caps.structure(0).map(|structure| structure.name().as_str());
        let track = match kind {
            Some("video/x-raw") => Some(Track::Video),
            Some("audio/x-raw") => Some(Track::Audio),
            _ => None,
        };
        let wanted = track.filter(|&track| feed.accept(track));
        if let Err(error) = attach(&pipeline, pad, wanted, &feed) {
            gst::element_error!(pipeline, gst::CoreError::Pad, ("{error}"));
        }
    });
}

fn attach(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    track: Option<Track>,
    feed: &Arc<Feed>,
) -> Result<(), CaptureError> {
    let line = match track {
        // Sound has one form from here on, so that gaps can be filled with silence.
        Some(Track::Audio) => format!(
            "audioconvert ! audioresample ! capsfilter caps=\"audio/x-raw,format=S16LE,layout=interleaved,\
             rate={AUDIO_RATE},channels=2,channel-mask=(bitmask)0x3\" \
             ! appsink name=out sync=false async=false max-buffers=4 enable-last-sample=false"
        ),
        Some(Track::Video) => {
            "appsink name=out sync=false async=false max-buffers=1 enable-last-sample=false".into()
        }
        None => "fakesink sync=false async=false".into(),
    };
    let bin = super::super::elements::bin(&line)?;
    if let Some(track) = track {
        let sink = super::super::elements::named(&bin, "out")?;
        if let Ok(sink) = sink.downcast::<gst_app::AppSink>() {
            receive(&sink, track, feed);
        }
    }
    let failed = |error: &dyn std::fmt::Display| fault("the player", error.to_string());
    pipeline.add(&bin).map_err(|error| failed(&error))?;
    bin.sync_state_with_parent().map_err(|error| failed(&error))?;
    let sink = super::super::elements::pad(&bin, "sink")?;
    pad.link(&sink).map(|_| ()).map_err(|error| failed(&error))
}

fn receive(sink: &gst_app::AppSink, track: Track, feed: &Arc<Feed>) {
    if track == Track::Video
        && let Some(pad) = sink.static_pad("sink")
    {
        // Decoders may then hand over their padded pictures without copying them. Not so interlaced
        // ones: the deinterlacer reads lines where they would be without padding.
        pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
            if let Some(gst::PadProbeData::Query(query)) = &mut info.data
                && let gst::QueryViewMut::Allocation(allocation) = query.view_mut()
                && allocation.get().0.is_some_and(is_progressive)
            {
                allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }
    let (take, end) = (Arc::clone(feed), Arc::clone(feed));
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            take.take(track, &sample)
        })
        .eos(move |_| end.ended(track));
    sink.set_callbacks(callbacks.build());
}

fn is_progressive(caps: &gst::CapsRef) -> bool {
    let mode = caps.structure(0).and_then(|caps| caps.get::<&str>("interlace-mode").ok());
    mode == Some("progressive")
}

/// When all tracks are known, the missing one is made up.
fn notice_missing(
    decode: &gst::Element,
    feed: &Arc<Feed>,
    plan: &Plan,
    reporter: Reporter,
    incidents: Sender<Incident>,
) {
    let (feed, what, empty) = (Arc::clone(feed), plan.what.clone(), plan.empty.clone());
    // The signal's closure must be shareable between threads, which a sender is only when locked.
    let incidents = Mutex::new(incidents);
    decode.connect_no_more_pads(move |_| match feed.all_known() {
        (true, true) => {}
        (true, false) => reporter.log(format!("{what} has no sound: silence is sent with it.")),
        (false, true) => {
            reporter.log(format!("{what} has no picture: a black one is sent with it."));
        }
        (false, false) => {
            let incidents = incidents.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = incidents.send(Incident::Failed(empty.clone()));
        }
    });
}

/// Follows the pipeline's messages until it is stopped.
fn watch(pipeline: &gst::Pipeline, feed: &Feed, plan: &Plan, incidents: &Sender<Incident>) {
    let Some(bus) = pipeline.bus() else { return };
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        let failure = match message.view() {
            gst::MessageView::Error(error) => {
                (plan.explain)(&error.error(), error.debug().as_deref())
            }
            gst::MessageView::Eos(_) => match &plan.at_end {
                AtEnd::Loop => {
                    feed.begin_anew();
                    let start = gst::ClockTime::ZERO;
                    match pipeline.seek_simple(gst::SeekFlags::FLUSH, start) {
                        Ok(()) => continue,
                        Err(_) => fault(plan.what.clone(), "it cannot be wound back to its start"),
                    }
                }
                AtEnd::Finish => {
                    feed.finish();
                    continue;
                }
                AtEnd::Fail(error) => {
                    // The rest of what came is sent first.
                    let _ = incidents.send(Incident::Ending(error.clone()));
                    feed.finish();
                    continue;
                }
            },
            _ => continue,
        };
        if incidents.send(Incident::Failed(failure)).is_err() {
            return;
        }
    }
}
