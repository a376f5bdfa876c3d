//! An encoder's ingest and archive on free ports, and what its rooms get to see.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use encoder::archive::Archive;
use encoder::hls::{HlsConfig, Packager};
use encoder::ingest::{self, Desk, Options};
use encoder::room::{LiveInput, Room, RoomStatus, Rooms};
use flv::Tag;
use protocol::ingest::{Confirmation, DEVICE_HEADER, Problem, bearer, segment_path};
use protocol::names::{RoomName, SessionId};
use reqwest::{Body, RequestBuilder, Response};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::board::Board;

/// The token of every room.
pub(crate) const TOKEN: &str = "correct-horse";
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    pub(crate) http: SocketAddr,
    pub(crate) rtmp: SocketAddr,
    pub(crate) board: Board,
    pub(crate) client: reqwest::Client,
    pub(crate) demo: Seen,
    pub(crate) other: Seen,
    root: std::path::PathBuf,
    cancel: CancellationToken,
    rtmp_task: JoinHandle<()>,
    _directory: Option<TempDir>,
}

/// What a room was given.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<LiveInput>>>);

impl Seen {
    pub(crate) fn tags(&self) -> Vec<Tag> {
        let inputs = self.0.lock().unwrap();
        let tag = |input: &LiveInput| match input {
            LiveInput::Tag(tag) => Some(tag.clone()),
            _ => None,
        };
        inputs.iter().filter_map(tag).collect()
    }

    /// `session device`, `gone`: what is not a tag.
    pub(crate) fn changes(&self) -> Vec<String> {
        let inputs = self.0.lock().unwrap();
        let text = |input: &LiveInput| match input {
            LiveInput::Session { session, device } => {
                let device = device.as_ref().map_or("-", |device| device.as_str());
                Some(format!("{session} {device}"))
            }
            LiveInput::Gone => Some("gone".to_owned()),
            LiveInput::Tag(_) => None,
        };
        inputs.iter().filter_map(text).collect()
    }
}

/// Waits for something to become true.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("waited in vain: {what}");
    }
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default(), 0).await
    }

    pub(crate) async fn start_with(options: Options, min_free: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        let mut site = Self::start_in(&root, options, min_free).await;
        site._directory = Some(directory);
        site
    }

    pub(crate) async fn start_in(root: &Path, options: Options, min_free: u64) -> Self {
        // The client is built without a provider of its own; the second time, it is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = watchdog::clock::system();
        let board = Board::new(clock.clone());
        let cancel = CancellationToken::new();
        let (demo, other) = (Seen::default(), Seen::default());
        let mut rooms = Vec::new();
        for (name, seen) in [("demo", &demo), ("other", &other)] {
            let name: RoomName = name.parse().unwrap();
            let (live, mut inputs) = mpsc::channel(4);
            let seen = seen.clone();
            tokio::spawn(async move {
                while let Some(input) = inputs.recv().await {
                    seen.0.lock().unwrap().push(input);
                }
            });
            let desk = Desk::new(name.clone(), live, board.clone(), clock.clone());
            tokio::spawn(desk.clone().keep(cancel.clone()));
            let archive = Archive::new(root, &name, min_free);
            archive.repair().await.unwrap();
            rooms.push(Arc::new(room(name, desk, archive)));
        }
        let rooms = Arc::new(Rooms::new(rooms));
        let app = ingest::routes_with(options, TaskTracker::new())
            .merge(encoder::archive::http::routes())
            .with_state(Arc::clone(&rooms));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let stop = cancel.clone();
        tokio::spawn(async move {
            axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rtmp = listener.local_addr().unwrap();
        let task = ingest::rtmp::listen(listener, rooms, clock, options, cancel.clone());
        let rtmp_task = tokio::spawn(task);
        let (root, client) = (root.to_owned(), reqwest::Client::new());
        let _directory = None;
        Self { http, rtmp, board, client, demo, other, root, cancel, rtmp_task, _directory }
    }

    /// Stops, and waits until every recording is finished.
    pub(crate) async fn stop(self) -> Option<TempDir> {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.rtmp_task).await.unwrap().unwrap();
        self._directory
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(crate) fn segment_url(&self, session: SessionId, seq: u64) -> String {
        self.url(&segment_path(&"demo".parse().unwrap(), &session, seq))
    }

    /// A segment's upload to room `demo` by `box-7`.
    pub(crate) fn put(
        &self,
        session: SessionId,
        seq: u64,
        body: impl Into<Body>,
    ) -> RequestBuilder {
        self.client
            .put(self.segment_url(session, seq))
            .header("authorization", bearer(&TOKEN.parse().unwrap()))
            .header(DEVICE_HEADER, "box-7")
            .body(body)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let token = bearer(&TOKEN.parse().unwrap());
        self.client.get(self.url(path)).header("authorization", token).send().await.unwrap()
    }

    /// The files of a session in room `demo`.
    pub(crate) fn files(&self, session: &str) -> Vec<String> {
        let Ok(found) = std::fs::read_dir(self.root.join("demo").join(session)) else {
            return Vec::new();
        };
        let mut names: Vec<_> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn file(&self, session: SessionId, name: &str) -> Vec<u8> {
        std::fs::read(self.root.join("demo").join(session.to_string()).join(name)).unwrap()
    }

    /// The sessions that room `demo` has recorded.
    pub(crate) fn sessions(&self) -> Vec<String> {
        let Ok(found) = std::fs::read_dir(self.root.join("demo")) else { return Vec::new() };
        let mut names: Vec<_> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn room(name: RoomName, desk: Desk, archive: Archive) -> Room {
    let (_, status) = watch::channel(RoomStatus::default());
    let title = name.to_string();
    let token = TOKEN.parse().unwrap();
    let (_, preview) = watch::channel(None);
    let hls = Packager::new(HlsConfig::default(), Vec::new()).store();
    let mounts = encoder::room::task::mounts();
    Room { name, title, token, desk, archive, mounts, hls, preview, status }
}

/// A session that began at second `second` of some day.
pub(crate) fn session(second: i64) -> SessionId {
    SessionId::new(jiff::Timestamp::from_second(1_790_000_000 + second).unwrap())
}

pub(crate) async fn confirmation(response: Response, status: u16) -> Confirmation {
    assert_eq!(response.status(), status, "{:?}", response.text().await);
    response.json().await.unwrap()
}

/// Status, code and message of a refusal.
pub(crate) async fn refusal(response: Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let Problem { error, message, hint } = response.json().await.unwrap();
    assert!(!hint.is_empty(), "{error} does not say what to do");
    (status, error, message)
}

/// A request body that is made while it is sent. Dropping the sender ends it.
pub(crate) fn slow_body() -> (mpsc::Sender<Vec<u8>>, Body) {
    let (sender, receiver) = mpsc::channel::<Vec<u8>>(1);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    (sender, Body::wrap_stream(stream))
}
