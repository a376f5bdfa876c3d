//! What the worker says of itself: one JSON object a line on stderr.

use protocol::mood::Mood;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// How one rendition is: each second, and whenever its mood or reason changes.
    Rendition {
        /// The stream's name, or `decode`.
        name: String,
        /// Its mood.
        mood: Mood,
        /// Why, in words.
        reason: String,
        /// Frames (packets of sound) that came out since the worker started.
        frames: u64,
        /// Frames that went in, or should have, and did not come out.
        dropped: u64,
    },
    /// Something to know that changes nothing.
    Log {
        /// In words.
        message: String,
    },
    /// Why the worker ends.
    Error {
        /// In words.
        message: String,
    },
}

impl Report {
    /// Writes the line. A reader that has gone away is no reason to stop.
    pub fn write(&self) {
        use std::io::Write;
        if let Ok(line) = serde_json::to_string(self) {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}
