//! The harness of the whole-system tests: real daemons, a real broker, real players' tools.
//!
//! Everything here starts a real process on a free loopback port with its files in a temporary
//! directory, waits for conditions with a deadline (never for an amount of time), and stops
//! only what it started. When a test fails, the tail of each process's log is printed.
//!
//! A harness reports a failed expectation by panicking with a sentence that says what was
//! waited for; that is what a test is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

pub mod broker;
pub mod browser;
pub mod collector;
pub mod count;
pub mod devices;
pub mod encoder;
pub mod far_box;
pub mod footage;
pub mod hls;
pub mod host;
pub mod journal;
pub mod login;
pub mod machine;
pub mod measure;
pub mod mqtt;
pub mod nginx;
pub mod probe;
pub mod process;
pub mod provisioned;
pub mod publish;
pub mod resources;
pub mod secure_broker;
pub mod tls;
pub mod tool;
pub mod tracker;
pub mod until;
pub mod venue;
pub mod viewer;
pub mod web_client;

pub use broker::Broker;
pub use collector::{CollectorConfig, CollectorProcess};
pub use encoder::{EncoderConfig, EncoderProcess};
pub use process::Process;
pub use until::until;
