//! Each fault gives one plain sentence with what to do, and exit code 1.

use crate::harness::*;

#[test]
fn faults_of_devices() {
    for (source, code, message) in [
        (
            "v4l2:/dev/v4l/by-path/none",
            "no_such_device",
            "There is no video device at /dev/v4l/by-path/none: plug it in, or see `collector \
             devices` for what is there.",
        ),
        (
            "v4l2:/dev/null",
            "not_a_capture_device",
            "/dev/null is not a video capture device: see `collector devices` for those that are.",
        ),
        (
            "dv:0x080046010203abcd",
            "no_dv_device",
            "There is no FireWire video device with GUID 0x080046010203abcd: check its cable and \
             power, and see `collector devices`.",
        ),
    ] {
        assert_eq!(
            failure(&[&format!("--source={source}")]),
            (code.to_owned(), message.to_owned())
        );
    }
}

#[test]
fn faults_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("empty.mp4"), b"").unwrap();
    std::fs::write(path("notes.txt"), "These are notes, and no film.\n".repeat(100)).unwrap();
    // Subtitles alone are media without picture or sound.
    std::fs::write(path("words.srt"), "1\n00:00:00,000 --> 00:00:02,000\nHello\n\n").unwrap();
    ffmpeg(&["-i", &path("words.srt"), "-c:s", "srt", &path("words.mkv")]);
    ffmpeg(&["-f", "lavfi", "-i", "testsrc2=d=2:s=320x180", "-c:v", "libx264", &path("whole.mp4")]);
    let whole = std::fs::read(path("whole.mp4")).unwrap();
    // The index of an MP4 is at its end.
    std::fs::write(path("cut.mp4"), &whole[..whole.len() / 2]).unwrap();
    let played = |name: &str, reason: &str| {
        format!(
            "{} cannot be played ({reason}): check it with `ffprobe`, or use another file.",
            path(name)
        )
    };
    for (name, code, message) in [
        (
            "none.mp4",
            "no_such_file",
            format!("There is no file {}: check the name.", path("none.mp4")),
        ),
        ("empty.mp4", "unreadable_file", played("empty.mp4", "it is empty")),
        ("notes.txt", "unreadable_file", played("notes.txt", "it is not a video or sound file")),
        ("cut.mp4", "unreadable_file", played("cut.mp4", "it is damaged")),
        (
            "words.mkv",
            "empty_file",
            format!("{} has neither picture nor sound: use another file.", path("words.mkv")),
        ),
    ] {
        let (got_code, got_message) = failure(&[&format!("--source=file:{}", path(name))]);
        assert_eq!((got_code.as_str(), got_message.as_str()), (code, message.as_str()));
    }
}

#[test]
fn wrong_options_are_refused_with_what_is_right() {
    for (option, words) in [
        ("--source=camera", "use v4l2:PATH, dv[:GUID], mixer:HOST:PORT, file:PATH, test or slate"),
        ("--bitrate=fast", "`fast` is not a bit rate such as 1500k, 2M or 1500000"),
        ("--channels=middle", "stereo, left, right, mix, swap"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_collector"))
            .args(["capture", option])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words), "{text}");
    }
}
