//! The encoder: the daemon, and the workers it starts.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn FLV on stdin into a room's renditions on stdout.
    Transcode(encoder::transcode::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Transcode(args) => encoder::transcode::run(args),
    }
}
