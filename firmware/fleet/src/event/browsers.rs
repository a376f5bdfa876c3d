//! Browsers at the event's broker: where they reach it, and the password of each of its users.

use std::{collections::BTreeMap, fmt, str::FromStr};

use protocol::config::{
    Url,
    diagnose::{nearest, shown},
};

use super::{Machine, Place, Problem, Source, reader::Reader, tree::Tree};

/// The users of `deploy/broker/acl` that are no machines: each may have a password.
pub(super) const USERS: [&str; 3] = ["dashboard", "homeassistant", "operator"];
/// Fewest characters of a password: the listener may be open to everybody.
const SHORTEST: usize = 8;
/// Most.
const LONGEST: usize = 128;

/// How browsers come to the broker.
#[derive(Debug, Clone)]
pub struct Browsers {
    /// Where.
    pub url: Url,
    /// Where that stands.
    pub at: Place,
    /// The password of each user.
    pub passwords: BTreeMap<&'static str, Password>,
}

impl Browsers {
    /// The port at which the broker itself speaks TLS with them. `None`: at the port of HTTPS there is
    /// a web server, which passes them on.
    #[must_use]
    pub fn own_port(&self) -> Option<u16> {
        self.url.port()
    }
}

/// A password. Printing it for debugging shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl FromStr for Password {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let len = text.chars().count();
        if text.chars().any(char::is_control) {
            return Err("it has a character that nobody can type".to_owned());
        }
        if !(SHORTEST..=LONGEST).contains(&len) {
            return Err(format!("it must have {SHORTEST} to {LONGEST} characters, and has {len}"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Reads `[browsers.USER]` of an event that says in `[event]` that its browsers come to `url`.
pub(super) fn read(
    url: Option<(Url, Place)>,
    users: &[(&str, &Tree, Place)],
    problems: &mut Vec<Problem>,
) -> Option<Browsers> {
    let mut passwords = BTreeMap::new();
    for (name, table, at) in users {
        let place = format!("[browsers.{}]", shown(name));
        let mut reader = Reader::new(table, place.clone(), *at, problems);
        let password =
            match reader.required("password", "password = \"…\" (`backrow token` makes one)") {
                Some((text, at)) => text
                    .parse::<Password>()
                    .map_err(|why| reader.problem(at, format!("`password` in {place}: {why}")))
                    .ok(),
                None => None,
            };
        match USERS.iter().find(|user| *user == name) {
            Some(user) => {
                password.map(|password| passwords.insert(*user, password));
            }
            None => {
                let near = nearest(name, USERS.into_iter());
                let mean = near.map(|near| format!("; did you mean [browsers.{near}]?"));
                let mean = mean.unwrap_or_else(|| format!("; there are {}", USERS.join(", ")));
                reader.problem(*at, format!("{place}: the broker knows no such user{mean}"));
            }
        }
        reader.close();
    }
    let Some((url, at)) = url else {
        if let Some((name, _, at)) = users.first() {
            let message = format!(
                "[browsers.{}]: nothing says where browsers come to the broker: [event] needs \
                 browsers = \"wss://…\"",
                shown(name)
            );
            problems.push(Problem::at(*at, message));
        }
        return None;
    };
    let mut tell = |message: String| problems.push(Problem::at(at, message));
    if url.scheme() != "wss" || url.host_str().is_none_or(str::is_empty) {
        tell(
            "`browsers` in [event] must begin with wss:// and a host, since passwords go there; for \
             example: browsers = \"wss://encoder.example.org/mqtt\""
                .to_owned(),
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        tell(format!(
            "`browsers` in [event] has a user or password in it, and everybody may read it; write \
             them into {}, [browsers.dashboard]",
            Source::Secret.file()
        ));
    }
    if users.is_empty() {
        tell(format!(
            "`browsers` in [event]: nobody has a password there; write one into {}: \
             [browsers.dashboard] and password = \"…\" (`backrow token` makes one)",
            Source::Secret.file()
        ));
    }
    Some(Browsers { url, at, passwords })
}

/// What is wrong between it, the broker and the machines.
pub(super) fn across<'a>(
    browsers: &Browsers,
    broker: Option<&Url>,
    mut machines: impl Iterator<Item = &'a Machine>,
    problems: &mut Vec<Problem>,
) {
    let mut tell = |message: String| problems.push(Problem::at(browsers.at, message));
    if !machines.any(|machine| machine.broker) {
        tell(
            "`browsers` in [event] sets up the broker of a machine with `broker = true`, and there is \
             none. For a broker of your own: [defaults.dashboard] and broker = \"wss://…\""
                .to_owned(),
        );
    }
    let Some(broker) = broker else { return };
    let path = browsers.url.path();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if browsers.own_port().is_none() && (path.ends_with('/') || !path.chars().all(good)) {
        tell(
            "`browsers` in [event] needs a path that no page has, or a port of its own; for example: \
             browsers = \"wss://encoder.example.org/mqtt\""
                .to_owned(),
        );
    }
    let port = browsers.own_port().unwrap_or(LOCAL_PORT);
    if broker.port().unwrap_or(TLS_PORT) == port {
        tell(format!(
            "`browsers` in [event]: {port} is the port of `broker` already; take another"
        ));
    }
    if browsers.own_port().is_some() && broker.host_str() != browsers.url.host_str() {
        tell(format!(
            "`browsers` in [event] must have the host of `broker`, {}: the broker shows browsers the \
             certificate that was made for that",
            shown(broker.host_str().unwrap_or_default())
        ));
    }
}

/// Where a broker listens for TLS, if the event does not say.
pub(crate) const TLS_PORT: u16 = 8883;
/// Where it listens for the web server on its machine that passes browsers on.
pub(crate) const LOCAL_PORT: u16 = 8084;
