//! What earlier runs left in the spool: found, repaired, and told of.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use jiff::Timestamp;
use protocol::ingest::segment_file;
use protocol::names::{RoomName, SessionId};

use super::disk::{Disk, DiskError, MAX_SEGMENT, read, set_aside, sync_directory};
use super::measure::measure;
use super::record::{self, Entry, RECORD};

/// A session that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Its room.
    pub room: RoomName,
    /// The session.
    pub session: SessionId,
    /// Its whole segments, by number: size, and whether the encoder has confirmed it.
    pub segments: BTreeMap<u64, (u64, bool)>,
}

impl Disk {
    /// Goes through the spool. `found` is given one session after the other; `told` what was
    /// repaired, set aside or could not be read. Nothing but the spool's own directory being
    /// unusable ends it early.
    ///
    /// # Errors
    /// [`DiskError`] if the spool cannot be made or read.
    pub fn scan(
        &self,
        mut found: impl FnMut(Found),
        mut told: impl FnMut(String),
    ) -> Result<(), DiskError> {
        std::fs::create_dir_all(self.root()).map_err(DiskError::io("make", self.root()))?;
        for room_name in names(self.root())? {
            let path = self.root().join(&room_name);
            let Some(room) = room_name.parse::<RoomName>().ok().filter(|_| path.is_dir()) else {
                tracing::info!(path = %path.display(), "is not a room of the spool; left alone");
                continue;
            };
            let sessions = match names(&path) {
                Ok(sessions) => sessions,
                Err(error) => {
                    told(error.to_string());
                    continue;
                }
            };
            for name in sessions {
                let path = path.join(&name);
                let Some(session) = name.parse::<SessionId>().ok().filter(|_| path.is_dir()) else {
                    tracing::info!(path = %path.display(), "is not a session; left alone");
                    continue;
                };
                match session_segments(&path, &mut told) {
                    Ok(segments) if segments.is_empty() => self.remove_session(&room, session),
                    Ok(segments) => found(Found { room: room.clone(), session, segments }),
                    Err(error) => told(format!("{error}; the session is passed over")),
                }
            }
        }
        Ok(())
    }

    /// The newest session of `room` that began before `end`, by its name alone.
    #[must_use]
    pub fn newest_session(&self, room: &RoomName, end: Timestamp) -> Option<SessionId> {
        let names = names(&self.root().join(room.as_str())).ok()?;
        let sessions = names.iter().filter_map(|name| name.parse::<SessionId>().ok());
        sessions.filter(|session| session.began() < end).max()
    }
}

/// The names in a directory that are text, in order.
fn names(path: &Path) -> Result<Vec<String>, DiskError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(DiskError::io("read", path))? {
        let entry = entry.map_err(DiskError::io("read", path))?;
        match entry.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => tracing::warn!(?name, "a file with a strange name; left alone"),
        }
    }
    names.sort();
    Ok(names)
}

/// A session's whole segments, after repair.
fn session_segments(
    directory: &Path,
    told: &mut impl FnMut(String),
) -> Result<BTreeMap<u64, (u64, bool)>, DiskError> {
    let mut segments = BTreeMap::new();
    let mut parts = Vec::new();
    let mut confirmed = BTreeMap::new();
    for name in names(directory)? {
        let path = directory.join(&name);
        match Entry::of(&name) {
            Entry::Segment(seq) if path.is_file() => {
                // What cannot even be looked at now may be read another time.
                match std::fs::metadata(&path).map_err(DiskError::io("look at", &path)) {
                    Ok(metadata) => {
                        segments.insert(seq, (metadata.len(), false));
                    }
                    Err(error) => told(error.to_string()),
                }
            }
            Entry::Part(seq) if path.is_file() => parts.push((seq, path)),
            Entry::Record if path.is_file() => {
                confirmed =
                    std::fs::read(&path).map(|text| record::read(&text)).unwrap_or_default();
            }
            Entry::Bad => {}
            _ => aside(&path, "is not ours", told),
        }
    }
    for (seq, (bytes, is_confirmed)) in &mut segments {
        *is_confirmed = confirmed.get(seq) == Some(bytes);
    }
    for (seq, part) in parts {
        let path = directory.join(segment_file(seq));
        if segments.contains_key(&seq) {
            aside(&part, "is there a second time", told);
            continue;
        }
        if let Some(bytes) = repair(&part, &path, told) {
            segments.insert(seq, (bytes, false));
        }
    }
    // A disk that does not keep its word may have torn the last one after it was called durable.
    if let Some((&seq, &(bytes, false))) = segments.last_key_value() {
        let path = directory.join(segment_file(seq));
        match repair(&path, &path, told) {
            Some(now) if now == bytes => {}
            Some(now) => {
                segments.insert(seq, (now, false));
            }
            None => {
                segments.remove(&seq);
            }
        }
    }
    if segments.is_empty() && !confirmed.is_empty() {
        let _ = std::fs::remove_file(directory.join(RECORD));
    }
    Ok(segments)
}

/// Cuts a segment to its last whole tag and gives it its name; its size, if anything is left.
fn repair(from: &Path, to: &Path, told: &mut impl FnMut(String)) -> Option<u64> {
    let name = from.display();
    let size = std::fs::metadata(from).map_or(0, |metadata| metadata.len());
    if size > MAX_SEGMENT {
        aside(from, "is too large for a segment", told);
        return None;
    }
    let bytes = match read(from) {
        Ok(bytes) => bytes,
        Err(error) => {
            told(error.to_string());
            aside(from, "cannot be read", told);
            return None;
        }
    };
    let measured = measure(&bytes);
    if measured.complete && measured.playable && from == to {
        return Some(size);
    }
    if !measured.playable {
        // Nothing of it could be shown. What is no FLV at all may be something else: kept.
        if measured.whole == 0
            && !bytes.is_empty()
            && !b"FLV".starts_with(&bytes[..bytes.len().min(3)])
        {
            aside(from, "is not FLV", told);
        } else {
            let _ = std::fs::remove_file(from);
            told(format!("{name} held no whole picture when the power went; it is dropped"));
        }
        return None;
    }
    let cut = || {
        let file = File::options().write(true).open(from).map_err(DiskError::io("open", from))?;
        file.set_len(measured.whole).map_err(DiskError::io("cut", from))?;
        file.sync_all().map_err(DiskError::io("sync", from))?;
        std::fs::rename(from, to).map_err(DiskError::io("rename", from))?;
        sync_directory(to.parent().unwrap_or(to))
    };
    match cut() {
        Ok(()) => {
            let seconds = measured.ms as f64 / 1000.0;
            told(format!("{name} was not whole; its first {seconds:.1} s are kept"));
            Some(measured.whole)
        }
        Err(error) => {
            told(error.to_string());
            None
        }
    }
}

fn aside(path: &Path, why: &str, told: &mut impl FnMut(String)) {
    match set_aside(path) {
        Ok(aside) => {
            told(format!("{} {why}; it is set aside as {}", path.display(), aside.display()));
        }
        Err(error) => told(format!("{} {why}, and {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
