use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use protocol::config::{Network, network::Wifi};
use watchdog::clock::FakeClock;

use super::*;
use crate::{network::guard::TRIAL, paths::Paths, programs::Programs};

/// A box in a folder, with programs that write down how they were called.
struct Bench {
    dir: tempfile::TempDir,
    guarded: Guarded,
    clock: FakeClock,
}

fn bench(wanted: &Network, good: Option<&Network>) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let paths = Paths::under(root);
    for (interface, below) in [("eth0", "device"), ("wlan0", "device"), ("wlan0", "wireless")] {
        fs::create_dir_all(root.join("sys/class/net").join(interface).join(below)).unwrap();
    }
    fs::write(root.join("sys/class/net/eth0/carrier"), "1\n").unwrap();
    let program = |name: &str| {
        let path = root.join(name);
        let log = root.join("calls");
        let script = format!("#!/bin/sh\necho \"{name} $*\" >> {}\n", log.display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into_os_string()
    };
    let programs = Programs { systemctl: program("systemctl"), ..Programs::default() };
    let networkctl = program("networkctl");
    let clock = FakeClock::at("2026-02-03T04:05:06Z".parse().unwrap());
    let board = Board::new(Arc::new(clock.clone()));
    if let Some(good) = good {
        memory::keep(&paths, good).unwrap();
    }
    let situation = Situation::at_boot(Some(wanted), good, memory::refused(&paths).as_ref());
    kept::write_json(&paths.run().join("network.json"), &situation).unwrap();
    apply::write(&paths, &situation.settings(situation.in_force)).unwrap();
    let system = System { paths, programs, networkctl };
    Bench { dir, guarded: Guarded { system, clock: Arc::new(clock.clone()), board }, clock }
}

impl Bench {
    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_default()
    }

    fn mood(&self) -> Option<Mood> {
        self.guarded.board.get(COMPONENT).map(|status| status.mood)
    }

    /// Lets the fake time go on until something is so.
    async fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let deadline = tokio::time::Duration::from_secs(60);
        let wait = async {
            while !so() {
                self.clock.advance(Duration::from_secs(5));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(deadline, wait).await.is_ok(), "{what} did not come");
    }
}

fn wifi() -> Network {
    let wifi = Wifi { ssid: "Venue".to_owned(), password: None, country: None };
    Network { wifi: Some(wifi), ..Network::default() }
}

#[tokio::test]
async fn settings_that_cut_the_box_off_are_taken_back() {
    let good = Network { interface: Some("eth0".to_owned()), ..Network::default() };
    let bench = bench(&wifi(), Some(&good));
    assert!(bench.root().join("run/wpa_supplicant/wifi.conf").exists());
    let (sender, reached) = watch::channel(false);
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run(bench.guarded.clone(), reached, cancel.clone()));
    let chosen = bench.root().join("run/systemd/network/10-backrow-1-chosen.network");
    bench.until("the way back", || bench.text("calls").contains("networkctl reconfigure")).await;
    assert!(bench.guarded.clock.monotonic() >= TRIAL);
    assert!(chosen.exists() && !bench.root().join("run/wpa_supplicant/wifi.conf").exists());
    let calls = bench.text("calls");
    for call in [
        "systemctl --no-block stop backrow-wifi@wlan0.service",
        "systemctl --no-block stop backrow-wired-login@eth0.service",
        "networkctl reload",
        "networkctl reconfigure eth0 wlan0",
    ] {
        assert!(calls.lines().any(|line| line == call), "{call} in {calls}");
    }
    bench.until("a sad mood", || bench.mood() == Some(Mood::Sad)).await;
    sender.send(true).unwrap();
    let said = || bench.guarded.board.events().into_iter().map(|e| e.message).collect::<Vec<_>>();
    bench.until("peace", || said().iter().any(|said| said.contains("they stay"))).await;
    assert!(said().iter().any(|said| said.contains("went back to the last ones that worked")));
    assert_eq!(memory::good(&bench.guarded.system.paths), Some(good.clone()));
    assert_eq!(memory::refused(&bench.guarded.system.paths), Some(wifi()));
    cancel.cancel();
    task.await.unwrap();
    let outcome = Outcome::read(&bench.guarded.system.paths).unwrap();
    assert_eq!(outcome.network, "kept");
    assert!(outcome.problems[0].contains("neither the encoder nor the broker"));
    // The next boot begins with what works.
    let refused = memory::refused(&bench.guarded.system.paths);
    let next = Situation::at_boot(Some(&wifi()), Some(&good), refused.as_ref());
    assert_eq!(next.in_force, Which::Fallback);
}

#[tokio::test]
async fn settings_that_work_become_the_good_ones() {
    let bench = bench(&wifi(), None);
    memory::refuse(&bench.guarded.system.paths, &wifi()).unwrap();
    let (sender, reached) = watch::channel(false);
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run(bench.guarded.clone(), reached, cancel.clone()));
    bench.until("a trial", || bench.mood() == Some(Mood::Waking)).await;
    sender.send(true).unwrap();
    bench.until("happiness", || bench.mood() == Some(Mood::Happy)).await;
    cancel.cancel();
    task.await.unwrap();
    assert_eq!(memory::good(&bench.guarded.system.paths), Some(wifi()));
    assert_eq!(memory::refused(&bench.guarded.system.paths), None);
    let left: Situation = kept::read_json(&file(&bench.guarded)).unwrap();
    assert!(left.settled);
    assert_eq!(bench.text("calls"), "", "nothing had to be changed");
}
