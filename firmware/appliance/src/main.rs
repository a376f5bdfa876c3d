//! `appliance`: what makes a machine with a collector on it a box for a venue.

use std::process::ExitCode;

use appliance::paths::Paths;
use clap::{Parser, Subcommand};

/// The venue box around the collector.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reads the CONFIG partition and sets the box up; once, early at boot
    Provision,
    /// Takes a site.toml from a folder, as if it had been put on CONFIG, and starts what reads it
    Configure(appliance::provision::configure::ConfigureArgs),
    /// The box's own daemon: page, screen, commands, updates
    Run(appliance::daemon::RunArgs),
    /// Installs an update bundle, if it is signed, for this board, and newer
    Update(appliance::update::Args),
    /// Writes a diagnostics bundle
    Diag(appliance::recovery::DiagArgs),
    /// Puts the box back as it was when flashed, and restarts it
    FactoryReset(appliance::recovery::ResetArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let paths = Paths::default();
    match cli.command {
        Command::Provision => appliance::provision::main(&paths),
        Command::Configure(args) => appliance::provision::configure::configure(&args, &paths),
        Command::Run(args) => appliance::daemon::main(&args, &paths),
        Command::Update(args) => appliance::update::main(&args, &paths),
        Command::Diag(args) => appliance::recovery::diag(&args, &paths),
        Command::FactoryReset(args) => appliance::recovery::reset(&args, &paths),
    }
}
