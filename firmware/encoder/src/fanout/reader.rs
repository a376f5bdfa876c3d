//! One viewer of a mount: a cursor.

use super::ring::{Ready, Start};
use super::{Mount, Shared};
use bytes::Bytes;
use futures_util::{Stream, stream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Reads a mount. Dropping it leaves the mount.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    cursor: Cursor,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Joining,
    At(u64),
    /// Overtaken: waits for a sync point.
    Skipping,
    Ended,
}

#[derive(Debug)]
struct Cursor {
    place: Place,
    /// The header this reader has.
    generation: u64,
    skips: u32,
    /// Where it was moved to when it was last overtaken.
    moved_to: u64,
}

enum Step {
    Out(Bytes),
    Again,
    Wait,
    End,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let cursor = Cursor { place: Place::Joining, generation: 0, skips: 0, moved_to: 0 };
        Self { shared, cursor }
    }

    /// The next bytes to send: first the header, then frames from a sync point on, as many as are
    /// ready up to the chunk size. `None` when the mount is closed, or when this reader was
    /// overtaken too often. Safe to cancel.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Made before looking: it takes notice of every push from here on, polled or not.
            let pushed = self.shared.pushed.notified();
            match self.cursor.step(&self.shared) {
                Step::Out(data) => {
                    self.shared.counters.bytes_out.fetch_add(data.len() as u64, Relaxed);
                    return Some(data);
                }
                Step::End => return None,
                Step::Again => {}
                Step::Wait => pushed.await,
            }
        }
    }

    /// The reader as a stream, for an HTTP body.
    pub fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        stream::unfold(self, |mut reader| async { Some((reader.next().await?, reader)) })
    }

    /// The mount that is read.
    pub fn mount(&self) -> Mount {
        Mount(Arc::clone(&self.shared))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.counters.clients.fetch_sub(1, Relaxed);
    }
}

impl Cursor {
    fn step(&mut self, shared: &Shared) -> Step {
        let mut ring = shared.ring();
        let start = match self.place {
            Place::Ended => return Step::End,
            Place::Joining => ring.start(&shared.limits),
            Place::Skipping => ring.resume(self.generation),
            Place::At(at) => match ring.read(at) {
                Ready::Chunk { data, next, brings } => {
                    self.place = Place::At(next);
                    self.generation = brings.unwrap_or(self.generation);
                    return Step::Out(data);
                }
                Ready::Wait => return Step::Wait,
                Ready::End => {
                    self.place = Place::Ended;
                    return Step::End;
                }
                Ready::Overtaken => return self.overtaken(at, shared),
            },
        };
        let Some(Start { header, at, generation }) = start else {
            return if ring.closed() { Step::End } else { Step::Wait };
        };
        if matches!(self.place, Place::Skipping) {
            self.moved_to = at;
        }
        self.place = Place::At(at);
        self.generation = generation;
        header.map_or(Step::Again, Step::Out)
    }

    fn overtaken(&mut self, at: u64, shared: &Shared) -> Step {
        let (limits, counters) = (&shared.limits, &shared.counters);
        if at.saturating_sub(self.moved_to) > limits.forgive_frames {
            self.skips = 0;
        }
        self.skips += 1;
        if self.skips > limits.max_skips {
            counters.ended_slow.fetch_add(1, Relaxed);
            self.place = Place::Ended;
            return Step::End;
        }
        counters.skips.fetch_add(1, Relaxed);
        self.place = Place::Skipping;
        Step::Again
    }
}
