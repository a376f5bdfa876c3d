//! Fetching from a real server that breaks off.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, http::Response, routing::get};
use bytes::Bytes;
use futures_util::stream;
use tokio::net::{TcpListener, TcpStream};

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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.answer(stream).await;
            }
        });
        format!("http://user:secret@{address}/b?token=x").parse().unwrap()
    }

    /// One request, one answer, and the connection is cut.
    async fn answer(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap().to_lowercase();
        if !request.starts_with("get /b") {
            let no = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return stream.write_all(no).await.unwrap();
        }
        let header = |name: &str| {
            request.lines().find_map(|line| line.strip_prefix(name)).map(|it| it.trim().to_owned())
        };
        let range = header("range:");
        self.asked.lock().unwrap().push(range.clone());
        let tag = self.tag.lock().unwrap().clone();
        let from: usize = match range.filter(|_| header("if-range:").as_ref() == Some(&tag)) {
            Some(range) => {
                range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
            }
            None => 0,
        };
        let total = self.content.len();
        let piece = &self.content[from..total.min(from + self.piece)];
        let status = match from {
            0 => "200 OK".to_owned(),
            _ => format!("206 Partial\r\ncontent-range: bytes {from}-{}/{total}", total - 1),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\netag: {tag}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            total - from
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(piece).await.unwrap();
    }
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/huge", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, huge).await });
    let error = fetch(&client, &url, &file, None, &|_| {}).await.unwrap_err();
    assert!(matches!(error, FetchError::NoRoom { needed, .. } if needed == LARGEST + 1), "{error}");
}
