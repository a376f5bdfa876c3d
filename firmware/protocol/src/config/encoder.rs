//! `encoder.toml`: what an encoder must know.
//!
//! Only one `[[room]]` with `name` and `token` is needed; everything else has a default.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;

use super::{
    ConfigError,
    mqtt::{self, Mqtt},
    register::{self, Website},
    section::{Section, read_document},
    units::{BitRate, ByteSize, Span},
    values::{Address, Int, OrOff, Schemes, Text},
};
use crate::{
    names::{DeviceName, RenditionName, Revision, RoomName},
    register::Group,
    token::Token,
};

/// The encoder's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoder {
    /// This device; by default the host name, made safe.
    pub name: DeviceName,
    /// Which revision of the configuration this is, for MQTT; `backrow push` writes it.
    pub revision: Option<Revision>,
    /// Where to listen.
    pub listen: Listen,
    /// The record.
    pub archive: Archive,
    /// HLS.
    pub hls: Hls,
    /// The rungs below the source, best first.
    pub ladder: Vec<Rung>,
    /// WebM.
    pub webm: Webm,
    /// The rooms, at least one.
    pub rooms: Vec<Room>,
    /// Telling; `None`: not at all.
    pub mqtt: Option<Mqtt>,
    /// What the dashboard that is served here knows of the broker.
    pub dashboard: Dashboard,
    /// The websites that are told of the rooms.
    pub register: Vec<Website>,
    /// The Unix socket by which `encoder drain` and `encoder register` reach the daemon.
    pub control: PathBuf,
    /// How long viewers may stay after the order to stop.
    pub drain: Duration,
}

/// Most bytes of a Unix socket's path on Linux.
const MAX_SOCKET_PATH: usize = 107;
/// How long viewers may stay if a website sends them: until it has forgotten this encoder, and a
/// little.
const DRAIN: Duration = Duration::from_secs(90);

/// Where to listen. Port 0 is any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// HTTP: ingest and viewers.
    pub http: SocketAddr,
    /// RTMP; `None`: not at all.
    pub rtmp: Option<SocketAddr>,
}

/// The record of everything received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its directory.
    pub path: PathBuf,
    /// With less free space than this nothing more is recorded; live goes on.
    pub min_free: ByteSize,
}

/// HLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hls {
    /// The least length of a segment.
    pub segment: Duration,
    /// Segments listed.
    pub window: usize,
}

/// One rendition below the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Its name in URLs.
    pub name: RenditionName,
    /// Lines, even; the width follows the source's shape.
    pub height: u32,
    /// Bits per second of video.
    pub bitrate: BitRate,
}

/// WebM; `None` switches one off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Webm {
    /// Video bit rate of `webcast-high.webm`.
    pub high: Option<BitRate>,
    /// Video bit rate of `webcast-low.webm`.
    pub low: Option<BitRate>,
}

/// What the dashboard's page is told, so that it opens without being asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dashboard {
    /// The broker's WebSocket listener, as browsers reach it.
    pub broker: Option<Url>,
    /// Whether the buttons for orders are shown; the broker decides who may.
    pub commands: bool,
}

/// One room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its name in URLs.
    pub name: RoomName,
    /// Its name for people.
    pub title: String,
    /// What its collector must show.
    pub token: Token,
    /// Its name on websites; there if there are any.
    pub group: Option<Group>,
}

/// Reads a file.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn read(file: &Path) -> Result<Encoder, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|e| ConfigError::unreadable(file, &e))?;
    load(&text, file)
}

/// Reads a file's text; `file` names it in errors, and relative paths start beside it.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn load(text: &str, file: &Path) -> Result<Encoder, ConfigError> {
    let base = file.parent().unwrap_or(Path::new(""));
    read_document(text, file, |root| {
        let name = root.optional("name").unwrap_or_else(DeviceName::of_this_host);
        let revision = root.optional("revision");
        let listen = listen(root);
        let archive = archive(root, base);
        let hls = hls(root);
        let ladder = ladder(root);
        let webm = webm(root);
        let register = register::read(root);
        let rooms = rooms(root);
        let mqtt = mqtt::read(root, base);
        let dashboard = dashboard(root);
        let control = control(root, base);
        let drain = drain(root);
        Some(Encoder {
            name,
            revision,
            listen,
            archive,
            hls,
            ladder,
            webm,
            rooms,
            mqtt,
            dashboard,
            register,
            control,
            drain,
        })
    })
}

fn listen(root: &Section<'_, '_, '_>) -> Listen {
    let section = root.section("listen");
    let http = section.or("http", SocketAddr::from(([0, 0, 0, 0], 8080)));
    let rtmp: Option<SocketAddr> = section.optional("rtmp");
    if let Some(rtmp) = rtmp
        && rtmp == http
        && rtmp.port() != 0
    {
        let why = format!("`rtmp` in [listen] is {rtmp}, and so is `http`; give one another port");
        section.problem("rtmp", why);
    }
    section.close();
    Listen { http, rtmp }
}

fn archive(root: &Section<'_, '_, '_>, base: &Path) -> Archive {
    let section = root.section("archive");
    let path = section.or("path", PathBuf::from("/var/lib/backrow/archive"));
    let min_free = section.or("min_free", ByteSize(1 << 30));
    section.close();
    Archive { path: base.join(path), min_free }
}

fn hls(root: &Section<'_, '_, '_>) -> Hls {
    let section = root.section("hls");
    let Span(segment) = section.or("segment", Span(Duration::from_secs(2)));
    if !(Duration::from_millis(500)..=Duration::from_secs(30)).contains(&segment) {
        let why = format!("`segment` in [hls] is {}; it must be from 500ms to 30s", Span(segment));
        section.problem("segment", why);
    }
    let Int(window) = section.or("window", Int::<3, 10_000>(8));
    section.close();
    Hls { segment, window: usize::try_from(window).unwrap_or(8) }
}

fn control(root: &Section<'_, '_, '_>, base: &Path) -> PathBuf {
    let path = base.join(root.or("control", PathBuf::from("/run/backrow-encoder/control")));
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        let why = format!(
            "`control` at the top level: the socket's whole path has at most {MAX_SOCKET_PATH} bytes, \
             this has {length}; choose a shorter one"
        );
        root.problem("control", why);
    }
    path
}

fn drain(root: &Section<'_, '_, '_>) -> Duration {
    let section = root.section("drain");
    // With no website there is nobody who could send viewers elsewhere meanwhile.
    let default = if root.has("register") { DRAIN } else { Duration::ZERO };
    let Span(limit) = section.or("limit", Span(default));
    section.close();
    limit
}

fn ladder(root: &Section<'_, '_, '_>) -> Vec<Rung> {
    let Some(sections) = root.sections("ladder") else {
        let rung = |name: &str, height, bits| {
            let name = name.parse().ok()?;
            Some(Rung { name, height, bitrate: BitRate(bits) })
        };
        return [rung("480p", 480, 700_000), rung("240p", 240, 250_000)]
            .into_iter()
            .flatten()
            .collect();
    };
    let mut names = BTreeSet::new();
    let mut rungs = Vec::new();
    for section in sections {
        let name: Option<RenditionName> = section.required("name");
        let height = section.required::<Int<16, 4320>>("height").map(|Int(height)| height);
        let bitrate = section.required("bitrate");
        if let Some(height) = height
            && height % 2 == 1
        {
            let why = format!(
                "`height` in [[ladder]] is {height}; it must be even, for example: height = {}",
                height + 1
            );
            section.problem("height", why);
        }
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            let why =
                format!("`name` in [[ladder]]: there is another rendition \"{name}\"; rename one");
            section.problem("name", why);
        }
        section.close();
        if let (Some(name), Some(height), Some(bitrate)) = (name, height, bitrate) {
            rungs.push(Rung { name, height, bitrate });
        }
    }
    rungs
}

fn webm(root: &Section<'_, '_, '_>) -> Webm {
    let section = root.section("webm");
    let OrOff(high) = section.or("high", OrOff(Some(BitRate(800_000))));
    let OrOff(low) = section.or("low", OrOff(Some(BitRate(300_000))));
    section.close();
    Webm { high, low }
}

struct Browser;

impl Schemes for Browser {
    const ALLOWED: &'static [&'static str] = &["wss", "ws"];
    const EXAMPLE: &'static str = "\"wss://broker.example.org:8084\"";
}

fn dashboard(root: &Section<'_, '_, '_>) -> Dashboard {
    let section = root.section("dashboard");
    let broker = section.optional::<Address<Browser>>("broker").map(|Address(url, _)| url);
    if let Some(url) = &broker
        && (!url.username().is_empty() || url.password().is_some())
    {
        // Whoever opens the page could read it.
        let why = "`broker` in [dashboard] has a user or password in it, and everybody may read it; \
                   write the address alone, the page asks for the rest";
        section.problem("broker", why.to_owned());
    }
    let commands = section.or("commands", false);
    section.close();
    Dashboard { broker, commands }
}

fn rooms(root: &Section<'_, '_, '_>) -> Vec<Room> {
    let wanted = root.sections("room");
    let wrong_kind = root.has("room") && !root.is_empty_list("room");
    let sections = wanted.unwrap_or_default();
    if sections.is_empty() && !wrong_kind {
        let why = "there is no room; add one:\n    [[room]]\n    name = \"main-hall\"\n    \
                   token = \"correct-horse-battery\"";
        root.problem("room", why.to_owned());
    }
    let mut names = BTreeSet::new();
    let mut rooms = Vec::new();
    for section in sections {
        let name: Option<RoomName> = section.required("name");
        let title = section.optional("title").map(|Text(text)| text);
        let token = section.required("token");
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            let why = format!("`name` in [[room]]: there is another room \"{name}\"; rename one");
            section.problem("name", why);
        }
        let group = register::group(root, &section, name.as_ref(), &rooms);
        section.close();
        if let (Some(name), Some(token)) = (name, token) {
            let title = title.unwrap_or_else(|| name.to_string());
            rooms.push(Room { title, name, token, group });
        }
    }
    rooms
}
