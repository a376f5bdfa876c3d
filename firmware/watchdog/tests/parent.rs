//! A worker dies with its daemon. The test program plays both parts: it starts itself again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Duration,
};

use watchdog::parent::{PARENT_VARIABLE, die_with_parent};

const PART: &str = "WATCHDOG_TEST_PART";

/// Starts this program again, to run one of the parts below.
fn play(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "part", "--nocapture", "--test-threads=1"]).env(PART, part);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Reads a child's output up to a line that ends in `end`, and gives what comes before it.
fn line_with(child: &mut Child, end: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some((_, word)) = line.rsplit_once("says ")
            && let Some(before) = word.strip_suffix(end)
        {
            return before.to_owned();
        }
    }
    panic!("no {end:?} came");
}

/// The parts; when run as an ordinary test there is none to play.
#[test]
fn part() {
    match std::env::var(PART).as_deref() {
        Ok("daemon") => {
            let mut worker = play("worker");
            worker.env(PARENT_VARIABLE, std::process::id().to_string()).stdout(Stdio::inherit());
            let mut worker = worker.spawn().unwrap();
            // Until it is killed.
            worker.wait().unwrap();
        }
        Ok("worker") => {
            die_with_parent().unwrap();
            println!("says {}:alive", std::process::id());
            let _ = std::io::stdin().read(&mut [0]);
        }
        Ok("orphan") => {
            let error = die_with_parent().unwrap_err();
            println!("says {error}:end");
        }
        _ => {}
    }
}

#[test]
fn the_worker_dies_when_the_daemon_is_killed() {
    let mut daemon = play("daemon").spawn().unwrap();
    let worker: u32 = line_with(&mut daemon, ":alive").parse().unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // The worker holds the daemon's stdout: its end is near when that ends.
    let mut rest = Vec::new();
    daemon.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
    let clock = watchdog::clock::system();
    while !is_gone(worker) {
        assert!(clock.monotonic() < Duration::from_secs(60), "the worker lives on");
        std::thread::yield_now();
    }
}

/// Whether a process is gone, or a zombie that somebody else must reap.
fn is_gone(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

#[test]
fn a_worker_whose_daemon_is_gone_already_is_told() {
    // Not this process's child, as far as it was told.
    let mut orphan = play("orphan").env(PARENT_VARIABLE, "1").spawn().unwrap();
    let error = line_with(&mut orphan, ":end");
    assert_eq!(error, "the daemon that started this worker is gone");
    orphan.wait().unwrap();
}
