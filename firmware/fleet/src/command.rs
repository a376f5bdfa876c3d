//! The commands of `backrow`.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use protocol::names::RoomName;
use tokio::sync::mpsc;
use watchdog::clock;

use crate::{
    certificates::{self, Certificates},
    event::{self, Event, Problem},
    init::{self, Wish},
    operate,
    push::{
        self, News, Options,
        outcome::{self, exit},
        ssh::SshOptions,
    },
    render::{self, Rendered},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a new event: settings, tokens, certificates
    Init(InitArgs),
    /// Says everything that is wrong with an event
    Check(Folder),
    /// Makes the certificates that are missing or end soon
    Certificates(Folder),
    /// A token that nobody guesses
    Token,
    /// Writes every machine's files into a folder, to look at or to bring by hand
    Render(RenderArgs),
    /// Brings every machine its files, and takes them back where it is not well with them
    Push(PushArgs),
    /// How every machine is
    Status(operate::StatusArgs),
    /// Starts a machine's daemon anew
    Restart(operate::RestartArgs),
    /// Has boxes show themselves, by screen and lights
    Identify(operate::IdentifyArgs),
    /// Has boxes install an update, one first; stops when one falls back
    Update(operate::UpdateArgs),
    /// What a machine's daemons logged
    Logs(operate::LogsArgs),
    /// Fetches what one needs to find out what is wrong with a machine
    Diag(operate::DiagArgs),
}

/// An event's folder.
#[derive(Debug, Args)]
pub struct Folder {
    /// The event's folder, with event.toml in it
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// What `init` takes.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The new event's folder
    dir: PathBuf,
    /// The host of the encoder and the broker, as the rooms reach it
    #[arg(long, default_value = "encoder.example.org")]
    host: String,
    /// A room; may be given more than once
    #[arg(long = "room", value_name = "NAME", default_value = "main-hall")]
    rooms: Vec<RoomName>,
}

/// What `render` takes.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Where to write
    out: PathBuf,
    /// The event's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// What `push` takes.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The event's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Only these machines, or all machines of these rooms or kinds; separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// So many machines go first and alone; the others follow if all of them do well
    #[arg(long, value_name = "N", default_value_t = 0)]
    canary: usize,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Also replace what somebody changed on a machine by hand
    #[arg(long)]
    overwrite: bool,
    /// Ask systemd on each machine how it is, and not the broker
    #[arg(long)]
    by_ssh: bool,
    /// At most so many machines at once
    #[arg(long, value_name = "N", default_value_t = 10)]
    jobs: usize,
    /// How long a machine must be well, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 6)]
    settle: u64,
    /// How long it may take to become so, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    patience: u64,
    /// ssh's -F: another configuration file
    #[arg(short = 'F', value_name = "FILE")]
    ssh_config: Option<OsString>,
    /// ssh's -o: an option; may be given more than once
    #[arg(short = 'o', value_name = "OPTION")]
    ssh_options: Vec<String>,
}

impl Command {
    /// Carries it out.
    ///
    /// # Errors
    /// What could not be done.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        // The provider is the same for every connection; a second call would only say it is set.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = clock::system().utc();
        match self {
            Self::Init(InitArgs { dir, host, rooms }) => {
                let made = init::init(&dir, &Wish { host, rooms }, now)?;
                say(&format!(
                    "{}: a new event, with certificates for {}.\nNext: edit event.toml, then `backrow \
                     check {0}` and `backrow push {0}`.\nKeep event.secret.toml and certificates/*.key \
                     to yourself.",
                    dir.display(),
                    made.join(", ")
                ))?;
            }
            Self::Check(Folder { dir }) => {
                return Ok(match all(&dir) {
                    Ok((event, rendered)) => {
                        let unwise = [render::exposed(&event), render::unreached(&event)].concat();
                        if !unwise.is_empty() {
                            say(&told(&unwise))?;
                        }
                        let rooms = event.rooms.len();
                        say(&format!(
                            "{}: {rooms} rooms, {} machines, nothing wrong",
                            event.name,
                            rendered.len()
                        ))?;
                        ExitCode::SUCCESS
                    }
                    Err(problems) => {
                        say(&told(&problems))?;
                        ExitCode::from(exit::NOT_BEGUN)
                    }
                });
            }
            Self::Certificates(Folder { dir }) => {
                let event = event::load(&dir).map_err(|wrong| anyhow!("{}", told(&wrong)))?;
                let made = certificates::make(&event, now)?;
                say(&match made.as_slice() {
                    [] => "every certificate is there and good".to_owned(),
                    made => format!("made: {}", made.join(", ")),
                })?;
            }
            Self::Token => say(&init::token()?)?,
            Self::Render(RenderArgs { out, dir }) => {
                let (_, rendered) = all(&dir).map_err(|wrong| anyhow!("{}", told(&wrong)))?;
                for machine in &rendered {
                    write(&out, machine).with_context(|| machine.machine.to_string())?;
                    say(&format!("{}: revision {}", machine.machine, machine.revision))?;
                }
            }
            Self::Push(args) => return args.run(),
            Self::Status(args) => return args.run(),
            Self::Restart(args) => return args.run(),
            Self::Identify(args) => return args.run(),
            Self::Update(args) => return args.run(),
            Self::Logs(args) => return args.run(),
            Self::Diag(args) => return args.run(),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The event and every machine's files, or all that is wrong.
fn all(dir: &Path) -> Result<(Event, Vec<Rendered>), Vec<Problem>> {
    let event = event::load(dir)?;
    let now = clock::system().utc();
    // What is wrong with the files is told together with what is wrong with the certificates.
    match Certificates::read(&event, now) {
        Ok(certificates) => {
            let rendered = render::all(&event, &certificates)?;
            Ok((event, rendered.into_values().collect()))
        }
        Err(mut problems) => {
            if let Err(more) = render::all(&event, &Certificates::stand_in(&event)) {
                problems.extend(more);
            }
            Err(problems)
        }
    }
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

fn write(out: &Path, machine: &Rendered) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    for file in &machine.files {
        let path = out.join(machine.machine.as_str()).join(file.path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap_or(out))?;
        let mode = u32::from_str_radix(&file.mode, 8).unwrap_or(0o600);
        let mut options = fs::OpenOptions::new();
        let mut to = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
        to.write_all(file.content.as_bytes())?;
    }
    Ok(())
}

impl PushArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (mut event, rendered) = match all(&self.dir) {
            Ok(all) => all,
            Err(problems) => {
                say(&told(&problems))?;
                return Ok(ExitCode::from(exit::NOT_BEGUN));
            }
        };
        let chosen = self.choose(&event, rendered)?;
        if self.by_ssh {
            event.broker = None;
        }
        let seconds = Duration::from_secs;
        let options = Options {
            canaries: self.canary,
            at_once: self.jobs,
            dry_run: self.dry_run,
            overwrite: self.overwrite,
            settle: seconds(self.settle),
            patience: seconds(self.patience),
            ssh: SshOptions { config: self.ssh_config, options: self.ssh_options },
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("the runtime cannot be started")?;
        let lines = runtime.block_on(async {
            let (news, heard) = mpsc::unbounded_channel();
            let printing = tokio::spawn(print(heard));
            let lines = push::push(&event, chosen, options, clock::system(), news).await;
            let _ = printing.await;
            lines
        });
        let lines = lines.map_err(|why| anyhow!(why))?;
        write!(io::stdout().lock(), "{}", outcome::table(&lines))?;
        Ok(ExitCode::from(outcome::status(&lines)))
    }

    /// The machines that are meant, canaries first as they stand.
    fn choose(&self, event: &Event, rendered: Vec<Rendered>) -> anyhow::Result<Vec<Rendered>> {
        if self.only.is_empty() {
            return Ok(rendered);
        }
        let meant = event.meant(&self.only).map_err(|why| anyhow!("--only {why}"))?;
        Ok(rendered.into_iter().filter(|it| meant.contains(&it.machine)).collect())
    }
}

/// Tells what happens: differences on standard output, progress beside it.
async fn print(mut heard: mpsc::UnboundedReceiver<News>) {
    let bold = io::stderr().is_terminal();
    while let Some(news) = heard.recv().await {
        // A closed terminal is no reason to stop in the middle of a push.
        let _ = match news {
            News::Doing(machine, what) if bold => {
                writeln!(io::stderr().lock(), "\x1b[1m{machine}\x1b[0m {what}")
            }
            News::Doing(machine, what) => writeln!(io::stderr().lock(), "{machine}: {what}"),
            News::Differs(machine, text) => writeln!(io::stdout().lock(), "# {machine}\n{text}"),
            News::Note(text) => writeln!(io::stderr().lock(), "{text}"),
        };
    }
}
