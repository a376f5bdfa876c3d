//! Takes an uploaded update bundle onto the data partition, one at a time, as it comes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::StreamExt as _;
use pages::answer;
use protocol::ingest::Problem;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::Shared;

/// No bundle is larger than the slot it is for.
const LARGEST: u64 = 384 << 20;
/// How long nothing may come.
const STALL: Duration = Duration::from_secs(30);
/// What an upload leaves free.
const SPARE: u64 = 64 << 20;

/// The bundle as a file.
pub(super) async fn take(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
) -> Result<PathBuf, Box<Response>> {
    let no = |status, code: &str, message: String| {
        Box::new(answer::problem(status, Problem::new(code, message)))
    };
    let Ok(_turn) = Arc::clone(&shared.uploads).try_acquire_owned() else {
        let message = "another update is being uploaded".to_owned();
        return Err(no(StatusCode::CONFLICT, "refused", message));
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    let Some(length) = length else {
        let message = "the upload does not say how large it is".to_owned();
        return Err(no(StatusCode::LENGTH_REQUIRED, "bad-request", message));
    };
    if !(1..=LARGEST).contains(&length) {
        let message = format!("{length} bytes cannot be an update: the largest is {LARGEST}");
        return Err(no(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message));
    }
    let kept = shared.paths.kept();
    let free = rustix::fs::statvfs(&kept).map_or(0, |it| it.f_bavail.saturating_mul(it.f_frsize));
    if free < length.saturating_add(SPARE) {
        let message = "there is no room for the update on the box's data partition".to_owned();
        return Err(no(StatusCode::INSUFFICIENT_STORAGE, "refused", message));
    }
    let file = kept.join("upload.raucb");
    match write(&file, body, length).await {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = tokio::fs::remove_file(&file).await;
            let message = format!("the upload broke off: {error}");
            Err(no(StatusCode::BAD_REQUEST, "failed", message))
        }
    }
}

async fn write(file: &Path, body: Body, length: u64) -> io::Result<()> {
    let mut out = tokio::fs::File::create(file).await?;
    let mut stream = body.into_data_stream();
    let mut taken: u64 = 0;
    while let Some(chunk) = timeout(STALL, stream.next()).await? {
        let chunk = chunk.map_err(io::Error::other)?;
        taken += chunk.len() as u64;
        if taken > length {
            return Err(io::Error::other("more came than was announced"));
        }
        out.write_all(&chunk).await?;
    }
    if taken < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    out.sync_all().await
}
