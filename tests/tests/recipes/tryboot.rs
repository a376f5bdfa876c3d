//! The Raspberry Pi's boot loader backend for RAUC: what it answers and what it leaves for the firmware.

use std::{fs, path::Path, process::Command};

/// A Pi's boot partition and memory, with slot A good and `running` started.
struct Pi {
    dir: tempfile::TempDir,
}

impl Pi {
    fn new(running: char) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("../board/raspberrypi");
        fs::create_dir(dir.path().join("esp")).unwrap();
        fs::copy(board.join("autoboot.txt"), dir.path().join("esp/autoboot.txt")).unwrap();
        fs::write(dir.path().join("cmdline"), format!("ro rauc.slot={running} quiet\n")).unwrap();
        Self { dir }
    }

    fn says(&self, words: &str) -> Result<String, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../board/raspberrypi/overlay/usr/lib/backrow/rauc-tryboot");
        let out = Command::new(script)
            .args(words.split(' '))
            .env("BACKROW_ESP", self.dir.path().join("esp"))
            .env("BACKROW_RUN", self.dir.path().join("run"))
            .env("BACKROW_CMDLINE", self.dir.path().join("cmdline"))
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
        if out.status.success() { Ok(text(out.stdout)) } else { Err(text(out.stderr)) }
    }

    fn ok(&self, words: &str) -> String {
        self.says(words).unwrap_or_else(|error| panic!("rauc-tryboot {words}: {error}"))
    }

    fn reads(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(file)).ok()
    }
}

#[test]
fn an_update_is_tried_once_and_stays_only_when_it_is_good() {
    let pi = Pi::new('A');
    assert_eq!((pi.ok("get-primary"), pi.ok("get-current")), ("A".into(), "A".into()));
    assert_eq!((pi.ok("get-state A"), pi.ok("get-state B")), ("good".into(), "bad".into()));

    // Installed into B: RAUC calls it good and first; the firmware is to take it once.
    let before = pi.reads("esp/autoboot.txt");
    pi.ok("set-state B good");
    pi.ok("set-primary B");
    assert_eq!(pi.ok("get-primary"), "B");
    assert_eq!(pi.reads("run/systemd/reboot-param").unwrap(), "0 tryboot\n");
    assert_eq!(pi.reads("esp/autoboot.txt"), before, "until B has shown that it works, A is next");

    // B runs, and says that it is well.
    fs::write(pi.dir.path().join("cmdline"), "rauc.slot=B\n").unwrap();
    fs::remove_dir_all(pi.dir.path().join("run")).unwrap();
    assert_eq!((pi.ok("get-current"), pi.ok("get-primary")), ("B".into(), "A".into()));
    pi.ok("set-state B good");
    assert_eq!(
        pi.reads("esp/autoboot.txt").unwrap(),
        "[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2\n"
    );
    assert_eq!((pi.ok("get-primary"), pi.ok("get-state B")), ("B".into(), "good".into()));
}

#[test]
fn a_slot_given_up_makes_way_and_a_plan_can_be_taken_back() {
    let pi = Pi::new('A');
    pi.ok("set-primary B");
    pi.ok("set-primary A");
    assert_eq!(pi.ok("get-primary"), "A");
    assert_eq!(pi.reads("run/systemd/reboot-param"), None);
    pi.ok("set-state A bad");
    assert_eq!(pi.ok("get-primary"), "B");
}

#[test]
fn what_is_no_slot_or_state_is_refused_by_name() {
    let pi = Pi::new('A');
    for (words, named) in [
        ("set-primary C", "'C'"),
        ("get-state x", "'x'"),
        ("set-state A fine", "'fine'"),
        ("fly", "usage"),
    ] {
        let error = pi.says(words).unwrap_err();
        assert!(error.contains(named), "{words}: {error}");
    }
}
