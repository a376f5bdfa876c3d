//! The way back: diagnostics for who helps, and the box as it was when flashed.
//!
//! Both are asked for in the same ways: a file on CONFIG, a button on the page, a command over MQTT,
//! and the command line.

pub mod diagnostics;
pub mod reset;
pub mod strike;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use crate::{paths::Paths, programs::Programs};

/// Where to put the diagnostics.
#[derive(Debug, clap::Args)]
pub struct DiagArgs {
    /// The file to write, a .tar.gz
    pub file: PathBuf,
}

/// What to keep.
#[derive(Debug, clap::Args)]
pub struct ResetArgs {
    /// Also removes the recordings
    #[arg(long)]
    pub recordings: bool,
}

/// Writes a diagnostics bundle.
#[must_use]
pub fn diag(args: &DiagArgs, paths: &Paths) -> ExitCode {
    telemetry::log::init("backrow-diag");
    match diagnostics::write_now(paths, &args.file) {
        Ok(()) => {
            tracing::info!("{} is written; no password is in it", args.file.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Puts the box back and restarts it.
#[must_use]
pub fn reset(args: &ResetArgs, paths: &Paths) -> ExitCode {
    telemetry::log::init("backrow-factory-reset");
    let done = reset::ask(paths, args.recordings)
        .context("the reset cannot be noted on the data partition")
        .and_then(|answer| {
            tracing::info!("{answer}");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(Programs::default().reboot()).context("restart the box by hand")
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
