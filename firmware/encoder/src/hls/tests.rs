//! The packager under any input: what it promises, read back from the boxes it wrote.

use super::*;
use flv::Tag;
use mp4_atom::{Any, Decode as _, Moof, Moov};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Baseline, 320x180 and High, 320x180: two encodings.
const SPS: [&[u8]; 2] = [
    &[0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x9f, 0x9e, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10],
    &[
        0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03,
        0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
    ],
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

fn picture_header(which: bool) -> Tag {
    let sps = if which { SPS[1] } else { &[SPS[1], &[0]].concat() };
    Tag::avc_sequence_header(0, &flv::avc::build_config(sps, PPS).unwrap())
}

fn sound_header(which: bool) -> Tag {
    // 44.1 kHz and 48 kHz, stereo.
    Tag::aac_sequence_header(0, if which { &[0x12, 0x10] } else { &[0x11, 0x90] })
}

fn new(window: usize) -> Packager {
    let config = HlsConfig {
        segment: Duration::from_secs(2),
        window,
        first_msn: 10,
        first_discontinuity: 10,
    };
    let rung = |name: &str| RenditionSpec { name: name.into(), bitrate: 1000 };
    Packager::new(config, vec![rung("a"), rung("b")])
}

/// The names of the top boxes, and the movie or fragment among them.
fn boxes(mut data: &[u8]) -> (Vec<String>, Option<Moov>, Option<Moof>, usize) {
    let (mut names, mut moov, mut moof, mut payload) = (Vec::new(), None, None, 0);
    while !data.is_empty() {
        match Any::decode(&mut data).expect("boxes") {
            Any::Moov(found) => {
                names.push("moov".into());
                moov = Some(found);
            }
            Any::Moof(found) => {
                names.push("moof".into());
                moof = Some(found);
            }
            Any::Mdat(found) => {
                names.push("mdat".into());
                payload = found.data.len();
            }
            other => names.push(other.kind().to_string()),
        }
    }
    (names, moov, moof, payload)
}

/// Checks everything that a variant lists, and that time goes on from segment to segment.
/// `seen` keeps each track's start and end, milliseconds, by segment.
fn check(store: &Store, name: &str, seen: &mut BTreeMap<u64, Vec<(u32, u64, u64)>>) {
    let Some(text) = store.playlist(name) else { return };
    let text = String::from_utf8(text.to_vec()).unwrap();
    let mut gap = false;
    let mut map = None;
    for line in text.lines() {
        if line == "#EXT-X-GAP" {
            gap = true;
        } else if let Some(init) = line.strip_prefix("#EXT-X-MAP:URI=\"init-") {
            map = Some(init.trim_end_matches(".mp4\"").parse::<u64>().unwrap());
        } else if let Some(msn) = line.strip_suffix(".m4s") {
            let msn = msn.parse::<u64>().unwrap();
            let segment = store.segment(name, msn);
            assert_eq!(segment.is_none(), gap, "{name} {msn}\n{text}");
            gap = false;
            let (Some(segment), false) = (segment, seen.contains_key(&msn)) else { continue };
            let init = store.init(name, map.expect("a map before a segment")).expect("its init");
            let (names, moov, ..) = boxes(&init);
            assert_eq!(names, ["ftyp", "moov"]);
            let scale = |trak: &mp4_atom::Trak| (trak.tkhd.track_id, trak.mdia.mdhd.timescale);
            let scales: BTreeMap<u32, u32> = moov.unwrap().trak.iter().map(scale).collect();
            let (names, _, moof, payload) = boxes(&segment);
            assert_eq!(names, ["styp", "moof", "mdat"]);
            let mut bytes = 0;
            let mut ends = Vec::new();
            for traf in moof.unwrap().traf {
                let scale = u64::from(scales[&traf.tfhd.track_id]);
                let start = traf.tfdt.unwrap().base_media_decode_time;
                let mut at = start;
                for sample in traf.trun[0].samples.iter() {
                    assert!(sample.duration.unwrap() > 0);
                    at += u64::from(sample.duration.unwrap());
                    bytes += sample.size.unwrap() as usize;
                }
                ends.push((traf.tfhd.track_id, start * 1000 / scale, at * 1000 / scale));
            }
            assert_eq!(bytes, payload, "every byte belongs to a sample");
            seen.insert(msn, ends);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    PictureHeader(bool),
    SoundHeader(bool),
    Picture { step: u64, key: bool, composition: i32, rungs: [bool; 2] },
    Sound { step: u64 },
    Discontinuity,
    Failed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![20 => 1u64..200, 2 => 0u64..1, 1 => 200u64..9000];
    let picture = (step.clone(), prop::bool::weighted(0.1), 0i32..100, any::<[bool; 2]>());
    let step = prop_oneof![
        1 => any::<bool>().prop_map(Step::PictureHeader),
        1 => any::<bool>().prop_map(Step::SoundHeader),
        60 => picture.prop_map(|(step, key, composition, rungs)| {
            Step::Picture { step, key, composition, rungs }
        }),
        60 => step.prop_map(|step| Step::Sound { step: step / 2 }),
        1 => Just(Step::Discontinuity),
        1 => Just(Step::Failed),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_what_is_listed_is_whole(steps in steps(), window in 3usize..6, headers: bool) {
        let mut packager = new(window);
        let store = packager.store();
        let mut seen: BTreeMap<&str, BTreeMap<u64, _>> = BTreeMap::new();
        if headers {
            packager.source(0, &picture_header(true), 0);
            packager.source(0, &sound_header(true), 0);
        }
        for name in ["a", "b"] {
            packager.rendition_video(name, 0, &picture_header(true));
        }
        let (mut video, mut sound) = (0, 0);
        for step in steps {
            match step {
                Step::PictureHeader(which) => packager.source(video, &picture_header(which), 0),
                Step::SoundHeader(which) => packager.source(sound, &sound_header(which), 0),
                Step::Picture { step, key, composition, rungs } => {
                    video = (video + step).max(sound.saturating_sub(500));
                    let tag = Tag::avc_frame(0, composition, key, b"\0\0\0\x01x");
                    packager.source(video, &tag, video as i64);
                    for (name, there) in ["a", "b"].into_iter().zip(rungs) {
                        if there {
                            packager.rendition_video(name, video, &tag);
                        }
                    }
                }
                Step::Sound { step } => {
                    sound = (sound + step).max(video.saturating_sub(500));
                    packager.source(sound, &Tag::aac_frame(0, b"aac"), sound as i64);
                }
                Step::Discontinuity => packager.discontinuity(),
                Step::Failed => packager.rendition_failed("b"),
            }
            for name in [SOURCE, AUDIO, "a", "b"] {
                check(&store, name, seen.entry(name).or_default());
            }
        }
        for (name, segments) in seen {
            let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
            for (msn, tracks) in segments {
                for (track, start, end) in tracks {
                    let before = ends.insert(track, end).unwrap_or(0);
                    // A last frame's length may be a guess; the next one's time never is.
                    prop_assert!(start + 200 >= before, "{name} {msn}: {start} after {before}");
                }
            }
        }
    }
}

/// Two hours of a steady stream: nothing grows.
#[test]
fn memory_is_bounded() {
    let mut packager = new(4);
    let store = packager.store();
    packager.source(0, &picture_header(true), 0);
    packager.source(0, &sound_header(true), 0);
    packager.rendition_video("a", 0, &picture_header(true));
    let frame = vec![0; 1000];
    let mut most = 0;
    for n in 0..2 * 3600 * 5u64 {
        let tag = Tag::avc_frame(0, 0, n % 10 == 0, &frame);
        packager.source(n * 200, &tag, 0);
        packager.rendition_video("a", n * 200, &tag);
        packager.source(n * 200, &Tag::aac_frame(0, &frame), 0);
        most = most.max(store.bytes());
    }
    // Ten segments of each variant, of 20 kB at most.
    assert!(most < 10 * 3 * 22_000, "{most} bytes");
}

/// A publisher who sends no second keyframe.
#[test]
fn a_segment_without_keyframes_is_cut_in_the_end() {
    let mut packager = new(4);
    let store = packager.store();
    packager.source(0, &picture_header(true), 0);
    for n in 0..2000u64 {
        let tag = Tag::avc_frame(0, 0, n == 0, b"\0\0\0\x01x");
        packager.source(n * 40, &tag, 0);
    }
    let text = String::from_utf8(store.playlist(SOURCE).unwrap().to_vec()).unwrap();
    assert!(text.contains("#EXTINF:20.000,") && text.contains("#EXT-X-TARGETDURATION:20\n"));
    assert!(!text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{text}");
}

/// A rung that gives no sign of life keeps nobody waiting.
#[test]
fn the_multivariant_playlist_waits_for_rungs_but_not_for_ever() {
    let push = |packager: &mut Packager, n: u64| {
        packager.source(n * 40, &Tag::avc_frame(0, 0, n.is_multiple_of(50), b"\0\0\0\x01x"), 0);
    };
    let first_seen = |failed: &[&str]| {
        let mut packager = new(4);
        packager.source(0, &picture_header(true), 0);
        for name in failed {
            packager.rendition_failed(name);
        }
        (0..1000).find(|&n| {
            push(&mut packager, n);
            packager.store().multivariant().is_some()
        })
    };
    assert_eq!(first_seen(&[]), Some(150), "after 6 s");
    assert_eq!(first_seen(&["a"]), Some(150));
    assert_eq!(first_seen(&["a", "b"]), Some(50), "with the first segment");
}

/// Readings of the publisher's clock jitter, and playlists' dates do not; a clock that was set is
/// followed at once.
#[test]
fn dates_are_steady() {
    let mut packager = new(100);
    let store = packager.store();
    packager.source(0, &picture_header(true), 0);
    for n in 0..1000i64 {
        let jitter = [0, 90, -60, 30, -90][(n / 50 % 5) as usize];
        let set = if n >= 600 { 3_600_000 } else { 0 };
        let tag = Tag::avc_frame(0, 0, n % 50 == 0, b"\0\0\0\x01x");
        packager.source(n as u64 * 40, &tag, n * 40 + jitter + set);
    }
    let text = String::from_utf8(store.playlist(SOURCE).unwrap().to_vec()).unwrap();
    let dates: Vec<i64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:"))
        .map(|date| date.parse::<jiff::Timestamp>().unwrap().as_millisecond())
        .collect();
    for (n, pair) in dates.windows(2).enumerate() {
        let step = pair[1] - pair[0];
        let wanted = if n == 11 { 3_602_000 } else { 2000 };
        assert!((step - wanted).abs() <= if n == 11 { 150 } else { 20 }, "{n}: {step}");
    }
}

/// A slate gives way to the source after a second: keyframes at 0, 1 and 3 s.
#[test]
fn an_irregular_beginning_does_not_lengthen_the_target() {
    let mut packager = new(100);
    packager.source(0, &picture_header(true), 0);
    for n in 0..300u64 {
        let key = n == 0 || n % 50 == 25;
        packager.source(n * 40, &Tag::avc_frame(0, 0, key, b"\0\0\0\x01x"), 0);
    }
    let text = String::from_utf8(packager.store().playlist(SOURCE).unwrap().to_vec()).unwrap();
    let lengths: Vec<&str> = text.lines().filter(|line| line.starts_with("#EXTINF")).collect();
    assert_eq!(lengths[..3], ["#EXTINF:1.000,", "#EXTINF:2.000,", "#EXTINF:2.000,"]);
    assert!(text.contains("#EXT-X-TARGETDURATION:2\n"));
}
