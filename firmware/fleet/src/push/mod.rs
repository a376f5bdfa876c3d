//! `backrow push`: brings every machine its files, sees whether it is well with them, and takes them
//! back where it is not.
//!
//! ```text
//!            ┌─▶ up to date ───────────────────────┐
//! connect ─▶ look ─▶ changed by hand               ├─▶ trial: MQTT, or systemd ─▶ well: kept
//!    │        │└──▶ cut off earlier: on trial ─────┤             └─▶ not well: goes back
//!    ▼        └───▶ send: swapped, reloaded ───────┘
//! unreachable         └─▶ refused: as before
//! ```
//! * [`decide`], [`trial`], [`order`], [`outcome`] and [`diff`] decide; all are pure.
//! * [`ssh`] speaks with a machine, in the words of `wire`; [`watch`] hears the broker. One connection
//!   for each machine. A box without `host` is reached over the broker alone, see `over_mqtt`.
//!
//! Whatever is lost on the way, every file on a machine is whole, and the machine knows what it had
//! before: it goes back by itself when we are gone, and else the next push goes back first.

pub mod decide;
pub mod diff;
pub mod order;
pub mod outcome;
mod over_mqtt;
mod sign;
pub mod ssh;
pub use protocol::trial;
pub mod watch;
mod wire;
mod work;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use protocol::config::{Mqtt, mqtt::ClientCertificate};
use protocol::names::DeviceName;
use tokio::{sync::mpsc, task::JoinSet};
use watchdog::clock::SharedClock;

use self::{order::Order, outcome::Line, ssh::SshOptions, watch::Watch, work::Work};
use crate::{
    certificates::{AUTHORITY, OPERATOR},
    event::{Event, Kind},
    render::Rendered,
};

/// How often is looked at what was heard.
const LOOK: Duration = Duration::from_millis(250);
/// How long the broker may take to be reached.
const CONNECT: Duration = Duration::from_secs(15);

/// How to push.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many machines go first, and alone.
    pub canaries: usize,
    /// How many at once.
    pub at_once: usize,
    /// Only say what would change.
    pub dry_run: bool,
    /// Also replace what somebody changed on a machine.
    pub overwrite: bool,
    /// How long a machine must be well.
    pub settle: Duration,
    /// How long it may take to become so.
    pub patience: Duration,
    /// How ssh is called.
    pub ssh: SshOptions,
}

/// What happens meanwhile, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// What is done with a machine.
    Doing(DeviceName, String),
    /// What differs on it.
    Differs(DeviceName, String),
    /// Something about all of them.
    Note(String),
}

/// Pushes to these machines: the broker's first and alone, as all others are watched by it; then the
/// encoders, which the rest sends to. What happens is told to `news`.
///
/// # Errors
/// In words: the operator's certificate cannot be used.
pub async fn push(
    event: &Event,
    mut rendered: Vec<Rendered>,
    options: Options,
    clock: SharedClock,
    news: mpsc::UnboundedSender<News>,
) -> Result<Vec<Line>, String> {
    let watch = match &event.broker {
        Some(_) if !options.dry_run || rendered.iter().any(|wanted| is_far(event, wanted)) => {
            Some(Arc::new(Watch::start(&operator(event)?)?))
        }
        _ => None,
    };
    rendered.sort_by_key(|wanted| turn(event, wanted));
    let brokers = rendered.iter().filter(|wanted| turn(event, wanted) == Turn::Broker).count();
    if let Some(watch) = &watch
        && brokers == 0
    {
        reached(watch, &clock).await?;
    }
    let shared = Arc::new(Shared { event: event.clone(), watch, options, clock, news });
    let mut queue = rendered.into_iter();
    let mut lines = Vec::new();
    let mut held = false;
    for wanted in queue.by_ref().take(brokers) {
        let line = shared.one(wanted).await?;
        // It may well be there with what it had before.
        held = !line.outcome.is_good() && shared.has_no_broker().await;
        lines.push(line);
    }
    let rest: Vec<_> = queue.collect();
    lines.extend(match held {
        true => rest.into_iter().map(Line::held).collect(),
        false => all(&shared, rest).await?,
    });
    lines.sort_by(|a, b| a.machine.cmp(&b.machine));
    Ok(lines)
}

/// Canaries first, and then all others.
async fn all(shared: &Arc<Shared>, rendered: Vec<Rendered>) -> Result<Vec<Line>, String> {
    let Options { canaries, at_once, .. } = shared.options;
    let mut order = Order::new(rendered.len(), canaries, at_once);
    let mut lines: BTreeMap<usize, Line> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        while let Some(next) = order.begin() {
            let Some(wanted) = rendered.get(next).cloned() else { continue };
            let shared = shared.clone();
            tasks.spawn(async move { (next, shared.one(wanted).await) });
        }
        if order.is_over() {
            break;
        }
        match tasks.join_next().await {
            Some(Ok((machine, line))) => {
                let line = line?;
                order.ended(machine, line.outcome.is_good());
                lines.insert(machine, line);
            }
            Some(Err(error)) => return Err(format!("a part of the push failed: {error}")),
            None => break,
        }
    }
    let wanted = rendered.into_iter().enumerate();
    Ok(wanted.map(|(at, wanted)| lines.remove(&at).unwrap_or_else(|| Line::held(wanted))).collect())
}

/// What the work with every machine needs.
struct Shared {
    event: Event,
    watch: Option<Arc<Watch>>,
    options: Options,
    clock: SharedClock,
    news: mpsc::UnboundedSender<News>,
}

impl Shared {
    async fn one(&self, wanted: Rendered) -> Result<Line, String> {
        let machine = self.event.machines.get(&wanted.machine).cloned();
        let machine = machine.ok_or_else(|| format!("{}: no such machine", wanted.machine))?;
        let Self { event, watch, options, clock, news } = self;
        let (watch, certificates) = (watch.as_deref(), event.certificates());
        Ok(Work { machine, wanted, options, clock, news, watch, certificates }.run().await)
    }

    async fn has_no_broker(&self) -> bool {
        match &self.watch {
            Some(watch) => reached(watch, &self.clock).await.is_err(),
            None => false,
        }
    }
}

/// Who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Broker,
    Encoder,
    Room,
}

fn turn(event: &Event, wanted: &Rendered) -> Turn {
    match event.machines.get(&wanted.machine) {
        Some(machine) if machine.broker => Turn::Broker,
        Some(machine) if machine.kind == Kind::Encoder => Turn::Encoder,
        _ => Turn::Room,
    }
}

/// Whether it is reached over the broker alone.
fn is_far(event: &Event, wanted: &Rendered) -> bool {
    event.machines.get(&wanted.machine).is_some_and(|machine| machine.host.is_none())
}

/// A broker that is not reached would make every machine seem unwell. (One that is itself pushed to
/// may only come by this push.)
async fn reached(watch: &Watch, clock: &SharedClock) -> Result<(), String> {
    let end = clock.monotonic().saturating_add(CONNECT);
    while let Some(trouble) = watch.trouble() {
        if clock.monotonic() >= end {
            return Err(format!("{trouble}; --by-ssh pushes without the broker"));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The operator's way to the broker.
pub(crate) fn operator(event: &Event) -> Result<Mqtt, String> {
    let (url, _) = event.broker.clone().ok_or("there is no broker in event.toml")?;
    let folder = event.certificates();
    let tls = url.scheme() == "mqtts";
    Ok(Mqtt {
        url,
        username: None,
        password: None,
        ca: tls.then(|| folder.join(format!("{AUTHORITY}.pem"))),
        client: tls.then(|| ClientCertificate {
            certificate: folder.join(format!("{OPERATOR}.pem")),
            key: folder.join(format!("{OPERATOR}.key")),
        }),
        home_assistant: None,
    })
}
