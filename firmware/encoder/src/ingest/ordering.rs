//! Puts the tags of one session's segments into order for live.
//!
//! Segments arrive as bodies that are streamed while they are made, on several connections: N + 1
//! may begin before N has ended, and a part of N may come twice because its first upload broke.
//!
//! ```text
//!  segment N ("at live")     every tag is emitted as it comes
//!  segments after N          their tags are held
//!  segments before N         late: nothing is emitted, the archive alone has them
//!
//!  N complete                        → N + 1 is at live, what is held of it is emitted
//!  N has not moved for PATIENCE
//!    while a later one waits, or
//!  more than the limit is held       → the earliest held one is at live; the gap is noted
//! ```
//! Tags are known by their place in the segment. Whichever upload brings the next one moves the
//! segment on; a place that was passed before must hold the same tag again, else that upload is not
//! a retry and stays out of live.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use flv::Tag;

/// How long a later segment waits for one that has stopped.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How much may be held for later segments.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a later segment waits.
    pub patience: Duration,
    /// Bytes of tags held.
    pub held: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { patience: PATIENCE, held: 16 << 20 }
    }
}

/// What comes out, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The next tag of the live stream.
    Tag(Tag),
    /// Live goes on at another segment.
    Gap(Gap),
}

/// What live has gone without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The segment that was at live.
    pub from: u64,
    /// Tags of it that were emitted.
    pub emitted: usize,
    /// The segment that is at live now.
    pub to: u64,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, emitted, to } = self;
        match emitted {
            0 => write!(f, "live goes on at segment {to} without segment {from}"),
            _ => write!(
                f,
                "live goes on at segment {to}; segment {from} stopped after {emitted} tags"
            ),
        }
    }
}

/// What became of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Emitted, held, or known already.
    InOrder,
    /// Of a segment that live has passed: for the archive alone.
    Late,
    /// Not what an earlier upload had in its place: for the archive alone.
    Differs,
}

#[derive(Debug, Default)]
struct Segment {
    /// Of every tag received: enough to know it again.
    seen: Vec<u64>,
    /// Not emitted yet.
    held: VecDeque<Tag>,
    complete: bool,
}

/// One session's ordering. `now` is monotonic.
#[derive(Debug)]
pub struct Ordering {
    limits: Limits,
    /// The segment at live.
    at: Option<u64>,
    /// It, and those after it.
    segments: BTreeMap<u64, Segment>,
    held_bytes: usize,
    /// When the segment at live last moved.
    moved: Duration,
    /// When a later segment began to wait.
    waiting: Option<Duration>,
}

impl Ordering {
    /// Before the first tag.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            at: None,
            segments: BTreeMap::new(),
            held_bytes: 0,
            moved: Duration::ZERO,
            waiting: None,
        }
    }

    /// The segment at live, once there has been a tag.
    pub fn at(&self) -> Option<u64> {
        self.at
    }

    /// True when what follows of this segment will not be live.
    pub fn is_late(&self, seq: u64) -> bool {
        self.at.is_some_and(|at| seq < at)
    }

    /// The tag at place `index` of segment `seq`. Every upload of a segment begins at 0 and leaves
    /// no place out.
    pub fn tag(
        &mut self,
        seq: u64,
        index: usize,
        tag: &Tag,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> Taken {
        if self.is_late(seq) {
            return Taken::Late;
        }
        let at = *self.at.get_or_insert_with(|| {
            self.moved = now;
            seq
        });
        let segment = self.segments.entry(seq).or_default();
        let mark = fingerprint(tag);
        match segment.seen.get(index) {
            Some(seen) if *seen == mark => return Taken::InOrder,
            Some(_) => return Taken::Differs,
            None if segment.complete || index != segment.seen.len() => return Taken::Differs,
            None => segment.seen.push(mark),
        }
        if seq == at {
            self.moved = now;
            out.push(Output::Tag(tag.clone()));
        } else {
            self.held_bytes += tag.encoded_len();
            segment.held.push_back(tag.clone());
            self.waiting.get_or_insert(now);
            if self.held_bytes > self.limits.held {
                self.skip(now, out);
            }
        }
        Taken::InOrder
    }

    /// Segment `seq` has come whole, `tags` in number.
    pub fn end(&mut self, seq: u64, tags: usize, now: Duration, out: &mut Vec<Output>) {
        if self.is_late(seq) || self.at.is_none() {
            return;
        }
        let segment = self.segments.entry(seq).or_default();
        // An upload that ends where another has more to say is not the whole of it.
        if segment.seen.len() == tags {
            segment.complete = true;
        }
        self.advance(now, out);
    }

    /// When [`tick`](Self::tick) will have something to do, if nothing comes until then.
    pub fn deadline(&self) -> Option<Duration> {
        let waiting = self.waiting?;
        Some(self.moved.max(waiting).saturating_add(self.limits.patience))
    }

    /// Goes on without a segment that has stopped.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.skip(now, out);
        }
    }

    /// Leaves the segment at live for the earliest that has tags.
    fn skip(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Some(from) = self.at else { return };
        let later = self.segments.range(from + 1..).find(|(_, s)| !s.held.is_empty());
        let Some(to) = later.map(|(seq, _)| *seq) else { return };
        let emitted = self.segments.get(&from).map_or(0, |s| s.seen.len());
        self.segments = self.segments.split_off(&to);
        out.push(Output::Gap(Gap { from, emitted, to }));
        self.at = Some(to);
        self.release(now, out);
        self.advance(now, out);
    }

    /// Moves on past every complete segment.
    fn advance(&mut self, now: Duration, out: &mut Vec<Output>) {
        while let Some(at) = self.at
            && self.segments.get(&at).is_some_and(|segment| segment.complete)
        {
            self.segments.remove(&at);
            self.at = Some(at.saturating_add(1));
            self.release(now, out);
        }
    }

    /// Emits what is held of the segment that has come to live.
    fn release(&mut self, now: Duration, out: &mut Vec<Output>) {
        self.moved = now;
        if let Some(segment) = self.at.and_then(|at| self.segments.get_mut(&at)) {
            for tag in segment.held.drain(..) {
                self.held_bytes = self.held_bytes.saturating_sub(tag.encoded_len());
                out.push(Output::Tag(tag));
            }
        }
        let still = self.segments.values().any(|segment| !segment.held.is_empty());
        self.waiting = still.then_some(now);
    }
}

fn fingerprint(tag: &Tag) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tag.kind, tag.timestamp, &tag.data).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
