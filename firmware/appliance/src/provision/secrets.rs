//! Secrets in `site.toml`: they move to the box, and a marker stays in their place. A file that is
//! edited later with the marker still there means the secret that the box keeps.

use std::{collections::BTreeMap, ops::Range};

use super::document::{Found, find, replace};

/// What stands in the file for a secret that the box keeps.
pub(super) const MARKER: &str = "kept-on-the-box";

/// Secrets by the keys they are the values of.
pub(super) type Secrets = BTreeMap<String, String>;

/// Values that are secret as a whole.
const WHOLE: &[&str] =
    &["encoder.token", "mqtt.password", "network.wifi.password", "network.wired_auth.password"];
/// Addresses, of which parts may be.
const ADDRESSES: &[&str] = &["encoder.url", "mqtt.url", "log.upload"];

/// The secret parts of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `password` of `https://user:password@host`.
    Password,
    /// The last piece of an RTMP address: the stream key.
    Key,
}

fn parts(address: &str) -> Vec<(Part, Range<usize>)> {
    let mut parts = Vec::new();
    let Some((scheme, rest)) = address.split_once("://") else { return parts };
    let start = scheme.len() + 3;
    let end = rest.find(['/', '?', '#']).map_or(address.len(), |at| start + at);
    let authority = address.get(start..end).unwrap_or_default();
    if let Some((login, _)) = authority.rsplit_once('@')
        && let Some((user, password)) = login.split_once(':')
        && !password.is_empty()
    {
        let from = start + user.len() + 1;
        parts.push((Part::Password, from..from + password.len()));
    }
    let path = address.get(end..).unwrap_or_default();
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if scheme.to_ascii_lowercase().starts_with("rtmp")
        && let Some((before, key)) = path.rsplit_once('/')
        && !before.is_empty()
        && !key.is_empty()
    {
        parts.push((Part::Key, end + before.len() + 1..address.len()));
    }
    parts
}

/// All secrets of a file, by key, with the value that hides them.
fn hidden(text: &str) -> Vec<(Found, String)> {
    let whole = find(text, WHOLE).into_iter().map(|found| (found, MARKER.to_owned()));
    let addresses = find(text, ADDRESSES).into_iter().filter_map(|found| {
        let mut value = found.value.clone();
        for (_, range) in parts(&found.value).into_iter().rev() {
            value.replace_range(range, MARKER);
        }
        (value != found.value || value.contains(MARKER)).then_some((found, value))
    });
    whole.chain(addresses).filter(|(found, _)| !found.value.is_empty()).collect()
}

/// The file without its secrets, fit to lie about.
pub(super) fn mark(text: &str) -> String {
    let places: Vec<_> =
        hidden(text).into_iter().filter(|(found, marked)| found.value != *marked).collect();
    if places.is_empty() { text.to_owned() } else { replace(text, &places) }
}

/// The secrets in a file that has them.
pub(super) fn take(text: &str) -> Secrets {
    let found = hidden(text).into_iter();
    found.map(|(found, _)| (found.key.to_owned(), found.value)).collect()
}

/// The file with the box's secrets where the markers were; and what to say of markers that the box
/// has nothing for, with their lines.
pub(super) fn fill(text: &str, kept: &Secrets) -> (String, Vec<(usize, String)>) {
    let (mut places, mut missing) = (Vec::new(), Vec::new());
    let mut lost = |found: &Found| {
        let what = format!(
            "`{}` says that it is {MARKER}, but this box keeps none; write it here again",
            found.key.rsplit('.').next().unwrap_or_default()
        );
        missing.push((found.line(text), what));
    };
    for (found, _) in hidden(text) {
        let kept = kept.get(found.key);
        if WHOLE.contains(&found.key) {
            if found.value == MARKER {
                match kept {
                    Some(kept) => places.push((found, kept.clone())),
                    None => lost(&found),
                }
            }
            continue;
        }
        let mut value = found.value.clone();
        for (part, range) in parts(&found.value).into_iter().rev() {
            if found.value.get(range.clone()) != Some(MARKER) {
                continue;
            }
            let secret = kept.and_then(|kept| {
                let (_, range) = parts(kept).into_iter().find(|(p, _)| *p == part)?;
                kept.get(range)
            });
            match secret {
                Some(secret) => value.replace_range(range, secret),
                None => lost(&found),
            }
        }
        if value != found.value {
            places.push((found, value));
        }
    }
    (if places.is_empty() { text.to_owned() } else { replace(text, &places) }, missing)
}

/// What a key is called when people are told what was taken.
pub(super) fn name(key: &str) -> &'static str {
    match key {
        "encoder.token" => "the encoder's token",
        "encoder.url" => "the encoder's stream key or password",
        "mqtt.password" | "mqtt.url" => "the broker's password",
        "network.wifi.password" => "the Wi-Fi password",
        "network.wired_auth.password" => "the wired network's password",
        _ => "the journal server's password",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SITE: &str = "\
room = \"demo\" # ours\r\n[encoder]\r\nurl = \"rtmp://u:hush1@h:1/live/hush2?a=hush3\"\r\n\
[mqtt]\r\nurl = \"mqtt://broker\"\r\npassword = 'hush4'\r\n[network.wifi]\r\nssid = \"x\"\r\n\
password = \"hush5 hush5\"\r\n";

    #[test]
    fn secrets_move_and_come_back() {
        let marked = mark(SITE);
        assert!(!marked.contains("hush"), "{marked}");
        assert!(marked.contains("\"rtmp://u:kept-on-the-box@h:1/live/kept-on-the-box\"\r\n"));
        assert!(marked.starts_with("room = \"demo\" # ours\r\n[encoder]\r\n"));
        assert_eq!(mark(&marked), marked);
        let secrets = take(SITE);
        assert_eq!(
            secrets.keys().map(String::as_str).collect::<Vec<_>>(),
            ["encoder.url", "mqtt.password", "network.wifi.password"]
        );
        let (filled, missing) = fill(&marked, &secrets);
        assert_eq!((take(&filled), missing), (secrets.clone(), vec![]));
        // Edited later, with the markers left: another host, the same key.
        let (filled, _) = fill(&marked.replace("@h:1", "@other"), &secrets);
        assert!(filled.contains("rtmp://u:hush1@other/live/hush2?a=hush3"), "{filled}");
    }

    #[test]
    fn a_marker_without_a_secret_is_told_with_its_line() {
        let (_, missing) = fill(&mark(SITE), &Secrets::new());
        let lines: Vec<_> = missing.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [6, 9, 3, 3]);
        assert_eq!(
            missing[0].1,
            "`password` says that it is kept-on-the-box, but this box keeps none; write it here again"
        );
    }

    #[test]
    fn secret_parts_of_addresses() {
        let secrets = |address: &str| {
            parts(address).into_iter().map(|(_, r)| address[r].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(secrets("https://h/a/b"), [""; 0]);
        assert_eq!(secrets("https://u@h:80/a"), [""; 0]);
        assert_eq!(secrets("https://u:p@q@h/"), ["p@q"]);
        assert_eq!(secrets("rtmps://h/app/key/more?x=/"), ["more?x=/"]);
        assert_eq!(secrets("rtmp://h/app/"), [""; 0]);
        assert_eq!(secrets("rtmp"), [""; 0]);
    }

    proptest! {
        #[test]
        fn whatever_the_secret_it_is_gone_and_comes_back(
            token in "[!-~]{8,20}",
            password in any::<String>(),
            key in "[a-zA-Z0-9_?=&-]{1,20}",
        ) {
            prop_assume!(!password.is_empty() && !token.contains(MARKER));
            let quoted = super::super::document::quoted;
            let text = format!(
                "# kept\n[encoder]\nurl = \"rtmp://h/a/{key}\"\ntoken = {}\n[mqtt]\npassword = {}\n",
                quoted(&token), quoted(&password)
            );
            let secrets = take(&text);
            let marked = mark(&text);
            prop_assert_eq!(&mark(&marked), &marked);
            prop_assert!(take(&marked).values().all(|value| value.contains(MARKER)));
            let (filled, missing) = fill(&marked, &secrets);
            prop_assert!(missing.is_empty());
            prop_assert_eq!(take(&filled), secrets);
            prop_assert_eq!(filled, text);
        }

        #[test]
        fn any_text_is_marked_once(text in any::<String>()) {
            let address = format!("[encoder]\nurl = \"rtmp://{}\"", text.replace(['"', '\\', '\n', '\r'], ""));
            for text in [text, address] {
                let marked = mark(&text);
                prop_assert_eq!(mark(&marked), marked.clone());
                let _ = fill(&text, &Secrets::new());
            }
        }
    }
}
