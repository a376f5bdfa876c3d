//! The sources that need nothing: test, slate and flash.

use collector::capture::counter;
use collector::capture::report::Line;

use crate::harness::*;

#[test]
fn the_test_source_is_regular_h264_and_aac() {
    let recording = record(&[&["--source=test"], &SMALL[..]].concat(), 5200);
    let directory = tempfile::tempdir().unwrap();
    let film = recording.save(directory.path(), "test.flv");
    let probed = tool(
        "ffprobe",
        &[
            "-v",
            "error",
            "-of",
            "csv=p=0",
            "-show_entries",
            "stream=codec_name,width,height,sample_aspect_ratio,sample_rate,channels",
            film.to_str().unwrap(),
        ],
    );
    let probed = String::from_utf8(probed).unwrap();
    assert!(probed.contains("h264,640,360,1:1"), "{probed}");
    assert!(probed.contains("aac,48000,2"), "{probed}");
    // Two early key frames, then one every two seconds.
    assert_eq!(recording.keyframe_times(), [0, 520, 1000, 3000, 5000]);
    assert_regular(&recording.video_times());
    assert_unbroken(&recording.audio_times());
    assert!(recording.tags.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp));
    let health = recording.health();
    assert_eq!((health.frames_dropped, health.frames_duplicated), (0, 0));
    assert!(health.audio.iter().all(|level| (level.peak_db + 20.0).abs() < 0.5), "{health:?}");
    assert!(!health.silent.on && health.black.is_some_and(|black| !black.on));
    let first = recording.lines.iter().find(|line| !matches!(line, Line::Log { .. }));
    assert!(matches!(first, Some(Line::Ready { width: 640, height: 360, framerate: 25, .. })));
    assert!(recording.lines.iter().any(|line| matches!(line, Line::Preview { .. })));
    // It moves: the ball, and each second the clock.
    let pictures = pictures(&film, 64, 36);
    assert!(pictures.windows(2).filter(|pair| pair[0] != pair[1]).count() > 100);
}

#[test]
fn the_slate_is_still_and_silent_and_looks_as_the_stream_does() {
    let args = [&["--source=slate", "--text=no <signal> & no hope"], &SMALL[..]].concat();
    let recording = record(&args, 6500);
    assert_regular(&recording.video_times());
    let health = recording.health();
    assert!(health.silent.on && health.black.is_some_and(|black| !black.on), "{health:?}");
    let directory = tempfile::tempdir().unwrap();
    let film = recording.save(directory.path(), "slate.flv");
    assert_eq!(loudness(&sound(&film)), [0.0, 0.0]);
    // There is writing on it: bright letters on the dark ground, in the middle third.
    let pictures = pictures(&film, 640, 360);
    let middle = &pictures[10][120 * 640..240 * 640];
    assert!(middle.iter().filter(|&&luma| luma > 180).count() > 200);
}

/// Where each beep begins, in seconds.
fn beeps(sound: &[[i16; 2]]) -> Vec<f64> {
    let mut beeps = Vec::new();
    let mut quiet = 48_000;
    for (n, frame) in sound.iter().enumerate() {
        if frame[0].abs() > 3000 {
            if quiet > 9_600 {
                beeps.push(n as f64 / 48_000.0);
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    beeps
}

#[test]
fn flash_and_beep_are_together_and_every_frame_is_counted() {
    let recording = record(&[&["--source=flash"], &SMALL[..]].concat(), 5900);
    let directory = tempfile::tempdir().unwrap();
    let film = recording.save(directory.path(), "flash.flv");
    let times = recording.video_times();
    assert_regular(&times);
    let pictures = pictures(&film, 640, 360);
    assert_eq!(pictures.len(), times.len());
    let counters: Vec<_> = pictures.iter().map(|luma| counter::read(luma, 640, 360)).collect();
    let expected: Vec<_> = (0..u32::try_from(counters.len()).unwrap()).map(Some).collect();
    assert_eq!(counters, expected);
    // Under the counter's band the picture is white in the flash and grey else.
    let is_flash = |luma: &Vec<u8>| luma[300 * 640 + 320] > 150;
    let flashes: Vec<f64> = (1..pictures.len())
        .filter(|&n| is_flash(&pictures[n]) && !is_flash(&pictures[n - 1]))
        .map(|n| f64::from(times[n]) / 1000.0)
        .collect();
    assert_eq!(flashes, [1.0, 2.0, 3.0, 4.0, 5.0]);
    let beeps = beeps(&sound(&film));
    for flash in flashes {
        let offset =
            beeps.iter().map(|beep| beep - flash).min_by(|a, b| a.abs().total_cmp(&b.abs()));
        let offset = offset.unwrap();
        assert!(
            offset.abs() < 0.025,
            "sound is {:.0} ms from the picture at {flash} s",
            offset * 1e3
        );
    }
}

#[test]
fn the_counter_is_readable_at_240_lines_and_a_low_rate() {
    let recording = record(&[&["--source=flash"], &SMALL[..]].concat(), 3000);
    let directory = tempfile::tempdir().unwrap();
    let film = recording.save(directory.path(), "flash.flv");
    let small = directory.path().join("small.mp4");
    ffmpeg(&[
        "-i",
        film.to_str().unwrap(),
        "-an",
        "-vf",
        "scale=426:240",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-b:v",
        "150k",
        small.to_str().unwrap(),
    ]);
    let counters: Vec<_> =
        pictures(&small, 426, 240).iter().map(|luma| counter::read(luma, 426, 240)).collect();
    let expected: Vec<_> = (0..u32::try_from(counters.len()).unwrap()).map(Some).collect();
    assert!(counters.len() >= 75);
    assert_eq!(counters, expected);
}

#[test]
fn a_reader_that_goes_ends_the_worker_quietly() {
    let (status, lines) = abandon(&[&["--source=test"], &SMALL[..]].concat(), 20_000);
    assert!(status.success(), "{status}");
    assert!(!lines.iter().any(|line| matches!(line, Line::Error { .. })), "{lines:?}");
}
