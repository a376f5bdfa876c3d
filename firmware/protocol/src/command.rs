//! `command` and `command/ack`: an order to a device, and its answer.
//!
//! An order is carried out once, by its `id`, however often it comes; the same id again gets the
//! same answer. One that has expired is refused.
//!
//! ```
//! let text = r#"{"v":1,"id":"01JF0000000000000000000000","command":"identify","expires":"2026-05-01T10:00:00Z"}"#;
//! let command = protocol::command::parse(text.as_bytes()).unwrap();
//! assert_eq!(command.order, protocol::command::Order::Identify { seconds: 30 });
//! ```

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;
use url::Url;

use crate::payload::VERSION;

/// The longest order, bytes.
pub const MAX_BYTES: usize = 8 * 1024;
/// How long a device shows itself unless told otherwise, seconds.
pub const IDENTIFY_SECONDS: u32 = 30;
/// The longest it shows itself.
pub const MAX_IDENTIFY_SECONDS: u32 = 3600;

/// `command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its id, chosen by who asks.
    pub id: Ulid,
    /// After this it is refused.
    pub expires: Option<Timestamp>,
    /// What to do.
    pub order: Order,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Install an update.
    Update {
        /// Where the bundle is.
        url: Url,
        /// What its SHA-256 must be.
        sha256: Option<String>,
    },
    /// Put the box back as it was when flashed.
    FactoryReset {
        /// The recordings go too.
        recordings: bool,
    },
    /// Make a diagnostics bundle.
    Diagnostics {
        /// Where to `PUT` it; without, it stays on the box for its page.
        url: Option<Url>,
    },
    /// Start the collector anew.
    Restart,
    /// Start the box anew.
    Reboot,
    /// Show which box this is, by screen and lights.
    Identify {
        /// For so long; 0 ends it.
        seconds: u32,
    },
}

impl Order {
    /// Every command's name.
    pub const NAMES: [&str; 6] =
        ["update", "factory-reset", "diagnostics", "restart", "reboot", "identify"];

    /// The name, as in the payload.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Update { .. } => "update",
            Self::FactoryReset { .. } => "factory-reset",
            Self::Diagnostics { .. } => "diagnostics",
            Self::Restart => "restart",
            Self::Reboot => "reboot",
            Self::Identify { .. } => "identify",
        }
    }
}

impl Command {
    /// The payload.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = Map::new();
        json.insert("v".into(), VERSION.into());
        json.insert("id".into(), self.id.to_string().into());
        json.insert("command".into(), self.order.name().into());
        if let Some(expires) = self.expires {
            json.insert("expires".into(), expires.to_string().into());
        }
        match &self.order {
            Order::Update { url, sha256 } => {
                json.insert("url".into(), url.as_str().into());
                if let Some(sha256) = sha256 {
                    json.insert("sha256".into(), sha256.as_str().into());
                }
            }
            Order::Diagnostics { url: Some(url) } => {
                json.insert("url".into(), url.as_str().into());
            }
            Order::FactoryReset { recordings } => {
                json.insert("recordings".into(), (*recordings).into());
            }
            Order::Identify { seconds } => {
                json.insert("seconds".into(), (*seconds).into());
            }
            Order::Diagnostics { url: None } | Order::Restart | Order::Reboot => {}
        }
        Value::Object(json).to_string()
    }

    /// Whether it is too late for it.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires < now)
    }
}

/// Why a payload is no command; with its id, if that much was understood, so that it can be
/// answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotACommand {
    /// The command's id.
    pub id: Option<Ulid>,
    /// Where, such as `url`, or `line 1 column 7`; empty for the whole.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for NotACommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.reason),
            place => write!(f, "{place}: {}", self.reason),
        }
    }
}

impl std::error::Error for NotACommand {}

/// Reads a payload. Fields that are not known are passed over.
///
/// # Errors
/// [`NotACommand`], with place and reason.
pub fn parse(payload: &[u8]) -> Result<Command, NotACommand> {
    let whole = |reason: String| NotACommand { id: None, place: String::new(), reason };
    if payload.len() > MAX_BYTES {
        let reason = format!("{} bytes; a command has at most {MAX_BYTES}", payload.len());
        return Err(whole(reason));
    }
    let payload = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload);
    let json: Value = serde_json::from_slice(payload).map_err(|error| NotACommand {
        id: None,
        place: format!("line {} column {}", error.line(), error.column()),
        reason: "this is not JSON".to_owned(),
    })?;
    let Value::Object(fields) = json else {
        return Err(whole("a command is a JSON object".to_owned()));
    };
    let mut reader = Reader { fields: &fields, id: None };
    reader.id = Some(reader.id()?);
    reader.command()
}

struct Reader<'a> {
    fields: &'a Map<String, Value>,
    id: Option<Ulid>,
}

impl Reader<'_> {
    fn wrong(&self, place: &str, reason: impl Into<String>) -> NotACommand {
        NotACommand { id: self.id, place: place.to_owned(), reason: reason.into() }
    }

    /// A field; one that is null is as good as missing.
    fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, NotACommand> {
        match self.field(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim())),
            Some(_) => Err(self.wrong(name, "must be a text in quotes")),
        }
    }

    fn needed(&self, name: &str, example: &str) -> Result<&str, NotACommand> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.wrong(name, format!("is missing, for example: \"{name}\":{example}"))),
        }
    }

    fn id(&self) -> Result<Ulid, NotACommand> {
        let text = self.needed("id", "\"01JF0000000000000000000000\"")?;
        Ulid::from_string(text)
            .map_err(|_| self.wrong("id", "must be a ULID: 26 letters and digits"))
    }

    fn command(&self) -> Result<Command, NotACommand> {
        match self.field("v") {
            None => {}
            Some(v) if v.as_u64() == Some(u64::from(VERSION)) => {}
            Some(v) => {
                let reason = format!("is {v}; this device understands {VERSION}");
                return Err(self.wrong("v", reason));
            }
        }
        let expires = match self.text("expires")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                let reason = "must be a time in UTC, for example: \"2026-05-01T10:00:00Z\"";
                self.wrong("expires", reason)
            })?),
        };
        let order = match self.needed("command", "\"identify\"")? {
            "update" => {
                let url = self.url("url")?.ok_or_else(|| {
                    let example = "\"url\":\"https://example.org/backrow.raucb\"";
                    self.wrong("url", format!("is missing, for example: {example}"))
                })?;
                Order::Update { url, sha256: self.sha256()? }
            }
            "factory-reset" => Order::FactoryReset { recordings: self.flag("recordings")? },
            "diagnostics" => Order::Diagnostics { url: self.url("url")? },
            "restart" => Order::Restart,
            "reboot" => Order::Reboot,
            "identify" => Order::Identify { seconds: self.seconds()? },
            other => return Err(self.wrong("command", unknown(other))),
        };
        // `Reader::id` was read first of all.
        let id = self.id.ok_or_else(|| self.wrong("id", "is missing"))?;
        Ok(Command { id, expires, order })
    }

    fn url(&self, name: &str) -> Result<Option<Url>, NotACommand> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url)),
            Ok(url) => {
                let reason = format!("is {}://; it must be https:// or http://", url.scheme());
                Err(self.wrong(name, reason))
            }
            Err(error) => Err(self.wrong(name, format!("is not an address: {error}"))),
        }
    }

    fn sha256(&self) -> Result<Option<String>, NotACommand> {
        let Some(text) = self.text("sha256")? else { return Ok(None) };
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(self.wrong("sha256", "must be 64 hexadecimal digits"));
        }
        Ok(Some(text.to_ascii_lowercase()))
    }

    fn flag(&self, name: &str) -> Result<bool, NotACommand> {
        match self.field(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    fn seconds(&self) -> Result<u32, NotACommand> {
        let Some(value) = self.field("seconds") else { return Ok(IDENTIFY_SECONDS) };
        let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
        seconds.filter(|seconds| *seconds <= MAX_IDENTIFY_SECONDS).ok_or_else(|| {
            let reason = format!("must be a whole number from 0 to {MAX_IDENTIFY_SECONDS}");
            self.wrong("seconds", reason)
        })
    }
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    let near = Order::NAMES
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(known, &shown), known))
        .filter(|(distance, _)| *distance <= 3)
        .min();
    match near {
        Some((_, known)) => format!("{shown:?} is not known; did you mean {known:?}?"),
        None => format!("{shown:?} is not known; there are {}", Order::NAMES.join(", ")),
    }
}

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckState {
    /// It is being carried out; another answer follows.
    Accepted,
    /// It is done.
    Done,
    /// It will not be done: not understood, expired, or not now.
    Refused,
    /// It was tried and did not work out.
    Failed,
}

impl AckState {
    /// Whether no other answer follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Accepted
    }
}

/// `command/ack`, QoS 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// [`VERSION`].
    pub v: u8,
    /// The command's id; empty when not even that was understood.
    pub id: String,
    /// How it stands.
    pub state: AckState,
    /// In plain words.
    pub message: String,
}

impl Ack {
    /// An answer.
    #[must_use]
    pub fn new(id: Option<Ulid>, state: AckState, message: impl Into<String>) -> Self {
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        Self { v: VERSION, id, state, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "01JF0000000000000000000000";

    fn why(rest: &str) -> String {
        parse(format!("{{\"id\":\"{ID}\",{rest}}}").as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn refusals_name_place_and_reason() {
        let refused = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused("{\"v\":1,").to_string(), "line 1 column 7: this is not JSON");
        assert_eq!(refused("[]").to_string(), "a command is a JSON object");
        assert!(refused("{}").to_string().starts_with("id: is missing, for example"));
        assert_eq!(refused("{\"id\":\"x\"}").id, None);
        assert_eq!(refused(&" ".repeat(MAX_BYTES + 1)).place, "");
        assert_eq!(
            why("\"command\":\"updat\""),
            "command: \"updat\" is not known; did you mean \"update\"?"
        );
        assert!(why("\"command\":\"make coffee\"").ends_with("restart, reboot, identify"));
        assert_eq!(why("\"v\":2"), "v: is 2; this device understands 1");
        assert_eq!(why("\"command\":7"), "command: must be a text in quotes");
        assert!(why("\"command\":\"update\"").starts_with("url: is missing"));
        assert_eq!(
            why("\"command\":\"update\",\"url\":\"ftp://x/y\""),
            "url: is ftp://; it must be https:// or http://"
        );
        let sha = why("\"command\":\"update\",\"url\":\"http://x/y\",\"sha256\":\"abc\"");
        assert_eq!(sha, "sha256: must be 64 hexadecimal digits");
        let recordings = why("\"command\":\"factory-reset\",\"recordings\":\"yes\"");
        assert_eq!(recordings, "recordings: must be true or false");
        assert!(why("\"command\":\"identify\",\"seconds\":-1").starts_with("seconds: must be"));
        assert!(why("\"command\":\"reboot\",\"expires\":\"soon\"").starts_with("expires: must be"));
        let known = parse(format!("{{\"id\":\"{ID}\"}}").as_bytes()).unwrap_err();
        assert_eq!(known.id.unwrap().to_string(), ID, "it can be answered");
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_time_runs_out() {
        let text = format!(
            "\u{feff}{{\"id\":\"{ID}\",\"command\":\"reboot\",\"new\":[1],\"url\":null,\
             \"expires\":\"2026-05-01T10:00:00+02:00\"}}\r\n"
        );
        let command = parse(text.as_bytes()).unwrap();
        assert_eq!(command.order, Order::Reboot);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(!command.expired(at("2026-05-01T08:00:00Z")));
        assert!(command.expired(at("2026-05-01T08:00:01Z")));
        let ack = Ack::new(Some(command.id), AckState::Done, "done");
        let json = format!(r#"{{"v":1,"id":"{ID}","state":"done","message":"done"}}"#);
        assert_eq!(serde_json::to_string(&ack).unwrap(), json);
    }

    fn any_order() -> impl Strategy<Value = Order> {
        let url =
            "https?://[a-z]{1,9}(:[1-9][0-9]{2})?/[a-z/]{0,9}".prop_map(|u| u.parse().unwrap());
        let sha256 = proptest::option::of("[0-9a-f]{64}");
        prop_oneof![
            (url.clone(), sha256).prop_map(|(url, sha256)| Order::Update { url, sha256 }),
            any::<bool>().prop_map(|recordings| Order::FactoryReset { recordings }),
            proptest::option::of(url).prop_map(|url| Order::Diagnostics { url }),
            Just(Order::Restart),
            Just(Order::Reboot),
            (0..=MAX_IDENTIFY_SECONDS).prop_map(|seconds| Order::Identify { seconds }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            id in any::<u128>(),
            expires in proptest::option::of(0i64..4_000_000_000),
            order in any_order(),
        ) {
            let expires = expires.map(|second| Timestamp::from_second(second).unwrap());
            let command = Command { id: Ulid::from(id), expires, order };
            prop_assert_eq!(parse(command.to_json().as_bytes()).unwrap(), command);
        }

        #[test]
        fn any_bytes_are_a_command_or_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Err(error) = parse(&bytes) {
                prop_assert!(!error.reason.is_empty());
            }
        }
    }
}
