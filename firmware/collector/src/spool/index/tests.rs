use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn session(second: i64) -> SessionId {
    SessionId::new(jiff::Timestamp::from_second(1_790_000_000 + second).unwrap())
}

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

#[test]
fn what_is_left_of_earlier_runs_goes_first_and_oldest_first() {
    let (old, now) = (session(0), session(10));
    let mut index = Index::new(room("demo"), now);
    for seq in [3, 1, 2] {
        index.found(&room("demo"), Key { session: old, seq }, 100, seq == 2);
    }
    index.begin(0);
    assert_eq!(index.oldest_waiting(), Some((Key { session: old, seq: 1 }, 100)));
    index.confirm(Key { session: old, seq: 1 });
    assert_eq!(index.oldest_waiting().unwrap().0.seq, 3);
    index.confirm(Key { session: old, seq: 3 });
    assert_eq!(index.oldest_waiting(), None, "what is in memory is sent from there");
    index.stored(0, 50);
    assert_eq!(index.oldest_waiting(), None);
    assert!(index.let_go(0));
    assert_eq!(index.oldest_waiting(), Some((Key { session: now, seq: 0 }, 50)));
    assert_eq!(index.take_unrecorded().len(), 2);
    assert!(index.take_unrecorded().is_empty());
    let count = index.count();
    assert_eq!((count.segments, count.unconfirmed, count.waiting), (4, 1, 1));
    assert_eq!((count.bytes, count.unconfirmed_bytes), (350, 50));
}

#[test]
fn other_rooms_and_later_sessions_are_kept_but_not_sent() {
    let (theirs, ours, later) = (session(0), session(10), session(20));
    let mut index = Index::new(room("demo"), ours);
    index.found(&room("attic"), Key { session: theirs, seq: 0 }, 100, false);
    index.found(&room("demo"), Key { session: later, seq: 0 }, 100, false);
    assert_eq!(index.oldest_waiting(), None);
    assert_eq!(index.room(theirs), &room("attic"));
    assert_eq!((index.count().unconfirmed, index.count().waiting), (2, 0));
    // They go like all others when the disk is full.
    assert_eq!(index.take_victim().unwrap().key.session, theirs);
    assert!(!index.has_session(theirs) && index.has_session(later) && index.has_session(ours));
}

#[test]
fn confirmed_ones_go_first_and_those_in_memory_last() {
    let (old, now) = (session(0), session(10));
    let mut index = Index::new(room("demo"), now);
    for seq in 0..3 {
        index.found(&room("demo"), Key { session: old, seq }, 100, false);
    }
    for seq in 0..2 {
        index.begin(seq);
        index.stored(seq, 10);
    }
    index.begin(2);
    index.confirm(Key { session: now, seq: 0 });
    // The one that is being sent stays.
    assert_eq!(index.oldest_waiting().unwrap().0, Key { session: old, seq: 0 });
    let mut order = Vec::new();
    while let Some(victim) = index.take_victim() {
        order.push((victim.key.session == old, victim.key.seq, victim.confirmed, victim.held));
    }
    assert_eq!(
        order,
        [
            (false, 0, true, false),
            (true, 1, false, false),
            (true, 2, false, false),
            (false, 1, false, true)
        ]
    );
    assert!(!index.let_go(1), "it is in memory only by now");
    assert!(index.let_go(2), "it is on its way");
    index.ended(2, 2_000);
    assert_eq!(index.failed(2), Some(2_000), "and did not get there");
}

#[derive(Debug, Clone)]
enum Step {
    Make,
    Store,
    Fail,
    LetGo(usize),
    Confirm(usize),
    SendNext(bool),
    Room,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Make),
        4 => Just(Step::Store),
        1 => Just(Step::Fail),
        3 => (0..8_usize).prop_map(Step::LetGo),
        2 => (0..8_usize).prop_map(Step::Confirm),
        3 => any::<bool>().prop_map(Step::SendNext),
        1 => Just(Step::Room),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 0..150)
}

/// What really is: memory, the disk, and what everybody was told.
#[derive(Default)]
struct World {
    made: BTreeSet<Key>,
    memory: Vec<Key>,
    open: Option<Key>,
    disk: BTreeSet<Key>,
    recorded: BTreeSet<Key>,
    encoder: BTreeSet<Key>,
    /// Losses that were counted, and dropped confirmed ones.
    told: BTreeSet<Key>,
    sessions: i64,
}

impl World {
    fn index(&mut self) -> Index {
        self.sessions += 1;
        let mut index = Index::new(room("demo"), session(self.sessions));
        for key in &self.disk {
            index.found(&room("demo"), *key, 1, self.recorded.contains(key));
        }
        index
    }

    fn lost(&mut self, key: Key) {
        assert!(self.told.insert(key), "{key} is lost twice");
    }

    fn record(&mut self, index: &mut Index) {
        for (key, _) in index.take_unrecorded() {
            assert!(self.disk.contains(&key) && self.encoder.contains(&key));
            self.recorded.insert(key);
        }
    }

    fn step(&mut self, index: &mut Index, step: &Step) {
        match step {
            Step::Make => {
                if self.open.is_none() {
                    let seq = self.made.iter().filter(|it| it.session == index.session()).count();
                    let key = Key { session: index.session(), seq: seq as u64 };
                    index.begin(key.seq);
                    index.ended(key.seq, 1);
                    self.made.insert(key);
                    self.memory.push(key);
                    self.open = Some(key);
                }
            }
            Step::Store => {
                if let Some(key) = self.open.take() {
                    self.disk.insert(key);
                    index.stored(key.seq, 1);
                    self.record(index);
                }
            }
            Step::Fail => {
                if let Some(key) = self.open.take()
                    && index.failed(key.seq).is_some()
                {
                    self.lost(key);
                }
            }
            Step::LetGo(at) => {
                if *at < self.memory.len() {
                    let key = self.memory.remove(*at);
                    if !index.let_go(key.seq) {
                        self.lost(key);
                    }
                }
            }
            Step::Confirm(at) => {
                if *at < self.memory.len() {
                    let key = self.memory.remove(*at);
                    self.encoder.insert(key);
                    index.confirm(key);
                }
            }
            Step::SendNext(arrives) => {
                if let Some((key, _)) = index.oldest_waiting() {
                    assert!(self.disk.contains(&key), "{key} is not on disk");
                    assert!(!self.memory.contains(&key), "{key} is sent from memory");
                    if *arrives {
                        self.encoder.insert(key);
                        index.confirm(key);
                    }
                }
            }
            Step::Room => {
                if let Some(victim) = index.take_victim() {
                    assert!(self.disk.remove(&victim.key));
                    // A confirmation that was not recorded before a crash may be forgotten.
                    assert!(!victim.confirmed || self.encoder.contains(&victim.key));
                    assert_eq!(victim.held, self.memory.contains(&victim.key));
                    if !victim.confirmed && !victim.held {
                        self.lost(victim.key);
                    }
                }
            }
            Step::Crash => {
                // What was in memory only dies with it; that it does is a matter of the power.
                let gone: Vec<_> = self.memory.drain(..).chain(self.open.take()).collect();
                for key in gone {
                    if !self.disk.contains(&key) {
                        self.told.insert(key);
                    }
                }
                *index = self.index();
            }
        }
    }
}

proptest! {
    /// In any order of making, storing, failing, confirming, dropping and crashing: what the
    /// encoder has not got is in memory, on its way to disk, or waits on disk to be sent, unless
    /// its loss was told; and the index says what is on disk.
    #[test]
    fn nothing_unconfirmed_is_forgotten(steps in steps()) {
        let mut world = World::default();
        let mut index = world.index();
        for step in &steps {
            world.step(&mut index, step);
            let on_disk: BTreeSet<Key> =
                index.segments.iter().filter(|(_, it)| it.on_disk).map(|(key, _)| *key).collect();
            prop_assert_eq!(&on_disk, &world.disk);
        }
        // The network is there again, and everything on disk is sent.
        let mut sent = 0;
        while let Some((key, _)) = index.oldest_waiting() {
            world.encoder.insert(key);
            index.confirm(key);
            sent += 1;
            prop_assert!(sent <= world.made.len());
        }
        for key in &world.made {
            let safe = world.encoder.contains(key)
                || world.memory.contains(key)
                || world.open == Some(*key)
                || world.told.contains(key);
            prop_assert!(safe, "{} is forgotten", key);
        }
    }
}
