//! One child process: its start, its streams, its end.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use super::WorkerSpec;
use crate::parent::PARENT_VARIABLE;

/// Bytes of one line of stderr that are logged; the rest of the line is passed over.
const MAX_LINE: usize = 2000;

/// The streams of a worker.
#[derive(Debug)]
pub struct WorkerIo {
    /// Its input.
    pub stdin: ChildStdin,
    /// Its output.
    pub stdout: ChildStdout,
    /// Its log.
    pub stderr: WorkerStderr,
    /// Its process id.
    pub pid: u32,
}

/// A worker's stderr. Who wants it takes it before the first `.await`; what is not taken by then is
/// logged line by line, so that the worker never waits for a reader.
#[derive(Debug, Clone)]
pub struct WorkerStderr {
    pipe: Arc<Mutex<Option<ChildStderr>>>,
}

impl WorkerStderr {
    /// The pipe itself. `None` when it was taken before, or is being logged.
    pub fn take(&mut self) -> Option<ChildStderr> {
        self.take_pipe()
    }

    fn take_pipe(&self) -> Option<ChildStderr> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Begins to log what comes, unless somebody has taken it.
    pub(super) fn log_if_left(&self, component: &str) {
        if let Some(pipe) = self.take_pipe() {
            tokio::spawn(log_lines(component.to_owned(), pipe));
        }
    }
}

async fn log_lines(component: String, pipe: ChildStderr) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        let (used, ended) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(bytes) => {
                let end = bytes.iter().position(|b| *b == b'\n');
                let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
                let room = MAX_LINE.saturating_sub(line.len());
                line.extend(part.iter().take(room));
                (end.map_or(bytes.len(), |end| end + 1), end.is_some())
            }
        };
        reader.consume(used);
        if ended {
            tracing::info!(component, "{}", String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
    if !line.is_empty() {
        tracing::info!(component, "{}", String::from_utf8_lossy(&line).trim_end());
    }
}

/// A running worker; killed when dropped.
pub(super) struct Process {
    child: Child,
}

/// Starts the worker.
pub(super) fn spawn(spec: &WorkerSpec) -> io::Result<(Process, WorkerIo)> {
    let mut child = Command::new(&spec.program)
        .args(&spec.args)
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C at a terminal is for the daemon, which ends its workers itself.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let pid = child.id();
    match (stdin, stdout, stderr, pid) {
        (Some(stdin), Some(stdout), pipe @ Some(_), Some(pid)) => {
            let stderr = WorkerStderr { pipe: Arc::new(Mutex::new(pipe)) };
            Ok((Process { child }, WorkerIo { stdin, stdout, stderr, pid }))
        }
        _ => Err(io::Error::other("it has no streams")),
    }
}

impl Process {
    /// Waits until it is gone; says how it went, to follow "the … worker". Cancel-safe.
    pub(super) async fn wait(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => how(status),
            Err(error) => format!("cannot be waited for: {error}"),
        }
    }

    /// Kills it and whatever it started. It is still to be waited for.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Err(error) = self.child.start_kill() {
            tracing::debug!("kill: {error}");
        }
    }

    /// Asks it to end.
    pub(super) fn end(&self) {
        self.signal(Signal::TERM);
    }

    /// Signals its process group. Only while it is not waited for: its id cannot be another's then.
    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw)
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!("signal {signal:?}: {error}");
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".to_owned(),
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "is gone".to_owned(),
    }
}
