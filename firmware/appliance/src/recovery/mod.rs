//! The way back: diagnostics for who helps, and the box as it was when flashed.
use std::{path::PathBuf, process::ExitCode};

use crate::paths::Paths;

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
pub fn diag(_args: &DiagArgs, _paths: &Paths) -> ExitCode {
    ExitCode::FAILURE
}

/// Puts the box back and restarts it.
#[must_use]
pub fn reset(_args: &ResetArgs, _paths: &Paths) -> ExitCode {
    ExitCode::FAILURE
}
