//! `[[register]]`, a room's `group`, and what else is about the end of an encoder.

use std::{path::Path, time::Duration};

use super::{ENCODER, encoder, encoder_error, encoder_with};
use crate::config::register::Announce;

/// The least a website needs.
const WEBSITE: &str = "[[register]]\nurl = \"http://a.example.org/r\"\nsecret = \"hush\"\n";

fn load(text: &str) -> encoder::Encoder {
    encoder::load(text, Path::new("/etc/encoder.toml")).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn without_a_website_nothing_is_asked_and_nobody_waited_for() {
    let config = load("[[room]]\nname = \"a-very-long-name-indeed\"\ntoken = \"correct-horse\"\n");
    assert!(config.register.is_empty() && config.rooms[0].group.is_none());
    assert_eq!(config.drain, Duration::ZERO);
    assert_eq!(config.control, Path::new("/run/backrow-encoder/control"));
}

#[test]
fn a_website_needs_little() {
    let config = load(&format!("{ENCODER}{WEBSITE}"));
    let website = &config.register[0];
    assert_eq!((website.name.as_str(), website.announce), ("a-example-org", Announce::Live));
    assert_eq!((website.interval.as_secs(), website.secret.reveal()), (30, "hush"));
    assert_eq!(config.rooms[0].group.as_ref().unwrap().as_str(), "demo");
    assert_eq!(config.drain, Duration::from_secs(90));
}

#[test]
fn several_websites_and_rooms_say_everything() {
    let config = load(
        r#"
control = "run/control"
[drain]
limit = "5m"
[[room]]
name = "main-hall"
group = "main_hall"
token = "correct-horse"
[[room]]
name = "other"
token = "correct-horse"
[[register]]
url = "http://user:pass@a.example.org/r?x=secret"
secret = "hush"
interval = "10s"
announce = "always"
[[register]]
name = "b"
url = "https://a.example.org/r"
secret = "hush"
"#,
    );
    let groups = config.rooms.iter().map(|room| room.group.as_ref().unwrap().as_str());
    assert_eq!(groups.collect::<Vec<_>>(), ["main_hall", "other"]);
    let [a, b] = &config.register[..] else { panic!("two websites") };
    assert_eq!((a.interval.as_secs(), a.announce), (10, Announce::Always));
    assert_eq!(a.shown(), "http://a.example.org/r");
    assert_eq!(b.name, "b");
    assert_eq!(config.drain, Duration::from_secs(300));
    assert_eq!(config.control, Path::new("/etc/run/control"));
    let debugged = format!("{config:?}");
    assert!(!debugged.contains("hush") && !debugged.contains("pass"), "{debugged}");
}

#[test]
fn mistakes_are_told() {
    let address = "it must be an address that begins with http:// or https://, for example: \
                   url = \"http://timvideos.us/tracker/endpoint/register\"";
    let cases = [
        ("[[register]]\nsecret = \"x\"", format!("4:1: `url` is missing in [[register]]; {}", address.replace("must be", "is"))),
        ("[[register]]\nurl = \"ftp://hush@x\"\nsecret = \"x\"", format!("5:7: `url` in [[register]]: ftp:// is not a scheme for it; {address}")),
        ("[[register]]\nurl = \"http://x\"", "4:1: `secret` is missing in [[register]]; it is a secret, for example: secret = \"correct-horse-battery\"".to_owned()),
        ("[[register]]\nurl = \"http://x\"\nsecret = \"\"", "6:10: `secret` in [[register]]: it is empty; it must be a secret, for example: secret = \"correct-horse-battery\"".to_owned()),
        ("[[register]]\nurl = \"http://x\"\nsecret = \"x\"\ninterval = \"60s\"", "7:12: `interval` in [[register]] is 60s; it must be from 1s to 50s: a website forgets an encoder that it has not heard of for 60 s".to_owned()),
        ("[[register]]\nurl = \"http://x\"\nsecret = \"x\"\nannounce = \"on\"", "7:12: `announce` in [[register]] is \"on\"; it must be one of \"live\", \"always\"".to_owned()),
        ("[[register]]\nurl = \"http://x/a\"\nsecret = \"x\"\n[[register]]\nurl = \"http://x/b\"\nsecret = \"y\"", "8:7: [[register]]: there is another website \"x\"; give one of them a `name` of its own, for example: name = \"x-2\"".to_owned()),
        ("group = \"elevenchars\"", "4:9: `group` in [[room]] is \"elevenchars\": a group has at most 10 characters, this has 11; it must be the room's name on the website, for example: group = \"main_hall\"".to_owned()),
        ("[drain]\nlimit = 5", "5:9: `limit` in [drain] is a whole number; it must be a length of time, for example: limit = \"2s\"".to_owned()),
    ];
    for (more, expected) in cases {
        assert_eq!(encoder_with(more), format!("encoder.toml:{expected}"), "{more}");
    }
    let long = format!("control = \"/{}\"\n{ENCODER}", "x".repeat(120));
    assert_eq!(
        encoder_error(&long),
        "encoder.toml:1:11: `control` at the top level: the socket's whole path has at most 107 \
         bytes, this has 121; choose a shorter one"
    );
}

#[test]
fn a_room_whose_name_cannot_be_its_group_is_named() {
    let room = |lines: &str| format!("{WEBSITE}[[room]]\n{lines}\ntoken = \"correct-horse\"\n");
    assert_eq!(
        encoder_error(&room("name = \"main-hall-2\"")),
        "encoder.toml:5:8: room \"main-hall-2\" needs a `group` in [[room]], its name on the websites \
         of [[register]], because its own cannot be it: a group has only letters A-Z a-z, digits \
         and _, so '-' cannot be in it; for example: group = \"main_hall_\""
    );
    assert_eq!(
        encoder_error(&room("name = \"conference1\"")),
        "encoder.toml:5:8: room \"conference1\" needs a `group` in [[room]], its name on the websites \
         of [[register]], because its own cannot be it: a group has at most 10 characters, this \
         has 11; for example: group = \"conference\""
    );
    assert_eq!(
        encoder_error(&format!(
            "{}{}",
            room("name = \"a\""),
            "[[room]]\nname = \"b\"\ngroup = \"a\"\ntoken = \"correct-horse\"\n"
        )),
        "encoder.toml:9:9: `group` in [[room]]: rooms \"a\" and \"b\" would both be \"a\" on the \
         websites of [[register]]; give one of them another"
    );
}
