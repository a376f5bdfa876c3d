//! Checks that the pages to embed have been built, and says how when they have not.
#![allow(clippy::print_stdout)] // how a build script talks to cargo

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
    if !Path::new("../../web/dist/player.html").is_file() {
        println!(
            "cargo::error=the web pages are not built (web/dist/player.html is missing): \
             run `make web` first"
        );
    }
}
