//! The [`Ledger`] shared between the one that makes segments and those that send them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flv::segmenter::SegmentEvent;
use futures_util::Stream;
use protocol::ingest::Confirmation;
use tokio::sync::watch;

use super::ledger::{Ledger, Loss, Mismatch, Read};
use crate::spool::Spool;
use crate::spool::index::Key;

/// A handle on the shared ledger; clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Mutex<Ledger>,
    spool: Option<Spool>,
    changed: watch::Sender<()>,
}

/// How far a body has been read, for whoever watches that it goes on.
#[derive(Debug, Default)]
pub struct Cursor(AtomicUsize);

impl Cursor {
    /// The number of pieces that were taken so far.
    pub fn pieces(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// An empty queue that keeps at most `limit` bytes in memory, and everything in `spool`.
    #[must_use]
    pub fn new(limit: usize, spool: Option<Spool>) -> Self {
        Self(Arc::new(Inner {
            ledger: Mutex::new(Ledger::new(limit)),
            spool,
            changed: watch::Sender::new(()),
        }))
    }

    /// Takes what the segmenter made; returns what had to be dropped for it.
    pub fn offer(&self, event: SegmentEvent) -> Vec<Loss> {
        if let Some(spool) = &self.0.spool {
            spool.offer(&event);
        }
        let losses = self.with(|ledger| {
            match event {
                SegmentEvent::Start { seq, header, .. } => ledger.start(seq, header),
                SegmentEvent::Data(data) => ledger.data(data),
                SegmentEvent::End { duration_ms, .. } => ledger.end(duration_ms.into()),
            }
            ledger.evict(|seq| self.let_go(seq))
        });
        self.0.changed.send_replace(());
        losses
    }

    /// The encoder has `seq`.
    ///
    /// # Errors
    /// [`Mismatch`] if it has something else.
    pub fn confirm(&self, seq: u64, confirmation: &Confirmation) -> Result<(), Mismatch> {
        let was_here = self.with(|ledger| ledger.confirm(seq, confirmation))?;
        if let Some(spool) = self.0.spool.as_ref().filter(|_| was_here) {
            spool.confirm(Key { session: spool.session(), seq });
        }
        Ok(())
    }

    /// The encoder will never take `seq`; what is lost by that.
    pub fn refuse(&self, seq: u64) -> Option<Loss> {
        self.with(|ledger| ledger.refuse(seq, |seq| self.let_go(seq)))
    }

    /// Where segments are kept on disk.
    #[must_use]
    pub fn spool(&self) -> Option<&Spool> {
        self.0.spool.as_ref()
    }

    fn let_go(&self, seq: u64) -> bool {
        self.0.spool.as_ref().is_some_and(|spool| spool.let_go(seq))
    }

    /// Runs `f` on the ledger; short, and never across an await.
    pub fn with<R>(&self, f: impl FnOnce(&mut Ledger) -> R) -> R {
        f(&mut self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of every change from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Wakes everyone who waits for a change: a segment was released or confirmed.
    pub fn touch(&self) {
        self.0.changed.send_replace(());
    }

    /// The body of segment `seq`, from its start, going on as the segment is made.
    pub fn body(
        &self,
        seq: u64,
        cursor: Arc<Cursor>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let state = (self.clone(), self.changes(), cursor);
        futures_util::stream::try_unfold(state, move |(queue, mut changes, cursor)| async move {
            loop {
                changes.mark_unchanged();
                let index = cursor.pieces();
                match queue.with(|ledger| ledger.read(seq, index)) {
                    Read::Chunk(chunk) => {
                        cursor.0.store(index + 1, Ordering::Relaxed);
                        return Ok(Some((chunk, (queue, changes, cursor))));
                    }
                    Read::End => return Ok(None),
                    Read::Gone => {
                        return Err(io::Error::other(format!("segment {seq} is no longer kept")));
                    }
                    Read::Wait => {
                        if changes.changed().await.is_err() {
                            return Ok(None);
                        }
                    }
                }
            }
        })
    }
}
