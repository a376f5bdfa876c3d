//! From facts to the volunteer's checklist. Pure: the same facts give the same sentences.
//!
//! A row says one thing in plain English and, unless its light is green, what to do about it. What
//! depends on something that is itself red says so, instead of sending people after two faults.

mod away;
mod inside;
mod media;
mod venue;

use protocol::mood::Mood;
use protocol::status::Component;

use super::facts::Facts;
use super::{Light, Picture, Row, VERSION};

/// Everything that page and screen show.
#[must_use]
pub fn picture(facts: &Facts) -> Picture {
    let network = venue::network(facts);
    let network_is_up = network.light != Light::Red;
    let rows = vec![
        venue::power(facts),
        network,
        media::picture(facts),
        media::sound(facts),
        away::encoder(facts, network_is_up),
        away::dashboard(facts, network_is_up),
        inside::disk(facts),
        media::sending(facts),
        inside::settings(facts),
        inside::clock(facts),
        inside::software(facts),
    ];
    let (light, headline) = headline(facts, &rows);
    Picture {
        v: VERSION,
        at: facts.now,
        room: facts.collector.as_ref().map(|it| it.room.to_string()).unwrap_or_default(),
        device: facts.hostname.clone(),
        addresses: facts.network.links.iter().flat_map(|link| link.addresses.clone()).collect(),
        light,
        headline,
        rows,
        source: source(facts).unwrap_or_default().to_owned(),
        preview: facts.preview.map(|at| at.as_millisecond()),
        version: facts.image.version.clone(),
        board: facts.image.board.clone(),
        details: inside::details(facts),
        can_change: facts.has_token,
    }
}

/// The whole in one sentence: whether the room is on air, and how much there is to do.
fn headline(facts: &Facts, rows: &[Row]) -> (Light, String) {
    let count = |light: Light| rows.iter().filter(|row| row.light == light).count();
    let (red, amber) = (count(Light::Red), count(Light::Amber));
    if facts.collector.is_none() {
        let text = if facts.has_site {
            "The capture program is not running."
        } else {
            "This box is not set up yet."
        };
        return (Light::Red, text.to_owned());
    }
    let on_air = rows.iter().any(|row| row.id == "encoder" && row.light == Light::Green);
    let things = |count: usize| match count {
        1 => "one thing needs".to_owned(),
        count => format!("{count} things need"),
    };
    match (on_air, red, amber) {
        (true, 0, 0) => (Light::Green, "All is well: the room is being streamed.".to_owned()),
        (true, 0, 1) => {
            (Light::Amber, "The room is being streamed; one thing to look at.".to_owned())
        }
        (true, 0, _) => {
            (Light::Amber, format!("The room is being streamed; {amber} things to look at."))
        }
        (true, red, _) => {
            (Light::Red, format!("The room is being streamed, but {} you.", things(red)))
        }
        (false, 0, _) => (Light::Amber, "Getting ready: nothing is confirmed yet.".to_owned()),
        (false, red, _) => {
            (Light::Red, format!("The room is not being streamed: {} you.", things(red)))
        }
    }
}

fn source(facts: &Facts) -> Option<&str> {
    Some(facts.collector.as_ref()?.source.as_ref()?.description.as_str())
}

fn component<'a>(facts: &'a Facts, name: &str) -> Option<&'a Component> {
    facts.collector.as_ref()?.components.get(name)
}

fn is_ill(mood: Mood) -> bool {
    matches!(mood, Mood::Sad | Mood::Lost)
}

/// What a part of the collector says, as a sentence for people.
fn sentence(reason: &str) -> String {
    let reason = reason.trim().trim_end_matches('.');
    let mut characters = reason.chars();
    match characters.next() {
        // A file's name or an address keeps its first letter.
        Some(first) if first.is_ascii_lowercase() && is_word(reason) => {
            format!("{}{}.", first.to_ascii_uppercase(), characters.as_str())
        }
        Some(_) => format!("{reason}."),
        None => "Nothing is known about it.".to_owned(),
    }
}

/// Whether it begins with a plain word.
fn is_word(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    first.trim_end_matches([',', ':', ';']).chars().all(char::is_alphabetic)
}

/// A length of time as people say it.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// An amount of data as people say it.
fn size(bytes: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000)];
    for (unit, of) in units {
        if bytes >= of {
            let tenths = bytes / (of / 10);
            return if tenths >= 1000 {
                format!("{} {unit}", tenths / 10)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{} kB", bytes / 1000)
}

/// The makings of rows.
impl Row {
    fn new(id: &str, title: &str, light: Light, says: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            light,
            says: says.into(),
            todo: String::new(),
        }
    }

    fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = todo.into();
        self
    }
}

#[cfg(test)]
mod tests;
