//! The segments that the encoder has not confirmed yet, in memory, within a bound. Pure.
//!
//! ```text
//!            start            end                 confirm (digest agrees)
//!   (none) ───────▶ open ───────────▶ whole ───────────────────────────────▶ gone
//!                     │ read while        │ claim ▲
//!                     │ it grows          ▼       │ release (sending failed)
//!                     │                 claimed ──┘
//!                     └────────────────── evicted, counted as lost: the bound is reached
//! ```
//! At the bound, what is safe on disk is let go first, and is no loss. Then the oldest unconfirmed
//! segment is evicted, never the one being made: the talk as it is now is worth more than the gap
//! that is already there.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::ingest::Confirmation;
use sha2::{Digest, Sha256};

/// Segments made but not yet confirmed, oldest first.
#[derive(Debug)]
pub struct Ledger {
    limit: usize,
    bytes: usize,
    segments: VecDeque<Entry>,
    totals: Totals,
}

/// What has become of the segments so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Segments the encoder has confirmed.
    pub confirmed: u64,
    /// Bytes of them.
    pub confirmed_bytes: u64,
    /// Segments lost: evicted at the bound, or refused for good.
    pub lost: u64,
    /// Bytes of them.
    pub lost_bytes: u64,
    /// Milliseconds of media in them.
    pub lost_ms: u64,
}

/// A segment that is gone without having been confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Its number in the session.
    pub seq: u64,
    /// Its size in bytes, as far as it was made.
    pub bytes: usize,
    /// Its length in milliseconds; zero if it was still being made.
    pub duration_ms: u64,
}

/// One step of reading a segment's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The next piece of the body.
    Chunk(Bytes),
    /// Nothing more yet: the segment is still being made.
    Wait,
    /// The body is whole.
    End,
    /// The segment is no longer kept.
    Gone,
}

/// The encoder's confirmation does not agree with what was sent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "segment {seq}: the encoder confirmed {got_bytes} bytes with digest {got_sha256}, \
     but {bytes} bytes with digest {sha256} were sent"
)]
pub struct Mismatch {
    seq: u64,
    bytes: u64,
    sha256: String,
    got_bytes: u64,
    got_sha256: String,
}

#[derive(Debug)]
struct Entry {
    seq: u64,
    chunks: Vec<Bytes>,
    bytes: usize,
    duration_ms: u64,
    hasher: Sha256,
    /// Set when the segment is whole.
    digest: Option<String>,
    claimed: bool,
}

impl Ledger {
    /// A ledger that keeps at most `limit` bytes, or the one segment being made if it is larger.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, segments: VecDeque::new(), totals: Totals::default() }
    }

    /// A new segment begins with its header; it counts as claimed by whoever sends it live.
    pub fn start(&mut self, seq: u64, header: Bytes) {
        self.segments.push_back(Entry {
            seq,
            chunks: Vec::new(),
            bytes: 0,
            duration_ms: 0,
            hasher: Sha256::new(),
            digest: None,
            claimed: true,
        });
        self.data(header);
    }

    /// More of the segment that is being made. To be followed by [`evict`](Self::evict).
    pub fn data(&mut self, chunk: Bytes) {
        if let Some(open) = self.segments.back_mut().filter(|entry| entry.digest.is_none()) {
            open.hasher.update(&chunk);
            open.bytes += chunk.len();
            self.bytes += chunk.len();
            open.chunks.push(chunk);
        }
    }

    /// The segment that is being made is whole.
    pub fn end(&mut self, duration_ms: u64) {
        if let Some(open) = self.segments.back_mut().filter(|entry| entry.digest.is_none()) {
            open.duration_ms = duration_ms;
            let digest = std::mem::take(&mut open.hasher).finalize();
            open.digest = Some(hex(&digest));
        }
    }

    /// The piece of segment `seq` at `index`.
    #[must_use]
    pub fn read(&self, seq: u64, index: usize) -> Read {
        let Some(entry) = self.entry(seq) else { return Read::Gone };
        match entry.chunks.get(index) {
            Some(chunk) => Read::Chunk(chunk.clone()),
            None if entry.digest.is_some() => Read::End,
            None => Read::Wait,
        }
    }

    /// The newest segment's number, whole or not.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.segments.back().map(|entry| entry.seq)
    }

    /// Whether `seq` is the newest segment or the one before it: worth sending as live.
    #[must_use]
    pub fn is_recent(&self, seq: u64) -> bool {
        self.newest().is_some_and(|newest| seq + 1 >= newest)
    }

    /// Takes the oldest whole segment that nobody is sending, to send it late.
    pub fn claim(&mut self) -> Option<u64> {
        let entry =
            self.segments.iter_mut().find(|entry| !entry.claimed && entry.digest.is_some())?;
        entry.claimed = true;
        Some(entry.seq)
    }

    /// Sending `seq` failed: it is free to be claimed again.
    pub fn release(&mut self, seq: u64) {
        if let Some(entry) = self.segments.iter_mut().find(|entry| entry.seq == seq) {
            entry.claimed = false;
        }
    }

    /// The encoder has `seq`; it is let go if the digests agree. False if it is not here any more.
    ///
    /// # Errors
    /// [`Mismatch`] if size or digest differ from what was sent; the segment stays.
    pub fn confirm(&mut self, seq: u64, confirmation: &Confirmation) -> Result<bool, Mismatch> {
        let Some(at) = self.segments.iter().position(|entry| entry.seq == seq) else {
            return Ok(false);
        };
        let Some(entry) = self.segments.get(at) else { return Ok(false) };
        let digest = entry.digest.clone().unwrap_or_default();
        if entry.bytes as u64 != confirmation.bytes
            || !digest.eq_ignore_ascii_case(&confirmation.sha256)
        {
            return Err(Mismatch {
                seq,
                bytes: entry.bytes as u64,
                sha256: digest,
                got_bytes: confirmation.bytes,
                got_sha256: confirmation.sha256.clone(),
            });
        }
        self.totals.confirmed += 1;
        self.totals.confirmed_bytes += entry.bytes as u64;
        self.bytes -= entry.bytes;
        self.segments.remove(at);
        Ok(true)
    }

    /// The encoder will never take `seq`: it is let go and counted as lost, unless it is kept
    /// `elsewhere`.
    pub fn refuse(&mut self, seq: u64, elsewhere: impl FnOnce(u64) -> bool) -> Option<Loss> {
        let at = self.segments.iter().position(|entry| entry.seq == seq)?;
        if elsewhere(seq) {
            self.remove(at);
            return None;
        }
        self.lose(at)
    }

    /// How many segments are whole and still to be confirmed: none while the line keeps up.
    #[must_use]
    pub fn whole(&self) -> usize {
        self.segments.iter().filter(|entry| entry.digest.is_some()).count()
    }

    /// How many segments wait, how many bytes they are, and how many milliseconds of media.
    #[must_use]
    pub fn backlog(&self) -> (usize, usize, u64) {
        let ms = self.segments.iter().map(|entry| entry.duration_ms).sum();
        (self.segments.len(), self.bytes, ms)
    }

    /// What has become of the segments so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        self.segments.iter().find(|entry| entry.seq == seq)
    }

    /// Lets go of what is too much. `elsewhere` says whether a segment is kept on disk and may go
    /// without being lost; it is asked when nothing else will do. What is lost is returned.
    pub fn evict(&mut self, mut elsewhere: impl FnMut(u64) -> bool) -> Vec<Loss> {
        let mut losses = Vec::new();
        while self.bytes > self.limit && self.segments.len() > 1 {
            // What is on its way to the encoder is the second choice.
            let idle = |entry: &Entry| entry.digest.is_some() && !entry.claimed;
            let claimed = |entry: &Entry| entry.digest.is_some() && entry.claimed;
            let safe =
                self.segments.iter().position(|entry| idle(entry) && elsewhere(entry.seq)).or_else(
                    || self.segments.iter().position(|it| claimed(it) && elsewhere(it.seq)),
                );
            match safe {
                Some(at) => {
                    self.remove(at);
                }
                None => losses.extend(self.lose(0)),
            }
        }
        losses
    }

    fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = self.segments.remove(at)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn lose(&mut self, at: usize) -> Option<Loss> {
        let entry = self.remove(at)?;
        self.totals.lost += 1;
        self.totals.lost_bytes += entry.bytes as u64;
        self.totals.lost_ms += entry.duration_ms;
        Some(Loss { seq: entry.seq, bytes: entry.bytes, duration_ms: entry.duration_ms })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
