//! Strikes secrets out of what leaves the box.
//!
//! In a configuration, a text is shown only if its key is known to be harmless: a key that is new
//! or misspelt is struck out. All texts that were struck out are then looked for in everything else
//! that goes with it: a log may have one too.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};
use url::Url;

/// What stands in a secret's place.
pub const STRUCK: &str = "(struck out)";
/// A shorter text would be found everywhere.
const SHORTEST: usize = 4;

/// Keys whose texts anybody may see. Addresses are shown without user, password, path and query.
const HARMLESS: &[&str] = &[
    "address",
    "addresses",
    "bitrate",
    "board",
    "ca",
    "certificate",
    "channels",
    "country",
    "device",
    "dns",
    "domain",
    "eap",
    "encoder",
    "format",
    "gateway",
    "guid",
    "hostname",
    "interface",
    "kind",
    "memory",
    "method",
    "mode",
    "ntp",
    "path",
    "room",
    "search",
    "security",
    "servers",
    "source",
    "ssid",
    "time",
    "timezone",
    "type",
    "url",
    "username",
    "version",
];

/// Secrets that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// One more.
    pub fn add(&mut self, secret: &str) {
        for part in secret.lines().map(str::trim) {
            if part.len() >= SHORTEST {
                self.0.insert(part.to_owned());
            }
        }
    }

    /// A text without them.
    #[must_use]
    pub fn strike(&self, text: &str) -> String {
        // The longest first: one may be a part of another.
        let mut secrets: Vec<&String> = self.0.iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut text = text.to_owned();
        for secret in secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), STRUCK);
            }
            // As in a log of JSON.
            let quoted = serde_json::to_string(secret).unwrap_or_default();
            let quoted = quoted.trim_matches('"');
            if quoted != secret && text.contains(quoted) {
                text = text.replace(quoted, STRUCK);
            }
        }
        text
    }
}

/// A configuration without its secrets, which are added to `secrets`. Comments go, too: people put
/// old passwords there.
#[must_use]
pub fn configuration(text: &str, secrets: &mut Secrets) -> String {
    let Ok(document) = text.parse::<DocumentMut>() else {
        // Not understood: then nothing after a `=` is known to be harmless.
        return text.lines().map(|line| blind(line, secrets) + "\n").collect();
    };
    let mut clean = DocumentMut::new();
    table(document.as_table(), clean.as_table_mut(), secrets);
    clean.to_string()
}

fn blind(line: &str, secrets: &mut Secrets) -> String {
    match line.split_once('=') {
        Some((key, value)) if !line.trim_start().starts_with('#') => {
            secrets.add(value.trim().trim_matches(['"', '\'']));
            format!("{key}= {STRUCK}")
        }
        _ if line.trim_start().starts_with('[') => line.to_owned(),
        _ if line.trim().is_empty() => String::new(),
        _ => {
            secrets.add(line.trim().trim_matches(['"', '\'']));
            STRUCK.to_owned()
        }
    }
}

fn table(from: &dyn TableLike, to: &mut Table, secrets: &mut Secrets) {
    for (key, item) in from.iter() {
        let clean = match item {
            Item::Value(found) => Item::Value(value(key, found, secrets)),
            Item::Table(found) => {
                let mut below = Table::new();
                table(found, &mut below, secrets);
                Item::Table(below)
            }
            Item::ArrayOfTables(found) => {
                let mut all = toml_edit::ArrayOfTables::new();
                for found in found {
                    let mut below = Table::new();
                    table(found, &mut below, secrets);
                    all.push(below);
                }
                Item::ArrayOfTables(all)
            }
            Item::None => continue,
        };
        to.insert(key, clean);
    }
}

fn value(key: &str, found: &Value, secrets: &mut Secrets) -> Value {
    match found {
        Value::String(text) => words(key, text.value(), secrets).into(),
        Value::Array(all) => {
            let clean = all.iter().map(|found| value(key, found, secrets));
            Value::Array(clean.collect())
        }
        Value::InlineTable(found) => {
            let mut below = Table::new();
            table(found, &mut below, secrets);
            Value::InlineTable(below.into_inline_table())
        }
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(yes) => (*yes.value()).into(),
        Value::Datetime(time) => (*time.value()).into(),
    }
}

fn words(key: &str, text: &str, secrets: &mut Secrets) -> String {
    if !HARMLESS.contains(&key) || text.contains('\n') || text.contains("-----") {
        secrets.add(text);
        return STRUCK.to_owned();
    }
    let Some(url) = text.contains("://").then(|| text.parse::<Url>().ok()).flatten() else {
        return text.to_owned();
    };
    // A stream key stands in the path, and who knows what in the query.
    for part in [url.password().unwrap_or_default(), url.query().unwrap_or_default()] {
        secrets.add(part);
    }
    if let Some(key) = url.path().rsplit('/').next().filter(|_| url.scheme().starts_with("rtmp")) {
        secrets.add(key);
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SITE: &str = r#"
room = "hall"   # was: hunter2hunter2
[encoder]
url = "https://user:pa55word@enc.example.org:8443/x?k=quer7"
token = "correct-horse-battery"
[mqtt]
url = "mqtts://broker.example.org"
username = "box-7"
password = "mqtt-secret"
key = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49
-----END PRIVATE KEY-----
"""
[network.wifi]
ssid = "Venue"
psk = "wifi-secret"
tokn = "misspelt-secret"
[[network.wired]]
identity = "anna@example.org"
dns = ["1.1.1.1", "9.9.9.9"]
inner = { password = "inner-secret", mode = "peap" }
[ssh]
keys = ["ssh-ed25519 AAAAC3"]
"#;

    #[test]
    fn no_secret_is_left_and_the_rest_helps() {
        let mut secrets = Secrets::default();
        let shown = configuration(SITE, &mut secrets);
        let gone = [
            "hunter2",
            "pa55word",
            "quer7",
            "correct-horse",
            "mqtt-secret",
            "MIGHAg",
            "wifi-secret",
            "misspelt-secret",
            "inner-secret",
            "anna@",
            "AAAAC3",
            "user:",
        ];
        for secret in gone {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for there in ["hall", "https://enc.example.org:8443", "box-7", "Venue", "9.9.9.9", "peap"] {
            assert!(shown.contains(there), "{there} not in {shown}");
        }
        let log =
            "connecting with wifi-secret, {\"t\":\"correct-horse-battery\"}; MIGHAgEAMBMGByqGSM49";
        let struck = secrets.strike(log);
        assert!(!struck.contains("wifi-secret") && !struck.contains("correct-horse"), "{struck}");
        assert!(!struck.contains("MIGHAg") && struck.contains("connecting with"), "{struck}");
    }

    #[test]
    fn a_stream_key_is_a_secret() {
        let mut secrets = Secrets::default();
        let text = "[encoder]\nurl = \"rtmp://live.example.org/app/abcd-efgh\"\n";
        let shown = configuration(text, &mut secrets);
        assert!(shown.contains("rtmp://live.example.org\""), "{shown}");
        assert_eq!(secrets.strike("PUT abcd-efgh"), format!("PUT {STRUCK}"));
    }

    proptest! {
        #[test]
        fn what_is_not_toml_shows_no_value(secret in "[a-z0-9]{8,20}", before in "[a-z =\"\\[]{0,20}") {
            let text = format!("{before}\ntoken = \"{secret}\nroom = \"{secret}\"\n");
            let mut secrets = Secrets::default();
            prop_assert!(!configuration(&text, &mut secrets).contains(&secret));
            prop_assert!(!secrets.strike(&text).contains(&secret));
        }

        #[test]
        fn any_text_is_shown_without_a_panic(text in any::<String>()) {
            let mut secrets = Secrets::default();
            let shown = configuration(&text, &mut secrets);
            let _ = secrets.strike(&shown);
        }
    }
}
