//! What the encoder serves over HTTP: everything a viewer, an operator or a collector gets.
//!
//! ```text
//! /                                   rooms page            /healthz       health, with reasons
//! /{room}/                            player page           /metrics       OpenMetrics
//! /{room}/hls/index.m3u8, …           HLS                   /api/v1/rooms  the read model
//! /{room}/webcast-high.webm, …        progressive streams   /assets/…      scripts and styles
//! /{room}/preview.jpg                 the last picture      /ingest/…      see `ingest`
//! /webcast-high.webm, …               the same streams, where there is one room only
//! /dashboard/, …                      the dashboard, and what it is told of the broker
//! ```

mod api;
mod audience;
mod health;
mod hls;
mod html;
mod metrics;
mod mounts;
mod state;
mod viewers;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{Method, header};
use axum::middleware;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use pages::answer;
use pages::listener::{Full, Limits};
use protocol::names::RoomName;
use tokio_util::task::TaskTracker;
use tower_http::cors::{Any, CorsLayer};

pub use self::audience::Audience;
use self::state::Shared;
pub use self::state::{DEFAULT_VIEWERS, Options};
use crate::room::{Room, Rooms};

/// What the listener allows: above the viewers' limit, so that a collector is heard when the house is
/// full.
pub const LIMITS: Limits = Limits {
    connections: 10_000,
    full: Full::Refuse("This encoder has all the connections that it allows."),
    send_buffer: 192 * 1024,
    write_stall: Duration::from_secs(15),
    head: Duration::from_secs(30),
    grace: Duration::from_secs(2),
};

/// The whole app, to be served with [`pages::listener::serve`], and who is in it.
pub fn app(rooms: Arc<Rooms>, options: Options) -> (Router, Audience) {
    let uploads = options.uploads.clone();
    let shared = Arc::new(Shared::new(Arc::clone(&rooms), options));
    (router(rooms, Arc::clone(&shared), uploads), Audience::new(shared))
}

fn router(rooms: Arc<Rooms>, shared: Arc<Shared>, uploads: TaskTracker) -> Router {
    // A page of any site may play our streams: they are public, and carry no cookies.
    let open = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::RANGE])
        .expose_headers([header::CONTENT_LENGTH, header::RETRY_AFTER]);
    let collectors = crate::ingest::routes(uploads)
        .with_state(Arc::clone(&rooms))
        .layer(middleware::map_response_with_state(Arc::clone(&shared), count_ingest));
    Router::new()
        .route("/{room}/hls/index.m3u8", get(hls::multivariant))
        .route("/{room}/hls/{rendition}/{file}", get(hls::file))
        .route("/{room}/{mount}", get(mounts::in_room))
        .route("/{room}", get(mounts::at_root))
        .route("/api/v1/rooms", get(api::rooms))
        .layer(open)
        .route("/", get(rooms_page))
        .route("/{room}/", get(player_page))
        .route("/assets/{name}", get(html::asset))
        .route("/dashboard", get(async || Redirect::permanent("dashboard/")))
        .route("/dashboard/", get(html::dashboard))
        .route("/dashboard/config.json", get(dashboard_config))
        .route("/dashboard/assets/{name}", get(html::asset_of_dashboard))
        .route("/healthz", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .fallback(async || html::missing("/", "No such page", "There is nothing at this address."))
        .with_state(shared)
        .merge(collectors)
        .merge(crate::archive::http::routes().with_state(rooms))
}

async fn count_ingest(State(shared): State<Arc<Shared>>, answer: Response) -> Response {
    shared.counters.ingest(answer.status());
    answer
}

/// `GET /`
async fn rooms_page(State(shared): State<Arc<Shared>>) -> Response {
    html::rooms(shared.rooms.iter().map(|room| (room.name.as_str(), room.title.as_str())))
}

/// `GET /{room}/`
async fn player_page(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    match known(&shared, &name) {
        Some(room) => html::player(room.name.as_str(), &room.title),
        None => html::missing("../", "No such room", "There is no room of this name here."),
    }
}

/// `GET /dashboard/config.json`: no secret is in it.
async fn dashboard_config(State(shared): State<Arc<Shared>>) -> Response {
    let broker = shared.dashboard.broker.as_ref().map_or("", protocol::config::Url::as_str);
    let told = serde_json::json!({ "broker": broker, "commands": shared.dashboard.commands });
    ([(header::CACHE_CONTROL, "no-store")], axum::Json(told)).into_response()
}

fn known(shared: &Shared, name: &str) -> Option<Arc<Room>> {
    let name: RoomName = name.parse().ok()?;
    shared.rooms.get(&name).cloned()
}

/// The room, or the answer that there is none.
fn find(shared: &Shared, name: &str) -> Result<Arc<Room>, Box<Response>> {
    known(shared, name)
        .ok_or_else(|| Box::new(answer::not_found(format!("there is no room {name:?} here"))))
}
