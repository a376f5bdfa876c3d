//! The words on the command line, and what becomes of them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use protocol::{command::Order, names::DeviceName};
use tokio::sync::mpsc;
use url::Url;
use watchdog::clock::{self, SharedClock};

use super::{
    heard::Heard,
    orders::{Conversation, Ending, Limits, order_all},
    remote::{self, Journal},
    status::{Row, rows, table},
};
use crate::{
    event::{self, Event, Kind, Machine},
    push::{self, outcome::exit, ssh::SshOptions, watch::Watch},
};

/// How long the broker may take to be reached.
const CONNECT: Duration = Duration::from_secs(15);
/// How long machines may take to tell their numbers, which they do every 5 s.
const NUMBERS: Duration = Duration::from_secs(7);
/// How long what the broker keeps may take to come.
const KEPT: Duration = Duration::from_secs(3);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// Where the event is.
#[derive(Debug, Args)]
pub struct InEvent {
    /// The event's folder, with event.toml in it
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    event: PathBuf,
}

/// How ssh is called.
#[derive(Debug, Args)]
pub struct Ssh {
    /// ssh's -F: another configuration file
    #[arg(short = 'F', value_name = "FILE")]
    config: Option<OsString>,
    /// ssh's -o: an option; may be given more than once
    #[arg(short = 'o', value_name = "OPTION")]
    options: Vec<String>,
}

impl Ssh {
    fn options(self) -> SshOptions {
        SshOptions { config: self.config, options: self.options }
    }
}

/// What `status` takes.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these machines, or all of these rooms or kinds
    names: Vec<String>,
    #[command(flatten)]
    event: InEvent,
    /// As JSON, one document
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Go on: on a terminal the table anew each second, else what changes
    #[arg(long)]
    watch: bool,
}

/// What `restart` takes.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// These machines, or all of these rooms or kinds
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    event: InEvent,
    #[command(flatten)]
    ssh: Ssh,
}

/// What `identify` takes.
#[derive(Debug, Args)]
pub struct IdentifyArgs {
    /// These machines, or all of these rooms or kinds
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    event: InEvent,
    /// For so long; 0 ends it
    #[arg(long, value_name = "SECONDS", default_value_t = protocol::command::IDENTIFY_SECONDS,
          value_parser = clap::value_parser!(u32).range(..=i64::from(protocol::command::MAX_IDENTIFY_SECONDS)))]
    seconds: u32,
}

/// What `update` takes.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Where the boxes find the bundle: https:// or http://
    bundle: Url,
    /// Only these machines, or all of these rooms; else every box
    names: Vec<String>,
    #[command(flatten)]
    event: InEvent,
    /// What the bundle's SHA-256 must be
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// So many boxes go first; the others follow if all of them do well
    #[arg(long, value_name = "N", default_value_t = 1)]
    canary: usize,
    /// At most so many boxes at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// How long a box may take until the new image has shown that it works, minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 40)]
    patience: u64,
}

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

fn load(folder: &InEvent) -> anyhow::Result<Event> {
    event::load(&folder.event).map_err(|wrong| {
        anyhow!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// The machines that are meant.
fn meant<'a>(
    event: &'a Event,
    words: &[String],
) -> anyhow::Result<BTreeMap<DeviceName, &'a Machine>> {
    let names = event.meant(words).map_err(|why| anyhow!(why))?;
    Ok(event
        .machines
        .iter()
        .filter(|(name, _)| names.contains(*name))
        .map(|(n, m)| (n.clone(), m))
        .collect())
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(work)
}

/// Listens at the event's broker.
async fn listen(event: &Event, clock: &SharedClock) -> anyhow::Result<Watch<Heard>> {
    let broker = push::operator(event).map_err(|why| anyhow!(why))?;
    let watch = Watch::start(&broker).map_err(|why| anyhow!(why))?;
    let end = clock.monotonic().saturating_add(CONNECT);
    while let Some(trouble) = watch.trouble() {
        if clock.monotonic() >= end {
            bail!(trouble);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(watch)
}

/// Waits until `enough` has been heard, but not for ever.
async fn hear(
    watch: &Watch<Heard>,
    clock: &SharedClock,
    limit: Duration,
    enough: impl Fn(&Heard) -> bool,
) {
    let end = clock.monotonic().saturating_add(limit);
    while clock.monotonic() < end && !watch.look(&enough) {
        tokio::time::sleep(LOOK).await;
    }
}

impl StatusArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The event is wrong, or the broker is not reached.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let event = load(&self.event)?;
        let names = event.meant(&self.names).map_err(|why| anyhow!(why))?;
        let wanted = |name: &DeviceName| self.names.is_empty() || names.contains(name);
        let clock = clock::system();
        run(async {
            let watch = listen(&event, &clock).await?;
            let told = |heard: &Heard| {
                event.machines.keys().filter(|name| wanted(name)).all(|name| {
                    heard.machine(name).is_some_and(|it| it.health.is_some() || !it.is_there())
                })
            };
            hear(&watch, &clock, NUMBERS, told).await;
            let look = || watch.look(|heard| rows(&event, heard, wanted));
            if self.watch {
                return follow(look, &clock).await;
            }
            let rows = look();
            let text = if self.json {
                format!("{}\n", serde_json::json!({ "v": 1, "at": clock.utc(), "machines": rows }))
            } else {
                table(&rows, clock.utc())
            };
            io::stdout().lock().write_all(text.as_bytes())?;
            let well = rows.iter().all(Row::is_well);
            Ok(ExitCode::from(if well { exit::GOOD } else { exit::UNWELL }))
        })
    }
}

/// Until the user ends it.
async fn follow(look: impl Fn() -> Vec<Row>, clock: &SharedClock) -> anyhow::Result<ExitCode> {
    let mut before: BTreeMap<String, (Option<protocol::mood::Mood>, String)> = BTreeMap::new();
    let terminal = io::stdout().is_terminal();
    loop {
        let (rows, now) = (look(), clock.utc());
        let mut out = String::new();
        if terminal {
            // From the top, over what was there (ECMA-48: CUP, ED).
            out = format!("\x1b[H\x1b[J{}", table(&rows, now));
        } else {
            for row in rows {
                let is = (row.mood, row.why);
                if before.get(&row.machine) != Some(&is) {
                    let mood = is.0.map_or("unknown", |it| it.as_str());
                    out.push_str(&format!("{now:.0} {}: {mood} {}\n", row.machine, is.1));
                    before.insert(row.machine, is);
                }
            }
        }
        io::stdout().lock().write_all(out.as_bytes())?;
        io::stdout().lock().flush()?;
        tokio::time::sleep(WATCH).await;
    }
}

/// Gives one order to boxes, tells how it goes, and gives each its ending.
async fn give(
    event: &Event,
    names: Vec<DeviceName>,
    order: Order,
    limits: Limits,
    turns: (usize, usize),
) -> anyhow::Result<Vec<(DeviceName, Ending)>> {
    let clock = clock::system();
    let watch = listen(event, &clock).await?;
    let known = |heard: &Heard| {
        names.iter().all(|name| heard.machine(name).is_some_and(|it| it.state.is_some()))
    };
    hear(&watch, &clock, KEPT, known).await;
    let (news, mut heard) = mpsc::unbounded_channel::<(DeviceName, String)>();
    let telling = tokio::spawn(async move {
        while let Some((name, what)) = heard.recv().await {
            let _ = writeln!(io::stderr().lock(), "{name}: {what}");
        }
    });
    let conversation = Arc::new(Conversation { watch: Arc::new(watch), clock, limits, news });
    let endings = order_all(conversation, names, order, turns).await;
    let _ = telling.await;
    Ok(endings)
}

/// Tells how it ended; the exit status.
fn tell(endings: &[(DeviceName, Ending)]) -> io::Result<ExitCode> {
    let width = endings.iter().map(|(name, _)| name.as_str().len()).max().unwrap_or(0);
    let mut status = exit::GOOD;
    for (name, ending) in endings {
        let (word, said) = ending.words();
        writeln!(io::stdout().lock(), "{name:width$}  {word:9}  {said}")?;
        status = status.max(match ending {
            Ending::Done(_) => exit::GOOD,
            Ending::Refused(_) | Ending::Away(_) | Ending::Held => exit::BEHIND,
            Ending::Failed(_) | Ending::NoAnswer(_) => exit::UNWELL,
        });
    }
    Ok(ExitCode::from(status))
}

/// Limits of orders that are carried out at once.
const AT_ONCE: Limits = Limits { taken: Duration::from_secs(20), done: Duration::from_secs(90) };

impl RestartArgs {
    /// Carries it out: a box by an order, any other machine by ssh.
    ///
    /// # Errors
    /// The event is wrong, or the broker is not reached.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let event = load(&self.event)?;
        let machines = meant(&event, &self.names)?;
        let ssh = self.ssh.options();
        let boxes = machines.iter().filter(|(_, machine)| machine.kind == Kind::Box);
        let boxes: Vec<_> = boxes.map(|(name, _)| name.clone()).collect();
        run(async {
            let mut endings = Vec::new();
            if !boxes.is_empty() {
                let all = boxes.len();
                endings = give(&event, boxes, Order::Restart, AT_ONCE, (0, all)).await?;
            }
            for (name, machine) in machines.iter().filter(|(_, it)| it.kind != Kind::Box) {
                let ended = remote::run(machine, &ssh, &remote::restart(machine.kind)).await;
                endings.push((
                    name.clone(),
                    match ended {
                        Ok(status) if status.success() => {
                            Ending::Done("started anew, by ssh".to_owned())
                        }
                        Ok(status) => Ending::Failed(format!("systemctl or ssh: {status}")),
                        Err(why) => Ending::Away(why),
                    },
                ));
            }
            Ok(tell(&endings)?)
        })
    }
}

impl IdentifyArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The event is wrong, or the broker is not reached.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let event = load(&self.event)?;
        let (boxes, others): (Vec<_>, Vec<_>) = meant(&event, &self.names)?
            .into_iter()
            .partition(|(_, machine)| machine.kind == Kind::Box);
        let order = Order::Identify { seconds: self.seconds };
        let boxes: Vec<_> = boxes.into_iter().map(|(name, _)| name).collect();
        run(async {
            let all = boxes.len();
            let mut endings = match all {
                0 => Vec::new(),
                _ => give(&event, boxes, order, AT_ONCE, (0, all)).await?,
            };
            endings.extend(others.into_iter().map(|(name, machine)| {
                let why = format!(
                    "only a box has a screen and lights to show; this is {} {}",
                    if machine.kind == Kind::Encoder { "an" } else { "a" },
                    machine.kind
                );
                (name, Ending::Refused(why))
            }));
            Ok(tell(&endings)?)
        })
    }
}

impl UpdateArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The event is wrong, or the broker is not reached.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !matches!(self.bundle.scheme(), "http" | "https") {
            bail!(
                "{}: the boxes fetch the bundle themselves; it must be https:// or http://",
                self.bundle
            );
        }
        if self
            .sha256
            .as_ref()
            .is_some_and(|it| it.len() != 64 || !it.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            bail!("--sha256: must be 64 hexadecimal digits");
        }
        let event = load(&self.event)?;
        let words = match self.names.as_slice() {
            [] => vec![Kind::Box.to_string()],
            names => names.to_vec(),
        };
        let machines = meant(&event, &words)?;
        if let Some((name, machine)) = machines.iter().find(|(_, it)| it.kind != Kind::Box) {
            bail!("{name}: this is no box but {}: update its Debian package", machine.kind);
        }
        let limits = Limits {
            taken: Duration::from_secs(60),
            done: Duration::from_secs(self.patience.saturating_mul(60)),
        };
        let order = Order::Update { url: self.bundle, sha256: self.sha256 };
        let names = machines.into_keys().collect();
        run(async {
            let endings = give(&event, names, order, limits, (self.canary, self.jobs)).await?;
            Ok(tell(&endings)?)
        })
    }
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
                        Ok(()) => Ending::Done(format!("{}", file.display())),
                        Err(why) => Ending::Failed(why),
                    },
                ));
            }
            Ok(tell(&endings)?)
        })
    }
}
