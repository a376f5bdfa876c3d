//! What there is of a session, and of a room.

use std::collections::BTreeMap;

use jiff::Timestamp;
use protocol::ingest::{SegmentInfo, SessionListing};
use protocol::names::SessionId;
use serde::Serialize;

use super::index::{Contents, Line, measure};
use super::{Archive, Error};

/// Numbers that are missing between the first and the last segment: `from` to `to`, both missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionSummary {
    /// The session.
    pub session: SessionId,
    /// UTC of its first frame by the sender's clock; else when the session was begun.
    pub started: Timestamp,
    /// From the first frame to the last, milliseconds, with what is missing between.
    pub duration_ms: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Whole segments.
    pub segments: usize,
    /// Segments of which only the beginning came.
    pub partial: usize,
    /// Segments of which nothing came.
    pub gaps: Vec<Gap>,
}

impl Archive {
    /// The whole segments of a session; none if nothing was ever received of it.
    pub async fn listing(&self, session: SessionId) -> Result<SessionListing, Error> {
        self.blocking(move |archive| {
            let path = archive.session_path(session);
            let whole = match path.is_dir() {
                true => archive.index_read(&path)?.whole,
                false => BTreeMap::new(),
            };
            let segments = whole
                .into_values()
                .map(|Line { seq, bytes, sha256, .. }| SegmentInfo { seq, bytes, sha256 })
                .collect();
            Ok(SessionListing { v: protocol::ingest::VERSION, segments })
        })
        .await
    }

    /// What is stored under one number, without reading the file again.
    pub async fn has(&self, session: SessionId, seq: u64) -> Result<bool, Error> {
        self.blocking(move |archive| {
            let name = protocol::ingest::segment_file(seq);
            Ok(archive.session_path(session).join(name).exists())
        })
        .await
    }

    /// Every recording of the room, oldest first.
    pub async fn sessions(&self) -> Result<Vec<SessionSummary>, Error> {
        self.blocking(|archive| {
            archive
                .session_ids()?
                .into_iter()
                .filter_map(|session| archive.summary(session).transpose())
                .collect()
        })
        .await
    }

    fn summary(&self, session: SessionId) -> Result<Option<SessionSummary>, Error> {
        let Contents { whole: mut lines, partial } =
            self.index_read(&self.session_path(session))?;
        let segments = lines.len();
        for (seq, path) in &partial {
            lines.insert(*seq, Line { seq: *seq, ..measure(path)?.0 });
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let wallclock = lines.values().next().and_then(|line| line.times.wallclock_ms);
        let started = wallclock.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let first = lines.values().find_map(|line| line.times.first_ms);
        let last = lines.values().rev().find_map(|line| line.times.last_ms);
        // FLV's clock has 32 bits: 49 days.
        let duration = first.zip(last).map_or(0, |(first, last)| last.wrapping_sub(first));
        Ok(Some(SessionSummary {
            session,
            started: started.unwrap_or_else(|| session.began()),
            duration_ms: u64::from(duration),
            bytes: lines.values().map(|line| line.bytes).sum(),
            segments,
            partial: partial.len(),
            gaps: gaps(lines.keys().copied()),
        }))
    }
}

fn gaps(numbers: impl Iterator<Item = u64>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut expected = None;
    for seq in numbers {
        if let Some(from) = expected.filter(|from| *from < seq) {
            gaps.push(Gap { from, to: seq - 1 });
        }
        expected = seq.checked_add(1);
    }
    gaps
}
