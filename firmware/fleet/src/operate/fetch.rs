//! `backrow logs` and `diag`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow};
use clap::Args;
use protocol::names::DeviceName;

use super::{
    asking::Ending,
    commands::{InEvent, Ssh, load, meant, run},
    order::tell,
    remote::{self, Journal},
};
use crate::push::outcome::exit;

/// What `logs` takes.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The machine
    name: DeviceName,
    #[command(flatten)]
    event: InEvent,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// The last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    lines: u32,
    /// Everything that the machine logs
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    ssh: Ssh,
}

/// What `diag` takes.
#[derive(Debug, Args)]
pub struct DiagArgs {
    /// These machines, or all of these rooms or kinds
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    event: InEvent,
    /// Where to put the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    #[command(flatten)]
    ssh: Ssh,
}

impl LogsArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The event is wrong, or there is no ssh to the machine.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let event = load(&self.event)?;
        let machine = event.machines.get(&self.name);
        let machine = machine.ok_or_else(|| anyhow!("{}: there is no such machine", self.name))?;
        let journal = Journal { follow: self.follow, lines: self.lines, all: self.all };
        let ssh = self.ssh.options();
        let status = run(async {
            remote::run(machine, &ssh, &journal.command(machine.kind))
                .await
                .map_err(|why| anyhow!(why))
        })?;
        Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::from(exit::BEHIND) })
    }
}

impl DiagArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The event is wrong, or the folder cannot be made.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let event = load(&self.event)?;
        let machines = meant(&event, &self.names)?;
        let folder = self.output;
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let ssh = self.ssh.options();
        run(async {
            let mut endings = Vec::new();
            for (name, machine) in machines {
                let (what, ending) = remote::diagnostics(machine.kind);
                let file = folder.join(format!("{name}.{ending}"));
                endings.push((
                    name,
                    match remote::fetch(machine, &ssh, &what, &file).await {
                        Ok(status) if status.success() => {
                            Ending::Done(format!("{}", file.display()))
                        }
                        Ok(status) => remote::ending(status),
                        Err(why) => Ending::Failed(why),
                    },
                ));
            }
            Ok(tell(&endings)?)
        })
    }
}
