//! One fan-out engine for every progressive format (FLV, WebM, Ogg, ADTS, MP3).
//!
//! A stream is a header and frames, some of which are sync points: places where a decoder can
//! start. A [`Mount`] keeps the newest frames in one ring, bounded by bytes; a [`Reader`] is a
//! cursor into it.
//!
//! ```text
//!                     a header and a sync point are there
//!  Joining ──────────────────────────────────────────────▶ Reading ──▶ Ended
//!    header, then from the newest sync point on              │  ▲  closed and all read,
//!                                                  overtaken │  │  or overtaken too often
//!                                                            ▼  │
//!                                             Skipping: waits for a newer sync point
//! ```
//!
//! Costs are shared: a frame is stored once, frames that are ready together are joined once for
//! all readers that stand at the same place (as nearly all do), one push wakes all who wait.
//! Pushing takes a short lock, copies nothing and never waits.

mod reader;
mod ring;

pub use reader::Reader;

use bytes::Bytes;
use ring::Ring;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What is sent to viewers in one piece by its producer: a tag, a cluster, a page, a frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The bytes, as they go out.
    pub data: Bytes,
    /// A decoder that has the header can start here.
    pub sync: bool,
}

/// Bounds and habits of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of frames kept, with a little overhead counted for each. A reader further behind than
    /// this is overtaken.
    pub ring_bytes: usize,
    /// Frames that are ready are joined up to this many bytes.
    pub chunk_bytes: usize,
    /// How many sync points back a new reader starts: 1 is the newest. Formats whose every frame
    /// is a sync point want more, so that a player has something in hand.
    pub start_syncs: usize,
    /// A reader that is overtaken more often than this is ended...
    pub max_skips: u32,
    /// ... unless it kept up for so many frames since it was last overtaken.
    pub forgive_frames: u64,
    /// Whether the format has a header, for which readers wait.
    pub header: bool,
}

impl Default for Limits {
    /// 8 MiB: half a minute at 2 Mbit/s.
    fn default() -> Self {
        Self {
            ring_bytes: 8 << 20,
            chunk_bytes: 64 << 10,
            start_syncs: 1,
            max_skips: 3,
            forgive_frames: 2000,
            header: true,
        }
    }
}

/// Counters of a mount, since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Readers now.
    pub clients: usize,
    /// Readers ever.
    pub joined: u64,
    /// Times that a reader was overtaken and moved to a newer sync point.
    pub skips: u64,
    /// Readers ended because they were overtaken too often.
    pub ended_slow: u64,
    /// Bytes of all frames that were pushed.
    pub bytes_in: u64,
    /// Bytes handed to readers.
    pub bytes_out: u64,
    /// Bytes of frames in the ring.
    pub ring_bytes: usize,
}

#[derive(Debug, Default)]
struct Counters {
    clients: AtomicUsize,
    joined: AtomicU64,
    skips: AtomicU64,
    ended_slow: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    name: String,
    content_type: &'static str,
    limits: Limits,
    ring: Mutex<Ring>,
    pushed: Notify,
    counters: Counters,
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in the ring's methods panics half-way.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One progressive stream, with any number of readers. Clones are the same mount.
#[derive(Debug, Clone)]
pub struct Mount(Arc<Shared>);

impl Mount {
    /// An empty mount. `name` is its file name for viewers, such as `webcast-high.webm`.
    pub fn new(name: impl Into<String>, content_type: &'static str, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            name: name.into(),
            content_type,
            limits,
            ring: Mutex::new(Ring::new(limits.ring_bytes, limits.chunk_bytes)),
            pushed: Notify::new(),
            counters: Counters::default(),
        }))
    }

    /// Its file name for viewers.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its MIME type.
    pub fn content_type(&self) -> &'static str {
        self.0.content_type
    }

    /// Sets what new readers get first. Those who already read are sent nothing (WebM: a second
    /// header in the stream would be an error). New readers start at a sync point pushed from now
    /// on. The same header again changes nothing.
    pub fn set_header(&self, header: Bytes) {
        self.0.ring().set_header(header, None);
        self.0.pushed.notify_waiters();
    }

    /// Sets what new readers get first, and sends `inline` to those who already read, before any
    /// later frame: the new sequence headers as FLV tags, the header pages of a new Ogg chain.
    /// The same header again changes nothing.
    pub fn change_header(&self, header: Bytes, inline: Bytes) {
        self.0.ring().set_header(header, Some(inline));
        self.0.pushed.notify_waiters();
    }

    /// Adds a frame and wakes all readers.
    pub fn push(&self, frame: Frame) {
        self.push_all([frame]);
    }

    /// Adds frames that are ready together, with one wake for all of them.
    pub fn push_all(&self, frames: impl IntoIterator<Item = Frame>) {
        {
            let mut ring = self.0.ring();
            for frame in frames {
                self.0.counters.bytes_in.fetch_add(frame.data.len() as u64, Relaxed);
                ring.push(frame);
            }
        }
        self.0.pushed.notify_waiters();
    }

    /// The stream has stopped for now: who joins from here on waits for the next sync point
    /// instead of being shown an old picture. Readers stay.
    pub fn interrupt(&self) {
        self.0.ring().interrupt();
    }

    /// No more frames will come: readers end when they have read what is there.
    pub fn close(&self) {
        self.0.ring().close();
        self.0.pushed.notify_waiters();
    }

    /// True when a reader that joins now starts at once.
    pub fn ready(&self) -> bool {
        self.0.ring().start(&self.0.limits).is_some()
    }

    /// A new reader.
    pub fn subscribe(&self) -> Reader {
        self.0.counters.clients.fetch_add(1, Relaxed);
        self.0.counters.joined.fetch_add(1, Relaxed);
        Reader::new(Arc::clone(&self.0))
    }

    /// Readers now.
    pub fn clients(&self) -> usize {
        self.0.counters.clients.load(Relaxed)
    }

    /// All counters.
    pub fn stats(&self) -> Stats {
        let counters = &self.0.counters;
        Stats {
            clients: self.clients(),
            joined: counters.joined.load(Relaxed),
            skips: counters.skips.load(Relaxed),
            ended_slow: counters.ended_slow.load(Relaxed),
            bytes_in: counters.bytes_in.load(Relaxed),
            bytes_out: counters.bytes_out.load(Relaxed),
            ring_bytes: self.0.ring().bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
