//! The frames of one mount: pure state, under the mount's lock.

use super::{Frame, Limits};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Counted for each frame beside its bytes, so that a flood of empty frames is bounded too.
const OVERHEAD: usize = 64;

#[derive(Debug)]
struct Entry {
    data: Bytes,
    /// The header generation that this entry brings to those who read it.
    brings: Option<u64>,
}

/// The newest frames, numbered from 0 since the mount was made.
#[derive(Debug)]
pub(super) struct Ring {
    max_bytes: usize,
    chunk_bytes: usize,
    entries: VecDeque<Entry>,
    /// Number of the first entry.
    first: u64,
    /// Numbers of the entries that are sync points, ascending.
    syncs: VecDeque<u64>,
    bytes: usize,
    header: Option<Bytes>,
    inline: Option<Bytes>,
    generation: u64,
    /// New readers start at or after this entry.
    barrier: u64,
    closed: bool,
    /// The frames of `from..to`, joined: most readers stand at the same place.
    joined: Option<(u64, u64, Bytes)>,
}

/// Where a new reader starts.
pub(super) struct Start {
    pub(super) header: Option<Bytes>,
    pub(super) at: u64,
    pub(super) generation: u64,
}

/// What there is for a reader at some place.
pub(super) enum Ready {
    /// Bytes, the place after them, and the header generation they bring.
    Chunk { data: Bytes, next: u64, brings: Option<u64> },
    /// Nothing yet.
    Wait,
    /// The place is no longer in the ring.
    Overtaken,
    /// All is read, and no more will come.
    End,
}

impl Ring {
    pub(super) fn new(max_bytes: usize, chunk_bytes: usize) -> Self {
        Self {
            max_bytes,
            chunk_bytes,
            entries: VecDeque::new(),
            first: 0,
            syncs: VecDeque::new(),
            bytes: 0,
            header: None,
            inline: None,
            generation: 0,
            barrier: 0,
            closed: false,
            joined: None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn set_header(&mut self, header: Bytes, inline: Option<Bytes>) {
        if self.header.as_ref() == Some(&header) {
            return;
        }
        let had_one = self.header.replace(header).is_some();
        self.generation += 1;
        // The first header has nobody to be sent to: readers wait for it.
        if let Some(inline) = inline.clone().filter(|_| had_one) {
            self.append(inline, false, Some(self.generation));
        }
        self.inline = inline;
        self.barrier = self.end();
    }

    pub(super) fn interrupt(&mut self) {
        self.barrier = self.end();
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.append(frame.data, frame.sync, None);
    }

    fn append(&mut self, data: Bytes, sync: bool, brings: Option<u64>) {
        if sync {
            self.syncs.push_back(self.end());
        }
        self.bytes += data.len() + OVERHEAD;
        self.entries.push_back(Entry { data, brings });
        // The newest entry stays, even if it alone is above the bound.
        while self.bytes > self.max_bytes && self.entries.len() > 1 {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.data.len() + OVERHEAD;
            self.first += 1;
        }
        while self.syncs.front().is_some_and(|&sync| sync < self.first) {
            self.syncs.pop_front();
        }
        if self.joined.as_ref().is_some_and(|(from, ..)| *from < self.first) {
            self.joined = None;
        }
    }

    /// Where a new reader starts; `None` while it has to wait.
    pub(super) fn start(&self, limits: &Limits) -> Option<Start> {
        if limits.header && self.header.is_none() {
            return None;
        }
        let at = self
            .syncs
            .iter()
            .rev()
            .take_while(|&&sync| sync >= self.barrier)
            .take(limits.start_syncs.max(1))
            .last()?;
        let header = self.header.clone().filter(|header| !header.is_empty());
        Some(Start { header, at: *at, generation: self.generation })
    }

    /// Where a reader goes on that was overtaken: the newest sync point, and the header it missed.
    /// `None` while it has to wait.
    pub(super) fn resume(&self, generation: u64) -> Option<Start> {
        let at = *self.syncs.back()?;
        let missed = generation != self.generation && at >= self.barrier;
        Some(Start {
            header: self.inline.clone().filter(|_| missed),
            at,
            generation: if missed { self.generation } else { generation },
        })
    }

    /// What there is from entry `at` on, joined up to the chunk size.
    pub(super) fn read(&mut self, at: u64) -> Ready {
        if at < self.first {
            return Ready::Overtaken;
        }
        let skip = (at - self.first) as usize;
        let Some(head) = self.entries.get(skip) else {
            return if self.closed { Ready::End } else { Ready::Wait };
        };
        let (mut count, mut size, mut brings) = (1, head.data.len(), head.brings);
        for entry in self.entries.range(skip + 1..) {
            size += entry.data.len();
            if size > self.chunk_bytes {
                break;
            }
            count += 1;
            brings = entry.brings.or(brings);
        }
        let next = at + count as u64;
        if count == 1 {
            return Ready::Chunk { data: head.data.clone(), next, brings };
        }
        let data = match &self.joined {
            Some((from, to, data)) if (*from, *to) == (at, next) => data.clone(),
            _ => self.join(at, skip, count),
        };
        Ready::Chunk { data, next, brings }
    }

    fn join(&mut self, at: u64, skip: usize, count: usize) -> Bytes {
        let frames = || self.entries.range(skip..skip + count);
        let mut data = BytesMut::with_capacity(frames().map(|entry| entry.data.len()).sum());
        frames().for_each(|entry| data.extend_from_slice(&entry.data));
        let data = data.freeze();
        self.joined = Some((at, at + count as u64, data.clone()));
        data
    }
}
