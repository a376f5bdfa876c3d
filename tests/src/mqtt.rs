//! A subscriber that keeps everything a broker sends, through mosquitto's own client.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::broker::Broker;
use crate::process::{Launch, Process};
use crate::until;

/// One message as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Whether it was delivered because the broker had kept it.
    pub retained: bool,
    /// Its body.
    pub payload: Vec<u8>,
}

impl Message {
    /// The body as JSON, if it is that.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.payload).ok()
    }
}

/// A client subscribed to everything under `backrow/`.
#[derive(Debug)]
pub struct Subscriber {
    process: Process,
    _directory: TempDir,
}

impl Subscriber {
    /// Connects to `broker`, and waits until the subscription is in force.
    ///
    /// # Panics
    /// When `mosquitto_sub` cannot subscribe.
    pub async fn start(broker: &Broker) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = broker.address();
        // -d prints the protocol's steps, so that we see the subscription acknowledged; the
        // body comes as hexadecimal digits, since a preview is a JPEG.
        let launch = Launch::new("stdbuf").killed().args([
            // Into a file, it would keep its words to itself by the block.
            "-oL".to_owned(),
            "mosquitto_sub".to_owned(),
            "-d".to_owned(),
            "-h".to_owned(),
            address.ip().to_string(),
            "-p".to_owned(),
            address.port().to_string(),
            "-q".to_owned(),
            "1".to_owned(),
            "-t".to_owned(),
            "backrow/#".to_owned(),
            "-F".to_owned(),
            "MESSAGE %t %r %x".to_owned(),
        ]);
        let process = Process::start("mosquitto_sub", launch, &directory.path().join("log"));
        until(Duration::from_secs(60), "the subscription", async || {
            process.log().contains("Subscribed").then_some(())
        })
        .await;
        Self { process, _directory: directory }
    }

    /// All messages so far, in order.
    pub fn messages(&self) -> Vec<Message> {
        let log = self.process.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().filter_map(parse).collect()
    }

    /// The newest message on each topic.
    pub fn newest(&self) -> BTreeMap<String, Message> {
        self.messages().into_iter().map(|message| (message.topic.clone(), message)).collect()
    }

    /// The newest JSON body on `topic`.
    pub fn json(&self, topic: &str) -> Option<Value> {
        self.newest().get(topic)?.json()
    }

    /// Waits until the newest JSON body on `topic` fits, and returns it.
    ///
    /// # Panics
    /// At the deadline; the message says what was seen last.
    pub async fn wait(
        &self,
        deadline: Duration,
        topic: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("a fitting message on {topic}");
        until(deadline, &what, async || self.json(topic).filter(|value| fits(value))).await
    }

    /// Waits until any message ever seen on `topic` fits, and returns it.
    ///
    /// # Panics
    /// At the deadline.
    pub async fn seen(
        &self,
        deadline: Duration,
        topic: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let what = format!("a fitting message, at any time, on {topic}");
        until(deadline, &what, async || {
            self.messages()
                .iter()
                .filter(|message| message.topic == topic)
                .filter_map(Message::json)
                .find(|value| fits(value))
        })
        .await
    }
}

fn parse(line: &str) -> Option<Message> {
    let mut fields = line.strip_prefix("MESSAGE ")?.splitn(3, ' ');
    let topic = fields.next()?.to_owned();
    let retained = fields.next()? == "1";
    let hex = fields.next()?.as_bytes();
    let payload = hex
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<_>>()?;
    Some(Message { topic, retained, payload })
}
