use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use protocol::status::{CollectorStatus, Sending, Source};
use serde_json::json;

use super::super::facts::{Clock, Disk, Link, LinkKind, Network, Power, Software};
use super::*;
use crate::image::Image;
use crate::provision::outcome::{Outcome, Source as Settings};

mod inside;
mod venue;

/// A box where all is well, ten minutes after its start.
fn well() -> Facts {
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let happy = |reason: &str| Component {
        mood: Mood::Happy,
        since: now,
        reason: reason.into(),
        restarts: 0,
    };
    let off = json!({ "on": false, "since": "2026-11-22T09:50:00Z" });
    let numbers = json!({
        "backlog_segments": 1, "backlog_ms": 0, "lost_segments": 0, "lost_ms": 0,
        "confirmed_segments": 300, "confirmed_bytes": 120_000_000,
        "capture": { "black": off, "frozen": off, "silent": off },
    });
    let serde_json::Value::Object(numbers) = numbers else { unreachable!() };
    Facts {
        now,
        uptime: Duration::from_secs(600),
        hostname: "hall-1".into(),
        image: Image { version: "1.2.0".into(), board: "rpi4".into(), built: 1_790_000_000 },
        has_site: true,
        collector: Some(CollectorStatus {
            v: 1,
            at: now,
            room: "hall".parse().unwrap(),
            device: "hall-1".parse().unwrap(),
            session: "01J".into(),
            encoder: "https://encoder.example.org".into(),
            source: Some(Source { description: "USB grabber (MJPEG 1280×720 at 30/s)".into() }),
            sending: Some(Sending {
                codecs: "H.264 and AAC".into(),
                width: 1280,
                height: 720,
                framerate: 25,
                bits_per_second: 1_640_000,
            }),
            components: BTreeMap::from([
                ("capture".to_owned(), happy("capturing")),
                ("uplink".to_owned(), happy("sending; the encoder confirms every segment")),
                ("mqtt".to_owned(), happy("connected")),
            ]),
            numbers,
            levels_db: vec![-18.0, -19.0],
            confirmed: true,
        }),
        loudest_db: Some(-12.0),
        preview: Some(now),
        power: Power { temperature: Some(51.6), ..Power::default() },
        network: Network {
            links: vec![Link {
                name: "eth0".into(),
                kind: LinkKind::Wired,
                carrier: true,
                addresses: vec!["192.0.2.7".into()],
                signal: None,
            }],
            gateway: Some("192.0.2.1".into()),
        },
        clock: Clock { synchronised: true, trouble: String::new() },
        disk: Disk { mounted: true, size: 25_000_000_000, free: 20_400_000_000, ..Disk::default() },
        software: Software { slot: Some("A".into()), ..Software::default() },
        outcome: Some(Outcome {
            v: 1,
            ok: true,
            source: Settings::Config,
            network: "new".into(),
            problems: Vec::new(),
        }),
        has_token: true,
    }
}

fn change(facts: &mut Facts, name: &str, mood: Mood, reason: &str) {
    let since = facts.now;
    let component = Component { mood, since, reason: reason.into(), restarts: 0 };
    facts.collector.as_mut().unwrap().components.insert(name.into(), component);
}

fn number(facts: &mut Facts, name: &str, value: serde_json::Value) {
    facts.collector.as_mut().unwrap().numbers.insert(name.into(), value);
}

/// The row, when one thing is otherwise than well.
fn row(id: &str, otherwise: impl FnOnce(&mut Facts)) -> Row {
    let mut facts = well();
    otherwise(&mut facts);
    let picture = picture(&facts);
    picture.rows.into_iter().find(|row| row.id == id).unwrap()
}

#[track_caller]
fn is(row: &Row, light: Light, says: &str, todo: &str) {
    assert_eq!((row.light, row.says.as_str()), (light, says));
    assert!(row.todo.contains(todo), "{}", row.todo);
    assert_eq!(row.todo.is_empty(), todo.is_empty(), "{}", row.todo);
}

#[test]
fn all_is_well() {
    let picture = picture(&well());
    let says: Vec<(&str, Light, &str)> =
        picture.rows.iter().map(|it| (it.id.as_str(), it.light, it.says.as_str())).collect();
    let green = Light::Green;
    assert_eq!(
        says,
        [
            ("power", green, "The box has power; it is 52 °C warm."),
            ("network", green, "Connected by cable, address 192.0.2.7."),
            (
                "picture",
                green,
                "There is a moving picture, from USB grabber (MJPEG 1280×720 at 30/s)."
            ),
            ("sound", green, "There is sound, and it is loud enough."),
            ("encoder", green, "The encoder takes what is sent (https://encoder.example.org)."),
            ("dashboard", green, "The dashboard sees this box."),
            ("disk", green, "20.4 GB of 25.0 GB free."),
            ("sending", green, "1280×720 at 25 a second, 1.6 Mbit/s, H.264 and AAC."),
            ("settings", green, "The settings on CONFIG are in use."),
            ("clock", green, "The clock is right: 2026-11-22 10:00 UTC."),
            ("software", green, "Version 1.2.0."),
        ]
    );
    assert_eq!(picture.headline, "All is well: the room is being streamed.");
    assert_eq!((picture.light, picture.room.as_str()), (green, "hall"));
}

#[test]
fn the_picture_is_missing_black_or_still() {
    let on = json!({ "on": true, "since": "2026-11-22T09:59:00Z" });
    let missing = row("picture", |it| {
        change(it, "capture", Mood::Hungry, "no capture device is plugged in");
        it.collector.as_mut().unwrap().source = None;
    });
    is(&missing, Light::Red, "No capture device is plugged in.", "grabber plugged into the box");
    let dead = row("picture", |it| change(it, "capture", Mood::Sad, "/dev/video0 has gone."));
    is(&dead, Light::Red, "/dev/video0 has gone.", "Pull the grabber out and put it back");
    let black = row("picture", |it| number(it, "capture", json!({ "black": on })));
    is(&black, Light::Red, "The picture is black.", "lens cap");
    let still = row("picture", |it| number(it, "capture", json!({ "black": null, "frozen": on })));
    is(&still, Light::Amber, "The picture does not move.", "Slides stand still");
}

#[test]
fn the_sound_is_missing_quiet_or_cut_off() {
    let on = json!({ "on": true, "since": "2026-11-22T09:59:00Z" });
    let silent = row("sound", |it| number(it, "capture", json!({ "silent": on })));
    is(&silent, Light::Red, "There is no sound.", "Speak into the microphone");
    let quiet = row("sound", |it| it.loudest_db = Some(-45.0));
    is(&quiet, Light::Amber, "The sound is very quiet.", "Speak until the bar is green");
    let loud = row("sound", |it| it.loudest_db = Some(0.0));
    is(
        &loud,
        Light::Amber,
        "The sound is too loud: it is cut off.",
        "Turn the mixer's output down",
    );
    is(&row("sound", |it| it.loudest_db = None), Light::Grey, "Listening.", "");
}

#[test]
fn the_encoder_is_judged_by_what_it_confirms() {
    is(
        &row("encoder", |it| it.collector.as_mut().unwrap().confirmed = false),
        Light::Grey,
        "Connecting to https://encoder.example.org.",
        "",
    );
    let refused = |it: &mut Facts| change(it, "uplink", Mood::Sad, "connection refused");
    is(&row("encoder", refused), Light::Red, "Connection refused.", "whoever runs the encoder");
    let both = row("encoder", |it| {
        refused(it);
        it.network.gateway = None;
    });
    is(&both, Light::Red, "Connection refused.", "Make the light of “Network” green first.");
}

#[test]
fn a_dashboard_is_no_condition_of_streaming() {
    let without = row("dashboard", |it| {
        it.collector.as_mut().unwrap().components.remove("mqtt");
    });
    is(&without, Light::Grey, "No dashboard is set up for this box.", "");
    let away = row("dashboard", |it| change(it, "mqtt", Mood::Sad, "no answer from the broker"));
    is(&away, Light::Amber, "No answer from the broker.", "The stream goes on without it.");
}

#[test]
fn what_waits_and_what_is_lost_is_told() {
    let waits = row("sending", |it| number(it, "backlog_ms", json!(95_000)));
    is(
        &waits,
        Light::Amber,
        "95 s of the talk wait to be sent; they are kept.",
        "Leave the box on",
    );
    let lost = row("sending", |it| number(it, "lost_ms", json!(360_000)));
    is(
        &lost,
        Light::Amber,
        "6 min are lost since the start; what is made now is sent.",
        "use another network",
    );
    let slate = row("sending", |it| change(it, "slate", Mood::Happy, "shown"));
    is(&slate, Light::Amber, "Viewers see a card with the room's name.", "“Picture”");
}

#[test]
fn the_headline_counts_what_needs_a_person() {
    let headline = |otherwise: &dyn Fn(&mut Facts)| {
        let mut facts = well();
        otherwise(&mut facts);
        let picture = picture(&facts);
        (picture.light, picture.headline)
    };
    let away = |it: &mut Facts| change(it, "uplink", Mood::Sad, "away");
    assert_eq!(
        headline(&away),
        (Light::Red, "The room is not being streamed: one thing needs you.".into())
    );
    assert_eq!(
        headline(&|it| {
            away(it);
            it.network.links[0].carrier = false;
        }),
        (Light::Red, "The room is not being streamed: 2 things need you.".into())
    );
    assert_eq!(
        headline(&|it| it.disk = Disk::default()),
        (Light::Red, "The room is being streamed, but one thing needs you.".into())
    );
    assert_eq!(
        headline(&|it| it.loudest_db = Some(-50.0)),
        (Light::Amber, "The room is being streamed; one thing to look at.".into())
    );
    assert_eq!(
        headline(&|it| it.collector.as_mut().unwrap().confirmed = false),
        (Light::Amber, "Getting ready: nothing is confirmed yet.".into())
    );
    assert_eq!(
        headline(&|it| it.collector = None),
        (Light::Red, "The capture program is not running.".into())
    );
    assert_eq!(
        headline(&|it| {
            it.collector = None;
            it.has_site = false;
        }),
        (Light::Red, "This box is not set up yet.".into())
    );
}

#[test]
fn sizes_and_spans_are_as_people_say_them() {
    assert_eq!(size(999_999), "999 kB");
    assert_eq!(size(1_500_000), "1.5 MB");
    assert_eq!(size(250_000_000_000), "250 GB");
    assert_eq!((span(119), span(120), span(7300)), ("119 s".into(), "2 min".into(), "2 h".into()));
}

proptest! {
    /// Whatever is the matter: every light that is not green or grey says what to do, and every
    /// sentence is one.
    #[test]
    fn nobody_is_left_alone_with_a_red_light(
        moods in prop::collection::vec(0usize..6, 3), reason in "[ -~]{0,40}",
        has in prop::collection::vec(any::<bool>(), 14), numbers in prop::collection::vec(any::<u64>(), 5),
        temperature in prop::option::of(0.0..120.0f64), loud in prop::option::of(-100.0..0.0f64),
    ) {
        let mut facts = well();
        for (name, mood) in ["capture", "uplink", "mqtt"].iter().zip(moods) {
            change(&mut facts, name, Mood::ALL[mood], &reason);
        }
        let on = |on: bool| json!({ "on": on });
        number(&mut facts, "capture", json!({ "black": on(has[0]), "frozen": on(has[1]), "silent": on(has[2]) }));
        number(&mut facts, "backlog_ms", numbers[0].into());
        number(&mut facts, "lost_ms", numbers[1].into());
        facts.power = Power { low_now: has[3], low_before: has[4], throttled: has[5], temperature, ..Power::default() };
        facts.loudest_db = loud;
        facts.disk = Disk { mounted: has[6], read_only: has[7], errors: numbers[2], size: numbers[3], free: numbers[4] };
        facts.network.links[0].carrier = has[8];
        facts.clock.synchronised = has[9];
        facts.uptime = Duration::from_secs(numbers[2] % 1000);
        facts.outcome.as_mut().unwrap().ok = has[10];
        facts.has_site = has[11];
        facts.collector.as_mut().unwrap().confirmed = has[12];
        if has[13] {
            facts.collector = None;
        }
        let picture = picture(&facts);
        for row in &picture.rows {
            prop_assert!(row.says.ends_with('.') || !row.says.is_empty(), "{row:?}");
            prop_assert!(row.light < Light::Amber || !row.todo.is_empty(), "{row:?}");
        }
        let red = picture.rows.iter().any(|row| row.light == Light::Red);
        prop_assert!(!red || picture.light == Light::Red);
    }
}
