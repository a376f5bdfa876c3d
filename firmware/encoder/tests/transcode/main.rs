//! The transcode worker and its driver, with real ffmpeg on both sides.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod driver;
mod faults;
mod joining;
mod media;
mod outputs;
mod worker;
