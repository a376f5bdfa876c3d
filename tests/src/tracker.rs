//! The original website's tracker, as an encoder and a viewer meet it: `website/tracker` of
//! timvideos/streaming-system, to the letter, and the ways in which websites fail.
//!
//! `POST /tracker/endpoint/register`, `GET /tracker/{group}/stream.js`, `GET /tracker/streams.js`.
//! An encoder's address is where its request comes from. All of a test's encoders come from
//! 127.0.0.1, so that each is given a [`Tracker::door`] of its own: what nginx's
//! `X-Forwarded-For` is to the original.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use watchdog::clock::SharedClock;

use crate::encoder::client;

/// An encoder is active for so long after its last report.
const ACTIVE: Duration = Duration::from_secs(60);
/// Characters of a group.
const GROUP: usize = 10;
/// The model's fields that have a default.
const PLAIN: [&str; 5] =
    ["overall_bitrate", "overall_cbitrate", "overall_clients", "loop_bitrate", "loop_clients"];
/// The model's formats, each with nullable fields.
const FORMATS: [&str; 7] =
    ["webm_high", "webm_low", "flv_high", "flv_low", "ogg_high", "aac_high", "mp3_high"];

/// How a website fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 500 with a page, as Django does it for what nobody caught.
    Error500,
    /// 200 with a page that has nothing to do with it.
    Html,
    /// No answer at all.
    Silence,
    /// 200 with a body that never ends.
    Endless,
    /// 302 to another page.
    Redirect,
}

/// A report as it is stored.
#[derive(Debug, Clone)]
pub struct Row {
    /// The room.
    pub group: String,
    /// Where viewers are sent.
    pub ip: String,
    /// When it came.
    pub seen: Duration,
    /// The numbers.
    pub data: BTreeMap<String, i64>,
}

#[derive(Debug)]
struct Website {
    clock: SharedClock,
    groups: BTreeSet<String>,
    secret: Option<String>,
    fault: Option<Fault>,
    rows: Vec<Row>,
    answers: Vec<String>,
}

type Shared = Arc<Mutex<Website>>;

/// The tracker at work.
#[derive(Debug)]
pub struct Tracker {
    website: Shared,
    pages: SocketAddr,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Tracker {
    /// A tracker that knows `groups`, and encoders that know `secret`.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(groups: &[&str], secret: &str, clock: SharedClock) -> Self {
        let website = Website {
            clock,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            secret: Some(secret.to_owned()),
            fault: None,
            rows: Vec::new(),
            answers: Vec::new(),
        };
        let website = Arc::new(Mutex::new(website));
        let (pages, task) = listen(Arc::clone(&website), "127.0.0.1").await;
        Self { website, pages, tasks: Mutex::new(vec![task]) }
    }

    /// The end point for an encoder whose address shall be `ip`.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn door(&self, ip: &str) -> String {
        let (address, task) = listen(Arc::clone(&self.website), ip).await;
        self.tasks.lock().unwrap().push(task);
        format!("http://{address}/tracker/endpoint/register")
    }

    /// Sets what encoders must know; `None` is a website that was not set up.
    pub fn secret(&self, secret: Option<&str>) {
        self.lock().secret = secret.map(str::to_owned);
    }

    /// From now on fails so, or not any more.
    pub fn fault(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// Every report taken, in order.
    pub fn rows(&self) -> Vec<Row> {
        self.lock().rows.clone()
    }

    /// The last report of an encoder.
    pub fn last(&self, group: &str, ip: &str) -> Option<Row> {
        let rows = self.rows().into_iter();
        rows.rev().find(|row| row.group == group && row.ip == ip)
    }

    /// Every answer given while there was no fault, in order.
    pub fn answers(&self) -> Vec<String> {
        self.lock().answers.clone()
    }

    /// The script that a room's page loads.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn stream_js(&self, group: &str) -> String {
        self.get(&format!("/tracker/{group}/stream.js")).await
    }

    /// The script that the page of all rooms loads.
    ///
    /// # Panics
    /// When it cannot be had.
    pub async fn streams_js(&self) -> String {
        self.get("/tracker/streams.js").await
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.pages);
        client().get(url).send().await.unwrap().text().await.unwrap()
    }

    fn lock(&self) -> MutexGuard<'_, Website> {
        self.website.lock().unwrap()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap().iter() {
            task.abort();
        }
    }
}

async fn listen(website: Shared, ip: &str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/tracker/endpoint/register", get(to_start).post(register))
        .route("/tracker/{group}/stream.js", get(stream))
        .route("/tracker/streams.js", get(streams))
        .layer(Extension(ip.to_owned()))
        .with_state(website);
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, app).await;
    });
    (address, task)
}

/// A GET where a POST was wanted.
async fn to_start() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/")]).into_response()
}

async fn register(
    State(website): State<Shared>,
    Extension(ip): Extension<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fault = website.lock().unwrap().fault;
    if let Some(fault) = fault {
        return fail(fault).await;
    }
    // Django reads a form only from a body that says it is one.
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let form: BTreeMap<String, String> = if is_form {
        url::form_urlencoded::parse(&body).into_owned().collect()
    } else {
        BTreeMap::new()
    };
    let mut website = website.lock().unwrap();
    let answer = website.register(&form, &ip);
    website.answers.push(answer.clone());
    ([(header::CONTENT_TYPE, "text/plain")], answer).into_response()
}

async fn fail(fault: Fault) -> Response {
    let page = "<!DOCTYPE html>\n<html><title>Something else</title></html>\n";
    match fault {
        Fault::Error500 => (StatusCode::INTERNAL_SERVER_ERROR, page).into_response(),
        Fault::Html => page.into_response(),
        Fault::Silence => std::future::pending().await,
        Fault::Endless => {
            let piece = Bytes::from(vec![b'x'; 16 * 1024]);
            let endless = futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(piece));
            Body::from_stream(endless).into_response()
        }
        Fault::Redirect => to_start().await,
    }
}

impl Website {
    /// The view `endpoint_register`.
    fn register(&mut self, form: &BTreeMap<String, String>, ip: &str) -> String {
        let Some(secret) = &self.secret else {
            return "ERROR CONFIG (No secret)\n".to_owned();
        };
        if form.get("secret") != Some(secret) {
            return "ERROR SECRET\n".to_owned();
        }
        let group = match form.get("group") {
            Some(group) if self.groups.contains(group) => group.clone(),
            _ => return "ERROR GROUP\n".to_owned(),
        };
        let data = form.get("data").map_or("{}", String::as_str);
        match checked(&group, data) {
            Ok(data) => {
                let seen = self.clock.monotonic();
                self.rows.push(Row { group, ip: ip.to_owned(), seen, data });
                "OK\n".to_owned()
            }
            Err((class, why)) => format!(
                "ERROR {class}\nTraceback (most recent call last):\n  File \"views.py\", line 92, in \
                 endpoint_register\n{class}: {why}\n"
            ),
        }
    }

    /// The newest row of each encoder of a group that was heard of lately.
    fn active(&self, group: &str) -> Vec<&Row> {
        let now = self.clock.monotonic();
        let mut newest = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.group == group) {
            newest.insert(&row.ip, row);
        }
        newest.into_values().filter(|row| now.saturating_sub(row.seen) <= ACTIVE).collect()
    }
}

/// The model's fields; what Python says otherwise.
fn checked(group: &str, data: &str) -> Result<BTreeMap<String, i64>, (&'static str, String)> {
    if group.len() > GROUP {
        return Err(("DataError", "value too long for type character varying(10)".to_owned()));
    }
    let data: Map<String, Value> =
        serde_json::from_str(data).map_err(|error| ("ValueError", error.to_string()))?;
    if data.contains_key("ip") || data.contains_key("group") {
        return Err(("AssertionError", String::new()));
    }
    let mut fields = BTreeMap::new();
    for (name, value) in data {
        let nullable = FORMATS.iter().any(|format| {
            let rest = name.strip_prefix(format);
            matches!(rest, Some("_clients" | "_bitrate" | "_cbitrate"))
        });
        if !nullable && !PLAIN.contains(&name.as_str()) {
            let why = format!("'{name}' is an invalid keyword argument for this function");
            return Err(("TypeError", why));
        }
        match value.as_i64() {
            Some(number) if i32::try_from(number).is_ok() => drop(fields.insert(name, number)),
            Some(_) => return Err(("DataError", "integer out of range".to_owned())),
            None if nullable && value.is_null() => {}
            None => return Err(("ValueError", format!("invalid literal for int(): {value}"))),
        }
    }
    Ok(fields)
}

/// The view `stream`: the encoder that sends least.
async fn stream(State(website): State<Shared>, Path(group): Path<String>) -> String {
    let website = website.lock().unwrap();
    if !website.groups.contains(&group) {
        return "window.src = '/';\n".to_owned();
    }
    let load = |row: &&Row| row.data.get("overall_bitrate").copied().unwrap_or(0);
    match website.active(&group).into_iter().min_by_key(load) {
        Some(row) => format!("var streamer_{group} = new Streams('http://{}:8080/');\n", row.ip),
        None => format!("var streamer_{group} = null; // No active servers found :(\n"),
    }
}

/// The view `streams`: a push for every active encoder.
async fn streams(State(website): State<Shared>) -> String {
    let website = website.lock().unwrap();
    let mut text = "var streamers_active = new Array();\n".to_owned();
    for group in &website.groups {
        for _ in website.active(group) {
            let _ = writeln!(text, "streamers_active.push(\"{group}\");");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchdog::clock::FakeClock;

    fn website() -> (Website, FakeClock) {
        let clock = FakeClock::at("2026-02-03T04:05:06Z".parse().unwrap());
        let website = Website {
            clock: Arc::new(clock.clone()),
            groups: ["demo", "elevenchars"].map(str::to_owned).into(),
            secret: Some("hush".to_owned()),
            fault: None,
            rows: Vec::new(),
            answers: Vec::new(),
        };
        (website, clock)
    }

    fn told(website: &mut Website, secret: &str, group: &str, data: &str) -> String {
        let form = [("secret", secret), ("group", group), ("data", data)];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        website.register(&form, "192.0.2.1")
    }

    #[test]
    fn it_answers_as_the_original_does() {
        let (mut website, _) = website();
        let mut tell = |secret: &str, group: &str, data: &str| {
            told(&mut website, secret, group, data).lines().next().unwrap().to_owned()
        };
        assert_eq!(tell("hush", "demo", "{\"webm_high_clients\": 3}"), "OK");
        assert_eq!(tell("hush", "demo", "{\"webm_high_clients\": null}"), "OK");
        assert_eq!(tell("loud", "demo", "{}"), "ERROR SECRET");
        assert_eq!(tell("hush", "other", "{}"), "ERROR GROUP");
        assert_eq!(tell("hush", "demo", "{"), "ERROR ValueError");
        assert_eq!(tell("hush", "demo", "{\"ip\": 1}"), "ERROR AssertionError");
        assert_eq!(tell("hush", "demo", "{\"ogv_high_clients\": 1}"), "ERROR TypeError");
        assert_eq!(tell("hush", "demo", "{\"overall_bitrate\": 1.5}"), "ERROR ValueError");
        assert_eq!(tell("hush", "demo", "{\"overall_bitrate\": 3000000000}"), "ERROR DataError");
        assert_eq!(tell("hush", "elevenchars", "{}"), "ERROR DataError");
        website.secret = None;
        assert_eq!(told(&mut website, "hush", "demo", "{}"), "ERROR CONFIG (No secret)\n");
        assert_eq!(website.rows.len(), 2);
    }

    #[test]
    fn an_encoder_is_active_for_sixty_seconds() {
        let (mut website, clock) = website();
        told(&mut website, "hush", "demo", "{}");
        clock.advance(Duration::from_secs(60));
        assert_eq!(website.active("demo").len(), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(website.active("demo").len(), 0);
    }
}
