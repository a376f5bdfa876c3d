use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::{
    certificates,
    event::{self, Kind, parse},
};

const EVENT: &str = "\
[event]
name = \"demo\"
broker = \"mqtts://broker.example.org:8883\"

[defaults.encoder]
url = \"https://{{ room.name }}.encoder.example.org\"
[defaults.vars]
town = \"Graz\"

[rooms.main]
title = \"Main hall\"
group = \"hall\"
[rooms.main.video]
bitrate = \"2M\"

[machines.enc]
kind = \"encoder\"
host = \"root@enc\"
rooms = \"all\"
broker = true
[machines.enc.archive]
path = \"/srv/{{ event.name }}-{{ vars.town }}\"

[machines.box-1]
kind = \"box\"
host = \"root@box-1\"
room = \"main\"
[machines.box-1.ssh]
keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVpZ2h0LWJ5dGVzLWZvdXItdGltZXMtb3Zlci4uLi54 ada\"]
";
const SECRET: &str = "\
[rooms.main]
token = \"token-of-main\"

[[defaults.register]]
url = \"http://tracker.example.org/tracker/endpoint/register\"
secret = \"the website's\"
";

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn event(&self, text: &str) -> Event {
        parse(text, SECRET, self.0.path()).unwrap()
    }

    fn render(&self, text: &str) -> Result<BTreeMap<DeviceName, Rendered>, Vec<String>> {
        let event = self.event(text);
        let now = "2026-02-28T00:00:00Z".parse().unwrap();
        certificates::make(&event, now).unwrap();
        let certificates = Certificates::read(&event, now).unwrap();
        all(&event, &certificates)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn wrong(&self, text: &str) -> String {
        self.render(text).unwrap_err().join("\n")
    }
}

fn file<'r>(rendered: &'r Rendered, path: &str) -> &'r File {
    rendered.files.iter().find(|file| file.path == path).unwrap()
}

fn name(name: &str) -> DeviceName {
    name.parse().unwrap()
}

#[test]
fn the_daemons_read_what_is_made_for_them() {
    let bench = Bench::new();
    let rendered = bench.render(EVENT).unwrap();
    let on_box = &rendered[&name("box-1")];
    let site = file(on_box, "/data/backrow/push/site/site.toml");
    let site = config::site::load(&site.content, Path::new("site.toml")).unwrap();
    assert_eq!(site.device.as_str(), "box-1");
    assert_eq!(site.revision.as_ref(), Some(&on_box.revision));
    assert_eq!(site.encoder.shown(), "https://main.encoder.example.org");
    assert_eq!(site.video.bitrate.0, 2_000_000);
    assert_eq!(site.on_box.ssh_keys.len(), 1);
    let mqtt = site.mqtt.unwrap();
    assert_eq!(mqtt.ca, Some(PathBuf::from("backrow-ca.pem")));
    assert!(file(on_box, "/data/backrow/push/site/backrow-box-1.key").secret);

    let enc = &rendered[&name("enc")];
    let encoder = file(enc, "/etc/backrow/encoder.toml");
    let encoder = config::encoder::load(&encoder.content, Path::new("encoder.toml")).unwrap();
    assert_eq!(encoder.revision.as_ref(), Some(&enc.revision));
    assert_eq!(encoder.rooms[0].title, "Main hall");
    assert_eq!(encoder.rooms[0].token.reveal(), "token-of-main");
    assert_eq!(encoder.rooms[0].group.as_ref().map(ToString::to_string), Some("hall".to_owned()));
    assert_eq!(encoder.register.len(), 1);
    assert_eq!(encoder.archive.path, Path::new("/srv/demo-Graz"));
    let broker = file(enc, "/etc/mosquitto/conf.d/backrow.conf");
    assert!(broker.content.contains("\nlistener 8883\n"), "{}", broker.content);
    let other = bench.render(&EVENT.replace(":8883", ":18883")).unwrap();
    let other = file(&other[&name("enc")], "/etc/mosquitto/conf.d/backrow.conf");
    assert!(other.content.contains("\nlistener 18883\n"), "{}", other.content);
    assert!(
        file(enc, "/etc/mosquitto/backrow/acl").content.contains("pattern readwrite backrow/%u/#")
    );
    // The important file comes after those that it names.
    assert_eq!(on_box.files.last().unwrap().view, "/data/backrow/site.toml");
}

#[test]
fn browsers_get_a_listener_and_passwords_that_stay_the_same() {
    let bench = Bench::new();
    let secret =
        |password: &str| format!("{SECRET}[browsers.dashboard]\npassword = \"{password}\"\n");
    let render = |url: &str, password: &str| {
        let text = EVENT.replace("[event]\n", &format!("[event]\nbrowsers = \"{url}\"\n"));
        let event = parse(&text, &secret(password), bench.0.path()).unwrap();
        let now = "2026-02-28T00:00:00Z".parse().unwrap();
        certificates::make(&event, now).unwrap();
        let certificates = Certificates::read(&event, now).unwrap();
        all(&event, &certificates).unwrap().remove(&name("enc")).unwrap()
    };
    let own = "wss://broker.example.org:9001";
    let (first, again) = (render(own, "look only"), render(own, "look only"));
    assert_eq!(first.files, again.files);
    let passwords = file(&first, "/etc/mosquitto/backrow/passwords");
    assert!(passwords.content.starts_with("dashboard:$7$10000$") && passwords.secret);
    assert_eq!(passwords.group.as_deref(), Some("mosquitto"));
    assert_ne!(file(&render(own, "look twice"), &passwords.path).content, passwords.content);
    let path = "/etc/mosquitto/conf.d/backrow-browsers.conf";
    let conf = &file(&first, path).content;
    assert!(conf.contains("\nlistener 9001\n") && conf.contains("\nkeyfile "), "{conf}");
    let behind = render("wss://any.example.org/mqtt", "look only");
    let conf = &file(&behind, path).content;
    assert!(conf.contains("\nlistener 8084 127.0.0.1\n") && !conf.contains("keyfile"), "{conf}");
    let encoder = file(&behind, "/etc/backrow/encoder.toml");
    let encoder = config::encoder::load(&encoder.content, Path::new("encoder.toml")).unwrap();
    assert_eq!(encoder.dashboard.broker.unwrap().as_str(), "wss://any.example.org/mqtt");
}

#[test]
fn what_is_not_defined_is_told_with_room_key_template_and_line() {
    let bench = Bench::new();
    let wrong = bench.wrong(&EVENT.replace("room.name }}.enc", "room.nam }}.enc"));
    assert_eq!(
        wrong,
        "event.toml:6: machine box-1 (room main): `encoder.url`: `room.nam` is not defined; set it in \
         event.toml"
    );
    std::fs::write(bench.0.path().join("motd"), "one\ntwo\n{{ vars.speaker }}\n").unwrap();
    let own = format!("{EVENT}[[templates.box]]\npath = \"/etc/motd\"\nfile = \"motd\"\n");
    assert_eq!(
        bench.wrong(&own),
        "motd:3: machine box-1 (room main): `vars.speaker` is not defined; set it in event.toml"
    );
    let with = own.replace("town = ", "speaker = \"Ada\"\ntown = ");
    let rendered = bench.render(&with).unwrap();
    assert_eq!(file(&rendered[&name("box-1")], "/etc/motd").content, "one\ntwo\nAda\n");
}

#[test]
fn what_a_daemon_would_not_take_is_told_where_the_event_says_it() {
    let bench = Bench::new();
    let wrong = bench.wrong(&EVENT.replace("bitrate = \"2M\"", "bitrat = \"2M\"\nwidth = 7"));
    assert!(
        wrong.contains("event.toml:14: machine box-1 (room main): unknown key `bitrat` in [video]; did you mean `bitrate`?"),
        "{wrong}"
    );
    assert!(
        wrong.contains("event.toml:15: machine box-1 (room main): `width` in [video] is 7"),
        "{wrong}"
    );
    let wrong = bench.wrong(&EVENT.replace("path = \"/srv", "min_free = \"x\"\npath = \"/srv"));
    assert!(
        wrong.contains("event.toml:22: machine enc (room main): `min_free` in [archive]"),
        "{wrong}"
    );
    let none =
        bench.wrong(&EVENT.replace("url = \"https://{{ room.name }}.encoder.example.org\"\n", ""));
    assert!(none.contains("`url` is missing in [encoder]"), "{none}");
}

#[test]
fn an_events_own_template_takes_a_built_in_ones_place() {
    let bench = Bench::new();
    let own =
        "room = {{ room.name | toml }}\nrevision = {{ revision | toml }}\n{{ settings | toml }}";
    std::fs::write(bench.0.path().join("own.toml"), own).unwrap();
    let text = EVENT
        .replace("kind = \"box\"", "kind = \"collector\"")
        .replace("[machines.box-1.ssh]\n", "[machines.box-1.vars]\n");
    let text = format!(
        "{text}[[templates.collector]]\npath = \"/etc/backrow/site.toml\"\nfile = \"own.toml\"\nmode = \"0600\"\n"
    );
    let rendered = bench.render(&text).unwrap();
    let site = file(&rendered[&name("box-1")], "/etc/backrow/site.toml");
    assert!(site.content.starts_with("room = \"main\"\nrevision = "), "{}", site.content);
    assert_eq!((site.mode.as_str(), site.group.as_deref()), ("0600", Some("backrow-collector")));
    assert_eq!(site.reload, Some(Reload::Unit("backrow-collector.service".to_owned())));
    let wrong = bench.wrong(&format!("{text}[[templates.collector]]\npath = \"/etc/other\"\n"));
    assert!(wrong.contains("no built-in template goes to /etc/other"), "{wrong}");
}

#[test]
fn every_kind_has_files_and_every_path_can_be_given_to_a_shell() {
    for kind in Kind::ALL {
        for (file, _) in builtin::files(kind) {
            assert!(event::good_path(file.path), "{}", file.path);
        }
        assert!(event::good_path(&builtin::state(kind, "box-1")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The same files have the same revision, others another; texts come through as they are.
    #[test]
    fn the_revision_is_of_the_content(title in "[^\\p{C}{}]{1,20}", other in "[^\\p{C}{}]{1,20}") {
        let bench = Bench::new();
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let with = |title: &str| {
            let text = EVENT.replace("\"Main hall\"", &quoted(title)).replace("mqtts", "mqtt").replace("broker = true\n", "");
            bench.render(&text).unwrap().remove(&name("enc")).unwrap()
        };
        let (a, b, c) = (with(&title), with(&title), with(&other));
        prop_assert_eq!(&a.revision, &b.revision);
        prop_assert_eq!(a.revision == c.revision, title == other);
        let encoder = &a.files.last().unwrap().content;
        let read = config::encoder::load(encoder, Path::new("encoder.toml")).unwrap();
        prop_assert_eq!(&read.rooms[0].title, &title);
    }

    #[test]
    fn any_template_is_text_or_an_error(text in any::<String>()) {
        let _ = environment().render_named_str("any", &text, minijinja::Value::from(1));
    }
}
