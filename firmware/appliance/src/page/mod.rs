//! The box's own page, for the volunteer in the room. Looking needs no password; changing needs the
//! token, which is on the box's own screen and in `OK.txt`.
//!
//! ```text
//! GET  /                    the checklist, readable without JavaScript
//! GET  /api/v1/status       the same as JSON          GET /api/v1/live   the same as it changes
//! GET  /preview.jpg         what is sent, small       GET /assets/…      script and style
//! POST /api/v1/{what}       restart · reboot · identify · diagnostics · factory-reset · update
//! ```
//! Orders go to the daemon as an [`Order`], and its answer back. Nothing that is served is a secret:
//! status and preview may be seen by all in the room, and the token is only ever compared.

mod guard;
mod html;
mod live;
mod order;
mod upload;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pages::answer;
use pages::listener::{Full, Limits};
use protocol::status::PREVIEW;
use tokio::sync::{Semaphore, mpsc};

use self::guard::Guard;
pub use self::order::{Action, Answer, Order};
use crate::paths::Paths;
use crate::status::Seen;

/// Pages that follow at one time: each costs a connection and five small messages a second.
const FOLLOWERS: usize = 24;
/// The largest preview that is passed on.
const MAX_PREVIEW: u64 = 1 << 20;

/// What the listener allows, so that nobody in the venue's network can take the box's memory or file
/// descriptors away from the stream.
pub const LIMITS: Limits = Limits {
    connections: 64,
    full: Full::Wait,
    send_buffer: 64 * 1024,
    write_stall: Duration::from_secs(20),
    head: Duration::from_secs(20),
    grace: Duration::from_secs(1),
};

/// What the page's routes share.
#[derive(Debug)]
struct Shared {
    paths: Paths,
    seen: Seen,
    orders: mpsc::Sender<Order>,
    guard: Guard,
    followers: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

/// The token that allows changes, as provisioning made it: of this boot, or the one that is kept.
/// Empty when there is none.
#[must_use]
pub fn token(paths: &Paths) -> String {
    let read = |dir: PathBuf| std::fs::read_to_string(dir.join("token")).ok();
    let token = read(paths.run()).or_else(|| read(paths.kept())).unwrap_or_default();
    token.trim().to_owned()
}

/// The whole page: serve it with [`pages::listener::serve`]. What is asked for goes to `orders`.
pub fn app(paths: Paths, seen: Seen, orders: mpsc::Sender<Order>) -> Router {
    let guard = Guard::new(paths.clone());
    upload::forget(&paths);
    let shared = Arc::new(Shared {
        paths,
        seen,
        orders,
        guard,
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
        uploads: Arc::new(Semaphore::new(1)),
    });
    Router::new()
        .route("/", get(page))
        .route("/assets/{name}", get(html::asset))
        .route("/preview.jpg", get(preview))
        .route("/api/v1/status", get(status))
        .route("/api/v1/live", get(live::live))
        .route("/api/v1/{what}", post(order::order))
        .fallback(async || answer::not_found("there is nothing at this address"))
        .with_state(shared)
}

/// `GET /`
async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let picture = shared.seen.picture.borrow().clone();
    html::whole(&picture)
}

/// `GET /api/v1/status`
async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let picture = shared.seen.picture.borrow().clone();
    ([(CACHE_CONTROL, "no-store")], Json(&*picture)).into_response()
}

/// `GET /preview.jpg`
async fn preview(State(shared): State<Arc<Shared>>) -> Response {
    let file = shared.paths.collector().join(PREVIEW);
    let is_new = shared.seen.picture.borrow().preview.is_some();
    let small = tokio::fs::metadata(&file).await.is_ok_and(|it| it.len() <= MAX_PREVIEW);
    match tokio::fs::read(&file).await {
        Ok(jpeg) if is_new && small => {
            let headers = [
                (CONTENT_TYPE, "image/jpeg"),
                (CACHE_CONTROL, "no-store"),
                (HeaderName::from_static("x-content-type-options"), "nosniff"),
            ];
            (StatusCode::OK, headers, jpeg).into_response()
        }
        _ => answer::not_found("there is no picture at the moment"),
    }
}
