//! Power cuts: in the middle of an update, and at every flush of a disk's first minutes.

use std::fs::File;

use backrow_tests::machine::blocklog::sample;
use backrow_tests::machine::{Disk, Fault, Machine, Setup, Stage, Stopwatch, bundle, patience};
use backrow_tests::until;

/// So many of the moments are looked at with the checkers of file systems…
const CHECKED: usize = 24;
/// … and so many are booted from.
const BOOTED: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_flush_leaves_a_box_that_boots() {
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("writes");
    File::create(&log).unwrap();
    let mut stage = Stage::set(Setup::new().with_fault(Fault::Logged(log)), |site| site).await;
    let watch = Stopwatch::start();
    // The disk as it is before it is switched on for the first time.
    let start = logs.path().join("start.img");
    stage.machine.disk().flatten(&start).await;
    let session = stage.up().await;
    stage.goes_on(&session).await;
    stage.component(400, "box.update", |it| it["mood"] == "happy").await;
    stage.machine.shut_down().await;
    watch.lap("first boot, grown, set up, marked good, switched off");

    let log = stage.machine.block_log();
    let all = log.barriers();
    let checked = sample(&all, CHECKED);
    let booted = sample(&checked, BOOTED);
    eprintln!("{} writes, {} flushes, {} checked", log.entries().len(), all.len(), checked.len());
    let replayed = logs.path().join("replayed.img");
    std::fs::copy(&start, &replayed).unwrap();
    let file = File::options().read(true).write(true).open(&replayed).unwrap();
    let mut done = 0;
    for moment in checked {
        log.replay(done..moment, &file).unwrap();
        done = moment;
        let disk = Disk::raw(&replayed, logs.path());
        assert_eq!(disk.complaints().await, Vec::<String>::new(), "after {moment} writes");
        if booted.contains(&moment) {
            boots(&stage, &replayed, moment).await;
            watch.lap(&format!("boots after {moment} writes"));
        }
    }
}

/// The disk of that moment boots, and streams.
async fn boots(stage: &Stage, replayed: &std::path::Path, moment: usize) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::over(replayed, directory.path()).await;
    let mut machine = Machine::with_disk(Setup::new(), disk, directory, |_| None).await;
    let known = stage.sessions().await;
    machine.start().await;
    until(patience(420), &format!("a stream from the disk after {moment} writes"), async || {
        assert!(machine.is_on(), "QEMU has ended");
        let sessions = stage.sessions().await;
        sessions
            .iter()
            .find(|(name, count)| *count > 0 && !known.iter().any(|(it, _)| it == name))
            .cloned()
    })
    .await;
    machine.cut_power().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_during_an_update_and_a_slot_that_rots() {
    let mut stage = Stage::set(Setup::new(), |site| site).await;
    let watch = Stopwatch::start();
    stage.up().await;
    let good = |it: &serde_json::Value| it["mood"] == "happy";
    stage.component(400, "box.update", good).await;
    stage.machine.copy(&bundle("good"), "/data/good.raucb").await;
    // It is wanted again after the power cut.
    stage.machine.ssh("sync").await;
    stage.machine.ssh("appliance update /data/good.raucb >/tmp/log 2>&1 &").await;
    let installing = "grep -q '\"installing\"' /data/backrow/update.json && pidof rauc";
    stage.machine.ssh_until(120, "the installation to begin", installing).await;
    stage.machine.cut_power().await;
    watch.lap("power cut while installing");
    stage.up().await;
    assert_eq!(
        stage.machine.ssh("grep -o 'rauc.slot=.' /proc/cmdline").await.trim(),
        "rauc.slot=A"
    );
    let said = stage.component(240, "box.update", |it| {
        it["reason"].as_str().is_some_and(|it| it.contains("broken off"))
    });
    eprintln!("{}", said.await);
    watch.lap("it boots, and says so");

    // Again, and this time it is left alone; then the new slot rots.
    stage
        .component(400, "box.update", |it| {
            it["reason"].as_str().is_some_and(|it| !it.contains("on trial"))
        })
        .await;
    stage.machine.ssh("appliance update /data/good.raucb >/tmp/log 2>&1 &").await;
    stage.machine.resets(1, 900).await;
    stage.machine.up().await;
    stage
        .component(400, "box.update", |it| {
            it["mood"] == "happy" && it["reason"].as_str().is_some_and(|it| it.contains("0.2.0"))
        })
        .await;
    stage.machine.shut_down().await;
    watch.lap("updated");
    let rot = stage.machine.directory().join("rot");
    std::fs::write(&rot, vec![0xe5; 1 << 20]).unwrap();
    stage.machine.disk().put_back("rootfs-b", &rot).await;
    stage.up().await;
    assert_eq!(
        stage.machine.ssh("grep -o 'rauc.slot=.' /proc/cmdline").await.trim(),
        "rauc.slot=A"
    );
    watch.lap("a rotten slot is passed over");
}
