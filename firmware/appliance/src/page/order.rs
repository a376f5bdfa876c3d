//! What may be asked for on the page, passed on to the daemon, and its answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pages::answer;
use protocol::ingest::Problem;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::{Shared, upload};
use crate::update::install::Bundle;

/// The longest a box may take to answer: diagnostics of a slow one.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the fields of an order may take to arrive.
const FIELDS_TIME: Duration = Duration::from_secs(10);
/// Fields of an order: a token, an address.
const MAX_FIELDS: usize = 8 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Starts the collector again.
    Restart,
    /// Starts the box again.
    Reboot,
    /// Makes screen and lights show which box this is, for a while.
    Identify,
    /// Collects what helps to find a fault, as an archive.
    Diagnostics,
    /// Puts the box back as it was when flashed.
    FactoryReset {
        /// The recordings go too.
        recordings: bool,
    },
    /// Installs an update.
    Update {
        /// What to install; a file was uploaded, and is the daemon's to remove.
        bundle: Bundle,
        /// Its digest, if the one who asks knows it.
        sha256: Option<String>,
    },
}

/// An action, and where its answer goes.
#[derive(Debug)]
pub struct Order {
    /// What is asked for.
    pub action: Action,
    /// Dropping it counts as a failure.
    pub answer: oneshot::Sender<Answer>,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or has begun: a sentence.
    Done(String),
    /// It will not be done, and why.
    Refused(String),
    /// It did not work out, and why.
    Failed(String),
    /// A file to be downloaded under this name; removed when it has been opened.
    File(PathBuf, String),
}

/// The fields that may come with an order, as JSON or as a form.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    recordings: bool,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    sha256: Option<String>,
}

/// `POST /api/v1/{what}`
pub(super) async fn order(
    State(shared): State<Arc<Shared>>,
    Path(what): Path<String>,
    request: Request,
) -> Response {
    match take(&shared, &what, request).await {
        Ok(response) => response,
        Err(response) => *response,
    }
}

async fn take(shared: &Shared, what: &str, request: Request) -> Result<Response, Box<Response>> {
    let (parts, body) = request.into_parts();
    let hostname = shared.seen.picture.borrow().device.clone();
    let kind = content_type(&parts.headers);
    let is_bundle = what == "update" && kind == "application/octet-stream";
    let action = if is_bundle {
        // Before the first of many bytes is taken.
        shared.guard.check(&parts.headers, &hostname, None).await?;
        let file = upload::take(shared, &parts.headers, body).await?;
        Action::Update { bundle: Bundle::File(file), sha256: None }
    } else {
        let fields = fields(kind, &read(body).await?)?;
        shared.guard.check(&parts.headers, &hostname, fields.token.as_deref()).await?;
        action(what, fields)?
    };
    Ok(ask(shared, action).await)
}

fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

async fn read(body: Body) -> Result<Bytes, Box<Response>> {
    let Ok(read) = timeout(FIELDS_TIME, to_bytes(body, MAX_FIELDS)).await else {
        let problem = Problem::new("too-slow", "the order did not arrive in time");
        return Err(Box::new(answer::problem(StatusCode::REQUEST_TIMEOUT, problem)));
    };
    read.map_err(|_| {
        let problem = Problem::new("too-large", "that is more than an order can be");
        Box::new(answer::problem(StatusCode::PAYLOAD_TOO_LARGE, problem))
    })
}

fn bad(message: impl Into<String>) -> Box<Response> {
    Box::new(answer::problem(StatusCode::BAD_REQUEST, Problem::new("bad-request", message)))
}

fn fields(kind: &str, body: &[u8]) -> Result<Fields, Box<Response>> {
    if body.is_empty() {
        return Ok(Fields::default());
    }
    match kind {
        "application/json" => serde_json::from_slice(body)
            .map_err(|error| bad(format!("the order is not understood: {error}"))),
        "application/x-www-form-urlencoded" => {
            let mut fields = Fields::default();
            for (name, value) in url::form_urlencoded::parse(body) {
                match &*name {
                    "token" => fields.token = Some(value.into_owned()),
                    "recordings" => fields.recordings = value == "true" || value == "on",
                    "url" => fields.url = Some(value.into_owned()),
                    "sha256" => fields.sha256 = Some(value.into_owned()),
                    _ => return Err(bad(format!("there is no field {name:?}"))),
                }
            }
            Ok(fields)
        }
        _ => Err(bad("an order is JSON or a form; a bundle is application/octet-stream")),
    }
}

fn action(what: &str, fields: Fields) -> Result<Action, Box<Response>> {
    Ok(match what {
        "restart" => Action::Restart,
        "reboot" => Action::Reboot,
        "identify" => Action::Identify,
        "diagnostics" => Action::Diagnostics,
        "factory-reset" => Action::FactoryReset { recordings: fields.recordings },
        "update" => {
            let address = fields.url.unwrap_or_default();
            // A path would be one on the box: nothing that a page should reach for.
            if !address.starts_with("http://") && !address.starts_with("https://") {
                return Err(bad("an update is a bundle, or the http(s) address of one"));
            }
            let bundle = Bundle::parse(&address).map_err(bad)?;
            Action::Update { bundle, sha256: fields.sha256.filter(|it| !it.is_empty()) }
        }
        _ => return Err(Box::new(answer::not_found(format!("nothing is called {what:?} here")))),
    })
}

async fn ask(shared: &Shared, action: Action) -> Response {
    let gone = || Answer::Failed("the box is stopping, or too busy to listen".to_owned());
    let (sender, receiver) = oneshot::channel();
    let order = Order { action, answer: sender };
    let told = match timeout(PATIENCE, async {
        shared.orders.send(order).await.ok()?;
        receiver.await.ok()
    })
    .await
    {
        Ok(told) => told.unwrap_or_else(gone),
        Err(_) => Answer::Failed("the box did not answer in time".to_owned()),
    };
    match told {
        Answer::Done(message) => {
            let told = serde_json::json!({ "ok": true, "message": message });
            ([(CACHE_CONTROL, "no-store")], Json(told)).into_response()
        }
        Answer::Refused(message) => {
            answer::problem(StatusCode::CONFLICT, Problem::new("refused", message))
        }
        Answer::Failed(message) => {
            answer::problem(StatusCode::INTERNAL_SERVER_ERROR, Problem::new("failed", message))
        }
        Answer::File(path, name) => file(path, &name).await,
    }
}

async fn file(path: PathBuf, name: &str) -> Response {
    let opened = tokio::fs::File::open(&path).await;
    let _ = tokio::fs::remove_file(&path).await;
    let safe = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    let name: String = name.chars().filter(|it| safe(*it)).collect();
    match opened {
        Ok(file) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
                (CACHE_CONTROL, "no-store".to_owned()),
            ];
            (headers, Body::from_stream(ReaderStream::new(file))).into_response()
        }
        Err(error) => answer::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            Problem::new("failed", format!("the file cannot be read: {error}")),
        ),
    }
}
