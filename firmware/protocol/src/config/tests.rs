use std::{path::Path, time::Duration};

use proptest::prelude::*;

use super::{
    encoder, site,
    site::{AudioDevice, Channels, Destination, MixerFormat, SourceKind},
    units::{BitRate, ByteSize},
};

mod mistakes;
mod register;

/// The least a site needs.
const SITE: &str =
    "room = \"demo\"\n[encoder]\nurl = \"https://enc.example.org\"\ntoken = \"correct-horse\"\n";
/// The least an encoder needs.
const ENCODER: &str = "[[room]]\nname = \"demo\"\ntoken = \"correct-horse\"\n";

fn site_error(text: &str) -> String {
    site::load(text, Path::new("site.toml")).unwrap_err().to_string()
}

fn encoder_error(text: &str) -> String {
    encoder::load(text, Path::new("encoder.toml")).unwrap_err().to_string()
}

/// `SITE` and more: the error's text.
fn site_with(more: &str) -> String {
    site_error(&format!("{SITE}{more}"))
}

fn encoder_with(more: &str) -> String {
    encoder_error(&format!("{ENCODER}{more}"))
}

#[test]
fn a_site_needs_little() {
    let site = site::load(SITE, Path::new("/etc/backrow/site.toml")).unwrap();
    assert_eq!(site.room.as_str(), "demo");
    assert!(!site.device.as_str().is_empty());
    assert_eq!(site.source.kind, SourceKind::Auto);
    assert_eq!((site.video.width, site.video.height, site.video.framerate), (1280, 720, 25));
    assert_eq!(site.video.bitrate, BitRate(1_500_000));
    assert_eq!((site.audio.device, site.audio.channels), (AudioDevice::Auto, Channels::Stereo));
    assert_eq!(site.uplink.memory, ByteSize(64 << 20));
    assert_eq!((site.uplink.spool, site.uplink.spool_min_free), (None, ByteSize(256 << 20)));
    assert_eq!(site.mqtt, None);
    assert_eq!(site.encoder.shown(), "https://enc.example.org");
}

#[test]
fn a_site_says_everything() {
    let text = r#"
room = "main-hall"
device = "box-7"
[encoder]
url = "https://enc.example.org:8443/base"
token = "correct-horse"
ca = "ca.pem"
[source]
kind = "mixer"
device = "/dev/v4l/by-path/x"
guid = "0x080046010203abcd"
path = "/talks/talk.mp4"
address = "mixer:11000"
format = "dvswitch"
[video]
width = 1024
height = 576
framerate = 30
bitrate = 1_200_000
[audio]
device = "hw:CARD=Grabber"
bitrate = "128k"
channels = "left"
[uplink]
memory = "1GiB"
spool = "recordings"
spool_min_free = "1GiB"
[mqtt]
url = "mqtts://broker.example.org"
username = "box-7"
password = "secret"
ca = "/etc/ssl/broker.pem"
certificate = "box.pem"
key = "box.key"
home_assistant = "ha/found"
"#;
    let site = site::load(text, Path::new("/etc/backrow/site.toml")).unwrap();
    assert!(matches!(&site.encoder, Destination::Ingest { ca: Some(ca), token, .. }
        if ca == Path::new("/etc/backrow/ca.pem") && token.matches("correct-horse")));
    assert_eq!(site.encoder.shown(), "https://enc.example.org:8443");
    assert_eq!(site.source.guid, Some(0x0800_4601_0203_abcd));
    assert_eq!(site.source.format, MixerFormat::DvSwitch);
    assert_eq!(site.source.path.as_deref(), Some(Path::new("/talks/talk.mp4")));
    assert_eq!(site.audio.device, AudioDevice::Alsa("hw:CARD=Grabber".into()));
    assert_eq!(site.uplink.spool.as_deref(), Some(Path::new("/etc/backrow/recordings")));
    assert_eq!(site.uplink.spool_min_free, ByteSize(1 << 30));
    let mqtt = site.mqtt.clone().unwrap();
    assert_eq!((mqtt.tls(), mqtt.host(), mqtt.port()), (true, "broker.example.org", 8883));
    assert_eq!(mqtt.ca.as_deref(), Some(Path::new("/etc/ssl/broker.pem")));
    assert_eq!(mqtt.home_assistant.as_deref(), Some("ha/found"));
    assert_eq!(mqtt.client.unwrap().key, Path::new("/etc/backrow/box.key"));
    let debugged = format!("{site:?}");
    assert!(!debugged.contains("secret\"") && !debugged.contains("correct"), "{debugged}");
}

#[test]
fn an_encoder_needs_little() {
    let config = encoder::load(ENCODER, Path::new("encoder.toml")).unwrap();
    assert_eq!(config.listen.http.to_string(), "0.0.0.0:8080");
    assert_eq!(config.listen.rtmp, None);
    assert_eq!(config.archive.path, Path::new("/var/lib/backrow/archive"));
    assert_eq!(config.archive.min_free, ByteSize(1 << 30));
    assert_eq!((config.hls.segment, config.hls.window), (Duration::from_secs(2), 8));
    let ladder: Vec<_> =
        config.ladder.iter().map(|r| (r.name.as_str(), r.height, r.bitrate.0)).collect();
    assert_eq!(ladder, [("480p", 480, 700_000), ("240p", 240, 250_000)]);
    assert_eq!(config.webm.high, Some(BitRate(800_000)));
    assert_eq!(config.rooms[0].title, "demo");
    assert_eq!(config.dashboard, encoder::Dashboard::default());
}

#[test]
fn an_encoder_says_everything() {
    let text = r#"
name = "enc-1"
[listen]
http = "[::1]:0"
rtmp = "127.0.0.1:1935"
[archive]
path = "archive"
min_free = "500MB"
[hls]
segment = "1500ms"
window = 30
[[ladder]]
name = "360p"
height = 360
bitrate = "400k"
[webm]
high = "off"
low = "200k"
[[room]]
name = "a"
title = "Hörsaal A"
token = "correct-horse"
[[room]]
name = "b"
token = "battery-staple"
[mqtt]
url = "mqtt://[::1]:2883"
home_assistant = "off"
[dashboard]
broker = "wss://broker.example.org:8084"
commands = true
"#;
    let config = encoder::load(text, Path::new("conf/encoder.toml")).unwrap();
    assert_eq!(config.name.as_str(), "enc-1");
    assert_eq!(config.listen.http.port(), 0);
    assert_eq!(config.archive.path, Path::new("conf/archive"));
    assert_eq!(config.hls.segment, Duration::from_millis(1500));
    assert_eq!(config.ladder.len(), 1);
    assert_eq!((config.webm.high, config.webm.low), (None, Some(BitRate(200_000))));
    assert_eq!(config.rooms[0].title, "Hörsaal A");
    let mqtt = config.mqtt.unwrap();
    assert_eq!((mqtt.host(), mqtt.port()), ("::1", 2883));
    assert_eq!(mqtt.home_assistant, None);
    assert_eq!(config.dashboard.broker.unwrap().as_str(), "wss://broker.example.org:8084/");
    assert!(config.dashboard.commands);
    let none = encoder::load(&format!("ladder = []\n{ENCODER}"), Path::new("e.toml")).unwrap();
    assert!(none.ladder.is_empty());
}

/// The TOML blocks of the documentation.
fn documented() -> Vec<&'static str> {
    let text = include_str!("../../../../docs/configuration.md");
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

#[test]
fn the_documentation_tells_the_truth() {
    let [short_site, whole_site, box_site, short_encoder, whole_encoder] = documented()[..] else {
        panic!("the shortest and the whole of each file, and a box's");
    };
    let site =
        |text| site::load(text, Path::new("/etc/site.toml")).unwrap_or_else(|e| panic!("{e}"));
    let (short, whole) = (site(short_site), site(whole_site));
    let on_box = site(box_site).on_box;
    assert!(on_box.network.wifi.is_some() && on_box.network.wired_auth.is_some());
    assert_eq!((on_box.ssh_keys.len(), on_box.time_servers.len()), (1, 1));
    assert_eq!((short.video, &short.audio), (whole.video, &whole.audio));
    let bounds = |site: &site::Site| (site.uplink.memory, site.uplink.spool_min_free);
    assert_eq!(bounds(&short), bounds(&whole));
    assert_eq!((short.source.kind, short.source.format), (whole.source.kind, whole.source.format));
    let encoder = |text| {
        encoder::load(text, Path::new("/etc/encoder.toml")).unwrap_or_else(|e| panic!("{e}"))
    };
    let (short, whole) = (encoder(short_encoder), encoder(whole_encoder));
    assert_eq!((&short.archive, short.hls, short.webm), (&whole.archive, whole.hls, whole.webm));
    assert_eq!((&short.ladder, short.listen.http), (&whole.ladder, whole.listen.http));
    assert_eq!(short.control, whole.control);
}

#[test]
fn byte_order_mark_and_crlf_are_no_matter() {
    let windows = format!("\u{feff}{}", SITE.replace('\n', "\r\n"));
    assert!(site::load(&windows, Path::new("site.toml")).is_ok());
    let error = site_error(&format!("{windows}tokn = 1\r\n"));
    assert!(error.starts_with("site.toml:5:1: unknown key `tokn`"), "{error}");
    let error = site_error("\u{feff}rom = \"demo\"\r\n[encoder]\r\n");
    assert!(error.contains("site.toml:1:1: unknown key `rom`"), "{error}");
}

#[test]
fn every_problem_is_told_in_the_order_of_the_file() {
    let text = "room = \"main hall\"\nsorce = 1\n[encoder]\nurl = \"https://enc\"\ntoken = \"short\"\n\
                [video]\nwidth = \"wide\"\nbitrat = \"1500k\"\n";
    assert_eq!(
        site_error(text),
        "site.toml:1:8: `room` at the top level is \"main hall\": a room name has only letters A-Z a-z, \
         digits, - and _, so ' ' cannot be in it; it must be a name, for example: room = \"main-hall\"\n\
         site.toml:2:1: unknown key `sorce` at the top level; did you mean `source`?\n\
         site.toml:5:9: `token` in [encoder]: the token is too short: it has 5 of at least 8 characters; \
         it must be the room's token, at least 8 characters, for example: token = \"correct-horse-battery\"\n\
         site.toml:7:9: `width` in [video] is a text; it must be a whole number from 64 to 7680, \
         for example: width = 720\n\
         site.toml:8:1: unknown key `bitrat` in [video]; did you mean `bitrate`?"
    );
}

#[test]
fn unknown_keys_and_tables() {
    assert_eq!(
        site_with("[vidio]\nwidth = 640\n"),
        "site.toml:5:2: unknown table [vidio]; did you mean [video]?"
    );
    assert_eq!(
        site_with("framerate = 25\n"),
        "site.toml:5:1: unknown key `framerate` in [encoder]; it belongs in [video]"
    );
    assert_eq!(
        site_with("[uplink]\nzebra = 1\n"),
        "site.toml:6:1: unknown key `zebra` in [uplink]; known here: `memory`, `spool`, `spool_min_free`"
    );
    assert_eq!(
        encoder_with("[[rom]]\nname = \"x\"\n"),
        "encoder.toml:4:3: unknown table [rom]; did you mean [room]?"
    );
    assert_eq!(
        encoder_with("titel = \"x\"\n"),
        "encoder.toml:4:1: unknown key `titel` in [[room]]; did you mean `title`?"
    );
}

#[test]
fn a_secret_is_never_quoted() {
    for text in [
        SITE.replace("correct-horse", "hush hush hush"),
        SITE.replace("https://enc.example.org", "http://user:hush@"),
        SITE.replace("https://enc.example.org", "rtmp://h/hush"),
        format!("{SITE}[mqtt]\nurl = \"ftp://user:hush@h\"\n"),
    ] {
        let error = site_error(&text);
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = site::read(Path::new("/nowhere/site.toml")).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/site.toml:1:1: there is no such file");
}

#[test]
fn hidden_words_are_accepted() {
    let site = site::load(&format!("{SITE}[source]\nkind = \"flash\"\n"), Path::new("s")).unwrap();
    assert_eq!(site.source.kind, SourceKind::Flash);
}

/// Texts that are nearly configurations: lines of a good one, changed, doubled and shuffled.
fn nearly() -> impl Strategy<Value = String> {
    let lines = [
        "room = \"demo\"",
        "[encoder]",
        "url = \"https://e\"",
        "url = \"rtmp://\u{e9}:1/a/b\"",
        "token = \"correct-horse\"",
        "[source]",
        "kind = \"mixer\"",
        "guid = \"0x\u{e9}\"",
        "address = \":\"",
        "[video]",
        "width = 0xFFFFFFFFFFFFFFFFFFFFFFFF",
        "bitrate = \"1.k\"",
        "height = -0",
        "framerate = 1e9",
        "[audio]",
        "[uplink]",
        "memory = \"99999999999999TiB\"",
        "[mqtt]",
        "[[room]]",
        "name = \"a\"",
        "[[ladder]]",
        "room = [[], 1, {}]",
        "[room.x]",
        "[hls]",
        "segment = \"9999999999999999999d\"",
        "window = 3",
        "[listen]",
        "http = \"[::]:0\"",
        "hls.segment = 1979-05-27",
        "[network]",
        "mode = \"static\"",
        "address = \"192.0.2.1/0\"",
        "gateway = \"fe80::1\"",
        "dns = [1, [], \"\"]",
        "[network.wifi]",
        "ssid = \"\\u0000\"",
        "[network.wired_auth]",
        "eap = \"tls\"",
        "[ssh]",
        "keys = [\"ssh-rsa AAAAB3NzaC1yc2E=\"]",
        "\"\" = 1",
        "'a\u{301}' = [",
        "\u{feff}",
    ];
    prop::collection::vec(
        prop_oneof![4 => prop::sample::select(lines.to_vec()).prop_map(str::to_owned), 1 => any::<String>()],
        0..12,
    )
    .prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics_and_every_problem_has_a_place(text in nearly()) {
        let lines = text.lines().count() + 1;
        let results = [
            site::load(&text, Path::new("f")).err(),
            encoder::load(&text, Path::new("f")).err(),
        ];
        for error in results.into_iter().flatten() {
            prop_assert!(!error.problems.is_empty());
            for problem in &error.problems {
                prop_assert!((1..=lines).contains(&problem.line) && problem.column >= 1);
                prop_assert!(!problem.message.is_empty());
            }
        }
    }
}
