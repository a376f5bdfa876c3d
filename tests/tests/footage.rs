//! Real footage goes in, and comes out recognisable.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::path::Path;
use std::time::Duration;

use backrow_tests::hls::Player;
use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, footage, probe, tool, until,
};

/// Structural similarity below which a picture is not the same picture any more. Frames of
/// this clip one second apart are at 0.5 to 0.6.
const ALIKE: f64 = 0.85;

#[tokio::test(flavor = "multi_thread")]
async fn footage_is_recognisable_in_the_recording_and_in_hls() {
    let clip = footage::clip("bikes.mp4");
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let mut config = CollectorConfig::flash(&encoder).file(&clip);
    config.picture = (640, 272, 25);
    config.bitrate = "1500k".into();
    let collector = CollectorProcess::start(&config);
    encoder.live("demo").await;
    let player = Player::follow(&encoder, "demo", "source/index.m3u8");
    player.reaches(4).await;
    let session = encoder.session("demo").await;
    assert!(collector.process().stop().await.success());

    let directory = tempfile::tempdir().unwrap();
    let hls = player.save(directory.path());
    let archive = until(Duration::from_secs(60), "six seconds in the archive", async || {
        let file = encoder.save_session("demo", &session).await;
        (probe::span(&probe::packets(&file).await, "video") > 6.0).then_some(file)
    })
    .await;
    // The clip has no sound: the stream has silence, so that every player is happy.
    assert_eq!(probe::summary(&archive).await, ["audio aac", "video h264 640x272"]);
    // The recording begins with the clip's first picture.
    let likeness = similarity(&archive, &clip, "").await;
    assert!(likeness > ALIKE, "the recording is at SSIM {likeness} of the footage");
    // A player joined later: some picture of the clip is what it first saw.
    let likeness = best_similarity(&hls, &clip, directory.path()).await;
    assert!(likeness > ALIKE, "HLS is at SSIM {likeness} of the footage at best");
    // The judge can say no: the same footage two seconds away is something else.
    let other = similarity(&archive, &clip, "-ss 2").await;
    assert!(other < ALIKE, "SSIM {other} for pictures two seconds apart");
}

/// Mean structural similarity of the first second of two files, the second one begun at `seek`.
async fn similarity(one: &Path, other: &Path, seek: &str) -> f64 {
    let filter = "[0:v]fps=25,setpts=N/25/TB,trim=end_frame=25[a];\
                  [1:v]fps=25,setpts=N/25/TB,trim=end_frame=25[b];[a][b]ssim=stats_file=-[c]";
    let line = format!("-i {{}} {seek} -i {{}} -filter_complex {filter} -map [c] -f null -");
    let frames = tool::ffmpeg(&line, &[one, other]).await;
    mean_ssim(&String::from_utf8_lossy(&frames))
}

/// The best similarity of the first picture of `stream` to any picture of `clip`.
async fn best_similarity(stream: &Path, clip: &Path, directory: &Path) -> f64 {
    let still = directory.join("first.png");
    tool::ffmpeg("-i {} -frames:v 1 {}", &[stream, &still]).await;
    let line = "-i {} -loop 1 -i {} -filter_complex \
                [1:v]format=yuv420p[still];[0:v][still]ssim=stats_file=-:shortest=1[c] \
                -map [c] -f null -";
    let frames = tool::ffmpeg(line, &[clip, &still]).await;
    all_ssim(&String::from_utf8_lossy(&frames)).into_iter().fold(0.0, f64::max)
}

/// The `All:` column of ffmpeg's `ssim` filter, one line a picture.
fn all_ssim(stats: &str) -> Vec<f64> {
    let values: Vec<f64> = stats
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("All:")?.parse().ok())
        .collect();
    assert!(!values.is_empty(), "no similarity in:\n{stats}");
    values
}

fn mean_ssim(stats: &str) -> f64 {
    let values = all_ssim(stats);
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap())
}
