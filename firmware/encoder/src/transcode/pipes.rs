//! The pipelines: one for each rendition, of an entrance, an encoder and an exit. Frames come in
//! at the right size and format, so nothing else is needed.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::{ladder::Bits, slot::Parts};

/// Most bytes of a preview, so that it fits where telemetry goes.
pub(crate) const PREVIEW_BYTES: usize = 20_000;

/// x264enc counts from 1000 h, to have room for decode times below zero. When it has to shift times
/// itself, GStreamer 1.22 compares shifted with unshifted ones and honours no request for a keyframe
/// after the first, so its frames come shifted.
pub(crate) const H264_OFFSET: gst::ClockTime = gst::ClockTime::from_seconds(1000 * 3600);

/// Which encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// H.264 at this bit rate.
    H264(Bits),
    /// VP8 at this bit rate.
    Vp8(Bits),
    /// Opus.
    Opus,
    /// MP3.
    Mp3,
    /// JPEG.
    Jpeg,
}

/// A fault made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Never starts.
    Fail,
    /// The first pipeline hangs after its first second of frames.
    Hang,
}

/// Sound in the one format that every consumer takes.
pub(crate) fn audio_caps() -> gst::Caps {
    gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("rate", 48_000)
        .field("channels", 2)
        .field("layout", "interleaved")
        .field("channel-mask", gst::Bitmask::new(0x3))
        .build()
}

fn element(name: &str) -> Result<gst::Element, String> {
    gst::ElementFactory::make(name).build().map_err(|_| {
        format!("GStreamer has no `{name}`: a plugin package is missing on this machine")
    })
}

/// An entrance that never waits: its gate does.
pub(crate) fn entrance() -> gst_app::AppSrc {
    gst_app::AppSrc::builder()
        .format(gst::Format::Time)
        .max_bytes(0)
        .max_buffers(0)
        .max_time(gst::ClockTime::ZERO)
        .build()
}

/// An exit without a clock.
pub(crate) fn exit() -> gst_app::AppSink {
    gst_app::AppSink::builder().sync(false).async_(false).enable_last_sample(false).build()
}

fn encoder(which: Encoder) -> Result<(gst::Element, Option<gst::Caps>), String> {
    match which {
        Encoder::H264(bits) => {
            let x264 = element("x264enc")?;
            x264.set_property_from_str("speed-preset", "veryfast");
            x264.set_property_from_str("tune", "zerolatency");
            x264.set_property("bitrate", (bits / 1000).max(1));
            x264.set_property("vbv-buf-capacity", 1500_u32);
            x264.set_property("threads", 1_u32);
            x264.set_property("aud", false);
            // Keyframes are where the source has them, and nowhere else.
            x264.set_property("key-int-max", 1_u32 << 30);
            x264.set_property("option-string", "scenecut=0");
            let caps = gst::Caps::builder("video/x-h264")
                .field("stream-format", "avc")
                .field("alignment", "au")
                .build();
            Ok((x264, Some(caps)))
        }
        Encoder::Vp8(bits) => {
            let vp8 = element("vp8enc")?;
            vp8.set_property("deadline", 1_i64);
            // Below zero the speed is fixed. Above it the codec goes by the time each frame takes,
            // so it works hardest on an idle machine: 40 % more for 0.04 dB, measured on 720p.
            vp8.set_property("cpu-used", -10_i32);
            // More threads wait for each other by spinning.
            vp8.set_property("threads", 1_i32);
            vp8.set_property_from_str("end-usage", "cbr");
            vp8.set_property("target-bitrate", i32::try_from(bits).unwrap_or(i32::MAX));
            vp8.set_property_from_str("keyframe-mode", "disabled");
            vp8.set_property("lag-in-frames", 0_i32);
            // Room time is in ms; in units of a frame two neighbours can fall together.
            vp8.set_property("timebase", gst::Fraction::new(1, 1000));
            vp8.set_property("buffer-size", 1000_i32);
            vp8.set_property("buffer-initial-size", 500_i32);
            vp8.set_property("buffer-optimal-size", 600_i32);
            vp8.set_property("max-intra-bitrate", 450_i32);
            Ok((vp8, None))
        }
        Encoder::Opus => {
            let opus = element("opusenc")?;
            opus.set_property("bitrate", 96_000_i32);
            Ok((opus, None))
        }
        Encoder::Mp3 => {
            let lame = element("lamemp3enc")?;
            lame.set_property_from_str("target", "bitrate");
            lame.set_property("bitrate", 96_i32);
            lame.set_property("cbr", true);
            lame.set_property_from_str("encoding-engine-quality", "fast");
            // Left to itself, LAME resamples to 32 kHz.
            let caps = gst::Caps::builder("audio/mpeg").field("rate", 48_000).build();
            Ok((lame, Some(caps)))
        }
        Encoder::Jpeg => {
            let jpeg = element("jpegenc")?;
            jpeg.set_property("quality", 80_i32);
            Ok((jpeg, None))
        }
    }
}

/// Makes a rendition's pipeline.
pub(crate) fn rendition(
    which: Encoder,
    fault: Option<Fault>,
    number: u32,
) -> Result<Parts, String> {
    if fault == Some(Fault::Fail) {
        element("encoder-missing-on-purpose")?;
    }
    let (encoder, caps) = encoder(which)?;
    let (src, sink) = (entrance(), exit());
    sink.set_caps(caps.as_ref());
    let pipeline = gst::Pipeline::new();
    let chain = [src.upcast_ref(), &encoder, sink.upcast_ref()];
    pipeline.add_many(chain).map_err(|e| e.to_string())?;
    gst::Element::link_many(chain).map_err(|e| e.to_string())?;
    if fault == Some(Fault::Hang) && number == 0 {
        hang_after(&encoder, 25);
    }
    let offset = match which {
        Encoder::H264(_) => H264_OFFSET,
        _ => gst::ClockTime::ZERO,
    };
    Ok(Parts { pipeline, src, encoder, sink, offset })
}

/// Blocks the pipeline's thread for good, as a codec or driver that never comes back would.
fn hang_after(encoder: &gst::Element, frames: u32) {
    let Some(pad) = encoder.static_pad("sink") else { return };
    let seen = Mutex::new(0);
    let never = Arc::new(Condvar::new());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let mut count = seen.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        while *count > frames {
            count = never.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The decoders' pipelines.
pub(crate) fn decoder(
    video: bool,
) -> Result<(gst::Pipeline, gst_app::AppSrc, gst_app::AppSink), String> {
    let src = gst_app::AppSrc::builder()
        .format(gst::Format::Time)
        .block(true)
        .max_bytes(0)
        .max_time(gst::ClockTime::ZERO)
        .max_buffers(if video { 8 } else { 32 })
        .build();
    let sink = exit();
    let mut chain = vec![src.clone().upcast::<gst::Element>()];
    if video {
        let decoder = element("avdec_h264")?;
        // One thread decodes 1080p60 several times over; more would add a frame of delay each.
        decoder.set_property("max-threads", 1_i32);
        decoder.set_property("qos", false);
        chain.extend([decoder, element("videoconvert")?]);
        sink.set_caps(Some(&gst::Caps::builder("video/x-raw").field("format", "I420").build()));
        take_decoder_layout(&sink);
    } else {
        let convert = element("audioconvert")?;
        // The encoders throw away far more than dithering would save.
        convert.set_property_from_str("dithering", "none");
        chain.extend([element("avdec_aac")?, convert, element("audioresample")?]);
        sink.set_caps(Some(&audio_caps()));
    }
    chain.push(sink.clone().upcast());
    let pipeline = gst::Pipeline::new();
    pipeline.add_many(&chain).map_err(|e| e.to_string())?;
    gst::Element::link_many(&chain).map_err(|e| e.to_string())?;
    Ok((pipeline, src, sink))
}

/// Tells the decoder that padded lines are welcome: otherwise it copies each picture.
fn take_decoder_layout(sink: &gst_app::AppSink) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Query(query)) = &mut info.data
            && let gst::QueryViewMut::Allocation(allocation) = query.view_mut()
        {
            allocation.add_allocation_meta::<gstreamer_video::VideoMeta>(None);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}
