//! The box's own daemon: puts the parts together.
use std::process::ExitCode;

use crate::paths::Paths;

/// Runs until told to stop.
#[must_use]
pub fn main(_paths: &Paths) -> ExitCode {
    ExitCode::FAILURE
}
