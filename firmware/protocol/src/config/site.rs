//! `site.toml`: what a collector must know of its site.
//!
//! Only `room` and `[encoder]` are needed; everything else has a default.

use std::{
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use url::Url;

use super::{
    ConfigError,
    mqtt::{self, Mqtt},
    on_box::{self, OnBox},
    section::{Section, read_document},
    units::BitRate,
    uplink::{self, Uplink},
    values::{Address, Choice, Int, Schemes, Text},
};
use crate::{
    names::{DeviceName, Revision, RoomName},
    token::Token,
};

/// The collector's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The room it captures.
    pub room: RoomName,
    /// This device; by default the host name, made safe.
    pub device: DeviceName,
    /// Which revision of the configuration this is, for MQTT; `backrow push` writes it.
    pub revision: Option<Revision>,
    /// Where to send.
    pub encoder: Destination,
    /// What to capture.
    pub source: Source,
    /// The picture.
    pub video: Video,
    /// The sound.
    pub audio: Audio,
    /// Sending.
    pub uplink: Uplink,
    /// Telling; `None`: not at all.
    pub mqtt: Option<Mqtt>,
    /// For the box around the collector.
    pub on_box: OnBox,
}

/// Where the stream goes.
#[derive(Clone, PartialEq, Eq)]
pub enum Destination {
    /// An encoder, by the ingest contract.
    Ingest {
        /// Its address, `http://` or `https://`.
        url: Url,
        /// The room's token.
        token: Token,
        /// PEM file with a CA to trust besides the public ones.
        ca: Option<PathBuf>,
    },
    /// Any RTMP server.
    Rtmp {
        /// `rtmp(s)://host[:port]/app/key`; the key is a secret.
        url: Url,
        /// PEM file with a CA to trust besides the public ones.
        ca: Option<PathBuf>,
    },
}

impl Destination {
    /// The destination as a person may see it: scheme, host and port.
    #[must_use]
    pub fn shown(&self) -> String {
        let (Self::Ingest { url, .. } | Self::Rtmp { url, .. }) = self;
        let host = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()),
            None => format!("{}://{host}", url.scheme()),
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({})", self.shown())
    }
}

/// What kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// The first real device there is.
    Auto,
    /// A Video4Linux device.
    V4l2,
    /// DV over FireWire.
    Dv,
    /// A video mixer, over TCP.
    Mixer,
    /// A video file, looped.
    File,
    /// A test picture and a tone.
    Test,
    /// A flash and a beep, to measure with; for tests, and not advertised.
    Flash,
}

/// What a mixer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MixerFormat {
    /// voctomix: Matroska.
    Matroska,
    /// DVswitch: raw DV.
    DvSwitch,
}

/// Which of a source's two channels carry the speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Both, as they are.
    Stereo,
    /// The left one, on both.
    Left,
    /// The right one, on both.
    Right,
    /// The sum of the two, on both.
    Mix,
    /// The two exchanged.
    Swap,
}

macro_rules! words {
    ($type:ident { $($word:literal => $variant:ident),* $(,)? }
     hidden { $($hidden:literal => $other:ident),* }) => {
        impl Choice for $type {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),*];
            const HIDDEN: &'static [(&'static str, Self)] = &[$(($hidden, Self::$other)),*];
        }

        impl $type {
            /// The word, as in the file.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    $(Self::$other => $hidden,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    $($hidden => Ok(Self::$other),)*
                    _ => Err(format!("{text:?} is not one of {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

words!(SourceKind {
    "auto" => Auto, "v4l2" => V4l2, "dv" => Dv, "mixer" => Mixer, "file" => File, "test" => Test,
} hidden { "flash" => Flash });
words!(MixerFormat { "matroska" => Matroska, "dvswitch" => DvSwitch } hidden {});
words!(Channels {
    "stereo" => Stereo, "left" => Left, "right" => Right, "mix" => Mix, "swap" => Swap,
} hidden {});

/// What to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What kind.
    pub kind: SourceKind,
    /// Stable path or `ID_PATH` of a V4L2 device.
    pub device: Option<String>,
    /// EUI-64 of a FireWire device.
    pub guid: Option<u64>,
    /// The file, for [`SourceKind::File`].
    pub path: Option<PathBuf>,
    /// `host:port`, for [`SourceKind::Mixer`].
    pub address: Option<String>,
    /// What the mixer sends.
    pub format: MixerFormat,
}

/// The picture as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Video {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames per second.
    pub framerate: u32,
    /// Bits per second.
    pub bitrate: BitRate,
}

/// The sound as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// Where from.
    pub device: AudioDevice,
    /// Bits per second.
    pub bitrate: BitRate,
    /// Which channels.
    pub channels: Channels,
}

/// Where the sound comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioDevice {
    /// What belongs to the picture's source.
    Auto,
    /// No sound: silence is sent.
    None,
    /// An ALSA device.
    Alsa(String),
}

struct Ingest;

impl Schemes for Ingest {
    const ALLOWED: &'static [&'static str] = &["http", "https", "rtmp", "rtmps"];
    const EXAMPLE: &'static str = "\"https://enc.example.org\"";
}

/// Reads a file.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn read(file: &Path) -> Result<Site, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|e| ConfigError::unreadable(file, &e))?;
    load(&text, file)
}

/// Reads a file's text; `file` names it in errors, and relative paths start beside it.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn load(text: &str, file: &Path) -> Result<Site, ConfigError> {
    let base = file.parent().unwrap_or(Path::new(""));
    read_document(text, file, |root| {
        let room = root.required("room");
        let device = root.optional("device").unwrap_or_else(DeviceName::of_this_host);
        let revision = root.optional("revision");
        let encoder = destination(root, base);
        let source = source(root, base);
        let video = video(root);
        let audio = audio(root);
        let uplink = uplink::read(root, base);
        let mqtt = mqtt::read(root, base);
        let on_box = on_box::read(root, base);
        Some(Site {
            room: room?,
            device,
            revision,
            encoder: encoder?,
            source: source?,
            video,
            audio,
            uplink,
            mqtt,
            on_box,
        })
    })
}

fn destination(root: &Section<'_, '_, '_>, base: &Path) -> Option<Destination> {
    let section = root.section("encoder");
    let Address(url, PhantomData) = section.required::<Address<Ingest>>("url").or_else(|| {
        // Known keys all the same.
        let _ = (section.optional::<Token>("token"), section.optional::<PathBuf>("ca"));
        section.close();
        None
    })?;
    let ca = section.optional::<PathBuf>("ca").map(|path| base.join(path));
    let destination = if url.scheme().starts_with("http") {
        section.required("token").map(|token| Destination::Ingest { url, token, ca })
    } else {
        if section.optional::<Token>("token").is_some() {
            let why = "`token` in [encoder] is not for RTMP; write the stream key at the end of `url`: \
                       rtmp://host/app/key";
            section.problem("token", why.to_owned());
        }
        let parts = url.path_segments().map_or(0, |parts| parts.filter(|p| !p.is_empty()).count());
        if parts < 2 {
            let why = "`url` in [encoder]: an RTMP address needs an application and a stream key: \
                       url = \"rtmp://host/app/key\"";
            section.problem("url", why.to_owned());
        }
        Some(Destination::Rtmp { url, ca })
    };
    section.close();
    destination
}

fn source(root: &Section<'_, '_, '_>, base: &Path) -> Option<Source> {
    let section = root.section("source");
    let kind = section.or("kind", SourceKind::Auto);
    let guid = section.optional::<Text>("guid").and_then(|Text(text)| {
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let good = digits.len() == 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
        let guid = u64::from_str_radix(digits, 16).ok().filter(|_| good);
        if guid.is_none() {
            let why = "`guid` in [source] must be 16 hexadecimal digits, for example: \
                       guid = \"0x080046010203abcd\"; `collector devices` shows it";
            section.problem("guid", why.to_owned());
        }
        guid
    });
    let path = section.optional::<PathBuf>("path").map(|path| base.join(path));
    let address = section.optional("address").map(|Text(text)| text);
    if let Some(address) = &address
        && !address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0)
        })
    {
        let why = "`address` in [source] must be a host and a port, for example: \
                   address = \"mixer:11000\"";
        section.problem("address", why.to_owned());
    }
    match kind {
        SourceKind::File if !section.has("path") => {
            let why = "`path` is missing in [source]; a file source needs one, for example: \
                       path = \"talk.mp4\"";
            section.problem("kind", why.to_owned());
        }
        SourceKind::Mixer if !section.has("address") => {
            let why = "`address` is missing in [source]; a mixer needs one, for example: \
                       address = \"mixer:11000\"";
            section.problem("kind", why.to_owned());
        }
        _ => {}
    }
    let source = Source {
        kind,
        device: section.optional("device").map(|Text(text)| text),
        guid,
        path,
        address,
        format: section.or("format", MixerFormat::Matroska),
    };
    section.close();
    Some(source)
}

fn video(root: &Section<'_, '_, '_>) -> Video {
    let section = root.section("video");
    let Int(width) = section.or("width", Int::<64, 7680>(1280));
    let Int(height) = section.or("height", Int::<64, 4320>(720));
    for (key, value) in [("width", width), ("height", height)] {
        if value % 2 == 1 {
            let why = format!(
                "`{key}` in [video] is {value}; it must be even, for example: {key} = {}",
                value + 1
            );
            section.problem(key, why);
        }
    }
    let Int(framerate) = section.or("framerate", Int::<1, 120>(25));
    let bitrate = section.or("bitrate", BitRate(1_500_000));
    section.close();
    Video { width, height, framerate, bitrate }
}

fn audio(root: &Section<'_, '_, '_>) -> Audio {
    let section = root.section("audio");
    let device = match section.optional("device") {
        None => AudioDevice::Auto,
        Some(Text(text)) => match text.as_str() {
            "auto" => AudioDevice::Auto,
            "none" => AudioDevice::None,
            _ => AudioDevice::Alsa(text),
        },
    };
    let bitrate = section.or("bitrate", BitRate(96_000));
    let channels = section.or("channels", Channels::Stereo);
    section.close();
    Audio { device, bitrate, channels }
}
