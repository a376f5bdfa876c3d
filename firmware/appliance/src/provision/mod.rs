//! Sets the box up from what a person wrote on its CONFIG partition.

mod certificates;
mod document;
pub mod outcome;
mod secrets;

use std::process::ExitCode;

use crate::paths::Paths;

/// Reads CONFIG, answers on it, and writes what this boot runs with.
#[must_use]
pub fn main(_paths: &Paths) -> ExitCode {
    ExitCode::FAILURE
}
