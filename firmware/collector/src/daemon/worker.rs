//! Reads one run of a capture worker: FLV tags from stdout, health lines from stderr.

use bytes::BytesMut;
use flv::{Limits, Parser, Tag};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;
use watchdog::runner::{Progress, WorkerIo};

use super::splice::Origin;
use crate::capture::report::Line;

/// What a worker's reader passes on.
#[derive(Debug)]
pub enum Incoming {
    /// A worker was started: its time begins anew.
    Started(Origin),
    /// It sent a tag.
    Tag(Origin, Tag),
}

/// The longest line a worker may write: a preview image fits.
const MAX_LINE: u64 = 64 * 1024;

/// Reads until the worker's streams end. `lines` is called with what it says of itself.
pub async fn read(
    origin: Origin,
    mut io: WorkerIo,
    progress: Progress,
    tags: mpsc::Sender<Incoming>,
    lines: impl Fn(Line),
) {
    // Taken before anything is waited for: what is left by then goes to the log.
    let stderr = io.stderr.take();
    if tags.send(Incoming::Started(origin)).await.is_err() {
        return;
    }
    let told = async {
        let Some(stderr) = stderr else { return };
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut stderr).take(MAX_LINE).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(1..)) {
                return;
            }
            match serde_json::from_slice(&line) {
                Ok(line @ Line::Ready { .. }) => {
                    progress.ready();
                    lines(line);
                }
                Ok(Line::Error { message, .. }) => progress.fault(message),
                Ok(line) => lines(line),
                // Libraries write to stderr as they like; it is worth keeping, not obeying.
                Err(_) => {
                    let text = String::from_utf8_lossy(&line);
                    tracing::debug!(?origin, "the worker said: {}", text.trim_end());
                }
            }
        }
    };
    tokio::join!(read_tags(origin, &mut io, &progress, &tags), told);
}

async fn read_tags(
    origin: Origin,
    io: &mut WorkerIo,
    progress: &Progress,
    tags: &mpsc::Sender<Incoming>,
) {
    let mut parser = Parser::new(Limits::default());
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        buffer.clear();
        match io.stdout.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => parser.push(&buffer),
        }
        loop {
            match parser.next_tag() {
                Ok(Some(tag)) => {
                    progress.made();
                    if tags.send(Incoming::Tag(origin, tag)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    progress.fault(format!("its output is broken: {error}"));
                    return;
                }
            }
        }
    }
}
