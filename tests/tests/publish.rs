//! Publishers that are not our collector reach our encoder; our collector reaches servers that
//! are not our encoder.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::path::Path;
use std::time::Duration;

use backrow_tests::hls::Player;
use backrow_tests::nginx::Nginx;
use backrow_tests::publish::{Publisher, rtmp_url};
use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, probe, tool, until,
};

/// ffmpeg, GStreamer's rtmp2sink, and its rtmpsink (librtmp, which OBS uses too) at once, each
/// into a room of its own.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_publishers_go_live() {
    let config = EncoderConfig::light("ffmpeg").and_room("rtmp2sink").and_room("rtmpsink");
    let encoder = EncoderProcess::start(config).await;
    let mut publishers = Vec::new();
    for room in &encoder.config().rooms {
        let url = rtmp_url(&encoder, &room.name, &room.token);
        publishers.push(match room.name.as_str() {
            "ffmpeg" => Publisher::ffmpeg(&url),
            sink => Publisher::gstreamer(sink, &url),
        });
    }
    let directory = tempfile::tempdir().unwrap();
    for (room, publisher) in encoder.config().rooms.iter().zip(&publishers) {
        let name = &room.name;
        encoder.live(name).await;
        let player = Player::follow(&encoder, name, "source/index.m3u8");
        player.reaches(2).await;
        assert!(publisher.process().is_running(), "{name} gave up");
        assert_eq!(player.errors(), Vec::<String>::new(), "{name}");
        let file = player.save(directory.path());
        assert_eq!(probe::summary(&file).await, ["audio aac", "video h264 320x180"], "{name}");
        probe::assert_monotonic(name, &probe::packets(&file).await, 0.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_publishes_rtmp_to_our_encoder() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let _collector = CollectorProcess::start(&CollectorConfig {
        url: rtmp_url(&encoder, "demo", encoder.token()),
        token: None,
        ..CollectorConfig::flash(&encoder)
    });
    encoder.live("demo").await;
    let player = Player::follow(&encoder, "demo", "source/index.m3u8");
    player.reaches(3).await;
    let directory = tempfile::tempdir().unwrap();
    let file = player.save(directory.path());
    let pictures = backrow_tests::measure::pictures(&file).await;
    pictures.assert_none_missing_none_twice("HLS of RTMP");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collector_publishes_rtmp_to_nginx() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let nginx = Nginx::start().await;
    let collector = CollectorProcess::start(&CollectorConfig {
        url: nginx.url("demo"),
        token: None,
        ..CollectorConfig::flash(&encoder)
    });
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("from-nginx.flv");
    until(Duration::from_secs(60), "six seconds of video out of nginx", async || {
        record(&nginx.url("demo"), &file).await;
        assert!(collector.process().is_running(), "the collector ended");
        let whole = file.metadata().is_ok_and(|file| file.len() > 10_000);
        (whole && probe::span(&probe::packets(&file).await, "video") > 5.0).then_some(())
    })
    .await;
    assert_eq!(probe::summary(&file).await, ["audio aac", "video h264 640x360"]);
    let pictures = backrow_tests::measure::pictures(&file).await;
    pictures.assert_none_missing_none_twice("nginx");
}

/// Plays six seconds of `url` into `file`; there may be nothing to play yet.
async fn record(url: &str, file: &Path) {
    let file = file.display().to_string();
    let line = "-nostdin -v error -y -rw_timeout 5000000 -i URL -c copy -t 6 -f flv FILE";
    let args: Vec<_> = line
        .split(' ')
        .map(|word| match word {
            "URL" => url,
            "FILE" => &file,
            word => word,
        })
        .collect();
    tool::output("ffmpeg", &args).await;
}
