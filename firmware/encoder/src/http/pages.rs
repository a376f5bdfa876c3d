//! The HTML pages: the list of rooms, a room's player, and "not found".
//!
//! They are usable without JavaScript (links to rooms and to streams), and everything in them is
//! addressed relative to the page, so that a proxy may serve them under any path.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use super::assets::template;

/// Only ourselves: no page asks a third party for anything. Pages may be framed by a conference's
/// own site. `blob:` is where Media Source Extensions put the stream.
const POLICY: &str = "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; \
     object-src 'none'; base-uri 'none'; form-action 'none'";

/// The dashboard goes to a broker elsewhere, and shows pictures that came from there. Nobody may
/// frame it: it has buttons.
const DASHBOARD_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
     img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The list of rooms: (name, title) each.
pub(super) fn rooms<'a>(rooms: impl Iterator<Item = (&'a str, &'a str)>) -> Response {
    let mut items = String::new();
    for (name, title) in rooms {
        let (name, title) = (escape(name), escape(title));
        items.push_str(&format!(
            "<li><a href=\"{name}/\"><div class=\"picture\"></div><h2>{title}</h2></a></li>"
        ));
    }
    html(StatusCode::OK, template("rooms.html").replace("{{rooms}}", &items))
}

/// A room's player.
pub(super) fn player(name: &str, title: &str) -> Response {
    let page = fill(template("player.html"), &[("room", name), ("title", title)]);
    html(StatusCode::OK, page)
}

/// A page that is not there; `root` leads to the list of rooms ("../" from a room's page).
pub(super) fn missing(root: &str, headline: &str, detail: &str) -> Response {
    let values = [("root", root), ("headline", headline), ("detail", detail)];
    html(StatusCode::NOT_FOUND, fill(template("missing.html"), &values))
}

/// `GET /dashboard/`: all machines, over MQTT.
pub(super) async fn dashboard() -> Response {
    with_policy(StatusCode::OK, template("dashboard/index.html"), DASHBOARD_POLICY)
}

fn html(status: StatusCode, page: String) -> Response {
    with_policy(status, page, POLICY)
}

fn with_policy(status: StatusCode, page: String, policy: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("content-security-policy"), policy),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    (status, headers, page).into_response()
}

/// Fills each `{{key}}`. One pass over the template: what is filled in is never read as a key.
fn fill(template: String, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 256);
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (key, left) = after.split_once("}}").unwrap_or((after, ""));
        if let Some((_, value)) = values.iter().find(|(name, _)| *name == key) {
            out.push_str(&escape(value));
        }
        rest = left;
    }
    out.push_str(rest);
    out
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
    use http_body_util::BodyExt as _;

    async fn text(response: Response) -> String {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_title_is_text_and_never_markup() {
        let page = text(player("demo", "<script>alert(\"{{room}}\")</script> & co")).await;
        assert!(page.contains("&lt;script&gt;alert(&quot;{{room}}&quot;)&lt;/script&gt; &amp; co"));
        assert!(!page.contains("<script>alert"));
        assert!(page.contains("data-room=\"demo\""));
    }

    #[tokio::test]
    async fn rooms_are_links_without_javascript() {
        let page = text(rooms([("a", "Room <A>"), ("b", "B")].into_iter())).await;
        assert!(page.contains("<a href=\"a/\">"));
        assert!(page.contains("Room &lt;A&gt;"));
        assert!(page.contains("<a href=\"b/\">"));
    }

    #[tokio::test]
    async fn no_page_leaves_a_key_open() {
        for page in [
            player("demo", "Demo"),
            rooms(std::iter::once(("a", "A"))),
            missing("../", "No such room", "Look again"),
            dashboard().await,
        ] {
            let html = text(page).await;
            assert!(!html.contains("{{") && !html.contains('%'), "{html}");
        }
    }
}
