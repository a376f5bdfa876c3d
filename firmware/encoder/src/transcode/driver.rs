//! The daemon's side: keeps one room's worker running, feeds it, and hands on what it makes.
//!
//! ```text
//! room ─▶ Feed (bounded, never waits) ─▶ worker's stdin
//! room ◀─ TranscodeEvent ◀─ worker's stdout (frames) and stderr (moods, which go to the board too)
//! ```
//! On the board the worker is `{room}.transcode`, and each of its streams `{room}.{stream}`.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use flv::Tag;
use protocol::{mood::Mood, names::RoomName, payload::EventKind, topics::ComponentName};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use watchdog::{
    board::Board,
    clock::SharedClock,
    policy::Limits,
    runner::{self, Progress, WorkerIo, WorkerSpec},
};

use super::{
    Kind, Ladder, Stream,
    backlog::{Backlog, Bounds, widen},
    frame,
    report::Report,
};

/// Tags waiting for the worker. A worker that is further behind is better off near live: segments
/// wait for a rung only so long.
const BACKLOG: Bounds = Bounds { bytes: 16 << 20, ms: 4_000 };
/// Events waiting for the room.
const EVENTS: usize = 256;
/// Without a tag for this long the worker is hungry.
const HUNGRY: Duration = Duration::from_secs(2);
/// While the room does not take events the worker is not to blame, and told so this often.
const EXCUSE: Duration = Duration::from_secs(1);
/// Longest line of a worker's report.
const LINE: u64 = 64 << 10;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The room.
    pub room: RoomName,
    /// The program that has the `transcode` command: this one.
    pub program: PathBuf,
    /// What to make.
    pub ladder: Ladder,
    /// More arguments for the worker, for tests.
    pub extra: Vec<String>,
}

impl Options {
    /// A worker for a room.
    pub fn new(room: RoomName, program: impl Into<PathBuf>, ladder: Ladder) -> Self {
        Self { room, program: program.into(), ladder, extra: Vec::new() }
    }
}

/// What comes from the worker.
#[derive(Debug, Clone, PartialEq)]
pub enum TranscodeEvent {
    /// A video tag of a ladder rung, sequence headers included.
    Tag {
        /// The rung's name.
        stream: String,
        /// Decode time, room ms.
        ts_ms: u64,
        /// The tag.
        tag: Tag,
    },
    /// What viewers of a stream need first, from now on.
    Header {
        /// The stream's name.
        stream: String,
        /// The bytes.
        data: Bytes,
    },
    /// A piece of a stream.
    Frame {
        /// The stream's name.
        stream: String,
        /// Presentation time, room ms.
        ts_ms: u64,
        /// Viewers can start here.
        sync: bool,
        /// The bytes.
        data: Bytes,
    },
    /// How a stream is: each second and when it changes.
    Mood {
        /// The stream's name.
        stream: String,
        /// `Sleeping` when it is left out for this source.
        mood: Mood,
        /// Why, in words.
        reason: String,
        /// Frames that came out since the worker started.
        frames: u64,
        /// Frames that did not.
        dropped: u64,
    },
}

struct Shared {
    backlog: Mutex<Backlog>,
    pushed: Notify,
    /// Newest room time written to the worker, ms.
    near: AtomicU64,
}

impl Shared {
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

impl Feed {
    /// Brings a tag of the room, at its room time in ms. Never waits; when the worker is too far
    /// behind, frames are dropped up to a keyframe, and counted.
    pub fn push(&self, room_ms: u64, tag: &Tag) {
        self.0.backlog().push(room_ms, tag);
        self.0.pushed.notify_one();
    }

    /// Frames that no worker got.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.backlog().dropped()
    }
}

/// A worker that is being looked after.
pub struct Running {
    /// The way in.
    pub feed: Feed,
    /// The way out. Held up, it holds up the worker, not the feed.
    pub events: mpsc::Receiver<TranscodeEvent>,
    /// Ends after the token was cancelled, when no process is left.
    pub task: JoinHandle<()>,
}

/// Starts a room's worker and keeps it running until `cancel`. Needs a tokio runtime.
pub fn spawn(
    options: Options,
    board: Board,
    clock: SharedClock,
    cancel: CancellationToken,
) -> Running {
    let shared = Arc::new(Shared {
        backlog: Mutex::new(Backlog::new(BACKLOG)),
        pushed: Notify::new(),
        near: AtomicU64::new(0),
    });
    let (sender, events) = mpsc::channel(EVENTS);
    let name = |part: &str| {
        ComponentName::made_safe(&format!("{}.{part}", options.room)).as_str().to_owned()
    };
    let streams = options.ladder.streams();
    let components: Vec<String> = streams.iter().map(|s| name(&s.name)).collect();
    let component = name("transcode");
    let spec = WorkerSpec::new(component.clone(), options.program)
        .args(["transcode", "--ladder-text"])
        .arg(options.ladder.to_toml())
        .args(options.extra)
        .limits(Limits { product: "frame".into(), ..Limits::default() });
    let attendant = Arc::new(Attendant {
        shared: shared.clone(),
        board: board.clone(),
        component,
        components,
        streams,
        sender,
    });
    let task = tokio::spawn(async move {
        let each = attendant.clone();
        let run = move |io, progress| each.clone().attend(io, progress);
        runner::supervise(spec, board, clock, cancel, run).await;
        attendant.all(Mood::Sleeping, "the worker was stopped");
    });
    Running { feed: Feed(shared), events, task }
}

/// Attends to one worker process after another.
struct Attendant {
    shared: Arc<Shared>,
    board: Board,
    component: String,
    /// The streams' names on the board.
    components: Vec<String>,
    streams: Vec<Stream>,
    sender: mpsc::Sender<TranscodeEvent>,
}

/// Says that the streams are gone, however the attendance ends.
struct Gone(Arc<Attendant>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.all(Mood::Waking, "waits for the worker to start again");
    }
}

impl Attendant {
    fn all(&self, mood: Mood, reason: &str) {
        for component in &self.components {
            self.board.set(component, mood, reason);
        }
    }

    async fn attend(self: Arc<Self>, io: WorkerIo, progress: Progress) {
        let WorkerIo { stdin, stdout, mut stderr, .. } = io;
        self.shared.backlog().restart();
        let _gone = Gone(self.clone());
        let reports = stderr.take();
        tokio::join!(
            self.feed(stdin, &progress),
            async {
                if let Some(why) = self.read(stdout, &progress).await {
                    progress.fault(why);
                }
            },
            async {
                if let Some(reports) = reports {
                    self.listen(reports, &progress).await;
                }
            },
        );
    }

    /// Writes tags to the worker until it does not take them any more.
    async fn feed(&self, mut stdin: ChildStdin, progress: &Progress) {
        let mut bytes = BytesMut::from(&flv::file_header(true, true)[..]);
        let mut fed = false;
        progress.hungry("nothing comes from the room");
        let mut told = 0;
        loop {
            let mut newest = None;
            loop {
                let tags = self.shared.backlog().pop();
                for (room_ms, mut tag) in tags.iter().cloned() {
                    tag.timestamp = room_ms as u32;
                    tag.encode(&mut bytes);
                    newest = Some(room_ms);
                }
                if tags.is_empty() || bytes.len() > 64 << 10 {
                    break;
                }
            }
            if let Some(newest) = newest {
                self.shared.near.store(newest, Ordering::Relaxed);
                if !std::mem::replace(&mut fed, true) {
                    progress.fed();
                }
            }
            if !bytes.is_empty() {
                if stdin.write_all(&bytes).await.is_err() {
                    return;
                }
                bytes.clear();
            }
            let dropped = self.shared.backlog().dropped();
            if dropped > told {
                let message =
                    format!("the worker is behind: {dropped} frames did not reach it so far");
                self.board.event(EventKind::Loss, &self.component, message);
                told = dropped.max(told * 2);
            }
            if newest.is_none() && timeout(HUNGRY, self.shared.pushed.notified()).await.is_err() {
                if std::mem::replace(&mut fed, false) {
                    progress.hungry("nothing comes from the room");
                }
                self.shared.pushed.notified().await;
            }
        }
    }

    /// Reads frames until the worker's output ends; says what was wrong with it, if anything.
    async fn read(&self, mut stdout: ChildStdout, progress: &Progress) -> Option<String> {
        let mut decoder = frame::Decoder::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            let n = stdout.read(&mut piece).await.ok()?;
            if n == 0 {
                return decoder.finish().err().map(|e| e.to_string());
            }
            decoder.push(piece.get(..n).unwrap_or_default());
            loop {
                let frame = match decoder.next_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(error) => return Some(error.to_string()),
                };
                progress.made();
                match self.event(frame) {
                    Ok(event) => self.send(event, progress).await?,
                    Err(why) => return Some(why),
                }
            }
        }
    }

    fn event(&self, frame: frame::Frame) -> Result<TranscodeEvent, String> {
        let number = frame.stream;
        let stream = (self.streams.get(usize::from(number)))
            .ok_or_else(|| format!("worker output: there is no stream {number}"))?;
        let ts_ms = widen(frame.ts_ms, self.shared.near.load(Ordering::Relaxed));
        let name = stream.name.clone();
        if matches!(stream.kind, Kind::Rung { .. }) {
            let bad = |e: String| format!("worker output: stream {name}: {e}");
            let mut parser = flv::Parser::new(flv::Limits::default());
            parser.push(&flv::file_header(false, true));
            parser.push(&frame.data);
            let tag = parser.next_tag().map_err(|e| bad(e.to_string()))?;
            let tag = tag.ok_or_else(|| bad("a frame is no whole tag".into()))?;
            return Ok(TranscodeEvent::Tag { stream: name, ts_ms, tag });
        }
        Ok(if frame.header {
            TranscodeEvent::Header { stream: name, data: frame.data }
        } else {
            let (sync, data) = (frame.sync, frame.data);
            TranscodeEvent::Frame { stream: name, ts_ms, sync, data }
        })
    }

    /// Hands an event on; `None` when nobody takes any.
    async fn send(&self, event: TranscodeEvent, progress: &Progress) -> Option<()> {
        let place = loop {
            match timeout(EXCUSE, self.sender.reserve()).await {
                Ok(place) => break place.ok()?,
                Err(_) => progress.made(),
            }
        };
        place.send(event);
        Some(())
    }

    /// Reads reports until the worker closes its stderr.
    async fn listen(&self, stderr: ChildStderr, progress: &Progress) {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut lines).take(LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            match serde_json::from_slice(&line) {
                Ok(report) => {
                    progress.ready();
                    self.report(report, progress).await;
                }
                Err(_) => {
                    let text = String::from_utf8_lossy(&line);
                    tracing::warn!(component = %self.component, "{}", text.trim_end());
                }
            }
        }
    }

    async fn report(&self, report: Report, progress: &Progress) {
        match report {
            Report::Rendition { name, mood, reason, frames, dropped } => {
                let Some(index) = self.streams.iter().position(|s| s.name == name) else { return };
                if let Some(component) = self.components.get(index) {
                    self.board.set(component, mood, reason.clone());
                }
                let event = TranscodeEvent::Mood { stream: name, mood, reason, frames, dropped };
                let _ = self.send(event, progress).await;
            }
            Report::Log { message } => {
                tracing::warn!(component = %self.component, "{message}");
            }
            Report::Error { message } => progress.fault(message),
        }
    }
}
