//! One room's desk: who is let in, and in which order what they bring goes on air.
//!
//! Uploads of a session come on several connections at once. Their tags meet here: under one lock
//! they go through the session's [`Ordering`] into a queue, and from there into the room's channel.
//! A full channel holds up the connections (back-pressure); nothing is lost by it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flv::Tag;
use protocol::names::{DeviceName, RoomName, SessionId};
use protocol::payload::EventKind;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock::SharedClock;
use watchdog::mood::Mood;

use super::ordering::{Limits, Ordering, Output, Taken};
use super::publisher::{Holder, Occupied, Publisher, Role};
use crate::archive;
use crate::room::LiveInput;

/// The desk. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Desk {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    room: RoomName,
    clock: SharedClock,
    board: Board,
    /// The name on the board.
    component: String,
    publisher: Mutex<Publisher>,
    live: tokio::sync::Mutex<Live>,
    /// A deadline may have come nearer.
    changed: Notify,
}

/// What goes on air.
#[derive(Debug)]
struct Live {
    sender: mpsc::Sender<LiveInput>,
    /// The session on air, and its ordering.
    session: Option<(SessionId, Ordering)>,
    /// The last session, and the first segment that it has not begun to send.
    last: Option<(SessionId, u64)>,
    queue: VecDeque<LiveInput>,
    /// Waits to be told to the board.
    gaps: Vec<String>,
}

/// What became of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aired {
    /// It was, or will be in its turn.
    Yes,
    /// Its segment is late, or was sent before with other contents.
    ArchiveOnly(Taken),
    /// The session does not hold the room (any more).
    NotHolder,
}

impl Desk {
    /// A desk whose room reads `live`.
    #[must_use]
    pub fn new(
        room: RoomName,
        live: mpsc::Sender<LiveInput>,
        board: Board,
        clock: SharedClock,
    ) -> Self {
        let component = format!("{room}.ingest");
        board.set(&component, Mood::Hungry, format!("nobody has published in room {room} yet"));
        let (session, last, queue, gaps) = (None, None, VecDeque::new(), Vec::new());
        let live = Live { sender: live, session, last, queue, gaps };
        Self {
            inner: Arc::new(Inner {
                room,
                clock,
                board,
                component,
                publisher: Mutex::default(),
                live: tokio::sync::Mutex::new(live),
                changed: Notify::new(),
            }),
        }
    }

    /// Who is publishing.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        self.publisher().holder().cloned()
    }

    /// Asks for the room. The holder has it until nothing comes from it for
    /// [`publisher::LEASE`](super::publisher::LEASE).
    pub fn claim(&self, session: SessionId, device: Option<&DeviceName>) -> Result<Role, Occupied> {
        let (now, utc) = (self.now(), self.inner.clock.utc());
        let role = self.publisher().claim(session, device, now, utc)?;
        self.inner.changed.notify_one();
        Ok(role)
    }

    /// Bytes have come from a session, perhaps no whole tag yet.
    pub fn touch(&self, session: SessionId) {
        let now = self.now();
        self.publisher().data(session, now);
    }

    /// A tag of a segment, in its place.
    pub async fn tag(&self, session: SessionId, seq: u64, index: usize, tag: &Tag) -> Aired {
        let now = self.now();
        if !self.publisher().data(session, now) {
            return Aired::NotHolder;
        }
        let mut live = self.inner.live.lock().await;
        if !self.on_air(&mut live, session) {
            return Aired::NotHolder;
        }
        if live.last.is_some_and(|(last, floor)| last == session && seq < floor) {
            return Aired::ArchiveOnly(Taken::Late);
        }
        let Some((_, ordering)) = &mut live.session else { return Aired::NotHolder };
        let mut out = Vec::new();
        let before = ordering.deadline();
        let taken = ordering.tag(seq, index, tag, now, &mut out);
        let nearer = before.is_none() && ordering.deadline().is_some();
        self.flush(live, out).await;
        if nearer {
            self.inner.changed.notify_one();
        }
        match taken {
            Taken::InOrder => Aired::Yes,
            Taken::Late | Taken::Differs => Aired::ArchiveOnly(taken),
        }
    }

    /// A segment has come whole.
    pub async fn end(&self, session: SessionId, seq: u64, tags: usize) {
        let now = self.now();
        let mut live = self.inner.live.lock().await;
        let mut out = Vec::new();
        if let Some((_, ordering)) = live.session.as_mut().filter(|(on_air, _)| *on_air == session)
        {
            ordering.end(seq, tags, now, &mut out);
        }
        self.flush(live, out).await;
    }

    /// A tag of a publisher who sends in order; false when it does not hold the room (any more).
    pub async fn direct(&self, session: SessionId, tag: Tag) -> bool {
        let now = self.now();
        if !self.publisher().data(session, now) {
            return false;
        }
        let mut live = self.inner.live.lock().await;
        if !self.on_air(&mut live, session) {
            return false;
        }
        self.flush(live, vec![Output::Tag(tag)]).await;
        true
    }

    /// A publisher has ended its stream.
    pub async fn release(&self, session: SessionId) {
        let holder = self.holder().filter(|holder| holder.session == session);
        if self.publisher().release(session)
            && let Some(holder) = holder
        {
            self.off_air(&holder, "has ended its stream").await;
        }
    }

    /// Watches the clock: goes on without segments that do not come, and lets go of publishers
    /// that have fallen silent. Runs until cancelled.
    pub async fn keep(self, cancel: CancellationToken) {
        loop {
            let ordering = {
                let live = self.inner.live.lock().await;
                live.session.as_ref().and_then(|(_, ordering)| ordering.deadline())
            };
            let publisher = self.publisher().deadline();
            let deadline = ordering.into_iter().chain(publisher).min();
            let wait = deadline.map(|at| at.saturating_sub(self.now()));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.inner.changed.notified() => continue,
                () = sleep(wait) => {}
            }
            self.tick().await;
        }
    }

    /// What [`keep`](Self::keep) does when a deadline has come.
    pub async fn tick(&self) {
        let now = self.now();
        let silent = self.publisher().sweep(now);
        if let Some(holder) = silent {
            self.off_air(&holder, "has fallen silent").await;
        }
        let mut live = self.inner.live.lock().await;
        let mut out = Vec::new();
        if let Some((_, ordering)) = &mut live.session {
            ordering.tick(now, &mut out);
        }
        self.flush(live, out).await;
    }

    /// Tells the board how the room's archive fares.
    pub fn recorded(&self, outcome: Result<(), &archive::Error>) {
        let component = format!("{}.archive", self.inner.room);
        match outcome {
            Ok(()) => self.inner.board.set(&component, Mood::Happy, "every segment is kept"),
            Err(error) => self.inner.board.set(&component, Mood::Sad, error.to_string()),
        }
    }

    fn now(&self) -> Duration {
        self.inner.clock.monotonic()
    }

    fn publisher(&self) -> MutexGuard<'_, Publisher> {
        self.inner.publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the holder on air if it is not yet. False if it is not the holder any more.
    fn on_air(&self, live: &mut Live, session: SessionId) -> bool {
        let Some(holder) = self.holder().filter(|holder| holder.session == session) else {
            return false;
        };
        if live.session.as_ref().is_some_and(|(on_air, _)| *on_air == session) {
            return true;
        }
        live.retire();
        live.session = Some((session, Ordering::new(Limits::default())));
        live.queue.push_back(LiveInput::Session { session, device: holder.device.clone() });
        let who = who(&holder);
        let Inner { board, component, room, .. } = &*self.inner;
        board.event(EventKind::Came, component, format!("{who} publishes in room {room}"));
        board.set(component, Mood::Happy, format!("{who} is publishing"));
        true
    }

    async fn off_air(&self, holder: &Holder, how: &str) {
        let mut live = self.inner.live.lock().await;
        if live.session.as_ref().is_none_or(|(on_air, _)| *on_air != holder.session) {
            return;
        }
        live.retire();
        live.queue.push_back(LiveInput::Gone);
        let who = who(holder);
        let Inner { board, component, room, .. } = &*self.inner;
        board.event(EventKind::Went, component, format!("{who} {how} in room {room}"));
        board.set(component, Mood::Hungry, format!("{who} {how}; nobody is publishing"));
        self.flush(live, Vec::new()).await;
    }

    /// Sends what is due to the room. A place in the channel is had before anything is taken from
    /// the queue, so that a caller who gives up in between loses nothing.
    async fn flush(&self, mut live: tokio::sync::MutexGuard<'_, Live>, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Tag(tag) => live.queue.push_back(LiveInput::Tag(tag)),
                Output::Gap(gap) => live.gaps.push(gap.to_string()),
            }
        }
        for gap in live.gaps.drain(..) {
            self.inner.board.event(EventKind::Loss, &self.inner.component, gap);
        }
        let sender = live.sender.clone();
        while !live.queue.is_empty() {
            let Ok(permit) = sender.reserve().await else {
                // The room's task has ended: the encoder is stopping.
                live.queue.clear();
                return;
            };
            if let Some(input) = live.queue.pop_front() {
                permit.send(input);
            }
        }
    }
}

impl Live {
    /// The session on air goes; should it come back, no segment of it is shown twice.
    fn retire(&mut self) {
        if let Some((session, ordering)) = self.session.take() {
            let before = self.last.filter(|(last, _)| *last == session).map_or(0, |(_, at)| at);
            let floor = ordering.at().map_or(0, |at| at.saturating_add(1));
            self.last = Some((session, floor.max(before)));
        }
    }
}

fn who(holder: &Holder) -> String {
    match &holder.device {
        Some(device) => device.to_string(),
        None => "a publisher".to_owned(),
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
