//! The collector daemon under test, and its configuration.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::broker::Broker;
use crate::encoder::EncoderProcess;
use crate::process::{Launch, Process, binary};

/// What goes into `site.toml`.
#[derive(Debug, Clone)]
pub struct CollectorConfig {
    /// The room.
    pub room: String,
    /// Device name in MQTT.
    pub device: String,
    /// `[encoder] url`.
    pub url: String,
    /// `[encoder] token`.
    pub token: Option<String>,
    /// `[encoder] ca`.
    pub authority: Option<PathBuf>,
    /// The lines of `[source]`.
    pub source: String,
    /// Width, height, frames per second.
    pub picture: (u32, u32, u32),
    /// Video bit rate.
    pub bitrate: String,
    /// `[audio] device`, when given.
    pub audio: Option<String>,
    /// `[uplink] memory`.
    pub memory: String,
    /// The broker's URL.
    pub mqtt: Option<String>,
}

impl CollectorConfig {
    /// Flash and beep with a frame counter, small, to the first room of `encoder`.
    pub fn flash(encoder: &EncoderProcess) -> Self {
        Self {
            room: encoder.config().rooms[0].name.clone(),
            device: "box-under-test".into(),
            url: format!("http://{}", encoder.http()),
            token: Some(encoder.token().to_owned()),
            authority: None,
            source: "kind = \"flash\"".into(),
            picture: (640, 360, 25),
            bitrate: "800k".into(),
            audio: None,
            memory: "64MiB".into(),
            mqtt: None,
        }
    }

    /// From a file, played in a loop.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        self.source = format!("kind = \"file\"\npath = {path:?}");
        self
    }

    /// With a broker.
    #[must_use]
    pub fn with_broker(mut self, broker: &Broker) -> Self {
        self.mqtt = Some(broker.url());
        self
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let (width, height, framerate) = self.picture;
        let mut text = format!(
            "room = {:?}\ndevice = {:?}\n[encoder]\nurl = {:?}\n",
            self.room, self.device, self.url
        );
        if let Some(token) = &self.token {
            let _ = writeln!(text, "token = {token:?}");
        }
        if let Some(authority) = &self.authority {
            let _ = writeln!(text, "ca = {authority:?}");
        }
        let _ = writeln!(
            text,
            "[source]\n{}\n[video]\nwidth = {width}\nheight = {height}\nframerate = {framerate}\n\
             bitrate = {:?}",
            self.source, self.bitrate
        );
        if let Some(device) = &self.audio {
            let _ = writeln!(text, "[audio]\ndevice = {device:?}");
        }
        let _ = writeln!(text, "[uplink]\nmemory = {:?}", self.memory);
        if let Some(url) = &self.mqtt {
            let _ = writeln!(text, "[mqtt]\nurl = {url:?}");
        }
        text
    }
}

/// A running collector.
#[derive(Debug)]
pub struct CollectorProcess {
    process: Process,
    _directory: TempDir,
}

impl CollectorProcess {
    /// Starts a collector. It is up to the caller to wait for what it should achieve.
    pub fn start(config: &CollectorConfig) -> Self {
        Self::start_with(&config.to_toml())
    }

    /// Starts a collector with the given text as its `site.toml`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with(text: &str) -> Self {
        Self::launch(text, None)
    }

    /// The same, with a runtime directory, as systemd gives it one on a box.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_in(text: &str, runtime: &Path) -> Self {
        Self::launch(text, Some(runtime))
    }

    fn launch(text: &str, runtime: Option<&Path>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("site.toml");
        std::fs::write(&file, text).unwrap();
        let mut launch = Launch::new(binary("collector"))
            .args(["--config".to_owned(), file.display().to_string()]);
        if let Some(runtime) = runtime {
            launch = launch.env("RUNTIME_DIRECTORY", &runtime.display().to_string());
        }
        let process = Process::start("collector", launch, &directory.path().join("collector.log"));
        Self { process, _directory: directory }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
