//! The board: every component's mood, and the last events (the flight recorder).
//!
//! Anybody may write to it and nobody waits for it. Readers are woken by a change and read the
//! newest state: what changed in between is in the events. Memory is bounded: [`KEPT_EVENTS`]
//! events of at most [`MAX_TEXT`] characters, and a mood per component.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::payload::{self, Event, EventKind};
use tokio::sync::{broadcast, watch};

use crate::{
    clock::SharedClock,
    mood::{ComponentStatus, Mood},
};

/// Events kept.
pub const KEPT_EVENTS: usize = 256;
/// Characters of a reason or a message; the rest is cut off.
pub const MAX_TEXT: usize = 500;

/// All components' moods; cloning it is cheap and gives the same board.
#[derive(Debug, Clone)]
pub struct Board {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: SharedClock,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug, Default)]
struct State {
    components: BTreeMap<String, ComponentStatus>,
    events: VecDeque<Event>,
    last_seq: u64,
}

impl Board {
    /// An empty board.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        let state = State { events: VecDeque::with_capacity(KEPT_EVENTS), ..State::default() };
        Self {
            inner: Arc::new(Inner {
                clock,
                state: Mutex::new(state),
                changes: watch::Sender::new(0),
                events: broadcast::Sender::new(KEPT_EVENTS),
            }),
        }
    }

    /// Says how a component is and why. A new mood is an event; a new reason alone is not.
    pub fn set(&self, component: &str, mood: Mood, reason: impl Into<String>) {
        let reason = cut(reason.into(), mood.as_str());
        let now = self.inner.clock.utc();
        let mut state = self.lock();
        let before = state.components.get(component);
        if before.is_some_and(|b| b.mood == mood && b.reason == reason) {
            return;
        }
        let same_mood = before.filter(|b| b.mood == mood);
        let status = ComponentStatus {
            mood,
            since: same_mood.map_or(now, |b| b.since),
            reason: reason.clone(),
            restarts: before.map_or(0, |b| b.restarts),
        };
        let new_mood = same_mood.is_none();
        state.components.insert(component.to_owned(), status);
        drop(state);
        if new_mood {
            self.note(EventKind::Mood, component, format!("{mood}: {reason}"));
            match mood {
                Mood::Sad | Mood::Lost => tracing::warn!(component, "{mood}: {reason}"),
                _ => tracing::info!(component, "{mood}: {reason}"),
            }
        }
        self.changed();
    }

    /// Counts a restart of a component.
    pub fn restarted(&self, component: &str) {
        if let Some(status) = self.lock().components.get_mut(component) {
            status.restarts = status.restarts.saturating_add(1);
        }
        self.changed();
    }

    /// Takes a component off the board: it is not wanted any more.
    pub fn remove(&self, component: &str) {
        self.lock().components.remove(component);
        self.changed();
    }

    /// All components as they are.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, ComponentStatus> {
        self.lock().components.clone()
    }

    /// One component as it is.
    #[must_use]
    pub fn get(&self, component: &str) -> Option<ComponentStatus> {
        self.lock().components.get(component).cloned()
    }

    /// The most worrying mood of all, and whose it is; happy when there are no components.
    #[must_use]
    pub fn worst(&self) -> (Mood, Option<String>) {
        let state = self.lock();
        let worst = state.components.iter().max_by_key(|(_, status)| status.mood);
        worst.map_or((Mood::Happy, None), |(name, status)| (status.mood, Some(name.clone())))
    }

    /// Wakes its holder after every change (of moods, not events).
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Notes that something happened, in the log too.
    pub fn event(&self, kind: EventKind, component: &str, message: impl Into<String>) {
        let message = cut(message.into(), "(nothing said)");
        match kind {
            EventKind::Loss | EventKind::Restart => tracing::warn!(component, "{message}"),
            _ => tracing::info!(component, "{message}"),
        }
        self.note(kind, component, message);
    }

    fn note(&self, kind: EventKind, component: &str, message: String) {
        let at = self.inner.clock.utc();
        let mut state = self.lock();
        state.last_seq += 1;
        let component = component.to_owned();
        let event =
            Event { v: payload::VERSION, seq: state.last_seq, at, kind, component, message };
        if state.events.len() == KEPT_EVENTS {
            state.events.pop_front();
        }
        state.events.push_back(event.clone());
        // Sent under the lock, so that subscribers see events in their order. No subscriber: fine.
        let _ = self.inner.events.send(event);
    }

    /// The last events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.iter().cloned().collect()
    }

    /// The last events and, without a gap, all that follow.
    #[must_use]
    pub fn follow_events(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let state = self.lock();
        (state.events.iter().cloned().collect(), self.inner.events.subscribe())
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line, not empty, not endless.
fn cut(text: String, otherwise: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return otherwise.to_owned();
    }
    let one_line = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(one_line).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::clock::FakeClock;

    fn board() -> (Board, FakeClock) {
        let clock = FakeClock::at("2026-02-03T04:05:06Z".parse().unwrap());
        (Board::new(Arc::new(clock.clone())), clock)
    }

    #[test]
    fn since_changes_only_with_the_mood() {
        let (board, clock) = board();
        board.set("capture", Mood::Waking, "starting");
        let began = board.get("capture").unwrap().since;
        clock.advance(Duration::from_secs(5));
        board.set("capture", Mood::Waking, "starting again");
        let status = board.get("capture").unwrap();
        assert_eq!((status.since, status.reason.as_str()), (began, "starting again"));
        board.set("capture", Mood::Happy, "working");
        assert_eq!(board.get("capture").unwrap().since, began + Duration::from_secs(5));
        let said: Vec<_> = board.events().into_iter().map(|e| (e.kind, e.message)).collect();
        assert_eq!(
            said,
            [
                (EventKind::Mood, "waking: starting".to_owned()),
                (EventKind::Mood, "happy: working".to_owned())
            ]
        );
    }

    #[test]
    fn readers_are_woken_by_changes_only() {
        let (board, _) = board();
        let mut changes = board.subscribe();
        board.set("a", Mood::Happy, "working");
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        board.set("a", Mood::Happy, "working");
        assert!(!changes.has_changed().unwrap());
        board.restarted("a");
        assert!(changes.has_changed().unwrap());
        assert_eq!(board.get("a").unwrap().restarts, 1);
        board.set("a", Mood::Sad, "broken");
        assert_eq!(board.get("a").unwrap().restarts, 1, "kept");
    }

    #[test]
    fn the_most_worrying_mood_counts() {
        let (board, _) = board();
        assert_eq!(board.worst(), (Mood::Happy, None));
        board.set("a", Mood::Hungry, "no input");
        board.set("b", Mood::Happy, "working");
        assert_eq!(board.worst(), (Mood::Hungry, Some("a".to_owned())));
        board.remove("a");
        assert_eq!(board.worst(), (Mood::Happy, Some("b".to_owned())));
    }

    #[test]
    fn followers_miss_nothing_and_memory_is_bounded() {
        let (board, _) = board();
        for i in 0..KEPT_EVENTS + 10 {
            board.event(EventKind::Notice, "a", format!("{i}"));
        }
        let (kept, mut more) = board.follow_events();
        board.event(EventKind::Notice, "a", "last");
        assert_eq!(kept.len(), KEPT_EVENTS);
        assert_eq!(kept[0].seq, 11);
        assert_eq!(more.try_recv().unwrap().seq, kept.last().unwrap().seq + 1);
    }

    proptest! {
        #[test]
        fn a_reason_is_one_line_neither_empty_nor_endless(reason in any::<String>(), long in 0usize..2000) {
            let (board, _) = board();
            board.set("a", Mood::Sad, format!("{reason}{}", "x\n".repeat(long)));
            let shown = board.get("a").unwrap().reason;
            prop_assert!(!shown.is_empty() && shown.chars().count() <= MAX_TEXT);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
