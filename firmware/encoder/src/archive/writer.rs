//! One segment on its way to disk.
//!
//! ```text
//!  create ──▶ Writing ──finish──▶ synced, named, directory synced: Stored
//!    │           │ └────abort───▶ cut to the last whole tag: ….partial.flv, or nothing
//!    │           └ a write fails: the rest is not written; finish says why
//!    └ less than min_free: DiskFull
//! ```
//! Files are written on blocking threads, in pieces of [`PIECE`] bytes.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use flv::{Parser, Tag};
use protocol::ingest::{Confirmation, segment_file};
use protocol::names::SessionId;
use sha2::{Digest, Sha256};

use super::index::{Line, Times, hex, measure};
use super::{Archive, Error, other_file, partial_file, sync_directory};

/// Bytes that are gathered before they are written.
const PIECE: usize = 64 * 1024;
/// Different contents that are kept under one number, beside the first.
const VERSIONS: usize = 3;

/// How a segment was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is new.
    New(Confirmation),
    /// The very same was there already.
    Already(Confirmation),
    /// Something else was there under its number, and has kept its place; this is kept beside it.
    Beside(Confirmation),
}

/// A segment that is being received.
#[derive(Debug)]
pub struct SegmentWriter {
    archive: Archive,
    session: SessionId,
    seq: u64,
    temporary: PathBuf,
    /// `None` only while a blocking thread has it, and after a failure.
    file: Option<File>,
    failed: Option<Error>,
    buffer: BytesMut,
    digest: Sha256,
    bytes: u64,
    /// Bytes that have reached the file.
    written: u64,
    /// Where the last whole tag ends, and where the one before ended that reached the file.
    whole_tags: u64,
    media_tags: u64,
    times: Times,
    /// Set by [`tags`](Self::tags), for callers who have no parser of their own.
    parser: Option<Parser>,
}

impl Archive {
    /// Begins a segment. Fails at once when the disk has too little space.
    pub async fn create(&self, session: SessionId, seq: u64) -> Result<SegmentWriter, Error> {
        let (file, temporary) = self
            .blocking(move |archive| {
                let directory = archive.session_path(session);
                let made = !directory.exists();
                std::fs::create_dir_all(&directory)
                    .map_err(|e| archive.write_error("make", &directory, 4096, e))?;
                if made {
                    // The chain of new directories has to survive a power cut too.
                    sync_directory(&archive.inner.path)?;
                    if let Some(root) = archive.inner.path.parent() {
                        sync_directory(root)?;
                    }
                }
                archive.check_space(&directory)?;
                let unique = ulid::Ulid::generate();
                let name = segment_file(seq).replace(".flv", &format!(".{unique}.tmp"));
                let temporary = directory.join(name);
                let file = File::create_new(&temporary)
                    .map_err(|e| archive.write_error("create", &temporary, 4096, e))?;
                Ok((file, temporary))
            })
            .await?;
        Ok(SegmentWriter {
            archive: self.clone(),
            session,
            seq,
            temporary,
            file: Some(file),
            failed: None,
            buffer: BytesMut::new(),
            digest: Sha256::new(),
            bytes: 0,
            written: 0,
            whole_tags: 0,
            media_tags: 0,
            times: Times::default(),
            parser: None,
        })
    }
}

impl SegmentWriter {
    /// Adds bytes as they came. A failure is kept for [`finish`](Self::finish), so that live is not
    /// held up by it; it can be seen in [`failed`](Self::failed).
    pub async fn write(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        if self.file.is_some() {
            self.buffer.extend_from_slice(bytes);
            if self.buffer.len() >= PIECE {
                self.flush().await;
            }
        }
    }

    /// Notes a whole tag among the bytes written: it ends `end` bytes into the segment.
    pub fn note(&mut self, end: u64, tag: &Tag) {
        self.whole_tags = end;
        self.times.note(tag);
        if tag.kind != flv::TagKind::Script && !tag.is_sequence_header() {
            self.media_tags += 1;
        }
    }

    /// Adds whole tags (after the file header), for a caller who has not parsed them.
    pub async fn tags(&mut self, bytes: &Bytes) {
        let mut parser = self.parser.take().unwrap_or_default();
        parser.push(bytes);
        while let Ok(Some(tag)) = parser.next_tag() {
            self.note(parser.position(), &tag);
        }
        self.parser = Some(parser);
        self.write(bytes).await;
    }

    /// Why writing stopped, if it did.
    #[must_use]
    pub fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// Bytes received.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn flush(&mut self) {
        let Some(mut file) = self.file.take() else { return };
        let piece = self.buffer.split().freeze();
        let length = piece.len() as u64;
        let path = self.temporary.clone();
        let done = self
            .archive
            .blocking(move |archive| {
                // A part of the piece may have been written when it fails: `written` is not moved
                // on then, and abort cuts the file to what it counts.
                let done = file
                    .write_all(&piece)
                    .map_err(|e| archive.write_error("write", &path, piece.len() as u64, e));
                Ok((file, done))
            })
            .await;
        match done {
            Ok((file, Ok(()))) => {
                self.file = Some(file);
                self.written += length;
            }
            Ok((_, Err(error))) | Err(error) => self.failed = Some(error),
        }
    }

    /// The segment is whole: makes it durable under its name.
    pub async fn finish(mut self) -> Result<Stored, Error> {
        self.flush().await;
        let Some(file) = self.file.take() else {
            let error = self.failed.take().unwrap_or(Error::Stopping);
            self.abort().await;
            return Err(error);
        };
        let line = Line {
            seq: self.seq,
            bytes: self.bytes,
            sha256: hex(&std::mem::take(&mut self.digest).finalize()),
            times: self.times,
        };
        let (temporary, session) = (self.temporary.clone(), self.session);
        let stored = self
            .archive
            .blocking(move |archive| {
                let bytes = line.bytes;
                file.sync_all().map_err(|e| archive.write_error("sync", &temporary, bytes, e))?;
                archive.name(session, &temporary, line)
            })
            .await;
        if stored.is_err() {
            self.abort().await;
        }
        stored
    }

    /// The upload broke: keeps what there is to its last whole tag, unless as much is there already.
    pub async fn abort(mut self) {
        self.flush().await;
        let (temporary, session, seq) = (self.temporary.clone(), self.session, self.seq);
        let (written, whole_tags, any) = (self.written, self.whole_tags, self.media_tags > 0);
        drop(self.file.take());
        let kept = self
            .archive
            .blocking(move |archive| {
                // When writing stopped early, the last whole tag that reached the disk is not
                // known: the file says.
                let end = match whole_tags <= written {
                    true => whole_tags,
                    false => measure(&temporary)?.1.min(written),
                };
                archive.keep_partial(session, seq, &temporary, end, any)
            })
            .await;
        if let Err(error) = kept {
            tracing::warn!(%error, "a broken upload is not kept");
        }
    }
}

impl Archive {
    /// Gives a synced file its name.
    fn name(
        &self,
        session: SessionId,
        temporary: &std::path::Path,
        line: Line,
    ) -> Result<Stored, Error> {
        let directory = self.session_path(session);
        let seq = line.seq;
        let confirmation = Confirmation { bytes: line.bytes, sha256: line.sha256.clone() };
        let remove = || std::fs::remove_file(temporary).map_err(Error::io("remove", temporary));
        // Poisoned only by a panic, which leaves nothing half-done here.
        let naming = self.inner.naming.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let target = directory.join(segment_file(seq));
        if !target.exists() {
            std::fs::rename(temporary, &target).map_err(Error::io("rename", temporary))?;
            sync_directory(&directory)?;
            if let Err(error) = self.index_add(&directory, &line) {
                tracing::warn!(%error, "the archive's index is not kept");
            }
            let _ = std::fs::remove_file(directory.join(partial_file(seq)));
            return Ok(Stored::New(confirmation));
        }
        let same = |path: &std::path::Path| {
            let bytes = std::fs::metadata(path).map_or(0, |data| data.len());
            Ok::<_, Error>(bytes == line.bytes && measure(path)?.0.sha256 == line.sha256)
        };
        if same(&target)? {
            remove()?;
            return Ok(Stored::Already(confirmation));
        }
        for version in 1..=VERSIONS {
            let other = directory.join(other_file(seq, version));
            if !other.exists() {
                std::fs::rename(temporary, &other).map_err(Error::io("rename", temporary))?;
                sync_directory(&directory)?;
                return Ok(Stored::Beside(confirmation));
            }
            if same(&other)? {
                remove()?;
                return Ok(Stored::Already(confirmation));
            }
        }
        drop(naming);
        Err(Error::TooManyVersions { session, seq, versions: VERSIONS + 1 })
    }

    /// Cuts a temporary file to `end` bytes and keeps it as the partial segment, if it holds media
    /// and more of it than is there.
    pub(super) fn keep_partial(
        &self,
        session: SessionId,
        seq: u64,
        temporary: &std::path::Path,
        end: u64,
        has_media: bool,
    ) -> Result<bool, Error> {
        let directory = self.session_path(session);
        let partial = directory.join(partial_file(seq));
        let naming = self.inner.naming.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let there = std::fs::metadata(&partial).map_or(0, |data| data.len());
        let superseded = directory.join(segment_file(seq)).exists() || there >= end;
        if superseded || !has_media {
            std::fs::remove_file(temporary).map_err(Error::io("remove", temporary))?;
            return Ok(false);
        }
        let file =
            File::options().write(true).open(temporary).map_err(Error::io("open", temporary))?;
        file.set_len(end).map_err(Error::io("cut", temporary))?;
        file.sync_all().map_err(Error::io("sync", temporary))?;
        std::fs::rename(temporary, &partial).map_err(Error::io("rename", temporary))?;
        drop(naming);
        sync_directory(&directory)?;
        Ok(true)
    }
}
