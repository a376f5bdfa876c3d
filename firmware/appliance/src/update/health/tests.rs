use std::{os::unix::fs::PermissionsExt, sync::Arc};

use watchdog::clock::FakeClock;

use super::*;
use crate::{
    image::Slot,
    update::{boots::BootRecord, gate},
};

/// A box below a folder, with scripts for `rauc` and `systemctl` that note how they were called.
struct Rig {
    dir: tempfile::TempDir,
    clock: FakeClock,
    health: Health,
    good: watch::Receiver<bool>,
}

fn rig(boot: Boot, version: &str) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::under(dir.path());
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}", dir.path().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into_os_string()
    };
    let programs = Programs {
        rauc: vec![script("rauc", "echo \"$@\" >> called; test ! -e rauc-fails")],
        systemctl: script(
            "systemctl",
            "case $1 in list-units) cat failed 2>/dev/null;; show) cat unit;; *) echo \"$@\" >> called;; esac; true",
        ),
    };
    let clock = FakeClock::at("2026-02-03T04:05:06Z".parse().unwrap());
    let shared: SharedClock = Arc::new(clock.clone());
    let (good, is_good) = watch::channel(false);
    let health = Health {
        image: Image { version: version.into(), board: "bench_x86_64".into(), built: 0 },
        reached: watch::channel(true).1,
        board: Board::new(shared.clone()),
        clock: shared,
        good: Arc::new(good),
        paths,
        programs,
        boot,
    };
    Rig { dir, clock, health, good: is_good }
}

impl Rig {
    fn begin(&self) -> String {
        let Health { paths, image, boot, board, clock, .. } = &self.health;
        begin(paths, image, boot, board, clock)
    }

    fn called(&self) -> String {
        fs::read_to_string(self.dir.path().join("called")).unwrap_or_default()
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }
}

fn on_try(attempt: u32, slot: Slot) -> Boot {
    Boot { id: format!("boot-{attempt}-{slot}"), slot: Some(slot), attempt, rescue: false }
}

fn pending() -> Update {
    Update {
        v: 1,
        from: "1.0".into(),
        to: "1.1".into(),
        slot: Some(Slot::B),
        at: "2026-02-03T04:00:00Z".parse().unwrap(),
        during: "boot-0-A".into(),
        asked_by: "CONFIG".into(),
        state: Outcome::Pending,
        reason: String::new(),
    }
}

#[tokio::test]
async fn what_systemd_says_is_understood() {
    let rig = rig(on_try(1, Slot::B), "1.1");
    rig.put("failed", "a.service loaded failed failed A thing\nb.mount loaded failed failed B\n");
    rig.put("unit", "ActiveState=activating\nSubState=start\nActiveEnterTimestampMonotonic=0\n");
    let seen = rig.health.seen().await.unwrap();
    assert_eq!(seen.failed, ["a.service", "b.mount"]);
    assert_eq!(seen.collector, Collector::NotWanted, "the box has no site");
    kept::write(&rig.health.paths.site(), b"", 0o600).unwrap();
    let seen = rig.health.seen().await.unwrap();
    assert_eq!(seen.collector, Collector::Down("activating, start".into()));
    rig.put("unit", "ActiveState=active\nSubState=running\nActiveEnterTimestampMonotonic=17\n");
    assert_eq!(rig.health.seen().await.unwrap().collector, Collector::Ready(17));
    assert_eq!(unit_state(""), Collector::Down("unknown".into()));
}

#[tokio::test]
async fn a_healthy_try_is_marked_good_once_and_the_update_is_settled() {
    let rig = rig(on_try(1, Slot::B), "1.1");
    pending().keep(&rig.health.paths).unwrap();
    rig.begin();
    rig.put("unit", "ActiveState=active\nActiveEnterTimestampMonotonic=17\n");
    kept::write(&rig.health.paths.site(), b"", 0o600).unwrap();
    let mut gate = Gate::new(false, 0, rig.health.clock.monotonic());
    let look = async |gate: &mut Gate| {
        let seen = rig.health.seen().await.unwrap();
        rig.health.act(gate, &seen).await
    };
    assert!(!look(&mut gate).await);
    // Should the power be cut now, this is what it lacked.
    let missing = || Boots::read(&rig.health.paths).newest().unwrap().missing.clone();
    assert_eq!(missing().unwrap(), "the collector has not been ready for a minute yet");
    rig.clock.advance(gate::READY);
    rig.put("rauc-fails", "");
    look(&mut gate).await;
    assert!(!gate.is_good() && !*rig.good.borrow());
    fs::remove_file(rig.dir.path().join("rauc-fails")).unwrap();
    look(&mut gate).await;
    look(&mut gate).await;
    assert!(gate.is_good() && *rig.good.borrow());
    assert_eq!(rig.called(), "status mark-good\nstatus mark-good\n");
    assert_eq!(Update::last(&rig.health.paths).unwrap().state, Outcome::Good);
    let told = rig.health.board.get(COMPONENT).unwrap();
    assert_eq!(
        (told.mood, told.reason.as_str()),
        (Mood::Happy, "1.1 works and stays; it was 1.0 before")
    );
    assert!(Boots::read(&rig.health.paths).newest().unwrap().good);
    assert_eq!(missing(), None);
    assert!(super::super::install::slot_is_good(&rig.health.paths, &rig.health.boot));
}

#[tokio::test]
async fn an_image_that_proved_itself_is_good_from_the_start_whatever_cuts_its_power() {
    let rig = rig(on_try(3, Slot::B), "1.1");
    let mut boots = Boots::default();
    let before = on_try(1, Slot::B);
    boots.begin(BootRecord::new(
        &before,
        "1.1",
        "2026-02-03T04:00:00Z".parse().unwrap(),
        "".into(),
    ));
    boots.current(&before.id, |boot| boot.good = true);
    boots.keep(&rig.health.paths).unwrap();
    rig.begin();
    assert!(rig.health.gate().await.is_good());
    assert_eq!(rig.called(), "status mark-good\n", "the boot loader counts no try");
    assert!(!boots.proved(Some(Slot::A), "1.1") && !boots.proved(Some(Slot::B), "1.2"));
}

#[tokio::test]
async fn a_try_with_a_failed_unit_is_given_up_and_the_old_image_says_why() {
    let mut rig = rig(on_try(1, Slot::B), "1.1");
    pending().keep(&rig.health.paths).unwrap();
    rig.begin();
    rig.put("failed", "sad.service loaded failed failed Sad\n");
    let mut gate = Gate::new(false, 0, Duration::ZERO);
    let seen = rig.health.seen().await.unwrap();
    assert!(!rig.health.act(&mut gate, &seen).await);
    assert_eq!(rig.health.board.get(UNITS).unwrap().mood, Mood::Sad);
    rig.clock.advance(gate::PATIENCE);
    assert!(rig.health.act(&mut gate, &seen).await);
    assert_eq!(rig.called(), "--no-block reboot\n");
    end(&rig.health.paths, &rig.health.boot);

    // The boot loader falls back, after two tries more that did not come as far as this program.
    fs::create_dir_all(rig.dir.path().join("boot/efi/EFI/BOOT")).unwrap();
    rig.put("boot/efi/EFI/BOOT/grubenv", "# GRUB Environment Block\nA_TRY=1\nB_TRY=3\n####");
    rig.health.boot = Boot { id: "after".into(), ..on_try(0, Slot::A) };
    rig.health.image.version = "1.0".into();
    let because = rig.begin();
    assert_eq!(because, "the box restarted itself: not healthy after 15 min: sad.service failed");
    let why = "the update to 1.1 was tried 3 times and did not become healthy: not healthy after 15 \
               min: sad.service failed; 1.0 runs again";
    let told = rig.health.board.get(COMPONENT).unwrap();
    assert_eq!((told.mood, told.reason.as_str()), (Mood::Sad, why));
    rig.health.became_good();
    assert_eq!(rig.health.board.get(COMPONENT).unwrap().mood, Mood::Sad, "it stays in sight");
    assert_eq!(Update::last(&rig.health.paths).unwrap().state, Outcome::RolledBack);
    assert!(rig.health.board.events().iter().any(|event| event.message == why));
}

/// No folder can be made where a file is: the data partition takes nothing.
fn take_the_data_away(rig: &Rig) {
    let _ = fs::remove_dir_all(rig.health.paths.data());
    fs::write(rig.health.paths.data(), "").unwrap();
}

#[tokio::test]
async fn without_a_disk_to_record_it_on_nothing_is_given_up() {
    let rig = rig(on_try(1, Slot::B), "1.1");
    take_the_data_away(&rig);
    rig.put("rauc-fails", "");
    rig.begin();
    let mut gate = rig.health.gate().await;
    // Whatever is wrong with it: a unit that failed, or the mark.
    for failed in ["data.mount loaded failed failed Data\n", ""] {
        rig.put("failed", failed);
        rig.clock.advance(gate::PATIENCE);
        for _ in 0..5 {
            let seen = rig.health.seen().await.unwrap();
            assert!(!rig.health.act(&mut gate, &seen).await);
        }
        let told = rig.health.board.get(COMPONENT).unwrap();
        assert_eq!(told.mood, Mood::Sad);
        let why = if failed.is_empty() { "cannot be marked good" } else { "data.mount failed" };
        assert!(told.reason.contains(why), "{}", told.reason);
        assert!(told.reason.contains("it stays, as the data partition"), "{}", told.reason);
    }
    assert!(!rig.called().contains("reboot"), "{}", rig.called());
}

#[tokio::test]
async fn a_give_up_is_recorded_even_if_the_start_could_not_be() {
    let rig = rig(on_try(1, Slot::B), "1.1");
    take_the_data_away(&rig);
    rig.begin();
    fs::remove_file(rig.health.paths.data()).unwrap();
    let mut gate = rig.health.gate().await;
    rig.put("failed", "sad.service loaded failed failed Sad\n");
    rig.clock.advance(gate::PATIENCE);
    let seen = rig.health.seen().await.unwrap();
    assert!(rig.health.act(&mut gate, &seen).await);
    assert_eq!(Boots::read(&rig.health.paths).given_up("1.1"), 1);
}

#[tokio::test]
async fn an_image_that_proved_itself_is_never_given_up() {
    let rig = rig(on_try(1, Slot::B), "1.1");
    let mut boots = Boots::default();
    let before = BootRecord::new(&on_try(0, Slot::B), "1.1", rig.health.clock.utc(), "".into());
    boots.begin(before);
    boots.keep(&rig.health.paths).unwrap();
    rig.begin();
    rig.put("rauc-fails", "");
    let mut gate = rig.health.gate().await;
    rig.clock.advance(gate::PATIENCE);
    for _ in 0..5 {
        let seen = rig.health.seen().await.unwrap();
        assert!(!rig.health.act(&mut gate, &seen).await);
    }
    assert!(!rig.called().contains("reboot"), "{}", rig.called());
    let told = rig.health.board.get(COMPONENT).unwrap();
    assert_eq!(told.mood, Mood::Sad);
    assert!(told.reason.ends_with("it worked before and stays; get the diagnostics"));
    // Once the disk takes writes again, it is good.
    fs::remove_file(rig.dir.path().join("rauc-fails")).unwrap();
    for _ in 0..2 {
        let seen = rig.health.seen().await.unwrap();
        rig.health.act(&mut gate, &seen).await;
    }
    assert!(gate.is_good());
}

#[tokio::test]
async fn a_box_in_distress_stays_and_says_so_until_an_update_works() {
    let boot = Boot { rescue: true, ..on_try(3, Slot::B) };
    let rig = rig(boot, "1.1");
    rig.begin();
    rig.put("failed", "sad.service loaded failed failed Sad\n");
    let mut gate = rig.health.gate().await;
    let distress = "slot B runs although all its tries failed";
    let look = async |gate: &mut Gate| {
        let seen = rig.health.seen().await.unwrap();
        assert!(!rig.health.act(gate, &seen).await, "there is nothing to fall back to");
        let told = rig.health.board.get(COMPONENT).unwrap();
        assert_eq!(told.mood, Mood::Sad);
        assert!(told.reason.contains(distress), "{}", told.reason);
    };
    look(&mut gate).await;
    rig.clock.advance(gate::PATIENCE);
    look(&mut gate).await;
    // It works after all; that is still no slot that was good.
    rig.put("failed", "");
    look(&mut gate).await;
    assert!(gate.is_good() && !rig.called().contains("reboot"));
    pending().keep(&rig.health.paths).unwrap();
    rig.health.became_good();
    assert_eq!(rig.health.board.get(COMPONENT).unwrap().mood, Mood::Happy);
}

#[test]
fn a_start_without_a_good_end_was_a_loss_of_power() {
    let mut rig = rig(on_try(0, Slot::A), "1.0");
    assert!(rig.begin().starts_with("the first start"));
    assert!(rig.begin().starts_with("the first start"), "the same boot");
    rig.health.boot.id = "next".into();
    assert!(rig.begin().starts_with("power was lost"));
    end(&rig.health.paths, &rig.health.boot);
    rig.health.boot.id = "third".into();
    assert!(rig.begin().contains("on purpose"));
}
