//! `GET /api/v1/live`: the picture when it changes, and the levels as they come, as server-sent
//! events. A client that reads slowly skips what it missed: nothing is kept for it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use pages::answer;
use protocol::ingest::Problem;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use crate::status::{Picture, Seen};

/// The picture is sent again after this long: a page that hears nothing for longer knows that the
/// box is gone.
const AGAIN: Duration = Duration::from_secs(4);

/// `GET /api/v1/live`
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(place) = Arc::clone(&shared.followers).try_acquire_owned() else {
        let problem = Problem::new("full", "too many pages follow this box already")
            .hint("Ask again, or look at /api/v1/status.");
        let mut full = answer::problem(StatusCode::SERVICE_UNAVAILABLE, problem);
        full.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        return full;
    };
    let follower = Follower { seen: shared.seen.clone(), last: None, due: None, _place: place };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), follower))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

struct Follower {
    seen: Seen,
    /// The picture as it was last sent.
    last: Option<Arc<Picture>>,
    /// When it is to be sent again in any case.
    due: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; None when the daemon ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(due) = self.due else { return Some(self.picture()) };
            tokio::select! {
                changed = self.seen.levels.changed() => {
                    changed.ok()?;
                    let levels = self.seen.levels.borrow_and_update().clone();
                    return Some(event("levels", &*levels));
                }
                changed = self.seen.picture.changed() => {
                    changed.ok()?;
                    let picture = self.seen.picture.borrow_and_update().clone();
                    if !self.last.as_ref().is_some_and(|last| same(last, &picture)) {
                        return Some(self.picture());
                    }
                }
                () = sleep_until(due) => return Some(self.picture()),
            }
        }
    }

    fn picture(&mut self) -> Bytes {
        let picture = self.seen.picture.borrow_and_update().clone();
        self.due = Some(Instant::now() + AGAIN);
        let event = event("status", &*picture);
        self.last = Some(picture);
        event
    }
}

/// Whether a page would look the same, but for the details, which may be some seconds old.
fn same(one: &Picture, other: &Picture) -> bool {
    one.rows == other.rows
        && one.headline == other.headline
        && one.preview == other.preview
        && one.addresses == other.addresses
        && one.room == other.room
        && one.can_change == other.can_change
}

fn event(name: &str, data: &(impl serde::Serialize + ?Sized)) -> Bytes {
    let mut text = String::new();
    let data = serde_json::to_string(data).unwrap_or_default();
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text.into()
}
