//! What is wrong with what people and machines hand us is said in words that help, and harms
//! nothing else.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use backrow_tests::hls::Player;
use backrow_tests::process::binary;
use backrow_tests::publish::{Publisher, flv_file, rtmp_url};
use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, tool, until,
};
use bytes::BytesMut;
use flv::{Tag, TagKind};
use reqwest::StatusCode;
use serde_json::Value;

const SESSION: &str = "01JZZZZZZZZZZZZZZZZZZZZZZZ";

/// What a program says to a person at its end, which must be a failure and no panic.
fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it should have failed, and said:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

async fn complaint_about(program: &str, file_name: &str, text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(file_name);
    std::fs::write(&file, text).unwrap();
    let args = ["--config", file.to_str().unwrap()];
    complaint(&tool::output(binary(program), &args).await)
}

#[tokio::test]
async fn a_wrong_site_toml_is_explained_line_by_line() {
    let text = "room = \"de mo\"\n\
                [encoder]\n\
                url = \"ftp://enc.example.org\"\n\
                token = \"a-token-of-demo\"\n\
                [video]\n\
                bitrat = \"1500k\"\n\
                framerate = \"fast\"\n\
                [sorce]\n\
                kind = \"test\"\n";
    let said = complaint_about("collector", "site.toml", text).await;
    for wanted in [
        "site.toml:1:8: ",
        "a room name has only letters A-Z a-z, digits, - and _, so ' ' cannot be in it",
        "site.toml:3:7: ",
        "site.toml:6:1: unknown key `bitrat` in [video]; did you mean `bitrate`?",
        "site.toml:7:13: ",
        "site.toml:8:",
        "unknown table [sorce]; did you mean [source]?",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is missing in:\n{said}");
    }
}

#[tokio::test]
async fn a_wrong_encoder_toml_is_explained_line_by_line() {
    let text = "[listen]\n\
                http = \"0.0.0.0\"\n\
                [archive]\n\
                path = \"/tmp/archive\"\n\
                min_fre = \"1GiB\"\n\
                [[room]]\n\
                name = \"demo\"\n\
                token = \"short\"\n\
                [[room]]\n\
                name = \"demo\"\n\
                token = \"long-enough-token\"\n";
    let said = complaint_about("encoder", "encoder.toml", text).await;
    for wanted in [
        "encoder.toml:2:8: ",
        "encoder.toml:5:1: unknown key `min_fre` in [archive]; did you mean `min_free`?",
        "encoder.toml:8:9: ",
        "encoder.toml:10:8: ",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is missing in:\n{said}");
    }
}

#[tokio::test]
async fn a_missing_configuration_file_is_named() {
    for program in ["collector", "encoder"] {
        let output = tool::output(binary(program), &["--config", "/nowhere/at-all.toml"]).await;
        let said = complaint(&output);
        assert!(said.contains("/nowhere/at-all.toml"), "{said}");
        assert!(said.contains("there is no such file"), "{said}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let mut config = EncoderConfig::light("demo");
    config.rtmp = false;
    let text = config.to_toml(&directory.path().join("archive"));
    let text = text.replace("127.0.0.1:0", &address);
    let said = complaint_about("encoder", "encoder.toml", &text).await;
    assert!(said.contains(&address), "{said}");
    assert!(said.to_lowercase().contains("in use"), "{said}");
}

/// What the capture worker says about a source.
async fn capture(source: &str) -> String {
    let output = tool::output(binary("collector"), &["capture", "--source", source]).await;
    complaint(&output)
}

#[tokio::test]
async fn a_source_that_is_not_there_is_named() {
    let said = capture("v4l2:/dev/video99").await;
    assert!(said.contains("There is no video device at /dev/video99"), "{said}");
    let said = capture("v4l2:/dev/null").await;
    assert!(said.contains("/dev/null is not a video capture device"), "{said}");
    let said = capture("file:/nowhere/talk.mp4").await;
    assert!(said.contains("There is no file /nowhere/talk.mp4"), "{said}");
    let said = capture("file:/etc/passwd").await;
    assert!(said.contains("/etc/passwd cannot be played"), "{said}");
    let free = backrow_tests::broker::free_port();
    let said = capture(&format!("mixer:{free}")).await;
    assert!(said.contains(&format!("The mixer at {free} cannot be reached")), "{said}");
}

/// The daemon lives on when its device is missing: the room gets the slate, and the reason is
/// in its log.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_without_its_device_shows_the_slate() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let mut config = CollectorConfig::flash(&encoder);
    config.source = "kind = \"v4l2\"\ndevice = \"/dev/v4l/by-path/not-there\"".into();
    config.picture = (320, 180, 25);
    let collector = CollectorProcess::start(&config);
    encoder.live("demo").await;
    let log = collector.process().log();
    assert!(log.contains("/dev/v4l/by-path/not-there"), "{log}");
}

struct Ingest {
    encoder: EncoderProcess,
    segment: Vec<u8>,
}

impl Ingest {
    async fn start() -> Self {
        let encoder = EncoderProcess::start(EncoderConfig::light("demo").and_room("other")).await;
        let file = encoder.directory().join("segment.flv");
        flv_file(&file, 2).await;
        let segment = std::fs::read(file).unwrap();
        Self { encoder, segment }
    }

    /// PUTs a segment, and returns the status, the problem's slug, and its message.
    async fn put(&self, room: &str, token: &str, body: Vec<u8>) -> (u16, String, String) {
        let url = self.encoder.url(&format!("/ingest/{room}/{SESSION}/0000000000.flv"));
        let request = self.encoder.client().put(url).bearer_auth(token).body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap();
        let text = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        (status, text("error"), text("message"))
    }

    /// PUTs `body` to the first room as its publisher would.
    async fn broken(&self, body: Vec<u8>) -> (u16, String, String) {
        self.put("demo", self.encoder.token(), body).await
    }
}

/// The tags of a file.
fn tags(file: &[u8]) -> Vec<Tag> {
    let mut parser = flv::Parser::new(flv::Limits::default());
    parser.push(file);
    std::iter::from_fn(|| parser.next_tag().unwrap()).collect()
}

fn file_of(tags: &[Tag]) -> Vec<u8> {
    let mut file = BytesMut::from(&flv::file_header(true, true)[..]);
    for tag in tags {
        tag.encode(&mut file);
    }
    file.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_segment_is_told_why_and_harms_nobody() {
    let ingest = Ingest::start().await;
    // Another room is live all the while.
    let other = &ingest.encoder.config().rooms[1];
    let mut config = CollectorConfig::flash(&ingest.encoder);
    config.room.clone_from(&other.name);
    config.token = Some(other.token.clone());
    config.picture = (320, 180, 25);
    let _collector = CollectorProcess::start(&config);
    ingest.encoder.live("other").await;
    let player = Player::follow(&ingest.encoder, "other", "source/index.m3u8");
    player.reaches(1).await;

    let good = &ingest.segment;
    let (status, slug, said) = ingest.put("demo", "not-the-token", good.clone()).await;
    assert_eq!((status, slug.as_str()), (401, "wrong-token"), "{said}");
    assert!(!said.contains("not-the-token") && !said.contains(ingest.encoder.token()), "{said}");

    let (status, slug, said) = ingest.put("nowhere", "not-the-token", good.clone()).await;
    assert_eq!((status, slug.as_str()), (404, "unknown-room"), "{said}");
    assert!(said.contains("nowhere"), "{said}");

    let (status, slug, said) = ingest.broken(good[..good.len() - 100].to_vec()).await;
    assert_eq!((status, slug.as_str()), (400, "broken-flv"), "{said}");
    assert!(said.contains("demo"), "{said}");

    let (status, slug, said) = ingest.broken(b"<html>not FLV at all</html>".to_vec()).await;
    assert_eq!((status, slug.as_str()), (400, "broken-flv"), "{said}");

    let mut corrupt = good.clone();
    let middle = corrupt.len() / 2;
    for byte in &mut corrupt[middle..middle + 64] {
        *byte ^= 0xa5;
    }
    let back = corrupt.len() - 4;
    corrupt[back] ^= 0xff;
    let (status, slug, said) = ingest.broken(corrupt).await;
    assert_eq!((status, slug.as_str()), (400, "broken-flv"), "{said}");
    assert!(said.chars().any(|letter| letter.is_ascii_digit()), "no offset: {said}");

    // A tag that says it is 15 MiB, far over any frame of ours.
    let mut absurd = flv::file_header(true, true).to_vec();
    absurd.extend([9, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    absurd.extend([0; 4096]);
    let (status, slug, said) = ingest.broken(absurd).await;
    assert_eq!((status, slug.as_str()), (413, "oversize-tag"), "{said}");

    // VP6 in place of H.264.
    let mut foreign = tags(good);
    for tag in foreign.iter_mut().filter(|tag| tag.kind == TagKind::Video) {
        let mut data = tag.data.to_vec();
        data[0] = (data[0] & 0xf0) | 4;
        tag.data = data.into();
    }
    let (status, slug, said) = ingest.broken(file_of(&foreign)).await;
    assert_eq!((status, slug.as_str()), (415, "wrong-codec"), "{said}");
    assert!(said.contains("H.264"), "{said}");

    // After all that the room takes what is good, and the other room saw nothing of it.
    let url = ingest.encoder.url(&format!("/ingest/demo/{SESSION}/0000000001.flv"));
    let request = ingest.encoder.client().put(url).bearer_auth(ingest.encoder.token());
    let answer = request.body(good.clone()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let confirmation: Value = answer.json().await.unwrap();
    assert_eq!(confirmation["bytes"], good.len());
    player.reaches(4).await;
    assert_eq!(player.errors(), Vec::<String>::new());
    let directory = tempfile::tempdir().unwrap();
    let pictures = backrow_tests::measure::pictures(&player.save(directory.path())).await;
    pictures.assert_none_missing_none_twice("the other room");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rtmp_publisher_with_a_wrong_key_is_refused() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    for (room, token) in [("demo", "not-the-token"), ("nowhere", encoder.token())] {
        let publisher = Publisher::ffmpeg(&rtmp_url(&encoder, room, token));
        let status = publisher.process().exit(Duration::from_secs(60)).await;
        assert!(!status.success(), "{room}: {}", publisher.process().log());
    }
    let room = encoder.room("demo").await.unwrap();
    assert_eq!(room["publisher"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_archive_and_says_so_while_live_goes_on() {
    let mut config = EncoderConfig::light("demo");
    config.archive_mib = Some(2);
    config.min_free = "1MiB".into();
    let encoder = EncoderProcess::start(config).await;
    let mut config = CollectorConfig::flash(&encoder);
    config.bitrate = "1500k".into();
    config.source = "kind = \"test\"".into();
    let _collector = CollectorProcess::start(&config);
    encoder.live("demo").await;
    let player = Player::follow(&encoder, "demo", "source/index.m3u8");
    let reason = until(Duration::from_secs(60), "the archive to be sad", async || {
        let room = encoder.room("demo").await?;
        let components = room["components"].as_array()?.clone();
        let archive = components.iter().find(|it| is_archive(it))?.clone();
        (archive["mood"] == "sad").then(|| archive["reason"].to_string())
    })
    .await;
    assert!(reason.contains("free") || reason.contains("full"), "{reason}");
    let so_far = player.segments().len();
    player.reaches(so_far + 3).await;
    assert_eq!(player.errors(), Vec::<String>::new());
}

fn is_archive(component: &Value) -> bool {
    let name = component["name"].as_str().unwrap_or_default();
    name.ends_with("archive")
}

#[tokio::test]
async fn a_segment_on_a_full_disk_is_answered_507() {
    let mut config = EncoderConfig::light("demo");
    config.archive_mib = Some(2);
    config.min_free = "4MiB".into();
    let encoder = EncoderProcess::start(config).await;
    let file = encoder.directory().join("segment.flv");
    flv_file(&file, 2).await;
    let (status, problem) = put_file(&encoder, &file).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem}");
    assert_eq!(problem["error"], "disk-full", "{problem}");
}

async fn put_file(encoder: &EncoderProcess, file: &Path) -> (StatusCode, Value) {
    let url = encoder.url(&format!("/ingest/demo/{SESSION}/0000000000.flv"));
    let body = std::fs::read(file).unwrap();
    let request = encoder.client().put(url).bearer_auth(encoder.token()).body(body);
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}
