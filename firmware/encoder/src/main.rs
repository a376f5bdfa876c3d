//! `encoder`: the daemon, and the transcode worker it starts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Takes rooms in, makes every format that players need, and keeps the archive.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// What the encoder is to do: rooms, addresses, archive, broker (docs/configuration.md)
    #[arg(long, value_name = "FILE", default_value = "/etc/backrow/encoder.toml")]
    config: PathBuf,
    /// Write the addresses the encoder listens on to this file, as JSON
    #[arg(long, value_name = "FILE")]
    addresses: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The worker: FLV on stdin, framed renditions on stdout
    Transcode(encoder::transcode::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Transcode(args)) => encoder::transcode::run(args),
        None => encoder::daemon::main(&cli.config, cli.addresses.as_deref()),
    }
}
