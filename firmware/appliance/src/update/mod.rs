//! Updates: what may be installed, and whether the running image may stay.
use std::process::ExitCode;

use crate::paths::Paths;

/// Which bundle.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file, or an http(s) address
    pub bundle: String,
}

/// Installs a bundle.
#[must_use]
pub fn main(_args: &Args, _paths: &Paths) -> ExitCode {
    ExitCode::FAILURE
}
