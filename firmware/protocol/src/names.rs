//! Names of rooms, devices, renditions and sessions.
//!
//! A name goes into URLs, MQTT topics, file names and labels, so its alphabet is the one that is
//! safe in all of them: `A-Z a-z 0-9 _ -`. A value of one of these types is always a valid name.

use std::{fmt, str::FromStr, time::SystemTime};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// The longest name accepted, in characters.
pub const MAX_LEN: usize = 64;

/// Room names that would hide one of the encoder's own addresses.
const RESERVED_ROOMS: &[&str] = &["api", "assets", "dashboard", "healthz", "ingest", "metrics"];

/// Renditions that always exist and whose names a ladder therefore cannot take.
const RESERVED_RENDITIONS: &[&str] = &["audio", "source"];

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a {what} cannot be empty")]
    Empty {
        /// What kind of name was wanted.
        what: &'static str,
    },
    /// More than [`MAX_LEN`] characters.
    #[error("a {what} has at most {MAX_LEN} characters, this has {len}")]
    TooLong {
        /// What kind of name was wanted.
        what: &'static str,
        /// Characters given.
        len: usize,
    },
    /// A character outside the alphabet.
    #[error("a {what} has only letters A-Z a-z, digits, - and _, so {found:?} cannot be in it")]
    BadCharacter {
        /// What kind of name was wanted.
        what: &'static str,
        /// The first character that is not allowed.
        found: char,
    },
    /// The name means something else already.
    #[error("{name:?} cannot be a {what}: it is taken by the system; choose another")]
    Reserved {
        /// What kind of name was wanted.
        what: &'static str,
        /// The name given.
        name: String,
    },
    /// Not a ULID.
    #[error("{found:?} is not a session id (26 letters and digits, a ULID)")]
    NotASession {
        /// The text given.
        found: String,
    },
}

fn check(what: &'static str, text: &str, reserved: &[&str]) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if let Some(found) =
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')))
    {
        return Err(NameError::BadCharacter { what, found });
    }
    if text.len() > MAX_LEN {
        return Err(NameError::TooLong { what, len: text.len() });
    }
    if reserved.contains(&text) {
        return Err(NameError::Reserved { what, name: text.to_owned() });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $reserved:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, text, $reserved)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A room: what one collector sends and one player shows (the original's "group").
    RoomName, "room name", RESERVED_ROOMS
);
name!(
    /// A machine, as MQTT topics and the encoder's log name it.
    DeviceName, "device name", &[]
);
name!(
    /// A revision of a machine's configuration, as `backrow push` names what it brings.
    Revision, "revision", &[]
);
name!(
    /// One rung of the ladder, such as `480p`.
    RenditionName, "rendition name", RESERVED_RENDITIONS
);

impl DeviceName {
    /// The nearest valid name to any text: other characters become `-`, the rest is cut off, and
    /// what leaves nothing is `device`.
    #[must_use]
    pub fn made_safe(text: &str) -> Self {
        let safe: String = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' })
            .take(MAX_LEN)
            .collect();
        let safe = safe.trim_matches('-');
        Self(if safe.is_empty() { "device".to_owned() } else { safe.to_owned() })
    }

    /// This machine's host name, made safe.
    #[must_use]
    pub fn of_this_host() -> Self {
        // The kernel's own answer: /etc/hostname may not be applied (a container, a live image).
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self::made_safe(host.trim())
    }
}

/// One run of one collector: a ULID, so that sessions sort by when they began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Ulid);

impl SessionId {
    /// A new id for a session beginning `now`. (A time before 1970 counts as 1970: a box without
    /// a clock still gets a unique id.)
    #[must_use]
    pub fn new(now: jiff::Timestamp) -> Self {
        Self(Ulid::from_datetime(SystemTime::from(now.max(jiff::Timestamp::UNIX_EPOCH))))
    }

    /// When the session began, by the clock of the machine that began it.
    #[must_use]
    pub fn began(&self) -> jiff::Timestamp {
        i64::try_from(self.0.timestamp_ms())
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl FromStr for SessionId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Ulid::from_string(text)
            .ok()
            // The id is a path on disk and in URLs: one spelling each.
            .filter(|id| id.to_string() == text)
            .map(Self)
            .ok_or_else(|| NameError::NotASession { found: text.chars().take(MAX_LEN).collect() })
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn says_what_is_wrong_with_a_name() {
        let why = |text: &str| text.parse::<RoomName>().unwrap_err().to_string();
        assert_eq!(why(""), "a room name cannot be empty");
        assert_eq!(
            why("main hall"),
            "a room name has only letters A-Z a-z, digits, - and _, so ' ' cannot be in it"
        );
        assert_eq!(why(&"x".repeat(65)), "a room name has at most 64 characters, this has 65");
        assert_eq!(
            why("metrics"),
            "\"metrics\" cannot be a room name: it is taken by the system; choose another"
        );
        assert_eq!("Main_hall-2".parse::<RoomName>().unwrap().as_str(), "Main_hall-2");
        assert!("source".parse::<RenditionName>().is_err());
    }

    #[test]
    fn names_are_checked_when_read_as_json_too() {
        assert!(serde_json::from_str::<DeviceName>("\"box-7\"").is_ok());
        let error = serde_json::from_str::<DeviceName>("\"box/7\"").unwrap_err().to_string();
        assert!(error.contains("so '/' cannot be in it"), "{error}");
    }

    #[test]
    fn a_session_keeps_its_beginning_and_one_spelling() {
        let at: jiff::Timestamp = "2026-02-03T04:05:06.789Z".parse().unwrap();
        let session = SessionId::new(at);
        assert_eq!(session.began(), at);
        assert_eq!(session.to_string().parse::<SessionId>().unwrap(), session);
        assert!(session.to_string().to_lowercase().parse::<SessionId>().is_err());
        assert_ne!(SessionId::new(at), session);
        assert_eq!(
            SessionId::new("1900-01-01T00:00:00Z".parse().unwrap()).began(),
            jiff::Timestamp::UNIX_EPOCH
        );
    }

    proptest! {
        #[test]
        fn any_host_name_can_be_made_safe(text in any::<String>()) {
            let name = DeviceName::made_safe(&text);
            prop_assert_eq!(name.as_str().parse::<DeviceName>().unwrap(), name);
        }

        #[test]
        fn no_text_is_a_session_and_panics(text in any::<String>()) {
            let _ = text.parse::<SessionId>();
            let _ = text.parse::<RoomName>();
        }
    }
}
