//! `site.toml` for a box in an emulated machine: a small picture, since the processor is emulated.

use std::fmt::Write as _;

use super::running::HOST;
use crate::{Broker, EncoderProcess};

/// What goes into the file.
#[derive(Debug, Clone)]
pub struct Site {
    /// The room.
    pub room: String,
    /// The box's name in MQTT.
    pub device: String,
    /// `[encoder] url`.
    pub encoder: String,
    /// `[encoder] token`.
    pub token: String,
    /// `[mqtt] url`.
    pub broker: Option<String>,
    /// The lines of `[source]`.
    pub source: String,
    /// `[audio] device`.
    pub audio: String,
    /// Keys that may log in.
    pub keys: Vec<String>,
    /// Whole tables to add, such as `[network]`.
    pub more: String,
    /// Lines to add to `[encoder]`, such as `ca`.
    pub encoder_more: String,
    /// Lines to add to `[mqtt]`.
    pub broker_more: String,
}

impl Site {
    /// The test picture to the first room of `encoder`, told to `broker`.
    pub fn new(encoder: &EncoderProcess, broker: &Broker) -> Self {
        Self {
            room: encoder.config().rooms[0].name.clone(),
            device: "box".into(),
            encoder: format!("http://{HOST}:{}", encoder.http().port()),
            token: encoder.token().to_owned(),
            broker: Some(format!("mqtt://{HOST}:{}", broker.address().port())),
            source: "kind = \"test\"".into(),
            audio: "none".into(),
            keys: Vec::new(),
            more: String::new(),
            encoder_more: String::new(),
            broker_more: String::new(),
        }
    }

    /// With another source.
    #[must_use]
    pub fn source(mut self, lines: &str) -> Self {
        self.source = lines.into();
        self
    }

    /// With a key that may log in.
    #[must_use]
    pub fn key(mut self, public: &str) -> Self {
        self.keys.push(public.into());
        self
    }

    /// With further tables.
    #[must_use]
    pub fn more(mut self, tables: &str) -> Self {
        let _ = writeln!(self.more, "{tables}");
        self
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "room = {:?}\ndevice = {:?}\n\n[encoder]\nurl = {:?}\ntoken = {:?}\n{}\n\
             [source]\n{}\n\n\
             [video]\nwidth = 320\nheight = 180\nframerate = 5\nbitrate = \"200k\"\n\n\
             [audio]\ndevice = {:?}\n",
            self.room,
            self.device,
            self.encoder,
            self.token,
            self.encoder_more,
            self.source,
            self.audio,
        );
        if let Some(url) = &self.broker {
            let _ = writeln!(text, "\n[mqtt]\nurl = {url:?}\n{}", self.broker_more);
        }
        if !self.keys.is_empty() {
            let _ = writeln!(text, "\n[ssh]\nkeys = {:?}", self.keys);
        }
        if !self.more.is_empty() {
            let _ = writeln!(text, "\n{}", self.more);
        }
        text
    }
}
