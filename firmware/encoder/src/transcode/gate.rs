//! The entrance to one rendition's pipeline: a bounded number of frames wait inside, and whoever
//! brings the next waits outside, but not for one that makes no progress.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::output::Now;

/// Without progress for this long while frames wait, a pipeline is taken for hung.
pub(crate) const STALL: Duration = Duration::from_secs(3);
/// How often a wait looks around.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    ended: bool,
    queued: usize,
    entered: u64,
    emitted: u64,
    progress: Duration,
}

/// Whether a frame may go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It may, and counts as inside.
    In,
    /// The pipeline is being taken down.
    Closed,
    /// Nothing has moved inside for [`STALL`].
    Stalled,
}

/// Counts what is inside one pipeline.
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    limit: usize,
    now: Now,
    /// Progress is impossible for a reason outside the pipeline.
    excused: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Gate {
    /// `limit`: how many frames may wait. `excused`: asked when nothing moves.
    pub(crate) fn new(
        limit: usize,
        now: Now,
        excused: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State { progress: now(), ..State::default() });
        Self { state, changed: Condvar::new(), limit, now, excused: Box::new(excused) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room.
    pub(crate) fn enter(&self) -> Entry {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Entry::Closed;
            }
            if state.queued < self.limit {
                if state.queued == 0 && state.entered == state.emitted {
                    state.progress = (self.now)();
                }
                state.queued += 1;
                state.entered += 1;
                return Entry::In;
            }
            if self.stalled(&mut state) {
                return Entry::Stalled;
            }
            state =
                self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn stalled(&self, state: &mut State) -> bool {
        let now = (self.now)();
        if now.saturating_sub(state.progress) < STALL {
            return false;
        }
        if (self.excused)() {
            state.progress = now;
            return false;
        }
        true
    }

    /// Whether frames wait inside and none has moved for [`STALL`].
    pub(crate) fn is_stalled(&self) -> bool {
        let mut state = self.lock();
        state.queued > 0 && !state.closed && self.stalled(&mut state)
    }

    /// Whether a frame could go in at once.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        !state.closed && state.queued < self.limit
    }

    fn progress(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.progress = (self.now)();
    }

    /// A frame has left the queue and is being worked on. Who waits is woken when half is free, not
    /// for each frame: a source that is ahead would otherwise cost a switch of threads a frame.
    pub(crate) fn taken(&self) {
        let mut wake = false;
        self.progress(|s| {
            s.queued = s.queued.saturating_sub(1);
            wake = s.queued <= self.limit / 2;
        });
        if wake {
            self.changed.notify_all();
        }
    }

    /// Something came out; `false` when the pipeline is closed and nobody wants it.
    pub(crate) fn emitted(&self) -> bool {
        let mut open = false;
        self.progress(|s| {
            s.emitted += 1;
            open = !s.closed;
        });
        open
    }

    /// Everything that will come out has.
    pub(crate) fn ended(&self) {
        self.progress(|s| s.ended = true);
        self.changed.notify_all();
    }

    /// Nothing goes in any more, nor is taken out; those who wait are let go. Gives the number of
    /// frames that went in and did not come out.
    pub(crate) fn close(&self) -> u64 {
        let mut inside = 0;
        self.progress(|s| {
            s.closed = true;
            inside = s.entered.saturating_sub(s.emitted);
        });
        self.changed.notify_all();
        inside
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits for the end; `false` when the pipeline hangs before it.
    pub(crate) fn wait_for_end(&self) -> bool {
        let mut state = self.lock();
        while !state.ended {
            if state.closed || self.stalled(&mut state) {
                return false;
            }
            state =
                self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    struct Bench {
        ms: Arc<AtomicU64>,
        excused: Arc<AtomicBool>,
        gate: Arc<Gate>,
    }

    fn bench(limit: usize) -> Bench {
        let ms = Arc::new(AtomicU64::new(0));
        let excused = Arc::new(AtomicBool::new(false));
        let (time, excuse) = (ms.clone(), excused.clone());
        let now: Now = Arc::new(move || Duration::from_millis(time.load(Ordering::SeqCst)));
        let gate = Arc::new(Gate::new(limit, now, move || excuse.load(Ordering::SeqCst)));
        Bench { ms, excused, gate }
    }

    #[test]
    fn a_full_gate_waits_until_one_is_taken() {
        let b = bench(2);
        assert_eq!((b.gate.enter(), b.gate.enter()), (Entry::In, Entry::In));
        assert!(!b.gate.has_room());
        let gate = b.gate.clone();
        let waiting = std::thread::spawn(move || gate.enter());
        b.gate.taken();
        assert_eq!(waiting.join().unwrap(), Entry::In);
    }

    #[test]
    fn a_hung_pipeline_is_given_up_and_one_with_an_excuse_is_not() {
        let b = bench(1);
        assert_eq!(b.gate.enter(), Entry::In);
        b.excused.store(true, Ordering::SeqCst);
        b.ms.store(4_000, Ordering::SeqCst);
        assert!(!b.gate.is_stalled());
        b.excused.store(false, Ordering::SeqCst);
        assert!(!b.gate.is_stalled(), "an excuse counts as progress");
        b.ms.store(7_000, Ordering::SeqCst);
        assert!(b.gate.is_stalled());
        assert_eq!(b.gate.enter(), Entry::Stalled);
        assert!(!b.gate.wait_for_end());
    }

    #[test]
    fn long_without_input_is_no_stall() {
        let b = bench(1);
        b.gate.enter();
        b.gate.taken();
        b.gate.emitted();
        b.ms.store(60_000, Ordering::SeqCst);
        assert_eq!(b.gate.enter(), Entry::In);
        assert!(!b.gate.is_stalled());
    }

    #[test]
    fn closing_lets_go_and_counts_what_is_lost() {
        let b = bench(1);
        b.gate.enter();
        let gate = b.gate.clone();
        let waiting = std::thread::spawn(move || gate.enter());
        assert_eq!(b.gate.close(), 1);
        assert_eq!(waiting.join().unwrap(), Entry::Closed);
        assert!(!b.gate.emitted());
    }
}
