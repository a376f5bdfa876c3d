//! A make-believe camera behind the real v4l2 source: its pictures, and its faults.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::bench::Bench;

/// A run of the worker: its lines, the pictures of its stream, and its exit code.
struct Run {
    lines: Vec<Value>,
    /// Time in ms, and whether it is a key frame.
    pictures: Vec<(u32, bool)>,
    code: Option<i32>,
}

impl Run {
    fn last_error(&self) -> (&str, &str) {
        let last = self.lines.last().expect("a line");
        (last["code"].as_str().expect("a code"), last["message"].as_str().expect("a sentence"))
    }

    fn keyframes(&self) -> Vec<u32> {
        self.pictures.iter().filter(|(_, keyframe)| *keyframe).map(|(ms, _)| *ms).collect()
    }

    fn source(&self) -> &Value {
        let ready = self.lines.iter().find(|line| line["event"] == "ready").expect("ready");
        &ready["source"]
    }
}

/// Captures until the picture has reached this time, in ms, or the worker ends by itself.
fn capture(bench: &Bench, more: &[&str], until_ms: u32) -> Run {
    let args =
        [&["capture", "--source=v4l2:/dev/video0", "--width=320", "--height=180"], more].concat();
    let mut command = bench.collector(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut parser = flv::Parser::new(flv::Limits::default());
    let mut pictures = Vec::new();
    let mut buffer = vec![0; 65536];
    while pictures.last().is_none_or(|(ms, _)| *ms < until_ms) {
        let read = stdout.read(&mut buffer).expect("readable");
        if read == 0 {
            break;
        }
        parser.push(&buffer[..read]);
        while let Some(tag) = parser.next_tag().expect("sound FLV") {
            if tag.kind == flv::TagKind::Video && !tag.is_sequence_header() {
                pictures.push((tag.timestamp, tag.is_keyframe()));
            }
        }
    }
    // The reader goes: a worker that has not failed by itself ends now.
    drop(stdout);
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8(output.stderr).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    Run { lines, pictures, code: output.status.code() }
}

fn bench_with_camera(fault: Option<&str>) -> Bench {
    let mut bench = Bench::start();
    bench.camera("/dev/video0", fault, None);
    bench
}

#[test]
fn a_camera_is_captured() {
    let run = capture(&bench_with_camera(None), &["--bitrate=200k"], 2_500);
    assert_eq!(run.code, Some(0), "{:?}", run.lines);
    assert_eq!(run.source(), "/dev/video0 (YUY2 320×180 at 25/s, no sound)");
    assert!(run.pictures.len() > 60);
}

#[test]
fn a_busy_camera_is_named() {
    let run = capture(&bench_with_camera(Some("busy")), &[], u32::MAX);
    assert_eq!((run.code, run.pictures.len()), (Some(1), 0));
    assert_eq!(
        run.last_error(),
        (
            "device_busy",
            "/dev/video0 is in use by another program: close that program (`fuser -v /dev/video0` \
             names it)."
        )
    );
}

#[test]
fn a_camera_that_goes_in_mid_stream_is_named() {
    let run = capture(&bench_with_camera(Some("gone")), &[], u32::MAX);
    assert_eq!(run.code, Some(1), "{:?}", run.lines);
    assert!(!run.pictures.is_empty(), "it had been captured before");
    assert_eq!(
        run.last_error(),
        ("device_gone", "/dev/video0 has gone while it was being read: check its cable and power.")
    );
}

/// A camera whose own H.264 has a key frame every `gop` frames.
fn bench_with_h264(directory: &std::path::Path, gop: u32) -> Bench {
    let film = directory.join("camera.h264");
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=12"])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-b:v",
            "300k",
            "-maxrate",
            "300k",
        ])
        .args(["-bufsize", "300k"])
        .args(["-x264-params", &format!("aud=1:keyint={gop}:min-keyint={gop}:scenecut=0")])
        .arg(&film)
        .status()
        .expect("ffmpeg is installed");
    assert!(made.success());
    let mut bench = Bench::start();
    bench.camera("/dev/video0", None, Some(&film));
    bench
}

#[test]
fn a_camera_s_own_h264_is_sent_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let bench = bench_with_h264(directory.path(), 25);
    let run = capture(&bench, &["--bitrate=400k"], 4_500);
    assert_eq!(run.code, Some(0), "{:?}", run.lines);
    assert_eq!(run.source(), "/dev/video0 (H.264 320×180 at 25/s, no sound)");
    // Its own key frames, every 25 frames: nothing was encoded here.
    let places = |pair: &[usize]| pair[1] - pair[0];
    let keyframes: Vec<usize> = (0..run.pictures.len()).filter(|&n| run.pictures[n].1).collect();
    assert!(keyframes.len() >= 4, "{keyframes:?}");
    assert!(keyframes.windows(2).all(|pair| places(pair) == 25), "{keyframes:?}");
    let health = run.lines.iter().rfind(|line| line["event"] == "health").expect("health");
    assert_eq!(health["black"], Value::Null, "what is not decoded is not judged");
}

#[test]
fn h264_without_key_frames_gives_way_to_another_format() {
    let directory = tempfile::tempdir().expect("a directory");
    let bench = bench_with_h264(directory.path(), 250);
    let run = capture(&bench, &["--bitrate=400k"], 7_000);
    assert_eq!(run.code, Some(0), "{:?}", run.lines);
    let logs: Vec<_> = run.lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(
        logs,
        [
            "/dev/video0: H.264 320×180 at 25/s, for the device's own H.264 needs no encoding here.",
            "The device's own H.264 is not used: it has had no key frame for 4 s.",
            "/dev/video0: YUY2 320×180 at 25/s, for the whole size and rate at the least CPU cost.",
        ]
    );
    // One stream: its time goes on, and key frames come from now on.
    assert!(run.pictures.is_sorted_by_key(|(ms, _)| *ms));
    let keyframes = run.keyframes();
    assert!(keyframes.iter().filter(|&&ms| ms > 4_000).count() >= 2, "{keyframes:?}");
}
