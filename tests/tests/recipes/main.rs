//! The recipe of the box's image, checked without a Buildroot tree: every option exists, package
//! files have Buildroot's form, no secret is in the tree, and the disk is laid out as planned.
//!
//! `make check-image BUILDROOT_DIR=…` asks Buildroot itself.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test says what it expects by panicking

mod firmware;
mod kernel;
mod layout;
mod packages;
mod secrets;
mod symbols;
mod tryboot;

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the source tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files under `folder` whose path ends with `end`, from the top of the tree.
fn files(folder: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there is no {end} under {folder}");
    found
}

/// Fails with all complaints at once.
#[track_caller]
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
