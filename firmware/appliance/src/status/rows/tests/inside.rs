//! What is in the box: disk, settings, clock, software.

use super::*;

#[test]
fn the_disk_is_missing_ill_or_full() {
    let disk = |disk: Disk| row("disk", |it| it.disk = disk);
    let sound = well().disk;
    is(
        &disk(Disk::default()),
        Light::Red,
        "The disk cannot be used: nothing is recorded in the room.",
        "The stream goes on.",
    );
    is(
        &disk(Disk { read_only: true, ..sound }),
        Light::Red,
        "Nothing can be written to the disk any more.",
        "new disk or card",
    );
    is(
        &disk(Disk { errors: 3, ..sound }),
        Light::Amber,
        "The disk has had errors: it may be failing.",
        "new disk or card",
    );
    is(
        &disk(Disk { free: 900_000_000, ..sound }),
        Light::Amber,
        "The disk is nearly full: 900 MB of 25.0 GB left.",
        "oldest recordings",
    );
}

#[test]
fn settings_say_where_they_are_wrong() {
    let settings = |ok: bool, source: Settings, problems: &[&str]| {
        row("settings", |it| {
            it.outcome = Some(Outcome {
                v: 1,
                ok,
                source,
                network: "new".into(),
                problems: problems.iter().map(ToString::to_string).collect(),
            });
        })
    };
    let wrong = settings(false, Settings::Kept, &["site.toml line 3: unknown key", "another"]);
    is(
        &wrong,
        Light::Amber,
        "site.toml line 3: unknown key (1 more below). The earlier settings are in use.",
        "correct site.toml",
    );
    let none = settings(false, Settings::None, &["site.toml line 3: unknown key."]);
    is(&none, Light::Red, "site.toml line 3: unknown key.", "correct site.toml");
    is(
        &settings(true, Settings::None, &[]),
        Light::Red,
        "The box is not set up yet.",
        "fill in site.toml",
    );
    is(
        &settings(true, Settings::Kept, &[]),
        Light::Green,
        "The settings given earlier are in use.",
        "",
    );
    // The network's part alone was taken back.
    let back = settings(false, Settings::Config, &["the network settings reach nothing"]);
    is(&back, Light::Amber, "The network settings reach nothing.", "correct site.toml");
}

#[test]
fn the_clock_may_be_late_and_must_not_be_older_than_the_image() {
    let clock = |seconds: u64, now: &str| {
        row("clock", |it| {
            it.clock.synchronised = false;
            it.uptime = Duration::from_secs(seconds);
            it.now = now.parse().unwrap();
        })
    };
    let late = clock(30, "2026-11-22T10:00:00Z");
    is(&late, Light::Grey, "The box is asking for the time; it shows 2026-11-22 10:00 UTC.", "");
    let says = "No time server answers; the clock shows 2026-11-22 10:00 UTC.";
    is(&clock(600, "2026-11-22T10:00:00Z"), Light::Amber, says, "let NTP out");
    let ahead = row("clock", |it| {
        it.clock = Clock { synchronised: false, trouble: "this clock is 9 s ahead".into() };
    });
    let says = "This clock is 9 s ahead; the clock shows 2026-11-22 10:00 UTC.";
    is(&ahead, Light::Amber, says, "time server");
    let says = "No time server answers; the clock shows 1970-01-01 00:00 UTC.";
    is(&clock(5, "1970-01-01T00:00:00Z"), Light::Red, says, "let NTP out");
}

#[test]
fn an_update_is_told_while_it_goes_on_and_when_it_was_taken_back() {
    let doing = row("software", |it| it.software.doing = "Installing version 1.3.0.".into());
    is(&doing, Light::Grey, "Installing version 1.3.0.", "Leave the box on.");
    let tried = row("software", |it| it.software.attempt = 2);
    is(&tried, Light::Grey, "Version 1.2.0 is new and being tried.", "Leave the box on.");
    let back = row("software", |it| {
        it.software.trouble = "The update to 1.3.0 did not work: a unit failed.".into();
    });
    is(&back, Light::Amber, "The update to 1.3.0 did not work: a unit failed.", "works as before");
    let distress = row("software", |it| {
        it.software.attempt = 3;
        it.software.distress = "slot B runs although all its tries failed".into();
    });
    is(
        &distress,
        Light::Amber,
        "Slot B runs although all its tries failed.",
        "looks after the boxes",
    );
}
