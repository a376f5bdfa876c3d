//! The disks that boxes have, and a slow one.

use backrow_tests::machine::{Bus, Fault, Setup, Stage, Stopwatch};

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_from_a_usb_stick_from_nvme_and_from_sata() {
    for bus in [Bus::Usb, Bus::Nvme, Bus::Sata] {
        let mut stage = Stage::set(Setup::new().on(bus), |site| site).await;
        let watch = Stopwatch::start();
        let session = stage.up().await;
        watch.lap(&format!("streams from {bus:?}"));
        stage.goes_on(&session).await;
        stage.state(240, "ready").await;
        assert_eq!(
            stage.machine.ssh("systemctl list-units --failed --plain --no-legend").await,
            ""
        );
    }
}

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
