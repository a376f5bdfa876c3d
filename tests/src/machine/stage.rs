//! A venue: a box, and on the host an encoder and a broker that it talks to.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::patience;
use super::running::Machine;
use super::setup::Setup;
use super::site::Site;
use crate::mqtt::Subscriber;
use crate::{Broker, EncoderConfig, EncoderProcess, until};

/// The room that is streamed.
pub const ROOM: &str = "demo";

/// A box in its venue.
#[derive(Debug)]
pub struct Stage {
    /// The broker.
    pub broker: Broker,
    /// Everything that was said to it.
    pub told: Subscriber,
    /// The encoder.
    pub encoder: EncoderProcess,
    /// The box.
    pub machine: Machine,
}

impl Stage {
    /// A box, switched off, that will stream to the encoder here and can be reached by ssh.
    ///
    /// # Panics
    /// When a part of it does not start.
    pub async fn set(setup: Setup, site: impl FnOnce(Site) -> Site) -> Self {
        let broker = Broker::start().await;
        let told = Subscriber::start(&broker).await;
        let encoder = EncoderProcess::start(EncoderConfig::light(ROOM)).await;
        let text = site(Site::new(&encoder, &broker));
        let machine = Machine::new(setup, |key| Some(text.key(key).to_toml())).await;
        // Either way lets a key in; both are used here.
        let keys = format!("{}\n", machine.key());
        machine.disk().write_config(&[("authorized_keys", keys.as_bytes())]).await;
        Self { broker, told, encoder, machine }
    }

    /// Its `site.toml` as it would be written now, with a key of the machine's.
    pub fn site(&self) -> Site {
        Site::new(&self.encoder, &self.broker).key(self.machine.key())
    }

    /// Waits until the encoder has confirmed segments of some session; that session.
    ///
    /// # Panics
    /// When none come.
    pub async fn confirmed(&self) -> String {
        self.confirmed_other_than(&[]).await
    }

    /// Waits until the encoder has confirmed segments of a session that is none of these.
    ///
    /// # Panics
    /// When none come.
    pub async fn confirmed_other_than(&self, known: &[&str]) -> String {
        until(patience(420), "a segment to be confirmed", async || {
            assert!(self.machine.is_on(), "QEMU has ended");
            let sessions = self.sessions().await;
            let new = |(name, count): &(String, u64)| *count > 0 && !known.contains(&name.as_str());
            sessions.into_iter().find(new).map(|(name, _)| name)
        })
        .await
    }

    /// Waits until the session has some more confirmed segments than now.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn goes_on(&self, session: &str) {
        self.grows(session, 3, patience(180)).await;
    }

    /// Waits until the session has `more` more segments than now.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn grows(&self, session: &str, more: u64, deadline: Duration) {
        let wanted = self.segments(session).await + more;
        until(deadline, "the session to go on", async || {
            (self.segments(session).await >= wanted).then_some(())
        })
        .await;
    }

    /// How many segments of a session the encoder has.
    pub async fn segments(&self, session: &str) -> u64 {
        let sessions = self.sessions().await;
        sessions.into_iter().find(|(name, _)| name == session).map_or(0, |(_, count)| count)
    }

    /// All sessions and their whole segments.
    pub async fn sessions(&self) -> Vec<(String, u64)> {
        let archive = self.encoder.archive(ROOM).await.unwrap_or_default();
        let sessions = archive["sessions"].as_array().cloned().unwrap_or_default();
        let session = |it: &Value| {
            Some((it["session"].as_str()?.to_owned(), it["segments"].as_u64().unwrap_or(0)))
        };
        sessions.iter().filter_map(session).collect()
    }

    /// The recording of a session.
    pub async fn recording(&self, session: &str) -> PathBuf {
        self.encoder.save_session(ROOM, session).await
    }

    /// Waits until the box says that an update was taken back, and returns why.
    ///
    /// # Panics
    /// When it does not.
    pub async fn taken_back(&self, version: &str) -> String {
        let said = self
            .component(300, "box.update", |it| {
                it["mood"] == "sad" && it["reason"].as_str().is_some_and(|it| it.contains(version))
            })
            .await;
        said["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the box says this of a component, and returns what it said.
    ///
    /// # Panics
    /// When it does not.
    pub async fn component(
        &self,
        seconds: u64,
        name: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let topic = format!("backrow/box/component/{name}");
        self.told.wait(patience(seconds), &topic, fits).await
    }

    /// Waits for an event of a component whose message has these words.
    ///
    /// # Panics
    /// When there is none.
    pub async fn event(&self, seconds: u64, component: &str, words: &str) -> String {
        let fits = |event: &Value| {
            event["component"] == component
                && event["message"].as_str().is_some_and(|text| text.contains(words))
        };
        let event = self.told.seen(patience(seconds), "backrow/box/event", fits).await;
        event["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the box's life is this (`ready`, `lost`, …).
    ///
    /// # Panics
    /// When it is not.
    pub async fn state(&self, seconds: u64, state: &str) {
        let topic = "backrow/box/state";
        self.told.wait(patience(seconds), topic, |it| it["state"] == state).await;
    }

    /// Switches the box on, waits until it streams and ssh answers; the session.
    ///
    /// # Panics
    /// When it does not.
    pub async fn up(&mut self) -> String {
        let known = self.sessions().await;
        let known: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
        self.machine.start().await;
        let session = self.confirmed_other_than(&known).await;
        self.machine.up().await;
        session
    }
}

/// Prints how long something took, for the table in the report.
#[derive(Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Says what has been reached.
    pub fn lap(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.0.elapsed().as_secs_f32());
    }
}
