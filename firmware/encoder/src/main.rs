//! `encoder`: the daemon, and the transcode worker it starts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use encoder::daemon::operate::{self, DrainArgs, RegisterArgs};

/// Takes rooms in, makes every format that players need, and keeps the archive.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// What the encoder is to do: rooms, addresses, archive, broker (docs/configuration.md)
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/backrow/encoder.toml")]
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
    /// Says what is wrong in the configuration, if anything
    Check,
    /// Stop the encoder that runs here: websites are told no more, viewers may stay for a while.
    /// Ends with 0 when it has stopped, 1 if that went wrong, 69 if none runs here
    Drain(DrainArgs),
    /// How the websites of [[register]] take the encoder that runs here
    Register(RegisterArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Transcode(args)) => encoder::transcode::run(args),
        Some(Command::Check) => operate::check(&cli.config),
        Some(Command::Drain(args)) => operate::drain(&cli.config, &args),
        Some(Command::Register(args)) => operate::register(&cli.config, &args),
        None => encoder::daemon::main(&cli.config, cli.addresses.as_deref()),
    }
}
