//! A row for each machine: how it is, since when, and the one sentence that says why. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use protocol::{
    mood::Mood,
    names::{DeviceName, RoomName},
    payload::{Health, Lifecycle},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::heard::{Heard, Machine};
use crate::event::Event;

/// The longest sentence that is shown.
const LONGEST: usize = 200;

/// One machine; also the shape of `--json`, in which what is not known is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub machine: String,
    /// What the event says that it is; `None`: the event does not know it.
    pub kind: Option<&'static str>,
    /// Its rooms.
    pub rooms: Vec<String>,
    /// The most worrying mood in it; `None`: it was never seen.
    pub mood: Option<Mood>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why, in plain words.
    pub why: String,
    /// What a collector sends: `picture`, `slate`, `black`, `still`.
    pub source: Option<&'static str>,
    /// The loudest channel's level over the last second, dB below full scale.
    pub sound_db: Option<f64>,
    /// How far what the encoder has confirmed is behind, milliseconds.
    pub behind_ms: Option<u64>,
    /// Viewers of an encoder's rooms.
    pub viewers: Option<u64>,
    /// The hottest place in it, degrees Celsius.
    pub temperature_c: Option<f64>,
    /// What is free on its disk for recordings, bytes.
    pub disk_free_bytes: Option<u64>,
    /// Its program's version.
    pub version: Option<String>,
    /// The revision that it runs.
    pub revision: Option<String>,
}

impl Row {
    /// Whether nobody needs to look after it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !matches!(self.mood, None | Some(Mood::Sad | Mood::Lost))
    }
}

/// A row for each machine of the event that is `wanted`, and for each that is at the broker besides.
#[must_use]
pub fn rows(event: &Event, heard: &Heard, wanted: impl Fn(&DeviceName) -> bool) -> Vec<Row> {
    let silent = Machine::default();
    let ours = event.machines.iter().map(|(name, machine)| {
        row(
            name,
            Some(machine.kind.as_str()),
            &machine.rooms,
            heard.machine(name).unwrap_or(&silent),
        )
    });
    let ours: Vec<_> = event.machines.keys().zip(ours).filter(|(name, _)| wanted(name)).collect();
    let others =
        heard.machines().filter(|(name, _)| !event.machines.contains_key(*name) && wanted(name));
    let others = others.map(|(name, said)| {
        let rooms = said.birth.as_ref().map_or(&[][..], |birth| &birth.rooms);
        row(name, None, rooms, said)
    });
    ours.into_iter().map(|(_, row)| row).chain(others).collect()
}

fn row(name: &DeviceName, kind: Option<&'static str>, rooms: &[RoomName], said: &Machine) -> Row {
    let (mood, since, why) = mood(said);
    // The numbers of a machine that is gone are no longer true.
    let health = said.health.as_ref().filter(|_| said.is_there());
    let numbers = |name: &str| health.and_then(|it| it.more.get(name));
    let birth = said.birth.as_ref();
    Row {
        machine: name.to_string(),
        kind,
        rooms: rooms.iter().map(ToString::to_string).collect(),
        mood,
        since,
        why,
        source: source(said).filter(|_| said.is_there()),
        sound_db: numbers("capture").and_then(loudest),
        behind_ms: numbers("backlog_ms").and_then(Value::as_u64),
        viewers: numbers("rooms").and_then(Value::as_object).map(viewers),
        temperature_c: health.and_then(|it| it.temperature_c),
        disk_free_bytes: numbers("spool_free_bytes")
            .or_else(|| numbers("archive_free_bytes"))
            .and_then(Value::as_u64),
        version: birth.map(|it| line(&it.version)),
        revision: birth.and_then(|it| it.revision.as_ref()).map(ToString::to_string),
    }
}

/// Mood, since and why of the whole machine.
fn mood(said: &Machine) -> (Option<Mood>, Option<Timestamp>, String) {
    match said.state {
        None if said.birth.is_none() => {
            return (None, None, "never seen at the broker".to_owned());
        }
        Some(Lifecycle::Lost) => {
            let why = "the broker has lost it: is it without power or network?";
            return (Some(Mood::Lost), None, why.to_owned());
        }
        Some(Lifecycle::Disconnected) => {
            return (Some(Mood::Sleeping), None, "it was stopped in good order".to_owned());
        }
        _ => {}
    }
    // The most worrying; of several, the one that began.
    let worst = said
        .components
        .iter()
        .max_by_key(|(_, state)| (state.mood, std::cmp::Reverse(state.since)));
    match worst {
        Some((name, state)) if state.mood > Mood::Happy => {
            let why = line(&format!("{name}: {}", state.reason));
            (Some(state.mood), Some(state.since), why)
        }
        _ => {
            let since = said.birth.as_ref().map(|birth| birth.started);
            (Some(Mood::Happy), since, String::new())
        }
    }
}

fn source(said: &Machine) -> Option<&'static str> {
    let capture = said.components.get("capture")?;
    let on = |what: &str| {
        let capture = said.health.as_ref().and_then(|it: &Health| it.more.get("capture"));
        capture.is_some_and(|it| it[what]["on"].as_bool() == Some(true))
    };
    Some(match capture.mood {
        _ if said.components.contains_key("slate") => "slate",
        Mood::Happy if on("black") => "black",
        Mood::Happy if on("frozen") => "still",
        Mood::Happy => "picture",
        _ => "nothing",
    })
}

fn loudest(capture: &Value) -> Option<f64> {
    let channels = capture["audio"].as_array()?;
    channels.iter().filter_map(|it| it["rms_db"].as_f64()).max_by(f64::total_cmp)
}

fn viewers(rooms: &Map<String, Value>) -> u64 {
    rooms.values().filter_map(|room| room["viewers"].as_u64()).fold(0, u64::saturating_add)
}

/// Text from elsewhere as one short line, in which a terminal finds no orders.
pub(super) fn line(text: &str) -> String {
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = shown.take(LONGEST + 1).collect();
    if shown.chars().count() > LONGEST {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// The rows as a table for people.
#[must_use]
pub fn table(rows: &[Row], now: Timestamp) -> String {
    const HEAD: [&str; 11] = [
        "machine", "room", "mood", "since", "sends", "sound", "behind", "viewers", "temp", "free",
        "version",
    ];
    let cells: Vec<_> = rows.iter().map(|row| cells(row, now)).collect();
    let width = |column: usize| {
        let all = cells.iter().map(|row| row[column].chars().count());
        all.chain([HEAD[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut out = String::new();
    let mut put = |row: &[String], why: &str| {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(out, "{cell:width$}  ");
        }
        let _ = writeln!(out, "{why}");
    };
    put(&HEAD.map(str::to_owned), "why");
    for (cells, row) in cells.iter().zip(rows) {
        put(cells, &row.why);
    }
    out
}

fn cells(row: &Row, now: Timestamp) -> [String; 11] {
    fn or_dash(text: Option<String>) -> String {
        text.unwrap_or_else(|| "-".to_owned())
    }
    let room = match row.rooms.as_slice() {
        [] => None,
        [room] => Some(room.clone()),
        rooms => Some(format!("{} rooms", rooms.len())),
    };
    [
        if row.kind.is_some() {
            row.machine.clone()
        } else {
            format!("{} (not ours)", row.machine)
        },
        or_dash(room),
        or_dash(row.mood.map(|it| it.to_string())),
        or_dash(row.since.map(|since| ago(since, now))),
        or_dash(row.source.map(str::to_owned)),
        or_dash(row.sound_db.map(|it| format!("{it:.0} dB"))),
        or_dash(row.behind_ms.map(|it| format!("{:.1} s", it as f64 / 1000.0))),
        or_dash(row.viewers.map(|it| it.to_string())),
        or_dash(row.temperature_c.map(|it| format!("{it:.0} °C"))),
        or_dash(row.disk_free_bytes.map(|it| format!("{:.1} GB", it as f64 / 1e9))),
        or_dash(row.version.clone()),
    ]
}

/// How long ago, in the largest unit that says something.
fn ago(since: Timestamp, now: Timestamp) -> String {
    match now.duration_since(since).as_secs() {
        ..0 => "now".to_owned(),
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests;
