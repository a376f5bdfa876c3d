//! Files that are not the usual: interlaced DV, sound without a picture.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::path::{Path, PathBuf};
use std::time::Duration;

use backrow_tests::{
    CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, measure, probe, tool, until,
};

/// Streams a file, and returns the recording of some seconds of it.
async fn recorded(encoder: &EncoderProcess, file: &Path, picture: (u32, u32, u32)) -> PathBuf {
    let mut config = CollectorConfig::flash(encoder).file(file);
    config.picture = picture;
    config.bitrate = "2M".into();
    let collector = CollectorProcess::start(&config);
    encoder.live("demo").await;
    let session = encoder.session("demo").await;
    let recording = async || {
        let file = encoder.save_session("demo", &session).await;
        (probe::span(&probe::packets(&file).await, "video") > 3.0).then_some(file)
    };
    let what = "three seconds in the archive";
    until(Duration::from_secs(60), what, recording).await;
    assert!(collector.process().stop().await.success());
    until(Duration::from_secs(60), what, recording).await
}

/// Pictures that ffmpeg's `idet` finds to be interlaced, and progressive.
async fn fields(file: &Path) -> (u64, u64) {
    let file = file.display().to_string();
    let args = ["-nostdin", "-i", &file, "-t", "3", "-vf", "idet", "-an", "-f", "null", "-"];
    let output = tool::output("ffmpeg", &args).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().rev().find(|line| line.contains("Multi frame detection:"));
    let line = line.unwrap_or_else(|| panic!("idet said nothing:\n{said}"));
    let count = |key: &str| -> u64 {
        let (_, rest) = line.split_once(key).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    (count("TFF:") + count("BFF:"), count("Progressive:"))
}

#[tokio::test(flavor = "multi_thread")]
async fn dv_comes_out_deinterlaced_with_square_pixels_and_in_sync() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let tape = encoder.directory().join("tape.dv");
    // Fields from pictures 20 ms apart, as a camera makes them: a picture of both is combed.
    let line = "-f lavfi -i testsrc2=size=720x576:rate=50,tinterlace=mode=interleave_bottom,setfield=bff \
                -f lavfi -i sine=frequency=440:sample_rate=48000 \
                -t 6 -target pal-dv -aspect 4:3 -flags +ildct+ilme -ac 2 {}";
    tool::ffmpeg(line, &[&tape]).await;
    let (interlaced, progressive) = fields(&tape).await;
    assert!(interlaced > 10 * progressive, "the tape: {interlaced} and {progressive}");

    let recording = recorded(&encoder, &tape, (768, 576, 25)).await;
    assert_eq!(probe::summary(&recording).await, ["audio aac", "video h264 768x576"]);
    let args = ["-v", "error", "-select_streams", "v", "-show_entries"];
    let file = recording.display().to_string();
    let args = args.into_iter().chain(["stream=sample_aspect_ratio", "-of", "csv=p=0", &file]);
    let shape = tool::run("ffprobe", &args.collect::<Vec<_>>()).await;
    let shape = String::from_utf8_lossy(&shape).trim().to_owned();
    assert!(["1:1", "N/A", "0:1"].contains(&shape.as_str()), "pixels are {shape}");
    let (interlaced, progressive) = fields(&recording).await;
    assert!(progressive > 10 * interlaced, "the recording: {interlaced} and {progressive}");
    let (_, change) = measure::pictures(&recording).await.liveliness();
    assert!(change > 0.5, "the picture hardly moves: {change}");
    assert!(measure::sound(&recording).await.peak() > 0.02, "the tone is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_without_a_picture_is_streamed_with_one() {
    let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
    let tape = encoder.directory().join("talk.m4a");
    let line = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=6 -c:a aac {}";
    tool::ffmpeg(line, &[&tape]).await;
    let recording = recorded(&encoder, &tape, (320, 180, 25)).await;
    assert_eq!(probe::summary(&recording).await, ["audio aac", "video h264 320x180"]);
    assert!(measure::sound(&recording).await.peak() > 0.02, "the tone is gone");
}
