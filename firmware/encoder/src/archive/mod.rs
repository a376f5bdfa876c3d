//! What was received, on disk: every segment, for as long as there is room.
//!
//! ```text
//! {archive.path}/{room}/{session}/
//!     0000000042.flv              a whole segment, durable
//!     0000000043.partial.flv      what came of a broken upload, to the last whole tag
//!     0000000042.other-1.flv      sent under a number that was taken by other bytes
//!     0000000044.01J….tmp         being received
//!     index.jsonl                 digests and times of whole segments; can be made anew from them
//! ```
//! A segment is written under a temporary name, synced, renamed, and its directory synced; only
//! then is it confirmed. Nothing that was confirmed is ever deleted or written over from here.
//!
//! * [`writer`]: one segment on its way to disk.
//! * [`index`]: the sidecar with digests and times.
//! * [`listing`]: what there is of a session, and of a room.
//! * [`repair`]: what a crash left behind, at start-up.
//! * [`whole`]: a session as one playable FLV.
//! * [`http`]: the recordings to download.

pub mod http;
pub mod index;
pub mod listing;
pub mod repair;
pub mod whole;
pub mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::ingest::segment_file;
use protocol::names::{RoomName, SessionId};
use thiserror::Error;

pub use listing::{Gap, SessionSummary};
pub use writer::{SegmentWriter, Stored};

/// Why the archive could not do something.
#[derive(Debug, Error)]
pub enum Error {
    /// Less space than is to be kept free, or none at all.
    #[error(
        "the archive's disk is full: {path} has {} free, and {} is wanted",
        size(*free), size(*wanted)
    )]
    DiskFull {
        /// Where it was to be written.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that should be.
        wanted: u64,
    },
    /// The disk or its file system said no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing was ever received under this session.
    #[error("room \"{room}\" has no recording of session {session}")]
    NoSession {
        /// The room.
        room: RoomName,
        /// The session asked for.
        session: SessionId,
    },
    /// A number was used for too many different segments.
    #[error("segment {seq} of session {session} was sent with {versions} different contents")]
    TooManyVersions {
        /// The session.
        session: SessionId,
        /// The segment.
        seq: u64,
        /// How many are kept.
        versions: usize,
    },
    /// A task was torn down.
    #[error("the encoder is stopping")]
    Stopping,
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

/// One room's recordings. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Archive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    room: RoomName,
    /// The room's directory.
    path: PathBuf,
    /// Bytes to leave free on the disk.
    min_free: u64,
    /// Held while a finished segment takes its name, and while the index is written.
    naming: Mutex<()>,
}

impl Archive {
    /// The recordings of a room below `root`; leaves `min_free` bytes of the disk alone. Touches
    /// nothing yet.
    #[must_use]
    pub fn new(root: &Path, room: &RoomName, min_free: u64) -> Self {
        let (path, room) = (root.join(room.as_str()), room.clone());
        Self { inner: Arc::new(Inner { room, path, min_free, naming: Mutex::new(()) }) }
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        &self.inner.room
    }

    fn session_path(&self, session: SessionId) -> PathBuf {
        self.inner.path.join(session.to_string())
    }

    /// Refuses when less than the minimum is free.
    fn check_space(&self, path: &Path) -> Result<(), Error> {
        let free = free_space(path)?;
        let wanted = self.inner.min_free;
        if free < wanted {
            return Err(Error::DiskFull { path: self.inner.path.clone(), free, wanted });
        }
        Ok(())
    }

    /// An error of a write, with a full disk told apart from a broken one.
    fn write_error(
        &self,
        what: &'static str,
        path: &Path,
        wanted: u64,
        source: io::Error,
    ) -> Error {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
                path: self.inner.path.clone(),
                free: free_space(path.parent().unwrap_or(path)).unwrap_or(0),
                wanted: self.inner.min_free.max(wanted),
            },
            _ => Error::Io { what, path: path.to_owned(), source },
        }
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let archive = self.clone();
        tokio::task::spawn_blocking(move || work(&archive)).await.map_err(|_| Error::Stopping)?
    }
}

/// Bytes that an ordinary process may still write.
///
/// # Errors
/// If the file system does not tell.
pub fn free_space(path: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|errno| Error::io("ask for the free space of", path)(errno.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes directory entries durable.
fn sync_directory(path: &Path) -> Result<(), Error> {
    std::fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", path))
}

/// What a file in a session's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Whole(u64),
    Partial(u64),
    Temporary(u64),
    Other,
}

impl Entry {
    fn of(name: &str) -> Self {
        if let Some(seq) = protocol::ingest::parse_segment_file(name) {
            return Self::Whole(seq);
        }
        let Some((number, rest)) = name.split_once('.') else { return Self::Other };
        let Some(seq) = protocol::ingest::parse_segment_file(&format!("{number}.flv")) else {
            return Self::Other;
        };
        match rest {
            "partial.flv" => Self::Partial(seq),
            rest if rest.ends_with(".tmp") => Self::Temporary(seq),
            _ => Self::Other,
        }
    }
}

fn partial_file(seq: u64) -> String {
    segment_file(seq).replace(".flv", ".partial.flv")
}

fn other_file(seq: u64, version: usize) -> String {
    segment_file(seq).replace(".flv", &format!(".other-{version}.flv"))
}

/// The files of a session's directory.
fn entries(path: &Path) -> Result<Vec<(Entry, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io("read", path))? {
        let entry = entry.map_err(Error::io("read", path))?;
        if let Some(name) = entry.file_name().to_str() {
            found.push((Entry::of(name), entry.path()));
        }
    }
    Ok(found)
}
