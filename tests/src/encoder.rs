//! The encoder daemon under test, and its configuration.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::{Launch, Process, binary};
use crate::until;

/// What every website is shown.
pub const SECRET: &str = "hush & be still";

/// One room of the configuration.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// Its publishers' token.
    pub token: String,
}

impl Room {
    /// A room whose token is derived from its name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), token: format!("token-of-{name}") }
    }
}

/// What goes into `encoder.toml`.
#[derive(Debug, Clone)]
pub struct EncoderConfig {
    /// Device name in MQTT.
    pub name: String,
    /// The rooms.
    pub rooms: Vec<Room>,
    /// Whether RTMP is listened for.
    pub rtmp: bool,
    /// Where recordings go; a temporary directory if not given.
    pub archive: Option<PathBuf>,
    /// Size in MiB of a file system of its own for the recordings, which then can be full.
    pub archive_mib: Option<u32>,
    /// Smallest free space for recording.
    pub min_free: String,
    /// Rungs below the source: name, height, bit rate. `None` for the daemon's default.
    pub ladder: Option<Vec<(String, u32, String)>>,
    /// Whether WebM is made.
    pub webm: bool,
    /// The broker's URL.
    pub mqtt: Option<String>,
    /// The broker's URL for the dashboard, which then shows its buttons.
    pub dashboard: Option<String>,
    /// The websites that are told, every second: name and URL. Their secret is [`SECRET`].
    pub websites: Vec<(String, String)>,
    /// `[drain] limit`: at once, if nothing else is said.
    pub drain: String,
    http_port: u16,
    rtmp_port: u16,
}

impl EncoderConfig {
    /// One room with the default ladder, RTMP, and no broker.
    pub fn room(name: &str) -> Self {
        Self {
            name: "enc-under-test".into(),
            rooms: vec![Room::new(name)],
            rtmp: true,
            archive: None,
            archive_mib: None,
            min_free: "1MiB".into(),
            ladder: None,
            webm: true,
            mqtt: None,
            dashboard: None,
            websites: Vec::new(),
            drain: "0s".into(),
            http_port: 0,
            rtmp_port: 0,
        }
    }

    /// The cheapest encoder: one small rung and no WebM, for tests of other things.
    pub fn light(room: &str) -> Self {
        Self {
            ladder: Some(vec![("120p".into(), 120, "100k".into())]),
            webm: false,
            ..Self::room(room)
        }
    }

    /// With a second room.
    #[must_use]
    pub fn and_room(mut self, name: &str) -> Self {
        self.rooms.push(Room::new(name));
        self
    }

    /// With a broker.
    #[must_use]
    pub fn with_broker(mut self, broker: &Broker) -> Self {
        self.mqtt = Some(broker.url());
        self
    }

    /// With a website that is told.
    #[must_use]
    pub fn with_website(mut self, name: &str, url: &str) -> Self {
        self.websites.push((name.into(), url.into()));
        self
    }

    /// The file's text. `archive` is used when no place was given.
    pub fn to_toml(&self, archive: &Path) -> String {
        let archive = self.archive.as_deref().unwrap_or(archive);
        let mut text = format!(
            "name = {:?}\ncontrol = \"control\"\n[listen]\nhttp = \"127.0.0.1:{}\"\n",
            self.name, self.http_port
        );
        if self.rtmp {
            let _ = writeln!(text, "rtmp = \"127.0.0.1:{}\"", self.rtmp_port);
        }
        let _ = writeln!(text, "[archive]\npath = {archive:?}\nmin_free = {:?}", self.min_free);
        for (name, height, bitrate) in self.ladder.iter().flatten() {
            let _ = writeln!(
                text,
                "[[ladder]]\nname = {name:?}\nheight = {height}\nbitrate = {bitrate:?}"
            );
        }
        if !self.webm {
            text.push_str("[webm]\nhigh = \"off\"\nlow = \"off\"\n");
        }
        for room in &self.rooms {
            let _ = writeln!(
                text,
                "[[room]]\nname = {:?}\ntitle = \"Room {}\"\ntoken = {:?}",
                room.name, room.name, room.token
            );
        }
        if let Some(url) = &self.mqtt {
            let _ = writeln!(text, "[mqtt]\nurl = {url:?}");
        }
        if let Some(url) = &self.dashboard {
            let _ = writeln!(text, "[dashboard]\nbroker = {url:?}\ncommands = true");
        }
        for (name, url) in &self.websites {
            let _ = writeln!(
                text,
                "[[register]]\nname = {name:?}\nurl = {url:?}\nsecret = {SECRET:?}\ninterval = \"1s\""
            );
        }
        let _ = writeln!(text, "[drain]\nlimit = {:?}", self.drain);
        text
    }
}

/// A running encoder.
#[derive(Debug)]
pub struct EncoderProcess {
    process: Process,
    config: EncoderConfig,
    http: SocketAddr,
    rtmp: Option<SocketAddr>,
    client: Client,
    directory: TempDir,
}

impl EncoderProcess {
    /// Starts an encoder, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(config: EncoderConfig) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    async fn start_in(directory: TempDir, mut config: EncoderConfig) -> Self {
        let text = config.to_toml(&directory.path().join("archive"));
        let file = directory.path().join("encoder.toml");
        std::fs::write(&file, text).unwrap();
        let addresses = directory.path().join("addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let launch = match config.archive_mib {
            None => Launch::new(binary("encoder")),
            Some(size) => on_small_disk(&directory.path().join("archive"), size),
        };
        let launch = launch.args([
            "--config".to_owned(),
            file.display().to_string(),
            "--addresses".to_owned(),
            addresses.display().to_string(),
        ]);
        let process = Process::start("encoder", launch, &directory.path().join("encoder.log"));
        let listening: Value =
            until(Duration::from_secs(60), "the encoder to listen", async || {
                assert!(
                    process.is_running(),
                    "the encoder ended instead of listening:\n{}",
                    process.tail()
                );
                serde_json::from_slice(&std::fs::read(&addresses).ok()?).ok()
            })
            .await;
        let address = |key: &str| listening[key].as_str().and_then(|text| text.parse().ok());
        let http: SocketAddr = address("http").expect("an `http` address in the addresses file");
        let rtmp: Option<SocketAddr> = address("rtmp");
        config.http_port = http.port();
        config.rtmp_port = rtmp.map_or(0, |rtmp| rtmp.port());
        Self { process, config, http, rtmp, client: client(), directory }
    }

    /// Kills it, and starts it again with the same files and ports.
    ///
    /// # Panics
    /// When it does not come back.
    pub async fn kill_and_restart(self) -> Self {
        self.process.kill().await;
        self.start_again().await
    }

    /// Starts it again with the same files and ports after it has ended.
    ///
    /// # Panics
    /// When it does not come back.
    pub async fn start_again(self) -> Self {
        let Self { config, directory, .. } = self;
        Self::start_in(directory, config).await
    }

    /// Starts another `encoder` with the same configuration file and the arguments given: a
    /// command that has to do with this one. What it says is in its log.
    pub fn command(&self, args: &[&str]) -> Process {
        command(self.directory(), args)
    }

    /// The mood and the reason of a component of `room`.
    pub async fn mood(&self, room: &str, component: &str) -> Option<(String, String)> {
        let name = format!("{room}.{component}");
        let room = self.room(room).await?;
        let it = room["components"].as_array()?.iter().find(|it| it["name"] == name.as_str())?;
        Some((it["mood"].as_str()?.to_owned(), it["reason"].as_str()?.to_owned()))
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The configuration, with the ports that it got.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Its directory of temporary files; recordings are in `archive` there.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where RTMP is taken.
    ///
    /// # Panics
    /// When it is not configured.
    pub fn rtmp(&self) -> SocketAddr {
        self.rtmp.expect("an RTMP listener")
    }

    /// A URL of `path`, which starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// The first room's publishing token.
    pub fn token(&self) -> &str {
        &self.config.rooms[0].token
    }

    /// A client to ask it with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// GETs `path`.
    ///
    /// # Panics
    /// When there is no answer at all.
    pub async fn get(&self, path: &str) -> Response {
        let answer = self.client.get(self.url(path)).send().await;
        answer.unwrap_or_else(|error| panic!("GET {path}: {error:?}"))
    }

    /// GETs `path` and its body, when the answer is 200.
    pub async fn body(&self, path: &str) -> Option<bytes::Bytes> {
        let answer = self.client.get(self.url(path)).send().await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())?;
        answer.bytes().await.ok()
    }

    /// GETs `path` as JSON, with the first room's token.
    pub async fn json(&self, path: &str) -> Option<Value> {
        let request = self.client.get(self.url(path)).bearer_auth(self.token());
        let answer = request.send().await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// Waits until `room` can be played: its multivariant playlist is there.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn live(&self, room: &str) {
        let path = format!("/{room}/hls/index.m3u8");
        let what = format!("room {room} to be live");
        until(Duration::from_secs(60), &what, async || {
            assert!(self.process.is_running(), "the encoder ended");
            self.body(&path).await
        })
        .await;
    }

    /// The description of `room` in `/api/v1/rooms`.
    pub async fn room(&self, room: &str) -> Option<Value> {
        let rooms = self.json("/api/v1/rooms").await?;
        let rooms = rooms["rooms"].as_array()?;
        rooms.iter().find(|it| it["name"] == room).cloned()
    }

    /// The session that is being published to `room`.
    ///
    /// # Panics
    /// When nobody publishes.
    pub async fn session(&self, room: &str) -> String {
        let what = format!("a publisher in room {room}");
        until(Duration::from_secs(60), &what, async || {
            let room = self.room(room).await?;
            Some(room["publisher"]["session"].as_str()?.to_owned())
        })
        .await
    }

    /// The archived sessions of `room`: the listing as the encoder gives it.
    pub async fn archive(&self, room: &str) -> Option<Value> {
        self.json(&format!("/{room}/archive/")).await
    }

    /// Saves an archived session as one FLV file. A session is in the archive from its first whole
    /// segment on, a moment after the room is live.
    ///
    /// # Panics
    /// When it is not given out.
    pub async fn save_session(&self, room: &str, session: &str) -> PathBuf {
        let path = format!("/{room}/archive/{session}.flv");
        let what = format!("GET {path} to give the recording");
        let recording = until(Duration::from_secs(30), &what, async || {
            let request = self.client.get(self.url(&path)).bearer_auth(self.token());
            let answer = request.send().await.unwrap();
            (answer.status() == StatusCode::OK).then_some(())?;
            Some(answer.bytes().await.unwrap())
        })
        .await;
        let file = self.directory.path().join(format!("{session}.flv"));
        std::fs::write(&file, recording).unwrap();
        file
    }
}

/// `encoder` with the configuration file in `directory` and further arguments.
fn command(directory: &Path, args: &[&str]) -> Process {
    let config = directory.join("encoder.toml").display().to_string();
    let args = args.iter().map(|it| (*it).to_owned()).chain(["--config".to_owned(), config]);
    let launch = Launch::new(binary("encoder")).args(args);
    let log = tempfile::Builder::new().prefix("command").tempfile_in(directory).unwrap();
    let (_, log) = log.keep().unwrap();
    Process::start("encoder command", launch, &log)
}

/// The encoder in a mount namespace of its own, where `path` is a file system of `mib` MiB.
fn on_small_disk(path: &Path, mib: u32) -> Launch {
    std::fs::create_dir_all(path).unwrap();
    let script =
        format!("mount -t tmpfs -o size={mib}m tmpfs '{}' && exec \"$0\" \"$@\"", path.display());
    let encoder = binary("encoder").display().to_string();
    Launch::new("unshare").args(["-m", "sh", "-c", &script, &encoder])
}

/// An HTTP client that does not follow proxies of the machine.
///
/// # Panics
/// When it cannot be built.
pub fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().build().unwrap()
}
