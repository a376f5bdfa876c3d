//! The app as a client sees it, over the real listener where connections matter.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use protocol::mood::Mood;
use protocol::register::Format;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::board::Board;

use pages::listener::{bind, serve};

use super::*;
use crate::archive::Archive;
use crate::fanout::{self, Frame, Mount};
use crate::hls::Store;
use crate::ingest::Desk;
use crate::room::RoomStatus;
use crate::room::mounts::{FLV_HIGH, WEBM_HIGH};

struct House {
    app: Router,
    audience: Audience,
    draining: CancellationToken,
    uploads: TaskTracker,
    rooms: Vec<Arc<Room>>,
    board: Board,
    preview: Vec<watch::Sender<Option<Bytes>>>,
    status: Vec<watch::Sender<RoomStatus>>,
    _archive: tempfile::TempDir,
}

fn offered() -> protocol::config::encoder::Dashboard {
    let broker = Some("wss://broker.example.org:8084".parse().unwrap());
    protocol::config::encoder::Dashboard { broker, commands: true }
}

fn house(names: &[&str], viewers: usize) -> House {
    let clock = watchdog::clock::system();
    let board = Board::new(Arc::clone(&clock));
    let archive = tempfile::tempdir().unwrap();
    let (mut previews, mut statuses, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let (preview_in, preview) = watch::channel(None);
        let (status_in, status) = watch::channel(RoomStatus::default());
        let mounts = [FLV_HIGH, WEBM_HIGH].map(|it| {
            (it.name.to_owned(), Mount::new(it.name, it.content_type, fanout::Limits::default()))
        });
        let room: RoomName = name.parse().unwrap();
        let (live, _) = mpsc::channel(1);
        rooms.push(Arc::new(Room {
            desk: Desk::new(room.clone(), live, board.clone(), Arc::clone(&clock)),
            archive: Archive::new(archive.path(), &room, 0),
            name: room,
            title: format!("Room <{name}>"),
            token: "secret-of-the-room".parse().unwrap(),
            mounts: BTreeMap::from(mounts),
            hls: Arc::new(Store::default()),
            preview,
            status,
        }));
        previews.push(preview_in);
        statuses.push(status_in);
    }
    let shared = Arc::new(Rooms::new(rooms.clone()));
    let draining = CancellationToken::new();
    let options = Options {
        viewers,
        draining: draining.clone(),
        dashboard: offered(),
        ..Options::new(clock, board.clone())
    };
    let uploads = options.uploads.clone();
    let (app, audience) = app(shared, options);
    House {
        app,
        audience,
        draining,
        uploads,
        rooms,
        board,
        preview: previews,
        status: statuses,
        _archive: archive,
    }
}

impl House {
    async fn ask(&self, method: &str, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        TowerToHyperService::new(self.app.clone()).call(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask("GET", path).await
    }

    fn mount(&self, name: &str) -> &Mount {
        &self.rooms[0].mounts[name]
    }

    async fn serve(&self, limits: Limits) -> (SocketAddr, CancellationToken) {
        let listener = bind("127.0.0.1:0".parse().unwrap(), &limits).unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = CancellationToken::new();
        tokio::spawn(serve(listener, self.app.clone(), limits, cancel.clone()));
        (address, cancel)
    }
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

/// Waits for a condition that another task brings about.
async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for {what}");
}

#[tokio::test]
async fn rooms_and_players_have_pages_and_others_a_clear_no() {
    let house = house(&["demo", "other"], 10);
    assert!(text(house.get("/").await).await.contains("Room &lt;demo&gt;"));
    assert!(text(house.get("/other/").await).await.contains("data-room=\"other\""));
    let slashless = house.get("/demo").await;
    assert_eq!(slashless.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(slashless.headers()["location"], "demo/");
    for path in ["/nowhere/", "/a/b/c/d", "/nowhere"] {
        let answer = house.get(path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(answer).await.contains("<!doctype html>"), "{path}");
    }
    for path in ["/nowhere/webcast-high.webm", "/demo/nothing.webm", "/demo/hls/source/x.ts"] {
        let answer = house.get(path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(answer).await.contains("\"error\":\"not-found\""), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_live_says_so_and_when_to_come_again() {
    let house = house(&["demo"], 10);
    for path in [
        "/demo/webcast-high.webm",
        "/demo/hls/index.m3u8",
        "/demo/preview.jpg",
        "/demo/hls/source/index.m3u8",
    ] {
        let answer = house.get(path).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        assert!(text(answer).await.contains("room demo"), "{path}");
    }
}

#[tokio::test]
async fn a_stream_flows_as_it_is_made_and_is_counted_exactly() {
    let house = house(&["demo"], 10);
    let mount = house.mount("webcast-high.webm");
    mount.set_header(Bytes::from_static(b"header"));
    mount.push(Frame { data: Bytes::from_static(b"one"), sync: true });
    let head = house.ask("HEAD", "/demo/webcast-high.webm").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(mount.clients(), 0, "HEAD is no viewer");
    let answer = house.get("/demo/webcast-high.webm").await;
    assert_eq!(answer.headers()["content-type"], "video/webm");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let mut body = answer.into_body();
    let mut got = Vec::new();
    while got.len() < 9 {
        got.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(got, b"headerone");
    assert_eq!(mount.clients(), 1);
    let api = text(house.get("/api/v1/rooms").await).await;
    let api: serde_json::Value = serde_json::from_str(&api).unwrap();
    assert_eq!(api["rooms"][0]["viewers"]["progressive"], 1);
    assert_eq!(api["rooms"][0]["mounts"]["webcast-high.webm"]["clients"], 1);
    drop(body);
    assert_eq!(mount.clients(), 0);
    let metrics = text(house.get("/metrics").await).await;
    let line = "backrow_sent_bytes_total{room=\"demo\",what=\"webcast-high.webm\"} 9";
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

#[tokio::test]
async fn the_only_rooms_streams_are_at_the_root_too() {
    let alone = house(&["demo"], 10);
    alone.mount("webcast-high.flv").set_header(Bytes::from_static(b"FLV"));
    alone.mount("webcast-high.flv").push(Frame { data: Bytes::from_static(b"tag"), sync: true });
    for path in ["/webcast-high.flv", "/loop.raw", "/demo/loop.raw"] {
        let answer = alone.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], "video/x-flv");
    }
    alone.preview[0].send_replace(Some(Bytes::from_static(b"jpeg")));
    assert_eq!(text(alone.get("/preview.jpg").await).await, "jpeg");
    let two = house(&["demo", "other"], 10);
    let answer = two.get("/webcast-high.flv").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(text(answer).await.contains("several rooms"));
}

#[tokio::test]
async fn a_full_house_says_so_and_has_room_again_when_one_leaves() {
    let house = house(&["demo"], 1);
    let mount = house.mount("webcast-high.webm");
    mount.set_header(Bytes::from_static(b"h"));
    mount.push(Frame { data: Bytes::from_static(b"1"), sync: true });
    let first = house.get("/demo/webcast-high.webm").await;
    assert_eq!(first.status(), StatusCode::OK);
    let second = house.get("/demo/webcast-high.webm").await;
    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(second.headers().contains_key("retry-after"));
    assert!(text(second).await.contains("as many viewers as it allows"));
    drop(first);
    assert_eq!(house.get("/demo/webcast-high.webm").await.status(), StatusCode::OK);
    assert_eq!(house.get("/demo/").await.status(), StatusCode::OK, "pages are for everyone");
}

#[tokio::test]
async fn health_and_the_read_model_tell_the_moods() {
    let house = house(&["demo"], 10);
    assert!(text(house.get("/healthz").await).await.contains("\"ok\""), "hungry is well");
    house.board.set("demo.480p", Mood::Sad, "no memory");
    house.status[0].send_replace(RoomStatus { live: true, ..RoomStatus::default() });
    let health = house.get("/healthz").await;
    assert_eq!(health.status(), StatusCode::OK);
    let health = text(health).await;
    assert!(health.contains("\"degraded\"") && health.contains("no memory"), "{health}");
    let api: serde_json::Value =
        serde_json::from_str(&text(house.get("/api/v1/rooms").await).await).unwrap();
    assert_eq!(api["v"], 1);
    assert_eq!(api["rooms"][0]["live"], true);
    assert_eq!(api["rooms"][0]["components"][0]["name"], "demo.480p");
    assert_eq!(api["rooms"][0]["components"][1]["mood"], "hungry");
    let metrics = text(house.get("/metrics").await).await;
    assert!(metrics.contains("backrow_room_live{room=\"demo\"} 1"), "{metrics}");
    assert!(
        metrics.contains("component_mood{component=\"demo.480p\",mood=\"sad\"} 1"),
        "{metrics}"
    );
    house.board.set("rtmp", Mood::Sad, "the port is taken");
    assert_eq!(house.get("/healthz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn answers_to_collectors_are_counted() {
    let house = house(&["demo"], 10);
    let path = "/ingest/demo/01ARZ3NDEKTSV4RRFFQ69G5FAV/0000000000.flv";
    assert_eq!(house.ask("PUT", path).await.status(), StatusCode::UNAUTHORIZED);
    let metrics = text(house.get("/metrics").await).await;
    assert!(metrics.contains("backrow_ingest_answers_total{status=\"401\"} 1"), "{metrics}");
}

#[tokio::test]
async fn every_connection_is_one_viewer_and_the_loop_is_none() {
    let house = house(&["demo"], 10);
    let mount = house.mount("webcast-high.flv");
    mount.set_header(Bytes::from_static(b"FLV"));
    mount.push(Frame { data: Bytes::from_static(b"tag"), sync: true });
    let counts = || house.audience.counts(&house.rooms[0]);
    let flv = Format::FlvHigh as usize;
    assert_eq!((counts().formats[flv].clients, counts().formats[flv].made), (0, 3));
    let mut viewers = vec![house.get("/demo/webcast-high.flv").await];
    viewers.push(house.get("/webcast-high.flv").await);
    let tool = house.get("/loop.raw").await;
    assert_eq!((counts().formats[flv].clients, counts().looped.clients), (2, 1));
    assert_eq!((house.audience.viewers(), house.audience.of(&house.rooms[0])), (2, 2));
    let api: serde_json::Value =
        serde_json::from_str(&text(house.get("/api/v1/rooms").await).await).unwrap();
    assert_eq!(api["rooms"][0]["viewers"]["total"], 2, "{api}");
    let mut body = tool.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!((counts().formats[flv].sent, counts().looped.sent), (0, 3));
    drop((body, viewers));
    assert_eq!((house.audience.viewers(), counts().looped.clients), (0, 0));
}

#[tokio::test]
async fn an_encoder_about_to_stop_says_so_and_takes_no_new_segment() {
    let house = house(&["demo"], 10);
    house.draining.cancel();
    let health = house.get("/healthz").await;
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(health).await.contains("\"draining\""));
    house.uploads.close();
    let request = Request::put("/ingest/demo/01ARZ3NDEKTSV4RRFFQ69G5FAV/0000000000.flv")
        .header("authorization", "Bearer secret-of-the-room")
        .body(Body::empty())
        .unwrap();
    let answer = TowerToHyperService::new(house.app.clone()).call(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert!(text(answer).await.contains("\"stopping\""));
    assert_eq!(house.rooms[0].desk.holder(), None, "it holds no room");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped() {
    let house = house(&["demo"], 10);
    let mount = house.mount("webcast-high.flv").clone();
    mount.set_header(Bytes::from_static(b"FLV"));
    mount.push(Frame { data: Bytes::from_static(b"tag"), sync: true });
    let limits = Limits { write_stall: Duration::from_millis(300), ..LIMITS };
    let (address, _cancel) = house.serve(limits).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /demo/loop.raw HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until("the client to join", || mount.clients() == 1).await;
    // Far more than all buffers on the way hold; the client takes none of it.
    let frame = Bytes::from(vec![7; 64 * 1024]);
    until("the client to be dropped", || {
        mount.push(Frame { data: frame.clone(), sync: true });
        mount.clients() == 0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_reads_stays() {
    let house = house(&["demo"], 10);
    let mount = house.mount("webcast-high.flv").clone();
    mount.set_header(Bytes::from_static(b"FLV"));
    mount.push(Frame { data: Bytes::from_static(b"tag"), sync: true });
    let limits = Limits { write_stall: Duration::from_millis(300), ..LIMITS };
    let (address, cancel) = house.serve(limits).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /demo/loop.raw HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Silence for longer than the limit is the stream's matter, not the client's.
    tokio::time::sleep(Duration::from_millis(900)).await;
    let mut got = 0;
    let mut buffer = vec![0; 256 * 1024];
    while got < 4 * 1024 * 1024 {
        mount.push(Frame { data: Bytes::from(vec![7; 32 * 1024]), sync: true });
        got += client.read(&mut buffer).await.unwrap();
    }
    assert_eq!(mount.clients(), 1);
    cancel.cancel();
    until("the order to stop to end endless streams", || mount.clients() == 0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_get_an_answer() {
    let house = house(&["demo"], 10);
    let limits = Limits { connections: 1, ..LIMITS };
    let (address, _cancel) = house.serve(limits).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
}

#[tokio::test]
async fn the_dashboard_is_served_with_what_it_must_know_of_the_broker() {
    let house = house(&["demo"], 10);
    let text = async |path: &str| {
        let answer = house.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    };
    let moved = house.get("/dashboard").await;
    assert_eq!(moved.headers()[header::LOCATION], "dashboard/");
    let page = text("/dashboard/").await;
    for part in page.split("\"assets/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(!text(&format!("/dashboard/assets/{name}")).await.is_empty());
    }
    assert_eq!(
        text("/dashboard/config.json").await,
        r#"{"broker":"wss://broker.example.org:8084/","commands":true}"#
    );
    let policy = house.get("/dashboard/").await.headers()["content-security-policy"].clone();
    assert!(policy.to_str().unwrap().contains("connect-src 'self' ws: wss:"));
    assert_eq!(house.get("/dashboard/assets/nothing.js").await.status(), StatusCode::NOT_FOUND);
}
