//! The thread that owns the disk: writes what is made, reads what is asked for, makes room.
//!
//! ```text
//!            scan ok                        a write fails
//!  Waking ────────────▶ writing ◀─────────────────────────────▶ resting: segments are skipped
//!     │ scan fails                       the time has come            ▲  (memory has them)
//!     └───────────────────────────────────────────────────────────────┘
//! ```

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use protocol::mood::Mood;
use protocol::names::{RoomName, SessionId};
use protocol::payload::EventKind;

use super::backoff::Backoff;
use super::disk::{Disk, DiskError, Writing};
use super::index::{Key, Victim};
use super::measure::{Measured, measure};
use super::{COMPONENT, Job, Settings, Shared};

/// Segments that may go for one new one: a disk tells late of the space it got back.
const VICTIMS: usize = 8;
/// The disk was full so long ago that it may be called well again.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    disk: Disk,
    room: RoomName,
    session: SessionId,
    min_free: u64,
    backoff: Backoff,
    scanned: bool,
    open: Option<(u64, Writing)>,
    /// What makes the board sad although segments are written, and since when.
    full: Option<(Duration, String)>,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: &Settings,
        room: RoomName,
        session: SessionId,
    ) -> Self {
        Self {
            shared,
            disk: Disk::new(&settings.root),
            room,
            session,
            min_free: settings.min_free,
            backoff: Backoff::default(),
            scanned: false,
            open: None,
            full: None,
        }
    }

    pub(super) fn run(mut self) {
        if let Err(error) = self.scan() {
            self.trouble(&error);
        }
        loop {
            match self.take() {
                Job::Start(seq, header) => self.start(seq, &header),
                Job::Data(data) => self.data(&data),
                Job::End(seq) => self.end(seq),
                Job::Abandon(seq) => {
                    self.give_up(seq, "the disk is too slow; the next segments are tried again");
                }
                Job::Read(key, reply) => {
                    let room = self.shared.lock().index.room(key.session).clone();
                    // Whoever asked may have given up.
                    let _ = reply.send(self.disk.read(&room, key));
                }
                Job::SetAside(key, why) => self.set_aside(key, &why),
                Job::Record => self.record(),
                Job::Stop => break,
            }
        }
        self.record();
        if let Some((_, writing)) = self.open.take() {
            writing.abandon();
        }
        self.shared.stopped.send_replace(true);
    }

    /// The next job; from here on the disk is waited for.
    fn take(&self) -> Job {
        let mut state = self.shared.lock();
        state.busy_since = None;
        state.hangs = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.queued -= job.bytes();
                state.busy_since = Some(self.shared.clock.monotonic());
                return job;
            }
            state = self.shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn scan(&mut self) -> Result<(), DiskError> {
        let board = &self.shared.board;
        let mut elsewhere = std::collections::BTreeMap::<RoomName, usize>::new();
        let mut later = 0;
        self.disk.scan(
            |found| {
                let mut state = self.shared.lock();
                for (seq, (bytes, confirmed)) in &found.segments {
                    let key = Key { session: found.session, seq: *seq };
                    state.index.found(&found.room, key, *bytes, *confirmed);
                }
                let unconfirmed = found.segments.values().filter(|(_, confirmed)| !confirmed);
                if found.room != self.room {
                    *elsewhere.entry(found.room).or_default() += unconfirmed.count();
                } else if found.session > self.session {
                    later += unconfirmed.count();
                }
            },
            |what| board.event(EventKind::Notice, COMPONENT, what),
        )?;
        for (room, segments) in elsewhere.into_iter().filter(|(_, segments)| *segments > 0) {
            let what = format!(
                "{segments} segments of room {room} are kept on disk and not sent: this box now \
                 streams room {}",
                self.room
            );
            board.event(EventKind::Notice, COMPONENT, what);
        }
        if later > 0 {
            let what = format!(
                "{later} segments are kept on disk and not sent until the next start: they say \
                 they are from the future"
            );
            board.event(EventKind::Notice, COMPONENT, what);
        }
        self.scanned = true;
        self.look_at_space();
        self.well();
        self.shared.changed.send_replace(());
        Ok(())
    }

    fn start(&mut self, seq: u64, header: &[u8]) {
        if let Some((seq, writing)) = self.open.take() {
            writing.abandon();
            self.lose(seq);
        }
        if !self.backoff.may_try(self.shared.clock.monotonic()) {
            self.lose(seq);
            return;
        }
        let begun = (|| {
            if !self.scanned {
                self.scan()?;
            }
            self.make_room();
            let key = Key { session: self.session, seq };
            let mut writing = self.disk.create(&self.room, key)?;
            match writing.write(header) {
                Ok(()) => Ok(writing),
                Err(error) => {
                    writing.abandon();
                    Err(error)
                }
            }
        })();
        match begun {
            Ok(writing) => self.open = Some((seq, writing)),
            Err(error) => {
                self.lose(seq);
                self.trouble(&error);
            }
        }
    }

    fn data(&mut self, data: &[u8]) {
        let Some((seq, mut writing)) = self.open.take() else { return };
        match writing.write(data) {
            Ok(()) => self.open = Some((seq, writing)),
            Err(error) => {
                writing.abandon();
                self.lose(seq);
                self.trouble(&error);
            }
        }
    }

    fn end(&mut self, seq: u64) {
        let Some((_, mut writing)) = self.open.take().filter(|(open, _)| *open == seq) else {
            return;
        };
        match writing.finish() {
            Ok(bytes) => {
                self.shared.lock().index.stored(seq, bytes);
                self.backoff.worked();
                self.record();
                self.look_at_space();
                self.well();
                self.shared.changed.send_replace(());
            }
            Err(error) => {
                writing.abandon();
                self.lose(seq);
                self.trouble(&error);
            }
        }
    }

    fn give_up(&mut self, seq: u64, why: &str) {
        if let Some((open, writing)) = self.open.take() {
            writing.abandon();
            if open != seq {
                self.lose(open);
            }
        }
        self.lose(seq);
        self.shared.board.set(COMPONENT, Mood::Sad, why);
    }

    /// The segment will not be on disk. If memory has let it go by now, it is lost.
    fn lose(&self, seq: u64) {
        let lost = self.shared.lock().index.failed(seq);
        if let Some(ms) = lost {
            self.count_loss(ms);
            let seconds = ms as f64 / 1000.0;
            let what = format!(
                "segment {seq} ({seconds:.1} s) is lost: the disk did not take it, and the memory \
                 for unsent segments is full"
            );
            self.shared.board.event(EventKind::Loss, COMPONENT, what);
        }
    }

    fn count_loss(&self, ms: u64) {
        let mut state = self.shared.lock();
        state.totals.lost += 1;
        state.totals.lost_ms += ms;
    }

    /// The disk failed: it is left alone for a while.
    fn trouble(&mut self, error: &DiskError) {
        // A full disk may have room at once, when something has gone.
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        if full {
            self.look_at_space();
        }
        let delay = self.backoff.failed(self.shared.clock.monotonic());
        let why = format!(
            "{error}; segments are kept in memory only; trying again in {} s",
            delay.as_secs()
        );
        self.shared.board.set(COMPONENT, Mood::Sad, why);
    }

    /// Drops what has to go so that as much as was asked for stays free.
    fn make_room(&mut self) {
        let now = self.shared.clock.monotonic();
        for _ in 0..VICTIMS {
            let Some(free) = self.look_at_space() else { return };
            if free >= self.min_free {
                break;
            }
            let victim = self.shared.lock().index.take_victim();
            let Some(victim) = victim else {
                let why = format!(
                    "the disk is full, and not of segments: {} MB are free, {} MB should be",
                    free / 1_000_000,
                    self.min_free / 1_000_000
                );
                self.full = Some((now, why));
                break;
            };
            if !victim.confirmed {
                let why = "the disk is full of segments that the encoder has not confirmed; the \
                           oldest go";
                self.full = Some((now, why.to_owned()));
            }
            self.drop_segment(victim);
        }
        if self.full.as_ref().is_some_and(|(at, _)| now.saturating_sub(*at) > WELL_AFTER) {
            self.full = None;
        }
    }

    fn drop_segment(&self, victim: Victim) {
        let key = victim.key;
        let room = self.shared.lock().index.room(key.session).clone();
        // Only what is lost is worth a look at its times.
        let measured = match victim.confirmed || victim.held {
            true => Measured::default(),
            false => self.disk.read(&room, key).map(|it| measure(&it)).unwrap_or_default(),
        };
        if let Err(error) = self.disk.remove(&room, key) {
            tracing::warn!(%error, "a segment stays on disk");
        }
        if !self.shared.lock().index.has_session(key.session) {
            self.disk.remove_session(&room, key.session);
        }
        if victim.confirmed {
            tracing::debug!(%key, "dropped: the encoder has it, and the disk is full");
            return;
        }
        if victim.held {
            return;
        }
        self.count_loss(measured.ms);
        let began = measured.wallclock_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let began = began.map_or_else(String::new, |at| {
            format!(" from {}", at.strftime("%Y-%m-%d %H:%M:%S UTC"))
        });
        let what = format!(
            "{key} ({:.1} s{began}, {} kB) is lost: the disk is full of segments that the encoder \
             has not confirmed",
            measured.ms as f64 / 1000.0,
            victim.bytes / 1000,
        );
        self.shared.board.event(EventKind::Loss, COMPONENT, what);
    }

    fn set_aside(&self, key: Key, why: &str) {
        let room = self.shared.lock().index.room(key.session).clone();
        let how = match self.disk.set_aside(&room, key) {
            Ok(path) => format!("it is set aside as {}", path.display()),
            Err(error) => error.to_string(),
        };
        let what = format!("{key} is not sent: {why}; {how}");
        self.shared.board.event(EventKind::Notice, COMPONENT, what);
    }

    /// Notes what was confirmed since.
    fn record(&self) {
        let due = self.shared.lock().index.take_unrecorded();
        let mut sessions = std::collections::BTreeMap::<SessionId, Vec<(u64, u64)>>::new();
        for (key, bytes) in due {
            sessions.entry(key.session).or_default().push((key.seq, bytes));
        }
        for (session, segments) in sessions {
            let room = self.shared.lock().index.room(session).clone();
            if let Err(error) = self.disk.record(&room, session, &segments) {
                // It costs the encoder a question at the next start, no more.
                tracing::warn!(%error, "what was confirmed is not recorded");
            }
        }
    }

    fn look_at_space(&self) -> Option<u64> {
        let free = self.disk.free().ok();
        self.shared.lock().totals.free = free;
        free
    }

    fn well(&self) {
        let board = &self.shared.board;
        if let Some((_, full)) = &self.full {
            board.set(COMPONENT, Mood::Sad, full.clone());
            return;
        }
        let waiting = self.shared.lock().index.count().waiting;
        let reason = match waiting {
            0 => "every segment is on disk".to_owned(),
            _ => format!("every segment is on disk; {waiting} wait there for the encoder"),
        };
        board.set(COMPONENT, Mood::Happy, reason);
    }
}
