//! Which of a video device's formats to take. Pure: what it offers and what is wanted in, a choice
//! with its reason out.
//!
//! First, as much of the wanted size and rate as there is; then the least CPU. Costs are
//! nanoseconds per pixel to get to I420, measured on one desktop core; only their order matters.

use std::fmt;

/// How pictures are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// Uncompressed, by GStreamer's name, such as `YUY2`.
    Raw(String),
    /// Motion JPEG.
    Jpeg,
    /// H.264 as a byte stream (Annex B).
    H264,
}

/// One thing a device can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    /// How pictures are packed.
    pub encoding: Encoding,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second, as a fraction.
    pub rate: (u32, u32),
}

/// What is sent, and so wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub framerate: u32,
    /// The device's own H.264 may be sent as it is.
    pub passthrough: bool,
}

/// The mode taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The mode.
    pub mode: Mode,
    /// Its H.264 is sent as it is.
    pub passthrough: bool,
    /// Why, in plain words.
    pub why: &'static str,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw(name) => name,
            Self::Jpeg => "MJPEG",
            Self::H264 => "H.264",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { encoding, width, height, rate: (frames, seconds) } = self;
        write!(f, "{encoding} {width}×{height} at ")?;
        if *seconds == 1 {
            write!(f, "{frames}/s")
        } else {
            write!(f, "{:.2}/s", f64::from(*frames) / f64::from(*seconds))
        }
    }
}

impl Mode {
    fn frames_per_second(&self) -> f64 {
        f64::from(self.rate.0) / f64::from(self.rate.1.max(1))
    }

    /// How much of what is wanted this gives, in percent.
    fn covers(&self, wanted: Wanted) -> u32 {
        let share =
            |has: f64, wanted: f64| if wanted > 0.0 { (has / wanted).min(1.0) } else { 1.0 };
        let size = share(self.width.into(), wanted.width.into())
            * share(self.height.into(), wanted.height.into());
        // 29.97 for 30 is all of it.
        let rate = share(self.frames_per_second() * 1.002, wanted.framerate.into());
        (size * rate * 100.0).round() as u32
    }

    /// Nanoseconds of CPU per second of picture before the encoder.
    fn cost(&self, wanted: Wanted) -> u64 {
        let per_pixel = match &self.encoding {
            Encoding::Raw(name) => match name.as_str() {
                "I420" => 0.0,
                "YV12" | "NV12" | "NV21" => 0.2,
                "YUY2" | "UYVY" | "YVYU" | "Y42B" => 0.45,
                _ => 1.0,
            },
            Encoding::Jpeg => 2.3,
            Encoding::H264 => 2.9,
        };
        let pixels = f64::from(self.width) * f64::from(self.height);
        let same_size = (self.width, self.height) == (wanted.width, wanted.height);
        let scale = if same_size { 0.0 } else { 0.6 };
        // Frames over the wanted rate are let go before they are scaled, but not before decoding.
        let rate = self.frames_per_second();
        (pixels * (per_pixel * rate + scale * rate.min(wanted.framerate.into()))) as u64
    }

    /// Whether its H.264 can be sent as it is: nothing can be scaled or slowed.
    fn can_pass(&self, wanted: Wanted) -> bool {
        wanted.passthrough
            && self.encoding == Encoding::H264
            && (self.width, self.height) == (wanted.width, wanted.height)
            && self.frames_per_second() <= f64::from(wanted.framerate) * 1.002
    }
}

/// Takes the best mode; None when there is none.
pub fn choose(modes: &[Mode], wanted: Wanted) -> Option<Taken> {
    let usable =
        |mode: &&Mode| mode.width > 0 && mode.height > 0 && mode.rate.0 > 0 && mode.rate.1 > 0;
    let best = modes.iter().filter(usable).min_by_key(|mode| {
        let cost = if mode.can_pass(wanted) { 0 } else { mode.cost(wanted) + 1 };
        (std::cmp::Reverse(mode.covers(wanted)), cost)
    })?;
    let passthrough = best.can_pass(wanted);
    let why = match (passthrough, best.covers(wanted)) {
        (true, _) => "the device's own H.264 needs no encoding here",
        (false, 100) => "the whole size and rate at the least CPU cost",
        (false, _) => "the most that the device has of the size and rate wanted",
    };
    Some(Taken { mode: best.clone(), passthrough, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WANTED: Wanted = Wanted { width: 1280, height: 720, framerate: 25, passthrough: true };

    fn raw(name: &str, width: u32, height: u32, rate: u32) -> Mode {
        Mode { encoding: Encoding::Raw(name.into()), width, height, rate: (rate, 1) }
    }

    fn jpeg(width: u32, height: u32, rate: u32) -> Mode {
        Mode { encoding: Encoding::Jpeg, width, height, rate: (rate, 1) }
    }

    fn h264(width: u32, height: u32, rate: u32) -> Mode {
        Mode { encoding: Encoding::H264, width, height, rate: (rate, 1) }
    }

    fn taken(modes: &[Mode]) -> String {
        choose(modes, WANTED).map_or_else(|| "none".into(), |taken| taken.mode.to_string())
    }

    #[test]
    fn an_ms2109_gives_mjpeg_for_its_raw_is_slow() {
        let modes = [
            raw("YUY2", 1920, 1080, 5),
            raw("YUY2", 1280, 720, 10),
            raw("YUY2", 640, 480, 30),
            jpeg(1920, 1080, 30),
            jpeg(1280, 720, 60),
            jpeg(1280, 720, 30),
            jpeg(640, 480, 30),
        ];
        assert_eq!(taken(&modes), "MJPEG 1280×720 at 30/s");
    }

    #[test]
    fn a_usb3_grabber_gives_raw() {
        let modes = [jpeg(1280, 720, 30), raw("YUY2", 1280, 720, 30), raw("NV12", 1280, 720, 30)];
        assert_eq!(taken(&modes), "NV12 1280×720 at 30/s");
    }

    #[test]
    fn full_rate_goes_before_raw_and_size_before_nothing() {
        assert_eq!(taken(&[raw("YUY2", 640, 480, 25)]), "YUY2 640×480 at 25/s");
        let choice = choose(&[raw("YUY2", 640, 480, 25)], WANTED).expect("one");
        assert_eq!(choice.why, "the most that the device has of the size and rate wanted");
    }

    #[test]
    fn h264_passes_only_at_the_wanted_size_and_rate() {
        let fits = choose(&[jpeg(1280, 720, 25), h264(1280, 720, 25)], WANTED).expect("one");
        assert!(fits.passthrough);
        let modes = [jpeg(1280, 720, 30), h264(1280, 720, 30), h264(1920, 1080, 25)];
        let too_fast = choose(&modes, WANTED).expect("one");
        assert_eq!((too_fast.passthrough, too_fast.mode), (false, jpeg(1280, 720, 30)));
        let unfit = Wanted { passthrough: false, ..WANTED };
        let avoided = choose(&[jpeg(1280, 720, 25), h264(1280, 720, 25)], unfit).expect("one");
        assert_eq!(avoided.mode, jpeg(1280, 720, 25));
        let only = choose(&[h264(1280, 720, 25)], unfit).expect("decoded then");
        assert!(!only.passthrough);
    }

    #[test]
    fn ntsc_rates_are_whole() {
        let mode = Mode { rate: (30_000, 1001), ..jpeg(1280, 720, 30) };
        assert_eq!(mode.to_string(), "MJPEG 1280×720 at 29.97/s");
        assert_eq!(mode.covers(Wanted { framerate: 30, ..WANTED }), 100);
    }

    fn any_mode() -> impl Strategy<Value = Mode> {
        let encoding = prop_oneof![
            Just(Encoding::Jpeg),
            Just(Encoding::H264),
            "[A-Z0-9]{4}".prop_map(Encoding::Raw)
        ];
        (encoding, 0_u32..4000, 0_u32..3000, (0_u32..100_000, 0_u32..2000))
            .prop_map(|(encoding, width, height, rate)| Mode { encoding, width, height, rate })
    }

    proptest! {
        #[test]
        fn nothing_offered_covers_more_and_the_order_does_not_matter(
            mut modes in prop::collection::vec(any_mode(), 0..20),
        ) {
            let choice = choose(&modes, WANTED);
            if let Some(choice) = &choice {
                let best = choice.mode.covers(WANTED);
                for mode in modes.iter().filter(|mode| mode.rate.1 > 0 && mode.rate.0 > 0) {
                    prop_assert!(mode.covers(WANTED) <= best || mode.width == 0 || mode.height == 0);
                }
            }
            modes.reverse();
            let reversed = choose(&modes, WANTED);
            prop_assert_eq!(
                choice.map(|taken| (taken.mode.covers(WANTED), taken.passthrough)),
                reversed.map(|taken| (taken.mode.covers(WANTED), taken.passthrough))
            );
        }
    }
}
