//! An unchanged tracker of the original lists our encoders and spreads viewers over them; viewers
//! are counted right whatever they use; and an encoder that is told to stop turns nobody away.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::sync::Arc;
use std::time::Duration;

use backrow_tests::encoder::SECRET;
use backrow_tests::hls::{self, Player};
use backrow_tests::process::Launch;
use backrow_tests::publish::{Publisher, rtmp_url};
use backrow_tests::tracker::{Fault, Tracker};
use backrow_tests::viewer::Viewer;
use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, Process, broker, until,
};
use rustix::process::Signal;
use serde_json::json;
use watchdog::clock::{self, FakeClock};

const SOON: Duration = Duration::from_secs(60);
/// The website's name in the configuration, and the component's on the board.
const SITE: &str = "site";
const COMPONENT: &str = "register-site";

/// An encoder that is live, and whom the tracker sees as `ip`.
async fn live(tracker: &Tracker, ip: &str) -> (EncoderProcess, Publisher) {
    let config = EncoderConfig::light("demo").with_website(SITE, &tracker.door(ip).await);
    let encoder = EncoderProcess::start(config).await;
    let publisher = Publisher::ffmpeg(&rtmp_url(&encoder, "demo", encoder.token()));
    encoder.live("demo").await;
    (encoder, publisher)
}

/// Waits until the tracker would send a viewer to `ip`.
async fn sends_to(tracker: &Tracker, ip: &str) {
    let what = format!("viewers to be sent to {ip}");
    let wanted = format!("var streamer_demo = new Streams('http://{ip}:8080/');\n");
    until(SOON, &what, async || (tracker.stream_js("demo").await == wanted).then_some(())).await;
}

/// Waits until the component of the website has a mood and a reason that has `words` in it.
async fn says(encoder: &EncoderProcess, mood: &str, words: &str) {
    let what = format!("{COMPONENT} to be {mood}: {words}");
    until(Duration::from_secs(120), &what, async || {
        let (now, reason) = encoder.mood("demo", COMPONENT).await?;
        (now == mood && reason.contains(words)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_lists_encoders_and_sends_viewers_to_the_least_loaded() {
    let clock = FakeClock::at("2026-02-03T04:05:06Z".parse().unwrap());
    let tracker = Tracker::start(&["demo", "other"], SECRET, Arc::new(clock.clone())).await;
    assert!(tracker.stream_js("demo").await.contains("= null;"));
    let (one, _publisher) = live(&tracker, "192.0.2.1").await;
    sends_to(&tracker, "192.0.2.1").await;
    says(&one, "happy", "lists it as \"demo\"").await;
    let (two, _other) = live(&tracker, "192.0.2.2").await;
    until(SOON, "the second encoder to be listed", async || {
        tracker.last("demo", "192.0.2.2").map(drop)
    })
    .await;
    let active = "var streamers_active = new Array();\nstreamers_active.push(\"demo\");\n\
                  streamers_active.push(\"demo\");\n";
    assert_eq!(tracker.streams_js().await, active);

    // Whoever has viewers gets no more, until the other has more of them.
    let viewer = Viewer::open(&one, "demo", "webcast-high.flv").await;
    sends_to(&tracker, "192.0.2.2").await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        crowd.push(Viewer::open(&two, "demo", "webcast-high.flv").await);
    }
    sends_to(&tracker, "192.0.2.1").await;
    // It is the present that counts: the crowd has gone, and its bytes are history.
    drop(crowd);
    sends_to(&tracker, "192.0.2.2").await;
    until(SOON, "nothing to be sent by the second encoder", async || {
        let row = tracker.last("demo", "192.0.2.2")?.data;
        assert_eq!(row.len(), 26, "{row:?}");
        (row["overall_clients"] == 0 && row["overall_bitrate"] == 0).then_some(())
    })
    .await;
    viewer.gets_more(10_000).await;

    // One that has died is forgotten after a minute.
    two.process().kill().await;
    clock.advance(Duration::from_secs(61));
    sends_to(&tracker, "192.0.2.1").await;
    assert_eq!(tracker.answers().iter().filter(|answer| *answer != "OK\n").count(), 0);
}

/// A client that is none of ours.
fn foreign(program: &str, line: &str, encoder: &EncoderProcess, path: &str) -> Process {
    let url = encoder.url(path);
    let args = line.split_whitespace().map(|word| if word == "{}" { url.as_str() } else { word });
    let log = encoder.directory().join(format!("{program}.log"));
    Process::start(program, Launch::new(program).args(args), &log)
}

const FFMPEG: &str = "-nostdin -hide_banner -v error -re -i {} -c copy -f null -";

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_every_kind_are_counted_right() {
    let tracker = Tracker::start(&["demo"], SECRET, clock::system()).await;
    let mut config = EncoderConfig::light("demo");
    config.webm = true;
    config.ladder = Some(vec![("120p".into(), 120, "100k".into())]);
    let encoder =
        EncoderProcess::start(config.with_website(SITE, &tracker.door("192.0.2.1").await)).await;
    let _publisher = Publisher::ffmpeg(&rtmp_url(&encoder, "demo", encoder.token()));
    encoder.live("demo").await;
    let kinds = [
        ("webcast-high.flv", "flv_high", 2),
        ("webcast-low.flv", "flv_low", 1),
        ("webcast-high.webm", "webm_high", 1),
        ("webcast-low.webm", "webm_low", 2),
        ("audio-only.ogg", "ogg_high", 1),
        ("audio-only.aac", "aac_high", 2),
        ("audio-only.mp3", "mp3_high", 1),
    ];
    let mut held = Vec::new();
    for (mount, _, count) in kinds {
        for _ in 0..count {
            held.push(opened(&encoder, mount).await);
        }
    }
    // More than the 1 that is let pass: they must not be among the viewers.
    let mut tools = Vec::new();
    for _ in 0..2 {
        tools.push(Viewer::open(&encoder, "demo", "loop.raw").await);
    }
    // The original's addresses, at the root.
    let foreign_flv = foreign("ffmpeg", FFMPEG, &encoder, "/webcast-high.flv");
    let foreign_mp3 = foreign("curl", "-sS -o /dev/null {}", &encoder, "/audio-only.mp3");
    let mut players = Vec::new();
    for _ in 0..3 {
        let variant = hls::variants(&encoder, "demo").await.remove(0);
        players.push(Player::follow(&encoder, "demo", &variant.uri));
    }
    let foreign_hls = foreign("ffmpeg", FFMPEG, &encoder, "/demo/hls/index.m3u8");

    let progressive = 10 + 2;
    steadily(&tracker, &encoder, progressive + 4).await;
    let row = tracker.last("demo", "192.0.2.1").unwrap().data;
    for (_, field, count) in kinds {
        let count = count + i64::from(field == "flv_high") + i64::from(field == "mp3_high");
        assert_eq!(row[&format!("{field}_clients")], count, "{field}: {row:?}");
        assert!(row[&format!("{field}_bitrate")] > 0, "{field}: {row:?}");
        assert!(row[&format!("{field}_cbitrate")] > 0, "{field}: {row:?}");
    }
    assert_eq!(row["loop_clients"], 2, "{row:?}");
    assert!(row["loop_bitrate"] > 0 && row["overall_cbitrate"] > 0, "{row:?}");
    // HLS is in what is sent over all, and nowhere else.
    let formats: i64 = kinds.iter().map(|(_, field, _)| row[&format!("{field}_bitrate")]).sum();
    assert!(row["overall_bitrate"] > formats, "{row:?}");

    // Who leaves is not counted any more.
    held.truncate(5);
    players.truncate(1);
    drop(tools);
    foreign_flv.kill().await;
    foreign_mp3.kill().await;
    foreign_hls.kill().await;
    steadily(&tracker, &encoder, 5 + 1).await;
    assert_eq!(tracker.last("demo", "192.0.2.1").unwrap().data["loop_clients"], 0);
}

/// A viewer of a stream that may take a moment to begin.
async fn opened(encoder: &EncoderProcess, mount: &str) -> Viewer {
    let what = format!("{mount} to be live");
    until(SOON, &what, async || {
        let room = encoder.room("demo").await?;
        room["mounts"][mount]["live"].as_bool()?.then_some(())
    })
    .await;
    Viewer::open(encoder, "demo", mount).await
}

/// Waits until `viewers` are reported, and sees that the number stays, within 1, over some reports,
/// while somebody asks again and again whether the room is there. The API says the same.
async fn steadily(tracker: &Tracker, encoder: &EncoderProcess, viewers: i64) {
    let reported = || tracker.last("demo", "192.0.2.1").map(|row| row.data["overall_clients"]);
    until(SOON, &format!("{viewers} viewers"), async || (reported()? == viewers).then_some(()))
        .await;
    let enough = tracker.rows().len() + 8;
    until(SOON, "eight more reports", async || {
        let now = reported().unwrap();
        assert!((now - viewers).abs() <= 1, "{now} viewers were reported, of {viewers}");
        assert!(encoder.body("/demo/hls/index.m3u8").await.is_some());
        (tracker.rows().len() >= enough).then_some(())
    })
    .await;
    let told = encoder.room("demo").await.unwrap()["viewers"]["total"].as_i64().unwrap();
    assert!((told - viewers).abs() <= 1, "{told} viewers in the API, of {viewers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_website_that_refuses_or_fails_is_told_of_and_outlived() {
    let tracker = Tracker::start(&["demo"], "another secret", clock::system()).await;
    let url = tracker.door("192.0.2.1").await;
    let config = EncoderConfig::light("demo")
        .with_website(SITE, &url)
        .with_website("nobody", &format!("http://{}/", broker::free_port()));
    let encoder = EncoderProcess::start(config).await;
    says(&encoder, "hungry", "the room is not live").await;
    assert!(tracker.answers().is_empty(), "a room that is not live was announced");
    let _publisher = Publisher::ffmpeg(&rtmp_url(&encoder, "demo", encoder.token()));
    says(&encoder, "sad", "does not know the secret").await;
    tracker.secret(None);
    says(&encoder, "sad", "has no secret set").await;
    tracker.secret(Some(SECRET));
    says(&encoder, "happy", "lists it as \"demo\"").await;
    // Several websites at once: what one does is nothing to the other.
    let (mood, reason) = encoder.mood("demo", "register-nobody").await.unwrap();
    assert_eq!(mood, "sad", "{reason}");
    assert!(reason.contains("cannot be reached"), "{reason}");

    for (fault, words) in [
        (Fault::Error500, "answers 500"),
        (Fault::Html, "says \"<!DOCTYPE html>\""),
        (Fault::Silence, "does not answer within 10 s"),
        (Fault::Endless, "says \"xxxx"),
        (Fault::Redirect, "sends us on to \"/\""),
    ] {
        tracker.fault(Some(fault));
        let mood = if fault == Fault::Redirect { "sad" } else { "happy" };
        says(&encoder, mood, words).await;
        // While it still lists us a fault is no grief; here it never lasts that long.
        tracker.fault(None);
        says(&encoder, "happy", "lists it as \"demo\"").await;
    }
    let answers = tracker.answers();
    let first = answers.iter().position(|answer| answer == "OK\n").unwrap();
    assert!(answers[first..].iter().all(|answer| answer == "OK\n"), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_sent_is_shown_without_the_secret() {
    let tracker = Tracker::start(&["demo"], SECRET, clock::system()).await;
    let (encoder, _publisher) = live(&tracker, "192.0.2.1").await;
    let _viewer = Viewer::open(&encoder, "demo", "webcast-high.flv").await;
    until(SOON, "the viewer to be reported", async || {
        (tracker.last("demo", "192.0.2.1")?.data["flv_high_clients"] == 1).then_some(())
    })
    .await;
    let shown = said(encoder.command(&["register", "--dry-run"])).await;
    let body = shown.lines().find(|line| line.starts_with("secret=")).unwrap();
    let fields: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    assert_eq!(fields[0], ("secret".to_owned(), "*****".to_owned()));
    assert_eq!(fields[1], ("group".to_owned(), "demo".to_owned()));
    let data: serde_json::Value = serde_json::from_str(&fields[2].1).unwrap();
    assert_eq!(data["flv_high_clients"], 1);
    assert!(!shown.contains("hush"), "{shown}");
    let moods = said(encoder.command(&["register"])).await;
    assert_eq!(moods, "demo on site: happy: the website lists it as \"demo\"\n");

    encoder.process().kill().await;
    let shown = said(encoder.command(&["register", "--dry-run"])).await;
    assert!(shown.contains("No encoder runs here") && shown.contains("secret=*****"), "{shown}");
    let nobody = encoder.command(&["drain"]);
    assert_eq!(nobody.exit(SOON).await.code(), Some(69), "{}", nobody.log());
}

/// What a command said, which must have gone well.
async fn said(command: Process) -> String {
    assert!(command.exit(SOON).await.success(), "{}", command.log());
    command.log()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_is_drained_keeps_viewers_to_the_limit_and_loses_nothing() {
    let tracker = Tracker::start(&["demo"], SECRET, clock::system()).await;
    let config = EncoderConfig::light("demo").with_website(SITE, &tracker.door("192.0.2.1").await);
    let encoder = EncoderProcess::start(config).await;
    let collector = CollectorProcess::start(&CollectorConfig::flash(&encoder));
    encoder.live("demo").await;
    sends_to(&tracker, "192.0.2.1").await;
    let session = encoder.session("demo").await;
    let viewer = Viewer::open(&encoder, "demo", "webcast-high.flv").await;

    let drain = encoder.command(&["drain", "--limit", "15s"]);
    until(SOON, "the command to tell of the viewer", async || {
        drain.log().contains("draining: 1 viewer may stay").then_some(())
    })
    .await;
    let health = encoder.get("/healthz").await;
    assert_eq!(health.status(), 503);
    assert!(health.text().await.unwrap().contains("\"draining\""));
    let told = tracker.rows().len();
    viewer.gets_more(200_000).await;
    assert!(drain.exit(SOON).await.success(), "{}", drain.log());
    let last = drain.log().lines().last().unwrap().to_owned();
    assert_eq!(last, "stopped: the limit has come, and 1 viewer had to go");
    assert_eq!(viewer.ended().as_deref(), Some("the stream was ended"));
    assert!(encoder.process().exit(SOON).await.success(), "{}", encoder.process().tail());
    assert!(tracker.rows().len() <= told + 1, "the website was told of it after the order");

    // The collector sends to the next encoder what this one has not confirmed.
    let encoder = encoder.start_again().await;
    encoder.live("demo").await;
    assert_eq!(encoder.session("demo").await, session, "the session goes on");
    sends_to(&tracker, "192.0.2.1").await;
    assert!(collector.process().stop().await.success());
    until(SOON, "every segment from the first to the last to be in the archive", async || {
        let archive = encoder.archive("demo").await?;
        let sessions = archive["sessions"].as_array()?;
        let ours = sessions.iter().find(|it| it["session"] == session.as_str())?;
        let whole = ours["gaps"] == json!([]) && ours["partial"] == 0;
        (whole && ours["segments"].as_u64()? > 8).then_some(())
    })
    .await;
    let listing = encoder.json(&format!("/ingest/demo/{session}")).await.unwrap();
    assert_eq!(listing["segments"][0]["seq"], 0, "{listing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_viewers_stay_and_a_second_one_does_not() {
    let mut config = EncoderConfig::light("demo");
    config.drain = "10m".into();
    let mut encoder = EncoderProcess::start(config).await;
    for again in [false, true] {
        let publisher = Publisher::ffmpeg(&rtmp_url(&encoder, "demo", encoder.token()));
        encoder.live("demo").await;
        let viewer = Viewer::open(&encoder, "demo", "webcast-high.flv").await;
        encoder.process().signal(Signal::TERM);
        until(SOON, "the encoder to drain", async || {
            (encoder.get("/healthz").await.status() == 503).then_some(())
        })
        .await;
        viewer.gets_more(50_000).await;
        if again {
            encoder.process().signal(Signal::TERM);
        } else {
            drop(viewer);
        }
        let ended = encoder.process().exit(SOON).await;
        assert!(ended.success(), "{}", encoder.process().tail());
        drop(publisher);
        if !again {
            encoder = encoder.start_again().await;
        }
    }
}
