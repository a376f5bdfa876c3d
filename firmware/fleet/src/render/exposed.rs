//! What is right and yet unwise: tokens that would go over the Internet for everybody to read. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use protocol::config::Url;

use super::{Settings, environment};
use crate::event::{
    Event, Kind, Problem,
    tree::{Node, Value},
};

/// Ends of names that are looked up on one's own network only.
const LOCAL: [&str; 6] = [".local", ".localhost", ".lan", ".internal", ".home.arpa", ".test"];

/// Whether a host is on this machine or on a network of one's own.
#[must_use]
pub fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Err(_) => !host.contains('.') || LOCAL.iter().any(|end| host.ends_with(end)),
    }
}

/// What an operator should know of an event that is right.
#[must_use]
pub fn exposed(event: &Event) -> Vec<Problem> {
    let environment = environment();
    let mut told = BTreeSet::new();
    for (name, machine) in event.machines.iter().filter(|(_, it)| it.kind != Kind::Encoder) {
        let Ok(settings) = Settings::of(event, name, machine, &environment) else { continue };
        let Some(Node { value: Value::Table(encoder), .. }) = settings.tree.get("encoder") else {
            continue;
        };
        let (Some(Node { value: Value::Text(text), at }), true) =
            (encoder.get("url"), encoder.contains_key("token"))
        else {
            continue;
        };
        let Ok(url) = text.parse::<Url>() else { continue };
        let host = url.host_str().unwrap_or_default();
        if url.scheme() == "http" && !is_local(host) {
            let message = format!(
                "warning: by http:// everybody on the way to {host} can read the rooms' tokens, and \
                 publish with them. Take https://; `https = \"{host}\"` in the encoder's [machines.…] \
                 sets that up"
            );
            told.insert(Problem::at(*at, message));
        }
    }
    told.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::event::parse;

    fn said(url: &str) -> String {
        let event = format!(
            "[event]\nname = \"demo\"\n[defaults.encoder]\nurl = \"{url}\"\n[rooms.a]\n[rooms.b]\n\
             [machines.a]\nkind = \"collector\"\nhost = \"a\"\nroom = \"a\"\n\
             [machines.b]\nkind = \"collector\"\nhost = \"b\"\nroom = \"b\"\n"
        );
        let secret = "[rooms.a]\ntoken = \"token-of-a\"\n[rooms.b]\ntoken = \"token-of-b\"\n";
        let event = parse(&event, secret, Path::new(".")).unwrap();
        exposed(&event).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_token_on_the_internet_is_told_once_with_its_place() {
        let told = said("http://encoder.example.org:8080");
        assert!(
            told.starts_with(
                "event.toml:4: warning: by http:// everybody on the way to encoder.example.org can"
            ),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
        let two = said("http://{{ room.name }}.example.org");
        assert!(two.contains("a.example.org") && two.contains("b.example.org"), "{two}");
        for fine in [
            "https://encoder.example.org",
            "rtmp://encoder.example.org/a/key",
            "http://127.0.0.1:8080",
            "http://[fd00::1]:8080",
            "http://192.168.1.7",
            "http://encoder.local",
            "http://encoder:8080",
        ] {
            assert_eq!(said(fine), "", "{fine}");
        }
        for open in ["http://198.51.100.7", "http://[2001:db8::1]", "http://172.32.0.1"] {
            assert_ne!(said(open), "", "{open}");
        }
    }

    proptest! {
        #[test]
        fn any_host_is_judged(host in any::<String>()) {
            let _ = is_local(&host);
        }
    }
}
