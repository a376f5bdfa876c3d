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

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metrics::Counters;
use super::viewers::{ViewerId, Viewers};
use crate::room::mounts::LOOP;
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
    /// Cancelled when the encoder has been told to stop and waits for its viewers to leave.
    pub draining: CancellationToken,
    /// Where uploads of segments are counted; closed, it takes no more.
    pub uploads: TaskTracker,
}

impl Options {
    /// The usual limit, and no thought of stopping.
    #[must_use]
    pub fn new(clock: SharedClock, board: Board) -> Self {
        Self {
            clock,
            board,
            viewers: DEFAULT_VIEWERS,
            dashboard: Dashboard::default(),
            draining: CancellationToken::new(),
            uploads: TaskTracker::new(),
        }
    }
}

pub(super) struct Shared {
    pub(super) rooms: Arc<Rooms>,
    pub(super) clock: SharedClock,
    pub(super) board: Board,
    pub(super) counters: Counters,
    /// Names this process: players start anew when it changes.
    pub(super) instance: String,
    pub(super) dashboard: Dashboard,
    pub(super) draining: CancellationToken,
    limit: usize,
    hls: BTreeMap<RoomName, Mutex<Viewers>>,
    progressive: Arc<AtomicUsize>,
    /// Of each room, and there of each name that a stream can be asked for by.
    clients: BTreeMap<RoomName, BTreeMap<String, Arc<AtomicUsize>>>,
    // Keyed anew in every process, so that no id can be traced to an address.
    secret: RandomState,
    ids: AtomicU64,
}

impl Shared {
    pub(super) fn new(rooms: Arc<Rooms>, options: Options) -> Self {
        let secret = RandomState::new();
        let clients = |room: &Arc<Room>| {
            let names = room.mounts.keys().map(String::as_str).chain([LOOP]);
            (room.name.clone(), names.map(|name| (name.to_owned(), Arc::default())).collect())
        };
        Self {
            clients: rooms.iter().map(clients).collect(),
            hls: rooms.iter().map(|room| (room.name.clone(), Mutex::default())).collect(),
            rooms,
            clock: options.clock,
            board: options.board,
            counters: Counters::default(),
            instance: format!("{:016x}", secret.hash_one("instance")),
            dashboard: options.dashboard,
            draining: options.draining,
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

    /// Notes that `viewer` was told how to watch `room` over HLS.
    pub(super) fn invited(&self, room: &Room, viewer: ViewerId) {
        if let Some(viewers) = self.hls.get(&room.name) {
            lock(viewers).invited(viewer, self.clock.monotonic());
        }
    }

    /// Notes that `viewer` watches `room` over HLS.
    pub(super) fn seen(&self, room: &Room, viewer: ViewerId) {
        if let Some(viewers) = self.hls.get(&room.name) {
            lock(viewers).seen(viewer, self.clock.monotonic());
        }
    }

    /// Who watches `room` over HLS now.
    pub(super) fn hls_viewers(&self, room: &Room) -> usize {
        self.hls_of(room, Viewers::count)
    }

    fn hls_of(&self, room: &Room, count: fn(&mut Viewers, Duration, Duration) -> usize) -> usize {
        let keep = room.hls.target_duration().max(Duration::from_secs(1)) * 3;
        let now = self.clock.monotonic();
        self.hls.get(&room.name).map_or(0, |viewers| count(&mut lock(viewers), now, keep))
    }

    /// Places that HLS takes in all rooms.
    fn hls_places(&self) -> usize {
        self.rooms.iter().map(|room| self.hls_of(room, Viewers::places)).sum()
    }

    /// Connections that take `room`'s stream of that name now. `loop.raw` and `webcast-high.flv`
    /// are one stream and have their clients apart.
    pub(super) fn clients(&self, room: &Room, name: &str) -> usize {
        let clients = self.clients.get(&room.name).and_then(|clients| clients.get(name));
        clients.map_or(0, |clients| clients.load(Ordering::Relaxed))
    }

    /// Who watches `room` over progressive streams now: all but the loop, which is for other tools.
    pub(super) fn progressive_viewers(&self, room: &Room) -> usize {
        let clients = self.clients.get(&room.name).into_iter().flatten();
        let viewers = clients.filter(|(name, _)| *name != LOOP);
        viewers.map(|(_, clients)| clients.load(Ordering::Relaxed)).sum()
    }

    /// Whether there is no place left.
    pub(super) fn is_full(&self) -> bool {
        self.hls_places() + self.progressive.load(Ordering::Relaxed) >= self.limit
    }

    /// A place for one client of `room`'s stream of that name, until it is dropped; `None` when
    /// there is none left.
    pub(super) fn place(&self, room: &Room, name: &str) -> Option<Place> {
        let stream = self.clients.get(&room.name)?.get(name)?;
        // Taken first and looked at second: a storm of joins cannot pass the limit.
        let before = self.progressive.fetch_add(1, Ordering::Relaxed);
        stream.fetch_add(1, Ordering::Relaxed);
        let place = Place { all: Arc::clone(&self.progressive), stream: Arc::clone(stream) };
        (before + self.hls_places() < self.limit).then_some(place)
    }
}

/// See [`Shared::place`].
pub(super) struct Place {
    all: Arc<AtomicUsize>,
    stream: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.stream.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock(viewers: &Mutex<Viewers>) -> MutexGuard<'_, Viewers> {
    viewers.lock().unwrap_or_else(PoisonError::into_inner)
}
