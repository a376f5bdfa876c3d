use super::*;
use crate::Parser;
use proptest::prelude::*;

/// A segment as its receiver sees it.
#[derive(Debug, Default)]
struct Segment {
    seq: u64,
    bytes: Vec<u8>,
    start_ts: u32,
    duration_ms: u32,
}

impl Segment {
    /// Every tag, through the parser: so it parses alone.
    fn tags(&self) -> Vec<Tag> {
        let mut parser = Parser::default();
        parser.push(&self.bytes);
        let tags: Vec<Tag> = std::iter::from_fn(|| parser.next_tag().unwrap()).collect();
        parser.finish().unwrap();
        tags
    }

    fn media(&self) -> Vec<Tag> {
        let media = |tag: &Tag| tag.kind != TagKind::Script && !tag.is_sequence_header();
        self.tags().into_iter().filter(media).collect()
    }
}

fn collect(events: Vec<SegmentEvent>) -> Vec<Segment> {
    let mut whole = Vec::new();
    let mut open: Option<Segment> = None;
    for event in events {
        match event {
            SegmentEvent::Start { seq, header, start_ts } => {
                let new = Segment { seq, bytes: header.to_vec(), start_ts, duration_ms: 0 };
                assert!(open.replace(new).is_none(), "a start inside a segment");
            }
            SegmentEvent::Data(data) => {
                open.as_mut().expect("data outside a segment").bytes.extend_from_slice(&data);
            }
            SegmentEvent::End { seq, duration_ms } => {
                let mut segment = open.take().expect("an end outside a segment");
                assert_eq!(segment.seq, seq);
                segment.duration_ms = duration_ms;
                whole.push(segment);
            }
        }
    }
    assert!(open.is_none(), "the last segment has no end");
    whole
}

fn run(options: Options, tags: &[Tag]) -> Vec<Segment> {
    let mut segmenter = Segmenter::new(options);
    let mut events: Vec<_> = tags.iter().flat_map(|tag| segmenter.push(tag.clone())).collect();
    events.extend(segmenter.finish());
    collect(events)
}

fn avc(body: &[u8]) -> Tag {
    Tag::avc_sequence_header(0, body)
}

fn aac() -> Tag {
    Tag::aac_sequence_header(0, &[0x12, 0x10])
}

/// 25 fps with a keyframe every `gop` frames, sound every 20 ms; `frames` pictures from `start`.
fn stream(start: u32, frames: u32, gop: u32) -> Vec<Tag> {
    let mut tags = vec![avc(b"avcc"), aac()];
    for n in 0..frames {
        let ts = start.wrapping_add(n * 40);
        tags.push(Tag::avc_frame(ts, 0, n % gop == 0, &n.to_be_bytes()));
        tags.push(Tag::aac_frame(ts, b"a"));
        tags.push(Tag::aac_frame(ts.wrapping_add(20), b"b"));
    }
    tags
}

#[test]
fn one_segment_per_gop_each_with_its_headers() {
    let mut segmenter = Segmenter::new(Options::default());
    segmenter.set_room("demo");
    let mut events = Vec::new();
    for (n, tag) in stream(1000, 125, 50).into_iter().enumerate() {
        segmenter.set_wallclock(n as i64);
        events.extend(segmenter.push(tag));
    }
    events.extend(segmenter.finish());
    let segments = collect(events);
    let shape: Vec<_> = segments.iter().map(|s| (s.seq, s.start_ts, s.duration_ms)).collect();
    assert_eq!(shape, [(0, 1000, 2000), (1, 3000, 2000), (2, 5000, 980)]);
    for segment in &segments {
        let tags = segment.tags();
        let metadata = Metadata::from_tag(&tags[0]).unwrap();
        assert_eq!(metadata.room.as_deref(), Some("demo"));
        assert_eq!(metadata.wallclock_ms, Some(2 + 150 * segment.seq as i64));
        assert!(tags[1].is_sequence_header() && tags[2].is_sequence_header());
        assert!(tags[3].is_keyframe());
        assert!(tags.iter().all(|tag| tag.timestamp >= segment.start_ts));
    }
}

#[test]
fn short_gops_are_joined_up_to_the_minimum() {
    let options = Options { min_ms: 1900, ..Options::default() };
    let segments = run(options, &stream(0, 100, 10));
    let lengths: Vec<_> = segments.iter().map(|s| s.duration_ms).collect();
    assert_eq!(lengths, [2000, 1980]);
}

#[test]
fn nothing_before_the_first_keyframe() {
    let tags = stream(0, 75, 50);
    // Begins inside a GOP, with the headers sent again as a publisher would.
    let late = [&tags[..2], &tags[20..]].concat();
    let segments = run(Options::default(), &late);
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].start_ts, 2000);
}

#[test]
fn sound_alone_is_cut_every_two_seconds_and_none_is_lost() {
    let sound: Vec<Tag> = (0..300).map(|n| Tag::aac_frame(n * 21, &n.to_be_bytes())).collect();
    let segments = run(Options::default(), &[&[aac()][..], &sound].concat());
    let media: Vec<Tag> = segments.iter().flat_map(Segment::media).collect();
    assert_eq!(media, sound);
    assert!(segments.len() == 4 && segments[..3].iter().all(|s| s.duration_ms < 2050));
    // Shorter than the wait for video.
    let short = run(Options::default(), &[&[aac()][..], &sound[..10]].concat());
    assert_eq!(short[0].media(), &sound[..10]);
}

#[test]
fn a_changed_picture_header_cuts_at_the_next_keyframe() {
    let options = Options { min_ms: 60_000, ..Options::default() };
    let mut tags = stream(0, 50, 50);
    tags.extend(stream(2000, 50, 50));
    let index = 152;
    assert!(tags[index].is_sequence_header());
    tags[index] = avc(b"other");
    let segments = run(options, &tags);
    assert_eq!(segments.len(), 2);
    assert_eq!(&segments[1].tags()[1].payload()[..], b"other");
}

#[test]
fn a_changed_sound_header_is_written_before_the_sound_it_is_for() {
    let mut tags = stream(0, 20, 50);
    let new = Tag::aac_sequence_header(0, &[0x11, 0x90]);
    tags.insert(32, new.clone());
    let segments = run(Options::default(), &tags);
    let inside: Vec<Tag> = segments[0].tags().into_iter().skip(3).collect();
    let at = inside.iter().position(|tag| tag.data == new.data).unwrap();
    assert_eq!(inside.iter().position(Tag::is_sequence_header), Some(at));
    assert_eq!(inside[at + 1].kind, TagKind::Audio);
    assert_eq!(inside[at].timestamp, inside[at + 1].timestamp);
}

#[test]
fn sound_goes_on_when_pictures_stop() {
    let mut tags = stream(0, 50, 50);
    let sound: Vec<Tag> = (0..500).map(|n| Tag::aac_frame(2000 + n * 20, b"s")).collect();
    tags.extend(sound);
    let segments = run(Options::default(), &tags);
    assert!(segments.len() >= 5, "{} segments", segments.len());
    assert!(segments.iter().all(|s| s.duration_ms <= 4100));
}

#[test]
fn timestamps_may_wrap() {
    let segments = run(Options::default(), &stream(u32::MAX - 2500, 125, 50));
    let lengths: Vec<_> = segments.iter().map(|s| s.duration_ms).collect();
    assert_eq!(lengths, [2000, 2000, 980]);
}

fn any_tags() -> impl Strategy<Value = Vec<Tag>> {
    let step = prop_oneof![9 => 0u32..100, 1 => any::<u32>()];
    let one = (0u8..12, step, prop::collection::vec(any::<u8>(), 0..8));
    prop::collection::vec(one, 0..120).prop_map(|parts| {
        let mut ts = 0u32;
        parts
            .into_iter()
            .map(|(what, step, body)| {
                ts = ts.wrapping_add(step);
                match what {
                    0 => avc(&body[..body.len().min(1)]),
                    1 => Tag::aac_sequence_header(ts, &body[..body.len().min(1)]),
                    2 => Metadata::default().to_tag(ts),
                    3 => Tag { kind: TagKind::Video, timestamp: ts, data: body.into() },
                    4 | 5 => Tag::avc_frame(ts, 0, true, &body),
                    6..=8 => Tag::avc_frame(ts, 0, false, &body),
                    _ => Tag::aac_frame(ts, &body),
                }
            })
            .collect()
    })
}

proptest! {
    /// With video headers first, every media tag from the first keyframe on is in exactly one
    /// segment, in order; every segment parses alone and starts with a keyframe or with sound.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(tags in any_tags(), min_ms in 0u32..300) {
        let tags = [&[avc(b"x")][..], &tags].concat();
        let first = tags.iter().position(Tag::is_keyframe).unwrap_or(tags.len());
        let wanted: Vec<Tag> = tags[first..]
            .iter()
            .filter(|tag| tag.kind != TagKind::Script && !tag.is_sequence_header())
            .cloned()
            .collect();
        let options = Options { min_ms, first_seq: 5, ..Options::default() };
        let segments = run(options, &tags);
        let media: Vec<Tag> = segments.iter().flat_map(Segment::media).collect();
        prop_assert_eq!(media, wanted);
        for (n, segment) in segments.iter().enumerate() {
            prop_assert_eq!(segment.seq, 5 + n as u64);
            let media = segment.media();
            prop_assert!(media[0].is_keyframe() || media[0].kind == TagKind::Audio);
            prop_assert_eq!(media[0].timestamp, segment.start_ts);
        }
    }

    #[test]
    fn the_same_tags_give_the_same_bytes(tags in any_tags()) {
        let bytes = |segments: Vec<Segment>| segments.into_iter().map(|s| s.bytes).collect::<Vec<_>>();
        let options = Options::default();
        prop_assert_eq!(bytes(run(options, &tags)), bytes(run(options, &tags)));
    }
}
