//! Who may change something: whoever has the token, and asks from this box's own page.
//!
//! The token never comes in a cookie, so no other site's page can borrow it. What is left to such a
//! page is to guess: names that are not ours (DNS rebinding) and foreign origins are turned away
//! before the token is looked at, and a wrong token costs a second, in which nobody else may guess.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use pages::answer;
use protocol::ingest::Problem;
use protocol::token::Token;
use tokio::sync::{Mutex, Semaphore};

use super::token;
use crate::paths::Paths;

/// What a wrong token costs.
const PENALTY: Duration = Duration::from_secs(1);
/// Callers that may wait for their token to be looked at.
const WAITING: usize = 8;

/// Keeps the token.
#[derive(Debug)]
pub(super) struct Guard {
    /// The token is read anew for each order: a factory reset makes another.
    paths: Paths,
    one_by_one: Mutex<()>,
    waiting: Semaphore,
}

impl Guard {
    pub(super) fn new(paths: Paths) -> Self {
        Self { paths, one_by_one: Mutex::new(()), waiting: Semaphore::new(WAITING) }
    }

    /// Lets an order through, or says why not. `field` is the token of a form, if one came.
    pub(super) async fn check(
        &self,
        headers: &HeaderMap,
        hostname: &str,
        field: Option<&str>,
    ) -> Result<(), Box<Response>> {
        let no = |status, problem| Err(Box::new(answer::problem(status, problem)));
        if let Err(message) = asks_us(headers, hostname) {
            let hint = "Open the page by the box's address or its .local name.";
            return no(StatusCode::FORBIDDEN, Problem::new("wrong-host", message).hint(hint));
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            let problem = Problem::new("too-many", "too many are trying tokens at this moment");
            return no(StatusCode::TOO_MANY_REQUESTS, problem.hint("Wait a little."));
        };
        let _turn = self.one_by_one.lock().await;
        let Ok(token) = token(&self.paths).parse::<Token>() else {
            let problem =
                Problem::new("no-token", "this box has no token, so nothing can be changed");
            return no(StatusCode::FORBIDDEN, problem.hint("Start the box again: it makes one."));
        };
        let offered = bearer(headers).or(field).unwrap_or_default().trim();
        if token.matches(offered) {
            return Ok(());
        }
        if !offered.is_empty() {
            tokio::time::sleep(PENALTY).await;
        }
        let message =
            if offered.is_empty() { "the token is missing" } else { "the token is wrong" };
        no(
            StatusCode::UNAUTHORIZED,
            Problem::new("unauthorized", message)
                .hint("It is on the box's own screen, and in OK.txt on its CONFIG drive."),
        )
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Whether the request was meant for this box, and comes from its own page or from no page at all.
fn asks_us(headers: &HeaderMap, hostname: &str) -> Result<(), String> {
    let host = text(headers, HOST).unwrap_or_default();
    if !is_ours(host, hostname) {
        return Err(format!("{:?} is not a name of this box", cut(host)));
    }
    let Some(origin) = text(headers, ORIGIN) else { return Ok(()) };
    let from = origin.split_once("://").map(|(_, authority)| authority);
    if from.is_some_and(|from| from.eq_ignore_ascii_case(host)) {
        Ok(())
    } else {
        Err(format!("a page of {:?} asks for this", cut(origin)))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// An address, or a name that no public name server gives away.
fn is_ours(host: &str, hostname: &str) -> bool {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        return true;
    }
    let valid = name.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.'));
    !name.is_empty()
        && valid
        && (name.ends_with(".local") || !name.contains('.') || name.eq_ignore_ascii_case(hostname))
}

fn without_port(host: &str) -> &str {
    if let Some(inside) = host.strip_prefix('[') {
        return inside.split_once(']').map_or("", |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_and_names_of_the_room_are_ours_and_others_are_not() {
        for host in [
            "192.168.1.7",
            "192.168.1.7:8080",
            "[fe80::1]",
            "[::1]:80",
            "hall.local",
            "hall.local.",
            "hall:80",
            "localhost",
            "box.example.org",
        ] {
            assert!(is_ours(host, "box.example.org"), "{host}");
        }
        for host in ["", ":80", "evil.example.com", "hall.local.evil.com", "[", "a b", "1.2.3.4.5"]
        {
            assert!(!is_ours(host, "box.example.org"), "{host}");
        }
    }

    #[test]
    fn another_sites_page_may_not_ask() {
        let headers = |host: &str, origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if !origin.is_empty() {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        assert!(asks_us(&headers("10.0.0.5", ""), "hall").is_ok());
        assert!(asks_us(&headers("10.0.0.5:81", "http://10.0.0.5:81"), "hall").is_ok());
        for origin in ["http://evil.example", "null", "http://10.0.0.5", "10.0.0.5:81"] {
            assert!(asks_us(&headers("10.0.0.5:81", origin), "hall").is_err(), "{origin}");
        }
        assert!(asks_us(&HeaderMap::new(), "hall").is_err());
    }

    proptest! {
        #[test]
        fn no_public_name_is_ours(name in "[a-z]{1,8}\\.[a-z]{2,6}(:[0-9]{1,5})?") {
            prop_assume!(!without_port(&name).ends_with(".local"));
            prop_assert!(!is_ours(&name, "hall"));
        }

        #[test]
        fn any_text_is_read(host in any::<String>()) {
            let _ = is_ours(&host, "hall");
        }
    }
}
