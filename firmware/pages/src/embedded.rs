//! Files that the binary holds: scripts and styles under names that carry their hash, and the
//! templates that name them. Beside `name` there may be `name.gz`, the same packed.

use std::borrow::Cow;

use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::answer;

/// The answer to `GET folder/name` with the request's `headers`: the file, which may be kept for
/// ever since another content has another name.
pub fn asset<Files: RustEmbed>(folder: &str, name: &str, headers: &HeaderMap) -> Response {
    let path = format!("{folder}/{name}");
    let Some(file) = Files::get(&path).filter(|_| !name.ends_with(".gz")) else {
        return answer::not_found(format!("there is no asset {name:?} in this version"));
    };
    let tag = etag(&file);
    let mut out = HeaderMap::new();
    out.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    out.insert(ETAG, tag.clone());
    out.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if headers.get(IF_NONE_MATCH) == Some(&tag) {
        return (StatusCode::NOT_MODIFIED, out).into_response();
    }
    if takes_gzip(headers)
        && let Some(packed) = Files::get(&format!("{path}.gz"))
    {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (out, body(packed)).into_response();
    }
    (out, body(file)).into_response()
}

/// A template's text. A missing one is empty: whoever embeds tests that it is there.
#[must_use]
pub fn template<Files: RustEmbed>(name: &str) -> String {
    Files::get(name)
        .map_or_else(String::new, |file| String::from_utf8_lossy(&file.data).into_owned())
}

fn body(file: EmbeddedFile) -> Bytes {
    match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    }
}

fn etag(file: &EmbeddedFile) -> HeaderValue {
    use std::fmt::Write as _;
    let mut tag = String::from("W/\"");
    for byte in file.metadata.sha256_hash().iter().take(8) {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    HeaderValue::try_from(tag).unwrap_or_else(|_| HeaderValue::from_static("W/\"0\""))
}

/// Whether gzip is accepted (RFC 9110, section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|item| {
            let mut parts = item.split(';');
            let gzip = parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|part| {
                part.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0_f32))
            });
            gzip && !refused
        })
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "html" => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[derive(RustEmbed)]
    #[folder = "../../web/dist"]
    struct Dist;

    fn script() -> String {
        let found = Dist::iter().find(|name| name.starts_with("assets/player-"));
        found.unwrap().strip_prefix("assets/").unwrap().to_owned()
    }

    fn get(name: &str, headers: &HeaderMap) -> Response {
        asset::<Dist>("assets", name, headers)
    }

    #[tokio::test]
    async fn assets_are_immutable_and_packed_for_those_who_ask() {
        let mut ask = HeaderMap::new();
        let plain = get(&script(), &ask);
        assert_eq!(plain.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert!(plain.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        ask.insert(ACCEPT_ENCODING, HeaderValue::from_static("deflate, GZIP;q=0.5, br"));
        let packed = get(&script(), &ask);
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        let size = |response: Response| async {
            response.into_body().collect().await.unwrap().to_bytes().len()
        };
        assert!(size(packed).await < size(plain).await);
        ask.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip;q=0"));
        assert!(!get(&script(), &ask).headers().contains_key(CONTENT_ENCODING));
    }

    #[test]
    fn a_known_tag_is_not_sent_again() {
        let first = get(&script(), &HeaderMap::new());
        let mut ask = HeaderMap::new();
        ask.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(get(&script(), &ask).status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn only_assets_are_served_as_assets() {
        for name in ["../player.html", "nothing.js", "", ".built"] {
            let answer = get(name, &HeaderMap::new());
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[test]
    fn every_asset_that_a_page_names_is_there() {
        let pages =
            ["player.html", "rooms.html", "missing.html", "dashboard/index.html", "box/box.html"];
        for page in pages {
            let folder = page.rsplit_once('/').map_or(String::new(), |(it, _)| format!("{it}/"));
            let html = template::<Dist>(page);
            let mut found = 0;
            for part in html.split("assets/").skip(1) {
                let name = part.split(['"', '\'']).next().unwrap();
                assert!(Dist::get(&format!("{folder}assets/{name}")).is_some(), "{page}: {name}");
                found += 1;
            }
            assert!(found > 1, "{page}");
        }
    }
}
