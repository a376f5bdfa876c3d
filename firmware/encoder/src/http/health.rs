//! `GET /healthz`: 200 while this encoder does its work, 503 when something that every room
//! depends on has failed; the reasons in both.
//!
//! A failing rendition, or a room without a publisher, is no ground to take an encoder out of
//! service: that would drop every viewer for the fault of one. Such things make it `degraded`. An
//! encoder that is about to stop is `draining`: it serves whom it has, and nobody should be sent
//! here.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use protocol::mood::Mood;
use serde::Serialize;
use watchdog::mood::ComponentStatus;

use super::state::Shared;

#[derive(Debug, Serialize, PartialEq)]
struct Health {
    v: u8,
    status: Status,
    problems: Vec<Trouble>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Degraded,
    Failing,
    Draining,
}

#[derive(Debug, Serialize, PartialEq)]
struct Trouble {
    component: String,
    mood: Mood,
    since: Timestamp,
    reason: String,
}

/// `GET /healthz`
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let belongs_to_a_room =
        |name: &str| shared.rooms.iter().any(|room| of_room(name, room.name.as_str()));
    let mut health = judge(&shared.board.snapshot(), belongs_to_a_room);
    if shared.draining.is_cancelled() {
        health.status = Status::Draining;
    }
    let code = match health.status {
        Status::Failing | Status::Draining => StatusCode::SERVICE_UNAVAILABLE,
        Status::Ok | Status::Degraded => StatusCode::OK,
    };
    (code, [(CACHE_CONTROL, "no-store")], Json(health)).into_response()
}

/// Whether a component's name, such as `demo.480p`, is one of `room`'s.
pub(super) fn of_room(component: &str, room: &str) -> bool {
    component.strip_prefix(room).is_some_and(|rest| rest.starts_with('.'))
}

fn judge(
    components: &BTreeMap<String, ComponentStatus>,
    belongs_to_a_room: impl Fn(&str) -> bool,
) -> Health {
    let mut status = Status::Ok;
    let mut problems = Vec::new();
    for (name, component) in components {
        if !matches!(component.mood, Mood::Sad | Mood::Lost) {
            continue;
        }
        let weight = if belongs_to_a_room(name) { Status::Degraded } else { Status::Failing };
        status = status.max(weight);
        problems.push(Trouble {
            component: name.clone(),
            mood: component.mood,
            since: component.since,
            reason: component.reason.clone(),
        });
    }
    Health { v: 1, status, problems }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(moods: &[(&str, Mood)]) -> (Status, usize) {
        let components = moods
            .iter()
            .map(|(name, mood)| {
                let status = ComponentStatus {
                    mood: *mood,
                    since: Timestamp::UNIX_EPOCH,
                    reason: "as set".into(),
                    restarts: 0,
                };
                ((*name).to_owned(), status)
            })
            .collect();
        let health = judge(&components, |name| of_room(name, "demo"));
        (health.status, health.problems.len())
    }

    #[test]
    fn one_rooms_fault_degrades_and_a_common_one_fails() {
        assert_eq!(judged(&[]), (Status::Ok, 0));
        assert_eq!(
            judged(&[("demo.ingest", Mood::Hungry), ("http", Mood::Happy)]),
            (Status::Ok, 0)
        );
        assert_eq!(judged(&[("demo.480p", Mood::Sad)]), (Status::Degraded, 1));
        assert_eq!(judged(&[("demo.480p", Mood::Sad), ("rtmp", Mood::Sad)]), (Status::Failing, 2));
        assert_eq!(judged(&[("demolition", Mood::Lost)]), (Status::Failing, 1));
    }
}
