//! The HTML pages: the list of rooms, a room's player, and "not found".
//!
//! They are usable without JavaScript (links to rooms and to streams), and everything in them is
//! addressed relative to the page, so that a proxy may serve them under any path.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use pages::embedded;
use pages::template::{Terms, escape, fill, page};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Dist;

/// Only ourselves: no page asks a third party for anything. Pages may be framed by a conference's
/// own site. `blob:` is where Media Source Extensions put the stream.
const TERMS: Terms = Terms {
    cache: "no-cache",
    policy: "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; \
             object-src 'none'; base-uri 'none'; form-action 'none'",
};

/// The dashboard goes to a broker elsewhere, and shows pictures that came from there. Nobody may
/// frame it: it has buttons.
const DASHBOARD: Terms = Terms {
    cache: "no-cache",
    policy: "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
             object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
};

/// The list of rooms: (name, title) each.
pub(super) fn rooms<'a>(rooms: impl Iterator<Item = (&'a str, &'a str)>) -> Response {
    let mut items = String::new();
    for (name, title) in rooms {
        let (name, title) = (escape(name), escape(title));
        items.push_str(&format!(
            "<li><a href=\"{name}/\"><div class=\"picture\"></div><h2>{title}</h2></a></li>"
        ));
    }
    let html = fill(&embedded::template::<Dist>("rooms.html"), |_, out| out.push_str(&items));
    page(StatusCode::OK, html, TERMS)
}

/// A room's player.
pub(super) fn player(name: &str, title: &str) -> Response {
    html(StatusCode::OK, "player.html", &[("room", name), ("title", title)])
}

/// A page that is not there; `root` leads to the list of rooms ("../" from a room's page).
pub(super) fn missing(root: &str, headline: &str, detail: &str) -> Response {
    let values = [("root", root), ("headline", headline), ("detail", detail)];
    html(StatusCode::NOT_FOUND, "missing.html", &values)
}

/// `GET /dashboard/`: all machines, over MQTT.
pub(super) async fn dashboard() -> Response {
    page(StatusCode::OK, embedded::template::<Dist>("dashboard/index.html"), DASHBOARD)
}

/// `GET /assets/{name}`
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    embedded::asset::<Dist>("assets", &name, &headers)
}

/// `GET /dashboard/assets/{name}`: the same for the dashboard, whose folder is whole by itself.
pub(super) async fn asset_of_dashboard(Path(name): Path<String>, headers: HeaderMap) -> Response {
    embedded::asset::<Dist>("dashboard/assets", &name, &headers)
}

fn html(status: StatusCode, name: &str, values: &[(&str, &str)]) -> Response {
    let html = fill(&embedded::template::<Dist>(name), |key, out| {
        if let Some((_, value)) = values.iter().find(|(name, _)| *name == key) {
            out.push_str(&escape(value));
        }
    });
    page(status, html, TERMS)
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
