//! Real footage, which `make` has fetched.

use std::path::{Path, PathBuf};

/// The clip `name`, from `FOOTAGE_DIR` or `target/footage` of the workspace.
///
/// # Panics
/// When it is not there: a test of real footage is never skipped.
pub fn clip(name: &str) -> PathBuf {
    let directory = std::env::var_os("FOOTAGE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/footage"),
        PathBuf::from,
    );
    let path = directory.join(name);
    assert!(
        path.is_file(),
        "no footage at {}: run `make test`, which fetches it, or set FOOTAGE_DIR",
        path.display()
    );
    path
}
