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
//! The oldest unconfirmed segment is evicted first, never the one being made: the talk as
//! it is now is worth more than the gap that is already there.

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
    pub fn start(&mut self, seq: u64, header: Bytes) -> Vec<Loss> {
        self.segments.push_back(Entry {
            seq,
            chunks: Vec::new(),
            bytes: 0,
            duration_ms: 0,
            hasher: Sha256::new(),
            digest: None,
            claimed: true,
        });
        self.data(header)
    }

    /// More of the segment that is being made. What had to go for it is returned.
    pub fn data(&mut self, chunk: Bytes) -> Vec<Loss> {
        if let Some(open) = self.segments.back_mut().filter(|entry| entry.digest.is_none()) {
            open.hasher.update(&chunk);
            open.bytes += chunk.len();
            self.bytes += chunk.len();
            open.chunks.push(chunk);
        }
        self.evict()
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

    /// The encoder has `seq`; it is let go if the digests agree.
    ///
    /// # Errors
    /// [`Mismatch`] if size or digest differ from what was sent; the segment stays.
    pub fn confirm(&mut self, seq: u64, confirmation: &Confirmation) -> Result<(), Mismatch> {
        let Some(at) = self.segments.iter().position(|entry| entry.seq == seq) else {
            return Ok(());
        };
        let Some(entry) = self.segments.get(at) else { return Ok(()) };
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
        Ok(())
    }

    /// The encoder will never take `seq`: it is let go and counted as lost.
    pub fn refuse(&mut self, seq: u64) -> Option<Loss> {
        let at = self.segments.iter().position(|entry| entry.seq == seq)?;
        self.lose(at)
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

    fn evict(&mut self) -> Vec<Loss> {
        let mut losses = Vec::new();
        while self.bytes > self.limit && self.segments.len() > 1 {
            losses.extend(self.lose(0));
        }
        losses
    }

    fn lose(&mut self, at: usize) -> Option<Loss> {
        let entry = self.segments.remove(at)?;
        self.bytes -= entry.bytes;
        self.totals.lost += 1;
        self.totals.lost_bytes += entry.bytes as u64;
        self.totals.lost_ms += entry.duration_ms;
        Some(Loss { seq: entry.seq, bytes: entry.bytes, duration_ms: entry.duration_ms })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn confirmation(body: &[u8]) -> Confirmation {
        Confirmation { bytes: body.len() as u64, sha256: hex(&Sha256::digest(body)) }
    }

    fn segment(ledger: &mut Ledger, seq: u64, body: &'static [u8]) -> Vec<Loss> {
        let losses = ledger.start(seq, Bytes::from_static(body));
        ledger.end(2_000);
        losses
    }

    #[test]
    fn a_segment_is_read_while_it_grows() {
        let mut ledger = Ledger::new(1_000);
        ledger.start(0, Bytes::from_static(b"head"));
        assert_eq!(ledger.read(0, 0), Read::Chunk(Bytes::from_static(b"head")));
        assert_eq!(ledger.read(0, 1), Read::Wait);
        ledger.data(Bytes::from_static(b"tag"));
        assert_eq!(ledger.read(0, 1), Read::Chunk(Bytes::from_static(b"tag")));
        ledger.end(2_000);
        assert_eq!(ledger.read(0, 2), Read::End);
        ledger.confirm(0, &confirmation(b"headtag")).unwrap();
        assert_eq!(ledger.read(0, 0), Read::Gone);
        assert_eq!(ledger.totals().confirmed_bytes, 7);
    }

    #[test]
    fn a_wrong_digest_keeps_the_segment() {
        let mut ledger = Ledger::new(1_000);
        segment(&mut ledger, 3, b"body");
        let error = ledger.confirm(3, &confirmation(b"boby")).unwrap_err();
        assert!(error.to_string().starts_with("segment 3: the encoder confirmed 4 bytes"));
        assert_eq!(ledger.backlog(), (1, 4, 2_000));
        // Still being made: nothing can be confirmed yet.
        ledger.start(4, Bytes::from_static(b"x"));
        assert!(ledger.confirm(4, &confirmation(b"x")).is_err());
    }

    #[test]
    fn the_oldest_goes_at_the_bound_and_is_counted() {
        let mut ledger = Ledger::new(10);
        assert!(segment(&mut ledger, 0, b"aaaa").is_empty());
        assert!(segment(&mut ledger, 1, b"bbbb").is_empty());
        let losses = segment(&mut ledger, 2, b"cccc");
        assert_eq!(losses, [Loss { seq: 0, bytes: 4, duration_ms: 2_000 }]);
        assert_eq!(ledger.totals().lost_ms, 2_000);
        assert_eq!(ledger.read(0, 0), Read::Gone);
    }

    #[test]
    fn a_segment_larger_than_the_bound_is_still_made() {
        let mut ledger = Ledger::new(2);
        assert!(segment(&mut ledger, 0, b"aaaa").is_empty());
        assert_eq!(ledger.read(0, 0), Read::Chunk(Bytes::from_static(b"aaaa")));
    }

    #[test]
    fn late_segments_are_claimed_oldest_first_and_once() {
        let mut ledger = Ledger::new(1_000);
        for seq in 0..3 {
            segment(&mut ledger, seq, b"body");
            ledger.release(seq);
        }
        assert_eq!((ledger.claim(), ledger.claim()), (Some(0), Some(1)));
        ledger.release(0);
        assert_eq!((ledger.claim(), ledger.claim(), ledger.claim()), (Some(0), Some(2), None));
        assert!(ledger.is_recent(2) && ledger.is_recent(1) && !ledger.is_recent(0));
    }

    proptest! {
        /// Every segment ends as confirmed, lost or waiting, and the bound holds.
        #[test]
        fn nothing_vanishes(steps in proptest::collection::vec((0_u8..5, 1_usize..40), 1..200)) {
            let limit = 100;
            let mut ledger = Ledger::new(limit);
            let (mut made, mut open) = (0_u64, false);
            for (step, size) in steps {
                match step {
                    0 => {
                        if open { ledger.end(1); }
                        ledger.start(made, Bytes::from(vec![1; size]));
                        (made, open) = (made + 1, true);
                    }
                    1 => { ledger.data(Bytes::from(vec![2; size])); }
                    2 => { ledger.end(1); open = false; }
                    3 => { ledger.release(made.saturating_sub(size as u64)); ledger.claim(); }
                    _ => { ledger.refuse(made.saturating_sub(size as u64)); }
                }
                let (waiting, bytes, _) = ledger.backlog();
                prop_assert_eq!(waiting as u64 + ledger.totals().lost, made);
                prop_assert!(bytes <= limit || waiting == 1);
            }
        }
    }
}
