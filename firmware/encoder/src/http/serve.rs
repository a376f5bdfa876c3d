//! The HTTP listener: connections in, each with its limits.
//!
//! What a stranger can cost is bounded here, whatever the routes do: the number of connections,
//! how long a request may take to arrive, how long a client may take nothing of what it is sent
//! (then it is dropped), and how much of it the kernel keeps for the client.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
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
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// What one listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time. Above the viewers' limit, so that a collector is heard when the
    /// house is full.
    pub connections: usize,
    /// Bytes that the kernel keeps for a client that is slow to read. Linux doubles the figure.
    pub send_buffer: u32,
    /// A client that takes nothing for this long is dropped.
    pub write_stall: Duration,
    /// A request's head must arrive within this; also how long an idle connection is kept.
    pub head: Duration,
    /// How long answers may go on after the order to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            send_buffer: 192 * 1024,
            write_stall: Duration::from_secs(15),
            head: Duration::from_secs(30),
            grace: Duration::from_secs(2),
        }
    }
}

/// Listens at `address` (port 0: any free one).
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections inherit it. Without it the kernel grows the buffer of a stalled client to
    // several megabytes each.
    socket.set_send_buffer_size(limits.send_buffer)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Serves `app` until `cancel`; then lets answers end for [`Limits::grace`].
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, cancel: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let app = TowerToHyperService::new(app);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often: out of file descriptors. Others may leave.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            connections.spawn(refuse(stream, limits.write_stall));
            continue;
        };
        let service = FromPeer { peer, inner: app.clone() };
        let stop = cancel.clone();
        connections.spawn(async move {
            connection(stream, service, &limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is left is a viewer of an endless stream: dropping it is what ends it.
    let _ = tokio::time::timeout(limits.grace, ended).await;
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

async fn refuse(stream: TcpStream, patience: Duration) {
    use tokio::io::AsyncWriteExt as _;
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\n\
        content-type: text/plain; charset=utf-8\r\ncontent-length: 53\r\nconnection: close\r\n\r\n\
        This encoder has all the connections that it allows.\n";
    let mut stream = stream;
    let _ = tokio::time::timeout(patience, async {
        let _ = stream.write_all(FULL).await;
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
