//! What a collector takes in all: daemon and worker, streaming 720p25 of real footage.

use std::path::Path;
use std::time::Duration;

use backrow_tests::process::children;
use backrow_tests::{CollectorConfig, CollectorProcess, EncoderConfig, EncoderProcess, resources};
use tokio::time::sleep;

use crate::encode::material;
use crate::table::{Report, Takes, Target};

/// How long it streams before it is looked at: until buffers have found their size.
const SETTLE: Duration = Duration::from_secs(20);

/// Streams, and adds up the peaks.
pub(crate) async fn measure(report: &mut Report, runs: usize, directory: &Path) {
    let material = material(directory).await;
    let (mut all, mut shared, mut cost) = (Takes::default(), Takes::default(), Takes::default());
    for _ in 0..runs {
        let encoder = EncoderProcess::start(EncoderConfig::light("demo")).await;
        let mut config = CollectorConfig::flash(&encoder).file(&material);
        config.picture = (1280, 720, 25);
        config.bitrate = "1500k".into();
        let collector = CollectorProcess::start(&config);
        encoder.live("demo").await;
        let daemon = collector.process().pid();
        let family = || children(daemon).into_iter().chain([daemon]);
        let before: Duration = family().map(resources::processor_time).sum();
        sleep(SETTLE).await;
        let after: Duration = family().map(resources::processor_time).sum();
        let bytes: u64 = family().map(resources::peak_resident).sum();
        all.0.push(bytes as f64 / 1e6);
        let bytes: u64 = family().map(resources::proportional).sum();
        shared.0.push(bytes as f64 / 1e6);
        cost.0.push((after - before).as_secs_f64() / SETTLE.as_secs_f64());
    }
    let what = "collector in all (daemon + worker), peak resident";
    report.row(what, "MB", all, Target::AtMost(150.0));
    let what = "the same, pages that both map counted once (PSS)";
    report.row(what, "MB", shared, Target::None);
    report.row("collector in all, live", "CPU-s per stream-s", cost, Target::None);
}
