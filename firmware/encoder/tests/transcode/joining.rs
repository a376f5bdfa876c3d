//! Viewers who come late.

use protocol::mood::Mood;

use crate::{
    media::{probe, scratch, test_stream},
    worker::transcode,
};

#[test]
fn every_sync_point_is_one() {
    let dir = scratch();
    let source = test_stream("640x360", 9, &dir.path().join("s.flv"));
    let outcome = transcode(std::fs::read(source).unwrap(), &[]);
    assert!(outcome.success, "{}", outcome.error());
    for (name, most) in [("240p", 9), ("webm-high", 9), ("webm-low", 9), ("ogg", 6), ("mp3", 6)] {
        let frames = outcome.stream(name);
        let points: Vec<usize> = (0..frames.len()).filter(|i| frames[*i].sync).collect();
        assert!(points.len() >= 4, "{name}: {} sync points", points.len());
        for from in points.iter().step_by(points.len().div_ceil(most)) {
            // Decodes without a word of complaint: `probe` sees to that.
            let streams = probe(&outcome.save(name, *from, dir.path()));
            let first = streams.values().next_back().unwrap();
            let expected = frames[*from].ts_ms as i64;
            if name != "mp3" {
                let started = first.packets[0].pts;
                assert!((started - expected).abs() <= 40, "{name}: {started}, not {expected}");
            }
            assert!(first.packets[0].key, "{name} does not start with a keyframe");
            let left = frames.last().unwrap().ts_ms as i64 - expected;
            assert!((first.span() - left).abs() < 250, "{name}: {} of {left} ms", first.span());
        }
    }
}

#[test]
fn a_worker_started_later_goes_on_in_room_time() {
    let dir = scratch();
    let source = test_stream("320x240", 3, &dir.path().join("s.flv"));
    // 40 days into the room's time.
    let start = 40 * 86_400_000_u32;
    let mut tags = crate::media::tags(&source);
    tags.iter_mut().for_each(|tag| tag.timestamp += start);
    let outcome = transcode(crate::media::flv(&tags), &[]);
    assert!(outcome.success, "{}", outcome.error());
    for name in ["webm-high", "ogg"] {
        let streams = probe(&outcome.save(name, 0, dir.path()));
        let first = streams["audio"].packets[0].pts;
        assert!((first - i64::from(start)).abs() < 100, "{name} starts at {first} ms");
        assert_eq!(outcome.last(name).0, Mood::Happy);
    }
}
