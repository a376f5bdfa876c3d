//! The HTTP listener: connections in, each with its limits.
//!
//! What a stranger can cost is bounded here, whatever the routes do: the number of connections,
//! how long a request may take to arrive, how long a client may take nothing of what it is sent
//! (then it is dropped), and how much of it the kernel keeps for the client.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// What one listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time.
    pub connections: usize,
    /// What becomes of more.
    pub full: Full,
    /// Bytes that the kernel keeps for a client that is slow to read. Linux doubles the figure.
    pub send_buffer: u32,
    /// A client that takes nothing for this long is dropped.
    pub write_stall: Duration,
    /// A request's head must arrive within this; also how long an idle connection is kept.
    pub head: Duration,
    /// How long answers may go on after the order to stop.
    pub grace: Duration,
}

/// What becomes of connections beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The kernel keeps them until there is a place: for few people, who would not know what to do
    /// with a refusal.
    Wait,
    /// They are answered 503 with this sentence, so that they go elsewhere.
    Refuse(&'static str),
}

/// Listens at `address` (port 0: any free one).
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let (socket, address) = match address {
        SocketAddr::V4(_) => (TcpSocket::new_v4()?, address),
        SocketAddr::V6(v6) => match TcpSocket::new_v6() {
            // A kernel without IPv6: every address is one of IPv4.
            Err(_) if v6.ip().is_unspecified() => {
                (TcpSocket::new_v4()?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, v6.port())))
            }
            socket => (socket?, address),
        },
    };
    socket.set_reuseaddr(true)?;
    // Connections inherit it. Without it the kernel grows the buffer of a stalled client to
    // several megabytes each.
    socket.set_send_buffer_size(limits.send_buffer)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Serves `app` until `cancel`; then lets answers end for [`Limits::grace`]. Requests carry their
/// client's address as [`ConnectInfo`].
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, cancel: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let app = TowerToHyperService::new(app);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &places, limits.full) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often: out of file descriptors. Others may leave.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match (place, limits.full) {
            (None, Full::Refuse(sentence)) => {
                connections.spawn(refuse(stream, sentence, limits.write_stall));
            }
            (place, _) => {
                let service = FromPeer { peer, inner: app.clone() };
                let stop = cancel.clone();
                connections.spawn(async move {
                    connection(stream, service, &limits, stop).await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is left reads an endless stream: dropping it is what ends it.
    let _ = tokio::time::timeout(limits.grace, ended).await;
}

/// The next connection, and its place if there is one.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    full: Full,
) -> io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    let places = Arc::clone(places);
    let (place, accepted) = match full {
        Full::Wait => {
            let place = places.acquire_owned().await;
            (place.ok(), listener.accept().await)
        }
        Full::Refuse(_) => {
            let accepted = listener.accept().await;
            (places.try_acquire_owned().ok(), accepted)
        }
    };
    let (stream, peer) = accepted?;
    Ok((stream, peer, place))
}

async fn connection(
    stream: TcpStream,
    service: FromPeer,
    limits: &Limits,
    stop: CancellationToken,
) {
    let peer = service.peer;
    // Frames are sent as they are made; waiting to fill a packet only adds delay.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // Not the reading: a page that follows says nothing for hours. Whoever reads a body has a bound.
    stream.set_write_timeout(Some(limits.write_stall));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(128 * 1024)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}

async fn refuse(mut stream: TcpStream, sentence: &str, patience: Duration) {
    use tokio::io::AsyncWriteExt as _;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n\
         {sentence}\n",
        sentence.len() + 1
    );
    let _ = tokio::time::timeout(patience, async {
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await;
}

/// The app with the client's address in each request.
#[derive(Clone)]
struct FromPeer {
    peer: SocketAddr,
    inner: TowerToHyperService<Router>,
}

impl hyper::service::Service<Request<Incoming>> for FromPeer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = TowerToHyperServiceFuture<Router, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn served(full: Full) -> SocketAddr {
        let limits = Limits {
            connections: 1,
            full,
            send_buffer: 64 * 1024,
            write_stall: Duration::from_secs(20),
            head: Duration::from_secs(20),
            grace: Duration::from_secs(1),
        };
        let listener = bind("127.0.0.1:0".parse().unwrap(), &limits).unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(async || "hello"));
        tokio::spawn(serve(listener, app, limits, CancellationToken::new()));
        address
    }

    /// A connection that asked and got an answer, and is kept open.
    async fn client(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        client
    }

    async fn status(client: &mut TcpStream) -> String {
        let mut head = [0; 12];
        client.read_exact(&mut head).await.unwrap();
        String::from_utf8(head.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_place() {
        let address = served(Full::Wait).await;
        let mut first = client(address).await;
        assert_eq!(status(&mut first).await, "HTTP/1.1 200");
        let mut second = client(address).await;
        let early = tokio::time::timeout(Duration::from_millis(200), status(&mut second)).await;
        assert!(early.is_err(), "{early:?}");
        drop(first);
        assert_eq!(status(&mut second).await, "HTTP/1.1 200");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_told() {
        let address = served(Full::Refuse("No room.")).await;
        let mut first = client(address).await;
        assert_eq!(status(&mut first).await, "HTTP/1.1 200");
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with("content-length: 9\r\nconnection: close\r\n\r\nNo room.\n"),
            "{answer}"
        );
    }
}
