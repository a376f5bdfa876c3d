//! What is on disk, and what is to become of it. Pure.
//!
//! ```text
//!          begin              stored              confirm, or the encoder has it
//! (none) ────────▶ coming ──────────────▶ on disk ──────────────────────────────▶ confirmed
//!                    │ failed                │ victim: only when nothing            │ victim: the
//!                    ▼                       │ confirmed is left to drop            │ oldest first
//!                  (none)◀───────────────────┴──────────────────────────────────────┘
//! ```
//! Beside that, a segment is *held* while memory has it too: then memory's sender sees to it. What
//! is on disk, not confirmed and not held is sent from disk, oldest first.

use std::collections::{BTreeMap, BTreeSet};

use protocol::names::{RoomName, SessionId};

/// One segment of one session; they sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The session.
    pub session: SessionId,
    /// Its number there.
    pub seq: u64,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {} of session {}", self.seq, self.session)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    /// Its size once it is on disk.
    bytes: u64,
    /// Its length, when it was made in this run.
    ms: u64,
    on_disk: bool,
    confirmed: bool,
    held: bool,
}

/// A segment that has to go for newer ones, and is out of the index already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
    /// The encoder has it.
    pub confirmed: bool,
    /// Memory has it: nothing is lost yet.
    pub held: bool,
}

/// How much there is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// All segments.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those that the encoder has not confirmed.
    pub unconfirmed: u64,
    /// Bytes of them.
    pub unconfirmed_bytes: u64,
    /// Those that are to be sent from disk: neither confirmed nor in memory.
    pub waiting: u64,
}

/// The segments on disk.
#[derive(Debug)]
pub struct Index {
    room: RoomName,
    session: SessionId,
    segments: BTreeMap<Key, Segment>,
    /// The sessions of other rooms: kept, never sent.
    elsewhere: BTreeMap<SessionId, RoomName>,
    /// Confirmed, and not in the record yet.
    unrecorded: BTreeSet<Key>,
    /// Being sent from disk.
    sending: Option<Key>,
}

impl Index {
    /// An empty index for the session that is being made.
    #[must_use]
    pub fn new(room: RoomName, session: SessionId) -> Self {
        Self {
            room,
            session,
            segments: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            sending: None,
        }
    }

    /// A segment was found on disk, left by an earlier run.
    pub fn found(&mut self, room: &RoomName, key: Key, bytes: u64, confirmed: bool) {
        if *room != self.room {
            self.elsewhere.insert(key.session, room.clone());
        }
        let segment = Segment { bytes, ms: 0, on_disk: true, confirmed, held: false };
        self.segments.entry(key).or_insert(segment);
    }

    /// A segment of this session begins: in memory, and on its way to disk.
    pub fn begin(&mut self, seq: u64) {
        let segment = Segment { bytes: 0, ms: 0, on_disk: false, confirmed: false, held: true };
        self.segments.insert(self.ours(seq), segment);
    }

    /// It is whole, so long.
    pub fn ended(&mut self, seq: u64, ms: u64) {
        let key = self.ours(seq);
        if let Some(segment) = self.segments.get_mut(&key) {
            segment.ms = ms;
        }
    }

    /// It is durable.
    pub fn stored(&mut self, seq: u64, bytes: u64) {
        let key = self.ours(seq);
        if let Some(segment) = self.segments.get_mut(&key) {
            (segment.on_disk, segment.bytes) = (true, bytes);
        }
    }

    /// The segment that is being made, if it is on its way to disk.
    #[must_use]
    pub fn coming(&self) -> Option<u64> {
        let (key, segment) = self.segments.range(..=self.ours(u64::MAX)).next_back()?;
        (key.session == self.session && !segment.on_disk).then_some(key.seq)
    }

    /// It could not be written. The length of what is lost by it, if memory has let it go.
    pub fn failed(&mut self, seq: u64) -> Option<u64> {
        let key = self.ours(seq);
        let segment = *self.segments.get(&key).filter(|segment| !segment.on_disk)?;
        self.remove(key);
        (!segment.held && !segment.confirmed).then_some(segment.ms)
    }

    /// Memory needs its place: true if the disk has it, or is about to.
    pub fn let_go(&mut self, seq: u64) -> bool {
        let key = self.ours(seq);
        match self.segments.get_mut(&key) {
            Some(segment) => {
                segment.held = false;
                true
            }
            None => false,
        }
    }

    /// The encoder has it.
    pub fn confirm(&mut self, key: Key) {
        if let Some(segment) = self.segments.get_mut(&key) {
            (segment.confirmed, segment.held) = (true, false);
            self.unrecorded.insert(key);
        }
    }

    /// The confirmed ones on disk that are still to be recorded, with their sizes.
    pub fn take_unrecorded(&mut self) -> Vec<(Key, u64)> {
        let on_disk = |key: &Key| self.segments.get(key).filter(|it| it.on_disk);
        let due: Vec<_> =
            self.unrecorded.iter().filter_map(|key| Some((*key, on_disk(key)?.bytes))).collect();
        for (key, _) in &due {
            self.unrecorded.remove(key);
        }
        due
    }

    /// The oldest that is to be sent from disk, and its size. A session that claims to be later
    /// than ours is left alone: the encoder would take it for the live one.
    pub fn oldest_waiting(&mut self) -> Option<(Key, u64)> {
        let next = self
            .segments
            .iter()
            .find(|(key, segment)| self.waits(**key, segment))
            .map(|(key, segment)| (*key, segment.bytes));
        self.sending = next.map(|(key, _)| key);
        next
    }

    /// Takes out what has to go first: the oldest confirmed one; else the oldest of all that are
    /// not being sent; those that memory has too are the last choice.
    pub fn take_victim(&mut self) -> Option<Victim> {
        let on_disk = || {
            let sending = self.sending;
            self.segments.iter().filter(move |(key, it)| it.on_disk && Some(**key) != sending)
        };
        let (key, segment) = on_disk()
            .find(|(_, it)| it.confirmed)
            .or_else(|| on_disk().find(|(_, it)| !it.held))
            .or_else(|| on_disk().next())
            .map(|(key, segment)| (*key, *segment))?;
        self.remove(key);
        let Segment { bytes, confirmed, held, .. } = segment;
        Some(Victim { key, bytes, confirmed, held })
    }

    /// A segment is not there any more, or is not for sending.
    pub fn remove(&mut self, key: Key) {
        self.segments.remove(&key);
        self.unrecorded.remove(&key);
        if self.sending == Some(key) {
            self.sending = None;
        }
    }

    /// Whether anything of a session is left, or is still to come.
    #[must_use]
    pub fn has_session(&self, session: SessionId) -> bool {
        let (from, to) = (Key { session, seq: 0 }, Key { session, seq: u64::MAX });
        session == self.session || self.segments.range(from..=to).next().is_some()
    }

    /// Whether it is on disk and the encoder is not known to have it.
    #[must_use]
    pub fn is_unconfirmed(&self, key: Key) -> bool {
        self.segments.get(&key).is_some_and(|it| it.on_disk && !it.confirmed)
    }

    /// The room that a session belongs to.
    #[must_use]
    pub fn room(&self, session: SessionId) -> &RoomName {
        self.elsewhere.get(&session).unwrap_or(&self.room)
    }

    /// The session that is being made.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// How much there is.
    #[must_use]
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for (key, segment) in self.segments.iter().filter(|(_, it)| it.on_disk) {
            count.segments += 1;
            count.bytes += segment.bytes;
            if !segment.confirmed {
                count.unconfirmed += 1;
                count.unconfirmed_bytes += segment.bytes;
                count.waiting += u64::from(self.waits(*key, segment));
            }
        }
        count
    }

    fn waits(&self, key: Key, segment: &Segment) -> bool {
        segment.on_disk
            && !segment.confirmed
            && !segment.held
            && key.session <= self.session
            && !self.elsewhere.contains_key(&key.session)
    }

    fn ours(&self, seq: u64) -> Key {
        Key { session: self.session, seq }
    }
}

#[cfg(test)]
mod tests;
