//! The RTMP listener: one task a connection, around `rtmp::Ingest`.
//!
//! Publishing by RTMP has none of the segments' guarantees: what a broken connection loses is lost.
//! Else it is as good: the same rules of who may publish, and an archive of the same shape under a
//! session of the encoder's making.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flv::{Headers, Tag};
use protocol::names::SessionId;
use rtmp::{Event, Ingest, Limits, PublishRequest, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::clock::SharedClock;

use super::http::admit_token;
use super::publisher::Role;
use super::recorder::Recorder;
use super::{Options, Refused};
use crate::room::{Room, Rooms};

/// Bytes read at a time.
const READ: usize = 64 * 1024;
/// How long a connection that is over is kept for the other side to close.
const LINGER: Duration = Duration::from_secs(2);

/// Why a connection ended; for the log.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the publisher ended its stream")]
    Orderly,
    #[error("the client closed the connection")]
    Closed,
    #[error("{0}")]
    Refused(String),
    #[error("no publish was asked for within {0:?}")]
    Handshake(Duration),
    #[error("nothing came for {0:?}")]
    Stalled(Duration),
    #[error("the client does not read what it is sent")]
    NotReading,
    #[error("another publisher has taken over")]
    TakenOver,
    #[error("the encoder is stopping")]
    Stopping,
    #[error(transparent)]
    Protocol(#[from] rtmp::Error),
    #[error(transparent)]
    Socket(#[from] std::io::Error),
}

/// Takes connections until cancelled, then sees every recording to its end.
pub async fn listen(
    listener: TcpListener,
    rooms: Arc<Rooms>,
    clock: SharedClock,
    options: Options,
    cancel: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let places = Arc::new(Semaphore::new(options.connections));
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: it would be the same at once.
                tracing::warn!(%error, "cannot accept an RTMP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%peer, "closed: there are {} RTMP connections", options.connections);
            continue;
        };
        let connection = Connection {
            stream,
            peer,
            rooms: Arc::clone(&rooms),
            clock: Arc::clone(&clock),
            options,
            finishing: tracker.clone(),
        };
        let cancel = cancel.clone();
        tracker.spawn(async move {
            connection.run(cancel).await;
            drop(place);
        });
    }
    tracker.close();
    tracker.wait().await;
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    rooms: Arc<Rooms>,
    clock: SharedClock,
    options: Options,
    finishing: TaskTracker,
}

/// A publish that was let in.
struct Publishing {
    room: Arc<Room>,
    session: SessionId,
    recorder: Recorder,
    headers: Headers,
}

impl Publishing {
    /// Puts a tag on air. After a long silence the room has to be asked for again, and may be
    /// somebody else's by then.
    async fn air(&mut self, tag: Tag) -> Result<(), Ended> {
        let (desk, session) = (&self.room.desk, self.session);
        self.headers.keep(&tag);
        if desk.direct(session, tag.clone()).await {
            return Ok(());
        }
        if !matches!(desk.claim(session, None), Ok(Role::Live { .. })) {
            return Err(Ended::TakenOver);
        }
        for tag in self.headers.at(tag.timestamp).chain([tag]) {
            if !desk.direct(session, tag).await {
                return Err(Ended::TakenOver);
            }
        }
        Ok(())
    }
}

impl Connection {
    async fn run(mut self, cancel: CancellationToken) {
        let mut ingest = Ingest::new(Limits::default());
        let mut publishing = None;
        let _ = self.stream.set_nodelay(true);
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ended::Stopping,
            ended = self.converse(&mut ingest, &mut publishing) => match ended {
                Ok(never) => match never {},
                Err(ended) => ended,
            },
        };
        if let Some(Publishing { room, session, recorder, .. }) = publishing {
            tracing::info!(peer = %self.peer, room = %room.name, %session, "RTMP: {ended}");
            recorder.finish().await;
            room.desk.release(session).await;
        } else {
            tracing::info!(peer = %self.peer, "RTMP: {ended}");
        }
        if matches!(ended, Ended::TakenOver | Ended::Stopping | Ended::Stalled(_)) {
            let _ = ingest.refuse(Refusal::Rejected, &ended.to_string());
        }
        let _ = self.send(&mut ingest).await;
        if matches!(ended, Ended::Orderly) {
            // The last word is the client's: rtmp2sink takes a close before its own for a failure.
            self.discard().await;
        }
        // The client reads our last words before it learns that the connection is closed.
        let _ = self.stream.shutdown().await;
        self.discard().await;
    }

    /// Reads on for a little, until the client closes.
    async fn discard(&mut self) {
        let mut rest = [0; 4096];
        let reading =
            async { while self.stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        let _ = timeout(LINGER, reading).await;
    }

    /// Reads, decides and answers until the end.
    async fn converse(
        &mut self,
        ingest: &mut Ingest,
        publishing: &mut Option<Publishing>,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut buffer = vec![0; READ];
        let since = self.clock.monotonic();
        loop {
            let (patience, late) = match publishing {
                Some(_) => (self.options.stall, Ended::Stalled(self.options.stall)),
                None => {
                    let spent = self.clock.monotonic().saturating_sub(since);
                    let left = self.options.handshake.saturating_sub(spent);
                    (left, Ended::Handshake(self.options.handshake))
                }
            };
            let count = match timeout(patience, self.stream.read(&mut buffer)).await {
                Err(_) => return Err(late),
                Ok(Ok(0)) => return Err(Ended::Closed),
                Ok(count) => count?,
            };
            ingest.push(buffer.get(..count).unwrap_or_default());
            while let Some(event) = ingest.next_event()? {
                match event {
                    Event::PublishRequest(request) => match self.admit(&request) {
                        Ok(admitted) => {
                            *publishing = Some(admitted);
                            ingest.accept()?;
                        }
                        Err((refusal, text)) => {
                            ingest.refuse(refusal, &text)?;
                            return Err(Ended::Refused(text));
                        }
                    },
                    Event::Tag(tag) => {
                        let Some(publishing) = publishing else { continue };
                        if let Err(error) = tag.check() {
                            let text = format!("room \"{}\": {error}", publishing.room.name);
                            ingest.refuse(Refusal::Rejected, &text)?;
                            return Err(Ended::Refused(text));
                        }
                        let utc = self.clock.utc().as_millisecond();
                        publishing.recorder.push(tag.clone(), utc).await;
                        publishing.air(tag).await?;
                    }
                    Event::End => return Err(Ended::Orderly),
                }
            }
            self.send(ingest).await?;
        }
    }

    async fn send(&mut self, ingest: &mut Ingest) -> Result<(), Ended> {
        let output = ingest.output();
        if output.is_empty() {
            return Ok(());
        }
        match timeout(self.options.stall, self.stream.write_all(&output)).await {
            Err(_) => Err(Ended::NotReading),
            Ok(sent) => Ok(sent?),
        }
    }

    fn admit(&self, request: &PublishRequest) -> Result<Publishing, (Refusal, String)> {
        let address = request.address().map_err(|error| (Refusal::BadName, error.to_string()))?;
        let say = |Refused { status, problem }: Refused| {
            let refusal = match status.as_u16() {
                401 => Refusal::Rejected,
                _ => Refusal::BadName,
            };
            let hint = match problem.error.as_str() {
                "missing-token" => rtmp::USAGE,
                _ => &problem.hint,
            };
            (refusal, format!("{}; {hint}", problem.message))
        };
        let room =
            admit_token(&self.rooms, &address.room, address.token.as_deref()).map_err(say)?;
        let session = SessionId::new(self.clock.utc());
        room.desk
            .claim(session, None)
            .map_err(|occupied| say(Refused::occupied(&room.name, &occupied)))?;
        tracing::info!(peer = %self.peer, room = %room.name, %session, client = request.client,
            "RTMP: publishing");
        let recorder = Recorder::new(Arc::clone(&room), session, self.finishing.clone());
        Ok(Publishing { room, session, recorder, headers: Headers::default() })
    }
}
