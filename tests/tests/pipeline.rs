//! A collector's stream through an encoder, and every output looked at: one run, since all of
//! them are made at once anyway.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backrow_tests::hls::{self, Player};
use backrow_tests::viewer::Viewer;
use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, measure, probe, until,
};

/// The progressive mounts, and what is in them.
const MOUNTS: &[(&str, &[&str])] = &[
    ("webcast-high.webm", &["audio opus", "video vp8"]),
    ("webcast-low.webm", &["audio opus", "video vp8"]),
    ("webcast-high.flv", &["audio aac", "video h264"]),
    ("webcast-low.flv", &["audio aac", "video h264"]),
    ("loop.raw", &["audio aac", "video h264"]),
    ("audio-only.ogg", &["audio opus"]),
    ("audio-only.aac", &["audio aac"]),
    ("audio-only.mp3", &["audio mp3"]),
];

/// The HLS renditions that carry video, and their heights.
const VIDEO: &[(&str, u64)] = &[("source", 540), ("480p", 480), ("240p", 240)];

/// Segments of two seconds that are looked at.
const SEGMENTS: usize = 5;

/// Greatest distance between picture and sound, seconds.
const SYNC: f64 = 0.1;

#[tokio::test(flavor = "multi_thread")]
async fn every_output_is_whole_and_in_sync() {
    let encoder = EncoderProcess::start(EncoderConfig::room("demo")).await;
    let collector = CollectorProcess::start(&CollectorConfig {
        picture: (960, 540, 25),
        bitrate: "1500k".into(),
        ..CollectorConfig::flash(&encoder)
    });
    encoder.live("demo").await;

    let mut viewers = Vec::new();
    for (mount, content) in MOUNTS {
        viewers.push((Viewer::open(&encoder, "demo", mount).await, *content));
    }
    let uris = renditions(&encoder).await;
    let players: BTreeMap<_, _> = uris
        .iter()
        .map(|(name, uri)| (name.as_str(), Player::follow(&encoder, "demo", uri)))
        .collect();
    let session = encoder.session("demo").await;
    preview(&encoder).await;
    for player in players.values() {
        player.reaches(SEGMENTS).await;
    }
    for (viewer, _) in &viewers {
        assert_eq!(viewer.ended(), None, "a viewer was dropped");
    }
    let directory = tempfile::tempdir().unwrap();
    let progressive: Vec<(PathBuf, &[&str])> = viewers
        .into_iter()
        .map(|(viewer, content)| (viewer.save(directory.path()), content))
        .collect();
    let segments: BTreeMap<_, _> =
        players.iter().map(|(name, player)| (*name, player.segments())).collect();
    let files: BTreeMap<_, _> =
        players.iter().map(|(name, player)| (*name, player.save(directory.path()))).collect();
    for (name, player) in &players {
        assert_eq!(player.errors(), Vec::<String>::new(), "HLS {name}");
    }
    drop(players);
    assert!(collector.process().stop().await.success());

    for (file, content) in &progressive {
        check_progressive(file, content).await;
    }
    for (name, height) in VIDEO {
        check_video_rendition(name, *height, &files[name]).await;
    }
    check_audio_rendition(&files["audio"]).await;
    check_alignment(&segments, directory.path(), &encoder).await;

    // Frame by frame: what HLS gave, and what the archive has of the same run.
    let pictures = measure::pictures(&files["source"]).await;
    let (_, hls_last) = pictures.assert_none_missing_none_twice("HLS source");
    let archive = archived(&encoder, &session, hls_last).await;
    let packets = probe::packets(&archive).await;
    probe::assert_monotonic("archive", &packets, 0.2);
    measure::assert_in_sync("archive", &archive, 8, SYNC).await;
}

/// The renditions' names and playlists.
async fn renditions(encoder: &EncoderProcess) -> BTreeMap<String, String> {
    let variants = hls::variants(encoder, "demo").await;
    let found: BTreeMap<_, _> = variants
        .iter()
        .map(|variant| {
            let name = variant.uri.split('/').next().unwrap().to_owned();
            (name, variant.uri.clone())
        })
        .collect();
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["240p", "480p", "audio", "source"]);
    for variant in &variants {
        let says = |key: &str| variant.attributes.get(key).cloned().unwrap_or_default();
        let audio_only = variant.uri.starts_with("audio");
        assert!(says("CODECS").contains("mp4a.40.2"), "{variant:?}");
        assert_eq!(says("CODECS").contains("avc1."), !audio_only, "{variant:?}");
        assert!(says("BANDWIDTH").parse::<u64>().unwrap() > 0, "{variant:?}");
    }
    found
}

async fn preview(encoder: &EncoderProcess) {
    let what = "a preview picture";
    let jpeg =
        until(Duration::from_secs(60), what, async || encoder.body("/demo/preview.jpg").await)
            .await;
    assert!(jpeg.len() <= 20_000, "a preview of {} bytes", jpeg.len());
    let file = encoder.directory().join("preview.jpg");
    std::fs::write(&file, jpeg).unwrap();
    let summary = probe::summary(&file).await;
    assert!(summary[0].starts_with("video mjpeg "), "{summary:?}");
}

async fn check_progressive(file: &Path, content: &[&str]) {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let found = probe::summary(file).await;
    assert_eq!(found.len(), content.len(), "{name}: {found:?}");
    for (found, wanted) in found.iter().zip(content) {
        assert!(found.starts_with(wanted), "{name}: {found:?}");
    }
    let packets = probe::packets(file).await;
    probe::assert_monotonic(&name, &packets, 0.2);
    for kind in content {
        let kind = kind.split(' ').next().unwrap();
        let span = probe::span(&packets, kind);
        assert!(span > 5.0, "{name}: only {span:.1} s of {kind}");
    }
    if content.len() == 2 {
        measure::assert_in_sync(&name, file, 4, SYNC).await;
    }
}

async fn check_video_rendition(name: &str, height: u64, file: &Path) {
    let streams = probe::streams(file).await;
    let video = streams.iter().find(|stream| stream.kind == "video");
    let video = video.unwrap_or_else(|| panic!("HLS {name} has no video: {streams:?}"));
    assert_eq!((video.codec.as_str(), video.size.1), ("h264", height), "{name}");
    let audio = streams.iter().find(|stream| stream.kind == "audio");
    let audio = audio.unwrap_or_else(|| panic!("HLS {name} has no audio: {streams:?}"));
    assert_eq!(audio.codec, "aac", "{name}");
    let packets = probe::packets(file).await;
    probe::assert_monotonic(name, &packets, 0.06);
    let pictures = measure::pictures(file).await;
    pictures.assert_none_missing_none_twice(name);
    measure::assert_in_sync(name, file, 8, SYNC).await;
}

async fn check_audio_rendition(file: &Path) {
    assert_eq!(probe::summary(file).await, ["audio aac"]);
    probe::assert_monotonic("HLS audio", &probe::packets(file).await, 0.06);
    let sound = measure::sound(file).await;
    assert!(sound.beeps().len() >= 8, "beeps at {:?}", sound.beeps());
}

/// Segments of one number begin and end together in all renditions, so that a player can
/// change between them anywhere.
async fn check_alignment(
    segments: &BTreeMap<&str, Vec<hls::Segment>>,
    directory: &Path,
    encoder: &EncoderProcess,
) {
    for source in &segments["source"] {
        let start = first_video(encoder, "source", source, directory).await;
        for (name, others) in segments {
            let Some(other) = others.iter().find(|it| it.sequence == source.sequence) else {
                continue;
            };
            let difference = (other.duration - source.duration).abs();
            let number = source.sequence;
            assert!(difference < 0.05, "{name}: segment {number} is {difference} s off");
            let (Some(one), Some(another)) = (source.time, other.time) else {
                panic!("{name}: segment {number} has no EXT-X-PROGRAM-DATE-TIME");
            };
            assert!(one.duration_since(another).abs().as_millis() <= 50, "{name} {number}");
            if *name != "audio" {
                let other = first_video(encoder, name, other, directory).await;
                assert!((start - other).abs() < 0.002, "{name} {number}: {start} {other}");
            }
        }
    }
    let numbers = |name: &str| segments[name].iter().map(|it| it.sequence).max().unwrap();
    for name in segments.keys() {
        let apart = numbers(name).abs_diff(numbers("source"));
        assert!(apart <= 2, "{name} is {apart} segments away from the source");
    }
}

/// Presentation time of a segment's first picture, which must be a key frame.
async fn first_video(
    encoder: &EncoderProcess,
    name: &str,
    segment: &hls::Segment,
    directory: &Path,
) -> f64 {
    let init = format!("/demo/hls/{name}/{}", segment.init);
    let mut file = encoder.body(&init).await.expect("the init section").to_vec();
    file.extend_from_slice(&segment.body);
    let path = directory.join("one-segment.mp4");
    std::fs::write(&path, file).unwrap();
    let packets = probe::packets(&path).await;
    let first = probe::of_kind(&packets, "video")[0];
    assert!(first.key, "{name} {}: does not begin with a key frame", segment.sequence);
    first.pts
}

/// The whole session from the archive, once it holds picture `last`.
async fn archived(encoder: &EncoderProcess, session: &str, last: u32) -> PathBuf {
    until(Duration::from_secs(60), "the archive to be complete", async || {
        let file = encoder.save_session("demo", session).await;
        let pictures = measure::pictures(&file).await;
        let (first, end) = pictures.assert_none_missing_none_twice("archive");
        assert_eq!(first, 0, "the archive begins with the first picture");
        (end >= last).then_some(file)
    })
    .await
}
