//! The page over real HTTP, on a box of files in a temporary directory.

use std::sync::Arc;
use std::time::Duration;

use pages::listener::{bind, serve};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock;

use super::*;
use crate::status;
use crate::update::install::Bundle;

const TOKEN: &str = "rosy-otter-42";
/// For whatever should come by itself.
const SOON: Duration = Duration::from_secs(30);

struct Box {
    dir: TempDir,
    url: String,
    orders: mpsc::Receiver<Order>,
    cancel: CancellationToken,
    client: reqwest::Client,
}

impl Drop for Box {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn put(dir: &std::path::Path, path: &str, content: &[u8]) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn status(levels: &str, room: &str) -> Vec<u8> {
    format!(
        r#"{{"v":1,"at":"2026-11-22T10:00:00Z","room":"{room}","device":"hall-1",
            "source":{{"description":"a test"}},"levels_db":[{levels}],"confirmed":true}}"#
    )
    .into_bytes()
}

impl Box {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        put(dir.path(), "data/backrow/token", format!("{TOKEN}\n").as_bytes());
        put(dir.path(), "run/backrow/site.toml", b"token = \"the-encoders-secret\"\n");
        put(dir.path(), "proc/sys/kernel/hostname", b"hall-1\n");
        put(dir.path(), "run/backrow-collector/status.json", &status("-20.0,-30.5", "hall"));
        put(dir.path(), "run/backrow-collector/preview.jpg", b"\xff\xd8 a picture");
        let cancel = CancellationToken::new();
        let (_, doing) = watch::channel(String::new());
        let (seen, _) = status::spawn(
            paths.clone(),
            clock::system(),
            Board::new(clock::system()),
            doing,
            cancel.clone(),
        );
        let (sender, orders) = mpsc::channel(4);
        let listener = bind("127.0.0.1:0".parse().unwrap(), &LIMITS).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, app(paths, seen, sender), LIMITS, cancel.clone()));
        Self { dir, url, orders, cancel, client: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    fn post(&self, what: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("{}/api/v1/{what}", self.url))
    }

    /// Answers the next order, and gives it.
    fn answer(&mut self, answer: Answer) -> tokio::task::JoinHandle<Action> {
        let (_, nothing) = mpsc::channel(1);
        let mut orders = std::mem::replace(&mut self.orders, nothing);
        tokio::spawn(async move {
            let order = orders.recv().await.unwrap();
            order.answer.send(answer).unwrap();
            order.action
        })
    }
}

async fn problem(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, format!("{}: {}", body["error"].as_str().unwrap(), body["message"].as_str().unwrap()))
}

#[tokio::test]
async fn everybody_may_look_and_no_secret_is_seen() {
    let it = Box::start().await;
    let (code, page) = it.get("/").await;
    assert_eq!(code, StatusCode::OK);
    assert!(
        page.contains("hall") && page.contains("data-light=") && !page.contains("{{"),
        "{page}"
    );
    let (_, text) = it.get("/api/v1/status").await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["room"], &told["can_change"]), (&json!("hall"), &json!(true)));
    let (code, picture) = it.get("/preview.jpg").await;
    assert!(code == StatusCode::OK && picture.contains("a picture"));
    for text in [page, text] {
        assert!(!text.contains(TOKEN) && !text.contains("the-encoders-secret"), "{text}");
    }
    for path in
        ["/token", "/assets/../box.html", "/assets/%2e%2e/box.html", "/api/v1/restart", "/data"]
    {
        let (code, _) = it.get(path).await;
        assert!(code.is_client_error(), "{path}: {code}");
    }
}

#[tokio::test]
async fn the_page_cannot_be_framed_and_asks_nobody_else() {
    let it = Box::start().await;
    let answer = it.client.get(&it.url).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_room_is_text_and_never_markup() {
    let it = Box::start().await;
    put(
        it.dir.path(),
        "run/backrow/outcome.json",
        br#"{"v":1,"ok":false,"problems":["<script>x</script>"],"source":"none","network":"default"}"#,
    );
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let (_, page) = it.get("/").await;
        assert!(!page.contains("<script>x"));
        if page.contains("&lt;script&gt;x&lt;/script&gt;") {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn nothing_is_changed_without_the_token() {
    let it = Box::start().await;
    for what in ["restart", "reboot", "identify", "diagnostics", "factory-reset", "update"] {
        let told = problem(it.post(what).send().await.unwrap()).await;
        assert_eq!(told, (401, "unauthorized: the token is missing".into()), "{what}");
    }
    let told = problem(it.post("restart").bearer_auth("rosy-otter-43").send().await.unwrap()).await;
    assert_eq!(told, (401, "unauthorized: the token is wrong".into()));
    std::fs::remove_file(it.dir.path().join("data/backrow/token")).unwrap();
    let (code, told) = problem(it.post("restart").bearer_auth(TOKEN).send().await.unwrap()).await;
    assert!(code == 403 && told.contains("has no token"), "{told}");
}

#[tokio::test]
async fn other_names_and_other_sites_are_turned_away() {
    let it = Box::start().await;
    let with =
        |name: &str, value: &str| it.post("restart").bearer_auth(TOKEN).header(name, value).send();
    let (code, told) = problem(with("host", "evil.example.com").await.unwrap()).await;
    assert!(code == 403 && told.contains("is not a name of this box"), "{told}");
    let (code, told) = problem(with("origin", "http://evil.example.com").await.unwrap()).await;
    assert!(code == 403 && told.contains("asks for this"), "{told}");
}

#[tokio::test]
async fn orders_reach_the_daemon_and_its_answers_come_back() {
    let mut it = Box::start().await;
    let asked = it.answer(Answer::Done("the stream starts again".into()));
    let answer = it.post("restart").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["message"], "the stream starts again");
    assert_eq!(asked.await.unwrap(), Action::Restart);

    let mut it = Box::start().await;
    let asked = it.answer(Answer::Refused("an update is under way".into()));
    // A page without scripts sends a form.
    let form = it.post("factory-reset").header("content-type", "application/x-www-form-urlencoded");
    let answer = form.body(format!("token={TOKEN}&recordings=on")).send().await.unwrap();
    assert_eq!(problem(answer).await, (409, "refused: an update is under way".into()));
    assert_eq!(asked.await.unwrap(), Action::FactoryReset { recordings: true });

    // The daemon is gone.
    let it = Box::start().await;
    let (code, _) = {
        let mut it = it;
        it.orders.close();
        problem(it.post("reboot").bearer_auth(TOKEN).send().await.unwrap()).await
    };
    assert_eq!(code, 500);
}

#[tokio::test]
async fn a_file_is_downloaded_once() {
    let mut it = Box::start().await;
    let file = it.dir.path().join("diagnostics.tar.gz");
    std::fs::write(&file, b"an archive").unwrap();
    let asked = it.answer(Answer::File(file.clone(), "hall-1.tar.gz".into()));
    let answer = it.post("diagnostics").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"hall-1.tar.gz\"");
    assert_eq!(answer.text().await.unwrap(), "an archive");
    assert_eq!(asked.await.unwrap(), Action::Diagnostics);
    assert!(!file.exists());
}

#[tokio::test]
async fn an_update_comes_as_a_bundle_or_as_an_address() {
    let mut it = Box::start().await;
    let asked = it.answer(Answer::Done("it is being installed".into()));
    let bundle = vec![7_u8; 3_000_000];
    let upload =
        it.post("update").bearer_auth(TOKEN).header("content-type", "application/octet-stream");
    let answer = upload.body(bundle.clone()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let Action::Update { bundle: Bundle::File(file), .. } = asked.await.unwrap() else { panic!() };
    assert_eq!(std::fs::read(file).unwrap(), bundle);

    let mut it = Box::start().await;
    let asked = it.answer(Answer::Done("it is being fetched".into()));
    let order = json!({ "url": "https://example.org/1.3.0.raucb", "sha256": "ab" });
    it.post("update").bearer_auth(TOKEN).json(&order).send().await.unwrap();
    let Action::Update { bundle, sha256 } = asked.await.unwrap() else { panic!() };
    assert_eq!(
        (bundle, sha256.as_deref()),
        (Bundle::parse("https://example.org/1.3.0.raucb").unwrap(), Some("ab"))
    );

    // A path would be a file of the box.
    let order = json!({ "url": "/etc/shadow" });
    let answer = it.post("update").bearer_auth(TOKEN).json(&order).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let upload = it.post("update").header("content-type", "application/octet-stream");
    assert_eq!(
        upload.body(vec![7_u8; 10]).send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
}

/// Events of the live stream, as they come.
struct Live(reqwest::Response, String);

impl Live {
    async fn of(it: &Box) -> Self {
        let answer = it.client.get(format!("{}/api/v1/live", it.url)).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self(answer, String::new())
    }

    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.1.split_once("\n\n") {
                let (name, data) = event.split_once("\ndata: ").unwrap();
                let told = (
                    name.strip_prefix("event: ").unwrap().to_owned(),
                    serde_json::from_str(data).unwrap(),
                );
                self.1 = rest.to_owned();
                return told;
            }
            let chunk = tokio::time::timeout(SOON, self.0.chunk()).await.unwrap().unwrap().unwrap();
            self.1.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn whoever_follows_hears_levels_and_changes() {
    let it = Box::start().await;
    let mut live = Live::of(&it).await;
    let (name, first) = live.next().await;
    assert_eq!((name.as_str(), &first["room"]), ("status", &json!("hall")));
    put(it.dir.path(), "run/backrow-collector/status.json", &status("-7.5", "annex"));
    let (mut levels, mut room) = (false, false);
    while !levels || !room {
        let (name, told) = live.next().await;
        levels |= name == "levels" && told == json!([-7.5]);
        room |= name == "status" && told["room"] == "annex";
    }
}

#[tokio::test]
async fn followers_are_counted_and_places_come_free() {
    let it = Box::start().await;
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        followers.push(Live::of(&it).await);
    }
    let (code, _) = it.get("/api/v1/live").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    drop(followers);
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let answer = it.client.get(format!("{}/api/v1/live", it.url)).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "no place came free");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_old_picture_is_none() {
    let it = Box::start().await;
    let preview = it.dir.path().join("run/backrow-collector/preview.jpg");
    let old = std::fs::File::options().write(true).open(preview).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    let end = tokio::time::Instant::now() + SOON;
    while it.get("/preview.jpg").await.0 != StatusCode::NOT_FOUND {
        assert!(tokio::time::Instant::now() < end, "the old picture is still served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn shared_things_are_shared() {
    fn assert<T: Send + Sync>() {}
    assert::<Arc<Shared>>();
}
