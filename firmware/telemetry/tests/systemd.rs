//! Notifications as systemd would get them. The test program starts itself again as the daemon,
//! since systemd speaks to a daemon through its environment.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use std::{
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use telemetry::systemd;
use tokio_util::sync::CancellationToken;

const PART: &str = "TELEMETRY_TEST_PART";

/// The daemon's part; when run as an ordinary test there is none to play.
#[tokio::test]
async fn daemon() {
    let Ok(part) = std::env::var(PART) else { return };
    let cancel = CancellationToken::new();
    let alive = Arc::new(AtomicBool::new(true));
    let seen = alive.clone();
    let watchdog =
        tokio::spawn(systemd::watchdog(move || seen.load(Ordering::SeqCst), cancel.clone()));
    if part == "without" {
        // No watchdog is wanted: it ends by itself.
        watchdog.await.unwrap();
        systemd::ready();
        return;
    }
    systemd::ready();
    systemd::status("room demo is live,\nall happy");
    // The main loop gets stuck when its input ends; the daemon is told to stop when it ends again.
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()))
        .await
        .unwrap()
        .unwrap();
    alive.store(false, Ordering::SeqCst);
    systemd::stopping();
    cancel.cancelled().await;
}

/// The daemon with a socket to hear it at, which ends with it.
struct Daemon {
    process: Child,
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
}

impl Daemon {
    fn start(part: &str, watchdog: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "daemon"]).env(PART, part).env("NOTIFY_SOCKET", &path);
        command.env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        if let Some(period) = watchdog {
            command.env("WATCHDOG_USEC", period.as_micros().to_string());
        }
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Self { process, socket, _dir: dir }
    }

    fn hears(&self) -> String {
        let mut buffer = [0; 1000];
        let length = self.socket.recv(&mut buffer).expect("something is said in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap().trim_end().to_owned()
    }

    fn hears_until(&self, word: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != word) {
            heard.push(self.hears());
        }
        heard
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn systemd_hears_that_it_is_ready_how_it_is_and_that_it_lives() {
    let mut daemon = Daemon::start("with", Some(Duration::from_millis(100)));
    let mut heard = daemon.hears_until("STATUS=room demo is live, all happy");
    assert!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    for _ in 0..5 {
        heard = vec![daemon.hears()];
        assert_eq!(heard, ["WATCHDOG=1"]);
    }
    // The main loop gets stuck: nothing is said of being well any more.
    drop(daemon.process.stdin.take());
    daemon.hears_until("STOPPING=1");
    daemon.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let error = daemon.socket.recv(&mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
}

#[test]
fn without_a_watchdog_nothing_is_fed() {
    let mut daemon = Daemon::start("without", None);
    assert_eq!(daemon.hears(), "READY=1");
    assert!(daemon.process.wait().unwrap().success());
}
