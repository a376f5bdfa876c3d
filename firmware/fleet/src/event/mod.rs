//! An event: its rooms, its machines, and what is to be different in each.
//!
//! ```text
//! event.toml ─┐                    [defaults] ─▶ [rooms.NAME] ─▶ [machines.NAME]
//!             ├─ merged, the secret  (the later ones win, key by key)
//! event.secret.toml ─┘  one on top
//! ```
//! What can be set is what the daemons' own files have, under the same names: `[defaults.video]`
//! is the `[video]` of every collector.

mod browsers;
mod read;
mod reader;
mod templates;
pub mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use protocol::{
    config::Url,
    names::{DeviceName, RoomName},
    register::Group,
    token::Token,
};

pub(crate) use self::browsers::{LOCAL_PORT, TLS_PORT};
#[cfg(test)]
pub(crate) use self::templates::good_path;
pub use self::{
    browsers::{Browsers, Password},
    read::{load, parse},
    tree::{Place, Problem, Source, Tree},
};

/// The tables of the daemons' files that can be set; `vars` is for one's own templates.
pub const SETTINGS: &[&str] = &[
    "encoder",
    "source",
    "video",
    "audio",
    "uplink",
    "mqtt",
    "network",
    "ssh",
    "time",
    "log",
    "listen",
    "archive",
    "hls",
    "ladder",
    "webm",
    "register",
    "drain",
    "dashboard",
    "vars",
];
/// Those of them that are lists of tables: one in a nearer place takes the place of the whole list.
pub const LISTS: &[&str] = &["ladder", "register"];

/// Keys whose values are nobody else's business.
pub const SECRETS: &[&str] = &["token", "password", "secret", "passphrase"];

/// A whole event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its folder.
    pub dir: PathBuf,
    /// Its name.
    pub name: String,
    /// The broker of all machines, and the operator's; `None`: health is asked by ssh.
    pub broker: Option<(Url, Place)>,
    /// The way of browsers to the broker that is set up here.
    pub browsers: Option<Browsers>,
    /// What holds everywhere.
    pub defaults: Tree,
    /// The rooms by name.
    pub rooms: BTreeMap<RoomName, Room>,
    /// The machines by name.
    pub machines: BTreeMap<DeviceName, Machine>,
    /// Other files than the built-in ones.
    pub templates: Vec<Template>,
}

/// A room.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its name for people, if it has another.
    pub title: Option<String>,
    /// Its name on the website, if it has another.
    pub group: Option<Group>,
    /// What its collector shows to the encoder.
    pub token: Option<(Token, Place)>,
    /// What is different in it.
    pub settings: Tree,
    /// Where it stands.
    pub at: Place,
}

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Our image in a venue.
    Box,
    /// Plain Linux with our package, in a venue.
    Collector,
    /// Makes what players need.
    Encoder,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Box, Self::Collector, Self::Encoder];

    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Collector => "collector",
            Self::Encoder => "encoder",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| "it must be \"box\", \"collector\" or \"encoder\"".to_owned())
    }
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it is.
    pub kind: Kind,
    /// What one types after `ssh`; `None` of a box that is reached over the broker alone.
    pub host: Option<String>,
    /// Whether the user there becomes root by `sudo`.
    pub sudo: bool,
    /// Whether the event's broker runs on it.
    pub broker: bool,
    /// The name at which a web server on it serves the encoder by HTTPS.
    pub https: Option<String>,
    /// Its rooms: one of a collector or box, any number of an encoder.
    pub rooms: Vec<RoomName>,
    /// What is different on it.
    pub settings: Tree,
    /// Where it stands.
    pub at: Place,
}

/// A file of a kind of machine, beside the built-in ones or in place of one.
#[derive(Debug, Clone)]
pub struct Template {
    /// On which kind.
    pub kind: Kind,
    /// Where it goes.
    pub path: String,
    /// The template in the event's folder; `None`: the built-in one stays, with other properties.
    pub file: Option<String>,
    /// Who may read it: three or four octal digits.
    pub mode: Option<String>,
    /// Whose group may.
    pub group: Option<String>,
    /// The systemd unit to start anew when it changed.
    pub reload: Option<String>,
    /// Where it stands.
    pub at: Place,
}

impl Event {
    /// What holds for a machine: its own settings over those of its room over the defaults.
    #[must_use]
    pub fn settings(&self, machine: &Machine) -> Tree {
        let mut out = self.defaults.clone();
        if machine.kind != Kind::Encoder {
            for room in machine.rooms.iter().filter_map(|name| self.rooms.get(name)) {
                tree::merge(&mut out, &room.settings);
            }
        }
        tree::merge(&mut out, &machine.settings);
        out
    }

    /// The machines that are meant by these words: their names, or those of their room or kind.
    ///
    /// # Errors
    /// In words: one means no machine.
    pub fn meant(&self, words: &[String]) -> Result<BTreeSet<DeviceName>, String> {
        let mut meant = BTreeSet::new();
        for word in words {
            let is = |name: &DeviceName, machine: &Machine| {
                name.as_str() == word
                    || machine.kind.as_str() == word
                    || machine.rooms.iter().any(|room| room.as_str() == word)
            };
            let these = self.machines.iter().filter(|(name, machine)| is(name, machine));
            let these: Vec<_> = these.map(|(name, _)| name.clone()).collect();
            if these.is_empty() {
                return Err(format!("{word}: there is no such machine, room or kind"));
            }
            meant.extend(these);
        }
        Ok(meant)
    }

    /// Where its certificates are.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.dir.join("certificates")
    }
}

#[cfg(test)]
mod tests;
