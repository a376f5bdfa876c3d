//! Measures the cost of our media work beside ffmpeg doing the same, and how soon a room is
//! on the air. Prints a Markdown report: run it by `make bench`, on a machine with nothing
//! else to do.
//!
//! `bench [RUNS] [PART…]`: every figure is taken RUNS times (3 if not given); the parts are
//! `encode`, `memory`, `transcode`, `start`, `recovery`, `dashboard` and `push` (all if not given).
#![allow(clippy::unwrap_used, clippy::panic)] // a measurement that fails has no result
#![allow(clippy::print_stdout, clippy::print_stderr)] // its output is its purpose

mod dashboard;
mod encode;
mod facts;
mod latency;
mod memory;
mod push;
mod table;
mod transcode;
mod usage;

use table::Report;

/// How often each figure is taken unless told otherwise.
const RUNS: usize = 3;

#[tokio::main]
async fn main() {
    let mut runs = RUNS;
    let mut parts = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            Ok(number) => runs = number,
            Err(_) => parts.push(argument),
        }
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|it| it == part);
    let directory = tempfile::tempdir().unwrap();
    let mut report = Report::default();
    if wanted("encode") {
        encode::measure(&mut report, runs, directory.path()).await;
    }
    if wanted("memory") {
        memory::measure(&mut report, runs, directory.path()).await;
    }
    if wanted("transcode") {
        transcode::measure(&mut report, runs, directory.path()).await;
    }
    if wanted("start") {
        latency::start(&mut report, runs).await;
    }
    if wanted("recovery") {
        latency::recovery(&mut report, runs).await;
    }
    if wanted("dashboard") {
        dashboard::measure(&mut report, runs, directory.path()).await;
    }
    if wanted("push") {
        push::measure(&mut report, runs, directory.path()).await;
    }
    println!("{}", report.markdown(&facts::machine().await));
}
