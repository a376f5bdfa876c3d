//! What the capture worker says on stderr: one JSON object per line.
//!
//! The daemon reads these lines to set moods and health; a person reads them as they are.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::CaptureError;

/// One line of the worker's stderr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// The first encoded picture has been written.
    Ready {
        /// The source in plain words, with the format chosen.
        source: String,
        /// Width of the picture sent, in pixels.
        width: u32,
        /// Height of the picture sent, in pixels.
        height: u32,
        /// Frames sent per second.
        framerate: u32,
    },
    /// Each second.
    Health(Health),
    /// Five times a second, if that was asked for: how loud it is right now.
    Levels {
        /// Each channel sent (left, right), since the line before.
        audio: Vec<Level>,
    },
    /// A small picture of what is sent, every ten seconds; every two if that was asked for.
    Preview {
        /// A JPEG of at most 20 kB, in hexadecimal; see [`jpeg_bytes`].
        jpeg: String,
    },
    /// The worker ends with this.
    Error {
        /// A stable name for the fault, such as `device_busy`.
        code: String,
        /// A plain sentence: what is wrong and what to do.
        message: String,
    },
    /// Something worth knowing that stops nothing.
    Log {
        /// A plain sentence.
        message: String,
    },
}

/// How picture and sound are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Frames the source has given since the start.
    pub frames_in: u64,
    /// Frames written since the start.
    pub frames_out: u64,
    /// Frames the machine could not keep up with, or the driver lost.
    pub frames_dropped: u64,
    /// Frames sent twice because the source gave too few.
    pub frames_duplicated: u64,
    /// Level of each channel sent (left, right) over the last second.
    pub audio: Vec<Level>,
    /// The picture is black; absent when the worker does not decode it.
    pub black: Option<Condition>,
    /// The picture does not change; absent when the worker does not decode it.
    pub frozen: Option<Condition>,
    /// The sound is silent.
    pub silent: Condition,
    /// End of the sound minus end of the picture as sent, in milliseconds.
    pub av_offset_ms: i64,
}

/// Loudness of one channel, in dB below full scale; never under −100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The highest sample.
    pub peak_db: f64,
    /// The root mean square.
    pub rms_db: f64,
}

/// A state of picture or sound, and since when it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it holds.
    pub on: bool,
    /// Since when `on` has its value.
    pub since: Timestamp,
}

/// A preview as it is written in its line.
pub fn jpeg_text(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The JPEG of a preview line; None when it is not hexadecimal.
pub fn jpeg_bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs
        .iter()
        .map(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let [high, low] = *pair;
            u8::try_from(digit(high)? << 4 | digit(low)?).ok()
        })
        .collect()
}

/// Writes lines to stderr, whole, from any thread.
#[derive(Clone)]
pub struct Reporter {
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl Reporter {
    /// Reports to this process's stderr.
    pub fn stderr() -> Self {
        Self::to(std::io::stderr())
    }

    /// Reports to any writer.
    pub fn to(out: impl Write + Send + 'static) -> Self {
        Self { out: Arc::new(Mutex::new(Box::new(out))) }
    }

    /// Writes one line. A reader that has gone is no fault of the capture: the error is dropped.
    pub fn line(&self, line: &Line) {
        let Ok(mut text) = serde_json::to_string(line) else { return };
        text.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Writes a `log` line.
    pub fn log(&self, message: impl Into<String>) {
        self.line(&Line::Log { message: message.into() });
    }

    /// Writes the `error` line with which the worker ends.
    pub fn error(&self, error: &CaptureError) {
        self.line(&Line::Error { code: error.code().to_owned(), message: error.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tagged_json() {
        let line = Line::Error { code: "device_busy".into(), message: "It is busy.".into() };
        let text = serde_json::to_string(&line).expect("serialises");
        assert_eq!(text, r#"{"event":"error","code":"device_busy","message":"It is busy."}"#);
        assert_eq!(serde_json::from_str::<Line>(&text).expect("reads back"), line);
    }

    #[test]
    fn a_preview_reads_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = jpeg_text(&bytes);
        assert_eq!(&text[..8], "00010203");
        assert_eq!(jpeg_bytes(&text), Some(bytes));
        assert_eq!(jpeg_bytes("0"), None);
        assert_eq!(jpeg_bytes("xx"), None);
    }

    #[test]
    fn health_reads_back() {
        let since: Timestamp = "2026-01-01T10:00:00Z".parse().expect("a time");
        let line = Line::Health(Health {
            frames_in: 1,
            frames_out: 2,
            frames_dropped: 3,
            frames_duplicated: 4,
            audio: vec![Level { peak_db: -3.0, rms_db: -20.5 }],
            black: None,
            frozen: Some(Condition { on: true, since }),
            silent: Condition { on: false, since },
            av_offset_ms: -12,
        });
        let text = serde_json::to_string(&line).expect("serialises");
        assert_eq!(serde_json::from_str::<Line>(&text).expect("reads back"), line);
    }
}
