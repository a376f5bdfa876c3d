//! The playlist window: which segments each variant lists. A pure state machine.
//!
//! Media sequence numbers are shared: slot *n* is the same stretch of time in every variant. The
//! source closes slots one after the other; each variant fills them in order, with a segment or
//! with a gap, as far as it has come.
//!
//! ```text
//!               ┌ left the window, still served ┐┌────── listed (limit) ─────┐
//!  slots         20   21   22   23   24   25   26   27   28   29   30   31   (32 open)
//!  source         S    S    S    S    S    S    S    S    S    S    S    S
//!  480p           S    S    S    S    S    S    S   gap   S    S    .    .     fills 30 next
//! ```
//! Rules kept (RFC 8216, 6.2.2): the media sequence number never goes back; a listing is without
//! holes; a segment once listed changes no more; the discontinuity sequence number counts the
//! discontinuities that have left; no listed segment is longer than the target duration (which
//! grows, once, if a publisher's GOPs turn out longer than was configured).

use std::collections::VecDeque;

/// A closed stretch of room time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) msn: u64,
    /// Room time of the first picture, milliseconds.
    pub(super) start_ms: u64,
    pub(super) duration_ms: u64,
    /// UTC at the start, milliseconds since 1970.
    pub(super) utc_ms: i64,
    /// Does not continue what was before.
    pub(super) discontinuity: bool,
    /// Starts with a keyframe.
    pub(super) independent: bool,
    /// Discontinuities before this slot, and that of this slot.
    discontinuities: u64,
}

/// What a variant has for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A segment, to be read with this initialization segment.
    Segment { init: u64 },
    /// Nothing.
    Gap,
}

/// One variant's playlist, still without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) media_sequence: u64,
    pub(super) discontinuity_sequence: u64,
    /// Seconds.
    pub(super) target: u64,
    pub(super) entries: Vec<(Slot, Entry)>,
}

#[derive(Debug, Default)]
struct Variant {
    /// Entries from slot `next - entries.len()` on.
    entries: VecDeque<Entry>,
    next: u64,
}

/// All variants' windows.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    keep: usize,
    target: u64,
    discontinuities: u64,
    next: u64,
    slots: VecDeque<Slot>,
    variants: Vec<Variant>,
}

impl Window {
    /// `limit` slots are listed. Numbers start at `first`, which is also the discontinuity sequence
    /// number, unless [`Window::discontinuities_from`] says otherwise.
    pub(super) fn new(limit: usize, first: u64, target_ms: u64, variants: usize) -> Self {
        let limit = limit.max(2);
        let variant = || Variant { entries: VecDeque::new(), next: first };
        Self {
            limit,
            // RFC 8216, 6.2.2: a segment stays for its own length and that of the longest playlist
            // that had it. A little more, for slow caches.
            keep: 2 * limit + 2,
            target: seconds(target_ms),
            discontinuities: first,
            next: first,
            slots: VecDeque::new(),
            variants: (0..variants).map(|_| variant()).collect(),
        }
    }

    /// Starts the discontinuity sequence number at `first`: so a window that starts anew with a
    /// higher `first` is a discontinuity by itself.
    pub(super) fn discontinuities_from(mut self, first: u64) -> Self {
        self.discontinuities = first;
        self
    }

    /// Closes the open slot.
    pub(super) fn close(
        &mut self,
        start_ms: u64,
        duration_ms: u64,
        utc_ms: i64,
        discontinuity: bool,
        independent: bool,
    ) -> Slot {
        self.discontinuities += u64::from(discontinuity);
        let slot = Slot {
            msn: self.next,
            start_ms,
            duration_ms,
            utc_ms,
            discontinuity,
            independent,
            discontinuities: self.discontinuities,
        };
        self.target = self.target.max(seconds(duration_ms));
        self.next += 1;
        self.slots.push_back(slot);
        if self.slots.len() > self.keep {
            self.slots.pop_front();
        }
        let kept = self.slots.len() as u64;
        for variant in &mut self.variants {
            // An entry's place counts back from `next`; drop those before the kept slots.
            let behind = self.next - variant.next;
            let room = kept.saturating_sub(behind) as usize;
            let surplus = variant.entries.len().saturating_sub(room);
            variant.entries.drain(..surplus);
        }
        slot
    }

    /// The slot that a variant has to fill next, if it is closed.
    pub(super) fn due(&self, variant: usize) -> Option<Slot> {
        self.slot(self.variants.get(variant)?.next)
    }

    /// The number of the slot that a variant has to fill next.
    pub(super) fn next(&self, variant: usize) -> u64 {
        self.variants.get(variant).map_or(self.next, |variant| variant.next)
    }

    /// Fills the due slot of a variant.
    pub(super) fn fill(&mut self, variant: usize, entry: Entry) {
        let open = self.next;
        let Some(variant) = self.variants.get_mut(variant).filter(|v| v.next < open) else {
            debug_assert!(false, "nothing is due");
            return;
        };
        variant.next += 1;
        // A playlist does not begin with what a variant never had.
        if !variant.entries.is_empty() || entry != Entry::Gap {
            variant.entries.push_back(entry);
        }
    }

    /// What a variant lists now; `None` while it has nothing.
    pub(super) fn listing(&self, variant: usize) -> Option<Listing> {
        let variant = self.variants.get(variant)?;
        let begins = variant.next - variant.entries.len() as u64;
        let first = begins.max(self.next.saturating_sub(self.limit as u64));
        let entries: Option<Vec<(Slot, Entry)>> = (first..variant.next)
            .map(|msn| Some((self.slot(msn)?, *variant.entries.get((msn - begins) as usize)?)))
            .collect();
        let entries = entries.filter(|entries| !entries.is_empty())?;
        let head = entries.first()?.0;
        Some(Listing {
            media_sequence: first,
            discontinuity_sequence: head.discontinuities - u64::from(head.discontinuity),
            target: self.target,
            entries,
        })
    }

    /// Segments and slots before this number are forgotten.
    pub(super) fn oldest_kept(&self) -> u64 {
        self.slots.front().map_or(self.next, |slot| slot.msn)
    }

    /// Target duration, seconds.
    pub(super) fn target(&self) -> u64 {
        self.target
    }

    fn slot(&self, msn: u64) -> Option<Slot> {
        let at = msn.checked_sub(self.oldest_kept())?;
        self.slots.get(usize::try_from(at).ok()?).copied()
    }
}

/// Rounded as RFC 8216, 4.3.3.1 compares durations with the target.
fn seconds(ms: u64) -> u64 {
    ((ms + 500) / 1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Close { duration_ms: u64, discontinuity: bool },
        Fill { variant: usize, gap: bool },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u64..20_000, prop::bool::weighted(0.2)).prop_map(|(duration_ms, discontinuity)| {
                Step::Close { duration_ms, discontinuity }
            }),
            (0usize..3, prop::bool::weighted(0.3))
                .prop_map(|(variant, gap)| Step::Fill { variant, gap }),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn every_listing_keeps_the_rules(steps in steps(), limit in 2usize..9, first in 0u64..1000) {
            let mut window = Window::new(limit, first, 2000, 3);
            let mut last: [Option<Listing>; 3] = [None, None, None];
            let (mut start, mut flagged) = (0, Vec::new());
            for step in steps {
                match step {
                    Step::Close { duration_ms, discontinuity } => {
                        let slot = window.close(start, duration_ms, 0, discontinuity, true);
                        start += duration_ms;
                        if discontinuity { flagged.push(slot.msn); }
                    }
                    Step::Fill { variant, gap } => {
                        if window.due(variant).is_some() {
                            window.fill(variant, if gap { Entry::Gap } else { Entry::Segment { init: 0 } });
                        }
                    }
                }
                for (variant, last) in last.iter_mut().enumerate() {
                    let Some(now) = window.listing(variant) else { continue };
                    prop_assert!(now.entries.len() <= limit);
                    prop_assert_eq!(now.entries[0].0.msn, now.media_sequence);
                    for pair in now.entries.windows(2) {
                        prop_assert_eq!(pair[1].0.msn, pair[0].0.msn + 1);
                    }
                    for (slot, _) in &now.entries {
                        prop_assert!((slot.duration_ms + 500) / 1000 <= now.target);
                        prop_assert!(slot.msn >= window.oldest_kept());
                    }
                    let gone = flagged.iter().filter(|&&msn| msn < now.media_sequence).count();
                    prop_assert_eq!(now.discontinuity_sequence, first + gone as u64);
                    if let Some(before) = last.as_ref() {
                        prop_assert!(now.media_sequence >= before.media_sequence);
                        prop_assert!(now.discontinuity_sequence >= before.discontinuity_sequence);
                        prop_assert!(now.target >= before.target);
                        // What both list is the same in both, and nothing new comes at the front.
                        for entry in &before.entries {
                            let same = now.entries.iter().find(|new| new.0.msn == entry.0.msn);
                            prop_assert!(same == Some(entry) || entry.0.msn < now.media_sequence);
                        }
                    }
                    *last = Some(now);
                }
            }
        }
    }

    #[test]
    fn a_late_variant_starts_at_its_first_segment_and_lists_its_gaps() {
        let mut window = Window::new(4, 100, 2000, 2);
        for n in 0..6 {
            window.close(n * 2000, 2000, 0, n == 0, true);
            window.fill(0, Entry::Segment { init: 100 });
        }
        let source = window.listing(0).unwrap();
        assert_eq!((source.media_sequence, source.entries.len()), (102, 4));
        assert_eq!(source.discontinuity_sequence, 101, "that of slot 100 has left");
        assert_eq!(window.listing(1), None);
        for entry in [Entry::Gap, Entry::Gap, Entry::Gap, Entry::Segment { init: 103 }, Entry::Gap]
        {
            window.fill(1, entry);
        }
        let rung = window.listing(1).unwrap();
        let entries: Vec<_> = rung.entries.iter().map(|(slot, entry)| (slot.msn, *entry)).collect();
        assert_eq!(entries, [(103, Entry::Segment { init: 103 }), (104, Entry::Gap)]);
        assert_eq!(window.due(1).unwrap().msn, 105);
    }
}
