//! The preview picture: made again at a lower quality until it is small enough to be sent along
//! with telemetry.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::{
    frame::Frame,
    pipes::PREVIEW_BYTES,
    sinks::packet,
    slot::{Env, Parts, Sink},
};

const BEST: i32 = 80;
const STEP: i32 = 15;
const WORST: i32 = 5;

struct Current {
    encoder: gst::Element,
    src: gst_app::AppSrc,
    frame: Option<gst::Buffer>,
}

/// The preview's way out.
pub(crate) struct Preview {
    env: Arc<Env>,
    stream: u8,
    current: Mutex<Option<Current>>,
}

impl Preview {
    /// Nothing made yet.
    pub(crate) fn new(env: Arc<Env>, stream: u8) -> Arc<Self> {
        Arc::new(Self { env, stream, current: Mutex::new(None) })
    }

    /// Follows a new pipeline, to have the frame at hand for another try.
    pub(crate) fn attach(self: &Arc<Self>, parts: &Parts) {
        let current =
            Current { encoder: parts.encoder.clone(), src: parts.src.clone(), frame: None };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        let Some(pad) = parts.encoder.static_pad("sink") else { return };
        let preview = Arc::downgrade(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let (Some(preview), Some(buffer)) = (preview.upgrade(), info.buffer()) {
                let mut current = preview.current.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(current) = current.as_mut() {
                    current.frame = Some(buffer.clone());
                }
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Where the encoder's output goes.
    pub(crate) fn sink(self: &Arc<Self>) -> Sink {
        let preview = self.clone();
        Arc::new(move |sample| {
            let Some(packet) = packet(sample) else { return };
            let mut current = preview.current.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(current) = current.as_mut() else { return };
            let quality: i32 = current.encoder.property("quality");
            if packet.data.len() > PREVIEW_BYTES {
                if quality > WORST
                    && let Some(frame) = current.frame.take()
                {
                    current.encoder.set_property("quality", (quality - STEP).max(WORST));
                    let _ = current.src.push_buffer(frame);
                }
                return;
            }
            current.frame = None;
            // The next picture may be a simpler one.
            current.encoder.set_property("quality", (quality + STEP / 3).min(BEST));
            let (stream, ts_ms, data) = (preview.stream, packet.ts_ms, packet.data);
            preview.env.output.write(&Frame { stream, header: false, sync: true, ts_ms, data });
        })
    }
}
