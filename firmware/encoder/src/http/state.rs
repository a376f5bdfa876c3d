//! What every route shares: the rooms, the moods, the clock, and who watches.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::config::encoder::Dashboard;
use protocol::names::RoomName;
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use super::metrics::Counters;
use super::viewers::{ViewerId, Viewers};
use crate::room::{Room, Rooms};

/// Viewers at one time if nothing else is said.
pub const DEFAULT_VIEWERS: usize = 8_000;

/// What the HTTP app needs besides the rooms.
#[derive(Clone)]
pub struct Options {
    /// The time.
    pub clock: SharedClock,
    /// The moods of this encoder's components.
    pub board: Board,
    /// Viewers at one time, over all rooms and formats. Who comes after gets 503.
    pub viewers: usize,
    /// What the dashboard's page is told of the broker.
    pub dashboard: Dashboard,
}

pub(super) struct Shared {
    pub(super) rooms: Arc<Rooms>,
    pub(super) clock: SharedClock,
    pub(super) board: Board,
    pub(super) counters: Counters,
    /// Names this process: players start anew when it changes.
    pub(super) instance: String,
    pub(super) dashboard: Dashboard,
    limit: usize,
    hls: BTreeMap<RoomName, Mutex<Viewers>>,
    progressive: Arc<AtomicUsize>,
    // Keyed anew in every process, so that no id can be traced to an address.
    secret: RandomState,
    ids: AtomicU64,
}

impl Shared {
    pub(super) fn new(rooms: Arc<Rooms>, options: Options) -> Self {
        let secret = RandomState::new();
        Self {
            hls: rooms.iter().map(|room| (room.name.clone(), Mutex::default())).collect(),
            rooms,
            clock: options.clock,
            board: options.board,
            counters: Counters::default(),
            instance: format!("{:016x}", secret.hash_one("instance")),
            dashboard: options.dashboard,
            limit: options.viewers,
            progressive: Arc::default(),
            secret,
            ids: AtomicU64::new(0),
        }
    }

    /// An id that nobody can guess and that says nothing.
    pub(super) fn new_id(&self) -> String {
        format!("{:016x}", self.secret.hash_one(self.ids.fetch_add(1, Ordering::Relaxed)))
    }

    /// The id of a viewer by what it showed, an id or its address and browser.
    pub(super) fn viewer(&self, shown: impl std::hash::Hash) -> ViewerId {
        ViewerId(self.secret.hash_one(shown))
    }

    /// Notes that `viewer` watches `room` over HLS.
    pub(super) fn seen(&self, room: &Room, viewer: ViewerId) {
        if let Some(viewers) = self.hls.get(&room.name) {
            lock(viewers).seen(viewer, self.clock.monotonic());
        }
    }

    /// Who watches `room` over HLS now.
    pub(super) fn hls_viewers(&self, room: &Room) -> usize {
        let keep = room.hls.target_duration().max(Duration::from_secs(1)) * 3;
        let now = self.clock.monotonic();
        self.hls.get(&room.name).map_or(0, |viewers| lock(viewers).count(now, keep))
    }

    /// Who watches `room` over progressive streams now.
    pub(super) fn progressive_viewers(room: &Room) -> usize {
        room.mounts.values().map(|mount| mount.clients()).sum()
    }

    /// Whether there is no place left.
    pub(super) fn is_full(&self) -> bool {
        let hls: usize = self.rooms.iter().map(|room| self.hls_viewers(room)).sum();
        hls + self.progressive.load(Ordering::Relaxed) >= self.limit
    }

    /// A place for one progressive client, until it is dropped; `None` when there is none left.
    pub(super) fn place(&self) -> Option<Place> {
        // Taken first and looked at second: a storm of joins cannot pass the limit.
        let place = Place(Arc::clone(&self.progressive));
        let before = self.progressive.fetch_add(1, Ordering::Relaxed);
        let hls: usize = self.rooms.iter().map(|room| self.hls_viewers(room)).sum();
        (before + hls < self.limit).then_some(place)
    }
}

/// See [`Shared::place`].
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock(viewers: &Mutex<Viewers>) -> MutexGuard<'_, Viewers> {
    viewers.lock().unwrap_or_else(PoisonError::into_inner)
}
