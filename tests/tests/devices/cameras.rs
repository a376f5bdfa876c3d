//! A make-believe camera behind the real v4l2 source: its pictures, and its faults.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use crate::bench::Bench;

/// What the worker writes to stderr until it ends, and the start of its stream.
fn capture(bench: &Bench, more: &[&str], bytes: usize) -> (Vec<Value>, Vec<u8>, Option<i32>) {
    let args =
        [&["capture", "--source=v4l2:/dev/video0", "--width=320", "--height=180"], more].concat();
    let mut command = bench.collector(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stream = Vec::new();
    (&mut stdout).take(bytes as u64).read_to_end(&mut stream).expect("readable");
    // The reader goes: a worker that has not failed by itself ends now.
    drop(stdout);
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8(output.stderr).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (lines, stream, output.status.code())
}

fn bench_with_camera(fault: Option<&str>) -> Bench {
    let mut bench = Bench::start();
    bench.camera("/dev/video0", fault);
    bench
}

#[test]
fn a_camera_is_captured() {
    let bench = bench_with_camera(None);
    let (lines, stream, code) = capture(&bench, &["--bitrate=200k"], 30_000);
    assert_eq!(code, Some(0), "{lines:?}");
    let ready = lines.iter().find(|line| line["event"] == "ready").expect("ready");
    assert_eq!(ready["source"], "/dev/video0 (YUY2 320×180 at 25/s, no sound)");
    assert!(stream.starts_with(b"FLV"));
}

#[test]
fn a_busy_camera_is_named() {
    let bench = bench_with_camera(Some("busy"));
    let (lines, stream, code) = capture(&bench, &[], 1);
    assert_eq!((code, stream.len()), (Some(1), 0));
    let last = lines.last().expect("an error");
    assert_eq!(last["code"], "device_busy");
    assert_eq!(
        last["message"],
        "/dev/video0 is in use by another program: close that program (`fuser -v /dev/video0` \
         names it)."
    );
}

#[test]
fn a_camera_that_goes_in_mid_stream_is_named() {
    let bench = bench_with_camera(Some("gone"));
    let (lines, stream, code) = capture(&bench, &[], usize::MAX);
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(stream.starts_with(b"FLV"), "it had been captured before");
    let last = lines.last().expect("an error");
    assert_eq!(last["code"], "device_gone");
    assert_eq!(
        last["message"],
        "/dev/video0 has gone while it was being read: check its cable and power."
    );
}
