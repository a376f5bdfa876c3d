//! The sidecar: one line of JSON for each whole segment.
//!
//! It saves reading every segment for a listing, and nothing depends on it: a line that is missing,
//! torn or of another size than its file is made anew from the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flv::metadata::Metadata;
use flv::{Parser, Tag, TagKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Archive, Entry, Error, entries};

const FILE: &str = "index.jsonl";
/// The longest line that is read: ours are about 200 bytes.
const MAX_LINE: u64 = 4096;

/// What is known of one whole segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number.
    pub seq: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Its first and last media timestamp, milliseconds of the session.
    #[serde(flatten)]
    pub times: Times,
}

/// When a segment is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Timestamp of the first frame, milliseconds.
    pub first_ms: Option<u32>,
    /// Timestamp of the last frame, milliseconds.
    pub last_ms: Option<u32>,
    /// UTC of the first frame by the sender's clock, milliseconds since 1970.
    pub wallclock_ms: Option<i64>,
}

impl Times {
    /// Takes the next tag of the segment into account.
    pub fn note(&mut self, tag: &Tag) {
        if tag.kind == TagKind::Script {
            if self.wallclock_ms.is_none() {
                self.wallclock_ms = Metadata::from_tag(tag).and_then(|data| data.wallclock_ms);
            }
        } else if !tag.is_sequence_header() {
            self.first_ms.get_or_insert(tag.timestamp);
            self.last_ms = Some(tag.timestamp);
        }
    }
}

/// What a session's directory holds, by number.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The whole segments.
    pub(super) whole: BTreeMap<u64, Line>,
    /// The paths of partial ones that are not there whole.
    pub(super) partial: BTreeMap<u64, PathBuf>,
}

/// Lower-case hex.
pub(super) fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Reads a segment's file through: digest, size, times, and where its last whole tag ends.
pub(super) fn measure(path: &Path) -> Result<(Line, u64), Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let (mut digest, mut parser, mut times) = (Sha256::new(), Parser::default(), Times::default());
    let (mut bytes, mut readable) = (0, true);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(Error::io("read", path))?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
        bytes += count as u64;
        digest.update(piece);
        parser.push(piece);
        while readable {
            match parser.next_tag() {
                Ok(Some(tag)) => times.note(&tag),
                Ok(None) => break,
                Err(_) => readable = false,
            }
        }
    }
    let line = Line { seq: 0, bytes, sha256: hex(&digest.finalize()), times };
    Ok((line, parser.position()))
}

impl Archive {
    /// Adds a line. Not synced: it can be made anew.
    pub(super) fn index_add(&self, session_path: &Path, line: &Line) -> Result<(), Error> {
        let path = session_path.join(FILE);
        let mut text = serde_json::to_vec(line)
            .map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
        // First a line end: what stands before may be the torn line of a crash.
        text.insert(0, b'\n');
        text.push(b'\n');
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        file.write_all(&text).map_err(Error::io("write", &path))
    }

    /// What there is of a session.
    pub(super) fn index_read(&self, session_path: &Path) -> Result<Contents, Error> {
        let mut known = BTreeMap::new();
        if let Ok(file) = File::open(session_path.join(FILE)) {
            let mut reader = BufReader::new(file);
            let mut text = Vec::new();
            loop {
                text.clear();
                let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
                if !read.is_ok_and(|count| count > 0) {
                    break;
                }
                if let Ok(line) = serde_json::from_slice::<Line>(&text) {
                    known.insert(line.seq, line);
                }
            }
        }
        let Contents { mut whole, mut partial } = Contents::default();
        for (entry, path) in entries(session_path)? {
            match entry {
                Entry::Whole(seq) => {
                    let bytes =
                        std::fs::metadata(&path).map_err(Error::io("look at", &path))?.len();
                    let line = match known.remove(&seq).filter(|line| line.bytes == bytes) {
                        Some(line) => line,
                        None => {
                            let line = Line { seq, ..measure(&path)?.0 };
                            // If it cannot be written, the next listing measures again.
                            if let Err(error) = self.index_add(session_path, &line) {
                                tracing::warn!(%error, "the archive's index is not kept");
                            }
                            line
                        }
                    };
                    whole.insert(seq, line);
                }
                Entry::Partial(seq) => {
                    partial.insert(seq, path);
                }
                Entry::Temporary(_) | Entry::Other => {}
            }
        }
        partial.retain(|seq, _| !whole.contains_key(seq));
        Ok(Contents { whole, partial })
    }
}
