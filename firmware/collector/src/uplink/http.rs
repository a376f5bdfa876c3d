//! Sends segments by the ingest contract: one PUT each, its body streamed while the segment is
//! made, confirmed by digest (`protocol::ingest`).
//!
//! A segment is sent live from its first byte on. If that fails it is tried again at once while
//! it is still one of the newest two; then it waits its turn among the late ones, which go one
//! at a time, so that live always has the line. What only the spool has goes last
//! ([`backfill`](super::backfill)).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::ingest::{self, Confirmation, Problem};
use protocol::mood::Mood;
use protocol::names::{DeviceName, RoomName, SessionId};
use protocol::payload::EventKind;
use protocol::token::Token;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::board::Board;

use super::ledger::Read;
use super::queue::{Cursor, Queue};

/// How long a body may stand still although there is something to send, and how long the answer
/// may take after the body's end.
const STALL: Duration = Duration::from_secs(8);
/// How long nothing may come from the room before the uplink is called hungry.
const NOTHING: Duration = Duration::from_secs(6);
const CONNECT: Duration = Duration::from_secs(5);
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
const LATE_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// The component's name on the board and in MQTT.
pub const COMPONENT: &str = "uplink";

/// Where segments go, and as whom.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Scheme, host and port of the encoder, without a trailing slash.
    pub base: String,
    /// The room's token.
    pub token: Token,
    /// The room.
    pub room: RoomName,
    /// This device, so that it may take over from itself after a restart.
    pub device: DeviceName,
    /// The session that the segments belong to.
    pub session: SessionId,
}

/// Why a segment did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection, or it broke.
    #[error("the encoder at {base} {cause}")]
    Unreachable {
        /// The encoder's address.
        base: String,
        /// What happened, in words.
        cause: String,
    },
    /// The connection stands, but nothing moves.
    #[error("the encoder at {base} has taken nothing for {stall} s", stall = STALL.as_secs())]
    Stalled {
        /// The encoder's address.
        base: String,
    },
    /// The encoder said no.
    #[error("the encoder answered {status}: {problem}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// Its own words.
        problem: Problem,
    },
    /// The encoder has something else than what was sent.
    #[error(transparent)]
    Mismatch(#[from] super::ledger::Mismatch),
}

impl SendError {
    /// The segment itself is refused: sending it again would be answered the same.
    fn is_final(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if matches!(
            *status,
            StatusCode::BAD_REQUEST
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
                | StatusCode::UNPROCESSABLE_ENTITY
        ))
    }
}

/// Sends a [`Queue`] to a [`Destination`].
#[derive(Clone)]
pub struct Sender {
    pub(super) client: reqwest::Client,
    pub(super) destination: Arc<Destination>,
    pub(super) queue: Queue,
    pub(super) board: Board,
    /// The encoder has confirmed a segment since anything last failed.
    pub(super) connected: Arc<AtomicBool>,
}

impl Sender {
    /// A sender; `ca` is a further authority to trust, in PEM.
    ///
    /// # Errors
    /// If `ca` is not a certificate, or TLS cannot be set up.
    pub fn new(
        destination: Destination,
        ca: Option<&[u8]>,
        queue: Queue,
        board: Board,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("backrow-collector/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .no_proxy();
        if let Some(pem) = ca {
            builder = builder.tls_certs_merge([reqwest::Certificate::from_pem(pem)?]);
        }
        let client = builder.build()?;
        let connected = Arc::default();
        Ok(Self { client, destination: Arc::new(destination), queue, board, connected })
    }

    /// Sends until cancelled; segments that are on their way then are still awaited by
    /// [`drain`](Self::drain).
    pub async fn run(self, cancel: CancellationToken) {
        let tasks = TaskTracker::new();
        let late = self.clone();
        tasks
            .spawn(cancel.clone().run_until_cancelled_owned(async move { late.send_late().await }));
        if let Some(spool) = self.queue.spool().cloned() {
            let sender = self.clone();
            tasks.spawn(
                cancel
                    .clone()
                    .run_until_cancelled_owned(async move { sender.send_spooled(spool).await }),
            );
        }
        let mut changes = self.queue.changes();
        let mut next = 0;
        loop {
            changes.mark_unchanged();
            if let Some(newest) = self.queue.with(|ledger| ledger.newest()) {
                for seq in next..=newest {
                    let live = self.clone();
                    tasks.spawn(
                        cancel
                            .clone()
                            .run_until_cancelled_owned(async move { live.send_live(seq).await }),
                    );
                }
                next = next.max(newest + 1);
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(NOTHING), if self.queue.with(|l| l.backlog().0 == 0) => {
                    self.board.set(COMPONENT, Mood::Hungry, "there is nothing to send: see capture");
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Waits until everything is confirmed, at most `limit`; says whether it is.
    pub async fn drain(&self, limit: Duration) -> bool {
        let mut changes = self.queue.changes();
        tokio::time::timeout(limit, async {
            while self.queue.with(|ledger| ledger.backlog().0) > 0 {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        })
        .await
        .is_ok()
    }

    async fn send_live(&self, seq: u64) {
        let mut delay = RETRY.0;
        loop {
            match self.put(seq).await {
                Ok(()) => return,
                Err(error) if self.settle(seq, &error) => return,
                Err(_) => {}
            }
            if !self.queue.with(|ledger| ledger.is_recent(seq)) {
                self.queue.with(|ledger| ledger.release(seq));
                self.queue.touch();
                return;
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(RETRY.1);
        }
    }

    async fn send_late(&self) {
        let mut changes = self.queue.changes();
        let mut delay = LATE_RETRY.0;
        loop {
            changes.mark_unchanged();
            let Some(seq) = self.queue.with(|ledger| ledger.claim()) else {
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match self.put(seq).await {
                Ok(()) => delay = LATE_RETRY.0,
                Err(error) if self.settle(seq, &error) => {}
                Err(_) => {
                    self.queue.with(|ledger| ledger.release(seq));
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(LATE_RETRY.1);
                }
            }
        }
    }

    /// One PUT of one segment, from its start to its confirmation.
    async fn put(&self, seq: u64) -> Result<(), SendError> {
        let to = &self.destination;
        let cursor = Arc::new(Cursor::default());
        let body = reqwest::Body::wrap_stream(self.queue.body(seq, cursor.clone()));
        let request = self.request(&to.session, seq, body).send();
        let response = tokio::select! {
            response = request => response.map_err(|error| self.unreachable(&error))?,
            () = self.stalled(seq, &cursor) =>
                return Err(SendError::Stalled { base: to.base.clone() }),
        };
        let confirmation: Confirmation = self.answer(response).await?;
        self.queue.confirm(seq, &confirmation)?;
        self.connected.store(true, Ordering::Relaxed);
        self.queue.touch();
        self.report_confirmed(seq);
        Ok(())
    }

    /// A PUT of a segment of any session.
    pub(super) fn request(
        &self,
        session: &SessionId,
        seq: u64,
        body: reqwest::Body,
    ) -> reqwest::RequestBuilder {
        let to = &self.destination;
        self.client
            .put(format!("{}{}", to.base, ingest::segment_path(&to.room, session, seq)))
            .header(reqwest::header::AUTHORIZATION, ingest::bearer(&to.token))
            .header(reqwest::header::CONTENT_TYPE, ingest::CONTENT_TYPE)
            .header(ingest::DEVICE_HEADER, to.device.as_str())
            .body(body)
    }

    /// What the encoder says, if it is a yes.
    pub(super) async fn answer<T: serde::de::DeserializeOwned>(
        &self,
        response: reqwest::Response,
    ) -> Result<T, SendError> {
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            let problem = serde_json::from_str(&text).unwrap_or_else(|_| {
                Problem::new("unknown", "no reason given")
                    .hint("is this address a Backrow encoder's?")
            });
            return Err(SendError::Refused { status, problem });
        }
        response.json().await.map_err(|error| self.unreachable(&error))
    }

    /// Ends when the connection has taken nothing for too long although there was something.
    async fn stalled(&self, seq: u64, cursor: &Cursor) {
        let mut changes = self.queue.changes();
        loop {
            let pieces = cursor.pieces();
            if self.queue.with(|ledger| ledger.read(seq, pieces)) == Read::Wait {
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            tokio::time::sleep(STALL).await;
            if cursor.pieces() == pieces {
                return;
            }
        }
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> SendError {
        let cause = if error.is_connect() {
            "cannot be reached"
        } else if error.is_timeout() {
            "does not answer"
        } else {
            "closed the connection"
        };
        let mut detail: &dyn std::error::Error = error;
        while let Some(source) = detail.source() {
            detail = source;
        }
        SendError::Unreachable {
            base: self.destination.base.clone(),
            cause: format!("{cause} ({detail})"),
        }
    }

    /// Tells the board of a failure; true if the segment is given up for good.
    fn settle(&self, seq: u64, error: &SendError) -> bool {
        self.connected.store(false, Ordering::Relaxed);
        let (segments, bytes, _) = self.queue.with(|ledger| ledger.backlog());
        if error.is_final() {
            if let Some(loss) = self.queue.refuse(seq) {
                let seconds = loss.duration_ms as f64 / 1000.0;
                self.board.event(
                    EventKind::Loss,
                    COMPONENT,
                    format!("segment {seq} ({seconds:.1} s) is lost: {error}"),
                );
            }
            self.queue.touch();
        }
        tracing::debug!(seq, %error, "a segment did not arrive");
        self.board.set(
            COMPONENT,
            Mood::Sad,
            format!("{error}; {segments} segments ({} kB) wait in memory", bytes / 1000),
        );
        error.is_final()
    }

    fn report_confirmed(&self, seq: u64) {
        let (segments, totals) = self.queue.with(|ledger| (ledger.backlog().0, ledger.totals()));
        if totals.confirmed == 1 {
            tracing::info!(seq, "the first segment is confirmed");
        }
        // The one being made is always there.
        let reason = if segments > 2 {
            format!("sending; {segments} segments are still to be confirmed")
        } else {
            "sending; the encoder confirms every segment".to_owned()
        };
        self.board.set(COMPONENT, Mood::Happy, reason);
    }
}
