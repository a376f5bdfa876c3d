//! `backrow`: an event's machines, from an operator's laptop.

use std::process::ExitCode;

use clap::Parser;
use fleet::{command::Command, push::outcome::exit};

/// Sets up and watches the machines of an event
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr().lock(), "backrow: {error:#}");
            ExitCode::from(exit::NOT_BEGUN)
        }
    }
}
