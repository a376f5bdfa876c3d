//! The way without a laptop: the user data of deploy/cloud-init, changed where it says so, makes a
//! machine an encoder at its first start.

use std::sync::Arc;

use backrow_tests::machine::{HOST, patience};
use backrow_tests::tracker::Tracker;
use backrow_tests::{CollectorConfig, CollectorProcess, tool, until};
use watchdog::clock::SystemClock;

use crate::mirror::Mirror;
use crate::outside::Outside;
use crate::rented::{Rented, package};

const USER_DATA: &str = include_str!("../../../deploy/cloud-init/encoder.yaml");
/// A name for which Caddy is its own authority, as no other could be asked, and which is found here.
const NAME: &str = "localhost";
const ROOM: &str = "aula-2";
const GROUP: &str = "aula_2";
const TOKEN: &str = "a-token-of-ones-own";
const SECRET: &str = "hush";

/// Changes every line that ends with CHANGE, in the order of the file.
fn changed(changes: &[(&str, &str)]) -> String {
    let mut changes = changes.iter();
    let mut text = String::new();
    for line in USER_DATA.lines() {
        if line.ends_with("# CHANGE") {
            let (from, to) = changes.next().unwrap_or_else(|| panic!("what is to be in {line}"));
            assert!(line.contains(from), "{line} has no {from}");
            text.push_str(&line.replace(from, to));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    assert!(changes.next().is_none(), "more changes than lines");
    text
}

/// Takes the comment's sign from the lines about a website, as whoever has one does.
fn with_website(text: &str, url: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [
        ("http = \"127.0.0.1:8080\"", "http = \"0.0.0.0:8080\"".to_owned()),
        ("#group = \"main_hall\"", format!("group = \"{GROUP}\"")),
        ("#[[register]]", "[[register]]".to_owned()),
        ("#url = \"http://timvideos.us/tracker/endpoint/register\"", format!("url = \"{url}\"")),
        ("#secret = \"…\"", format!("secret = \"{SECRET}\"")),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
        text = text.replace(from, &to);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_data_makes_a_new_machine_an_encoder() {
    let mirror = Mirror::start().await;
    let tracker = Tracker::start(&[GROUP], SECRET, Arc::new(SystemClock::new())).await;
    let door = tracker.door("192.0.2.1").await.replace("127.0.0.1", HOST);
    let file = package();
    let url = mirror.url(file.file_name().unwrap().to_str().unwrap());
    let sum = tool::run("sha256sum", &[&file]).await;
    let sum = String::from_utf8(sum).unwrap();
    let user_data = changed(&[
        ("main-hall", ROOM),
        ("Main hall", "Aula"),
        ("correct-horse-battery", TOKEN),
        ("encoder.example.org", NAME),
        ("https://example.org/backrow-encoder_0.1.0_amd64.deb", &url),
        (&"0".repeat(64), &sum[..64]),
    ]);
    let mut rented = Rented::start(&mirror, &with_website(&user_data, &door)).await;

    let active = rented.machine.ssh("systemctl is-active backrow-encoder caddy").await;
    assert_eq!(active, "active\nactive\n");
    let said = rented.machine.ssh("stat -c '%a %U %G' /etc/backrow/encoder.toml").await;
    assert_eq!(said, "640 root backrow-encoder\n");

    let authority = rented.authority().await;
    let https = rented.machine.forward(443).await;
    let outside = Outside::new(NAME, https, &authority);
    outside.answers().await;
    rented.watch.lap("the encoder answers by HTTPS");
    let _collector = CollectorProcess::start(&CollectorConfig {
        room: ROOM.into(),
        device: "box".into(),
        url: outside.url(""),
        token: Some(TOKEN.into()),
        authority: Some(authority),
        source: "kind = \"flash\"".into(),
        picture: (320, 180, 5),
        bitrate: "200k".into(),
        audio: None,
        memory: "64MiB".into(),
        mqtt: None,
    });
    let folder = tempfile::tempdir().unwrap();
    outside.watch(ROOM, folder.path()).await;
    rented.watch.lap("played");
    outside.recording(ROOM, TOKEN, folder.path()).await;
    until(patience(300), "the website to send viewers to it", async || {
        let script = tracker.stream_js(GROUP).await;
        (script == format!("var streamer_{GROUP} = new Streams('http://192.0.2.1:8080/');\n"))
            .then_some(())
    })
    .await;
    rented.watch.lap("listed by the website");
}
