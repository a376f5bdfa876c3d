//! Checks that the page to embed has been built, and says how when it has not.
#![allow(clippy::print_stdout)] // how a build script talks to cargo

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist/box");
    if !Path::new("../../web/dist/box/box.html").is_file() {
        println!(
            "cargo::error=the box's page is not built (web/dist/box/box.html is missing): \
             run `make web` first"
        );
    }
}
