use std::process::Command;

use jiff::Timestamp;
use watchdog::clock::FakeClock;

use super::measure::tests::{bytes, segments};
use super::*;

const SOON: Duration = Duration::from_secs(30);

fn session(second: i64) -> SessionId {
    SessionId::new(Timestamp::from_second(1_790_000_000 + second).unwrap())
}

/// A spool on a real disk, with a clock that is moved by hand.
struct Stage {
    root: PathBuf,
    board: Board,
    clock: FakeClock,
    spool: Spool,
    session: SessionId,
}

impl Stage {
    async fn set(root: &Path, second: i64, min_free: u64) -> Self {
        let clock = FakeClock::at(Timestamp::from_second(1_790_000_000 + second).unwrap());
        let shared: SharedClock = Arc::new(clock.clone());
        let board = Board::new(shared.clone());
        let settings = Settings { root: root.to_owned(), min_free };
        let session = session(second);
        let room = "demo".parse().unwrap();
        let spool = Spool::start(settings, room, session, board.clone(), shared).unwrap();
        let stage = Self { root: root.to_owned(), board, clock, spool, session };
        stage.reaches("the scan", |stage| stage.mood() != Mood::Waking).await;
        stage
    }

    fn mood(&self) -> Mood {
        self.board.get(COMPONENT).unwrap().mood
    }

    fn reason(&self) -> String {
        self.board.get(COMPONENT).unwrap().reason
    }

    fn number(&self, name: &str) -> u64 {
        let mut numbers = serde_json::Map::new();
        self.spool.numbers(&mut numbers);
        numbers[name].as_u64().unwrap()
    }

    fn key(&self, seq: u64) -> Key {
        Key { session: self.session, seq }
    }

    fn path(&self, seq: u64) -> PathBuf {
        let name = protocol::ingest::segment_file(seq);
        self.root.join("demo").join(self.session.to_string()).join(name)
    }

    fn offer(&self, segment: &[SegmentEvent]) {
        segment.iter().for_each(|event| self.spool.offer(event));
    }

    fn losses(&self) -> Vec<String> {
        let events = self.board.events().into_iter();
        events
            .filter(|event| event.kind == protocol::payload::EventKind::Loss)
            .map(|event| event.message)
            .collect()
    }

    async fn reaches(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(SOON, reached).await;
        assert!(reached.is_ok(), "waited in vain for {what}: {:?}", self.board.get(COMPONENT));
    }

    async fn has_done_all(&self) {
        let idle = |stage: &Self| {
            let state = stage.spool.0.lock();
            state.jobs.is_empty() && state.busy_since.is_none()
        };
        self.reaches("the disk to be done", idle).await;
    }
}

#[tokio::test]
async fn what_memory_lets_go_is_sent_from_disk_and_a_restart_knows_what_was_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(directory.path(), 0, 0).await;
    let made = segments(4);
    made.iter().for_each(|segment| stage.offer(segment));
    stage.reaches("four on disk", |stage| stage.number("spool_segments") == 4).await;
    assert_eq!(stage.spool.oldest_waiting(), None, "memory has them all");
    assert!(stage.spool.let_go(1) && stage.spool.let_go(2));
    let size = bytes(&made[1]).len() as u64;
    assert_eq!(stage.spool.oldest_waiting(), Some((stage.key(1), size)));
    assert_eq!(stage.spool.read(stage.key(1)).await.unwrap()[..], bytes(&made[1]));
    stage.spool.confirm(stage.key(1));
    stage.spool.confirm(stage.key(0));
    assert_eq!(stage.spool.oldest_waiting().unwrap().0.seq, 2);
    assert_eq!(stage.number("spool_unconfirmed"), 2);
    assert!(stage.number("spool_free_bytes") > 0);
    assert!(stage.spool.finish(SOON).await);

    let again = Stage::set(directory.path(), 10, 0).await;
    assert_eq!(again.mood(), Mood::Happy);
    assert_eq!((again.number("spool_segments"), again.number("spool_unconfirmed")), (4, 2));
    assert_eq!(again.spool.oldest_waiting().unwrap().0, stage.key(2));
    again.spool.set_aside(stage.key(2), "for a test".into());
    again.has_done_all().await;
    assert!(!stage.path(2).exists() && stage.path(2).with_extension("flv.bad").exists());
    assert_eq!(again.spool.oldest_waiting().unwrap().0, stage.key(3));
}

#[tokio::test]
async fn a_session_is_later_than_those_on_disk_even_when_the_clock_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let room: RoomName = "demo".parse().unwrap();
    let now = Timestamp::from_second(1_500_000_000).unwrap();
    assert_eq!(new_session(directory.path(), &room, now).await.began(), now);
    let far = SessionId::new("2400-01-01T00:00:00Z".parse().unwrap());
    for session in [session(0), session(50), far] {
        std::fs::create_dir_all(directory.path().join("demo").join(session.to_string())).unwrap();
    }
    let next = new_session(directory.path(), &room, now).await;
    assert!(next > session(50) && next < far);
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    assert_eq!(new_session(directory.path(), &room, now).await.began(), now);
}

#[tokio::test]
async fn on_a_full_disk_confirmed_ones_go_first_and_a_loss_is_told_with_its_times() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(directory.path(), 0, 0).await;
    let made = segments(3);
    made.iter().for_each(|segment| stage.offer(segment));
    stage.reaches("three on disk", |stage| stage.number("spool_segments") == 3).await;
    stage.spool.confirm(stage.key(1));
    stage.has_done_all().await;
    assert!(stage.spool.finish(SOON).await);

    // No disk has so much free: everything goes, as far as one new segment allows.
    let full = Stage::set(directory.path(), 10, u64::MAX).await;
    full.offer(&made[0]);
    full.has_done_all().await;
    assert!(full.path(0).exists());
    assert!(!stage.path(0).exists() && !stage.path(1).exists() && !stage.path(2).exists());
    assert!(!stage.path(0).parent().unwrap().exists(), "an empty session stays");
    let losses = full.losses();
    assert_eq!(losses.len(), 2, "{losses:?}");
    assert!(losses[0].starts_with(&format!("segment 0 of session {}", stage.session)));
    assert!(losses[0].contains("(0.9 s from 2026-09-21 14:13:20 UTC, "), "{}", losses[0]);
    assert_eq!(full.spool.lost(), (2, 1_800));
    assert_eq!(full.mood(), Mood::Sad);
    assert!(full.reason().contains("the disk is full"), "{}", full.reason());
    // The one that memory still has is no loss when it goes.
    full.offer(&made[1]);
    full.has_done_all().await;
    assert_eq!(full.spool.lost().0, 2);
    assert!(!full.spool.let_go(0) && full.spool.let_go(1));
}

#[tokio::test]
async fn a_disk_that_fails_is_tried_again_and_memory_keeps_what_it_did_not_take() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("spool");
    // A file where the directory should be: nothing can be made there, whoever we are.
    std::fs::write(&root, "").unwrap();
    let stage = Stage::set(&root, 0, 0).await;
    assert_eq!(stage.mood(), Mood::Sad);
    assert!(stage.reason().contains("memory only; trying again in 4 s"), "{}", stage.reason());
    let made = segments(2);
    stage.offer(&made[0]);
    stage.has_done_all().await;
    assert!(!stage.spool.let_go(0), "it is not on disk");
    std::fs::remove_file(&root).unwrap();
    stage.clock.advance(Duration::from_secs(5));
    stage.offer(&made[1]);
    stage.has_done_all().await;
    assert_eq!(stage.mood(), Mood::Happy, "{}", stage.reason());
    assert!(stage.path(1).exists() && stage.spool.let_go(1));
    assert_eq!(stage.losses(), Vec::<String>::new());
}

/// A pipe that nobody reads stands in for a disk that does not answer: to open it blocks.
#[tokio::test]
async fn a_disk_that_hangs_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(directory.path(), 0, 0).await;
    let made = segments(3);
    stage.offer(&made[0]);
    stage.has_done_all().await;
    assert!(stage.path(0).exists());
    let part = stage.path(1).with_extension("flv.part");
    assert!(Command::new("mkfifo").arg(&part).status().unwrap().success());
    stage.offer(&made[1]);
    let busy = |stage: &Stage| stage.spool.0.lock().busy_since.is_some();
    stage.reaches("the disk to hang", busy).await;
    stage.clock.advance(Duration::from_secs(6));
    // Live goes on; what does not fit into the queue stays in memory alone.
    let large = Bytes::from(vec![0; 1 << 20]);
    stage.spool.offer(&SegmentEvent::Start { seq: 2, header: large.clone(), start_ts: 0 });
    assert_eq!(stage.mood(), Mood::Sad);
    assert!(stage.reason().contains("has not answered"), "{}", stage.reason());
    for _ in 0..40 {
        stage.spool.offer(&SegmentEvent::Data(large.clone()));
    }
    stage.spool.offer(&SegmentEvent::End { seq: 2, duration_ms: 2_000 });
    assert!(stage.spool.0.lock().queued <= QUEUE);
    // It answers again: the one that was cut short is given up, and the next is whole.
    let pipe = part.clone();
    let reader = std::thread::spawn(move || std::fs::read(pipe).map(|bytes| bytes.len()));
    stage.has_done_all().await;
    assert!(reader.join().unwrap().unwrap() > 0);
    assert!(!stage.spool.let_go(2));
    stage.clock.advance(Duration::from_secs(200));
    let renumbered: Vec<_> = made[2]
        .iter()
        .cloned()
        .map(|event| match event {
            SegmentEvent::Start { header, start_ts, .. } => {
                SegmentEvent::Start { seq: 3, header, start_ts }
            }
            SegmentEvent::End { duration_ms, .. } => SegmentEvent::End { seq: 3, duration_ms },
            data => data,
        })
        .collect();
    stage.offer(&renumbered);
    stage.has_done_all().await;
    assert_eq!(stage.mood(), Mood::Happy, "{}", stage.reason());
    assert!(stage.path(3).exists());
    assert!(stage.spool.let_go(3) && stage.spool.let_go(0));
}

/// A small file system of its own, when we may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(directory.path())
            .output();
        mount.is_ok_and(|it| it.status.success()).then_some(Self(directory))
    }

    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &how]).arg(self.0.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_disk_without_a_byte_left_and_one_that_is_read_only_are_told_apart() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("no right to mount a file system: the real full disk is not tried");
        return;
    };
    let stage = Stage::set(disk.0.path(), 0, 0).await;
    let made = segments(3);
    stage.offer(&made[0]);
    stage.has_done_all().await;
    assert!(stage.path(0).exists());
    std::fs::write(disk.0.path().join("ballast"), vec![1; 1 << 20]).unwrap_err();
    stage.offer(&made[1]);
    stage.has_done_all().await;
    assert!(stage.reason().contains("the disk is full"), "{}", stage.reason());
    assert!(!stage.spool.let_go(1) && !stage.path(1).exists());
    std::fs::remove_file(disk.0.path().join("ballast")).unwrap();
    disk.remount("ro");
    stage.clock.advance(Duration::from_secs(200));
    stage.offer(&made[2]);
    stage.has_done_all().await;
    assert!(stage.reason().contains("the disk is read-only"), "{}", stage.reason());
    disk.remount("rw");
    stage.clock.advance(Duration::from_secs(200));
    stage.offer(&made[0]);
    stage.has_done_all().await;
    assert_eq!(stage.mood(), Mood::Happy, "{}", stage.reason());
    assert!(stage.spool.finish(SOON).await);
}
