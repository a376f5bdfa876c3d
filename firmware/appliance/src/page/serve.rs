//! The page's listener: connections in, each with its limits, so that nobody in the venue's network
//! can take the box's memory or file descriptors away from the stream.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// What the listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at one time.
    pub connections: usize,
    /// Bytes that the kernel keeps for a client that is slow to read. Linux doubles the figure.
    pub send_buffer: u32,
    /// A client that takes nothing for this long is dropped.
    pub stall: Duration,
    /// A request's head must arrive within this; also how long an idle connection is kept.
    pub head: Duration,
    /// How long answers may go on after the order to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            send_buffer: 64 * 1024,
            stall: Duration::from_secs(20),
            head: Duration::from_secs(20),
            grace: Duration::from_secs(1),
        }
    }
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
    socket.set_send_buffer_size(limits.send_buffer)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// Serves `app` until `cancel`; then lets answers end for [`Limits::grace`].
pub async fn serve(listener: TcpListener, app: Router, limits: Limits, cancel: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // The kernel keeps who finds no place; nobody is told no.
        let place = tokio::select! {
            () = cancel.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let accepted = loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break None,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept() => break Some(accepted),
            }
        };
        let stream = match accepted {
            None => break,
            Some(Ok((stream, _))) => stream,
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (app, stop) = (app.clone(), cancel.clone());
        connections.spawn(async move {
            connection(stream, app, &limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is left is a page that follows: dropping it is what ends it.
    let _ = tokio::time::timeout(limits.grace, ended).await;
}

async fn connection(stream: TcpStream, app: Router, limits: &Limits, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall));
    // Not the reading: a page that follows says nothing for hours. Whoever reads a body has a bound.
    let service = TowerToHyperService::new(app);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(64 * 1024)
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
        tracing::debug!(%error, "a connection ended early");
    }
}
