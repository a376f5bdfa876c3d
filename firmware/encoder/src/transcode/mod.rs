//! Everything that is made from a room's stream: H.264 rungs, WebM, sound alone, a preview.
//!
//! The worker, `encoder transcode --ladder ladder.toml`, reads FLV on stdin, with room time in its
//! timestamps, and writes framed streams ([`frame`]) to stdout and [`report`]s to stderr. It
//! decodes once; each rendition is a GStreamer pipeline of its own, so that one that fails is
//! rebuilt while the others go on ([`slot`]). The [`driver`] keeps a worker running for a room.

mod backlog;
mod decode;
pub mod driver;
pub mod frame;
mod gate;
mod geometry;
mod intake;
mod keys;
mod ladder;
mod ogg;
mod output;
mod picture;
mod pipes;
mod preview;
pub mod report;
mod scale;
mod sinks;
mod slot;
mod weave;
mod webm;
mod worker;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

pub use driver::Options;
pub use ladder::{Bits, Error as LadderError, Kind, Ladder, Rung, Stream};
use report::Report;

/// `encoder transcode`: turns FLV on stdin into a room's renditions on stdout.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to make: the [[ladder]] and [webm] tables of encoder.toml; without it, the default.
    #[arg(long, value_name = "FILE")]
    ladder: Option<PathBuf>,
    /// The same, as text.
    #[arg(long, value_name = "TOML", hide = true, conflicts_with = "ladder")]
    ladder_text: Option<String>,
    /// A rendition that is to fail to start, for tests.
    #[arg(long, value_name = "RENDITION", hide = true)]
    fail: Vec<String>,
    /// A rendition that is to hang once, for tests.
    #[arg(long, value_name = "RENDITION", hide = true)]
    hang: Vec<String>,
}

/// Runs the worker until its input ends.
pub fn run(args: Args) -> ExitCode {
    match work(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            Report::Error { message }.write();
            ExitCode::FAILURE
        }
    }
}

fn work(args: Args) -> Result<(), String> {
    watchdog::parent::die_with_parent().map_err(|e| format!("cannot follow the daemon: {e}"))?;
    let ladder = match (&args.ladder, &args.ladder_text) {
        (Some(path), _) => Ladder::load(path),
        (None, Some(text)) => Ladder::parse(text, "from the daemon"),
        (None, None) => Ok(Ladder::default()),
    };
    let ladder = ladder.map_err(|e| e.to_string())?;
    let clock = watchdog::clock::system();
    let now: output::Now = Arc::new(move || clock.monotonic());
    let output = output::Output::stdout(now.clone()).map_err(|e| format!("no output: {e}"))?;
    let faults = (args.fail.into_iter().map(|name| (name, pipes::Fault::Fail)))
        .chain(args.hang.into_iter().map(|name| (name, pipes::Fault::Hang)))
        .collect();
    worker::run(&ladder, &faults, std::io::stdin().lock(), output, now)
}
