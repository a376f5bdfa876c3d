use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{event, push::watch::Hears as _};

const EVENT: &str = "\
[event]
name = \"demo\"
broker = \"mqtts://broker.example.org:8883\"
[rooms.main]
[machines.enc]
kind = \"encoder\"
host = \"root@enc\"
rooms = \"all\"
[machines.box-1]
kind = \"box\"
host = \"root@box-1\"
room = \"main\"
";

const SECRET: &str = "[rooms.main]\ntoken = \"correct-horse-battery\"\n";

fn event() -> Event {
    event::parse(EVENT, SECRET, Path::new("/event")).unwrap()
}

fn at(second: u32) -> Timestamp {
    format!("2026-01-01T00:00:{second:02}Z").parse().unwrap()
}

fn heard(messages: &[(&str, String)]) -> Heard {
    let mut heard = Heard::default();
    for (topic, payload) in messages {
        heard.hear(&format!("backrow/{topic}"), payload.as_bytes());
    }
    heard
}

fn component(mood: &str, second: u32, reason: &str) -> String {
    serde_json::json!({ "v": 1, "mood": mood, "since": at(second), "reason": reason, "restarts": 0 })
        .to_string()
}

fn state(state: &str) -> String {
    format!("{{\"v\":1,\"state\":\"{state}\"}}")
}

fn birth(name: &str) -> String {
    serde_json::json!({ "v": 1, "device": name, "role": "collector", "version": "1.2.3",
        "started": at(0), "rooms": ["main"], "revision": "0123456789ab" })
    .to_string()
}

#[test]
fn a_machine_that_never_spoke_has_a_row_and_so_has_one_that_nobody_knows() {
    let heard = heard(&[("stranger/state", state("ready")), ("stranger/birth", birth("stranger"))]);
    let rows = rows(&event(), &heard, |_| true);
    let names: Vec<_> = rows.iter().map(|row| (&*row.machine, row.kind, row.mood)).collect();
    assert_eq!(
        names,
        [
            ("box-1", Some("box"), None),
            ("enc", Some("encoder"), None),
            ("stranger", None, Some(Mood::Happy)),
        ]
    );
    assert!(!rows[0].is_well() && rows[2].is_well());
    assert!(table(&rows, at(9)).contains("stranger (not ours)"));
}

#[test]
fn the_most_worrying_component_speaks_and_of_several_the_one_that_began() {
    let mut messages = vec![
        ("box-1/state", state("alert")),
        ("box-1/birth", birth("box-1")),
        ("box-1/component/capture", component("happy", 1, "working")),
        ("box-1/component/sound", component("hungry", 2, "no sound for 40 s")),
        ("box-1/component/uplink", component("sad", 7, "the encoder refuses the token")),
        ("box-1/component/spool", component("sad", 5, "the disk is full")),
    ];
    let look = |messages: &[(&str, String)]| rows(&event(), &heard(messages), |_| true).remove(0);
    let row = look(&messages);
    assert_eq!(row.why, "spool: the disk is full");
    assert_eq!((row.mood, row.since), (Some(Mood::Sad), Some(at(5))));
    assert!(!row.is_well());
    messages.truncate(4);
    let row = look(&messages);
    assert_eq!(row.why, "sound: no sound for 40 s");
    assert!(row.is_well(), "nobody's fault");
    // What was is no longer true of a machine that is gone.
    messages.push(("box-1/state", state("lost")));
    let row = look(&messages);
    assert_eq!((row.mood, row.since, row.source), (Some(Mood::Lost), None, None));
    messages.push(("box-1/state", state("disconnected")));
    assert_eq!(look(&messages).mood, Some(Mood::Sleeping));
}

#[test]
fn numbers_come_from_health() {
    let capture = serde_json::json!({ "audio": [{ "rms_db": -30.5 }, { "rms_db": -18.2 }],
        "black": { "on": true, "since": null } });
    let health = serde_json::json!({ "v": 1, "at": at(3), "mood": "happy", "uptime_s": 3,
        "temperature_c": 61.4, "backlog_ms": 1500, "spool_free_bytes": 12_300_000_000_u64,
        "capture": capture });
    let viewers = serde_json::json!({ "v": 1, "at": at(3), "mood": "happy", "uptime_s": 3,
        "rooms": { "main": { "viewers": 3 }, "side": { "viewers": 4 } },
        "archive_free_bytes": 400_000_000_000_u64 });
    let heard = heard(&[
        ("box-1/state", state("ready")),
        ("box-1/component/capture", component("happy", 1, "working")),
        ("box-1/health", health.to_string()),
        ("enc/state", state("ready")),
        ("enc/health", viewers.to_string()),
    ]);
    let rows = rows(&event(), &heard, |_| true);
    assert_eq!((rows[1].viewers, rows[1].disk_free_bytes), (Some(7), Some(400_000_000_000)));
    let shown = table(&rows[..1], at(9));
    for word in ["black", "-18 dB", "1.5 s", "61 °C", "12.3 GB"] {
        assert!(shown.contains(word), "no {word} in\n{shown}");
    }
}

#[test]
fn a_terminal_finds_no_orders_in_what_a_machine_says() {
    let reason = format!("\u{1b}[2Jgone\r\n{}", "x".repeat(500));
    let heard = heard(&[
        ("box-1/state", state("ready")),
        ("box-1/component/capture", component("sad", 1, &reason)),
    ]);
    let rows = rows(&event(), &heard, |name| name.as_str() == "box-1");
    assert_eq!(rows.len(), 1);
    assert!(rows[0].why.starts_with("capture:  [2Jgone  xx") && rows[0].why.ends_with('…'));
    assert!(!table(&rows, at(9)).contains(['\u{1b}', '\r']));
}

proptest! {
    #[test]
    fn the_table_holds_for_whatever_was_heard(
        text in "\\PC{0,300}", second in 0_u32..60, now in 0_u32..60, number in any::<f64>(),
    ) {
        let health = serde_json::json!({ "v": 1, "at": at(3), "mood": "happy", "uptime_s": 3,
            "temperature_c": number, "capture": { "audio": [{ "rms_db": number }] },
            "rooms": { "a": { "viewers": u64::MAX }, "b": { "viewers": u64::MAX } } });
        let heard = heard(&[
            ("m/state", state("ready")),
            ("m/component/capture", component("sad", second, &text)),
            ("m/health", health.to_string()),
        ]);
        let rows = rows(&event(), &heard, |_| true);
        prop_assert_eq!(table(&rows, at(now)).lines().count(), rows.len() + 1);
    }
}
