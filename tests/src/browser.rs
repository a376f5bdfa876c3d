//! A real browser: headless Chromium, driven through ChromeDriver.
//!
//! Each browser has a driver on a free port and an empty profile of its own. What it did and said
//! is asked of the page itself: the element's clock, the pixels it shows, the level of its sound.

use std::path::Path;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Launch, Process, children};
use crate::resources::processor_time;
use crate::until;

/// How long a page may take for what it should do by itself.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What a player page is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Player {
    /// `playing`, `off`, `joining`, …
    pub phase: String,
    /// `hls.js`, `native`, `progressive`, or nothing.
    pub engine: String,
    /// The HLS rendition that plays.
    pub rendition: String,
    /// What stands over the picture; empty when nothing does.
    pub headline: String,
    /// The element's clock, seconds.
    pub time: f64,
    /// Lines of the picture; 0 without one.
    pub height: u64,
    /// Whether the sound is off.
    pub muted: bool,
    /// Bytes of sound decoded so far.
    pub audio_bytes: u64,
    /// Where it is from.
    pub source: String,
}

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    driver: Process,
    port: u16,
    session: String,
    profile: TempDir,
}

impl Browser {
    /// Opens a browser with a window of that size.
    ///
    /// # Panics
    /// When Chromium or its driver cannot be started.
    pub async fn open(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let launch = Launch::new("chromedriver").args(["--port=0"]);
        let driver = Process::start("chromedriver", launch, &profile.path().join("driver.log"));
        let port = until(Duration::from_secs(30), "chromedriver to listen", async || {
            assert!(driver.is_running(), "chromedriver ended:\n{}", driver.tail());
            port_in(&driver.log())
        })
        .await;
        let user_data = profile.path().join("profile");
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--no-proxy-server".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            // What people have: sound only after a click or tap.
            "--autoplay-policy=document-user-activation-required".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", user_data.display()),
        ];
        let capabilities = json!({ "goog:chromeOptions": { "args": arguments } });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|error| panic!("no browser: {error}\n{}", driver.tail()));
        let session = client.session_id().await.unwrap().unwrap();
        Self { client, driver, port, session, profile }
    }

    /// Goes to `url`.
    ///
    /// # Panics
    /// When the page does not load.
    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Runs a script's body in the page, and gives what it returns.
    ///
    /// # Panics
    /// When it throws.
    pub async fn run(&self, script: &str) -> Value {
        self.client
            .execute(script, Vec::new())
            .await
            .unwrap_or_else(|error| panic!("{error}\nin {script}"))
    }

    /// Clicks the element with that CSS selector, as a person would.
    ///
    /// # Panics
    /// When it is not there, or covered.
    pub async fn click(&self, selector: &str) {
        let element = self.client.find(Locator::Css(selector)).await.unwrap();
        element.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Whether the element with that CSS selector can be seen.
    pub async fn shows(&self, selector: &str) -> bool {
        match self.client.find(Locator::Css(selector)).await {
            Ok(element) => element.is_displayed().await.unwrap_or(false),
            Err(_) => false,
        }
    }

    /// The text of the page as it is seen.
    ///
    /// # Panics
    /// When there is no page.
    pub async fn text(&self) -> String {
        let text = self.run("return document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Chooses an option of the player's quality menu.
    ///
    /// # Panics
    /// When there is no such option.
    pub async fn choose(&self, quality: &str) {
        let script = format!(
            "const menu = document.getElementById('quality'); menu.value = {quality:?};
             if (menu.value !== {quality:?}) return false;
             menu.dispatchEvent(new Event('change')); return true"
        );
        assert_eq!(self.run(&script).await, true, "no quality {quality:?}");
    }

    /// What the player page is doing.
    ///
    /// # Panics
    /// When this is no player page.
    pub async fn player(&self) -> Player {
        let told = self
            .run(
                "const player = document.getElementById('player');
                 const video = document.getElementById('video');
                 const veil = document.getElementById('veil');
                 return {
                   phase: player.dataset.phase, engine: player.dataset.engine || '',
                   rendition: player.dataset.rendition || '',
                   headline: veil.hidden ? '' : document.getElementById('headline').textContent,
                   time: video.currentTime, height: video.videoHeight, muted: video.muted,
                   audio: video.webkitAudioDecodedByteCount || 0, source: video.currentSrc }",
            )
            .await;
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        Player {
            phase: text("phase"),
            engine: text("engine"),
            rendition: text("rendition"),
            headline: text("headline"),
            time: told["time"].as_f64().unwrap_or_default(),
            height: told["height"].as_u64().unwrap_or_default(),
            muted: told["muted"].as_bool().unwrap_or_default(),
            audio_bytes: told["audio"].as_u64().unwrap_or_default(),
            source: text("source"),
        }
    }

    /// Waits until the player is as `wanted` says.
    ///
    /// # Panics
    /// When it does not come to that; the message has what it did instead.
    pub async fn player_is(&self, what: &str, wanted: impl Fn(&Player) -> bool) -> Player {
        let mut last = None;
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let now = self.player().await;
            if wanted(&now) {
                return now;
            }
            let late = tokio::time::Instant::now() >= end;
            assert!(!late, "waited in vain for the player {what}; it was {last:?}, then {now:?}");
            last = Some(now);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the player plays, and its clock goes on for `seconds`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn plays_for(&self, seconds: f64) -> Player {
        let start = self.player_is("to play", |it| it.phase == "playing" && it.time > 0.0).await;
        self.player_is("to go on playing", |it| {
            it.phase == "playing" && it.time > start.time + seconds
        })
        .await
    }

    /// The picture that the player shows, small and grey: 64×36 values from 0 to 255.
    ///
    /// # Panics
    /// When the player shows none.
    pub async fn picture(&self) -> Vec<u8> {
        let pixels = self
            .run(
                "const video = document.getElementById('video');
                 const canvas = document.createElement('canvas');
                 canvas.width = 64; canvas.height = 36;
                 const context = canvas.getContext('2d');
                 context.drawImage(video, 0, 0, 64, 36);
                 const data = context.getImageData(0, 0, 64, 36).data;
                 const grey = [];
                 for (let i = 0; i < data.length; i += 4) {
                   grey.push(Math.round((data[i] * 2 + data[i + 1] * 5 + data[i + 2]) / 8));
                 }
                 return grey",
            )
            .await;
        let pixels: Vec<u8> = serde_json::from_value(pixels).unwrap();
        assert_eq!(pixels.len(), 64 * 36);
        pixels
    }

    /// Begins to listen to the player's sound; [`Browser::level`] tells how loud it is. The sound
    /// must have been allowed by a click.
    ///
    /// # Panics
    /// When the page refuses.
    pub async fn listen(&self) {
        self.run(
            "const context = new AudioContext();
             const source = context.createMediaElementSource(document.getElementById('video'));
             window.analyser = context.createAnalyser();
             source.connect(window.analyser); window.analyser.connect(context.destination);
             context.resume()",
        )
        .await;
    }

    /// The sound's level now: the root of the mean square, 0 to 1.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn level(&self) -> f64 {
        let level = self
            .run(
                "const samples = new Float32Array(window.analyser.fftSize);
                 window.analyser.getFloatTimeDomainData(samples);
                 return Math.sqrt(samples.reduce((sum, it) => sum + it * it, 0) / samples.length)",
            )
            .await;
        level.as_f64().unwrap_or_default()
    }

    /// Lets every request fail whose URL matches one of `patterns` (with `*`); none of them
    /// again when it is empty.
    ///
    /// # Panics
    /// When the browser refuses.
    pub async fn block(&self, patterns: &[&str]) {
        self.devtools("Network.enable", &json!({})).await;
        self.devtools("Network.setBlockedURLs", &json!({ "urls": patterns })).await;
    }

    /// Makes the page's area that large, on a phone without scroll bars.
    ///
    /// # Panics
    /// When the browser refuses.
    pub async fn resize(&self, width: u32, height: u32, phone: bool) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &size).await;
    }

    /// Saves what is seen as a PNG file.
    ///
    /// # Panics
    /// When that fails.
    pub async fn screenshot(&self, path: &Path) {
        std::fs::write(path, self.client.screenshot().await.unwrap()).unwrap();
    }

    /// What the page wrote to the console as errors, and requests that failed.
    ///
    /// # Panics
    /// When the driver refuses.
    pub async fn complaints(&self) -> Vec<String> {
        let path = format!("/session/{}/se/log", self.session);
        let told = self.driver_post(&path, &json!({ "type": "browser" })).await;
        let entries = told["value"].as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.filter_map(|entry| Some(entry["message"].as_str()?.to_owned())).collect()
    }

    /// Processor time that the browser has used so far, with all its processes.
    pub fn processor_time(&self) -> Duration {
        let mut family = vec![self.driver.pid()];
        let mut next = 0;
        while let Some(pid) = family.get(next).copied() {
            family.extend(children(pid));
            next += 1;
        }
        family.into_iter().skip(1).map(processor_time).sum()
    }

    async fn devtools(&self, command: &str, parameters: &Value) {
        let path = format!("/session/{}/goog/cdp/execute", self.session);
        let told = self.driver_post(&path, &json!({ "cmd": command, "params": parameters })).await;
        assert!(told["value"].get("error").is_none(), "{command}: {told}");
    }

    async fn driver_post(&self, path: &str, body: &Value) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = crate::encoder::client().post(url).json(body).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver, told to stop, takes its browser along; one that it lost hold of is found
        // by its profile, which nobody else uses.
        self.driver.signal(Signal::TERM);
        let profile = self.profile.path().display().to_string();
        for pid in processes_with(&profile) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("started successfully on port ")?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// Ids of the processes that have `text` in their command lines.
fn processes_with(text: &str) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// The mean of a picture's values.
pub fn brightness(picture: &[u8]) -> f64 {
    picture.iter().map(|value| f64::from(*value)).sum::<f64>() / picture.len() as f64
}

/// The mean difference of two pictures' values.
///
/// # Panics
/// When they have not the same size.
pub fn difference(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    let sum: f64 = one.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / one.len() as f64
}
