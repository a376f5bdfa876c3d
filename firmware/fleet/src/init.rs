//! `backrow init`: an event that works, to be changed to one's own. What is there stays.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use protocol::names::RoomName;
use rustls::crypto::ring;

use crate::{
    certificates::{self, CertificateFault},
    event::{self, Problem, Source},
    render,
};

/// Letters of a token: those that nobody takes for others, and 32 of them, so that each is 5 bits.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters in a token: 160 bits.
const TOKEN: usize = 32;

/// What the new event is to have.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The encoder's host, which is the broker's, too.
    pub host: String,
    /// The rooms.
    pub rooms: Vec<RoomName>,
}

/// Why there is no new event.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one.
    #[error("there is an event in {0} already; nothing was changed")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificates could be made.
    #[error(transparent)]
    Certificates(#[from] CertificateFault),
    /// What was asked for makes no event.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<Problem>),
    /// There is no randomness.
    #[error("this machine gives no random numbers")]
    Random,
}

/// A token that nobody guesses.
///
/// # Errors
/// If the machine gives no random numbers.
pub fn token() -> Result<String, InitError> {
    let mut bytes = [0; TOKEN];
    let random = ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| InitError::Random)?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'a');
    Ok(bytes.iter().map(letter).map(char::from).collect())
}

/// Makes an event in a folder.
///
/// # Errors
/// If there is one, or it cannot be written.
pub fn init(dir: &Path, wish: &Wish, now: Timestamp) -> Result<Vec<String>, InitError> {
    for source in [Source::Event, Source::Secret] {
        if dir.join(source.file()).exists() {
            return Err(InitError::Exists(dir.to_owned()));
        }
    }
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("event");
    let (open, secret) = texts(name, wish)?;
    // Before anything is written: what was asked for is an event.
    event::parse(&open, &secret, dir).map_err(InitError::Wrong)?;
    let fault = |file: PathBuf| move |source| InitError::File { file, source };
    fs::create_dir_all(dir).map_err(fault(dir.to_owned()))?;
    for (file, text, mode) in [
        (".gitignore", "event.secret.toml\ncertificates/*.key\n", 0o644),
        (Source::Secret.file(), secret.as_str(), 0o600),
        (Source::Event.file(), open.as_str(), 0o644),
    ] {
        let path = dir.join(file);
        // A .gitignore of one's own is added to.
        let mut options = OpenOptions::new();
        let options = match file {
            ".gitignore" => options.append(true).create(true),
            _ => options.write(true).create_new(true),
        };
        let written = options.mode(mode).open(&path).and_then(|mut out| {
            out.write_all(text.as_bytes())?;
            out.sync_all()
        });
        written.map_err(fault(path))?;
    }
    let event = event::load(dir).map_err(InitError::Wrong)?;
    Ok(certificates::make(&event, now)?)
}

fn texts(name: &str, wish: &Wish) -> Result<(String, String), InitError> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let host = &wish.host;
    // A public authority signs for a name that the Internet knows, and for no other.
    let https = !render::is_local(host) && host.parse::<IpAddr>().is_err();
    let (browsers, url) = if https {
        (format!("wss://{host}/mqtt"), format!("https://{host}"))
    } else {
        (format!("wss://{host}:8084"), format!("http://{host}:8080"))
    };
    let unencrypted = if https {
        ""
    } else {
        "# Without encryption: the rooms' tokens can be read on the way. That is for a network of one's\n\
         # own; on the Internet give the encoder a name, write `https = \"NAME\"` into\n\
         # [machines.encoder], and here https://NAME.\n"
    };
    let mut open = format!(
        "# What every machine of the event is and does; docs/event.md tells all that can be set.\n\
         # Tokens and passwords are in event.secret.toml.\n\n\
         [event]\nname = {}\nbroker = {}\n\
         # Where the dashboard, in a browser, finds the broker.\nbrowsers = {}\n\n\
         [defaults.encoder]\n{unencrypted}url = {}\n\n\
         [defaults.dashboard]\ncommands = true\n\n\
         [defaults.video]\nbitrate = \"1500k\"\n\n",
        quoted(name),
        quoted(&format!("mqtts://{host}:8883")),
        quoted(&browsers),
        quoted(&url),
    );
    let mut secret = format!(
        "# Nobody else's business: git ignores this file.\n\n\
         # Sees all rooms on the dashboard.\n[browsers.dashboard]\npassword = \"{}\"\n\n\
         # And can use its buttons.\n[browsers.operator]\npassword = \"{}\"\n\n",
        token()?,
        token()?
    );
    for room in &wish.rooms {
        open.push_str(&format!("[rooms.{room}]\ntitle = {}\n\n", quoted(room.as_str())));
        secret.push_str(&format!("[rooms.{room}]\ntoken = \"{}\"\n\n", token()?));
    }
    open.push_str(&format!(
        "# `host` is what one types after ssh; a box that none reaches has no `host`.\n\
         [machines.encoder]\nkind = \"encoder\"\nhost = {}\nrooms = \"all\"\nbroker = true\n",
        quoted(&format!("root@{host}"))
    ));
    if https {
        open.push_str(&format!("https = {}\n", quoted(host)));
    }
    open.push('\n');
    for room in &wish.rooms {
        let local = format!("root@{}.local", room.as_str().replace('_', "-").to_lowercase());
        open.push_str(&format!(
            "[machines.box-{room}]\nkind = \"box\"\nhost = {}\nroom = \"{room}\"\n\n",
            quoted(&local)
        ));
    }
    Ok((open.trim_end().to_owned() + "\n", secret.trim_end().to_owned() + "\n"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::certificates::Certificates;

    fn wish(rooms: &[&str]) -> Wish {
        wish_at("encoder.example.org", rooms)
    }

    fn wish_at(host: &str, rooms: &[&str]) -> Wish {
        let rooms = rooms.iter().map(|room| room.parse().unwrap()).collect();
        Wish { host: host.to_owned(), rooms }
    }

    /// The files of a new event's encoder, by path, and what is said of the event.
    fn made(host: &str) -> (BTreeMap<String, String>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-02-28T00:00:00Z".parse().unwrap();
        init(dir.path(), &wish_at(host, &["main"]), now).unwrap();
        let event = event::load(dir.path()).unwrap();
        let certificates = Certificates::read(&event, now).unwrap();
        let mut rendered = render::all(&event, &certificates).unwrap();
        let encoder = rendered.remove("encoder").unwrap();
        let site = rendered.remove("box-main").unwrap();
        let files = encoder.files.into_iter().chain(site.files);
        let files = files.map(|file| (file.path, file.content)).collect();
        (files, render::exposed(&event).len())
    }

    #[test]
    fn a_name_gets_https_and_an_address_a_word_of_warning() {
        let (files, warnings) = made("encoder.example.org");
        assert_eq!(warnings, 0);
        let site = &files["/data/backrow/push/site/site.toml"];
        assert!(site.contains("url = \"https://encoder.example.org\""), "{site}");
        let encoder = &files["/etc/backrow/encoder.toml"];
        assert!(encoder.contains("http = \"127.0.0.1:8080\""), "{encoder}");
        assert!(encoder.contains("broker = \"wss://encoder.example.org/mqtt\""), "{encoder}");
        let caddy = &files["/etc/caddy/Caddyfile"];
        let lines: Vec<&str> = caddy.lines().skip(1).map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "encoder.example.org {",
                "handle /mqtt {",
                "reverse_proxy 127.0.0.1:8084",
                "}",
                "handle {",
                "reverse_proxy 127.0.0.1:8080 {",
                "flush_interval -1",
                "}",
                "}",
                "}"
            ]
        );
        let conf = &files["/etc/mosquitto/conf.d/backrow-browsers.conf"];
        assert!(
            conf.contains("\nlistener 8084 127.0.0.1\n") && !conf.contains("keyfile"),
            "{conf}"
        );

        for (host, warned) in [("198.51.100.7", 1), ("10.0.0.5", 0), ("encoder", 0)] {
            let (files, warnings) = made(host);
            assert_eq!(warnings, warned, "{host}");
            let site = &files["/data/backrow/push/site/site.toml"];
            assert!(site.contains(&format!("url = \"http://{host}:8080\"")), "{site}");
            assert!(!files.contains_key("/etc/caddy/Caddyfile"));
            let conf = &files["/etc/mosquitto/conf.d/backrow-browsers.conf"];
            assert!(conf.contains("\nlistener 8084\n") && conf.contains("keyfile"), "{conf}");
        }
    }

    #[test]
    fn a_new_event_is_whole_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("conference");
        let now: Timestamp = "2026-02-28T00:00:00Z".parse().unwrap();
        let made = init(&folder, &wish(&["main-hall", "Side_1"]), now).unwrap();
        assert_eq!(made.len(), 5, "{made:?}");
        let event = event::load(&folder).unwrap();
        let certificates = Certificates::read(&event, now).unwrap();
        let rendered = render::all(&event, &certificates).unwrap();
        assert_eq!(rendered.len(), 3);
        let mode =
            |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("event.secret.toml"), 0o600);
        assert_eq!(mode("certificates/authority.key"), 0o600);
        assert!(
            fs::read_to_string(folder.join(".gitignore")).unwrap().contains("event.secret.toml")
        );
        let text = fs::read_to_string(folder.join("event.secret.toml")).unwrap();
        let again = init(&folder, &wish(&["main-hall"]), now).unwrap_err().to_string();
        assert!(again.contains("nothing was changed"), "{again}");
        assert_eq!(fs::read_to_string(folder.join("event.secret.toml")).unwrap(), text);
        // Everybody may see the one, and not what is in the other.
        let open = fs::read_to_string(folder.join("event.toml")).unwrap();
        for room in event.rooms.values() {
            assert!(!open.contains(room.token.as_ref().unwrap().0.reveal()));
        }
        let passwords = event.browsers.unwrap().passwords;
        assert_eq!(passwords.keys().collect::<Vec<_>>(), [&"dashboard", &"operator"]);
        assert!(passwords.values().all(|password| !open.contains(password.reveal())));
    }

    #[test]
    fn what_makes_no_event_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("conference");
        let now: Timestamp = "2026-02-28T00:00:00Z".parse().unwrap();
        let error = init(&folder, &wish(&["a", "A"]), now).unwrap_err().to_string();
        assert!(error.contains("in other letters"), "{error}");
        assert!(!folder.exists());
    }

    #[test]
    fn tokens_differ_and_are_tokens() {
        let (a, b) = (token().unwrap(), token().unwrap());
        assert_ne!(a, b);
        assert!(a.parse::<protocol::token::Token>().is_ok());
    }
}
