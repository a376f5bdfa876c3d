//! The runner with real processes: `sh`, `cat` and `sleep` stand for the workers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use watchdog::{
    board::Board,
    clock,
    mood::{ComponentStatus, Mood},
    policy::Limits,
    runner::{Progress, WorkerIo, WorkerSpec, supervise},
};

/// How long a condition may take to come about on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A supervised shell script.
struct Worker {
    board: Board,
    pids: Arc<Mutex<Vec<u32>>>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// Patience that is short, yet not so short that a busy machine uses it up.
fn limits() -> Limits {
    Limits {
        start: Duration::from_secs(20),
        stall: Duration::from_secs(3),
        backoff: Duration::from_millis(20),
        backoff_cap: Duration::from_millis(100),
        ..Limits::default()
    }
}

impl Worker {
    /// Runs `sh -c script`; every line it prints is progress, except the orders below.
    fn run(script: &str, limits: Limits) -> Self {
        Self::supervised(WorkerSpec::new("capture", "/bin/sh").arg("-c").arg(script).limits(limits))
    }

    fn supervised(spec: WorkerSpec) -> Self {
        let clock = clock::system();
        let board = Board::new(clock.clone());
        let cancel = CancellationToken::new();
        let pids = Arc::new(Mutex::new(Vec::new()));
        let started = pids.clone();
        let task = tokio::spawn(supervise(
            spec,
            board.clone(),
            clock,
            cancel.clone(),
            move |io, progress| {
                let mut started = started.lock().unwrap();
                assert!(!started.iter().any(|pid| alive(*pid)), "two processes at once");
                started.push(io.pid);
                read_lines(io, progress)
            },
        ));
        Self { board, pids, cancel, task }
    }

    fn pids(&self) -> Vec<u32> {
        self.pids.lock().unwrap().clone()
    }

    fn last_pid(&self) -> Pid {
        pid(*self.pids().last().unwrap())
    }

    /// Waits until the board says so; returns the status then.
    async fn until(
        &self,
        what: &str,
        condition: impl Fn(&ComponentStatus) -> bool,
    ) -> ComponentStatus {
        let mut changes = self.board.subscribe();
        let wait = async {
            loop {
                if let Some(status) = self.board.get("capture").filter(&condition) {
                    return status;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("not {what}: {:?}", self.board.get("capture")))
    }

    async fn until_happy_after(&self, restarts: u64) -> ComponentStatus {
        self.until("happy", |s| s.mood == Mood::Happy && s.restarts >= restarts).await
    }

    /// The sentences of all restarts so far.
    fn restarts(&self) -> Vec<String> {
        let restart = protocol::payload::EventKind::Restart;
        self.board.events().into_iter().filter(|e| e.kind == restart).map(|e| e.message).collect()
    }

    /// Stops it and checks that no process is left.
    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the runner ends").unwrap();
        for pid in self.pids.lock().unwrap().iter() {
            assert!(!alive(*pid), "process {pid} is left");
        }
        assert_eq!(self.board.get("capture").unwrap().mood, Mood::Sleeping);
    }
}

async fn read_lines(mut io: WorkerIo, progress: Progress) {
    // The input stays open for as long as the output is read.
    let _ = io.stdin.write_all(b"hello\n").await;
    let mut lines = BufReader::new(io.stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.split_once(' ') {
            Some(("hungry", why)) => progress.hungry(why),
            Some(("fault", why)) => progress.fault(why),
            _ if line == "fed" => progress.fed(),
            _ if line == "ready" => progress.ready(),
            _ if line == "give-up" => return,
            _ => progress.made(),
        }
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Whether there is such a process, a zombie counting as one.
fn alive(id: u32) -> bool {
    test_kill_process(pid(id)).is_ok()
}

/// A worker that works without end.
const BUSY: &str = "while echo x; do sleep 0.05; done";

#[tokio::test]
async fn a_killed_worker_is_started_again_and_the_reason_is_told() {
    let worker = Worker::run(BUSY, limits());
    worker.until_happy_after(0).await;
    kill_process(worker.last_pid(), Signal::KILL).unwrap();
    let status = worker.until_happy_after(1).await;
    assert_eq!(status.restarts, 1);
    assert_eq!(worker.restarts(), ["the capture worker was killed by signal 9; starting it again"]);
    let pids = worker.pids();
    assert_eq!(pids.len(), 2);
    assert!(!alive(pids[0]), "waited for");
    worker.stop().await;
}

#[tokio::test]
async fn a_stopped_worker_makes_no_progress_and_is_replaced() {
    let worker = Worker::run(BUSY, limits());
    worker.until_happy_after(0).await;
    kill_process(worker.last_pid(), Signal::STOP).unwrap();
    worker.until_happy_after(1).await;
    assert_eq!(worker.restarts(), ["no frame for 3 s; starting it again"]);
    assert!(!alive(worker.pids()[0]));
    worker.stop().await;
}

#[tokio::test]
async fn exits_are_told_and_waits_grow() {
    let worker = Worker::run("echo x; exit 3", limits());
    worker.until("restarted often", |s| s.restarts >= 4).await;
    let restarts = worker.restarts();
    let why = "the capture worker exited with code 3; starting it again";
    assert_eq!(
        restarts[..4],
        [
            why.to_owned(),
            format!("{why} in 0.0 s"),
            format!("{why} in 0.0 s"),
            format!("{why} in 0.1 s")
        ]
        .map(|s| s.replace("in 0.0 s", "in 0 s"))
    );
    worker.stop().await;
}

#[tokio::test]
async fn its_own_last_words_are_the_reason() {
    let worker = Worker::run("echo fault the grabber is busy; exit 1", limits());
    worker.until("restarted", |s| s.restarts >= 1).await;
    assert_eq!(worker.restarts()[0], "the grabber is busy; starting it again");
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_never_gets_ready_is_replaced() {
    let limits = Limits { start: Duration::from_millis(200), ..limits() };
    let worker = Worker::run("exec sleep 1000", limits);
    worker.until("restarted", |s| s.restarts >= 2).await;
    assert!(worker.restarts()[0].starts_with("not ready 0.2 s after its start"));
    worker.stop().await;
}

#[tokio::test]
async fn a_hungry_worker_is_not_touched() {
    // It says that it is hungry, then nothing for far longer than the stall limit, then is fed.
    let worker = Worker::run(
        "echo hungry no signal; read line; echo ready; sleep 5; echo fed; while echo x; do sleep 0.05; done",
        limits(),
    );
    worker.until("hungry", |s| s.mood == Mood::Hungry && s.reason == "no signal").await;
    let status = worker.until("fed", |s| s.mood == Mood::Happy).await;
    assert_eq!((status.restarts, worker.pids().len()), (0, 1));
    assert_eq!(status.reason, "working again: its input is back");
    worker.stop().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let spec = WorkerSpec::new("capture", "/no/such/program").limits(limits());
    let worker = Worker::supervised(spec);
    worker.until("tried again", |s| s.restarts >= 2).await;
    let reason = &worker.restarts()[0];
    assert!(
        reason.starts_with("the capture worker cannot be started: /no/such/program: No such file"),
        "{reason}"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_whose_reader_gave_up_goes() {
    let worker = Worker::run("echo give-up; exec sleep 1000", limits());
    worker.until("restarted", |s| s.restarts >= 1).await;
    assert_eq!(
        worker.restarts()[0],
        "the capture worker closed its output or sent nonsense; starting it again"
    );
    worker.stop().await;
}

#[tokio::test]
async fn cancel_ends_one_that_will_not_listen_and_its_children() {
    // The shell ignores SIGTERM and has a child of its own, which it names.
    let script = "trap '' TERM; sleep 1000 & echo $! >&2; while :; do echo x; sleep 0.05; done";
    let clock = clock::system();
    let board = Board::new(clock.clone());
    let cancel = CancellationToken::new();
    let (grandchild, mut grandchildren) = tokio::sync::mpsc::unbounded_channel();
    let spec = WorkerSpec::new("capture", "/bin/sh").arg("-c").arg(script).limits(limits());
    let task =
        tokio::spawn(supervise(spec, board, clock, cancel.clone(), move |mut io, progress| {
            let grandchild = grandchild.clone();
            async move {
                let stderr = io.stderr.take().unwrap();
                let line = BufReader::new(stderr).lines().next_line().await.unwrap().unwrap();
                grandchild.send((io.pid, line.trim().parse::<u32>().unwrap())).unwrap();
                read_lines(io, progress).await;
            }
        }));
    let (shell, child) =
        tokio::time::timeout(PATIENCE, grandchildren.recv()).await.unwrap().unwrap();
    assert!(alive(shell) && alive(child));
    cancel.cancel();
    tokio::time::timeout(PATIENCE, task).await.expect("the runner ends").unwrap();
    assert!(!alive(shell));
    // The grandchild is init's to reap; dead it is at once, gone when init looks.
    until_gone(child).await;
}

/// Waits until a process is gone or a zombie that somebody else must reap.
async fn until_gone(id: u32) {
    let gone = async {
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if matches!(state, None | Some('Z' | 'X')) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("process {id} lives on"));
}

#[tokio::test]
async fn dropping_the_runner_kills_the_worker() {
    let worker = Worker::run(BUSY, limits());
    worker.until_happy_after(0).await;
    let pids = worker.pids();
    worker.task.abort();
    assert!(worker.task.await.unwrap_err().is_cancelled());
    until_gone(pids[0]).await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_does_not_block_the_worker() {
    // Far more than a pipe holds, with a line that never ends among it.
    let worker = Worker::run(
        "head -c 300000 /dev/zero | tr '\\0' 'e' >&2; echo >&2; echo ready; while echo x; do sleep 0.05; done",
        limits(),
    );
    worker.until_happy_after(0).await;
    assert_eq!(worker.restarts(), [""; 0]);
    worker.stop().await;
}

#[tokio::test]
async fn its_input_can_be_fed() {
    // `cat` gives back the line it is sent: that is progress.
    let worker = Worker::supervised(
        WorkerSpec::new("capture", "/bin/cat")
            .limits(Limits { stall: Duration::from_secs(3600), ..limits() }),
    );
    worker.until_happy_after(0).await;
    worker.stop().await;
}
