//! Sends what only the disk has: what memory could not keep, and what earlier runs left behind.
//!
//! ```text
//!  wait until live is confirmed ─▶ oldest segment ─▶ new session? ask what the encoder has of it
//!        ▲                                              │
//!        │                        it has it, same bytes │ not yet
//!        └───────── confirmed ◀─────────────────────────┴──▶ PUT, in pieces, between which live
//!                                                            goes first
//! ```
//! One segment at a time, and nothing before the encoder has taken a live one: it tells the session
//! on air from an earlier one by who came first.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use protocol::ingest::{self, Confirmation, SegmentInfo, SessionListing};
use protocol::names::SessionId;
use protocol::payload::EventKind;
use sha2::{Digest, Sha256};

use super::http::{SendError, Sender};
use super::ledger::hex;
use super::pace::Pace;
use crate::spool::index::Key;
use crate::spool::measure::measure;
use crate::spool::{COMPONENT, ReadError, Spool};

/// Bytes that are handed to the connection at once.
const PIECE: usize = 16 * 1024;
/// Live has had to wait when its segments are unconfirmed for so long.
const WAITED: Duration = Duration::from_millis(800);
/// How long one segment may take beside its pace.
const SLACK: Duration = Duration::from_secs(60);
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Why a segment of the disk was not sent.
#[derive(Debug, thiserror::Error)]
enum BackfillError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("the encoder did not take {0} in time")]
    Slow(Key),
    #[error("{0}: the encoder confirmed other bytes than were sent")]
    Mismatch(Key),
}

/// What the encoder has of the session at hand.
#[derive(Debug)]
struct Known {
    session: SessionId,
    segments: BTreeMap<u64, SegmentInfo>,
}

impl Sender {
    /// Sends until cancelled.
    pub(super) async fn send_spooled(&self, spool: Spool) {
        let mut changes = spool.changes();
        let mut pace = Pace::default();
        let mut known = None;
        let mut delay = RETRY.0;
        let mut failed = None;
        loop {
            self.live_is_confirmed().await;
            changes.mark_unchanged();
            let Some((key, _)) = spool.oldest_waiting() else {
                known = None;
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match self.backfill(&spool, key, &mut known, &mut pace).await {
                Ok(()) => delay = RETRY.0,
                Err(error) => {
                    if self.is_given_up(&spool, key, &error, failed == Some(key)) {
                        continue;
                    }
                    failed = Some(key);
                    // The encoder may be another one by now.
                    known = None;
                    tracing::debug!(%key, %error, "a segment of the disk did not arrive");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(RETRY.1);
                }
            }
        }
    }

    async fn backfill(
        &self,
        spool: &Spool,
        key: Key,
        known: &mut Option<Known>,
        pace: &mut Pace,
    ) -> Result<(), BackfillError> {
        if known.as_ref().is_none_or(|known| known.session != key.session) {
            *known = Some(self.ask(spool, key.session).await?);
        }
        let bytes = spool.read(key).await?;
        let ours = Confirmation { bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)) };
        let theirs = known.as_mut().and_then(|known| known.segments.remove(&key.seq));
        if theirs.is_some_and(|it| agree(&ours, it.bytes, &it.sha256)) {
            spool.confirm(key);
            return Ok(());
        }
        if !measure(&bytes).complete {
            spool.set_aside(key, "it is damaged".to_owned());
            return Ok(());
        }
        let limit = pace.time_for(bytes.len()).saturating_add(SLACK);
        let waited = Arc::new(AtomicBool::new(false));
        let body = reqwest::Body::wrap_stream(self.clone().paced(bytes, *pace, waited.clone()));
        let sending = async {
            let response = self.request(&key.session, key.seq, body).send().await;
            let response = response.map_err(|error| self.unreachable(&error))?;
            self.answer::<Confirmation>(response).await
        };
        let answer = tokio::time::timeout(limit, sending).await;
        pace.sent(waited.load(Ordering::Relaxed) || answer.is_err());
        let confirmation = answer.map_err(|_| BackfillError::Slow(key))??;
        if !agree(&ours, confirmation.bytes, &confirmation.sha256) {
            return Err(BackfillError::Mismatch(key));
        }
        spool.confirm(key);
        Ok(())
    }

    /// Which of the session's segments that wait here the encoder has.
    async fn ask(&self, spool: &Spool, session: SessionId) -> Result<Known, SendError> {
        let to = &self.destination;
        let asking = self
            .client
            .get(format!("{}{}", to.base, ingest::session_path(&to.room, &session)))
            .header(reqwest::header::AUTHORIZATION, ingest::bearer(&to.token))
            .header(ingest::DEVICE_HEADER, to.device.as_str())
            .timeout(SLACK)
            .send();
        let response = asking.await.map_err(|error| self.unreachable(&error))?;
        let listing: SessionListing = self.answer(response).await?;
        let segments = listing
            .segments
            .into_iter()
            .filter(|info| spool.is_unconfirmed(Key { session, seq: info.seq }))
            .map(|info| (info.seq, info))
            .collect();
        Ok(Known { session, segments })
    }

    /// The body in pieces, each of which goes when live has nothing to send.
    fn paced(
        self,
        bytes: Bytes,
        pace: Pace,
        waited: Arc<AtomicBool>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let state = (self, bytes, waited);
        futures_util::stream::try_unfold(state, move |(sender, mut bytes, waited)| async move {
            if bytes.is_empty() {
                return Ok(None);
            }
            if tokio::time::timeout(WAITED, sender.live_is_confirmed()).await.is_err() {
                waited.store(true, Ordering::Relaxed);
                sender.live_is_confirmed().await;
            }
            let piece = bytes.split_to(bytes.len().min(PIECE));
            tokio::time::sleep(pace.time_for(piece.len())).await;
            Ok(Some((piece, (sender, bytes, waited))))
        })
    }

    /// Waits until every whole segment in memory is confirmed, and the encoder takes live.
    async fn live_is_confirmed(&self) {
        let mut changes = self.queue.changes();
        loop {
            changes.mark_unchanged();
            let confirmed = self.connected.load(Ordering::Relaxed);
            if confirmed && self.queue.with(|ledger| ledger.whole()) == 0 {
                return;
            }
            if changes.changed().await.is_err() {
                // Nothing comes any more: whoever runs this is about to be cancelled.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether it is of no use to try this segment again; it is out of the way then.
    fn is_given_up(&self, spool: &Spool, key: Key, error: &BackfillError, again: bool) -> bool {
        match error {
            // The first time it may be the disk; one that cannot be read must not hold up the rest.
            BackfillError::Read(ReadError::Disk(disk)) if again => {
                if disk.kind() == io::ErrorKind::NotFound {
                    spool.forget(key);
                    self.board.event(EventKind::Loss, COMPONENT, format!("{key} is lost: {disk}"));
                } else {
                    spool.set_aside(key, disk.to_string());
                }
                true
            }
            BackfillError::Send(SendError::Refused { problem, .. })
                if is_about_the_segment(&problem.error) =>
            {
                spool.set_aside(key, problem.to_string());
                true
            }
            _ => false,
        }
    }
}

/// The encoder's codes for a segment that it will never take. (Other refusals are about who sends
/// it, and pass when that is put right.)
fn is_about_the_segment(code: &str) -> bool {
    matches!(code, "broken-flv" | "wrong-codec" | "oversize-tag" | "oversize-segment")
}

fn agree(ours: &Confirmation, bytes: u64, sha256: &str) -> bool {
    ours.bytes == bytes && ours.sha256.eq_ignore_ascii_case(sha256)
}
