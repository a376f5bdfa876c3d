//! Timestamps made whole: 32-bit FLV time unrolled, and successive sessions joined into one
//! room timeline that never goes back.

use crate::TagKind;

/// Unrolls wrapping 32-bit milliseconds into 64 bits.
///
/// Each step is read as the shorter way round, so small steps back stay small steps back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unroll {
    last: Option<(u32, u64)>,
}

impl Unroll {
    /// Starts at the first timestamp given.
    pub fn new() -> Self {
        Self::default()
    }

    /// The 64-bit time of `ts`, milliseconds; never below 0.
    pub fn next(&mut self, ts: u32) -> u64 {
        let whole = match self.last {
            None => u64::from(ts),
            Some((last, whole)) => {
                whole.saturating_add_signed((ts.wrapping_sub(last) as i32).into())
            }
        };
        self.last = Some((ts, whole));
        whole
    }
}

/// How far time may step inside a session before it is taken as the publisher starting anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Milliseconds back.
    pub back: u32,
    /// Milliseconds forward.
    pub forward: u32,
}

impl Default for Steps {
    /// A second back, ten seconds forward.
    fn default() -> Self {
        Self { back: 1000, forward: 10_000 }
    }
}

/// Where a tag lies on the room's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Room time, milliseconds. Never below that of an earlier tag of the same kind.
    pub ms: u64,
    /// The publisher's time jumped, or a session begins: what follows does not continue what was.
    pub discontinuity: bool,
}

/// Joins sessions into one timeline.
///
/// ```text
///  session A  100 140 180 │           session B  7 47 87
///  room time    0  40  80 │ (gap as told)    3000 3040 3080
/// ```
/// The sound and pictures of a session keep their distance to each other.
#[derive(Debug, Clone, Default)]
pub struct Rebase {
    steps: Steps,
    unroll: Unroll,
    /// Room time minus unrolled time.
    offset: i64,
    /// Unrolled time of the latest tag; `None` at the start of a session.
    latest: Option<u64>,
    /// Where the session at hand may start at the earliest.
    floor: u64,
    /// Latest room time of audio, video and script.
    placed: [Option<u64>; 3],
}

/// Between the last tag of one session and the first of the next, when no longer gap is known.
const STEP: u64 = 40;

impl Rebase {
    /// A timeline that starts at 0.
    pub fn new(steps: Steps) -> Self {
        Self { steps, ..Self::default() }
    }

    /// A new session begins, at `at_least` milliseconds of room time if that is later than where
    /// the last one ended: pass the room's own clock to keep the gap, or 0 to close it.
    pub fn begin_session(&mut self, at_least: u64) {
        self.latest = None;
        self.unroll = Unroll::new();
        self.floor = at_least.max(self.end().map_or(0, |end| end + STEP));
    }

    /// Latest room time given to any tag.
    pub fn end(&self) -> Option<u64> {
        self.placed.iter().flatten().max().copied()
    }

    /// Places a tag's timestamp on the room's timeline.
    pub fn place(&mut self, kind: TagKind, ts: u32) -> Placed {
        let now = self.unroll.next(ts);
        let jumped = self.latest.is_some_and(|latest| {
            now.saturating_add(self.steps.back.into()) < latest
                || now > latest.saturating_add(self.steps.forward.into())
        });
        let discontinuity = jumped || self.latest.is_none();
        if jumped {
            self.floor = self.end().map_or(0, |end| end + STEP);
        }
        if discontinuity {
            self.offset = difference(self.floor, now);
        }
        self.latest = Some(if discontinuity { now } else { self.latest.unwrap_or(now).max(now) });
        let slot = &mut self.placed[match kind {
            TagKind::Audio => 0,
            TagKind::Video => 1,
            TagKind::Script => 2,
        }];
        let ms = now.saturating_add_signed(self.offset).max(self.floor).max(slot.unwrap_or(0));
        *slot = Some(ms);
        Placed { ms, discontinuity }
    }
}

/// `a - b`, as far as it fits.
fn difference(a: u64, b: u64) -> i64 {
    let magnitude = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sessions_follow_each_other() {
        let mut rebase = Rebase::default();
        rebase.begin_session(0);
        let place = |rebase: &mut Rebase, ts| rebase.place(TagKind::Video, ts).ms;
        assert_eq!([100, 140, 180].map(|ts| place(&mut rebase, ts)), [0, 40, 80]);
        rebase.begin_session(3000);
        let first = rebase.place(TagKind::Video, 7);
        assert_eq!(first, Placed { ms: 3000, discontinuity: true });
        // Sound of the same session that started 5 ms before its pictures cannot go before it.
        assert_eq!(rebase.place(TagKind::Audio, 2), Placed { ms: 3000, discontinuity: false });
        assert_eq!(rebase.place(TagKind::Audio, 23).ms, 3016);
        rebase.begin_session(0);
        assert_eq!(place(&mut rebase, 0), 3056);
    }

    #[test]
    fn a_jump_is_closed_and_told() {
        let mut rebase = Rebase::default();
        rebase.begin_session(0);
        for (ts, ms, discontinuity) in [
            (1000, 0, true),
            (1040, 40, false),
            (900_000, 80, true),
            (900_040, 120, false),
            (5, 160, true),
        ] {
            let placed = rebase.place(TagKind::Video, ts);
            assert_eq!(placed, Placed { ms, discontinuity }, "at {ts}");
        }
    }

    proptest! {
        #[test]
        fn unrolling_gives_back_the_true_time(start: u32, steps in prop::collection::vec(-1000i64..0x7fff_ffff, 0..50)) {
            let mut unroll = Unroll::new();
            let mut truth = u64::from(start);
            prop_assert_eq!(unroll.next(start), truth);
            for step in steps {
                let next = truth.saturating_add_signed(step);
                if next == 0 { break; }
                truth = next;
                prop_assert_eq!(unroll.next(truth as u32), truth);
            }
        }

        #[test]
        fn room_time_never_goes_back(tags in prop::collection::vec((any::<u32>(), 0u8..3, 0u8..20, 0u64..10_000), 0..100)) {
            let kinds = [TagKind::Audio, TagKind::Video, TagKind::Script];
            let mut rebase = Rebase::default();
            let mut last = [0u64; 3];
            for (ts, kind, session, gap) in tags {
                if session == 0 {
                    let end = rebase.end();
                    rebase.begin_session(gap);
                    let placed = rebase.place(kinds[kind as usize], ts);
                    prop_assert!(placed.discontinuity && placed.ms >= gap);
                    prop_assert!(end.is_none_or(|end| placed.ms > end));
                    last[kind as usize] = placed.ms;
                } else {
                    let ms = rebase.place(kinds[kind as usize], ts).ms;
                    prop_assert!(ms >= last[kind as usize]);
                    last[kind as usize] = ms;
                }
            }
        }

        #[test]
        fn a_steady_session_keeps_its_distances(start: u32, steps in prop::collection::vec(0u32..5000, 1..50)) {
            let mut rebase = Rebase::default();
            rebase.begin_session(777);
            let mut ts = start;
            let mut wanted = 777;
            prop_assert_eq!(rebase.place(TagKind::Video, ts).ms, wanted);
            for step in steps {
                ts = ts.wrapping_add(step);
                wanted += u64::from(step);
                prop_assert_eq!(rebase.place(TagKind::Video, ts), Placed { ms: wanted, discontinuity: false });
            }
        }
    }
}
