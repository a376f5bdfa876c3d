//! The collector.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Captures a room, encodes it lightly and sends it to the encoder.
#[derive(Parser)]
#[command(version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Capture one source to FLV on stdout (the daemon's worker; also by hand)
    Capture(collector::capture::Args),
    /// List capture devices and the one that would be chosen
    Devices(collector::devices::Args),
}

fn main() -> ExitCode {
    match Line::parse().command {
        Command::Capture(args) => collector::capture::run(args),
        Command::Devices(args) => collector::devices::run(args),
    }
}
