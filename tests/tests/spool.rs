//! The collector's spool: what memory cannot keep, and what a power cut leaves behind, arrives.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use backrow_tests::mqtt::Subscriber;
use backrow_tests::{
    Broker, CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, measure, until,
};
use collector::spool::record;

const SOON: Duration = Duration::from_secs(90);
const HEALTH: &str = "backrow/box-under-test/health";
const UPLINK: &str = "backrow/box-under-test/component/uplink";
const SPOOL: &str = "backrow/box-under-test/component/spool";

/// `site.toml` with a spool.
fn with_spool(config: &CollectorConfig, spool: &Path) -> String {
    let uplink = format!("[uplink]\nspool = {spool:?}\nspool_min_free = \"1MiB\"\n");
    config.to_toml().replace("[uplink]\n", &uplink)
}

/// The whole segments in a session's directory, with their contents.
fn segments(session: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(session) else { return BTreeMap::new() };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "flv"))
        .filter_map(|path| {
            let bytes = std::fs::read(&path).ok()?;
            Some((path.file_name().unwrap().to_str().unwrap().to_owned(), bytes))
        })
        .collect()
}

/// Waits until the encoder has every segment that is in the spool, each once and byte for byte.
async fn all_arrived(encoder: &EncoderProcess, spool: &Path, session: &str) {
    let archive = encoder.directory().join("archive/demo").join(session);
    let ours = spool.join("demo").join(session);
    until(SOON, "the archive to be complete", async || {
        let (ours, theirs) = (segments(&ours), segments(&archive));
        (!ours.is_empty() && ours == theirs).then_some(())
    })
    .await;
    let archive = encoder.archive("demo").await.unwrap();
    let sessions = archive["sessions"].as_array().unwrap();
    let summary = sessions.iter().find(|it| it["session"] == session).unwrap();
    assert_eq!(summary["gaps"].as_array().unwrap().len(), 0, "{summary}");
    assert_eq!(summary["partial"], 0, "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_memory_loses_nothing() {
    let broker = Broker::start().await;
    let moods = Subscriber::start(&broker).await;
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let spool = tempfile::tempdir().unwrap();
    let mut config = CollectorConfig::flash(&encoder).with_broker(&broker);
    config.source = "kind = \"test\"".into();
    config.bitrate = "4M".into();
    config.memory = "1MiB".into();
    let collector = CollectorProcess::start_with(&with_spool(&config, spool.path()));
    moods.wait(SOON, UPLINK, |state| state["mood"] == "happy").await;
    moods.wait(SOON, SPOOL, |state| state["mood"] == "happy").await;
    let session = encoder.session("demo").await;
    encoder.process().kill().await;

    // Memory is full several times over, and what it cannot keep waits on disk.
    moods.wait(SOON, HEALTH, |value| value["spool_waiting"].as_u64() >= Some(5)).await;
    let encoder = encoder.start_again().await;
    encoder.live("demo").await;
    let health = moods
        .wait(SOON, HEALTH, |value| {
            value["spool_waiting"] == 0 && value["spool_unconfirmed"].as_u64() <= Some(2)
        })
        .await;
    assert_eq!(health["lost_segments"], 0, "{health}");
    assert!(health["spool_free_bytes"].as_u64() > Some(0), "{health}");
    assert_eq!(encoder.session("demo").await, session, "the session goes on");
    assert!(collector.process().stop().await.success());
    all_arrived(&encoder, spool.path(), &session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_during_an_outage_loses_nothing_that_was_on_disk() {
    let broker = Broker::start().await;
    let moods = Subscriber::start(&broker).await;
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let spool = tempfile::tempdir().unwrap();
    let mut config = CollectorConfig::flash(&encoder).with_broker(&broker);
    config.picture = (320, 180, 25);
    config.bitrate = "300k".into();
    let text = with_spool(&config, spool.path());
    let collector = CollectorProcess::start_with(&text);
    moods.wait(SOON, UPLINK, |state| state["mood"] == "happy").await;
    let old = encoder.session("demo").await;
    encoder.process().kill().await;
    moods.wait(SOON, HEALTH, |value| value["spool_unconfirmed"].as_u64() >= Some(4)).await;
    // In the middle of a segment.
    until(SOON, "a segment that is being written", async || {
        let mut entries = std::fs::read_dir(spool.path().join("demo").join(&old)).ok()?;
        entries
            .any(|it| {
                let it = it.unwrap();
                it.path().extension().is_some_and(|it| it == "part")
                    && it.metadata().is_ok_and(|it| it.len() > 20_000)
            })
            .then_some(())
    })
    .await;
    collector.process().kill().await;

    let encoder = encoder.start_again().await;
    let collector = CollectorProcess::start_with(&text);
    encoder.live("demo").await;
    let new = encoder.session("demo").await;
    assert!(new > old, "the session on air is {new}");
    all_arrived(&encoder, spool.path(), &old).await;
    assert_eq!(encoder.session("demo").await, new, "what was late took the room");
    let file = encoder.save_session("demo", &old).await;
    let (first, last) = measure::pictures(&file).await.assert_none_missing_none_twice("the old");
    assert!(first == 0 && last > 200, "pictures {first} to {last}");
    moods.wait(SOON, HEALTH, |value| value["spool_waiting"] == 0).await;
    // A third start would have nothing to send: it is on record.
    let session = spool.path().join("demo").join(&old);
    until(SOON, "every confirmation to be on record", async || {
        let record = record::read(&std::fs::read(session.join("confirmed")).ok()?);
        let known = |name: &str, bytes: usize| {
            let seq = protocol::ingest::parse_segment_file(name).unwrap();
            record.get(&seq) == Some(&(bytes as u64))
        };
        segments(&session).iter().all(|(name, it)| known(name, it.len())).then_some(())
    })
    .await;
    assert!(collector.process().stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_written_is_told_and_the_stream_goes_on() {
    let broker = Broker::start().await;
    let moods = Subscriber::start(&broker).await;
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut config = CollectorConfig::flash(&encoder).with_broker(&broker);
    config.picture = (320, 180, 25);
    let collector = CollectorProcess::start_with(&with_spool(&config, &file.join("spool")));
    let state = moods.wait(SOON, SPOOL, |state| state["mood"] == "sad").await;
    let reason = state["reason"].as_str().unwrap();
    assert!(reason.contains("segments are kept in memory only"), "{reason}");
    encoder.live("demo").await;
    moods.wait(SOON, UPLINK, |state| state["mood"] == "happy").await;
    assert!(collector.process().stop().await.success());
}
