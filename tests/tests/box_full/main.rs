//! What the box must stand, too slow for every day: `make vm-test-full`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test panics, and times are told

mod arm;
mod disks;
mod left_alone;
mod power;
