//! A slow memory card.

use backrow_tests::machine::{Fault, Setup, Stage, Stopwatch};

#[tokio::test(flavor = "multi_thread")]
async fn a_card_of_four_megabytes_a_second_boots_and_streams() {
    let setup = Setup::new().with_fault(Fault::Slow(4 << 20));
    let mut stage = Stage::set(setup, |site| site).await;
    let watch = Stopwatch::start();
    let session = stage.up().await;
    watch.lap("streams");
    stage.goes_on(&session).await;
    assert_eq!(stage.machine.ssh("systemctl list-units --failed --plain --no-legend").await, "");
}
