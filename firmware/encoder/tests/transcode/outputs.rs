//! What comes out is what went in.

use flv::TagKind;
use protocol::mood::Mood;

use crate::{
    media::{self, AAC, LIVE, Probed, frames, probe, publish, scratch, tags, test_stream},
    worker::{Outcome, transcode},
};

const PICTURES: [(&str, &str); 4] =
    [("480p", "854x480"), ("240p", "426x240"), ("webm-high", "1280x720"), ("webm-low", "640x360")];

/// Every rung has the source's frames, at the source's times, with its keyframes.
fn assert_rung(source: &Probed, rung: &Probed) {
    assert_eq!(rung.get("codec_name"), "h264");
    let shown = |p: &Probed| {
        let mut times: Vec<i64> = p.packets.iter().map(|p| p.pts).collect();
        times.sort_unstable();
        times
    };
    assert_eq!(shown(rung), shown(source), "frames are missing, doubled or moved");
    assert_eq!(rung.keys(), source.keys(), "keyframes are not where the source has them");
    assert_eq!(rung.get("nb_read_frames"), source.packets.len().to_string());
    rung.assert_monotonic(200);
}

fn nothing_dropped(outcome: &Outcome) {
    for name in ["480p", "240p", "webm-high", "webm-low", "ogg", "mp3"] {
        let (mood, reason, frames, dropped) = outcome.last(name);
        assert_eq!((mood, dropped), (Mood::Happy, 0), "{name}: {reason}, {frames} frames");
    }
}

#[test]
fn real_footage_at_once_loses_nothing() {
    let dir = scratch();
    let clip = media::footage("bigbuckbunny.mp4").to_string_lossy().into_owned();
    let inputs = ["-stream_loop", "2", "-i", &clip, "-t", "12"];
    let source = publish(&inputs, &[LIVE, AAC].concat(), &dir.path().join("source.flv"));
    let outcome = transcode(std::fs::read(&source).unwrap(), &[]);
    assert!(outcome.success, "{}", outcome.error());
    nothing_dropped(&outcome);

    let source = probe(&source);
    let (picture, sound) = (&source["video"], &source["audio"]);
    for (name, size) in PICTURES {
        let streams = probe(&outcome.save(name, 0, dir.path()));
        assert_eq!(streams["video"].size(), size, "{name}");
        if name.ends_with('p') {
            assert_rung(picture, &streams["video"]);
            continue;
        }
        let (video, audio) = (&streams["video"], &streams["audio"]);
        assert_eq!((video.get("codec_name"), audio.get("codec_name")), ("vp8", "opus"));
        assert_eq!(video.get("nb_read_frames"), picture.packets.len().to_string(), "{name}");
        video.assert_monotonic(100);
        audio.assert_monotonic(100);
        assert!((video.span() - picture.span()).abs() <= 1, "{name}");
        assert!((audio.span() - sound.span()).abs() < 150, "{name}");
        let offset = audio.packets[0].pts - video.packets[0].pts;
        assert!(offset.abs() < 50, "{name}: sound is {offset} ms after the picture");
        for keys in video.keys().windows(2) {
            assert!(keys[1] - keys[0] <= 2_000, "{name}: keyframes at {keys:?}");
        }
    }
    for (name, codec) in [("ogg", "opus"), ("mp3", "mp3")] {
        let streams = probe(&outcome.save(name, 0, dir.path()));
        let audio = &streams["audio"];
        assert_eq!(audio.get("codec_name"), codec);
        assert_eq!((audio.get("sample_rate"), audio.get("channels")), ("48000", "2"));
        audio.assert_monotonic(100);
        assert!((audio.span() - sound.span()).abs() < 200, "{name}: {} ms", audio.span());
    }
    let previews = outcome.stream("preview");
    assert_eq!(previews.len(), 3, "one at the start and each 5 s");
    for (index, frame) in previews.iter().enumerate() {
        assert!(frame.data.len() <= 20_000, "{} bytes", frame.data.len());
        let file = dir.path().join(format!("{index}.jpg"));
        std::fs::write(&file, &frame.data).unwrap();
        assert_eq!(probe(&file)["video"].size(), "320x180");
    }
}

#[test]
fn frames_out_of_order_keep_their_times() {
    let dir = scratch();
    let picture = "testsrc2=size=640x480:rate=30:duration=5";
    let codecs =
        ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "60", "-sc_threshold", "0"];
    let source = publish(&["-f", "lavfi", "-i", picture], &codecs, &dir.path().join("s.flv"));
    let outcome = transcode(std::fs::read(&source).unwrap(), &[]);
    assert!(outcome.success, "{}", outcome.error());
    let source = probe(&source);
    let rung = probe(&outcome.save("240p", 0, dir.path()));
    assert_rung(&source["video"], &rung["video"]);
    let decode = |p: &Probed| p.packets.iter().filter(|p| p.key).map(|p| p.dts).collect::<Vec<_>>();
    assert_eq!(decode(&rung["video"]), decode(&source["video"]), "segments are cut by these");
    // 480 lines are not fewer than 480.
    let (mood, reason, ..) = outcome.last("480p");
    assert_eq!(mood, Mood::Sleeping);
    assert_eq!(reason, "left out: 480 lines are not fewer than the source's 480");
    assert!(outcome.stream("480p").is_empty());
    // Without sound, a WebM has a picture alone.
    let webm = probe(&outcome.save("webm-high", 0, dir.path()));
    assert_eq!(webm.keys().collect::<Vec<_>>(), ["video"]);
    assert_eq!(webm["video"].packets.len(), source["video"].packets.len());
}

#[test]
fn sound_alone_is_enough() {
    let dir = scratch();
    let tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=5"];
    let mono = ["-c:a", "aac", "-ac", "1"];
    let source = publish(&tone, &mono, &dir.path().join("s.flv"));
    let outcome = transcode(std::fs::read(&source).unwrap(), &[]);
    assert!(outcome.success, "{}", outcome.error());
    for name in ["ogg", "mp3"] {
        let audio = probe(&outcome.save(name, 0, dir.path())).remove("audio").unwrap();
        assert!((audio.span() - 5_000).abs() < 200, "{name}: {} ms", audio.span());
    }
    assert_eq!(outcome.last("webm-high").0, Mood::Hungry);
}

#[test]
fn sound_that_stops_becomes_silence_in_webm() {
    let dir = scratch();
    let file = test_stream("320x240", 8, &dir.path().join("s.flv"));
    let mut tags = tags(&file);
    tags.retain(|t| t.kind != TagKind::Audio || !(2_000..6_000).contains(&t.timestamp));
    let outcome = transcode(media::flv(&tags), &[]);
    assert!(outcome.success, "{}", outcome.error());
    let webm = probe(&outcome.save("webm-low", 0, dir.path()));
    webm["audio"].assert_monotonic(100);
    assert!(webm["audio"].span() > 7_500, "{} ms of sound", webm["audio"].span());
    webm["video"].assert_monotonic(100);
    assert_eq!(webm["video"].packets.len(), frames(&tags, TagKind::Video));
}

#[test]
fn another_publisher_with_another_size_later() {
    let dir = scratch();
    let small = tags(&test_stream("640x360", 4, &dir.path().join("small.flv")));
    let large = tags(&test_stream("1280x720", 4, &dir.path().join("large.flv")));
    let source = {
        let later = large.iter().cloned().map(|mut tag| {
            tag.timestamp += 600_000;
            tag
        });
        small.iter().cloned().chain(later).collect::<Vec<_>>()
    };
    let pictures = frames(&source, TagKind::Video);
    let outcome = transcode(media::flv(&source), &[]);
    assert!(outcome.success, "{}", outcome.error());
    for name in ["240p", "webm-high", "webm-low"] {
        assert_eq!(outcome.last(name).2, pictures as u64, "{name}");
    }
    let moods: Vec<_> = outcome.said("480p").into_iter().map(|(mood, ..)| mood).collect();
    assert!(moods.contains(&Mood::Sleeping) && moods.last() == Some(&Mood::Happy), "{moods:?}");
    let rung = probe(&outcome.save("480p", 0, dir.path()));
    assert_eq!(rung["video"].size(), "854x480");
    assert_eq!(rung["video"].packets.len(), frames(&large, TagKind::Video));
    assert!(rung["video"].packets[0].pts >= 600_000);
    for name in ["ogg", "mp3"] {
        let sound = outcome.stream(name);
        let last = sound.last().unwrap().ts_ms;
        assert!((603_000..604_200).contains(&last), "{name} ends at {last} ms");
        assert!(
            sound.iter().any(|f| (3_000..4_200).contains(&f.ts_ms)),
            "{name} lost its first part"
        );
    }
    // Who comes now sees the new size.
    assert_eq!(outcome.headers("webm-high"), 2);
    let frames = outcome.stream("webm-high");
    let second = frames.iter().rposition(|f| f.header).unwrap();
    let now = probe(&outcome.save("webm-high", second + 1, dir.path()));
    assert_eq!(now["video"].size(), "1280x720");
    // Who was there before goes on through the jump.
    let before = probe(&outcome.save("240p", 0, dir.path()));
    assert_eq!(before["video"].packets.len(), pictures);
    before["video"].assert_monotonic(600_000);
}
