//! What goes over the operator's own ssh: logs, and what one needs to find out what is wrong. A broker
//! is not the place for them.

use std::{
    fs,
    path::Path,
    process::{ExitStatus, Stdio},
};

use tokio::process::Command;

use super::asking::Ending;
use crate::{
    event::{Kind, Machine},
    push::ssh::SshOptions,
};

/// The units of a kind of machine.
#[must_use]
pub fn units(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Box => &["backrow-collector.service", "backrow-appliance.service"],
        Kind::Collector => &["backrow-collector.service"],
        Kind::Encoder => &["backrow-encoder.service"],
    }
}

/// How a machine's journal is read.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Go on with what comes.
    pub follow: bool,
    /// The last lines.
    pub lines: u32,
    /// Everything, not our units alone.
    pub all: bool,
}

impl Journal {
    /// What is run on the machine.
    #[must_use]
    pub fn command(&self, kind: Kind) -> String {
        let mut command =
            format!("journalctl --no-pager --output=short-iso --lines={}", self.lines);
        if self.follow {
            command.push_str(" --follow");
        }
        if !self.all {
            for unit in units(kind) {
                command.push_str(" --unit=");
                command.push_str(unit);
            }
        }
        command
    }
}

/// What is run to start a machine's daemon anew.
#[must_use]
pub fn restart(kind: Kind) -> String {
    format!("systemctl restart {}", units(kind)[0])
}

/// What is run for a diagnostics bundle, and the ending of the file that it writes.
#[must_use]
pub fn diagnostics(kind: Kind) -> (String, &'static str) {
    match kind {
        Kind::Box => {
            let bundle = "f=$(mktemp -d)/diag.tar.gz && appliance diag \"$f\" >&2 && cat \"$f\"";
            (format!("{bundle} && rm -r \"${{f%/*}}\""), "tar.gz")
        }
        // What a person would ask for first. Nothing of it has a secret: the daemons log none.
        Kind::Collector | Kind::Encoder => {
            let units = units(kind).join(" ");
            let journal = Journal { lines: 5000, ..Journal::default() }.command(kind);
            let looks = format!(
                "uname -a; uptime; free -m; df -h; ip -brief address; \
                 systemctl --no-pager --full status {units}; {journal}"
            );
            (looks, "txt")
        }
    }
}

/// ssh to a machine, to run `what` there as root.
///
/// # Errors
/// The machine has no host.
fn ssh(machine: &Machine, options: &SshOptions, what: &str) -> Result<Command, String> {
    let host = machine.host.as_deref();
    let host = host.ok_or("no ssh leads to it: it has no `host` in event.toml")?;
    let mut command = options.command();
    let sudo = if machine.sudo { "sudo -n " } else { "" };
    let quoted = what.replace('\'', r"'\''");
    command.args(["-T", "--", host]).arg(format!("exec {sudo}sh -c '{quoted}'"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Runs `what` there; what it says goes where ours goes.
///
/// # Errors
/// In words: there is no ssh, or no way to it.
pub async fn run(
    machine: &Machine,
    options: &SshOptions,
    what: &str,
) -> Result<ExitStatus, String> {
    let status = ssh(machine, options, what)?.status().await;
    status.map_err(|error| format!("ssh: {error}"))
}

/// What it means that something did not end well there: ssh's own status is 255 (ssh(1)).
#[must_use]
pub fn ending(status: ExitStatus) -> Ending {
    match status.code() {
        Some(255) => Ending::Away("no ssh to it; what ssh says is above".to_owned()),
        _ => Ending::Failed(format!("it did not work there ({status})")),
    }
}

/// Runs `what` there, and writes what it puts out to `file`, which is there only if all of it is.
///
/// # Errors
/// In words: the file cannot be written, there is no ssh, or no way to it.
pub async fn fetch(
    machine: &Machine,
    options: &SshOptions,
    what: &str,
    file: &Path,
) -> Result<ExitStatus, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", file.display());
    let part = file.with_extension("part");
    let mut command = ssh(machine, options, what)?;
    let out = fs::File::create(&part).map_err(wrong)?;
    let status = command.stdout(out).status().await.map_err(|error| format!("ssh: {error}"));
    if status.as_ref().is_ok_and(ExitStatus::success) {
        fs::rename(&part, file).map_err(wrong)?;
    } else {
        let _ = fs::remove_file(&part);
    }
    status
}
