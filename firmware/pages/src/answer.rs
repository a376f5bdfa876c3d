//! Answers that say no: JSON with a code, a sentence and what to do, as everywhere in Backrow.

use axum::Json;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::ingest::Problem;

/// 404 with a reason.
pub fn not_found(message: impl Into<String>) -> Response {
    problem(StatusCode::NOT_FOUND, Problem::new("not-found", message))
}

/// 503: not now; ask again in `seconds`.
pub fn later(code: &str, message: impl Into<String>, seconds: u16) -> Response {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, Problem::new(code, message));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

/// `status` with `problem`, never cached.
pub fn problem(status: StatusCode, problem: Problem) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(problem)).into_response()
}
