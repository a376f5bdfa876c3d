use std::path::Path;

use proptest::prelude::*;

use super::*;

const EVENT: &str = "\
[event]
name = \"demo\"
broker = \"mqtts://broker.example.org:8883\"

[defaults.encoder]
url = \"https://encoder.example.org\"
[defaults.video]
bitrate = \"1500k\"
framerate = 25

[rooms.main]
title = \"Main hall\"
group = \"main\"
[rooms.main.video]
bitrate = \"2M\"

[rooms.side]

[machines.enc]
kind = \"encoder\"
host = \"root@enc\"
rooms = \"all\"
broker = true

[machines.box-1]
kind = \"box\"
host = \"root@box-1\"
room = \"main\"
[machines.box-1.video]
framerate = 50

[machines.laptop]
kind = \"collector\"
host = \"laptop\"
room = \"side\"
sudo = true
";

const SECRET: &str =
    "[rooms.main]\ntoken = \"token-of-main\"\n[rooms.side]\ntoken = \"token-of-side\"\n";

fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

fn problems(event: &str, secret: &str) -> Vec<String> {
    let problems = parse(event, secret, Path::new("/nowhere")).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_machine_is_over_its_room_is_over_the_defaults() {
    let event = parse(EVENT, SECRET, Path::new(".")).unwrap();
    let video = |machine: &str| {
        let machine = &event.machines[&device(machine)];
        toml::Table::try_from(event.settings(machine)).unwrap()["video"].to_string()
    };
    assert_eq!(video("box-1"), "{ bitrate = \"2M\", framerate = 50 }");
    assert_eq!(video("laptop"), "{ bitrate = \"1500k\", framerate = 25 }");
    let encoder = &event.machines[&device("enc")];
    assert_eq!(encoder.rooms.len(), 2);
    assert!(event.machines[&device("laptop")].sudo);
    let token = &event.rooms[&"main".parse::<RoomName>().unwrap()].token.as_ref().unwrap().0;
    assert_eq!(token.reveal(), "token-of-main");
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let event = "\
[event]
nam = \"demo\"
broker = \"http://broker\"
[defaults.vidoe]
[rooms.main]
group = \"muchtoolong\"
token = \"correct-horse\"
[rooms.Main]
[rooms.\"a b\"]
[machines.operator]
kind = \"boxx\"
host = \"-oProxyCommand=evil\"
[machines.a]
kind = \"box\"
host = \"a\"
[machines.b]
kind = \"collector\"
host = \"b\"
room = \"mian\"
[[templates.box]]
path = \"relative\"
mode = \"rw\"
[[machines.b.register]]
secret = \"hush\"
";
    let said = problems(event, "[rooms.main]\ntokn = \"x\"\n").join("\n");
    for wanted in [
        "event.toml:1: `name` is missing in [event]",
        "event.toml:2: unknown key `nam` in [event]; did you mean `name`?",
        "event.toml:3: `broker` in [event] must begin with mqtts://",
        "event.toml:4: unknown key `vidoe` in [defaults]; did you mean `video`?",
        "event.toml:6: `group` in [rooms.main]: a group has at most 10 characters, this has 11",
        "event.toml:7: `token` is a secret: write it into event.secret.toml",
        "event.secret.toml:2: unknown key `tokn` in [rooms.main]; did you mean `token`?",
        "event.toml:5: room \"main\" is room \"Main\" in other letters",
        "event.toml:9: [rooms.a b]: a room name has only letters",
        "event.toml:10: [machines.operator]: this name is taken",
        "event.toml:11: `kind` in [machines.operator] is \"boxx\"; it must be \"box\"",
        "event.toml:12: `host` in [machines.operator] must be what one types after `ssh`",
        "event.toml:13: [machines.a] has no room; for example: room = \"main-hall\"",
        "event.toml:19: there is no room \"mian\"; did you mean \"Main\"?",
        "event.toml:8: `token` of room \"Main\" is missing",
        "event.toml:21: `path` must begin with /",
        "event.toml:22: `mode` must be octal digits",
        "event.toml:24: `secret` is a secret: write it into event.secret.toml",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in:\n{said}");
    }
    assert!(!said.contains("correct-horse"), "{said}");
}

#[test]
fn a_room_twice_or_in_two_hands_is_a_mistake() {
    let said = problems(&format!("{EVENT}[rooms.main]\n"), SECRET).join("\n");
    assert!(said.contains("not valid TOML: duplicate key"), "{said}");
    let second = EVENT.replace("room = \"side\"", "room = \"main\"");
    let said = problems(&second, &SECRET.replace("of-side", "of-main")).join("\n");
    assert!(said.contains("room \"main\" has two collectors, box-1 and laptop"), "{said}");
    assert!(said.contains("rooms \"main\" and \"side\" have the same `token`"), "{said}");
    let without = EVENT.replace("rooms = \"all\"", "rooms = [\"main\"]");
    let said = problems(&without, SECRET).join("\n");
    assert!(said.contains("room \"side\" is in no encoder's `rooms`"), "{said}");
}

#[test]
fn only_a_box_can_do_without_a_host_and_then_it_needs_a_broker_with_encryption() {
    let far = EVENT.replace("host = \"root@box-1\"\n", "");
    let event = parse(&far, SECRET, Path::new(".")).unwrap();
    assert_eq!(event.machines[&device("box-1")].host, None);
    let said = problems(&far.replace("mqtts://", "mqtt://"), SECRET).join("\n");
    assert!(
        said.contains("[machines.box-1] has no `host`, so it gets its settings over"),
        "{said}"
    );
    let said = problems(&EVENT.replace("host = \"laptop\"\n", ""), SECRET).join("\n");
    assert!(said.contains("`host` is missing in [machines.laptop]"), "{said}");
}

#[test]
fn browsers_need_a_way_that_can_be_and_passwords_in_the_other_file() {
    let with = |url: &str| {
        EVENT.replace("name = \"demo\"\n", &format!("name = \"demo\"\nbrowsers = \"{url}\"\n"))
    };
    let users = format!(
        "{SECRET}[browsers.dashboard]\npassword = \"look only\"\n[browsers.operator]\npassword = \
         \"and press\"\n"
    );
    let event = parse(&with("wss://any.example.org/mqtt"), &users, Path::new(".")).unwrap();
    let browsers = event.browsers.unwrap();
    assert_eq!(browsers.own_port(), None);
    assert_eq!(browsers.passwords["operator"].reveal(), "and press");
    assert!(!format!("{browsers:?}").contains("and press"));
    let event = parse(&with("wss://broker.example.org:8084"), &users, Path::new(".")).unwrap();
    assert_eq!(event.browsers.unwrap().own_port(), Some(8084));

    let way = |url: &str| problems(&with(url), &users).join("\n");
    for (url, wanted) in [
        (
            "ws://broker.example.org:8084",
            "event.toml:3: `browsers` in [event] must begin with wss://",
        ),
        ("wss://a:b@broker.example.org:8084", "event.toml:3: `browsers` in [event] has a user"),
        ("wss://broker.example.org", "event.toml:3: `browsers` in [event] needs a path"),
        ("wss://broker.example.org/a*", "event.toml:3: `browsers` in [event] needs a path"),
        (
            "wss://broker.example.org:8883",
            "event.toml:3: `browsers` in [event]: 8883 is the port of",
        ),
        (
            "wss://other.example.org:8084",
            "event.toml:3: `browsers` in [event] must have the host of",
        ),
        ("broker", "event.toml:3: `browsers` in [event]: "),
    ] {
        let said = way(url);
        assert!(said.contains(wanted), "{wanted:?} is not in:\n{said}");
    }
    let without = with("wss://broker.example.org/mqtt").replace("broker = true\n", "");
    let said = problems(&without, &users).join("\n");
    assert!(said.contains("sets up the broker of a machine with `broker = true`"), "{said}");
    let said = problems(&with("wss://broker.example.org/mqtt"), SECRET).join("\n");
    assert!(said.contains("event.toml:3: `browsers` in [event]: nobody has a password"), "{said}");
    let said = problems(EVENT, &users).join("\n");
    assert!(
        said.contains("event.secret.toml:5: [browsers.dashboard]: nothing says where"),
        "{said}"
    );

    let wrong = "[browsers.dashbord]\npassword = \"short\"\nname = \"x\"\n[browsers.operator]\n";
    let said = problems(&with("wss://b.example.org/mqtt"), &format!("{SECRET}{wrong}")).join("\n");
    for wanted in [
        "event.secret.toml:5: [browsers.dashbord]: the broker knows no such user; did you mean \
         [browsers.dashboard]?",
        "event.secret.toml:6: `password` in [browsers.dashbord]: it must have 8 to 128 characters, and \
         has 5",
        "event.secret.toml:7: unknown key `name` in [browsers.dashbord]",
        "event.secret.toml:8: `password` is missing in [browsers.operator]",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in:\n{said}");
    }
    let open = format!("{EVENT}[browsers.operator]\npassword = \"and press\"\n");
    let said = problems(&open, SECRET).join("\n");
    assert!(said.contains("`password` is a secret: write it into event.secret.toml"), "{said}");
    // A machine of such a name would have that user's rights at the broker.
    let said = problems(&EVENT.replace("machines.laptop", "machines.dashboard"), SECRET).join("\n");
    assert!(said.contains("[machines.dashboard]: this name is taken"), "{said}");
}

#[test]
fn https_is_for_an_encoder_that_has_a_name() {
    let with = |machine: &str, name: &str| {
        let host = format!("host = \"{machine}\"\n");
        EVENT.replace(&host, &format!("{host}https = \"{name}\"\n"))
    };
    let event = parse(&with("root@enc", "enc.example.org"), SECRET, Path::new(".")).unwrap();
    assert_eq!(event.machines[&device("enc")].https.as_deref(), Some("enc.example.org"));
    for name in ["enc", "192.0.2.1", "https://enc.example.org", "enc.example.org {", ".example.org"]
    {
        let said = problems(&with("root@enc", name), SECRET).join("\n");
        assert!(said.contains("`https` in [machines.enc] must be the name"), "{name}: {said}");
    }
    let said = problems(&with("laptop", "a.example.org"), SECRET).join("\n");
    assert!(said.contains("`https` in [machines.laptop]: only an encoder"), "{said}");
}

proptest! {
    #[test]
    fn any_text_is_an_event_or_problems(event in any::<String>(), secret in any::<String>()) {
        let _ = parse(&event, &secret, Path::new("."));
    }

    /// A line lost, doubled or cut somewhere: an event or problems, never a panic.
    #[test]
    fn a_damaged_event_too(cut in 0..EVENT.len(), line in 0..40_usize) {
        if let Some(text) = EVENT.get(..cut) {
            let _ = parse(text, SECRET, Path::new("."));
        }
        let kept: Vec<&str> =
            EVENT.lines().enumerate().filter(|(at, _)| *at != line).map(|(_, text)| text).collect();
        let _ = parse(&kept.join("\n"), SECRET, Path::new("."));
    }
}
