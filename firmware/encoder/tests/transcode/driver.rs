//! The daemon's side, with real workers that are killed and stopped.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use encoder::transcode::{
    Ladder, Options, Rung,
    driver::{self, Feed, TranscodeEvent},
};
use flv::Tag;
use protocol::mood::Mood;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use watchdog::{board::Board, clock, mood::ComponentStatus};

use crate::media::{scratch, tags, test_stream};

const PATIENCE: Duration = Duration::from_secs(60);

struct Room {
    board: Board,
    cancel: CancellationToken,
    events: tokio::sync::mpsc::Receiver<TranscodeEvent>,
    task: tokio::task::JoinHandle<()>,
    rung: &'static str,
    publishing: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<u64>>>,
}

/// A room that is published to for ever, in real time, until told to pause.
fn room(rung: &'static str) -> Room {
    let dir = scratch();
    let tags = tags(&test_stream("320x240", 4, &dir.path().join("s.flv")));
    let ladder = Ladder {
        rungs: vec![Rung { name: rung.into(), height: 120, bitrate: 100_000 }],
        webm_high: None,
        webm_low: Some(100_000),
    };
    let clock = clock::system();
    let board = Board::new(clock.clone());
    let cancel = CancellationToken::new();
    let options = Options::new("demo".parse().unwrap(), env!("CARGO_BIN_EXE_encoder"), ladder);
    let running = driver::spawn(options, board.clone(), clock, cancel.clone());
    let publishing = Arc::new(AtomicBool::new(true));
    let sent = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(publish(running.feed, tags, publishing.clone(), sent.clone(), cancel.clone()));
    let (events, task) = (running.events, running.task);
    Room { board, cancel, events, task, rung, publishing, sent }
}

/// The publisher: its clock is the time of the tags.
async fn publish(
    feed: Feed,
    tags: Vec<Tag>,
    publishing: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<u64>>>,
    cancel: CancellationToken,
) {
    let length = u64::from(tags.last().unwrap().timestamp) + 40;
    // Near the end of FLV's 32 bits: the driver must see through the wrap.
    let (mut base, mut tick) =
        ((1 << 32) - 3_000, tokio::time::interval(Duration::from_millis(20)));
    while !cancel.is_cancelled() {
        let mut now = 0;
        for tag in &tags {
            while now < u64::from(tag.timestamp) {
                tick.tick().await;
                now += if publishing.load(Ordering::Relaxed) { 20 } else { 0 };
            }
            let room_ms = base + u64::from(tag.timestamp);
            if tag.video().is_some() && !tag.is_sequence_header() {
                sent.lock().unwrap().push(room_ms);
            }
            feed.push(room_ms, tag);
        }
        base += length;
    }
}

impl Room {
    /// The next event that is wanted.
    async fn next<T>(&mut self, what: &str, want: impl Fn(&TranscodeEvent) -> Option<T>) -> T {
        let find = async {
            loop {
                let event = self.events.recv().await.expect("events");
                if let Some(found) = want(&event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    /// The time of the next frame of the rung.
    async fn frame(&mut self) -> u64 {
        let name = self.rung;
        let of_rung = move |event: &TranscodeEvent| match event {
            TranscodeEvent::Tag { stream, ts_ms, tag } if stream == name => {
                (!tag.is_sequence_header()).then_some(*ts_ms)
            }
            _ => None,
        };
        self.next("frame of the rung", of_rung).await
    }

    /// Takes what comes out until something is found after a change on the board.
    async fn until<T>(&mut self, what: &str, mut find: impl FnMut(&Board) -> Option<T>) -> T {
        let board = self.board.clone();
        let mut changes = board.subscribe();
        let wait = async {
            loop {
                if let Some(found) = find(&board) {
                    return found;
                }
                tokio::select! {
                    _ = self.events.recv() => {}
                    _ = changes.changed() => {}
                }
            }
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("not {what}: {:?}, {:?}", board.snapshot(), board.events()))
    }

    /// Waits until a component is in this mood.
    async fn mood(&mut self, component: &str, mood: Mood) -> ComponentStatus {
        let is = |board: &Board| board.get(component).filter(|s| s.mood == mood);
        self.until(&format!("{component} is {mood}"), is).await
    }

    /// Waits until a component came into this mood after that event, be it for a moment, and says
    /// why it did: a worker that failed is started again at once.
    async fn passes(&mut self, component: &str, mood: Mood, after: u64) -> String {
        let said = format!("{mood}: ");
        let was = |board: &Board| {
            let later = board.events().into_iter().filter(|e| e.seq > after);
            let mut of_it = later.filter(|e| e.component == component);
            of_it.find_map(|e| Some(e.message.strip_prefix(&said)?.to_owned()))
        };
        self.until(&format!("{component} was {mood}"), was).await
    }

    /// The worker's process.
    fn worker(&self) -> Pid {
        let own = std::process::id().to_string();
        let named = format!("name = \"{}\"", self.rung);
        let is_it = |pid: &i32| {
            let read =
                |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let stat = String::from_utf8_lossy(&read("stat")).into_owned();
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            let alive = !stat.contains(") Z ");
            let line = String::from_utf8_lossy(&read("cmdline")).into_owned();
            alive && parent == Some(own.as_str()) && line.contains(&named)
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let found: Vec<i32> = processes
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(is_it)
            .collect();
        assert_eq!(found.len(), 1, "one worker at a time: {found:?}");
        Pid::from_raw(found[0]).unwrap()
    }

    async fn end(self) {
        self.cancel.cancel();
        timeout(PATIENCE, self.task).await.expect("the driver ends").unwrap();
    }
}

async fn recovers_from(rung: &'static str, signal: Signal, reason: &str) {
    let mut room = room(rung);
    let first = room.frame().await;
    let stream = format!("demo.{rung}");
    room.mood("demo.transcode", Mood::Happy).await;
    room.mood(&stream, Mood::Happy).await;
    let before = room.worker();
    let seen = room.board.events().last().map_or(0, |e| e.seq);
    kill_process(before, signal).unwrap();
    let sad = room.passes("demo.transcode", Mood::Sad, seen).await;
    assert!(sad.contains(reason), "{sad}");
    room.passes(&stream, Mood::Waking, seen).await;
    room.mood("demo.transcode", Mood::Happy).await;
    room.mood(&stream, Mood::Happy).await;
    assert_ne!(room.worker(), before);
    assert_eq!(room.board.get("demo.transcode").unwrap().restarts, 1);
    let header = room.next("WebM header", |event| match event {
        TranscodeEvent::Header { stream, .. } if stream == "webm-low" => Some(()),
        _ => None,
    });
    // Whether the header has come already depends on who was faster.
    let _ = timeout(Duration::from_secs(1), header).await;
    let after = room.frame().await;
    assert!(after > first, "room time goes on: {first}, then {after}");
    assert!(room.sent.lock().unwrap().contains(&after), "{after} is no time of the source's");
    room.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_and_time_goes_on() {
    recovers_from("kill-rung", Signal::KILL, "the demo.transcode worker was killed by signal 9")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_is_replaced_and_time_goes_on() {
    recovers_from("stop-rung", Signal::STOP, "no frame for 5 s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_input_a_worker_is_hungry_and_left_alone() {
    let mut room = room("hungry-rung");
    room.frame().await;
    let before = room.worker();
    room.publishing.store(false, Ordering::Relaxed);
    let status = room.mood("demo.transcode", Mood::Hungry).await;
    assert_eq!(status.reason, "nothing comes from the room");
    room.mood("demo.hungry-rung", Mood::Hungry).await;
    room.publishing.store(true, Ordering::Relaxed);
    room.mood("demo.transcode", Mood::Happy).await;
    room.mood("demo.hungry-rung", Mood::Happy).await;
    assert_eq!(room.worker(), before);
    assert_eq!(room.board.get("demo.transcode").unwrap().restarts, 0);
    room.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_be_is_explained() {
    let clock = clock::system();
    let board = Board::new(clock.clone());
    let cancel = CancellationToken::new();
    let options = Options::new("demo".parse().unwrap(), "/nonexistent/encoder", Ladder::default());
    let running = driver::spawn(options, board.clone(), clock, cancel.clone());
    let mut changes = board.subscribe();
    let wait = async {
        loop {
            let status = board.get("demo.transcode").filter(|s| s.mood == Mood::Sad);
            if let Some(status) = status {
                return status.reason;
            }
            changes.changed().await.unwrap();
        }
    };
    let reason = timeout(PATIENCE, wait).await.expect("a reason");
    assert!(reason.contains("/nonexistent/encoder"), "{reason}");
    cancel.cancel();
    timeout(PATIENCE, running.task).await.expect("it ends").unwrap();
}
