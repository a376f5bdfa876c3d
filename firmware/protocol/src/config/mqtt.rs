//! The `[mqtt]` table, the same in both files.

use std::{
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use toml::de::DeValue;
use url::Url;

use super::{
    section::Section,
    values::{Address, Expected, OrOff, Schemes, Text, Value, Wrong},
};

/// Where Home Assistant looks for devices if nobody told it otherwise.
pub const HOME_ASSISTANT: &str = "homeassistant";

/// The broker and how to log in there.
#[derive(Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// `mqtt://host[:1883]` or `mqtts://host[:8883]`.
    pub url: Url,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// PEM file with the CA to trust instead of the public ones.
    pub ca: Option<PathBuf>,
    /// PEM files with this device's certificate chain and its key.
    pub client: Option<ClientCertificate>,
    /// Home Assistant's discovery prefix; `None`: this device is not shown to it.
    pub home_assistant: Option<String>,
}

/// A client certificate, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Mqtt {
    /// Whether the connection is to be encrypted.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.url.scheme() == "mqtts"
    }

    /// The broker's host.
    #[must_use]
    pub fn host(&self) -> &str {
        // An IPv6 address stands in brackets in a URL only.
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The broker's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(if self.tls() { 8883 } else { 1883 })
    }

    /// The broker as a person may see it: no user, no password.
    #[must_use]
    pub fn shown(&self) -> String {
        format!(
            "{}://{}:{}",
            self.url.scheme(),
            self.url.host_str().unwrap_or_default(),
            self.port()
        )
    }
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mqtt")
            .field("url", &self.shown())
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .field("ca", &self.ca)
            .field("client", &self.client)
            .field("home_assistant", &self.home_assistant)
            .finish()
    }
}

struct Broker;

impl Schemes for Broker {
    const ALLOWED: &'static [&'static str] = &["mqtt", "mqtts"];
    const EXAMPLE: &'static str = "\"mqtt://broker.example.org:1883\"";
}

/// The first levels of a topic.
struct Prefix(String);

impl Value for Prefix {
    fn expected() -> Expected {
        Expected::new("the beginning of a topic", "\"homeassistant\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let Text(text) = Text::read(value)?;
        let level = |level: &str| {
            !level.is_empty()
                && level.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        if text.len() <= 100 && text.split('/').all(level) {
            return Ok(Self(text));
        }
        Err(Wrong::Because("it may have letters, digits, . - and _, parted by /".to_owned()))
    }
}

/// Reads the `[mqtt]` table if there is one; paths start at `base`.
pub(super) fn read(root: &Section<'_, '_, '_>, base: &Path) -> Option<Mqtt> {
    let section = root.section("mqtt");
    if !root.has("mqtt") {
        return None;
    }
    let url = section.required::<Address<Broker>>("url").map(|Address(url, PhantomData)| url);
    let username = section.optional("username").map(|Text(text)| text);
    let password = section.optional("password").map(|Text(text)| text);
    let ca = section.optional::<PathBuf>("ca").map(|path| base.join(path));
    let certificate = section.optional::<PathBuf>("certificate").map(|path| base.join(path));
    let key = section.optional::<PathBuf>("key").map(|path| base.join(path));
    let OrOff(home_assistant) =
        section.or("home_assistant", OrOff(Some(Prefix(HOME_ASSISTANT.to_owned()))));
    for (has, wants) in [("password", "username"), ("certificate", "key"), ("key", "certificate")] {
        if section.has(has) && !section.has(wants) {
            let message = format!(
                "`{has}` in [mqtt] is of no use without `{wants}`; add `{wants}` or remove it"
            );
            section.problem(has, message);
        }
    }
    if let Some(url) = &url
        && url.scheme() == "mqtt"
    {
        for key in ["ca", "certificate", "key"] {
            if section.has(key) {
                let message = format!(
                    "`{key}` in [mqtt] is of no use without encryption; write mqtts:// in `url` or \
                     remove it"
                );
                section.problem(key, message);
            }
        }
    }
    section.close();
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        _ => None,
    };
    let home_assistant = home_assistant.map(|Prefix(prefix)| prefix);
    Some(Mqtt { url: url?, username, password, ca, client, home_assistant })
}
