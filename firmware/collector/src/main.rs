//! `collector`: the daemon, the capture worker it starts, and a look at the devices.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Captures a room, encodes it lightly and sends it to the encoder.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// What this box is to do: room, encoder, source, broker (docs/configuration.md)
    #[arg(long, value_name = "FILE", default_value = "/etc/backrow/site.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// The worker: captures one source, FLV on stdout, health as JSON lines on stderr
    Capture(collector::capture::Args),
    /// Says what is wrong in the configuration, if anything
    Check {
        /// The file
        #[arg(long, value_name = "FILE", default_value = "/etc/backrow/site.toml")]
        config: PathBuf,
    },
    /// What this machine can capture, what would be chosen, and why
    Devices(collector::devices::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Capture(args)) => collector::capture::run(args),
        Some(Command::Devices(args)) => collector::devices::run(args),
        Some(Command::Check { config }) => collector::daemon::check(&config),
        None => collector::daemon::main(&cli.config),
    }
}
