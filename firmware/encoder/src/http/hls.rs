//! HLS over HTTP (RFC 8216): playlists that are never stale, segments that never change.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, FORWARDED, USER_AGENT};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pages::answer;

use super::find;
use super::metrics::{Sent, Served};
use super::state::Shared;
use crate::http::viewers::{id_text, with_id};
use crate::room::Room;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";

/// A client's address, when the listener said it.
type Peer = Option<axum::Extension<ConnectInfo<std::net::SocketAddr>>>;

/// `GET /{room}/hls/index.m3u8`
pub(super) async fn multivariant(
    State(shared): State<Arc<Shared>>,
    Path(room): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
) -> Response {
    let room = match find(&shared, &room) {
        Ok(room) => room,
        Err(answer) => return *answer,
    };
    let Some(playlist) = room.hls.multivariant() else { return not_yet(&room) };
    let given = id_text(query.as_deref());
    if given.is_none() && shared.is_full() {
        shared.counters.refused("full");
        return full();
    }
    let id = given.map_or_else(|| shared.new_id(), str::to_owned);
    if method == Method::GET {
        shared.invited(&room, shared.viewer(&id));
    }
    let body = with_id(&String::from_utf8_lossy(&playlist), &id);
    send(&shared, &room, Served::Playlist, PLAYLIST, "no-cache", body.into())
}

/// `GET /{room}/hls/{rendition}/{file}`: `index.m3u8`, `init-N.mp4` or `N.m4s`
pub(super) async fn file(
    State(shared): State<Arc<Shared>>,
    Path((room, rendition, file)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    peer: Peer,
    headers: HeaderMap,
    method: Method,
) -> Response {
    let room = match find(&shared, &room) {
        Ok(room) => room,
        Err(answer) => return *answer,
    };
    match Wanted::parse(&file) {
        Some(Wanted::Playlist) => {
            let Some(playlist) = room.hls.playlist(&rendition) else {
                return no_rendition(&room, &rendition);
            };
            if method == Method::GET {
                let viewer = match id_text(query.as_deref()) {
                    Some(id) => shared.viewer(id),
                    None => shared.viewer(nameless(&peer, &headers)),
                };
                shared.seen(&room, viewer);
            }
            send(&shared, &room, Served::Playlist, PLAYLIST, "public, max-age=1", playlist)
        }
        Some(Wanted::Init(id)) => match room.hls.init(&rendition, id) {
            Some(init) => send(&shared, &room, Served::Init, "video/mp4", FOR_EVER, init),
            None => gone(&room, &rendition, &file),
        },
        Some(Wanted::Segment(number)) => match room.hls.segment(&rendition, number) {
            Some(segment) => {
                send(&shared, &room, Served::Segment, "video/iso.segment", FOR_EVER, segment)
            }
            None => gone(&room, &rendition, &file),
        },
        None => answer::not_found(format!(
            "{file:?} is no file of a rendition: there are index.m3u8, init-N.mp4 and N.m4s"
        )),
    }
}

/// A segment's address is never used for another one, except by another process.
const FOR_EVER: &str = "public, max-age=3600, immutable";

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Playlist,
    Init(u64),
    Segment(u64),
}

impl Wanted {
    fn parse(file: &str) -> Option<Self> {
        if file == "index.m3u8" {
            return Some(Self::Playlist);
        }
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        if let Some(id) = file.strip_prefix("init-").and_then(|rest| rest.strip_suffix(".mp4")) {
            return number(id).map(Self::Init);
        }
        file.strip_suffix(".m4s").and_then(number).map(Self::Segment)
    }
}

/// What tells a player without an id from another: see `viewers`.
fn nameless(peer: &Peer, headers: &HeaderMap) -> (String, Vec<u8>) {
    let from = peer.as_ref().map_or_else(String::new, |info| info.0.0.ip().to_string());
    let mut rest = Vec::new();
    for name in [USER_AGENT.as_str(), FORWARDED.as_str(), "x-forwarded-for"] {
        rest.extend_from_slice(headers.get(name).map_or(b"", |value| value.as_bytes()));
        rest.push(0);
    }
    (from, rest)
}

fn send(
    shared: &Shared,
    room: &Room,
    what: Served,
    content_type: &'static str,
    cache: &'static str,
    body: Bytes,
) -> Response {
    shared.counters.sent(&room.name, Sent::Hls(what), body.len());
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, cache)], body).into_response()
}

fn not_yet(room: &Room) -> Response {
    let message = format!("room {} is not live, or has only just begun", room.name);
    answer::later("not-live", message, 2)
}

fn full() -> Response {
    answer::later("full", "this encoder has as many viewers as it allows", 10)
}

fn no_rendition(room: &Room, rendition: &str) -> Response {
    if room.hls.multivariant().is_none() {
        return not_yet(room);
    }
    answer::not_found(format!("room {} has no rendition {rendition:?}", room.name))
}

fn gone(room: &Room, rendition: &str, file: &str) -> Response {
    answer::not_found(format!(
        "{file} of {rendition:?} in room {} has left the live window, or was never made",
        room.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_spelling_of_its_kind() {
        assert_eq!(Wanted::parse("index.m3u8"), Some(Wanted::Playlist));
        assert_eq!(Wanted::parse("init-0.mp4"), Some(Wanted::Init(0)));
        assert_eq!(Wanted::parse("17.m4s"), Some(Wanted::Segment(17)));
        for odd in [
            "",
            ".m4s",
            "+1.m4s",
            "-1.m4s",
            "1.mp4",
            "init-.mp4",
            "init-x.mp4",
            "a.m3u8",
            "99999999999999999999.m4s",
        ] {
            assert_eq!(Wanted::parse(odd), None, "{odd}");
        }
    }
}
