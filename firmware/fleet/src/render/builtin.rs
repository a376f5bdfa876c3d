//! The files that each kind of machine gets, unless an event says otherwise.

use crate::event::Kind;

/// What starts to use a file when it has changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reload {
    /// A systemd unit is started anew.
    Unit(String),
    /// A command of the box.
    Run(String),
}

/// When a machine has a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Always.
    Always,
    /// When the event's broker speaks TLS.
    Tls,
    /// When a web server stands before the encoder.
    Https,
    /// When the machine is the broker.
    Broker,
    /// When it is, and browsers come to it.
    Browsers,
}

/// A built-in file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Builtin {
    /// Where it goes; `NAME` in it is the machine's.
    pub(super) path: &'static str,
    /// Where its present content is to be read, if not there.
    pub(super) view: Option<&'static str>,
    pub(super) mode: &'static str,
    pub(super) group: Option<&'static str>,
    /// The template's name, and its text.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) when: When,
}

/// Where a box's site and the files that it names are brought.
pub const BOX_SITE: &str = "/data/backrow/push/site";

const SITE: &str = include_str!("builtin/site.toml");
const ENCODER: &str = include_str!("builtin/encoder.toml");
const MOSQUITTO: &str = include_str!("builtin/mosquitto.conf");
const CADDY: &str = include_str!("builtin/Caddyfile");
const BROWSERS: &str = include_str!("builtin/browsers.conf");
const ACL: &str = include_str!("../../../../deploy/broker/acl");
const CA: &str = "{{ certificates.authority }}";
const CERTIFICATE: &str = "{{ certificates.certificate }}";
const KEY: &str = "{{ certificates.key }}";

const fn file(
    path: &'static str,
    mode: &'static str,
    group: Option<&'static str>,
    (name, text): (&'static str, &'static str),
    when: When,
) -> Builtin {
    Builtin { path, view: None, mode, group, name, text, when }
}

/// Where a machine keeps what was pushed, to go back to.
pub(super) fn state(kind: Kind, machine: &str) -> String {
    match kind {
        // The box's root cannot be written; and a factory reset forgets what is here.
        Kind::Box => format!("/data/backrow/push/{machine}"),
        Kind::Collector | Kind::Encoder => format!("/var/lib/backrow-push/{machine}"),
    }
}

/// The files of a kind, the important one last: what it names is there before it is.
pub(super) fn files(kind: Kind) -> Vec<(Builtin, Reload)> {
    use When::{Always, Broker, Browsers, Https, Tls};
    match kind {
        Kind::Box => {
            let site = Builtin {
                // What the box really runs with, also when a person changed it on CONFIG.
                view: Some("/data/backrow/site.toml"),
                ..file(
                    "/data/backrow/push/site/site.toml",
                    "0600",
                    None,
                    ("site.toml", SITE),
                    Always,
                )
            };
            let reload = || Reload::Run("appliance configure /data/backrow/push/site".to_owned());
            [
                file("/data/backrow/push/site/backrow-ca.pem", "0600", None, ("ca.pem", CA), Tls),
                file(
                    "/data/backrow/push/site/backrow-NAME.pem",
                    "0600",
                    None,
                    ("certificate.pem", CERTIFICATE),
                    Tls,
                ),
                file(
                    "/data/backrow/push/site/backrow-NAME.key",
                    "0600",
                    None,
                    ("key.pem", KEY),
                    Tls,
                ),
                site,
            ]
            .map(|file| (file, reload()))
            .into()
        }
        Kind::Collector => {
            daemon("backrow-collector.service", ("/etc/backrow/site.toml", "site.toml", SITE))
        }
        Kind::Encoder => {
            let caddy = file("/etc/caddy/Caddyfile", "0644", None, ("Caddyfile", CADDY), Https);
            let mut files = vec![(caddy, Reload::Unit("caddy.service".to_owned()))];
            files.extend(daemon(
                "backrow-encoder.service",
                ("/etc/backrow/encoder.toml", "encoder.toml", ENCODER),
            ));
            files
        }
    }
    .into_iter()
    .chain(match kind {
        Kind::Box => Vec::new(),
        Kind::Collector | Kind::Encoder => {
            let group = Some("mosquitto");
            [
                file("/etc/mosquitto/backrow/ca.pem", "0644", None, ("ca.pem", CA), Broker),
                file(
                    "/etc/mosquitto/backrow/server.pem",
                    "0644",
                    None,
                    ("server.pem", "{{ certificates.broker }}"),
                    Broker,
                ),
                file(
                    "/etc/mosquitto/backrow/server.key",
                    "0640",
                    group,
                    ("server.key", "{{ certificates.broker_key }}"),
                    Broker,
                ),
                file("/etc/mosquitto/backrow/acl", "0640", group, ("acl", ACL), Broker),
                file(
                    "/etc/mosquitto/conf.d/backrow.conf",
                    "0644",
                    None,
                    ("mosquitto.conf", MOSQUITTO),
                    Broker,
                ),
                file(
                    "/etc/mosquitto/backrow/passwords",
                    "0640",
                    group,
                    ("passwords", "{{ browsers.passwords }}"),
                    Browsers,
                ),
                file(
                    "/etc/mosquitto/conf.d/backrow-browsers.conf",
                    "0644",
                    None,
                    ("browsers.conf", BROWSERS),
                    Browsers,
                ),
            ]
            .map(|file| (file, Reload::Unit("mosquitto.service".to_owned())))
            .into()
        }
    })
    .collect()
}

fn daemon(
    name: &'static str,
    (path, template, text): (&'static str, &'static str, &'static str),
) -> Vec<(Builtin, Reload)> {
    use When::{Always, Tls};
    // Unit, user and group have one name.
    let group = name.strip_suffix(".service");
    let reload = || Reload::Unit(name.to_owned());
    [
        file("/etc/backrow/backrow-ca.pem", "0644", None, ("ca.pem", CA), Tls),
        file("/etc/backrow/backrow-NAME.pem", "0644", None, ("certificate.pem", CERTIFICATE), Tls),
        file("/etc/backrow/backrow-NAME.key", "0640", group, ("key.pem", KEY), Tls),
        file(path, "0640", group, (template, text), Always),
    ]
    .map(|file| (file, reload()))
    .into()
}
