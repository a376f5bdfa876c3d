//! The operator's way into a running encoder: a Unix socket that only its own user (and root) can
//! open. `encoder drain` and `encoder register` speak HTTP over it, and so can
//! `curl --unix-socket`.
//!
//! ```text
//! POST /drain?limit=60s     stop; the answer is a line whenever there is news, the last `stopped: …`
//! GET  /register            how each website takes us
//! GET  /register/requests   what each would be sent now, without the secret
//! ```

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use protocol::config::Span;
use serde::Deserialize;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How the last line of an answer to `/drain` begins: everything has ended in good order.
pub const STOPPED: &str = "stopped: ";
/// How long the last answers may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another encoder listens there.
    #[error("another encoder listens at {0}; give each its own `control`")]
    Taken(PathBuf),
    /// It is in the way, and not ours to remove.
    #[error("{0} is there and no socket; remove it, or choose another `control`")]
    Foreign(PathBuf),
    /// The system said no.
    #[error(
        "the control socket {path} cannot be made: {source}; set `control` to a place where it can"
    )]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How far the end is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is not in sight.
    Running,
    /// It is under way; for what it waits.
    Draining(String),
    /// Everything has ended; why.
    Stopped(String),
}

/// Tells an operator something.
pub type Tell = Box<dyn Fn() -> String + Send + Sync>;

/// What can be asked for.
pub struct Facts {
    /// How each website takes us.
    pub moods: Tell,
    /// What each would be sent.
    pub requests: Tell,
}

/// The socket, for as long as it is wanted.
pub struct Control {
    path: PathBuf,
    orders: mpsc::Receiver<Option<Duration>>,
    progress: watch::Sender<Progress>,
    end: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

struct Shared {
    facts: Facts,
    orders: mpsc::Sender<Option<Duration>>,
    progress: watch::Receiver<Progress>,
}

impl Control {
    /// Listens at `path`.
    ///
    /// # Errors
    /// When that cannot be had.
    pub async fn listen(path: &Path, facts: Facts) -> Result<Self, Error> {
        let listener = bind(path).await?;
        let (orders_in, orders) = mpsc::channel(4);
        let (progress, progress_out) = watch::channel(Progress::Running);
        let shared = Shared { facts, orders: orders_in, progress: progress_out };
        let app = Router::new()
            .route("/drain", post(drain))
            .route("/register", get(async |State(it): State<Arc<Shared>>| (it.facts.moods)()))
            .route(
                "/register/requests",
                get(async |State(it): State<Arc<Shared>>| (it.facts.requests)()),
            )
            .with_state(Arc::new(shared));
        let end = CancellationToken::new();
        let ended = end.clone().cancelled_owned();
        let task =
            tokio::spawn(
                async move { axum::serve(listener, app).with_graceful_shutdown(ended).await },
            );
        Ok(Self { path: path.to_owned(), orders, progress, end, task })
    }

    /// The next order to stop, with its limit if it has one. Safe to cancel.
    pub async fn order(&mut self) -> Option<Duration> {
        match self.orders.recv().await {
            Some(limit) => limit,
            None => std::future::pending().await,
        }
    }

    /// Tells those who ordered it how far the end is.
    pub fn progress(&self, progress: Progress) {
        self.progress.send_if_modified(|now| {
            let news = *now != progress;
            *now = progress;
            news
        });
    }

    /// Says why it ended, and removes the socket.
    pub async fn stopped(self, why: &str) {
        // Before the last word: who hears it may start another encoder.
        let _ = std::fs::remove_file(&self.path);
        self.progress.send_replace(Progress::Stopped(why.to_owned()));
        self.end.cancel();
        let _ = tokio::time::timeout(LAST_WORDS, self.task).await;
    }
}

async fn bind(path: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    match UnixStream::connect(path).await {
        Ok(_) => return Err(Error::Taken(path.to_owned())),
        // Left behind by an encoder that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let kind = std::fs::symlink_metadata(path).map_err(failed)?.file_type();
            if !kind.is_socket() {
                return Err(Error::Foreign(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(_) => {}
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(path).map_err(failed)?;
    // Before anybody can connect.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    socket.listen(16).map_err(failed)
}

#[derive(Deserialize)]
struct Order {
    limit: Option<String>,
}

async fn drain(State(shared): State<Arc<Shared>>, Query(order): Query<Order>) -> Response {
    let limit = match order.limit.as_deref().map(str::parse::<Span>) {
        None => None,
        Some(Ok(Span(limit))) => Some(limit),
        Some(Err(error)) => {
            return (StatusCode::BAD_REQUEST, format!("limit: {error}\n")).into_response();
        }
    };
    let mut progress = shared.progress.clone();
    progress.mark_changed();
    if shared.orders.send(limit).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "it is stopping already\n").into_response();
    }
    let lines = stream::unfold(Some(progress), async |progress| {
        let mut progress = progress?;
        loop {
            progress.changed().await.ok()?;
            let now = progress.borrow_and_update().clone();
            let (line, more) = match now {
                Progress::Running => continue,
                Progress::Draining(waiting) => (format!("draining: {waiting}\n"), Some(progress)),
                Progress::Stopped(why) => (format!("{STOPPED}{why}\n"), None),
            };
            return Some((Ok::<_, std::convert::Infallible>(line), more));
        }
    });
    Body::from_stream(lines).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { moods: Box::new(String::new), requests: Box::new(|| "POST".to_owned()) }
    }

    #[tokio::test]
    async fn the_socket_is_for_its_owner_alone_and_one_encoder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control");
        let control = Control::listen(&path, facts()).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Control::listen(&path, facts()).await;
        assert!(matches!(second, Err(Error::Taken(_))));
        control.stopped("done").await;
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_encoder_left_is_replaced_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        Control::listen(&path, facts()).await.unwrap().stopped("done").await;
        std::fs::write(&path, "a file").unwrap();
        assert!(matches!(Control::listen(&path, facts()).await, Err(Error::Foreign(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }
}
