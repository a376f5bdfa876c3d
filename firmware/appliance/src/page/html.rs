//! The page itself, as it is before any script runs: whoever has none reloads it every few seconds.
//! Script and style are embedded, under names that carry their hash.

use std::fmt::Write as _;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use pages::embedded;
use pages::template::{Terms, escape, fill, page};
use rust_embed::RustEmbed;

use crate::status::{Picture, Row};

#[derive(RustEmbed)]
#[folder = "../../web/dist/box"]
struct Dist;

/// Only ourselves, and nobody may frame the page: a click on it is meant for it.
const TERMS: Terms = Terms {
    cache: "no-store",
    policy: "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/// `GET /`
pub(super) fn whole(picture: &Picture) -> Response {
    let template = embedded::template::<Dist>("box.html");
    page(StatusCode::OK, fill(&template, |key, out| value(key, picture, out)), TERMS)
}

/// `GET /assets/{name}`
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    embedded::asset::<Dist>("assets", &name, &headers)
}

/// What `{{key}}` in the page stands for.
fn value(key: &str, picture: &Picture, out: &mut String) {
    match key {
        "room" if picture.room.is_empty() => out.push_str("This box"),
        "room" => out.push_str(&escape(&picture.room)),
        "light" => out.push_str(picture.light.name()),
        "headline" => out.push_str(&escape(&picture.headline)),
        "version" => out.push_str(&escape(&picture.version)),
        _ => match key.strip_prefix("row ") {
            Some(id) => {
                if let Some(row) = picture.rows.iter().find(|row| row.id == id) {
                    push_row(out, row);
                }
            }
            None => out.push('?'),
        },
    }
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
