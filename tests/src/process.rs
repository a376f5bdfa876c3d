//! A child process under test: its log kept, its end awaited, itself stopped by pid on drop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::until;

/// How long a process may take to stop after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(30);
/// Lines of a log that are shown when a test fails.
const TAIL: usize = 60;

/// What to start: a program, its arguments, and where its streams go.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<String>,
    stdin: Stdio,
    stdout: Option<File>,
    environment: Vec<(String, String)>,
    last: Signal,
}

impl Launch {
    /// A program with nothing on its standard input, and both outputs in the log.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            stdin: Stdio::null(),
            stdout: None,
            environment: Vec::new(),
            last: Signal::TERM,
        }
    }

    /// A program that is killed when it is not wanted any more, rather than asked to end: somebody
    /// else's, that may hang over it. mosquitto_sub disconnects within its handler of SIGTERM, where it
    /// waits for ever for a lock that it holds.
    #[must_use]
    pub fn killed(mut self) -> Self {
        self.last = Signal::KILL;
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sends standard output to a file rather than to the log.
    #[must_use]
    pub fn stdout(mut self, file: File) -> Self {
        self.stdout = Some(file);
        self
    }

    /// Takes standard input from a file.
    #[must_use]
    pub fn stdin(mut self, file: File) -> Self {
        self.stdin = file.into();
        self
    }

    /// Sets an environment variable of the child.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    fn command(self, log: &Path) -> Command {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(self.program)
            .args(self.args)
            .envs(self.environment)
            .stdin(self.stdin)
            .stdout(match self.stdout {
                Some(file) => Stdio::from(file),
                None => log.try_clone().unwrap().into(),
            })
            .stderr(log);
        command
    }
}

type Ended = Arc<(Mutex<Option<ExitStatus>>, Condvar)>;

/// A running child. It dies with the test, however the test ends: `setpriv` asks the kernel
/// for that before it becomes the program.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    log: PathBuf,
    ended: Ended,
    /// What ends it when it is dropped.
    last: Signal,
}

impl Process {
    /// Starts `launch`; `name` is used in messages and `log` is appended to.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(name: &str, launch: Launch, log: &Path) -> Self {
        let ended: Ended = Arc::default();
        let (started, start) = std::sync::mpsc::channel();
        let last = launch.last;
        let mut command = launch.command(log);
        let end = Arc::clone(&ended);
        // The thread that starts a child must live as long as the child: the death signal
        // follows the thread, not the process.
        thread::spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return started.send(Err(error)).unwrap_or_default(),
            };
            let _ = started.send(Ok(Pid::from_child(&child)));
            let status = child.wait().unwrap();
            *end.0.lock().unwrap() = Some(status);
            end.1.notify_all();
        });
        let pid = match start.recv().unwrap() {
            Ok(pid) => pid,
            Err(error) => panic!("{name} could not be started (is setpriv installed?): {error}"),
        };
        Self { name: name.into(), pid, log: log.into(), ended, last }
    }

    /// Process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.0.lock().unwrap()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.status().is_none()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |error| format!("(no log: {error})"),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    /// The last lines of the log.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        if self.is_running() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it still runs at the deadline.
    pub async fn exit(&self, deadline: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        until(deadline, &what, async || self.status()).await
    }

    /// Stops it with SIGTERM, and waits.
    ///
    /// # Panics
    /// When it ignores the signal.
    pub async fn stop(&self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit(GRACE).await
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub async fn kill(&self) {
        self.signal(Signal::KILL);
        self.exit(GRACE).await;
    }

    /// Ids of its child processes whose command line has `word` among its arguments.
    pub fn workers(&self, word: &str) -> Vec<Pid> {
        children(self.pid)
            .into_iter()
            .filter(|pid| arguments(*pid).iter().any(|argument| argument == word))
            .collect()
    }

    /// Waits for exactly one worker with `word` among its arguments, other than `not`.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn worker(&self, word: &str, not: Option<Pid>) -> Pid {
        let what = format!("{} to run one `{word}` worker", self.name);
        until(Duration::from_secs(60), &what, async || match self.workers(word)[..] {
            [pid] if Some(pid) != not => Some(pid),
            _ => None,
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.last);
        // A stopped process takes its SIGTERM only once it runs again.
        self.signal(Signal::CONT);
        let (ended, change) = &*self.ended;
        let (ended, _) = change
            .wait_timeout_while(ended.lock().unwrap(), GRACE, |ended| ended.is_none())
            .unwrap();
        let stubborn = ended.is_none();
        drop(ended);
        if stubborn {
            self.signal(Signal::KILL);
        }
        if thread::panicking() {
            eprintln!("--- end of the log of {}:\n{}\n---", self.name, self.tail());
        } else if stubborn {
            let (name, last) = (&self.name, self.last);
            panic!("{name} did not stop within {GRACE:?} of {last:?}:\n{}", self.tail());
        }
    }
}

/// The built binary `name`, which lies beside the running executable (or one directory up, for
/// a test).
///
/// # Panics
/// When it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let directory = here.parent().unwrap();
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap() } else { directory };
    let path = directory.join(name);
    assert!(
        path.is_file(),
        "{} is not built: run `make test`, or `cargo build` first",
        path.display()
    );
    path
}

/// Ids of the children of `parent`.
pub fn children(parent: Pid) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent.as_raw_nonzero().get()))
        .filter_map(Pid::from_raw)
        .collect()
}

/// Fourth field of `/proc/pid/stat` (proc(5)); the second is a name in brackets, which may hold
/// anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // A zombie is no worker any more.
    (fields.next()? != "Z").then_some(())?;
    fields.next()?.parse().ok()
}

fn arguments(pid: Pid) -> Vec<String> {
    let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    std::fs::read(path)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}
