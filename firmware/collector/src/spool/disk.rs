//! The spool's files. Everything here may block, and runs on the spool's own thread only.
//!
//! ```text
//! {spool}/{room}/{session}/
//!     0000000042.flv         a whole segment, durable
//!     0000000043.flv.part    being written; after a crash: cut to its last whole tag
//!     confirmed              what the encoder has confirmed (`record`)
//!     ….bad                  set aside: damaged, or not ours
//! ```
//! A segment is written as it is made, synced, renamed, and its directory synced: what has the
//! plain name is whole, whenever the power goes.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::ingest::segment_file;
use protocol::names::{RoomName, SessionId};

use super::index::Key;
use super::record::{self, BAD, RECORD};

/// A segment larger than this is not read: it cannot be ours.
pub(super) const MAX_SEGMENT: u64 = 64 << 20;

/// What the disk or its file system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {}", plain(source))]
pub struct DiskError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DiskError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { what, path, source }
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// The usual failures in words that say what to look at.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".into(),
        io::ErrorKind::PermissionDenied => "it is not allowed to".into(),
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            "the disk gives errors; it may be broken".into()
        }
        _ => error.to_string(),
    }
}

/// The directory `[uplink] spool`.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// The spool in `root`; touches nothing yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn directory(&self, room: &RoomName, session: SessionId) -> PathBuf {
        self.root.join(room.as_str()).join(session.to_string())
    }

    fn path(&self, room: &RoomName, key: Key) -> PathBuf {
        self.directory(room, key.session).join(segment_file(key.seq))
    }

    /// Makes a session's directory, durably.
    pub fn make(&self, room: &RoomName, session: SessionId) -> Result<(), DiskError> {
        let directory = self.directory(room, session);
        if directory.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&directory).map_err(DiskError::io("make", &directory))?;
        sync_directory(&self.root.join(room.as_str()))?;
        sync_directory(&self.root)
    }

    /// Begins a segment.
    pub fn create(&self, room: &RoomName, key: Key) -> Result<Writing, DiskError> {
        self.make(room, key.session)?;
        let directory = self.directory(room, key.session);
        let part = directory.join(record::part_file(key.seq));
        let file = File::create(&part).map_err(DiskError::io("create", &part))?;
        Ok(Writing { file, part, path: directory.join(segment_file(key.seq)), directory, bytes: 0 })
    }

    /// Reads a segment.
    pub fn read(&self, room: &RoomName, key: Key) -> Result<Bytes, DiskError> {
        read(&self.path(room, key))
    }

    /// Removes a segment.
    pub fn remove(&self, room: &RoomName, key: Key) -> Result<(), DiskError> {
        let path = self.path(room, key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is left of a session without segments. What is set aside there stays.
    pub fn remove_session(&self, room: &RoomName, session: SessionId) {
        let directory = self.directory(room, session);
        let others = std::fs::read_dir(&directory)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != RECORD));
        if !others {
            let _ = std::fs::remove_file(directory.join(RECORD));
            // Nothing that matters: an empty directory.
            let _ = std::fs::remove_dir(&directory);
        }
    }

    /// Sets a segment aside.
    pub fn set_aside(&self, room: &RoomName, key: Key) -> Result<PathBuf, DiskError> {
        set_aside(&self.path(room, key))
    }

    /// Notes what the encoder has confirmed of a session. Not synced: see [`record`].
    pub fn record(
        &self,
        room: &RoomName,
        session: SessionId,
        segments: &[(u64, u64)],
    ) -> Result<(), DiskError> {
        let path = self.directory(room, session).join(RECORD);
        let text: String = segments.iter().map(|(seq, bytes)| record::line(*seq, *bytes)).collect();
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(DiskError::io("write", &path))
    }

    /// Bytes that may still be written.
    pub fn free(&self) -> Result<u64, DiskError> {
        let stat = rustix::fs::statvfs(&self.root).map_err(|errno| {
            DiskError::io("ask for the free space of", &self.root)(errno.into())
        })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A segment on its way to disk.
#[derive(Debug)]
pub struct Writing {
    file: File,
    part: PathBuf,
    path: PathBuf,
    directory: PathBuf,
    bytes: u64,
}

impl Writing {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all(bytes).map_err(DiskError::io("write", &self.part))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// It is whole: makes it durable under its name, and says how large it is.
    pub fn finish(&mut self) -> Result<u64, DiskError> {
        self.file.sync_data().map_err(DiskError::io("sync", &self.part))?;
        std::fs::rename(&self.part, &self.path).map_err(DiskError::io("rename", &self.part))?;
        sync_directory(&self.directory)?;
        Ok(self.bytes)
    }

    /// It will not be whole.
    pub fn abandon(self) {
        // If it cannot be removed now, the next start sees to it.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// Reads a file that a segment may be.
pub(super) fn read(path: &Path) -> Result<Bytes, DiskError> {
    let size = std::fs::metadata(path).map_err(DiskError::io("look at", path))?.len();
    if size > MAX_SEGMENT {
        let error = io::Error::other(format!("it has {size} bytes, too many for a segment"));
        return Err(DiskError::io("read", path)(error));
    }
    std::fs::read(path).map(Bytes::from).map_err(DiskError::io("read", path))
}

/// Renames a file so that it is passed over from now on.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, DiskError> {
    let mut name = path.as_os_str().to_owned();
    name.push(BAD);
    let aside = PathBuf::from(name);
    std::fs::rename(path, &aside).map_err(DiskError::io("set aside", path))?;
    Ok(aside)
}

/// Makes a directory's entries durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(DiskError::io("sync", path))
}
