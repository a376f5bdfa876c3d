//! Files: looped, without one of the two tracks, of odd sound, and DV.

use std::path::{Path, PathBuf};

use collector::capture::counter;

use crate::harness::*;

fn source(path: &Path) -> String {
    format!("--source=file:{}", path.display())
}

fn play(path: &Path, more: &[&str], until_ms: u32) -> Recording {
    record(&[&[source(path).as_str()], &SMALL[..], more].concat(), until_ms)
}

/// Makes a file with ffmpeg.
fn make(directory: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = directory.join(name);
    ffmpeg(&[args, &[path.to_str().expect("a plain path")]].concat());
    path
}

#[test]
fn a_looped_file_has_no_jump_and_no_gap() {
    let directory = tempfile::tempdir().unwrap();
    // The sound is 0.37 s longer than the picture, and neither ends on a whole frame of the other.
    let film = make(
        directory.path(),
        "short.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=25:d=1.2",
            "-f",
            "lavfi",
            "-i",
            "sine=f=500:r=44100:d=1.57",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
        ],
    );
    let recording = play(&film, &[], 6000);
    assert_regular(&recording.video_times());
    assert_unbroken(&recording.audio_times());
    let film = recording.save(directory.path(), "looped.flv");
    let [left, right] = loudness(&sound(&film));
    assert!(left > 500.0 && right > 500.0, "the tone is in every round");
    // The picture of the first round comes again, at the end of the longer track.
    let pictures = pictures(&film, 64, 36);
    let distance = |a: &[u8], b: &[u8]| {
        a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>() / 2304
    };
    let again = (30..60).min_by_key(|&n| distance(&pictures[10], &pictures[n + 10])).unwrap();
    assert!((39..=41).contains(&again), "a round has {again} frames");
}

#[test]
fn a_file_played_once_keeps_every_frame() {
    let directory = tempfile::tempdir().unwrap();
    let flash = record(&[&["--source=flash"], &SMALL[..]].concat(), 3000);
    let count = flash.video_times().len();
    let film = flash.save(directory.path(), "flash.flv");
    let again = play(&film, &["--repeat=once", "--pace=unpaced"], u32::MAX);
    assert_regular(&again.video_times());
    let film = again.save(directory.path(), "again.flv");
    let counters: Vec<_> =
        pictures(&film, 640, 360).iter().map(|luma| counter::read(luma, 640, 360)).collect();
    let expected: Vec<_> = (0..u32::try_from(count).unwrap()).map(Some).collect();
    assert_eq!(counters, expected);
}

#[test]
fn a_file_without_sound_gets_silence() {
    let directory = tempfile::tempdir().unwrap();
    let film = make(
        directory.path(),
        "mute.mkv",
        &["-f", "lavfi", "-i", "testsrc2=s=320x180:r=30:d=2", "-c:v", "libx264", "-an"],
    );
    let recording = play(&film, &[], 6500);
    assert!(recording.logged("mute.mkv has no sound: silence is sent with it."));
    assert_regular(&recording.video_times());
    assert_unbroken(&recording.audio_times());
    let health = recording.health();
    assert!(health.silent.on && health.black.is_some_and(|black| !black.on), "{health:?}");
}

#[test]
fn a_file_without_a_picture_gets_a_black_one() {
    let directory = tempfile::tempdir().unwrap();
    let tone = make(
        directory.path(),
        "tone.mp3",
        &["-f", "lavfi", "-i", "sine=f=500:r=44100:d=2", "-c:a", "libmp3lame"],
    );
    let recording = play(&tone, &[], 4500);
    assert!(recording.logged("tone.mp3 has no picture: a black one is sent with it."));
    assert_regular(&recording.video_times());
    assert_unbroken(&recording.audio_times());
    let health = recording.health();
    assert!(!health.silent.on && health.black.is_some_and(|black| black.on), "{health:?}");
}

/// The loudness of both channels of what is sent for this sound and choice.
fn heard(directory: &Path, name: &str, make_args: &[&str], channels: &str) -> [f64; 2] {
    let file = make(directory, name, make_args);
    let recording = play(&file, &[&format!("--channels={channels}"), "--pace=unpaced"], 1500);
    assert_unbroken(&recording.audio_times());
    let film = recording.save(directory, "heard.flv");
    // The first moments are the encoder's.
    loudness(&sound(&film)[9_600..])
}

#[test]
fn odd_sound_is_heard_as_configured() {
    let directory = tempfile::tempdir().unwrap();
    let tone = "sine=f=500:d=2";
    let left_only = ["-f", "lavfi", "-i", tone, "-af", "pan=stereo|c0=c0|c1=0*c0", "-ar", "48000"];
    let mono_96k = ["-f", "lavfi", "-i", tone, "-ac", "1", "-ar", "96000", "-c:a", "pcm_s24le"];
    let mono_8k = ["-f", "lavfi", "-i", tone, "-ac", "1", "-ar", "8000", "-c:a", "pcm_u8"];
    let surround = ["-f", "lavfi", "-i", tone, "-af", "pan=5.1|FC=c0", "-ar", "44100"];
    let cases: [(&str, &[&str], &str, [bool; 2]); 9] = [
        ("mono96.wav", &mono_96k, "stereo", [true, true]),
        ("mono8.wav", &mono_8k, "stereo", [true, true]),
        ("surround.wav", &surround, "stereo", [true, true]),
        ("left.wav", &left_only, "stereo", [true, false]),
        ("left.wav", &left_only, "left", [true, true]),
        ("left.wav", &left_only, "right", [false, false]),
        ("left.wav", &left_only, "mix", [true, true]),
        ("left.wav", &left_only, "swap", [false, true]),
        ("mono96.wav", &mono_96k, "right", [true, true]),
    ];
    for (name, args, channels, expected) in cases {
        let loudness = heard(directory.path(), name, args, channels);
        let audible = loudness.map(|channel| channel > 300.0);
        assert_eq!(audible, expected, "{name} with {channels}: {loudness:?}");
    }
}

/// An interlaced DV file of a moving picture with 48 kHz sound.
fn dv(directory: &Path, name: &str, target: &str, rate: &str, aspect: &str) -> PathBuf {
    let moving = format!("testsrc2=s=720x576:r={rate}:d=3");
    make(
        directory,
        name,
        &[
            "-f",
            "lavfi",
            "-i",
            &moving,
            "-f",
            "lavfi",
            "-i",
            "sine=f=500:r=48000:d=3",
            "-vf",
            "interlace=scan=bff:lowpass=off",
            "-target",
            target,
            "-aspect",
            aspect,
            "-ac",
            "2",
        ],
    )
}

#[test]
fn dv_is_deinterlaced_and_has_square_pixels() {
    let directory = tempfile::tempdir().unwrap();
    for (name, target, rate, aspect, pillars) in [
        ("pal.dv", "pal-dv", "50", "4:3", true),
        ("wide.dv", "pal-dv", "50", "16:9", false),
        ("ntsc.dv", "ntsc-dv", "60000/1001", "4:3", true),
    ] {
        let film = dv(directory.path(), name, target, rate, aspect);
        let recording = play(&film, &[], 4200);
        assert_regular(&recording.video_times());
        assert_unbroken(&recording.audio_times());
        assert!(!recording.health().silent.on);
        let film = recording.save(directory.path(), "dv.flv");
        let [left, right] = loudness(&sound(&film));
        assert!(left > 500.0 && right > 500.0, "{name}: {left} {right}");
        let picture = &pictures(&film, 640, 360)[20];
        // 4:3 in 16:9 leaves an eighth of the width black on each side.
        let mean = |from: usize, to: usize| {
            let column = |x: usize| (20..340).map(move |y| u32::from(picture[y * 640 + x]));
            (from..to).flat_map(column).sum::<u32>() / ((to - from) as u32 * 320)
        };
        let (edge, inner) = (mean(4, 72), mean(88, 552));
        assert!(inner > 60, "{name}: {inner}");
        assert_eq!(edge < 20, pillars, "{name}: {edge}");
        assert_progressive(&film, name);
    }
}

/// Asserts that ffmpeg sees no combing in the film.
fn assert_progressive(film: &Path, name: &str) {
    let output = std::process::Command::new("ffmpeg")
        .args(["-i", film.to_str().expect("a plain path")])
        .args(["-vf", "idet", "-an", "-f", "null", "-"])
        .output()
        .expect("ffmpeg is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains("Multi frame detection")).expect("a verdict");
    let count = |word: &str| -> u32 {
        let (_, rest) = line.split_once(word).expect("a count");
        rest.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
    };
    let combed = count("TFF:") + count("BFF:");
    assert!(combed * 10 < count("Progressive:"), "{name}: {line}");
}
