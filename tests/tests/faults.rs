//! Workers and daemons that die or hang: who watches and who publishes stays, and what was said
//! in the room is all there afterwards.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::time::Duration;

use backrow_tests::hls::Player;
use backrow_tests::mqtt::Subscriber;
use backrow_tests::publish::Publisher;
use backrow_tests::viewer::Viewer;
use backrow_tests::{
    Broker, CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, broker, measure,
    probe, until,
};
use rustix::process::{Pid, Signal, kill_process};

const SOON: Duration = Duration::from_secs(60);
const CAPTURE: &str = "backrow/box-under-test/component/capture";
const UPLINK: &str = "backrow/box-under-test/component/uplink";
const TRANSCODE: &str = "backrow/enc-under-test/component/demo.transcode";

/// A room that is live, and a broker to see its moods by.
struct Stage {
    broker: Broker,
    moods: Subscriber,
    encoder: EncoderProcess,
    collector: CollectorProcess,
}

impl Stage {
    async fn set(source: Option<&str>) -> Self {
        let broker = Broker::start().await;
        let moods = Subscriber::start(&broker).await;
        let mut config = EncoderConfig::light("demo").with_broker(&broker);
        config.webm = true;
        let encoder = EncoderProcess::start(config).await;
        let mut config = CollectorConfig::flash(&encoder).with_broker(&broker);
        config.picture = (320, 180, 25);
        config.bitrate = "300k".into();
        if let Some(source) = source {
            config.source = source.into();
        }
        let collector = CollectorProcess::start(&config);
        encoder.live("demo").await;
        Self { broker, moods, encoder, collector }
    }

    async fn viewers(&self, mounts: &[&str]) -> Vec<Viewer> {
        let mut viewers = Vec::new();
        for mount in mounts {
            viewers.push(Viewer::open(&self.encoder, "demo", mount).await);
        }
        viewers
    }
}

/// Kills or stops a worker, and waits until another has taken its place and says it is happy.
async fn replaced(
    process: &backrow_tests::Process,
    word: &str,
    fault: Signal,
    moods: &Subscriber,
    topic: &str,
) {
    let restarts = moods.json(topic).unwrap()["restarts"].as_u64().unwrap();
    let old = process.worker(word, None).await;
    kill_process(old, fault).unwrap();
    process.worker(word, Some(old)).await;
    moods
        .wait(SOON, topic, |state| {
            state["mood"] == "happy" && state["restarts"].as_u64() > Some(restarts)
        })
        .await;
    until(SOON, "the old worker to be gone", async || (!exists(old)).then_some(())).await;
}

fn exists(pid: Pid) -> bool {
    std::path::Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_worker_that_dies_or_hangs_is_replaced_and_viewers_stay() {
    let stage = Stage::set(None).await;
    let mounts = ["webcast-high.flv", "webcast-low.flv", "webcast-low.webm", "audio-only.ogg"];
    let viewers = stage.viewers(&mounts).await;
    let session = stage.encoder.session("demo").await;
    for fault in [Signal::KILL, Signal::STOP] {
        let process = stage.collector.process();
        replaced(process, "capture", fault, &stage.moods, CAPTURE).await;
        for viewer in &viewers {
            viewer.gets_more(20_000).await;
        }
        assert_eq!(stage.encoder.session("demo").await, session, "the session was broken");
    }
    // One timeline: what was missed is a step forward, and nothing goes back.
    let directory = tempfile::tempdir().unwrap();
    let file = viewers[0].save(directory.path());
    let packets = probe::packets(&file).await;
    probe::assert_monotonic("webcast-high.flv", &packets, 30.0);
    // The transcoder was not in it, and was left alone.
    let transcode = stage.moods.json(TRANSCODE).unwrap();
    assert_eq!(transcode["restarts"], 0, "{transcode}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcode_worker_that_dies_or_hangs_is_replaced_and_viewers_stay() {
    let stage = Stage::set(None).await;
    let mounts = ["webcast-low.flv", "webcast-low.webm", "audio-only.ogg", "audio-only.mp3"];
    let viewers = stage.viewers(&mounts).await;
    let untouched = stage.viewers(&["webcast-high.flv", "audio-only.aac"]).await;
    let source = Player::follow(&stage.encoder, "demo", "source/index.m3u8");
    let session = stage.encoder.session("demo").await;
    for fault in [Signal::KILL, Signal::STOP] {
        let process = stage.encoder.process();
        replaced(process, "transcode", fault, &stage.moods, TRANSCODE).await;
        for viewer in viewers.iter().chain(&untouched) {
            viewer.gets_more(20_000).await;
        }
        let player = Player::follow(&stage.encoder, "demo", "120p/index.m3u8");
        until(SOON, "the 120p rendition to go on", async || {
            let segments = player.segments();
            let newest = segments.iter().rev().take(2);
            (segments.len() >= 2 && newest.clone().all(|it| !it.gap)).then_some(())
        })
        .await;
        assert_eq!(stage.encoder.session("demo").await, session, "the session was broken");
    }
    // What passes the encoder untouched never knew.
    let directory = tempfile::tempdir().unwrap();
    for viewer in &untouched {
        let file = viewer.save(directory.path());
        probe::assert_monotonic("passed through", &probe::packets(&file).await, 0.3);
    }
    assert_eq!(source.errors(), Vec::<String>::new());
    let file = source.save(directory.path());
    measure::pictures(&file).await.assert_none_missing_none_twice("HLS source");
    let capture = stage.moods.json(CAPTURE).unwrap();
    assert_eq!(capture["restarts"], 0, "{capture}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_killed_and_restarted_gets_what_it_missed() {
    let Stage { broker: _broker, moods, encoder, collector } = Stage::set(None).await;
    let session = encoder.session("demo").await;
    moods.wait(SOON, UPLINK, |state| state["mood"] == "happy").await;
    encoder.process().kill().await;
    moods.wait(SOON, UPLINK, |state| state["mood"] != "happy").await;
    // While it is away, some segments are made and wait.
    let health = "backrow/box-under-test/health";
    let waiting = |value: &serde_json::Value| value["backlog_segments"].as_u64();
    moods.wait(SOON, health, |value| waiting(value) >= Some(4)).await;

    let encoder = encoder.start_again().await;
    encoder.live("demo").await;
    moods.wait(SOON, UPLINK, |state| state["mood"] == "happy").await;
    assert_eq!(encoder.session("demo").await, session, "the session goes on");
    let health = moods.wait(SOON, health, |value| waiting(value) <= Some(2)).await;
    assert_eq!(health["lost_segments"], 0, "{health}");
    assert!(collector.process().stop().await.success());
    until(SOON, "an archive without a gap", async || {
        let file = encoder.save_session("demo", &session).await;
        let count = measure::pictures(&file).await.count();
        let (first, last) = count.ok()?;
        (first == 0 && last > 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_leaves_a_slate_and_is_taken_back() {
    let address = broker::free_port();
    let mixer = Publisher::mixer(address);
    let source = format!("kind = \"mixer\"\naddress = \"{address}\"");
    let stage = Stage::set(Some(&source)).await;
    let viewers = stage.viewers(&["webcast-high.flv"]).await;
    let session = stage.encoder.session("demo").await;
    stage.moods.wait(SOON, CAPTURE, |state| state["mood"] == "happy").await;
    mixer.process().kill().await;
    let state = stage.moods.wait(SOON, CAPTURE, |state| state["mood"] != "happy").await;
    let reason = state["reason"].as_str().unwrap();
    assert!(reason.contains(&address.to_string()), "the reason names no address: {reason}");
    viewers[0].gets_more(10_000).await;

    let _mixer = Publisher::mixer(address);
    stage.moods.wait(SOON, CAPTURE, |state| state["mood"] == "happy").await;
    viewers[0].gets_more(100_000).await;
    assert_eq!(stage.encoder.session("demo").await, session, "the session was broken");
    let directory = tempfile::tempdir().unwrap();
    let file = viewers[0].save(directory.path());
    probe::assert_monotonic("slate", &probe::packets(&file).await, 15.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_cannot_keep_is_counted_and_told() {
    let broker = Broker::start().await;
    let moods = Subscriber::start(&broker).await;
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let mut config = CollectorConfig::flash(&encoder).with_broker(&broker);
    config.source = "kind = \"test\"".into();
    config.bitrate = "4M".into();
    config.memory = "1MiB".into();
    let _collector = CollectorProcess::start(&config);
    moods.wait(SOON, UPLINK, |state| state["mood"] == "happy").await;
    let session = encoder.session("demo").await;
    encoder.process().kill().await;

    let health = "backrow/box-under-test/health";
    moods.wait(SOON, health, |value| value["lost_segments"].as_u64() >= Some(2)).await;
    let event = "backrow/box-under-test/event";
    let told = moods.seen(SOON, event, |event| event["kind"] == "loss").await;
    assert_eq!(told["component"], "uplink", "{told}");

    // Live goes on as before, and the recording says where it has a hole.
    let encoder = encoder.start_again().await;
    encoder.live("demo").await;
    until(SOON, "the archive to tell of the gap", async || {
        let archive = encoder.archive("demo").await?;
        let sessions = archive["sessions"].as_array()?;
        let ours = sessions.iter().find(|it| it["session"] == session.as_str())?;
        (!ours["gaps"].as_array()?.is_empty()).then_some(())
    })
    .await;
}
