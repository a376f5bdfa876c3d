//! What HTTP serves: written by the packager, read by any number of requests.

use super::playlist::RenditionInfo;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// The newest listed segment of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveEdge {
    /// Its media sequence number.
    pub msn: u64,
    /// Room time at its end, milliseconds.
    pub end_ms: u64,
    /// UTC at its end, milliseconds since 1970.
    pub utc_ms: i64,
}

#[derive(Debug, Default)]
struct Variant {
    playlist: Option<Bytes>,
    inits: BTreeMap<u64, Bytes>,
    segments: BTreeMap<u64, Bytes>,
}

#[derive(Debug, Default)]
struct State {
    multivariant: Option<Bytes>,
    renditions: Vec<RenditionInfo>,
    variants: BTreeMap<String, Variant>,
    target: Duration,
    edge: Option<LiveEdge>,
}

/// The playlists and segments of one room, in memory.
///
/// A segment stays for some time after it has left the playlist, as does the initialization segment
/// it needs.
#[derive(Debug, Default)]
pub struct Store(RwLock<State>);

impl Store {
    /// The multivariant playlist; `None` until there is something to play.
    #[must_use]
    pub fn multivariant(&self) -> Option<Bytes> {
        self.read().multivariant.clone()
    }

    /// A variant's media playlist.
    #[must_use]
    pub fn playlist(&self, rendition: &str) -> Option<Bytes> {
        self.read().variants.get(rendition)?.playlist.clone()
    }

    /// An initialization segment, by the number in its name.
    #[must_use]
    pub fn init(&self, rendition: &str, id: u64) -> Option<Bytes> {
        self.read().variants.get(rendition)?.inits.get(&id).cloned()
    }

    /// A media segment, by its media sequence number.
    #[must_use]
    pub fn segment(&self, rendition: &str, msn: u64) -> Option<Bytes> {
        self.read().variants.get(rendition)?.segments.get(&msn).cloned()
    }

    /// The target duration of the playlists.
    #[must_use]
    pub fn target_duration(&self) -> Duration {
        self.read().target
    }

    /// The variants in the multivariant playlist.
    #[must_use]
    pub fn renditions(&self) -> Vec<RenditionInfo> {
        self.read().renditions.clone()
    }

    /// How far the source's playlist has come.
    #[must_use]
    pub fn live_edge(&self) -> Option<LiveEdge> {
        self.read().edge
    }

    /// Bytes of all segments held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.read().variants.values().flat_map(|v| v.segments.values()).map(Bytes::len).sum()
    }

    pub(super) fn set_multivariant(&self, text: Bytes, renditions: Vec<RenditionInfo>) {
        let mut state = self.write();
        state.multivariant = Some(text);
        state.renditions = renditions;
    }

    pub(super) fn set_edge(&self, edge: LiveEdge, target: Duration) {
        let mut state = self.write();
        state.edge = Some(edge);
        state.target = target;
    }

    pub(super) fn put_init(&self, rendition: &str, id: u64, data: Bytes) {
        self.write().variant(rendition).inits.insert(id, data);
    }

    /// Adds a segment, then shows the playlist that lists it; forgets segments before `oldest` and
    /// initialization segments that nothing kept needs.
    pub(super) fn publish(
        &self,
        rendition: &str,
        segment: Option<(u64, Bytes)>,
        playlist: Option<Bytes>,
        oldest: u64,
    ) {
        let mut state = self.write();
        let variant = state.variant(rendition);
        variant.segments.extend(segment);
        variant.segments = variant.segments.split_off(&oldest);
        // An initialization segment is named after the first segment that uses it.
        if let Some((&needed, _)) = variant.inits.range(..=oldest).next_back() {
            variant.inits = variant.inits.split_off(&needed);
        }
        if playlist.is_some() {
            variant.playlist = playlist;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Every write leaves the state whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn variant(&mut self, name: &str) -> &mut Variant {
        self.variants.entry(name.to_owned()).or_default()
    }
}
