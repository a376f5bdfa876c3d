//! `backrow restart`, `identify` and `update`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use clap::Args;
use protocol::{command::Order, names::DeviceName};
use tokio::sync::mpsc;
use url::Url;
use watchdog::clock;

use super::{
    asking::{Ending, Limits},
    commands::{InEvent, Ssh, hear, listen, load, meant, run},
    heard::Heard,
    orders::{Conversation, order_all},
    remote,
};
use crate::{
    event::{Event, Kind},
    push::outcome::exit,
};

/// How long what the broker keeps may take to come.
const KEPT: Duration = Duration::from_secs(3);

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
pub(super) fn tell(endings: &[(DeviceName, Ending)]) -> io::Result<ExitCode> {
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
                        Ok(status) => remote::ending(status),
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
