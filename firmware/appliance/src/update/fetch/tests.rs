//! Fetching from a real server that breaks off.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Response, StatusCode},
    routing::get,
};
use bytes::Bytes;
use futures_util::stream;

use super::*;

/// A server that sends at most `piece` bytes an answer, then breaks off.
#[derive(Clone)]
struct Server {
    content: Arc<Vec<u8>>,
    piece: usize,
    tag: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    fn new(length: usize, piece: usize) -> Self {
        let content = (0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>();
        Self {
            content: Arc::new(content),
            piece,
            tag: Arc::new(Mutex::new("\"one\"".into())),
            asked: Arc::default(),
        }
    }

    async fn start(&self) -> Url {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/b", get(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://user:secret@{address}/b?token=x").parse().unwrap()
    }
}

async fn answer(State(server): State<Server>, headers: HeaderMap) -> Response<Body> {
    let range = headers.get("range").map(|r| r.to_str().unwrap().to_owned());
    server.asked.lock().unwrap().push(range.clone());
    let tag = server.tag.lock().unwrap().clone();
    let same = headers.get("if-range").is_some_and(|t| t.to_str().unwrap() == tag);
    let from: usize = match range.filter(|_| same) {
        Some(range) => range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap(),
        None => 0,
    };
    let total = server.content.len();
    let piece = &server.content[from..total.min(from + server.piece)];
    let (piece, whole) = (Bytes::copy_from_slice(piece), from + piece.len() == total);
    let end = (!whole).then(|| Err(io::Error::other("broken off")));
    let parts = [Ok(piece)].into_iter().chain(end);
    let mut response =
        Response::builder().header("etag", tag).header("content-length", total - from);
    if from > 0 {
        let range = format!("bytes {from}-{}/{total}", total - 1);
        response = response.status(StatusCode::PARTIAL_CONTENT).header("content-range", range);
    }
    response.body(Body::from_stream(stream::iter(parts))).unwrap()
}

#[tokio::test]
async fn a_fetch_that_breaks_off_goes_on_where_it_was() {
    let server = Server::new(3000, 1200);
    let url = server.start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("incoming.raucb");
    let client = client(None).unwrap();
    let wanted: String =
        Sha256::digest(&*server.content).iter().map(|byte| format!("{byte:02x}")).collect();
    fetch(&client, &url, &file, Some(&wanted), &|_| {}).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), *server.content);
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked, [None, Some("bytes=1200-".into()), Some("bytes=2400-".into())]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    assert!(!shown(&url).contains("secret") && !shown(&url).contains("token"));
}

#[tokio::test]
async fn other_content_begins_anew_and_a_wrong_digest_is_told() {
    let server = Server::new(100, 1000);
    let url = server.start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("incoming.raucb");
    let part = file.with_extension("part");
    std::fs::write(&part, "something else").unwrap();
    let begun = Begun { url: url.to_string(), tag: Some("\"zero\"".into()) };
    kept::write_json(&part.with_extension("json"), &begun).unwrap();
    let client = client(None).unwrap();
    let error = fetch(&client, &url, &file, Some("00"), &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("and 00 was asked for"), "{error}");
    assert_eq!(server.asked.lock().unwrap()[0].as_deref(), Some("bytes=14-"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "what is of no use is gone");
    fetch(&client, &url, &file, None, &|_| {}).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), *server.content);
}

#[tokio::test]
async fn a_refusal_and_a_size_beyond_all_room_are_told_at_once() {
    let server = Server::new(1, 1);
    let mut url = server.start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("incoming.raucb");
    let client = client(None).unwrap();
    url.set_path("/none");
    let error = fetch(&client, &url, &file, None, &|_| {}).await.unwrap_err().to_string();
    assert!(error.ends_with("/none answered 404 Not Found"), "{error}");

    let huge = Router::new().route(
        "/huge",
        get(|| async {
            let body = Body::from_stream(stream::pending::<io::Result<Bytes>>());
            Response::builder().header("content-length", LARGEST + 1).body(body).unwrap()
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/huge", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, huge).await });
    let error = fetch(&client, &url, &file, None, &|_| {}).await.unwrap_err();
    assert!(matches!(error, FetchError::NoRoom { needed, .. } if needed == LARGEST + 1), "{error}");
}
