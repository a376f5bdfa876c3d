//! The bench image for ARM.

use backrow_tests::machine::{Setup, Stage, Stopwatch};

#[tokio::test(flavor = "multi_thread")]
async fn it_boots_on_arm_and_streams() {
    let mut stage = Stage::set(Setup::arm(), |site| site).await;
    let watch = Stopwatch::start();
    let session = stage.up().await;
    watch.lap("streams");
    let machine =
        stage.machine.ssh("uname -m; systemctl list-units --failed --plain --no-legend").await;
    assert_eq!(machine.trim(), "aarch64");
    stage.goes_on(&session).await;
    stage.state(240, "ready").await;
}
