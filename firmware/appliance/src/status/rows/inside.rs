//! The box itself: settings, clock, disk, software; and the details below the checklist.

use super::super::facts::Facts;
use super::super::{Light, Row};
use super::{sentence, size, span};
use crate::provision::outcome::Source;

/// Under this share of the disk left, per cent, it is nearly full.
const NEARLY_FULL: u64 = 5;
/// How long the time may take to come.
const TIME_SECONDS: u64 = 300;
/// How long the data partition may take to be there.
const MOUNT_SECONDS: u64 = 60;

const STREAM_GOES_ON: &str = "The stream goes on. Tell whoever looks after the boxes that this \
    one needs a new disk or card.";

pub(super) fn settings(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("settings", "Settings", light, says);
    let Some(outcome) = &facts.outcome else {
        return row(Light::Grey, "Not read yet.".into());
    };
    if !outcome.ok {
        let first = outcome.problems.first().map(|it| it.trim().trim_end_matches('.'));
        let more = match outcome.problems.len() {
            0 | 1 => String::new(),
            all => format!(" ({} more below)", all - 1),
        };
        let (light, kept) = match outcome.source {
            Source::Kept => (Light::Amber, " The earlier settings are in use."),
            // Something is wrong with the network's part only.
            Source::Config if facts.has_site => (Light::Amber, ""),
            Source::Config | Source::None => (Light::Red, ""),
        };
        let what = first.unwrap_or("The settings cannot be used");
        return row(light, format!("{}{kept}", sentence(&format!("{what}{more}")))).todo(
            "Put the box's disk or card into a laptop, correct site.toml on the drive CONFIG, put \
             it back and start the box.",
        );
    }
    if !facts.has_site || outcome.source == Source::None {
        return row(Light::Red, "The box is not set up yet.".into()).todo(
            "Put the box's disk or card into a laptop, and fill in site.toml on the drive CONFIG.",
        );
    }
    let from = match outcome.source {
        Source::Kept => "The settings given earlier are in use.",
        Source::Config | Source::None => "The settings on CONFIG are in use.",
    };
    row(Light::Green, from.into())
}

pub(super) fn clock(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("clock", "Clock", light, says);
    let time = facts.now.strftime("%Y-%m-%d %H:%M UTC");
    if facts.clock.synchronised {
        return row(Light::Green, format!("The clock is right: {time}."));
    }
    if facts.uptime.as_secs() < TIME_SECONDS && facts.now.as_second() >= facts.image.built {
        return row(Light::Grey, format!("The box is asking for the time; it shows {time}."));
    }
    let light = if facts.now.as_second() < facts.image.built { Light::Red } else { Light::Amber };
    let says = match facts.clock.trouble.as_str() {
        "" => "No time server answers",
        trouble => trouble.trim_end_matches('.'),
    };
    row(light, sentence(&format!("{says}; the clock shows {time}"))).todo(
        "The stream goes on, with wrong times on it. Ask whoever runs the network to let NTP out, \
         or to give a time server.",
    )
}

pub(super) fn disk(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("disk", "Disk", light, says);
    let disk = &facts.disk;
    if !disk.mounted {
        if facts.uptime.as_secs() < MOUNT_SECONDS {
            return row(Light::Grey, "The disk is being checked.".into());
        }
        return row(Light::Red, "The disk cannot be used: nothing is recorded in the room.".into())
            .todo(STREAM_GOES_ON);
    }
    if disk.read_only {
        return row(Light::Red, "Nothing can be written to the disk any more.".into())
            .todo(STREAM_GOES_ON);
    }
    if disk.errors > 0 {
        let errors = if disk.errors == 1 { "an error" } else { "errors" };
        return row(Light::Amber, format!("The disk has had {errors}: it may be failing."))
            .todo(STREAM_GOES_ON);
    }
    let (free, all) = (size(disk.free), size(disk.size));
    if disk.size > 0 && disk.free.saturating_mul(100) < disk.size.saturating_mul(NEARLY_FULL) {
        return row(Light::Amber, format!("The disk is nearly full: {free} of {all} left.")).todo(
            "The stream goes on; the oldest recordings make room. Copy them if they matter.",
        );
    }
    row(Light::Green, format!("{free} of {all} free."))
}

pub(super) fn software(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("software", "Software", light, says);
    let software = &facts.software;
    let version = match facts.image.version.as_str() {
        "" => "unknown",
        version => version,
    };
    if !software.doing.is_empty() {
        return row(Light::Grey, sentence(&software.doing)).todo("Leave the box on.");
    }
    if !software.distress.is_empty() {
        return row(Light::Amber, sentence(&software.distress))
            .todo("The box works as well as it can. Tell whoever looks after the boxes.");
    }
    if !software.trouble.is_empty() {
        return row(Light::Amber, sentence(&software.trouble))
            .todo("The box works as before. Tell whoever sent the update.");
    }
    if software.attempt > 0 {
        return row(Light::Grey, format!("Version {version} is new and being tried."))
            .todo("Leave the box on.");
    }
    row(Light::Green, format!("Version {version}."))
}

/// What the rows leave out.
pub(super) fn details(facts: &Facts) -> Vec<(String, String)> {
    let mut details = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            details.push((name.to_owned(), value));
        }
    };
    if let Some(collector) = &facts.collector {
        add("Source", super::source(facts).unwrap_or_default().to_owned());
        add("Encoder", collector.encoder.clone());
        add("Session", collector.session.clone());
        let confirmed = collector.number("confirmed_segments");
        let (bytes, waiting) =
            (collector.number("confirmed_bytes"), collector.number("backlog_segments"));
        add("Sent", format!("{confirmed} segments, {}; {waiting} on their way", size(bytes)));
        let (lost, lost_ms) = (collector.number("lost_segments"), collector.number("lost_ms"));
        add("Lost", format!("{lost} segments, {}", span(lost_ms / 1000)));
        for (name, component) in &collector.components {
            let restarts = match component.restarts {
                0 => String::new(),
                1 => "; restarted once".to_owned(),
                times => format!("; restarted {times} times"),
            };
            let text = format!("{}: {}{restarts}", component.mood, component.reason);
            add(&format!("Part “{name}”"), text);
        }
    }
    for link in &facts.network.links {
        let state = if link.carrier { "up" } else { "down" };
        let signal = link.signal.map(|dbm| format!(", {dbm} dBm")).unwrap_or_default();
        let addresses = link.addresses.iter().map(|it| format!(", {it}")).collect::<String>();
        add(&format!("Link {}", link.name), format!("{state}{signal}{addresses}"));
    }
    add("Gateway", facts.network.gateway.clone().unwrap_or_default());
    for problem in facts.outcome.iter().flat_map(|outcome| &outcome.problems) {
        add("Settings", problem.clone());
    }
    add("Board", facts.image.board.clone());
    add("Slot", facts.software.slot.clone().unwrap_or_default());
    add("On for", span(facts.uptime.as_secs()));
    details
}
