//! Progressive streams: a mount's fan-out as an endless HTTP body, and the preview picture.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use pages::answer;

use super::metrics::Sent;
use super::state::Shared;
use super::{find, html};
use crate::room::Room;
use crate::room::mounts::{FLV_HIGH, LOOP};

/// The preview picture's name.
const PREVIEW: &str = "preview.jpg";

/// `GET /{room}/{mount}`
pub(super) async fn in_room(
    State(shared): State<Arc<Shared>>,
    Path((room, mount)): Path<(String, String)>,
    method: Method,
) -> Response {
    match find(&shared, &room) {
        Ok(room) => serve(&shared, &room, &mount, &method),
        Err(answer) => *answer,
    }
}

/// `GET /{name}`: a room without its slash, or, where there is one room only, its mount under
/// the original system's address.
pub(super) async fn at_root(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    method: Method,
) -> Response {
    if find(&shared, &name).is_ok() {
        // Relative, so that it holds behind a proxy that serves us under a path.
        let Ok(to) = HeaderValue::try_from(format!("{name}/")) else {
            return answer::not_found("no such room");
        };
        return (StatusCode::PERMANENT_REDIRECT, [(LOCATION, to)]).into_response();
    }
    let known = |room: &Room| room.mounts.contains_key(&name) || name == PREVIEW || name == LOOP;
    if let Some(room) = shared.rooms.only()
        && known(room)
    {
        return serve(&shared, room, &name, &method);
    }
    if shared.rooms.iter().any(|room| known(room)) {
        return answer::not_found(format!(
            "there are several rooms here: ask for /ROOM/{name}; / lists the rooms"
        ));
    }
    html::missing("./", "No such page", "There is no room or stream of this name here.")
}

fn serve(shared: &Shared, room: &Room, name: &str, method: &Method) -> Response {
    if name == PREVIEW {
        return preview(room);
    }
    let Some(mount) = room.mounts.get(if name == LOOP { FLV_HIGH.name } else { name }) else {
        let has: Vec<&str> = room.mounts.keys().map(String::as_str).collect();
        return answer::not_found(format!(
            "room {} has no stream {name:?}; it has {}",
            room.name,
            has.join(", ")
        ));
    };
    if !mount.ready() {
        let message = format!("{name} of room {} has no data yet: the room is not live", room.name);
        return answer::later("not-live", message, 2);
    }
    let headers = [
        (CONTENT_TYPE, mount.content_type()),
        (CACHE_CONTROL, "no-store"),
        // Asks nginx in front of us not to collect what should flow.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    if method != Method::GET {
        return headers.into_response();
    }
    let Some(place) = shared.place(room, name) else {
        shared.counters.refused("full");
        return answer::later("full", "this encoder has as many viewers as it allows", 10);
    };
    let sent = shared.counters.counter(&room.name, Sent::Mount(name.to_owned()));
    let reader = mount.subscribe();
    let body = stream::unfold((reader, place), move |(mut reader, place)| {
        let sent = sent.clone();
        async move {
            let data = reader.next().await?;
            sent.inc_by(data.len() as u64);
            Some((Ok::<_, std::convert::Infallible>(data), (reader, place)))
        }
    });
    (headers, Body::from_stream(body)).into_response()
}

fn preview(room: &Room) -> Response {
    let picture = room.preview.borrow().clone();
    let Some(picture) = picture else {
        return answer::later("no-preview", format!("room {} has no picture yet", room.name), 5);
    };
    ([(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "public, max-age=3")], picture).into_response()
}
