//! A session as one playable FLV: one file header, the segments' tags, their headers only where
//! they change. Timestamps are the session's, counted from its first frame.
//!
//! A segment that is missing leaves a hole in time; of a partial one all whole tags are there. A
//! file that turns out damaged is used up to the damage, and the next goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use flv::{Parser, Tag, TagKind};
use futures_util::Stream;
use protocol::names::SessionId;

use super::index::Contents;
use super::{Archive, Error};

/// Bytes that are read and given out at a time, about.
const PIECE: usize = 128 * 1024;
/// How far into a recording its tracks are looked for.
const LOOK_AHEAD: usize = 64;

/// The recording, piece by piece. Memory: one piece and one tag.
#[derive(Debug)]
struct Whole {
    files: VecDeque<PathBuf>,
    open: Option<(File, Parser, PathBuf)>,
    /// Tags read while looking for the tracks.
    ahead: VecDeque<Tag>,
    begun: bool,
    metadata: bool,
    avc: Bytes,
    aac: Bytes,
    base: Option<u32>,
    buffer: Vec<u8>,
}

impl Archive {
    /// The recording of a session, as it is now.
    pub async fn whole(
        &self,
        session: SessionId,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        let files = self
            .blocking(move |archive| {
                let (path, room) = (archive.session_path(session), archive.room().clone());
                if !path.is_dir() {
                    return Err(Error::NoSession { room, session });
                }
                let Contents { whole, partial: mut files } = archive.index_read(&path)?;
                let name = |seq| path.join(protocol::ingest::segment_file(seq));
                files.extend(whole.into_keys().map(|seq| (seq, name(seq))));
                if files.is_empty() {
                    return Err(Error::NoSession { room, session });
                }
                Ok(files.into_values().collect())
            })
            .await?;
        let whole = Whole {
            files,
            open: None,
            ahead: VecDeque::new(),
            begun: false,
            metadata: false,
            avc: Bytes::new(),
            aac: Bytes::new(),
            base: None,
            buffer: vec![0; PIECE],
        };
        // The file work of each piece has a blocking thread only while the client wants more.
        Ok(futures_util::stream::try_unfold(whole, |mut whole| async move {
            tokio::task::spawn_blocking(move || {
                let piece = whole.piece();
                (!piece.is_empty()).then_some((piece, whole))
            })
            .await
            .map_err(|_| Error::Stopping)
        }))
    }
}

impl Whole {
    /// The next piece; empty at the end.
    fn piece(&mut self) -> Bytes {
        let mut out = BytesMut::with_capacity(PIECE);
        if !self.begun {
            self.begun = true;
            while self.ahead.len() < LOOK_AHEAD {
                let Some(tag) = self.read_tag() else { break };
                self.ahead.push_back(tag);
            }
            let has = |kind| self.ahead.iter().any(|tag| tag.kind == kind);
            out.extend_from_slice(&flv::file_header(has(TagKind::Audio), has(TagKind::Video)));
        }
        while out.len() < PIECE {
            let Some(tag) = self.ahead.pop_front().or_else(|| self.read_tag()) else { break };
            if let Some(tag) = self.pass(tag) {
                tag.encode(&mut out);
            }
        }
        out.freeze()
    }

    /// What of a segment's tag belongs into the recording.
    fn pass(&mut self, mut tag: Tag) -> Option<Tag> {
        if tag.kind == TagKind::Script {
            // The first says what the stream is; the others only date their segments.
            if std::mem::replace(&mut self.metadata, true) {
                return None;
            }
            tag.timestamp = 0;
            return Some(tag);
        }
        if tag.is_sequence_header() {
            let known = if tag.kind == TagKind::Video { &mut self.avc } else { &mut self.aac };
            if *known == tag.data {
                return None;
            }
            *known = tag.data.clone();
        }
        let base = *self.base.get_or_insert(tag.timestamp);
        // A header before the first frame may carry an earlier time than it.
        let since = tag.timestamp.wrapping_sub(base);
        tag.timestamp = if since > u32::MAX / 2 { 0 } else { since };
        Some(tag)
    }

    fn read_tag(&mut self) -> Option<Tag> {
        loop {
            if self.open.is_none() {
                let path = self.files.pop_front()?;
                match File::open(&path) {
                    Ok(file) => self.open = Some((file, Parser::default(), path)),
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "left out of a recording");
                        continue;
                    }
                }
            }
            let (file, parser, path) = self.open.as_mut()?;
            let trouble = match parser.next_tag() {
                Ok(Some(tag)) => return Some(tag),
                Ok(None) => match file.read(&mut self.buffer) {
                    Ok(0) => None,
                    Ok(count) => {
                        parser.push(self.buffer.get(..count).unwrap_or_default());
                        continue;
                    }
                    Err(error) => Some(error.to_string()),
                },
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = trouble {
                tracing::warn!(path = %path.display(), error, "a recording has a damaged segment");
            }
            self.open = None;
        }
    }
}
