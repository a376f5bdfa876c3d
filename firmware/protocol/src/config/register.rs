//! `[[register]]`: the websites that are told of the rooms, and a room's `group` there.

use std::{collections::BTreeSet, fmt, marker::PhantomData, time::Duration};

use url::Url;

use super::{
    Secret,
    encoder::Room,
    section::Section,
    units::Span,
    values::{Address, Choice, Schemes},
};
use crate::{
    names::{RenditionName, RoomName},
    register::{FORGETS, Group},
};

/// One website.
#[derive(Clone, PartialEq, Eq)]
pub struct Website {
    /// Its name on the board: its host, made safe, if nothing else is said.
    pub name: String,
    /// Its end point.
    pub url: Url,
    /// What it must be shown.
    pub secret: Secret,
    /// How often it is told.
    pub interval: Duration,
    /// When a room is announced.
    pub announce: Announce,
}

impl Website {
    /// Its address as a person may see it: no user, no password, no query.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        // Neither can fail for http and https.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_query(None);
        url.to_string()
    }
}

impl fmt::Debug for Website {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Website")
            .field("name", &self.name)
            .field("url", &self.shown())
            .field("interval", &self.interval)
            .field("announce", &self.announce)
            .finish_non_exhaustive()
    }
}

/// When a room is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// While media arrives for it.
    Live,
    /// Always, as the original did.
    Always,
}

impl Choice for Announce {
    const ALL: &'static [(&'static str, Self)] = &[("live", Self::Live), ("always", Self::Always)];
}

struct EndPoint;

impl Schemes for EndPoint {
    const ALLOWED: &'static [&'static str] = &["http", "https"];
    const EXAMPLE: &'static str = "\"http://timvideos.us/tracker/endpoint/register\"";
}

/// A website forgets an encoder after [`FORGETS`]: one report must be allowed to fail.
const INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(50);

/// Reads the tables.
pub(super) fn read(root: &Section<'_, '_, '_>) -> Vec<Website> {
    let mut names = BTreeSet::new();
    let mut websites = Vec::new();
    for section in root.sections("register").unwrap_or_default() {
        let url = section.required::<Address<EndPoint>>("url").map(|Address(url, PhantomData)| url);
        let secret: Option<Secret> = section.required("secret");
        let Span(interval) = section.or("interval", Span(Duration::from_secs(30)));
        if !INTERVAL.contains(&interval) {
            let why = format!(
                "`interval` in [[register]] is {}; it must be from 1s to 50s: a website forgets an \
                 encoder that it has not heard of for {} s",
                Span(interval),
                FORGETS.as_secs()
            );
            section.problem("interval", why);
        }
        let announce = section.or("announce", Announce::Live);
        let given = section.optional::<RenditionName>("name").map(|name| name.to_string());
        section.close();
        let (Some(url), Some(secret)) = (url, secret) else { continue };
        let name = given.unwrap_or_else(|| host_of(&url));
        if !names.insert(name.clone()) {
            let why = format!(
                "[[register]]: there is another website \"{name}\"; give one of them a `name` of its \
                 own, for example: name = \"{name}-2\""
            );
            section.problem("url", why);
        }
        websites.push(Website { name, url, secret, interval, announce });
    }
    websites
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    host.chars().map(safe).collect::<String>().trim_matches('-').to_owned()
}

/// Reads a room's `group`, which is needed if there are websites; by default its name.
pub(super) fn group(
    root: &Section<'_, '_, '_>,
    section: &Section<'_, '_, '_>,
    room: Option<&RoomName>,
    others: &[Room],
) -> Option<Group> {
    let given = section.has("group");
    let group: Option<Group> = section.optional("group");
    if !root.has("register") {
        return group;
    }
    let room = room?;
    let group = match group {
        Some(group) => group,
        None if given => return None,
        None => match room.as_str().parse() {
            Ok(group) => group,
            Err(error) => {
                let why = format!(
                    "room \"{room}\" needs a `group` in [[room]], its name on the websites of \
                     [[register]], because its own cannot be it: {error}; for example: group = \"{}\"",
                    suggestion(room)
                );
                section.problem("name", why);
                return None;
            }
        },
    };
    if let Some(other) = others.iter().find(|other| other.group.as_ref() == Some(&group)) {
        let why = format!(
            "`group` in [[room]]: rooms \"{}\" and \"{room}\" would both be \"{group}\" on the \
             websites of [[register]]; give one of them another",
            other.name
        );
        section.problem("group", why);
    }
    Some(group)
}

/// The nearest group to a room's name.
fn suggestion(room: &RoomName) -> String {
    room.as_str().chars().map(|c| if c == '-' { '_' } else { c }).take(10).collect()
}
