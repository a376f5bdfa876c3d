//! What the capture worker is asked to do: its command line, and the way back to one.
//!
//! The daemon starts the worker with [`CaptureArgs::to_command_line`]; a person types the same
//! words by hand, so nothing about the worker is reachable only from the daemon.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use protocol::config::site::{Channels, MixerFormat};
use protocol::config::{BitRate, Site};

use crate::devices::Choice;

/// Options of `collector capture`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct CaptureArgs {
    /// Where picture and sound come from: v4l2:PATH, dv[:GUID], mixer:HOST:PORT, file:PATH, test, slate
    #[arg(long)]
    pub source: SourceSpec,
    /// Width of the picture sent, in pixels
    #[arg(long, default_value_t = 1280, value_parser = clap::value_parser!(u32).range(64..=7680))]
    pub width: u32,
    /// Height of the picture sent, in pixels
    #[arg(long, default_value_t = 720, value_parser = clap::value_parser!(u32).range(64..=4320))]
    pub height: u32,
    /// Frames sent per second
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=120))]
    pub framerate: u32,
    /// Video bit rate, as 1500k, 2M or in bit/s
    #[arg(long, default_value = "1500k", value_parser = parse_bitrate)]
    pub bitrate: u32,
    /// Audio bit rate, as 96k or in bit/s
    #[arg(long, default_value = "96k", value_parser = parse_bitrate)]
    pub audio_bitrate: u32,
    /// Which channels of the sound are kept: stereo, left, right, mix or swap
    #[arg(long, default_value = "stereo")]
    pub channels: Channels,
    /// Sound device of a v4l2 source: auto (the grabber's own), none, or an ALSA name such as hw:CARD=Capture
    #[arg(long, default_value = "auto")]
    pub audio_device: AudioDevice,
    /// What a mixer sends: matroska (voctomix) or dvswitch
    #[arg(long, default_value = "matroska")]
    pub format: MixerFormat,
    /// Room name, written on the test and slate pictures and into the stream's metadata
    #[arg(long, default_value = "")]
    pub room: String,
    /// What the slate says under the room's name
    #[arg(long, default_value = "")]
    pub text: String,
    /// x264 threads; 0 lets x264 choose
    #[arg(long, default_value_t = DEFAULT_THREADS, hide = true)]
    pub threads: u32,
    /// How fast a file or mixer is read: real-time, or as fast as the machine can (to measure)
    #[arg(long, default_value = "real-time", hide = true)]
    pub pace: Pace,
    /// How often a file is played: for ever, or once and then end
    #[arg(long, default_value = "loop", hide = true)]
    pub repeat: Repeat,
    /// Levels five times a second and a preview every two, for the box's own page
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, hide = true)]
    pub watched: bool,
}

/// Threads x264 gets unless told otherwise: zero-latency slices cost a little CPU and quality each.
pub const DEFAULT_THREADS: u32 = 2;

impl CaptureArgs {
    /// Arguments for this source with every other option at its default.
    pub fn new(source: SourceSpec) -> Self {
        Self {
            source,
            width: 1280,
            height: 720,
            framerate: 25,
            bitrate: 1_500_000,
            audio_bitrate: 96_000,
            channels: Channels::Stereo,
            audio_device: AudioDevice::Auto,
            format: MixerFormat::Matroska,
            room: String::new(),
            text: String::new(),
            threads: DEFAULT_THREADS,
            pace: Pace::RealTime,
            repeat: Repeat::Loop,
            watched: false,
        }
    }

    /// Arguments for what has been chosen under this configuration; None when nothing has been.
    pub fn for_site(site: &Site, choice: &Choice) -> Option<Self> {
        let source = choice.source.clone()?;
        Some(Self {
            audio_device: choice.audio.clone(),
            format: site.source.format,
            ..Self::of(site, source)
        })
    }

    /// Arguments for a slate that looks as the site's stream does and says `text`.
    pub fn slate(site: &Site, text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::of(site, SourceSpec::Slate) }
    }

    fn of(site: &Site, source: SourceSpec) -> Self {
        let bits = |BitRate(bits): BitRate| bits;
        Self {
            width: site.video.width,
            height: site.video.height,
            framerate: site.video.framerate,
            bitrate: bits(site.video.bitrate),
            audio_bitrate: bits(site.audio.bitrate),
            channels: site.audio.channels,
            room: site.room.to_string(),
            ..Self::new(source)
        }
    }

    /// The words to put after `collector` so that it runs this capture.
    pub fn to_command_line(&self) -> Vec<OsString> {
        let pairs = [
            ("--source", self.source.to_string()),
            ("--width", self.width.to_string()),
            ("--height", self.height.to_string()),
            ("--framerate", self.framerate.to_string()),
            ("--bitrate", self.bitrate.to_string()),
            ("--audio-bitrate", self.audio_bitrate.to_string()),
            ("--channels", self.channels.to_string()),
            ("--audio-device", self.audio_device.to_string()),
            ("--format", self.format.to_string()),
            ("--room", self.room.clone()),
            ("--text", self.text.clone()),
            ("--threads", self.threads.to_string()),
            ("--pace", self.pace.to_string()),
            ("--repeat", self.repeat.to_string()),
            ("--watched", self.watched.to_string()),
        ];
        let mut words = vec![OsString::from("capture")];
        // One word per option, so that a text beginning with a dash is still a value.
        words.extend(pairs.into_iter().map(|(name, value)| format!("{name}={value}").into()));
        words
    }
}

/// A capture source, written `KIND` or `KIND:ARGUMENT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A video4linux capture node, by a stable path such as `/dev/v4l/by-path/…`.
    V4l2(PathBuf),
    /// A FireWire DV device; the first one on the bus without a GUID.
    Dv(Option<u64>),
    /// A mixer's TCP output, `host:port`.
    Mixer(String),
    /// A file, played over and over in real time.
    File(PathBuf),
    /// A moving picture with the room's name, a clock and a tone.
    Test,
    /// A still picture with the room's name and a fault, and silence.
    Slate,
    /// The measuring source: a flash and a beep each second and a frame counter in the picture.
    Flash,
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4l2(path) => write!(f, "v4l2:{}", path.display()),
            Self::Dv(None) => f.write_str("dv"),
            Self::Dv(Some(guid)) => write!(f, "dv:0x{guid:016x}"),
            Self::Mixer(address) => write!(f, "mixer:{address}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Test => f.write_str("test"),
            Self::Slate => f.write_str("slate"),
            Self::Flash => f.write_str("flash"),
        }
    }
}

/// An option's value could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {expected}")]
pub struct BadValue {
    value: String,
    expected: &'static str,
}

fn bad(value: &str, expected: &'static str) -> BadValue {
    BadValue { value: value.to_owned(), expected }
}

impl FromStr for SourceSpec {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let (kind, argument) = match text.split_once(':') {
            Some((kind, argument)) => (kind, argument),
            None => (text, ""),
        };
        match (kind, argument) {
            ("v4l2", "") => Err(bad(text, "complete: give the device, as v4l2:/dev/v4l/by-path/…")),
            ("v4l2", path) => Ok(Self::V4l2(path.into())),
            ("dv", "") => Ok(Self::Dv(None)),
            ("dv", guid) => parse_guid(guid).map(|guid| Self::Dv(Some(guid))),
            ("mixer", address)
                if address.rsplit_once(':').is_some_and(|(host, port)| {
                    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
                }) =>
            {
                Ok(Self::Mixer(address.to_owned()))
            }
            ("mixer", _) => {
                Err(bad(text, "complete: give the mixer's address, as mixer:HOST:PORT"))
            }
            ("file", "") => Err(bad(text, "complete: give the file, as file:talk.mp4")),
            ("file", path) => Ok(Self::File(path.into())),
            ("test", "") => Ok(Self::Test),
            ("slate", "") => Ok(Self::Slate),
            ("flash", "") => Ok(Self::Flash),
            _ => Err(bad(
                text,
                "a source: use v4l2:PATH, dv[:GUID], mixer:HOST:PORT, file:PATH, test or slate",
            )),
        }
    }
}

/// A FireWire GUID, sixteen hexadecimal digits with or without `0x`.
pub fn parse_guid(text: &str) -> Result<u64, BadValue> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 16 {
        return Err(bad(text, "a FireWire GUID such as 0x080046010203abcd"));
    }
    u64::from_str_radix(digits, 16)
        .map_err(|_| bad(text, "a FireWire GUID such as 0x080046010203abcd"))
}

/// A bit rate: a number of bit/s, or with `k` or `M`.
pub fn parse_bitrate(text: &str) -> Result<u32, BadValue> {
    let expected = "a bit rate such as 1500k, 2M or 1500000";
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    };
    let number: u32 = digits.parse().map_err(|_| bad(text, expected))?;
    match number.checked_mul(factor) {
        Some(bits @ 8_000..=100_000_000) => Ok(bits),
        Some(_) | None => Err(bad(text, "a bit rate between 8k and 100M")),
    }
}

/// Declares an enum whose values are single words on the command line.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $expected:literal, { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = BadValue;
            fn from_str(text: &str) -> Result<Self, BadValue> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(bad(text, $expected)) }
            }
        }
    };
}

words!(
    /// How fast a file is read.
    Pace, "one of real-time, unpaced", {
        /// One second of media per second.
        RealTime = "real-time",
        /// As fast as the machine can.
        Unpaced = "unpaced",
    }
);

words!(
    /// How often a file is played.
    Repeat, "one of loop, once", {
        /// Over and over, without a gap.
        Loop = "loop",
        /// Once; then the worker ends well.
        Once = "once",
    }
);

/// Where a v4l2 source's sound comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioDevice {
    /// The sound card of the same USB device, silence if it has none.
    Auto,
    /// Silence.
    None,
    /// An ALSA device, by card name.
    Alsa(String),
}

impl fmt::Display for AudioDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Alsa(name) => name,
        })
    }
}

impl FromStr for AudioDevice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "" => Err(bad(text, "a sound device: use auto, none or an ALSA name")),
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            name => Ok(Self::Alsa(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        capture: CaptureArgs,
    }

    #[test]
    fn arguments_survive_the_command_line() {
        let mut args = CaptureArgs::new(SourceSpec::Mixer("[::1]:11000".into()));
        args.format = MixerFormat::DvSwitch;
        args.channels = Channels::Swap;
        args.audio_device = AudioDevice::Alsa("hw:CARD=Capture".into());
        args.room = "-demo".into();
        args.watched = true;
        args.text = "no picture: is the camera on?".into();
        let read = Line::try_parse_from(args.to_command_line()).map(|line| line.capture);
        assert_eq!(read.ok(), Some(args));
    }

    #[test]
    fn sources_read_as_written() {
        for text in
            ["v4l2:/dev/v4l/by-path/a:b", "dv", "dv:0x080046010203abcd", "file:a b.mp4", "test"]
        {
            assert_eq!(
                text.parse::<SourceSpec>().map(|source| source.to_string()),
                Ok(text.into())
            );
        }
    }

    #[test]
    fn wrong_sources_say_what_is_expected() {
        for (text, message) in [
            ("v4l2", "`v4l2` is not complete: give the device, as v4l2:/dev/v4l/by-path/…"),
            (
                "mixer:host",
                "`mixer:host` is not complete: give the mixer's address, as mixer:HOST:PORT",
            ),
            (
                "mixer::80",
                "`mixer::80` is not complete: give the mixer's address, as mixer:HOST:PORT",
            ),
            ("dv:0xzz", "`0xzz` is not a FireWire GUID such as 0x080046010203abcd"),
            (
                "camera",
                "`camera` is not a source: use v4l2:PATH, dv[:GUID], mixer:HOST:PORT, file:PATH, test or slate",
            ),
        ] {
            let error = text.parse::<SourceSpec>().expect_err(text).to_string();
            assert_eq!(error, message);
        }
    }

    #[test]
    fn bit_rates() {
        assert_eq!(parse_bitrate("1500k"), Ok(1_500_000));
        assert_eq!(parse_bitrate("2M"), Ok(2_000_000));
        assert_eq!(parse_bitrate("96000"), Ok(96_000));
        for text in ["", "k", "1.5M", "-5k", "9999999999", "5000M", "10"] {
            assert!(parse_bitrate(text).is_err(), "{text}");
        }
    }
}
