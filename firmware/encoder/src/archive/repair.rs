//! What a crash left behind, at start-up: uploads that never ended are cut to their last whole tag.

use super::index::measure;
use super::{Archive, Entry, Error, entries};
use protocol::names::SessionId;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Unfinished segments that are kept to their last whole tag.
    pub kept: usize,
    /// Unfinished segments that held nothing, or nothing new.
    pub removed: usize,
}

impl Archive {
    /// Puts the room's directory in order. To be called before anything is received.
    pub async fn repair(&self) -> Result<Repaired, Error> {
        self.blocking(Self::repair_now).await
    }

    fn repair_now(&self) -> Result<Repaired, Error> {
        let mut repaired = Repaired::default();
        for session in self.session_ids()? {
            for (entry, path) in entries(&self.session_path(session))? {
                let Entry::Temporary(seq) = entry else { continue };
                let (line, end) = measure(&path)?;
                match self.keep_partial(session, seq, &path, end, line.times.first_ms.is_some())? {
                    true => repaired.kept += 1,
                    false => repaired.removed += 1,
                }
            }
        }
        Ok(repaired)
    }

    /// The sessions there are, oldest first.
    pub(super) fn session_ids(&self) -> Result<Vec<SessionId>, Error> {
        let path = &self.inner.path;
        let found = match std::fs::read_dir(path) {
            Ok(found) => found,
            // A room that has never been live.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let mut sessions = Vec::new();
        for entry in found {
            let name = entry.map_err(Error::io("read", path))?.file_name();
            sessions.extend(name.to_str().and_then(|name| name.parse::<SessionId>().ok()));
        }
        sessions.sort();
        Ok(sessions)
    }
}
