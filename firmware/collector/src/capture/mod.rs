//! The capture worker: one source in, light H.264 and AAC as FLV out.
//!
//! `collector capture --source test | ffplay -` shows what it does. FLV goes to stdout, one JSON
//! line per event to stderr ([`report`]). The worker holds the only GStreamer of the collector, so
//! that a codec or a driver can take down no more than this process, which the daemon starts anew.

pub mod args;
pub mod channels;
pub mod counter;
mod elements;
pub mod error;
pub mod formats;
pub mod gop;
pub mod health;
mod meter;
pub mod mux;
mod output;
mod preview;
pub mod report;
mod sources;
mod tail;
mod worker;

use std::process::ExitCode;

pub use args::{AudioDevice, CaptureArgs, CaptureArgs as Args, Channels, MixerFormat, SourceSpec};
pub use error::CaptureError;

/// Captures to stdout until the source ends or fails.
pub fn run(args: CaptureArgs) -> ExitCode {
    let reporter = report::Reporter::stderr();
    if let Err(error) = watchdog::parent::die_with_parent() {
        reporter.log(format!("This worker is on its own: {error}."));
        return ExitCode::FAILURE;
    }
    let mut worker = worker::Worker::new(args, reporter.clone(), watchdog::clock::system());
    match worker.run(std::io::stdout()) {
        Ok(()) | Err(CaptureError::ReaderGone) => ExitCode::SUCCESS,
        Err(error) => {
            reporter.error(&error);
            ExitCode::FAILURE
        }
    }
}
