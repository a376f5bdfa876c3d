//! The modes in a device's caps, as GStreamer lists them after asking the driver.
//!
//! A driver offers sizes and rates one by one, in lists or in ranges; of a range, what is nearest
//! to the wanted is taken.

use gstreamer as gst;

use crate::capture::formats::{Encoding, Mode, Wanted};

/// The modes that can be captured.
pub(super) fn modes(caps: &gst::CapsRef, wanted: Wanted) -> Vec<Mode> {
    let mut modes = Vec::new();
    for (structure, features) in caps.iter_with_features() {
        // Pictures in a graphics card's memory, or fields by themselves, are of no use here.
        if !features.is_any() && !features.contains("memory:SystemMemory") || features.size() > 1 {
            continue;
        }
        let encodings = match structure.name().as_str() {
            "video/x-raw" => texts(structure, "format").into_iter().map(Encoding::Raw).collect(),
            "image/jpeg" => vec![Encoding::Jpeg],
            "video/x-h264" => vec![Encoding::H264],
            _ => continue,
        };
        for encoding in encodings {
            for &width in &sizes(structure, "width", wanted.width) {
                for &height in &sizes(structure, "height", wanted.height) {
                    for &rate in &rates(structure, wanted.framerate) {
                        modes.push(Mode { encoding: encoding.clone(), width, height, rate });
                    }
                }
            }
        }
    }
    modes
}

fn texts(structure: &gst::StructureRef, field: &str) -> Vec<String> {
    match structure.get::<gst::List>(field) {
        Ok(list) => list.iter().filter_map(|value| value.get::<String>().ok()).collect(),
        Err(_) => structure.get::<String>(field).into_iter().collect(),
    }
}

fn sizes(structure: &gst::StructureRef, field: &str, wanted: u32) -> Vec<u32> {
    let wanted = i32::try_from(wanted).unwrap_or(i32::MAX);
    let found = if let Ok(size) = structure.get::<i32>(field) {
        vec![size]
    } else if let Ok(range) = structure.get::<gst::IntRange<i32>>(field) {
        let step = range.step().max(1);
        let nearest = wanted.clamp(range.min(), range.max().max(range.min()));
        vec![range.min() + (nearest - range.min()) / step * step]
    } else if let Ok(list) = structure.get::<gst::List>(field) {
        list.iter().filter_map(|value| value.get::<i32>().ok()).collect()
    } else {
        Vec::new()
    };
    found.into_iter().filter_map(|size| u32::try_from(size).ok()).collect()
}

fn rates(structure: &gst::StructureRef, wanted: u32) -> Vec<(u32, u32)> {
    let wanted = gst::Fraction::new(i32::try_from(wanted).unwrap_or(i32::MAX), 1);
    let found = if let Ok(rate) = structure.get::<gst::Fraction>("framerate") {
        vec![rate]
    } else if let Ok(range) = structure.get::<gst::FractionRange>("framerate") {
        vec![wanted.clamp(range.min(), range.max().max(range.min()))]
    } else if let Ok(list) = structure.get::<gst::List>("framerate") {
        list.iter().filter_map(|value| value.get::<gst::Fraction>().ok()).collect()
    } else {
        Vec::new()
    };
    found
        .into_iter()
        .filter_map(|rate| Some((rate.numer().try_into().ok()?, rate.denom().try_into().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { width: 1280, height: 720, framerate: 25, passthrough: true };

    fn names(caps: &str) -> Vec<String> {
        gst::init().expect("GStreamer");
        let caps: gst::Caps = caps.parse().expect("caps");
        modes(&caps, WANTED).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_and_single_values() {
        let caps = "video/x-raw, format=(string)YUY2, width=640, height=480, \
                    framerate={ (fraction)30/1, (fraction)25/1 }; \
                    image/jpeg, width=1280, height=720, framerate=30/1";
        assert_eq!(
            names(caps),
            ["YUY2 640×480 at 30/s", "YUY2 640×480 at 25/s", "MJPEG 1280×720 at 30/s"]
        );
    }

    #[test]
    fn ranges_give_what_is_nearest() {
        let caps = "video/x-raw, format={ (string)NV12, (string)YUY2 }, width=[ 16, 1920, 16 ], \
                    height=[ 16, 480 ], framerate=[ 1/1, 20/1 ]";
        assert_eq!(names(caps), ["NV12 1280×480 at 20/s", "YUY2 1280×480 at 20/s"]);
    }

    #[test]
    fn what_cannot_be_captured_is_left_out() {
        let caps = "video/x-raw(memory:DMABuf), format=NV12, width=1, height=1, framerate=25/1; \
                    video/x-raw(format:Interlaced), format=NV12, width=1, height=1, framerate=25/1; \
                    video/mpegts; video/x-bayer, format=rggb, width=1, height=1, framerate=25/1; \
                    video/x-h264, width=1280, height=720, framerate=25/1";
        assert_eq!(names(caps), ["H.264 1280×720 at 25/s"]);
    }
}
