//! Publishes to any RTMP server: tags as they come, without the ingest contract's guarantees.
//!
//! While the server is away, tags are thrown away; a new connection starts with the headers and
//! the next keyframe.

use std::sync::Arc;
use std::time::Duration;

use flv::{Headers, Tag, TagKind};
use protocol::mood::Mood;
use protocol::payload::EventKind;
use rtmp::{Destination, Publish};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;

use super::http::COMPONENT;

const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may take to answer, or to take what is sent.
const STALL: Duration = Duration::from_secs(8);
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Tags that may wait for the server: about four seconds of picture and sound.
const WAITING: usize = 300;

/// Why the connection ended.
#[derive(Debug, thiserror::Error)]
enum RtmpError {
    #[error("the RTMP server at {0} cannot be reached: {1}")]
    Connect(String, std::io::Error),
    #[error("the RTMP server at {0} did not answer within {stall} s", stall = STALL.as_secs())]
    Silent(String),
    #[error("the RTMP server at {0} has taken nothing for {stall} s", stall = STALL.as_secs())]
    Stalled(String),
    #[error("the RTMP server at {0} closed the connection")]
    Closed(String),
    #[error("the RTMP server at {0}: {1}")]
    Protocol(String, rtmp::Error),
}

/// TLS for `rtmps://` cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The further authority is not a certificate.
    #[error("the CA certificate cannot be read: {0}")]
    Ca(rustls::pki_types::pem::Error),
    /// The system's authorities cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// The way for tags from the room to the server; drops to the next keyframe when it is full.
#[derive(Debug)]
pub struct TagQueue {
    tags: mpsc::Sender<Tag>,
    dropped: u64,
}

/// A queue and its end.
#[must_use]
pub fn channel() -> (TagQueue, mpsc::Receiver<Tag>) {
    let (tags, receiver) = mpsc::channel(WAITING);
    (TagQueue { tags, dropped: 0 }, receiver)
}

impl TagQueue {
    /// Offers a tag, and never waits. Tells how many were dropped when the stream goes on.
    pub fn offer(&mut self, tag: Tag) -> Option<u64> {
        let header = tag.kind == TagKind::Script || tag.is_sequence_header();
        if self.dropped > 0 && !header && !tag.is_keyframe() {
            self.dropped += 1;
            return None;
        }
        match self.tags.try_send(tag) {
            Ok(()) if header => None,
            Ok(()) => Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0),
            Err(_) => {
                self.dropped += 1;
                None
            }
        }
    }
}

/// A publisher to one server.
pub struct Publisher {
    destination: Destination,
    shown: String,
    tls: Option<TlsConnector>,
    board: Board,
}

impl Publisher {
    /// A publisher; `ca` is a further authority to trust for `rtmps://`, in PEM.
    ///
    /// # Errors
    /// [`TlsError`] if `ca` is not a certificate or the system's authorities cannot be read.
    pub fn new(
        destination: Destination,
        ca: Option<&[u8]>,
        board: Board,
    ) -> Result<Self, TlsError> {
        let shown = format!("{}:{}", destination.host, destination.port);
        let tls = if destination.tls { Some(connector(ca)?) } else { None };
        Ok(Self { destination, shown, tls, board })
    }

    /// Publishes until cancelled or the room ends.
    pub async fn run(self, mut tags: mpsc::Receiver<Tag>, cancel: CancellationToken) {
        let mut headers = Headers::default();
        let mut delay = RETRY.0;
        self.board.set(COMPONENT, Mood::Waking, format!("connecting to {}", self.shown));
        loop {
            let mut sent = 0;
            let ended = tokio::select! {
                () = cancel.cancelled() => return,
                ended = self.connection(&mut tags, &mut headers, &mut sent) => ended,
            };
            let Err(error) = ended else { return };
            if sent > 0 {
                delay = RETRY.0;
            }
            tracing::debug!(%error, "the RTMP uplink failed");
            self.board.set(
                COMPONENT,
                Mood::Sad,
                format!("{error}; trying again in {:.1} s", delay.as_secs_f64()),
            );
            // What comes meanwhile is stale by then; only the headers stay true.
            let again = tokio::time::sleep(delay);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = &mut again => break,
                    tag = tags.recv() => match tag {
                        Some(tag) => {
                            headers.keep(&tag);
                        }
                        None => return,
                    },
                }
            }
            delay = (delay * 2).min(RETRY.1);
        }
    }

    async fn connection(
        &self,
        tags: &mut mpsc::Receiver<Tag>,
        headers: &mut Headers,
        sent: &mut u64,
    ) -> Result<(), RtmpError> {
        let address = (self.destination.host.as_str(), self.destination.port);
        let refused = |error| RtmpError::Connect(self.shown.clone(), error);
        let tcp = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(refused)?,
            Err(_) => return Err(RtmpError::Silent(self.shown.clone())),
        };
        let _ = tcp.set_nodelay(true);
        match &self.tls {
            None => self.publish(tcp, tags, headers, sent).await,
            Some(tls) => {
                let name = ServerName::try_from(self.destination.host.clone())
                    .map_err(|error| refused(std::io::Error::other(error)))?;
                let stream = tls.connect(name, tcp).await.map_err(refused)?;
                self.publish(stream, tags, headers, sent).await
            }
        }
    }

    async fn publish(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        tags: &mut mpsc::Receiver<Tag>,
        headers: &mut Headers,
        sent: &mut u64,
    ) -> Result<(), RtmpError> {
        let protocol = |error| RtmpError::Protocol(self.shown.clone(), error);
        let mut publish = Publish::new(self.destination.clone());
        let mut input = vec![0; 16 * 1024];
        let mut begun = false;
        let asked = tokio::time::sleep(STALL);
        tokio::pin!(asked);
        loop {
            let output = publish.output();
            if !output.is_empty() {
                match tokio::time::timeout(STALL, stream.write_all(&output)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(RtmpError::Closed(self.shown.clone())),
                    Err(_) => return Err(RtmpError::Stalled(self.shown.clone())),
                }
            }
            tokio::select! {
                read = stream.read(&mut input) => match read {
                    Ok(0) | Err(_) => return Err(RtmpError::Closed(self.shown.clone())),
                    Ok(n) => publish.push(input.get(..n).unwrap_or_default()).map_err(protocol)?,
                },
                () = &mut asked, if !publish.publishing() =>
                    return Err(RtmpError::Silent(self.shown.clone())),
                tag = tags.recv() => {
                    let Some(tag) = tag else {
                        let _ = publish.end();
                        let _ = stream.write_all(&publish.output()).await;
                        let _ = stream.shutdown().await;
                        return Ok(());
                    };
                    headers.keep(&tag);
                    if !publish.publishing() {
                        continue;
                    }
                    if !begun {
                        if !tag.is_keyframe() {
                            continue;
                        }
                        begun = true;
                        for header in headers.at(tag.timestamp) {
                            publish.tag(&header).map_err(protocol)?;
                        }
                        self.board.set(
                            COMPONENT,
                            Mood::Happy,
                            format!("publishing to {}", self.shown),
                        );
                    }
                    publish.tag(&tag).map_err(protocol)?;
                    *sent += 1;
                }
            }
        }
    }
}

/// Tells the board of tags that found no room.
pub fn report_dropped(board: &Board, dropped: u64) {
    board.event(
        EventKind::Loss,
        COMPONENT,
        format!("{dropped} tags are lost: the RTMP server takes less than the room makes"),
    );
}

fn connector(ca: Option<&[u8]>) -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let extra = match ca {
        Some(pem) => CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(TlsError::Ca)?,
        None => Vec::new(),
    };
    let verifier =
        rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_to_the_next_keyframe() {
        let (mut queue, mut receiver) = channel();
        let frame = |key| Tag::avc_frame(0, 0, key, b"x");
        for _ in 0..WAITING {
            assert_eq!(queue.offer(frame(false)), None);
        }
        assert_eq!(queue.offer(frame(true)), None);
        receiver.try_recv().unwrap();
        // There is room again, but the picture before it is missing.
        assert_eq!(queue.offer(frame(false)), None);
        assert_eq!(queue.offer(frame(true)), Some(2));
        receiver.try_recv().unwrap();
        assert_eq!(queue.offer(frame(false)), None);
    }
}
