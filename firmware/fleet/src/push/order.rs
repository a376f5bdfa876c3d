//! Which machine comes next: canaries first and alone, then so many at once. Pure.
//!
//! ```text
//! canaries ──all good──▶ the rest
//!     └──one is not────▶ the rest is held
//! ```

use std::collections::{BTreeSet, VecDeque};

/// The order of a push over machines 0 to n-1.
#[derive(Debug, Clone)]
pub struct Order {
    waiting: VecDeque<usize>,
    running: BTreeSet<usize>,
    canaries: usize,
    at_once: usize,
    /// Whoever does not do well stops all, not the canaries alone.
    strict: bool,
    bad: bool,
}

impl Order {
    /// An order over `machines`, the first `canaries` of which must do well before the others begin;
    /// at most `at_once` (at least one) at a time.
    #[must_use]
    pub fn new(machines: usize, canaries: usize, at_once: usize) -> Self {
        Self {
            waiting: (0..machines).collect(),
            running: BTreeSet::new(),
            canaries: canaries.min(machines),
            at_once: at_once.max(1),
            strict: false,
            bad: false,
        }
    }

    /// Nobody begins any more once anybody did not do well.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// The machine to begin with now, if one may.
    pub fn begin(&mut self) -> Option<usize> {
        let next = *self.waiting.front()?;
        let canary_ends = self.running.iter().all(|running| *running >= self.canaries);
        let first = next < self.canaries && !(self.strict && self.bad);
        let may = first || (canary_ends && !self.bad);
        if !may || self.running.len() >= self.at_once {
            return None;
        }
        self.waiting.pop_front();
        self.running.insert(next);
        Some(next)
    }

    /// A machine has come to its end; `good` if it runs what it should.
    pub fn ended(&mut self, machine: usize, good: bool) {
        let counts = self.strict || machine < self.canaries;
        if self.running.remove(&machine) && counts && !good {
            self.bad = true;
        }
    }

    /// Those that will not be begun any more because one did not do well.
    #[must_use]
    pub fn held(&self) -> Vec<usize> {
        if self.bad && self.running.is_empty() {
            let all = self.strict;
            self.waiting.iter().copied().filter(|it| all || *it >= self.canaries).collect()
        } else {
            Vec::new()
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.running.is_empty()
            && (self.waiting.is_empty() || self.held().len() == self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn in_a_strict_order_anybody_stops_all() {
        let mut order = Order::new(5, 1, 2).strict();
        assert_eq!((order.begin(), order.begin()), (Some(0), None), "the canary goes alone");
        order.ended(0, true);
        assert_eq!((order.begin(), order.begin(), order.begin()), (Some(1), Some(2), None));
        order.ended(1, false);
        assert_eq!((order.begin(), order.is_over()), (None, false), "one is still at it");
        order.ended(2, true);
        assert!(order.is_over());
        assert_eq!(order.held(), [3, 4]);
    }

    proptest! {
        /// However the machines do: each begins at most once, never too many at a time, none of the
        /// rest before all canaries did well, and the push comes to its end.
        #[test]
        fn canaries_go_first_and_the_push_ends(
            machines in 0_usize..12, canaries in 0_usize..5, at_once in 0_usize..5,
            good in proptest::collection::vec(any::<bool>(), 12), pick in any::<u64>(),
            strict in any::<bool>(),
        ) {
            let mut order = Order::new(machines, canaries, at_once);
            if strict {
                order = order.strict();
            }
            let (mut running, mut done) = (Vec::new(), BTreeSet::new());
            let mut pick = pick;
            while !order.is_over() {
                while let Some(machine) = order.begin() {
                    prop_assert!(!strict || done.iter().all(|it| good[*it]), "one was not well");
                    prop_assert!(!done.contains(&machine) && !running.contains(&machine));
                    if machine >= canaries {
                        let first = canaries.min(machines);
                        prop_assert!((0..first).all(|canary| done.contains(&canary) && good[canary]));
                    }
                    running.push(machine);
                    prop_assert!(running.len() <= at_once.max(1));
                }
                prop_assert!(!running.is_empty(), "nothing runs, and it is not over");
                pick = pick.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let chosen = usize::try_from(pick >> 33).unwrap() % running.len();
                let machine = running.swap_remove(chosen);
                done.insert(machine);
                order.ended(machine, good[machine]);
            }
            prop_assert!(running.is_empty());
            let held = order.held();
            prop_assert_eq!(done.len() + held.len(), machines);
            let all_good = (0..canaries.min(machines)).all(|canary| good[canary]);
            if strict {
                prop_assert!(held.is_empty() || !done.iter().all(|it| good[*it]));
            } else {
                prop_assert_eq!(held.is_empty(), all_good || machines <= canaries);
            }
        }
    }
}
