//! The measuring source: in the first tenth of every second the picture is white and a 1 kHz tone
//! sounds, both by the same running time, and every frame carries its number
//! ([`counter`](crate::capture::counter)).

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::synthetic::{head, shape, silence};
use super::{Context, Head};
use crate::capture::counter;
use crate::capture::elements::{bin, pad};
use crate::capture::error::CaptureError;
use crate::capture::tail::AUDIO_RATE;

/// Frequency of the beep, in Hz.
const BEEP: f64 = 1_000.0;
/// Height of the beep, of 32767.
const LOUD: f64 = 20_000.0;
/// Luma of the flash.
const FLASH: u8 = 235;
/// Luma of the rest.
const REST: u8 = 60;

pub(super) fn open(context: &Context<'_>) -> Result<Head, CaptureError> {
    let shape = shape(context.args);
    let picture = bin(&format!("videotestsrc is-live=true pattern=black ! {shape}"))?;
    let sound = silence()?;
    draw(&picture, context.args.framerate)?;
    beep(&sound)?;
    head("the measuring picture", context.args, picture, sound)
}

/// Whether this frame is of the flash.
fn is_flash(frame: u64, framerate: u32) -> bool {
    frame % u64::from(framerate) < u64::from(framerate.div_ceil(10))
}

fn draw(picture: &gst::Bin, framerate: u32) -> Result<(), CaptureError> {
    pad(picture, "src")?.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        let Some(format) =
            pad.current_caps().and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok())
        else {
            return gst::PadProbeReturn::Ok;
        };
        // The test source numbers its frames from 0.
        let frame = buffer.offset();
        let writable =
            gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), &format);
        if let Ok(mut picture) = writable {
            let (width, height) = (picture.width(), picture.height());
            let stride = picture.plane_stride().first().map_or(0, |&stride| stride);
            let stride = usize::try_from(stride).unwrap_or(0);
            if let Ok(luma) = picture.plane_data_mut(0) {
                luma.fill(if is_flash(frame, framerate) { FLASH } else { REST });
                // The number wraps as the counter does.
                counter::draw(
                    (frame % u64::from(counter::MODULUS)) as u32,
                    luma,
                    stride,
                    width,
                    height,
                );
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

fn beep(sound: &gst::Bin) -> Result<(), CaptureError> {
    let rate = u64::from(AUDIO_RATE);
    pad(sound, "src")?.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        // The test source numbers its samples from 0.
        let first = buffer.offset();
        if let Ok(mut map) = buffer.make_mut().map_writable() {
            for (n, frame) in (first..).zip(map.as_chunks_mut::<4>().0) {
                let in_second = n % rate;
                if in_second < rate / 10 {
                    let turn = in_second as f64 * BEEP / f64::from(AUDIO_RATE);
                    let value = ((turn * std::f64::consts::TAU).sin() * LOUD) as i16;
                    let [a, b] = value.to_le_bytes();
                    *frame = [a, b, a, b];
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}
