//! Publishers and viewers that misbehave cost the others nothing.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::time::Duration;

use backrow_tests::hls::Player;
use backrow_tests::publish::{Publisher, flv_file, rtmp_url};
use backrow_tests::viewer::Viewer;
use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, measure, resources, until,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_publisher_is_refused_without_disturbing_the_first() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let _collector = CollectorProcess::start(&CollectorConfig::flash(&encoder));
    encoder.live("demo").await;
    let player = Player::follow(&encoder, "demo", "source/index.m3u8");
    player.reaches(1).await;
    let session = encoder.session("demo").await;

    let file = encoder.directory().join("second.flv");
    flv_file(&file, 2).await;
    let path = "/ingest/demo/01JZZZZZZZZZZZZZZZZZZZZZZZ/0000000000.flv";
    let answer = encoder
        .client()
        .put(encoder.url(path))
        .bearer_auth(encoder.token())
        .body(std::fs::read(&file).unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 409);
    let problem = answer.text().await.unwrap();
    assert!(problem.contains("demo"), "{problem}");
    let rtmp = Publisher::ffmpeg(&rtmp_url(&encoder, "demo", encoder.token()));
    assert!(!rtmp.process().exit(Duration::from_secs(60)).await.success());

    player.reaches(4).await;
    assert_eq!(encoder.session("demo").await, session);
    assert_eq!(player.errors(), Vec::<String>::new());
    let directory = tempfile::tempdir().unwrap();
    let file = player.save(directory.path());
    measure::pictures(&file).await.assert_none_missing_none_twice("the first publisher");
}

/// Clients that never read.
const STALLED: u64 = 20;
/// What they may cost in all, beside what the encoder needs anyway.
const ALLOWANCE: u64 = 48 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stop_reading_are_dropped_at_bounded_cost() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let _publisher = Publisher::heavy(&rtmp_url(&encoder, "demo", encoder.token()));
    encoder.live("demo").await;
    let viewer = Viewer::open(&encoder, "demo", "webcast-high.flv").await;
    viewer.gets_more(2_000_000).await;
    let before = resources::resident(encoder.process().pid());

    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(never_read(&encoder).await);
    }
    let clients = async || {
        let room = encoder.room("demo").await?;
        room["mounts"]["webcast-high.flv"]["clients"].as_u64()
    };
    until(Duration::from_secs(60), "all clients to be counted", async || {
        (clients().await? == STALLED + 1).then_some(())
    })
    .await;
    until(Duration::from_secs(120), "only the reading client to be left", async || {
        (clients().await? == 1).then_some(())
    })
    .await;
    let after = resources::peak_resident(encoder.process().pid());
    let cost = after.saturating_sub(before);
    assert!(cost < ALLOWANCE, "{STALLED} stalled clients cost {cost} bytes");
    viewer.gets_more(2_000_000).await;
    drop(stalled);
}

/// A client with a small window that asks, and never reads the answer.
async fn never_read(encoder: &EncoderProcess) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(encoder.http()).await.unwrap();
    let request = "GET /demo/webcast-high.flv HTTP/1.1\r\nhost: encoder\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}
