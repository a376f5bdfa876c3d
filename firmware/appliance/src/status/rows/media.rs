//! What the room gives, and what leaves it: picture, sound, stream.

use protocol::mood::Mood;

use super::super::facts::Facts;
use super::super::{Light, Row};
use super::{component, is_ill, sentence, source, span};

/// Peaks under this are too quiet to be understood, dB below full scale.
pub(super) const QUIET_DB: f64 = -36.0;
/// Peaks over this are cut off.
pub(super) const LOUD_DB: f64 = -1.0;
/// A backlog longer than this is more than a hiccup, ms.
const BACKLOG_MS: u64 = 15_000;

const NO_COLLECTOR: &str = "The capture program gives no answer.";
const WAIT: &str = "Wait a minute: it is started again by itself. If that does not help, restart the \
    box with the button below, or pull its plug and put it back.";
const NOT_SET_UP: &str = "The box is not set up yet.";
const SEE_SETTINGS: &str = "See “Settings” below.";

pub(super) fn picture(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("picture", "Picture", light, says);
    if let Some(row) = without_collector(facts, row) {
        return row;
    }
    match component(facts, "capture") {
        None => return row(Light::Grey, "The capture is starting.".into()),
        Some(capture) if capture.mood == Mood::Waking && source(facts).is_none() => {
            return row(Light::Grey, "The picture is being started.".into());
        }
        Some(capture) if is_ill(capture.mood) || source(facts).is_none() => {
            return row(Light::Red, sentence(&capture.reason)).todo(
                "Is the grabber plugged into the box, the camera or mixer on, and the cable \
                 between the two firmly in at both ends? Pull the grabber out and put it back.",
            );
        }
        Some(_) => {}
    }
    if condition(facts, "black") {
        return row(Light::Red, "The picture is black.".into()).todo(
            "Is the output of camera or mixer on? Take the lens cap off, and check the cable to \
             the grabber.",
        );
    }
    let from = source(facts).unwrap_or_default();
    if condition(facts, "frozen") {
        return row(Light::Amber, "The picture does not move.".into())
            .todo("Slides stand still, and that is fine. If somebody moves: look at the camera.");
    }
    row(Light::Green, format!("There is a moving picture, from {from}."))
}

pub(super) fn sound(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("sound", "Sound", light, says);
    if let Some(row) = without_collector(facts, row) {
        return row;
    }
    if source(facts).is_none() {
        return row(Light::Grey, "There is no sound to hear until there is a picture.".into());
    }
    if condition(facts, "silent") {
        return row(Light::Red, "There is no sound.".into()).todo(
            "Speak into the microphone. If the bar does not move: is the microphone on, the \
             mixer's output up, and its cable in the grabber?",
        );
    }
    match facts.loudest_db {
        None => row(Light::Grey, "Listening.".into()),
        Some(db) if db < QUIET_DB => row(Light::Amber, "The sound is very quiet.".into())
            .todo("Speak until the bar is green; if it stays short, turn the mixer's output up."),
        Some(db) if db > LOUD_DB => {
            row(Light::Amber, "The sound is too loud: it is cut off.".into())
                .todo("Turn the mixer's output down until the bar no longer reaches its end.")
        }
        Some(_) => row(Light::Green, "There is sound, and it is loud enough.".into()),
    }
}

pub(super) fn sending(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("sending", "Sending", light, says);
    if let Some(row) = without_collector(facts, row) {
        return row;
    }
    let Some((collector, sending)) =
        facts.collector.as_ref().and_then(|it| Some((it, it.sending.as_ref()?)))
    else {
        return row(Light::Grey, "Nothing is sent yet.".into());
    };
    let backlog = collector.number("backlog_ms");
    if backlog > BACKLOG_MS {
        return row(
            Light::Amber,
            format!("{} of the talk wait to be sent; they are kept.", span(backlog / 1000)),
        )
        .todo("Leave the box on: when the network is well again, they follow by themselves.");
    }
    if component(facts, "slate").is_some() {
        return row(Light::Amber, "Viewers see a card with the room's name.".into())
            .todo("Make the light of “Picture” green.");
    }
    let lost = collector.number("lost_ms");
    if lost > 0 {
        return row(
            Light::Amber,
            format!("{} are lost since the start; what is made now is sent.", span(lost / 1000)),
        )
        .todo("The network was away for too long. If it happens again, use another network.");
    }
    let megabits = sending.bits_per_second as f64 / 1e6;
    let (width, height, rate) = (sending.width, sending.height, sending.framerate);
    row(
        Light::Green,
        format!("{width}×{height} at {rate} a second, {megabits:.1} Mbit/s, {}.", sending.codecs),
    )
}

/// The row while there is nobody to ask.
fn without_collector(facts: &Facts, row: impl Fn(Light, String) -> Row) -> Option<Row> {
    match (facts.collector.is_some(), facts.has_site) {
        (true, _) => None,
        (false, true) if facts.uptime.as_secs() < 60 => {
            Some(row(Light::Grey, "The capture program is starting.".into()))
        }
        (false, true) => Some(row(Light::Red, NO_COLLECTOR.into()).todo(WAIT)),
        (false, false) => Some(row(Light::Grey, NOT_SET_UP.into()).todo(SEE_SETTINGS)),
    }
}

/// A condition of the capture worker's health; one that nobody looks for does not hold.
fn condition(facts: &Facts, name: &str) -> bool {
    let health = facts.collector.as_ref().and_then(|it| it.numbers.get("capture"));
    health.and_then(|it| it.get(name)?.get("on")?.as_bool()).unwrap_or(false)
}
