//! HLS, checked by ffmpeg: real streams through the packager, the files it makes read back.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use encoder::hls::{HlsConfig, Packager, RenditionSpec, Store};
use flv::{Parser, Tag};

/// UTC of room time 0.
const EPOCH_MS: i64 = 1_795_000_000_000;

fn ffmpeg(args: &str, out: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]).args(args.split_whitespace()).arg(out);
    let done = command.output().expect("ffmpeg is installed");
    assert!(done.status.success(), "ffmpeg {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A moving picture and a tone, 25 fps, keyframes every 2 s and nowhere else.
fn stream(dir: &Path, name: &str, seconds: u32, more: &str) -> Vec<Tag> {
    stream_at(25, dir, name, seconds, more)
}

fn stream_at(fps: usize, dir: &Path, name: &str, seconds: u32, more: &str) -> Vec<Tag> {
    let gop = 2 * fps;
    let path = dir.join(name);
    let args = format!(
        "-f lavfi -i testsrc2=size=320x180:rate={fps}:duration={seconds} \
         -f lavfi -i sine=frequency=440:sample_rate=44100:duration={seconds} \
         -c:v libx264 -preset ultrafast -g {gop} -sc_threshold 0 -threads 1 -c:a aac -ac 2 {more}"
    );
    ffmpeg(&args, &path);
    let mut parser = Parser::default();
    parser.push(&std::fs::read(&path).unwrap());
    let tags = std::iter::from_fn(|| parser.next_tag().unwrap()).collect();
    parser.finish().unwrap();
    tags
}

fn packager(window: usize, rungs: &[&str]) -> Packager {
    let config = HlsConfig {
        segment: Duration::from_secs(2),
        window,
        first_msn: 1000,
        first_discontinuity: 1000,
    };
    let spec = |name: &&str| RenditionSpec { name: (*name).to_owned(), bitrate: 300_000 };
    Packager::new(config, rungs.iter().map(spec).collect())
}

fn push(packager: &mut Packager, tags: &[Tag], offset_ms: u64) {
    for tag in tags {
        let ts = offset_ms + u64::from(tag.timestamp);
        packager.source(ts, tag, EPOCH_MS + ts as i64);
    }
}

/// Writes everything a player would fetch, as a recording that has ended.
fn save(store: &Store, dir: &Path) -> PathBuf {
    let master = dir.join("index.m3u8");
    std::fs::write(&master, store.multivariant().expect("a multivariant playlist")).unwrap();
    for rendition in store.renditions() {
        let dir = dir.join(&rendition.name);
        std::fs::create_dir_all(&dir).unwrap();
        let text = store.playlist(&rendition.name).unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap() + "#EXT-X-ENDLIST\n";
        std::fs::write(dir.join("index.m3u8"), &text).unwrap();
        let mut gap = false;
        for line in text.lines() {
            if let Some(map) = line.strip_prefix("#EXT-X-MAP:URI=\"init-") {
                let id = map.trim_end_matches(".mp4\"").parse().unwrap();
                let data = store.init(&rendition.name, id).expect("the initialization segment");
                std::fs::write(dir.join(format!("init-{id}.mp4")), data).unwrap();
            } else if let Some(msn) = line.strip_suffix(".m4s") {
                let data = store.segment(&rendition.name, msn.parse().unwrap());
                assert_eq!(data.is_none(), gap, "segment {msn} of {}", rendition.name);
                if let Some(data) = data {
                    std::fs::write(dir.join(line), data).unwrap();
                }
                gap = false;
            } else if line == "#EXT-X-GAP" {
                gap = true;
            }
        }
    }
    master
}

/// Packet times as ffprobe sees them.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// Decoding and presentation times, seconds.
    video: Vec<(f64, f64)>,
    audio: Vec<(f64, f64)>,
}

fn probe(path: &Path) -> Seen {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "warning", "-show_entries", "packet=codec_type,dts_time,pts_time"]);
    command.args(["-of", "csv=p=0"]).arg(path);
    let done = command.output().expect("ffprobe is installed");
    let warnings = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && warnings.is_empty(), "{}: {warnings}", path.display());
    let mut seen = Seen::default();
    for line in String::from_utf8(done.stdout).unwrap().lines() {
        let fields: Vec<&str> = line.trim_end_matches(',').split(',').collect();
        let time = |at: usize| fields[at].parse().unwrap_or_else(|_| panic!("no time in {line}"));
        // ffprobe prints the fields in its own order: kind, pts, dts.
        let times = (time(2), time(1));
        if fields[0] == "video" { seen.video.push(times) } else { seen.audio.push(times) }
    }
    seen
}

/// Every packet of one is in the other, at the same time and in the same distance of sound and
/// pictures; times are free to start elsewhere.
fn assert_same(found: &[(f64, f64)], wanted: &[(f64, f64)], shift: f64, tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (n, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let off = [found.0 - wanted.0 - shift, found.1 - wanted.1 - shift];
        assert!(off.iter().all(|off| off.abs() <= tolerance), "packet {n}: {found:?}, {wanted:?}");
    }
    for pair in found.windows(2) {
        assert!(pair[1].0 > pair[0].0, "decoding time stands still: {pair:?}");
    }
}

/// Decodes all of it; any complaint fails.
fn decode(path: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-xerror", "-i"]).arg(path);
    command.args(["-map", "0:v?", "-map", "0:a?", "-f", "null", "-"]);
    let done = command.output().unwrap();
    let complaints = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && complaints.is_empty(), "{}: {complaints}", path.display());
}

fn passes_through(more: &str, fps: usize) {
    let dir = tempfile::tempdir().unwrap();
    let tags = stream_at(fps, dir.path(), "in.flv", 9, more);
    let mut packager = packager(50, &[]);
    push(&mut packager, &tags, 5000);
    packager.discontinuity();
    let store = packager.store();
    save(&store, dir.path());

    let wanted = probe(&dir.path().join("in.flv"));
    let source = dir.path().join("source/index.m3u8");
    let found = probe(&source);
    assert_eq!(found.video.len(), 9 * fps);
    // Sound from before the first keyframe has no segment to go into.
    let missing = wanted.audio.len() - found.audio.len();
    assert!(missing <= 3, "{missing} audio frames are missing");
    let shift = found.video[0].0 - wanted.video[0].0;
    assert_same(&found.video, &wanted.video, shift, 0.000_02);
    // FLV rounds sound to milliseconds, and we do not.
    assert_same(&found.audio, &wanted.audio[missing..], shift, 0.001_6);
    decode(&source);

    let audio = probe(&dir.path().join("audio/index.m3u8"));
    assert_eq!(audio.audio.len(), found.audio.len());
    assert!(audio.video.is_empty());
    decode(&dir.path().join("audio/index.m3u8"));

    let text = String::from_utf8(store.playlist("source").unwrap().to_vec()).unwrap();
    let lengths: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("#EXTINF:")).collect();
    assert_eq!((&lengths[..4], lengths.len()), (&["2.000,"; 4][..], 5));
    assert!(text.contains("#EXT-X-TARGETDURATION:2\n"));
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:1000\n"));
    assert!(text.contains("#EXT-X-PROGRAM-DATE-TIME:2026-11-18T11:06:"));
    let master = String::from_utf8(store.multivariant().unwrap().to_vec()).unwrap();
    let shape = format!("RESOLUTION=320x180,FRAME-RATE={fps}.000");
    assert!(master.contains(&shape), "{master}");
}

#[test]
fn pictures_and_sound_pass_through_unchanged() {
    passes_through("-tune zerolatency", 25);
}

#[test]
fn reordered_pictures_keep_their_times_and_their_sound() {
    passes_through("-bf 3 -b_strategy 0", 25);
}

#[test]
fn a_frame_rate_that_milliseconds_cannot_hold() {
    passes_through("-ar 48000 -profile:v baseline", 30);
}

#[test]
fn rungs_are_aligned_with_the_source_and_share_its_sound() {
    let dir = tempfile::tempdir().unwrap();
    let source = stream(dir.path(), "in.flv", 9, "-tune zerolatency");
    let small: Vec<Tag> = stream(dir.path(), "low.flv", 9, "-tune zerolatency -vf scale=160:90")
        .into_iter()
        .filter(|tag| tag.video().is_some())
        .collect();
    let mut packager = packager(50, &["90p"]);
    // The rung comes a good second after the source.
    let mut late = small.iter().peekable();
    for tag in &source {
        push(&mut packager, std::slice::from_ref(tag), 0);
        while let Some(rung) = late.next_if(|rung| rung.timestamp + 1200 < tag.timestamp) {
            packager.rendition_video("90p", rung.timestamp.into(), rung);
        }
    }
    packager.discontinuity();
    for rung in late {
        packager.rendition_video("90p", rung.timestamp.into(), rung);
    }
    let store = packager.store();
    let names: Vec<String> = store.renditions().into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["source", "90p", "audio"]);
    let master = save(&store, dir.path());
    let parts = |name: &str| {
        let text = String::from_utf8(store.playlist(name).unwrap().to_vec()).unwrap();
        let wanted = |line: &&str| !line.starts_with("#EXT-X-MAP");
        text.lines().filter(wanted).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(parts("source"), parts("90p"));
    assert_eq!(parts("source"), parts("audio"));
    let source = probe(&dir.path().join("source/index.m3u8"));
    let rung = probe(&dir.path().join("90p/index.m3u8"));
    assert_eq!(rung, source);
    decode(&dir.path().join("90p/index.m3u8"));
    decode(&master);
}

#[test]
fn another_session_is_a_discontinuity_that_players_read_across() {
    let dir = tempfile::tempdir().unwrap();
    let tags = stream(dir.path(), "a.flv", 5, "-tune zerolatency");
    let mut packager = packager(50, &[]);
    push(&mut packager, &tags, 0);
    packager.discontinuity();
    push(&mut packager, &tags, 60_000);
    packager.discontinuity();
    let store = packager.store();
    save(&store, dir.path());
    let text = String::from_utf8(store.playlist("source").unwrap().to_vec()).unwrap();
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    assert_eq!(text.matches("#EXT-X-MAP").count(), 1);
    let found = probe(&dir.path().join("source/index.m3u8"));
    assert_eq!(found.video.len(), 2 * 5 * 25);
}

#[test]
fn another_encoding_gets_its_own_initialization_segment() {
    let dir = tempfile::tempdir().unwrap();
    let first = stream(dir.path(), "a.flv", 5, "-tune zerolatency");
    let second = stream(dir.path(), "b.flv", 5, "-bf 2 -ar 48000 -s 160x90");
    let mut packager = packager(50, &[]);
    // The publisher changes in mid-stream; nobody tells the packager.
    push(&mut packager, &first, 0);
    push(&mut packager, &second, 5000);
    packager.discontinuity();
    let store = packager.store();
    let text = String::from_utf8(store.playlist("source").unwrap().to_vec()).unwrap();
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    // ffmpeg reads no second initialization segment in one playlist, so each part by itself.
    for (init, parts, frames) in [(1000, 1000..1003, 125), (1003, 1003..1006, 125)] {
        let mut bytes = store.init("source", init).expect("an initialization segment").to_vec();
        parts.for_each(|msn| bytes.extend_from_slice(&store.segment("source", msn).unwrap()));
        let path = dir.path().join("part.mp4");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(probe(&path).video.len(), frames);
        decode(&path);
    }
}

#[test]
fn a_rung_that_misses_a_segment_lists_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let tags = stream(dir.path(), "in.flv", 15, "-tune zerolatency");
    let mut packager = packager(50, &["low"]);
    for tag in &tags {
        push(&mut packager, std::slice::from_ref(tag), 0);
        // The worker dies at 5 s, and is back with the keyframe at 8 s.
        let works = tag.timestamp < 5000 || tag.timestamp >= 8000 || tag.is_sequence_header();
        if tag.video().is_some() && works {
            packager.rendition_video("low", tag.timestamp.into(), tag);
        }
    }
    packager.discontinuity();
    let store = packager.store();
    let entries = |name: &str| {
        let text = String::from_utf8(store.playlist(name).unwrap().to_vec()).unwrap();
        let lines = text.lines().map(str::to_owned);
        lines.filter(|l| l.ends_with(".m4s") || l == "#EXT-X-GAP").collect::<Vec<_>>().join(" ")
    };
    let source = "1000.m4s 1001.m4s 1002.m4s 1003.m4s 1004.m4s 1005.m4s 1006.m4s 1007.m4s";
    assert_eq!(entries("source"), source);
    // The third segment is there in part: what was made of it is shown, up to where it ends.
    let rung = entries("low");
    assert!(rung.contains("#EXT-X-GAP 1003.m4s 1004.m4s"), "{rung}");
    assert_eq!(rung.replace("#EXT-X-GAP ", ""), source);
    save(&store, dir.path());
    decode(&dir.path().join("source/index.m3u8"));
}

#[test]
fn the_window_moves_and_what_left_it_stays_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let tags = stream(dir.path(), "in.flv", 30, "-tune zerolatency -s 64x36");
    let mut packager = packager(3, &[]);
    let store = packager.store();
    let mut lists: BTreeMap<u64, u64> = BTreeMap::new();
    for tag in &tags {
        push(&mut packager, std::slice::from_ref(tag), 0);
        let Some(edge) = store.live_edge() else { continue };
        let text = String::from_utf8(store.playlist("source").unwrap().to_vec()).unwrap();
        let listed = text.lines().filter(|line| line.ends_with(".m4s")).count();
        assert!((1..=3).contains(&listed));
        lists.insert(edge.msn, listed as u64);
        // Everything listed, and as much again, can be fetched.
        for msn in edge.msn.saturating_sub(5).max(1000)..=edge.msn {
            assert!(store.segment("source", msn).is_some(), "{msn} at {}", edge.msn);
        }
        assert!(store.init("source", 1000).is_some());
        assert!(store.segment("source", edge.msn.saturating_sub(8)).is_none());
    }
    assert_eq!(lists.len(), 14);
    assert_eq!(lists.last_key_value(), Some((&1013, &3)));
}

#[test]
fn sound_alone_and_pictures_alone() {
    let dir = tempfile::tempdir().unwrap();
    let tags = stream(dir.path(), "in.flv", 20, "-tune zerolatency");
    let (sound, pictures): (Vec<Tag>, Vec<Tag>) =
        tags.into_iter().partition(|tag| tag.kind == flv::TagKind::Audio);
    for (tags, audio_only) in [(sound, true), (pictures, false)] {
        let dir = tempfile::tempdir().unwrap();
        let mut packager = packager(50, &["never"]);
        push(&mut packager, &tags, 0);
        packager.discontinuity();
        let store = packager.store();
        let source = store.renditions().into_iter().find(|r| r.name == "source").unwrap();
        assert_eq!(source.audio_only, audio_only);
        save(&store, dir.path());
        let found = probe(&dir.path().join("source/index.m3u8"));
        assert_eq!(found.video.is_empty(), audio_only);
        assert_eq!(found.audio.is_empty(), !audio_only);
        decode(&dir.path().join("source/index.m3u8"));
        let text = String::from_utf8(store.playlist("source").unwrap().to_vec()).unwrap();
        assert!(text.matches(".m4s").count() >= 8, "{text}");
    }
}
