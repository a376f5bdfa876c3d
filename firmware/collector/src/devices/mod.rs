//! Capture devices.

use std::process::ExitCode;

/// Options of `collector devices`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

/// Lists devices.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
