//! The spool: every segment on disk, so that nothing is lost when the network is away for hours or
//! the power is cut.
//!
//! ```text
//!  segmenter ──offer──▶ jobs ──▶ keeper (a thread) ──▶ disk
//!      │                            │ stored, dropped
//!      ▼        let_go, confirm     ▼
//!   memory ─────────────────────▶ index ──▶ uplink: backfill
//! ```
//! Live never waits for it: what is made is offered to a queue of a bounded size, and a segment
//! that finds no room there is kept in memory only. [`index`] decides what is dropped and what is
//! sent next, [`disk`] and [`scan`] touch files, on the thread of [`keeper`] only. [`record`] and
//! [`measure`] read what is found.

mod backoff;
pub mod disk;
pub mod index;
mod keeper;
pub mod measure;
pub mod record;
pub mod scan;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flv::segmenter::SegmentEvent;
use jiff::Timestamp;
use protocol::mood::Mood;
use protocol::names::{RoomName, SessionId};
use tokio::sync::{oneshot, watch};
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use self::disk::{Disk, DiskError};
use self::index::{Index, Key};
use self::keeper::Keeper;

/// The component's name on the board and in MQTT.
pub const COMPONENT: &str = "spool";

/// Bytes that may wait for the disk: half a minute at 4 Mbit/s.
const QUEUE: usize = 16 << 20;
/// A disk that has not done one thing for so long hangs.
const HANGS: Duration = Duration::from_secs(5);
/// How long a read may take.
const READ: Duration = Duration::from_secs(20);

/// Where segments are kept, and how much is left free there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory.
    pub root: PathBuf,
    /// Bytes to leave free on its disk.
    pub min_free: u64,
}

/// Why a segment cannot be had from disk.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It says nothing.
    #[error("the disk has not answered for {limit} s", limit = READ.as_secs())]
    Hangs,
}

/// What the keeper is asked to do.
#[derive(Debug)]
enum Job {
    Start(u64, Bytes),
    Data(Bytes),
    End(u64),
    /// The rest of the segment does not come: the queue was full.
    Abandon(u64),
    Read(Key, oneshot::Sender<Result<Bytes, DiskError>>),
    SetAside(Key, String),
    /// There is something to record.
    Record,
    Stop,
}

/// What has been lost by the disk, and how it is.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    lost: u64,
    lost_ms: u64,
    free: Option<u64>,
}

#[derive(Debug)]
struct State {
    index: Index,
    jobs: VecDeque<Job>,
    /// Bytes in `jobs`.
    queued: usize,
    /// The segment that is being made is not written.
    skipping: bool,
    /// Since when the keeper has been at one job.
    busy_since: Option<Duration>,
    /// The board was told that it hangs.
    hangs: bool,
    totals: Totals,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    changed: watch::Sender<()>,
    stopped: watch::Sender<bool>,
    board: Board,
    clock: SharedClock,
}

/// A handle on the spool; clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Shared>);

impl Spool {
    /// Starts the spool for a session that begins.
    ///
    /// # Errors
    /// If its thread cannot be started.
    pub fn start(
        settings: Settings,
        room: RoomName,
        session: SessionId,
        board: Board,
        clock: SharedClock,
    ) -> std::io::Result<Self> {
        board.set(COMPONENT, Mood::Waking, "looking through what is on disk");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                index: Index::new(room.clone(), session),
                jobs: VecDeque::new(),
                queued: 0,
                skipping: true,
                busy_since: None,
                hangs: false,
                totals: Totals::default(),
            }),
            wake: Condvar::new(),
            changed: watch::Sender::new(()),
            stopped: watch::Sender::new(false),
            board,
            clock,
        });
        let keeper = Keeper::new(shared.clone(), &settings, room, session);
        std::thread::Builder::new().name("spool".into()).spawn(move || keeper.run())?;
        Ok(Self(shared))
    }

    /// Takes what the segmenter made, and never waits.
    pub fn offer(&self, event: &SegmentEvent) {
        let now = self.0.clock.monotonic();
        let mut state = self.0.lock();
        match event {
            SegmentEvent::Start { seq, header, .. } => {
                state.skipping = state.queued + header.len() > QUEUE;
                if !state.skipping {
                    state.index.begin(*seq);
                    state.push(Job::Start(*seq, header.clone()));
                }
            }
            SegmentEvent::Data(data) if !state.skipping => {
                if state.queued + data.len() > QUEUE {
                    state.skipping = true;
                    if let Some(seq) = state.index.coming() {
                        state.push(Job::Abandon(seq));
                    }
                } else {
                    state.push(Job::Data(data.clone()));
                }
            }
            SegmentEvent::End { seq, duration_ms } if !state.skipping => {
                state.index.ended(*seq, (*duration_ms).into());
                state.push(Job::End(*seq));
            }
            SegmentEvent::Data(_) | SegmentEvent::End { .. } => {}
        }
        let hangs = state.busy_since.is_some_and(|since| now.saturating_sub(since) > HANGS);
        let tell = hangs && !std::mem::replace(&mut state.hangs, hangs);
        drop(state);
        self.0.wake.notify_one();
        if tell {
            let seconds = HANGS.as_secs();
            let why = format!(
                "the disk has not answered for {seconds} s; until it does, segments are kept in \
                 memory only"
            );
            self.0.board.set(COMPONENT, Mood::Sad, why);
        }
    }

    /// Memory needs the place of segment `seq` of this session: true if the disk has it, or is
    /// about to; it is sent from there then.
    #[must_use]
    pub fn let_go(&self, seq: u64) -> bool {
        let gone = self.0.lock().index.let_go(seq);
        self.0.changed.send_replace(());
        gone
    }

    /// The encoder has it.
    pub fn confirm(&self, key: Key) {
        let mut state = self.0.lock();
        state.index.confirm(key);
        // One wake-up records all there is.
        if !matches!(state.jobs.back(), Some(Job::Record)) {
            state.push(Job::Record);
        }
        drop(state);
        self.0.wake.notify_one();
    }

    /// The oldest segment that is to be sent from disk, and its size.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<(Key, u64)> {
        self.0.lock().index.oldest_waiting()
    }

    /// Whether it is on disk and the encoder is not known to have it.
    #[must_use]
    pub fn is_unconfirmed(&self, key: Key) -> bool {
        self.0.lock().index.is_unconfirmed(key)
    }

    /// The session that is being made.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.0.lock().index.session()
    }

    /// Reads a segment.
    ///
    /// # Errors
    /// [`ReadError`] if the disk has it no more, or does not give it.
    pub async fn read(&self, key: Key) -> Result<Bytes, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.0.lock().push(Job::Read(key, reply));
        self.0.wake.notify_one();
        match tokio::time::timeout(READ, answer).await {
            Ok(Ok(read)) => Ok(read?),
            Ok(Err(_)) | Err(_) => Err(ReadError::Hangs),
        }
    }

    /// A segment is not on disk any more: it is lost.
    pub fn forget(&self, key: Key) {
        let mut state = self.0.lock();
        state.index.remove(key);
        state.totals.lost += 1;
    }

    /// A segment is not fit to be sent: it is renamed, and told of.
    pub fn set_aside(&self, key: Key, why: String) {
        let mut state = self.0.lock();
        state.index.remove(key);
        state.push(Job::SetAside(key, why));
        drop(state);
        self.0.wake.notify_one();
    }

    /// Tells when there may be something to send.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Segments lost by the disk: how many, and how many milliseconds.
    #[must_use]
    pub fn lost(&self) -> (u64, u64) {
        let totals = self.0.lock().totals;
        (totals.lost, totals.lost_ms)
    }

    /// Adds the spool's numbers to those of the health message.
    pub fn numbers(&self, numbers: &mut serde_json::Map<String, serde_json::Value>) {
        let (count, totals) = {
            let state = self.0.lock();
            (state.index.count(), state.totals)
        };
        numbers.insert("spool_segments".into(), count.segments.into());
        numbers.insert("spool_bytes".into(), count.bytes.into());
        numbers.insert("spool_unconfirmed".into(), count.unconfirmed.into());
        numbers.insert("spool_unconfirmed_bytes".into(), count.unconfirmed_bytes.into());
        numbers.insert("spool_waiting".into(), count.waiting.into());
        if let Some(free) = totals.free {
            numbers.insert("spool_free_bytes".into(), free.into());
        }
    }

    /// Writes what was offered, and ends; waits at most `limit`, and says whether all is written.
    pub async fn finish(&self, limit: Duration) -> bool {
        let mut stopped = self.0.stopped.subscribe();
        self.0.lock().push(Job::Stop);
        self.0.wake.notify_one();
        matches!(tokio::time::timeout(limit, stopped.wait_for(|it| *it)).await, Ok(Ok(_)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, job: Job) {
        self.queued += job.bytes();
        self.jobs.push_back(job);
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Start(_, bytes) | Self::Data(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// The session that begins now: later than every other in the spool, so that the encoder takes it
/// for the live one even when the clock has lost time.
pub async fn new_session(root: &Path, room: &RoomName, now: Timestamp) -> SessionId {
    /// What claims to be from after 2100 was not named by one of our clocks.
    const FAR: i64 = 4_102_444_800;
    /// A disk that hangs does not keep the room waiting.
    const LIMIT: Duration = Duration::from_secs(3);
    let (reply, newest) = oneshot::channel();
    let (disk, room) = (Disk::new(root), room.clone());
    let end = Timestamp::from_second(FAR).unwrap_or(Timestamp::MAX);
    // A thread that nobody waits for, unlike the runtime's own.
    let asked = std::thread::Builder::new()
        .spawn(move || reply.send(disk.newest_session(&room, end)).unwrap_or_default());
    let newest = match asked {
        Ok(_) => tokio::time::timeout(LIMIT, newest).await.ok().and_then(Result::ok).flatten(),
        Err(_) => None,
    };
    let later = newest
        .map(|session| session.began())
        .filter(|began| *began >= now)
        .and_then(|began| began.checked_add(Duration::from_millis(1)).ok());
    SessionId::new(later.unwrap_or(now))
}

#[cfg(test)]
mod tests;
