//! Interleavings by hand, and many by chance.

use proptest::prelude::*;

use super::*;

fn tag(seq: u64, index: usize) -> Tag {
    let ts = u32::try_from(seq * 100 + index as u64).unwrap();
    Tag::aac_frame(ts, format!("{seq}/{index}").as_bytes())
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// What came out, as segment.index numbers and gaps.
fn show(out: &[Output]) -> String {
    let show = |output: &Output| match output {
        Output::Tag(tag) => String::from_utf8_lossy(&tag.payload()).replace('/', "."),
        Output::Gap(gap) => format!("[{}+{}>{}]", gap.from, gap.emitted, gap.to),
    };
    out.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_next_segment_waits_for_the_one_at_live() {
    let (mut ordering, mut out) = (Ordering::new(Limits::default()), Vec::new());
    let now = seconds(1);
    ordering.tag(7, 0, &tag(7, 0), now, &mut out);
    ordering.tag(8, 0, &tag(8, 0), now, &mut out);
    ordering.tag(8, 1, &tag(8, 1), now, &mut out);
    ordering.tag(7, 1, &tag(7, 1), now, &mut out);
    assert_eq!(show(&out), "7.0 7.1");
    ordering.end(8, 2, now, &mut out);
    ordering.end(7, 2, now, &mut out);
    ordering.tag(9, 0, &tag(9, 0), now, &mut out);
    assert_eq!(show(&out), "7.0 7.1 8.0 8.1 9.0");
    assert_eq!(ordering.tag(7, 0, &tag(7, 0), now, &mut out), Taken::Late);
    assert_eq!(ordering.deadline(), None);
}

#[test]
fn a_retry_goes_on_where_live_stood() {
    let (mut ordering, mut out) = (Ordering::new(Limits::default()), Vec::new());
    let now = seconds(1);
    for index in 0..3 {
        ordering.tag(7, index, &tag(7, index), now, &mut out);
    }
    ordering.tag(8, 0, &tag(8, 0), now, &mut out);
    // The upload broke; it is sent again from the start.
    for index in 0..5 {
        assert_eq!(ordering.tag(7, index, &tag(7, index), now, &mut out), Taken::InOrder);
    }
    ordering.end(7, 5, now, &mut out);
    assert_eq!(show(&out), "7.0 7.1 7.2 7.3 7.4 8.0");
    // Another recording under the same number is no retry.
    assert_eq!(ordering.tag(8, 0, &tag(4, 4), now, &mut out), Taken::Differs);
    assert_eq!(ordering.tag(8, 2, &tag(8, 2), now, &mut out), Taken::Differs);
    assert_eq!(out.len(), 6);
}

#[test]
fn a_stalled_segment_is_waited_for_two_seconds() {
    let (mut ordering, mut out) = (Ordering::new(Limits::default()), Vec::new());
    ordering.tag(7, 0, &tag(7, 0), seconds(1), &mut out);
    ordering.tick(seconds(100), &mut out);
    assert_eq!(ordering.deadline(), None, "nobody waits");
    ordering.tag(9, 0, &tag(9, 0), seconds(100), &mut out);
    assert_eq!(ordering.deadline(), Some(seconds(102)));
    // It moves: the two seconds begin again.
    ordering.tag(7, 1, &tag(7, 1), seconds(101), &mut out);
    ordering.tick(seconds(102), &mut out);
    assert_eq!((show(&out).as_str(), ordering.deadline()), ("7.0 7.1", Some(seconds(103))));
    ordering.tick(seconds(103), &mut out);
    assert_eq!(show(&out), "7.0 7.1 [7+2>9] 9.0");
    assert_eq!(ordering.tag(7, 2, &tag(7, 2), seconds(103), &mut out), Taken::Late);
    assert_eq!(ordering.tag(8, 0, &tag(8, 0), seconds(103), &mut out), Taken::Late);
    let Some(Output::Gap(gap)) = out.get(2) else { panic!() };
    assert_eq!(gap.to_string(), "live goes on at segment 9; segment 7 stopped after 2 tags");
}

#[test]
fn what_is_held_is_bounded() {
    let limits = Limits { held: 200, ..Limits::default() };
    let (mut ordering, mut out) = (Ordering::new(limits), Vec::new());
    ordering.tag(1, 0, &tag(1, 0), seconds(1), &mut out);
    for index in 0..20 {
        ordering.tag(2, index, &tag(2, index), seconds(1), &mut out);
        assert!(ordering.held_bytes <= 200);
    }
    assert!(show(&out).starts_with("1.0 [1+1>2] 2.0 2.1"), "{}", show(&out));
    assert_eq!(out.len(), 22);
}

/// One upload of a segment: how many of its tags it brings, and whether it ends cleanly.
#[derive(Debug, Clone)]
struct Upload {
    seq: u64,
    tags: usize,
    whole: bool,
}

prop_compose! {
    /// Segments of 1 to 6 tags, each uploaded up to three times: broken ones, then a whole one.
    fn session()(sizes in prop::collection::vec((1usize..7, prop::collection::vec(0usize..7, 0..3)), 1..7))
        -> Vec<Vec<Upload>>
    {
        sizes.iter().enumerate().map(|(seq, (size, broken))| {
            let seq = seq as u64 + 40;
            let mut uploads: Vec<_> = broken.iter()
                .map(|tags| Upload { seq, tags: (*tags).min(*size), whole: false })
                .collect();
            uploads.push(Upload { seq, tags: *size, whole: true });
            uploads
        }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Every interleaving of every upload: no tag twice, none out of order; and none missing,
    /// however the uploads break, while nobody's patience ends.
    #[test]
    fn each_tag_once_and_in_order(
        session in session(),
        choices in prop::collection::vec((any::<prop::sample::Index>(), 0u64..900), 1..400),
        impatient in any::<bool>(),
    ) {
        let sizes: Vec<_> = session.iter().map(|u| u.last().unwrap().tags).collect();
        let mut running: Vec<(Upload, usize)> = session.into_iter().flatten().map(|u| (u, 0)).collect();
        let (mut ordering, mut out) = (Ordering::new(Limits::default()), Vec::new());
        let mut now = Duration::ZERO;
        // The first to come is where live begins; a collector begins with it too.
        ordering.tag(40, 0, &tag(40, 0), now, &mut out);
        let mut choices = choices.iter().cycle();
        while !running.is_empty() {
            let (choice, wait) = choices.next().unwrap();
            if impatient {
                now += Duration::from_millis(*wait);
                ordering.tick(now, &mut out);
            }
            let turn = choice.index(running.len());
            let (upload, done) = &mut running[turn];
            if *done < upload.tags {
                ordering.tag(upload.seq, *done, &tag(upload.seq, *done), now, &mut out);
                *done += 1;
                continue;
            }
            if upload.whole {
                ordering.end(upload.seq, upload.tags, now, &mut out);
            }
            running.remove(turn);
        }
        let wanted: Vec<_> = sizes.iter().enumerate()
            .flat_map(|(seq, size)| (0..*size).map(move |index| tag(seq as u64 + 40, index)))
            .collect();
        let got: Vec<_> = out.iter().filter_map(|output| match output {
            Output::Tag(tag) => Some(tag.clone()),
            Output::Gap(_) => None,
        }).collect();
        let gaps = out.len() - got.len();
        if gaps == 0 {
            prop_assert_eq!(&got, &wanted);
        }
        if !impatient {
            prop_assert_eq!(gaps, 0);
        }
        // Strictly rising timestamps: once each, in order.
        prop_assert!(got.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
        // What is missing is where a gap says so.
        let mut before: Option<&Tag> = None;
        let mut gap: Option<&Gap> = None;
        for output in &out {
            match output {
                Output::Gap(found) => gap = Some(found),
                Output::Tag(tag) => {
                    let place = |t: &Tag| wanted.iter().position(|w| w == t).unwrap();
                    let expected = before.map_or(0, |b| place(b) + 1);
                    match gap.take() {
                        None => prop_assert_eq!(place(tag), expected),
                        Some(gap) => {
                            prop_assert!(place(tag) >= expected);
                            prop_assert_eq!(u64::from(tag.timestamp), gap.to * 100);
                        }
                    }
                    before = Some(tag);
                }
            }
        }
        prop_assert_eq!(ordering.held_bytes, 0);
    }
}
