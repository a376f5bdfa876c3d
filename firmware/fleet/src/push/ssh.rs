//! A conversation with a machine: the system's own ssh, and at its other end `agent.sh`.
//!
//! Everything is bounded: how long an answer may take, how long a line and how large a file may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{
    decide::{Found, manifest},
    wire::{Frame, Greeting, archive, frame, greeting},
};
use crate::render::Rendered;

const AGENT: &str = include_str!("agent.sh");
/// No line of an answer is longer.
const MAX_LINE: u64 = 4096;
/// No file is larger.
const MAX_FILE: u64 = 1 << 20;
/// Lines that a machine may say before the agent does.
const MAX_NOISE: usize = 200;
/// To connect and log in. What does not answer at all, ssh gives up earlier; this is for a machine
/// that is busy.
const CONNECT: Duration = Duration::from_secs(60);
/// For one answer; a service may take its time to start.
const ANSWER: Duration = Duration::from_secs(180);
/// Besides a machine's patience: to look, send, reload, and keep or go back. After that, files that are
/// still on trial go back by themselves.
const WORK: Duration = Duration::from_secs(900);

/// How ssh is called, besides what the user's own configuration says.
#[derive(Debug, Clone, Default)]
pub struct SshOptions {
    /// `-F`: another configuration file.
    pub config: Option<OsString>,
    /// `-o`: further options.
    pub options: Vec<String>,
}

impl SshOptions {
    /// ssh, so far; what follows is `-T`, the host and what to run there.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        // ssh takes the first value that it finds: the operator's come before ours.
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        for option in
            ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3"]
        {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// What went wrong in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There was no conversation.
    #[error("{0}")]
    Unreachable(String),
    /// It broke off.
    #[error("{0}")]
    CutOff(String),
    /// The machine could not do as told, and all is as it was.
    #[error("{0}")]
    Unchanged(String),
    /// The machine could not do as told.
    #[error("{0}")]
    Failed(String),
}

/// An open conversation.
#[derive(Debug)]
pub struct Session {
    // Killed when it is dropped; then the agent hears that we are gone.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    errors: Arc<Mutex<String>>,
    state: String,
    revision: Option<String>,
    trial: Option<String>,
}

impl Session {
    /// Connects to a machine, and starts the agent there; a trial may take `patience`.
    ///
    /// # Errors
    /// [`Fault::Unreachable`], with what ssh said.
    pub async fn open(
        host: &str,
        sudo: bool,
        state: &str,
        options: &SshOptions,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let mut command = options.command();
        let sudo = if sudo { "sudo -n " } else { "" };
        let limit = WORK.saturating_add(patience).as_secs();
        let agent = format!("exec {sudo}sh -c '{AGENT}' backrow-agent {state} {limit}");
        command.args(["-T", "--", host]).arg(agent);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let unreachable = |error: std::io::Error| Fault::Unreachable(format!("ssh: {error}"));
        let mut child = command.kill_on_drop(true).spawn().map_err(unreachable)?;
        let missing = || Fault::Unreachable("ssh has no streams".to_owned());
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let errors = Arc::new(Mutex::new(String::new()));
        if let Some(from) = child.stderr.take() {
            tokio::spawn(gather(from, errors.clone()));
        }
        let mut session = Self {
            _child: child,
            input: input.ok_or_else(missing)?,
            output: BufReader::new(output.ok_or_else(missing)?),
            errors,
            state: state.to_owned(),
            revision: None,
            trial: None,
        };
        match timeout(CONNECT, session.greet()).await {
            Ok(result) => result.map(|()| session),
            Err(_) => Err(Fault::Unreachable(format!("no answer within {} s", CONNECT.as_secs()))),
        }
    }

    async fn greet(&mut self) -> Result<(), Fault> {
        for _ in 0..MAX_NOISE {
            let line = match self.line().await {
                Ok(line) => line,
                Err(Fault::CutOff(why)) => return Err(Fault::Unreachable(why)),
                Err(other) => return Err(other),
            };
            match greeting(&line) {
                Some(Ok(Greeting { revision, trial })) => {
                    (self.revision, self.trial) = (revision, trial);
                    return Ok(());
                }
                Some(Err(why)) => return Err(Fault::Unreachable(why)),
                None => {}
            }
        }
        Err(Fault::Unreachable("it says too much, and not what was asked".to_owned()))
    }

    async fn line(&mut self) -> Result<String, Fault> {
        let mut line = Vec::new();
        let read = (&mut self.output).take(MAX_LINE).read_until(b'\n', &mut line).await;
        match read {
            Ok(read) if read > 0 && line.ends_with(b"\n") => {
                Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
            }
            _ => Err(self.gone().await),
        }
    }

    /// Why the conversation broke off, as ssh says it.
    async fn gone(&mut self) -> Fault {
        // What ssh says on its way out comes a moment later.
        let _ = timeout(Duration::from_secs(2), self._child.wait()).await;
        tokio::task::yield_now().await;
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = errors.lines().rev().find(|line| !line.trim().is_empty()).map(str::trim);
        Fault::CutOff(
            last.unwrap_or("the connection is gone").trim_start_matches("ssh: ").to_owned(),
        )
    }

    async fn order(
        &mut self,
        order: &str,
        body: &[u8],
    ) -> Result<BTreeMap<String, Option<Vec<u8>>>, Fault> {
        let exchange = async {
            let sent = async {
                self.input.write_all(order.as_bytes()).await?;
                self.input.write_all(b"\n").await?;
                self.input.write_all(body).await?;
                self.input.flush().await
            };
            if sent.await.is_err() {
                return Err(self.gone().await);
            }
            let mut files = BTreeMap::new();
            loop {
                let line = self.line().await?;
                match frame(&line) {
                    Some(Frame::Ok) => return Ok(files),
                    Some(Frame::Failed(why)) => return Err(Fault::Failed(why)),
                    Some(Frame::Unchanged(why)) => return Err(Fault::Unchanged(why)),
                    Some(Frame::None(path)) => {
                        files.insert(path, None);
                    }
                    Some(Frame::File(path, size)) if size <= MAX_FILE => {
                        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
                        if self.output.read_exact(&mut content).await.is_err() {
                            return Err(self.gone().await);
                        }
                        files.insert(path, Some(content));
                    }
                    Some(Frame::File(path, _)) => {
                        return Err(Fault::CutOff(format!("{path} is too large to be ours")));
                    }
                    None => return Err(Fault::CutOff("it says what nobody asked".to_owned())),
                }
            }
        };
        match timeout(ANSWER, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Fault::CutOff(format!("no answer within {} s", ANSWER.as_secs()))),
        }
    }

    /// What is on the machine, of what was pushed last and of what is to be.
    ///
    /// # Errors
    /// If the conversation breaks off.
    pub async fn look(&mut self, wanted: &Rendered) -> Result<Found, Fault> {
        let list = format!("{}/now/manifest", self.state);
        let mut views: Vec<&str> = wanted.files.iter().map(|file| file.view.as_str()).collect();
        views.push(&list);
        let mut files = self.order(&format!("look {}", views.join(" ")), &[]).await?;
        let pushed = files.remove(&list).flatten().unwrap_or_default();
        let manifest = manifest(&String::from_utf8_lossy(&pushed));
        let more: Vec<&str> = manifest
            .iter()
            .map(|entry| entry.view.as_str())
            .filter(|view| !files.contains_key(*view))
            .collect();
        if !more.is_empty() {
            let more = self.order(&format!("look {}", more.join(" ")), &[]).await?;
            files.extend(more);
        }
        Ok(Found { revision: self.revision.clone(), trial: self.trial.clone(), manifest, files })
    }

    /// Brings the files over, and puts them in their places, on trial.
    ///
    /// # Errors
    /// [`Fault::Unchanged`] if all is as before; [`Fault::Failed`] if the machine has to go back.
    pub async fn send(&mut self, wanted: &Rendered, found: &Found) -> Result<(), Fault> {
        let archive =
            archive(wanted, found).map_err(|error| Fault::Unchanged(error.to_string()))?;
        let put = self.order(&format!("put {}", archive.len()), &archive).await;
        put.map_err(|fault| match fault {
            Fault::Failed(why) => Fault::Unchanged(why),
            other => other,
        })?;
        let swapped = self.order("swap", &[]).await;
        if !matches!(swapped, Err(Fault::Unchanged(_))) {
            self.trial = Some(wanted.revision.to_string());
            self.revision.clone_from(&self.trial);
        }
        swapped.map(drop)
    }

    /// The trial went well.
    ///
    /// # Errors
    /// If it could not be written down, or the conversation breaks off.
    pub async fn keep(&mut self) -> Result<(), Fault> {
        self.order("keep", &[]).await?;
        self.trial = None;
        Ok(())
    }

    /// Puts back what was there before. Then the conversation is as if it were new.
    ///
    /// # Errors
    /// If the machine could not, or the conversation breaks off.
    pub async fn back(&mut self) -> Result<(), Fault> {
        self.order("back", &[]).await?;
        self.trial = None;
        let file = format!("{}/now/revision", self.state);
        let mut files = self.order(&format!("look {file}"), &[]).await?;
        let text = files.remove(&file).flatten();
        self.revision = text.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        Ok(())
    }

    /// Whether systemd says of each of these units that it is well; if not, what it says.
    ///
    /// # Errors
    /// If one is not, or the conversation breaks off.
    pub async fn active(&mut self, units: &BTreeSet<String>) -> Result<(), Fault> {
        for unit in units {
            self.order(&format!("active {unit}"), &[]).await.map_err(|fault| match fault {
                Fault::Failed(why) => Fault::Failed(format!("{unit} is {why}")),
                other => other,
            })?;
        }
        Ok(())
    }

    /// The revision that the machine has, as far as is known.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }
}

/// Keeps the end of what ssh says.
async fn gather(from: tokio::process::ChildStderr, to: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(from.take(1 << 20)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut text = to.lock().unwrap_or_else(PoisonError::into_inner);
        if text.len() > 1 << 16 {
            text.clear();
        }
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_can_travel() {
        // In single quotes.
        assert!(!AGENT.contains('\''));
        // As a command, of which dropbear, on the box, takes 9000 bytes (MAX_CMD_LEN).
        assert!(AGENT.len() < 8500, "{} bytes", AGENT.len());
    }
}
