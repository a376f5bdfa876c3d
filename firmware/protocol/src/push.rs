//! `config` and `config/state`: a revision for a machine that no operator can reach, signed, and what
//! the machine made of it.
//!
//! ```text
//! config: { document, certificates, signature } ─▶ signed by somebody who may? ─▶ document ─▶ files
//! ```
//! The document is a text within the message, so that what was signed is known to the byte. A
//! revision is taken once, by its `sequence`, and never after one with a higher.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    names::{DeviceName, Revision},
    payload::VERSION,
};

/// The longest message, bytes.
pub const MAX_BYTES: usize = 128 * 1024;
/// No revision has more files.
pub const MAX_FILES: usize = 16;
/// What a certificate must be made for, to sign revisions: document signing (RFC 9336). The
/// certificates of machines are not, so that no machine can configure another.
pub const PURPOSE: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 36];
/// The same, as it is encoded in a certificate.
pub const PURPOSE_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 36];
/// The file that names the others.
pub const SITE: &str = "site.toml";

/// Comes before what is signed, so that a signature of ours is good for nothing else.
const CONTEXT: &str = "backrow config 1\n";
/// Endings of the files that a site can name.
const ENDINGS: &[&str] = &[".pem", ".key", ".crt"];
/// Of what is wrong, no more is told.
const MAX_REASON: usize = 500;
/// The least and the most that a machine is patient, seconds.
const PATIENCE: (u32, u32) = (5, 1800);

/// Why a message is not taken: what, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    fn new(why: impl AsRef<str>) -> Self {
        Self(short(why.as_ref()))
    }
}

/// One line, not too long.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// `config`: a document and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// [`VERSION`].
    pub v: u8,
    /// A [`Document`], as text.
    pub document: String,
    /// The signer's certificate and those between it and the authority, PEM.
    pub certificates: String,
    /// The signature, hexadecimal.
    pub signature: String,
}

impl Signed {
    /// A message from its parts.
    #[must_use]
    pub fn new(document: String, certificates: String, signature: &[u8]) -> Self {
        let mut hex = String::new();
        for byte in signature {
            let _ = write!(hex, "{byte:02x}");
        }
        Self { v: VERSION, document, certificates, signature: hex }
    }

    /// Takes a message apart; nothing in it is to be believed yet.
    ///
    /// # Errors
    /// [`Refused`], with the place.
    pub fn parse(payload: &[u8]) -> Result<Self, Refused> {
        if payload.len() > MAX_BYTES {
            let size = payload.len();
            return Err(Refused::new(format!("it has {size} bytes; {MAX_BYTES} is the most")));
        }
        let signed: Self = serde_json::from_slice(payload)
            .map_err(|error| Refused::new(format!("the message is not understood: {error}")))?;
        if signed.v != VERSION {
            return Err(Refused::new(format!(
                "the message is of version {}; this machine understands {VERSION}",
                signed.v
            )));
        }
        Ok(signed)
    }

    /// The message.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What is signed.
    #[must_use]
    pub fn message(document: &str) -> Vec<u8> {
        format!("{CONTEXT}{document}").into_bytes()
    }

    /// The signature's bytes.
    ///
    /// # Errors
    /// If it is not hexadecimal.
    pub fn signature(&self) -> Result<Vec<u8>, Refused> {
        let digits = self.signature.as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
            let good = text.chars().all(|c| c.is_ascii_hexdigit());
            u8::from_str_radix(text, 16).ok().filter(|_| good)
        };
        digits
            .map(byte)
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| Refused::new("`signature` is not in hexadecimal digits"))
    }
}

/// A revision for a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// [`VERSION`].
    pub v: u8,
    /// For whom.
    pub machine: DeviceName,
    /// What the files together are called; it stands in site.toml, too.
    pub revision: Revision,
    /// When it was made.
    pub made: Timestamp,
    /// Higher than that of every document before.
    pub sequence: u64,
    /// How long the machine must be well with it, seconds.
    pub settle_s: u32,
    /// How long it may take to become so, seconds; then it goes back.
    pub patience_s: u32,
    /// site.toml, and the certificates and keys that it names.
    pub files: BTreeMap<String, String>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Refused`], with the place.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let document: Self = serde_json::from_str(text)
            .map_err(|error| Refused::new(format!("the document is not understood: {error}")))?;
        document.check()?;
        Ok(document)
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// [`Refused`], with the file.
    pub fn check(&self) -> Result<(), Refused> {
        let no = |why: String| Err(Refused::new(why));
        if self.v != VERSION {
            return no(format!("the document is of version {}, not {VERSION}", self.v));
        }
        if self.files.len() > MAX_FILES {
            return no(format!("it has {} files; {MAX_FILES} is the most", self.files.len()));
        }
        if !self.files.contains_key(SITE) {
            return no(format!("there is no {SITE} in it"));
        }
        for name in self.files.keys() {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let named = name == SITE || ENDINGS.iter().any(|end| name.ends_with(end));
            if !named || name.starts_with('.') || name.len() > 80 || !name.chars().all(plain) {
                let name = name.escape_debug();
                return no(format!(
                    "file \"{name}\": over MQTT go only {SITE} and certificates and keys ({})",
                    ENDINGS.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The document as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How long the machine must be well, and how long that may take; within bounds.
    #[must_use]
    pub fn times(&self) -> (Duration, Duration) {
        let patience = self.patience_s.clamp(PATIENCE.0, PATIENCE.1);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        (seconds(self.settle_s.min(patience)), seconds(patience))
    }
}

/// What became of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing came yet.
    None,
    /// It is in force, and may be taken back.
    Trial,
    /// It stays.
    Applied,
    /// It was not taken; all is as before.
    Refused,
    /// The machine was not well with it, and has what it had before.
    WentBack,
    /// The machine was not well with it, and cannot go back; it goes on trying.
    Stuck,
}

/// `config/state`, retained: what the machine made of what came last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigState {
    /// [`VERSION`].
    pub v: u8,
    /// When that was.
    pub at: Timestamp,
    /// What became of it.
    pub state: Standing,
    /// Of which document, as far as it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Of which revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// In plain words.
    pub reason: String,
    /// The highest sequence that was ever taken: only a higher one is.
    pub highest: u64,
    /// The revision that the machine's settings have now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<Revision>,
    /// Somebody changed the settings on the machine since the revision was applied.
    #[serde(default)]
    pub by_hand: bool,
}

impl ConfigState {
    /// A state with nothing in it but this; the reason is made one line, and not too long.
    #[must_use]
    pub fn new(at: Timestamp, state: Standing, reason: &str) -> Self {
        Self {
            v: VERSION,
            at,
            state,
            sequence: None,
            revision: None,
            reason: short(reason),
            highest: 0,
            has: None,
            by_hand: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document() -> Document {
        Document {
            v: VERSION,
            machine: "box-7".parse().unwrap(),
            revision: "3f2a91c07b54".parse().unwrap(),
            made: "2026-02-03T04:05:06Z".parse().unwrap(),
            sequence: 1_770_091_506_000,
            settle_s: 6,
            patience_s: 90,
            files: [(SITE.to_owned(), "room = \"a\"\n".to_owned())].into(),
        }
    }

    #[test]
    fn the_message_is_the_documented_json() {
        let text = document().to_json();
        assert_eq!(
            text,
            r#"{"v":1,"machine":"box-7","revision":"3f2a91c07b54","made":"2026-02-03T04:05:06Z","sequence":1770091506000,"settle_s":6,"patience_s":90,"files":{"site.toml":"room = \"a\"\n"}}"#
        );
        assert_eq!(Document::parse(&text).unwrap(), document());
        let signed = Signed::new(text, "PEM".into(), &[0, 0xab]);
        assert_eq!(signed.signature, "00ab");
        let again = Signed::parse(signed.to_json().as_bytes()).unwrap();
        assert_eq!(again, signed);
        assert_eq!(again.signature().unwrap(), [0, 0xab]);
        let mut state = ConfigState::new(document().made, Standing::WentBack, "uplink:\nrefused");
        state.sequence = Some(3);
        assert_eq!(
            serde_json::to_string(&state).unwrap(),
            r#"{"v":1,"at":"2026-02-03T04:05:06Z","state":"went_back","sequence":3,"reason":"uplink: refused","highest":0,"by_hand":false}"#
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let why = |change: &dyn Fn(&mut Document)| {
            let mut document = document();
            change(&mut document);
            Document::parse(&document.to_json()).unwrap_err().to_string()
        };
        assert_eq!(why(&|it| it.files.clear()), "there is no site.toml in it");
        assert!(why(&|it| it.v = 2).contains("version 2"));
        for name in
            ["update.raucb", "authorized_keys", "../a.pem", ".a.pem", "factory-reset", "a/b.pem"]
        {
            let told = why(&|it| {
                it.files.insert(name.to_owned(), String::new());
            });
            assert!(told.starts_with(&format!("file \"{name}\": over MQTT go only")), "{told}");
        }
        let many = why(&|it| it.files.extend((0..20).map(|n| (format!("{n}.pem"), String::new()))));
        assert_eq!(many, "it has 21 files; 16 is the most");
        let told = |payload: &[u8]| Signed::parse(payload).unwrap_err().to_string();
        assert!(told(b"{\"v\":1,").contains("line 1 column 7"), "{}", told(b"{\"v\":1,"));
        assert!(told(&vec![b' '; MAX_BYTES + 1]).contains("131072 is the most"));
        let mut signed = Signed::new(String::new(), String::new(), &[1]);
        for bad in ["0", "0g", "+1", "é"] {
            signed.signature = bad.to_owned();
            assert!(signed.signature().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_a_message_or_is_refused_with_a_reason(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            match Signed::parse(&payload) {
                Ok(signed) => { let _ = signed.signature(); }
                Err(why) => prop_assert!(!why.to_string().is_empty()),
            }
            if let Err(why) = Document::parse(&String::from_utf8_lossy(&payload)) {
                prop_assert!(!why.to_string().is_empty());
            }
        }

        #[test]
        fn a_signature_is_read_as_it_was_written(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let signed = Signed::new(String::new(), String::new(), &bytes);
            prop_assert_eq!(signed.signature().unwrap(), bytes);
        }

        #[test]
        fn patience_is_bounded(settle in any::<u32>(), patience in any::<u32>()) {
            let (settle, patience) = Document { settle_s: settle, patience_s: patience, ..document() }.times();
            prop_assert!(settle <= patience && patience >= Duration::from_secs(5) && patience <= Duration::from_secs(1800));
        }
    }
}
