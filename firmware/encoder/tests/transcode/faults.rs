//! One part fails; the others go on.

use protocol::mood::Mood;

use crate::{
    media::{flv, frames, scratch, tags, test_stream},
    worker::transcode,
};

const OTHERS: [&str; 4] = ["240p", "webm-high", "ogg", "mp3"];

#[test]
fn a_rendition_that_does_not_start_leaves_the_others() {
    let dir = scratch();
    let source = test_stream("640x480", 5, &dir.path().join("s.flv"));
    let count = frames(&tags(&source), ::flv::TagKind::Video) as u64;
    let outcome = transcode(std::fs::read(source).unwrap(), &["--fail", "webm-low"]);
    assert!(outcome.success, "{}", outcome.error());
    let (mood, reason, made, dropped) = outcome.last("webm-low");
    assert_eq!((mood, made, dropped), (Mood::Sad, 0, count));
    assert_eq!(
        reason,
        "cannot start: GStreamer has no `encoder-missing-on-purpose`: a plugin package is missing \
         on this machine"
    );
    for name in OTHERS {
        assert_eq!((outcome.last(name).0, outcome.last(name).3), (Mood::Happy, 0), "{name}");
    }
    assert_eq!(outcome.last("240p").2, count);
}

#[test]
fn a_rendition_that_hangs_is_given_up_and_made_again() {
    let dir = scratch();
    let source = test_stream("960x540", 20, &dir.path().join("s.flv"));
    let count = frames(&tags(&source), ::flv::TagKind::Video) as u64;
    for hung in ["webm-low", "240p"] {
        let outcome = transcode(std::fs::read(&source).unwrap(), &["--hang", hung]);
        assert!(outcome.success, "{}", outcome.error());
        let said = outcome.said(hung);
        let sad = said.iter().find(|(mood, ..)| *mood == Mood::Sad);
        assert_eq!(sad.map(|s| s.1.as_str()), Some("it hung: no frame came out for 3 s"));
        let (mood, _, made, dropped) = outcome.last(hung);
        assert_eq!(mood, Mood::Happy, "{hung} did not come back");
        assert!(dropped > 0 && made > 25, "{hung}: {made} made, {dropped} dropped");
        assert_eq!(made + dropped, count, "every frame of {hung} is accounted for");
        for name in ["480p", "webm-high"] {
            assert_eq!((outcome.last(name).2, outcome.last(name).3), (count, 0), "{name}");
        }
        if hung == "240p" {
            let frames = outcome.stream(hung);
            let again = frames.iter().filter(|f| f.sync).map(|f| f.ts_ms).collect::<Vec<_>>();
            let keys: Vec<_> =
                outcome.stream("480p").iter().filter(|f| f.sync).map(|f| f.ts_ms).collect();
            assert!(again.iter().all(|key| keys.contains(key)), "{again:?} among {keys:?}");
        }
    }
}

#[test]
fn what_is_no_flv_is_named() {
    let outcome = transcode(b"GIF89a is not what is wanted here, by any means".repeat(9), &[]);
    assert!(!outcome.success);
    assert!(outcome.error().starts_with("the input: "), "{}", outcome.error());
    assert!(outcome.error().contains("FLV"), "{}", outcome.error());
    assert!(outcome.frames.is_empty());
}

#[test]
fn a_torn_end_costs_only_what_is_torn() {
    let dir = scratch();
    let source = test_stream("640x480", 3, &dir.path().join("s.flv"));
    let mut bytes = std::fs::read(source).unwrap();
    let cut = bytes.len() * 2 / 3;
    bytes.truncate(cut);
    let outcome = transcode(bytes, &[]);
    assert!(!outcome.success);
    assert!(outcome.error().starts_with("the input: "), "{}", outcome.error());
    assert!(outcome.stream("240p").len() > 25, "what came before the tear is made");
}

#[test]
fn broken_pictures_do_not_stop_the_good_ones() {
    let dir = scratch();
    let source = test_stream("640x480", 8, &dir.path().join("s.flv"));
    let mut tags = tags(&source);
    // Two seconds of rubbish in whole tags.
    for tag in tags.iter_mut().filter(|t| (2_000..4_000).contains(&t.timestamp)) {
        if !tag.is_sequence_header() && tag.data.len() > 20 {
            let (head, body) = tag.data.split_at(if tag.video().is_some() { 5 } else { 2 });
            let rubbish =
                body.iter().enumerate().map(|(i, b)| b ^ (i as u8).wrapping_mul(89) ^ 0x5a);
            tag.data = head.iter().copied().chain(rubbish).collect();
        }
    }
    let outcome = transcode(flv(&tags), &[]);
    assert!(outcome.success, "{}", outcome.error());
    let last = outcome.stream("240p").last().unwrap().ts_ms;
    assert!(last > 7_800, "the rung ends at {last} ms");
    let sound = outcome.stream("ogg").last().unwrap().ts_ms;
    assert!(sound > 7_500, "the sound ends at {sound} ms");
}

#[test]
fn a_ladder_that_is_none_is_explained() {
    let dir = scratch();
    let file = dir.path().join("ladder.toml");
    std::fs::write(&file, "[[ladder]]\nname = \"480p\"\nheigth = 480\nbitrate = \"700k\"\n")
        .unwrap();
    let outcome = std::process::Command::new(env!("CARGO_BIN_EXE_encoder"))
        .args(["transcode", "--ladder"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(!outcome.status.success());
    assert!(said.contains("unknown field `heigth`") && said.contains("line 3"), "{said}");
}
