//! The page itself, as it is before any script runs: whoever has none reloads it every few seconds.
//! Script and style are embedded, under names that carry their hash.

use std::fmt::Write as _;

use axum::extract::Path;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rust_embed::{EmbeddedFile, RustEmbed};

use super::answer;
use crate::status::{Picture, Row};

#[derive(RustEmbed)]
#[folder = "../../web/dist/box"]
struct Dist;

/// Only ourselves, and nobody may frame the page: a click on it is meant for it.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`
pub(super) fn page(picture: &Picture) -> Response {
    let page = fill(&template("box.html"), picture);
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("content-security-policy"), POLICY),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("x-frame-options"), "DENY"),
    ];
    (StatusCode::OK, headers, page).into_response()
}

/// `GET /assets/{name}`: for ever, since another content has another name.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let file = Dist::get(&format!("assets/{name}")).filter(|_| !name.ends_with(".gz"));
    let Some(file) = file else {
        return answer::not_found(format!("there is no asset {name:?} in this version"));
    };
    let mut out = HeaderMap::new();
    out.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(&name)));
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    out.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    let gzip = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .any(|it| it.split(',').any(|it| it.trim().eq_ignore_ascii_case("gzip")));
    if gzip && let Some(packed) = Dist::get(&format!("assets/{name}.gz")) {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (out, body(packed)).into_response();
    }
    (out, body(file)).into_response()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn body(file: EmbeddedFile) -> Bytes {
    match file.data {
        std::borrow::Cow::Borrowed(data) => Bytes::from_static(data),
        std::borrow::Cow::Owned(data) => Bytes::from(data),
    }
}

/// A template's text. A missing one cannot be: the build looks for it.
fn template(name: &str) -> String {
    Dist::get(name)
        .map_or_else(String::new, |file| String::from_utf8_lossy(&file.data).into_owned())
}

/// Fills each `{{key}}`. One pass over the template: what is filled in is never read as a key.
fn fill(template: &str, picture: &Picture) -> String {
    let mut out = String::with_capacity(template.len() + 4096);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (key, left) = after.split_once("}}").unwrap_or((after, ""));
        match key {
            "room" if picture.room.is_empty() => out.push_str("This box"),
            "room" => out.push_str(&escape(&picture.room)),
            "light" => out.push_str(picture.light.name()),
            "headline" => out.push_str(&escape(&picture.headline)),
            "version" => out.push_str(&escape(&picture.version)),
            _ => match key.strip_prefix("row ") {
                Some(id) => {
                    if let Some(row) = picture.rows.iter().find(|row| row.id == id) {
                        push_row(&mut out, row);
                    }
                }
                None => out.push('?'),
            },
        }
        rest = left;
    }
    out.push_str(rest);
    out
}

/// A row's head, as the script makes it too.
fn push_row(out: &mut String, row: &Row) {
    let _ = write!(
        out,
        "<div class=\"head\" data-light=\"{}\"><span class=\"lamp\"><i></i><b>{}</b></span>\
         <div class=\"words\"><h2>{}</h2><p class=\"says\">{}</p><p class=\"todo\"{}>{}</p></div></div>",
        row.light.name(),
        row.light.word(),
        escape(&row.title),
        escape(&row.says),
        if row.todo.is_empty() { " hidden" } else { "" },
        escape(&row.todo),
    );
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_that_the_page_names_is_there() {
        let html = template("box.html");
        let names: Vec<&str> = html
            .split("assets/")
            .skip(1)
            .filter_map(|part| part.split(['"', '\'']).next())
            .collect();
        assert!(names.len() > 2, "{html}");
        for name in names {
            assert!(Dist::get(&format!("assets/{name}")).is_some(), "{name}");
        }
    }
}
