//! A small client of QEMU's machine protocol (QMP): commands in turn, events kept.
//!
//! QMP is one JSON object a line, each way. The answer to a command is the next line that has
//! `return` or `error`; a line with `event` may come at any time.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::patience;
use crate::until;

/// Longest time for QEMU to answer a command.
const ANSWER: Duration = Duration::from_secs(60);

/// A line of QMP that matters.
#[derive(Debug, Clone, PartialEq)]
enum Line {
    /// The greeting.
    Greeting,
    /// What a command gave, or why it failed.
    Answer(Result<Value, String>),
    /// Something happened.
    Event(Event),
}

/// Something that QEMU told of its own accord.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `RESET`, `SHUTDOWN`, `WATCHDOG`, …
    pub name: String,
    /// What belongs to it.
    pub data: Value,
}

/// A connection to one QEMU.
#[derive(Debug)]
pub struct Qmp {
    writer: OwnedWriteHalf,
    answers: UnboundedReceiver<Result<Value, String>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Qmp {
    /// Connects to the socket, once it is there, and begins the talk.
    ///
    /// # Panics
    /// When QEMU does not answer.
    pub async fn connect(socket: &Path) -> Self {
        let stream = until(patience(60), "QEMU's QMP socket", async || {
            UnixStream::connect(socket).await.ok()
        })
        .await;
        let (reader, writer) = stream.into_split();
        let events = Arc::default();
        let (sender, answers) = unbounded_channel();
        tokio::spawn(read(BufReader::new(reader), sender, Arc::clone(&events)));
        let mut qmp = Self { writer, answers, events };
        qmp.run("qmp_capabilities", json!({})).await;
        qmp
    }

    /// Runs a command, and returns what it gave.
    ///
    /// # Errors
    /// QEMU's own words, or that it has gone.
    pub async fn try_run(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.writer.write_all(line.as_bytes()).await.map_err(|error| error.to_string())?;
        match timeout(ANSWER, self.answers.recv()).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err("QEMU has gone".to_owned()),
            Err(_) => Err(format!("no answer within {ANSWER:?}")),
        }
    }

    /// Runs a command, and returns what it gave.
    ///
    /// # Panics
    /// When QEMU refuses it.
    pub async fn run(&mut self, command: &str, arguments: Value) -> Value {
        let answer = self.try_run(command, arguments).await;
        answer.unwrap_or_else(|error| panic!("QMP command {command}: {error}"))
    }

    /// Runs a line of QEMU's human monitor, for what QMP has no command for.
    ///
    /// # Panics
    /// When QEMU refuses it.
    pub async fn human(&mut self, line: &str) -> String {
        let answer = self.run("human-monitor-command", json!({ "command-line": line })).await;
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// All events so far, in order.
    ///
    /// # Panics
    /// When another test thread panicked while it held them.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// How many events of this name there were.
    pub fn count(&self, name: &str) -> usize {
        self.events().iter().filter(|event| event.name == name).count()
    }
}

async fn read(
    reader: BufReader<OwnedReadHalf>,
    answers: UnboundedSender<Result<Value, String>>,
    events: Arc<Mutex<Vec<Event>>>,
) {
    let mut lines = reader.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match parse(&line) {
            Some(Line::Answer(answer)) => drop(answers.send(answer)),
            Some(Line::Event(event)) => events.lock().unwrap().push(event),
            Some(Line::Greeting) | None => {}
        }
    }
}

fn parse(line: &str) -> Option<Line> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value.get("QMP").is_some() {
        return Some(Line::Greeting);
    }
    if let Some(answer) = value.get("return") {
        return Some(Line::Answer(Ok(answer.clone())));
    }
    if let Some(error) = value.get("error") {
        let words = error["desc"].as_str().unwrap_or("an error without words");
        return Some(Line::Answer(Err(words.to_owned())));
    }
    let name = value.get("event")?.as_str()?.to_owned();
    Some(Line::Event(Event { name, data: value["data"].clone() }))
}

/// The host's ports of `hostfwd` rules, by the guest's: from the table of `info usernet`.
///
/// Its lines are `TCP[HOST_FORWARD] fd source port destination port …`.
pub(super) fn forwards(usernet: &str) -> Vec<(u16, u16)> {
    let port = |line: &str| {
        let mut fields = line.split_whitespace();
        (fields.next()? == "TCP[HOST_FORWARD]").then_some(())?;
        let host = fields.nth(2)?.parse().ok()?;
        Some((fields.nth(1)?.parse().ok()?, host))
    };
    usernet.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_greeting_answers_and_events() {
        assert_eq!(parse(r#"{"QMP": {"version": {}}}"#), Some(Line::Greeting));
        assert_eq!(parse(r#"{"return": {}}"#), Some(Line::Answer(Ok(json!({})))));
        assert_eq!(
            parse(r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#),
            Some(Line::Answer(Err("no such thing".into())))
        );
        let event = r#"{"timestamp": {}, "event": "RESET", "data": {"guest": true}}"#;
        let data = json!({ "guest": true });
        assert_eq!(parse(event), Some(Line::Event(Event { name: "RESET".into(), data })));
        assert_eq!(parse("not json"), None);
    }

    #[test]
    fn finds_the_ports_of_forwards() {
        let table = "Hub -1 (net0):\r\n  \
            Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
            TCP[HOST_FORWARD]  13       127.0.0.1 38123       10.0.2.15    22     0     0\r\n  \
            TCP[ESTABLISHED]   14       127.0.0.1 38124       10.0.2.15    80     0     0\r\n  \
            TCP[HOST_FORWARD]  15       127.0.0.1 40001       10.0.2.15    80     0     0\r\n";
        assert_eq!(forwards(table), [(22, 38123), (80, 40001)]);
    }
}
