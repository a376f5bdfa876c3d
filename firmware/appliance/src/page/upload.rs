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
use crate::paths::Paths;

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
    receive(file(&shared.paths), body, length).await.map_err(|error| {
        no(StatusCode::BAD_REQUEST, "failed", format!("the upload broke off: {error}"))
    })
}

fn file(paths: &Paths) -> PathBuf {
    paths.kept().join("upload.raucb")
}

/// Removes what an earlier start of the box left.
pub(super) fn forget(paths: &Paths) {
    let _ = std::fs::remove_file(file(paths));
}

/// The whole of it, as a file. Whoever goes away takes this future with them, wherever it is.
async fn receive(file: PathBuf, body: Body, length: u64) -> io::Result<PathBuf> {
    let mut part = Part(Some(file.clone()));
    write(&file, body, length).await?;
    part.0 = None;
    Ok(file)
}

/// A file that is removed unless it becomes whole.
struct Part(Option<PathBuf>);

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(file) = self.0.take()
            && let Err(error) = std::fs::remove_file(&file)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {error}", file.display());
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

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn an_upload_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("upload.raucb");
        // A megabyte comes, and then nothing more.
        let chunks =
            stream::iter([Ok::<_, io::Error>(vec![7_u8; 1 << 20])]).chain(stream::pending());
        let receiving = tokio::spawn(receive(file.clone(), Body::from_stream(chunks), 2 << 20));
        let come = async {
            while file.metadata().map_or(0, |it| it.len()) < 1 << 19 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(STALL, come).await.unwrap();
        receiving.abort();
        assert!(receiving.await.unwrap_err().is_cancelled());
        assert!(!file.exists());

        let all = Body::from(vec![7_u8; 10]);
        assert_eq!(receive(file.clone(), all, 10).await.unwrap(), file);
        assert!(file.exists(), "what is whole stays");
        let short = receive(file.clone(), Body::from(vec![7_u8; 9]), 10).await;
        assert!(short.is_err() && !file.exists());
    }
}
