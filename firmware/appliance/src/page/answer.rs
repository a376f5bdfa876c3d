//! Answers that say no: JSON with a code, a sentence and what to do, as everywhere in Backrow.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use protocol::ingest::Problem;

pub(super) fn not_found(message: impl Into<String>) -> Response {
    problem(StatusCode::NOT_FOUND, Problem::new("not-found", message))
}

/// `status` with `problem`, never cached.
pub(super) fn problem(status: StatusCode, problem: Problem) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(problem)).into_response()
}
