//! One segment's upload: every byte to the archive, every tag to the desk.
//!
//! ```text
//!  body ─▶ parser ─▶ tag ─▶ desk (while its session is live)
//!    └──▶ archive                                               answer
//!  ends, FLV whole      → stored                                201, or 200 if it was there
//!  ends inside a tag    → kept to the last whole tag            400 broken-flv
//!  breaks off           → kept to the last whole tag            (nobody listens)
//!  not FLV, wrong codec, too big, silent → kept likewise        400, 415, 413, 408
//!  the disk is full     → live goes on to the segment's end     507 disk-full
//! ```

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flv::Parser;
use futures_util::StreamExt;
use protocol::names::SessionId;

use super::desk::Aired;
use super::http::{drain, oversize_segment};
use super::publisher::Role;
use super::{Options, Refused};
use crate::archive::{self, SegmentWriter, Stored};
use crate::room::Room;

/// An upload that has been let in.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) room: Arc<Room>,
    pub(super) session: SessionId,
    pub(super) seq: u64,
    pub(super) role: Role,
    pub(super) options: Options,
}

/// What has come of it.
struct Progress {
    parser: Parser,
    tags: usize,
    bytes: u64,
    live: bool,
}

impl Upload {
    /// Takes the body in, and answers.
    pub(super) async fn run(self, body: Body) -> Response {
        let live = matches!(self.role, Role::Live { .. });
        let mut writer = match self.room.archive.create(self.session, self.seq).await {
            Ok(writer) => Ok(writer),
            Err(error) if live => Err(error),
            Err(error) => {
                tokio::spawn(drain(body));
                return self.failed(&error).into_response();
            }
        };
        let mut progress = Progress { parser: Parser::default(), tags: 0, bytes: 0, live };
        let mut stream = body.into_data_stream();
        let outcome = loop {
            match tokio::time::timeout(self.options.stall, stream.next()).await {
                Ok(Some(Ok(bytes))) => {
                    if let Err(refused) = self.take(&bytes, &mut progress, &mut writer).await {
                        break Err(refused);
                    }
                }
                Ok(None) => break self.whole(&progress),
                Ok(Some(Err(error))) => break Err(self.broken_off(&error.to_string())),
                Err(_) => break Err(self.stalled()),
            }
        };
        if let Err(refused) = outcome {
            if let Ok(writer) = writer {
                writer.abort().await;
            }
            tracing::warn!(room = %self.room.name, session = %self.session, segment = self.seq,
                code = refused.problem.error, "{}", refused.problem.message);
            tokio::spawn(async move {
                // What still comes is read a little longer, as in `drain`.
                drain(Body::from_stream(stream)).await;
            });
            return refused.into_response();
        }
        if progress.live {
            self.room.desk.end(self.session, self.seq, progress.tags).await;
        }
        let stored = match writer {
            Ok(writer) => writer.finish().await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(stored) => {
                self.room.desk.recorded(Ok(()));
                self.stored(stored)
            }
            Err(error) => self.failed(&error).into_response(),
        }
    }

    async fn take(
        &self,
        bytes: &Bytes,
        progress: &mut Progress,
        writer: &mut Result<SegmentWriter, archive::Error>,
    ) -> Result<(), Refused> {
        progress.bytes += bytes.len() as u64;
        if progress.bytes > self.options.segment {
            return Err(oversize_segment(&self.options));
        }
        if progress.live {
            self.room.desk.touch(self.session);
        }
        if let Ok(writer) = writer {
            writer.write(bytes).await;
        }
        progress.parser.push(bytes);
        while let Some(tag) = progress.parser.next_tag().map_err(|e| self.broken(&e))? {
            if let Err(error) = tag.check() {
                // Whoever sends this has nothing to show.
                self.room.desk.release(self.session).await;
                return Err(self.broken(&error));
            }
            if let Ok(writer) = writer {
                writer.note(progress.parser.position(), &tag);
            }
            if progress.live {
                let aired = self.room.desk.tag(self.session, self.seq, progress.tags, &tag).await;
                progress.live = aired == Aired::Yes;
            }
            progress.tags += 1;
        }
        Ok(())
    }

    fn whole(&self, progress: &Progress) -> Result<(), Refused> {
        progress.parser.finish().map_err(|error| self.broken(&error))
    }

    fn stored(&self, stored: Stored) -> Response {
        let (status, confirmation) = match stored {
            Stored::New(confirmation) => (StatusCode::CREATED, confirmation),
            Stored::Already(confirmation) => (StatusCode::OK, confirmation),
            Stored::Beside(confirmation) => {
                tracing::warn!(room = %self.room.name, session = %self.session, segment = self.seq,
                    "was there with other contents; both are kept");
                (StatusCode::CREATED, confirmation)
            }
        };
        (status, Json(confirmation)).into_response()
    }

    fn failed(&self, error: &archive::Error) -> Refused {
        self.room.desk.recorded(Err(error));
        Refused::archive(error)
    }

    fn name(&self) -> String {
        format!("segment {} of room \"{}\"", self.seq, self.room.name)
    }

    fn broken(&self, error: &flv::Error) -> Refused {
        let (status, code, hint) = match error {
            flv::Error::UnsupportedCodec { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong-codec", "encode to H.264 and AAC")
            }
            flv::Error::OversizeTag { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "oversize-tag", "lower the bit rate")
            }
            _ => (
                StatusCode::BAD_REQUEST,
                "broken-flv",
                "send the segment again; its whole tags are kept until then",
            ),
        };
        Refused::new(status, code, format!("{}: {error}", self.name()), hint)
    }

    fn broken_off(&self, error: &str) -> Refused {
        let message = format!("{} broke off: {error}", self.name());
        Refused::new(StatusCode::BAD_REQUEST, "broken-off", message, "send the segment again")
    }

    fn stalled(&self) -> Refused {
        let seconds = self.options.stall.as_secs_f32();
        Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "stalled",
            format!("{}: nothing came for {seconds} s", self.name()),
            "send the segment again",
        )
    }
}
