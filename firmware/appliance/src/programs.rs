//! The programs of the system that the box calls, each with a bound on its time.

use std::{
    ffi::OsString,
    io,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

/// What to call; tests say where else.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `rauc`, with options that come before every command.
    pub rauc: Vec<OsString>,
    /// `systemctl`.
    pub systemctl: OsString,
}

impl Default for Programs {
    fn default() -> Self {
        Self { rauc: vec!["rauc".into()], systemctl: "systemctl".into() }
    }
}

/// Why a program was of no use.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started.
    #[error("{program} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("{program} did not answer within {seconds} s")]
    Slow {
        /// The program.
        program: String,
        /// The bound.
        seconds: u64,
    },
    /// It failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// The program and its arguments.
        program: String,
        /// The end of what it said.
        said: String,
    },
}

impl Programs {
    /// A `rauc` command.
    #[must_use]
    pub fn rauc(&self, args: &[&str]) -> Command {
        let (program, options) = self.rauc.split_first().map_or((&self.systemctl, &[][..]), |s| s);
        let mut command = command(program.clone());
        command.args(options).args(args);
        command
    }

    /// A `systemctl` command.
    #[must_use]
    pub fn systemctl(&self, args: &[&str]) -> Command {
        let mut command = command(self.systemctl.clone());
        command.args(args);
        command
    }

    /// Asks systemd to restart the machine, in good order.
    ///
    /// # Errors
    /// If systemd cannot be asked.
    pub async fn reboot(&self) -> Result<(), ProgramError> {
        // Without waiting for the job: this program is one of those that it ends.
        good(self.systemctl(&["--no-block", "reboot"]), Duration::from_secs(30)).await.map(drop)
    }
}

/// A command with nothing to read, in plain English.
#[must_use]
pub fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it and gives what it said, whether it succeeded or not.
///
/// # Errors
/// If it cannot be started or takes longer than `bound`; then it is killed.
pub async fn output(mut command: Command, bound: Duration) -> Result<Output, ProgramError> {
    let program = named(&command);
    match timeout(bound, command.output()).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(source)) => Err(ProgramError::Start { program, source }),
        Err(_) => Err(ProgramError::Slow { program, seconds: bound.as_secs() }),
    }
}

/// Runs it and gives its standard output, if it succeeded.
///
/// # Errors
/// As [`output`], and if it failed.
pub async fn good(command: Command, bound: Duration) -> Result<String, ProgramError> {
    let program = named(&command);
    let output = output(command, bound).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = match said.trim() {
        "" => output.status.to_string(),
        said => tail(said, 400).to_owned(),
    };
    Err(ProgramError::Failed { program, said })
}

fn named(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last `bytes` of a text, at a character's border.
#[must_use]
pub fn tail(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_succeeds_fails_hangs_or_is_not_there() {
        let shell = |script: &str| {
            let mut shell = command("sh");
            shell.args(["-c", script]);
            shell
        };
        let bound = Duration::from_secs(60);
        assert_eq!(good(shell("echo yes"), bound).await.unwrap(), "yes\n");
        let failed = good(shell("echo no >&2; exit 3"), bound).await.unwrap_err().to_string();
        assert!(failed.ends_with("failed: no"), "{failed}");
        let slow = good(shell("exec sleep 600"), Duration::ZERO).await.unwrap_err().to_string();
        assert!(slow.contains("did not answer within 0 s"), "{slow}");
        let none = good(command("/no/such/program"), bound).await.unwrap_err().to_string();
        assert!(none.contains("/no/such/program cannot be started"), "{none}");
        assert_eq!(tail("aé", 1), "");
        assert_eq!(tail("aé", 2), "é");
    }
}
