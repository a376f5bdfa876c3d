//! An update that never gets well, in a room where nobody is.

use backrow_tests::machine::{Setup, Stage, Stopwatch, bundle};

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_never_gets_well_is_given_up_without_anybody() {
    let mut stage = Stage::set(Setup::new(), |site| site).await;
    let watch = Stopwatch::start();
    stage.up().await;
    stage.component(400, "box.update", |it| it["mood"] == "happy").await;
    let version = "sed -n 's/^BACKROW_VERSION=//p' /usr/lib/backrow/image";
    let before = stage.machine.ssh(version).await;
    let bundle = bundle("never-healthy");
    stage.machine.copy(&bundle, "/data/never-healthy.raucb").await;
    stage.machine.ssh("appliance update /data/never-healthy.raucb >/tmp/log 2>&1 &").await;
    stage.machine.resets(1, 900).await;
    stage.machine.up().await;
    assert_eq!(stage.machine.ssh(version).await, "0.3.0\n");
    watch.lap("0.3.0 is on trial");

    // Its time is 15 minutes.
    stage.machine.resets(2, 1500).await;
    stage.machine.up().await;
    assert_eq!(stage.machine.ssh(version).await, before);
    let reason = stage.taken_back("0.3.0").await;
    eprintln!("{reason}");
    assert!(
        reason.contains("not healthy after 15 min") && reason.contains("collector"),
        "{reason}"
    );
    stage.confirmed().await;
    watch.lap("the version before streams, and says why");
}
