//! The box as a whole: its disk image boots in an emulated machine, and streams whatever happens.
//!
//! A boot takes most of a minute, so a test looks at many things in one. `IMAGE=` names the image,
//! `target/bench/backrow-bench_x86_64.img` is the default. What is too slow for every day is in
//! `box_full`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test panics, and times are told

mod cold_boot;
mod faults;
mod grabber;
mod provisioning;
mod reset;
mod update;
mod wifi;
