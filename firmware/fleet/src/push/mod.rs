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

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use protocol::{
    config::{Mqtt, mqtt::ClientCertificate},
    names::DeviceName,
};
use tokio::{sync::mpsc, task::JoinSet};
use watchdog::clock::SharedClock;

use self::{
    decide::{Step, decide},
    order::Order,
    outcome::{Line, Outcome},
    ssh::{Fault, Session, SshOptions},
    trial::{Said, Trial, Verdict},
    watch::Watch,
};
use crate::{
    certificates::{AUTHORITY, OPERATOR},
    event::{Event, Machine},
    render::{File, Reload, Rendered},
};

/// How often a trial is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long what the broker keeps may take to come, before a machine is sent anything.
const HEAR: Duration = Duration::from_secs(3);

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

/// Pushes to these machines, in this order. What happens is told to `news`.
///
/// # Errors
/// In words: the operator's certificate cannot be used.
pub async fn push(
    event: &Event,
    rendered: Vec<Rendered>,
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
    if let Some(watch) = &watch
        && !rendered.iter().any(|wanted| is_broker(event, wanted))
    {
        reached(watch, &clock).await?;
    }
    let mut order = Order::new(rendered.len(), options.canaries, options.at_once);
    let mut lines: BTreeMap<usize, Line> = BTreeMap::new();
    let shared = Arc::new((options, clock, news));
    let mut tasks = JoinSet::new();
    loop {
        while let Some(next) = order.begin() {
            let Some(wanted) = rendered.get(next).cloned() else { continue };
            let Some(machine) = event.machines.get(&wanted.machine).cloned() else { continue };
            let (watch, shared) = (watch.clone(), shared.clone());
            let certificates = event.certificates();
            tasks.spawn(async move {
                let (options, clock, news) = &*shared;
                let watch = watch.as_deref();
                let work = Work { machine, wanted, options, clock, news, watch, certificates };
                (next, work.run().await)
            });
        }
        if order.is_over() {
            break;
        }
        match tasks.join_next().await {
            Some(Ok((machine, line))) => {
                order.ended(machine, line.outcome.is_good());
                lines.insert(machine, line);
            }
            Some(Err(error)) => return Err(format!("a part of the push failed: {error}")),
            None => break,
        }
    }
    let wanted = rendered.into_iter().enumerate();
    let line = |(at, wanted): (usize, Rendered)| {
        let held = Line {
            machine: wanted.machine,
            wanted: wanted.revision.to_string(),
            has: None,
            outcome: Outcome::Held,
        };
        lines.remove(&at).unwrap_or(held)
    };
    Ok(wanted.map(line).collect())
}

/// Whether it is reached over the broker alone.
fn is_far(event: &Event, wanted: &Rendered) -> bool {
    event.machines.get(&wanted.machine).is_some_and(|machine| machine.host.is_none())
}

fn is_broker(event: &Event, wanted: &Rendered) -> bool {
    event.machines.get(&wanted.machine).is_some_and(|machine| machine.broker)
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

/// The work with one machine.
struct Work<'a> {
    machine: Machine,
    wanted: Rendered,
    options: &'a Options,
    clock: &'a SharedClock,
    news: &'a mpsc::UnboundedSender<News>,
    watch: Option<&'a Watch>,
    /// The folder with the operator's.
    certificates: PathBuf,
}

impl Work<'_> {
    fn tell(&self, what: impl Into<String>) {
        // Nobody listens any more: then nobody wants to know.
        let _ = self.news.send(News::Doing(self.wanted.machine.clone(), what.into()));
    }

    async fn run(self) -> Line {
        let (outcome, has) = match &self.machine.host {
            Some(host) => self.by_ssh(host).await,
            None => self.over_mqtt().await,
        };
        let (word, why) = outcome.words();
        self.tell(if why.is_empty() { word.to_owned() } else { format!("{word}: {why}") });
        let has = match outcome {
            Outcome::CutOff(_) | Outcome::Stuck(_) => None,
            _ => has,
        };
        let Rendered { machine, revision, .. } = self.wanted;
        Line { machine, wanted: revision.to_string(), has, outcome }
    }

    async fn by_ssh(&self, host: &str) -> (Outcome, Option<String>) {
        self.tell(format!("connecting to {host}"));
        let sudo = self.machine.sudo;
        let opened = Session::open(host, sudo, &self.wanted.state, &self.options.ssh).await;
        match opened {
            Err(fault) => (Outcome::Unreachable(fault.to_string()), None),
            Ok(mut session) => {
                let outcome = self.with(&mut session).await;
                let has = match &outcome {
                    Outcome::CutOff(_) | Outcome::Stuck(_) => None,
                    _ => session.revision().map(str::to_owned),
                };
                (outcome, Some(has.unwrap_or_else(|| "none".to_owned())))
            }
        }
    }

    /// How a trial goes by what the broker tells.
    fn verdict(&self, watch: &Watch, trial: &mut Trial) -> Verdict {
        match (
            watch.trouble(),
            trial.look(&watch.said(&self.wanted.machine), self.clock.monotonic()),
        ) {
            // Without the broker nothing is known of the machine; and it is the first to say.
            (Some(trouble), Verdict::Wait(_)) => Verdict::Wait(trouble),
            (Some(trouble), Verdict::Unwell(_)) => Verdict::Unwell(trouble),
            (_, verdict) => verdict,
        }
    }

    async fn with(&self, session: &mut Session) -> Outcome {
        let before = self.before().await;
        let running = before.as_ref().and_then(Said::revision).map(str::to_owned);
        for _ in 0..2 {
            let found = match session.look(&self.wanted).await {
                Ok(found) => found,
                Err(fault) => return Outcome::Unreachable(fault.to_string()),
            };
            match decide(&found, &self.wanted, running.as_deref(), self.options.overwrite) {
                Step::ByHand(files) => {
                    let (_, text) = diff::differences(&found, &self.wanted);
                    let _ = self.news.send(News::Differs(self.wanted.machine.clone(), text));
                    return Outcome::ByHand(files);
                }
                Step::UpToDate if self.options.dry_run => return Outcome::UpToDate,
                Step::UpToDate => return self.up_to_date(session).await,
                Step::Resume | Step::GoBack | Step::Send if self.options.dry_run => {
                    let (count, text) = diff::differences(&found, &self.wanted);
                    let _ = self.news.send(News::Differs(self.wanted.machine.clone(), text));
                    return Outcome::WouldChange(count);
                }
                Step::Resume => {
                    self.tell("an earlier push was cut off here: seeing whether it is well");
                    return self.judge(session, &Said::default()).await;
                }
                Step::GoBack => {
                    self.tell("an earlier push was cut off here: going back first");
                    if let Err(fault) = session.back().await {
                        return stuck("an earlier push was cut off", &fault);
                    }
                }
                Step::Send => {
                    let (_, text) = diff::differences(&found, &self.wanted);
                    let _ = self.news.send(News::Differs(self.wanted.machine.clone(), text));
                    self.tell("sending");
                    return match session.send(&self.wanted, &found).await {
                        Ok(()) => self.judge(session, &before.unwrap_or_default()).await,
                        Err(Fault::Failed(why)) => self.go_back(session, why).await,
                        Err(Fault::CutOff(why)) => Outcome::CutOff(why),
                        Err(Fault::Unchanged(why) | Fault::Unreachable(why)) => {
                            Outcome::Refused(why)
                        }
                    };
                }
            }
        }
        Outcome::Stuck("it does not go back".to_owned())
    }

    /// What the machine says before anything is done with it; at the first moments of a push the
    /// broker has not told us yet.
    async fn before(&self) -> Option<Said> {
        let watch = self.watch?;
        let end = self.clock.monotonic().saturating_add(HEAR);
        loop {
            let said = watch.said(&self.wanted.machine);
            let heard = said.birth.is_some() && said.state.is_some();
            if heard || self.clock.monotonic() >= end {
                return Some(said);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn up_to_date(&self, session: &mut Session) -> Outcome {
        match self.trial(session, &Said::default()).await {
            Ok(()) => Outcome::UpToDate,
            Err(Fault::CutOff(why) | Fault::Unreachable(why) | Fault::Unchanged(why)) => {
                Outcome::Unreachable(why)
            }
            Err(Fault::Failed(why)) => Outcome::Unwell(why),
        }
    }

    /// Waits for what comes of the files on trial, and keeps them or goes back.
    async fn judge(&self, session: &mut Session, before: &Said) -> Outcome {
        self.tell("on trial");
        match self.trial(session, before).await {
            Ok(()) => match session.keep().await {
                Ok(()) => Outcome::Pushed,
                Err(fault) => Outcome::CutOff(fault.to_string()),
            },
            Err(Fault::Failed(why)) => self.go_back(session, why).await,
            Err(fault) => Outcome::CutOff(fault.to_string()),
        }
    }

    async fn go_back(&self, session: &mut Session, why: String) -> Outcome {
        self.tell(format!("going back: {why}"));
        match session.back().await {
            Ok(()) => Outcome::WentBack(why),
            Err(fault) => stuck(&why, &fault),
        }
    }

    /// [`Fault::Failed`] if the machine is not well, others if nobody knows.
    async fn trial(&self, session: &mut Session, before: &Said) -> Result<(), Fault> {
        let Options { settle, patience, .. } = *self.options;
        let now = || self.clock.monotonic();
        let revision = self.wanted.revision.as_str();
        let mut trial = Trial::new(revision, before.worried(), settle, patience, now());
        let mut told = String::new();
        let mut asked = None;
        let end = now().saturating_add(patience);
        loop {
            let verdict = match self.watch {
                Some(watch) => self.verdict(watch, &mut trial),
                None => self.by_systemd(session, &mut asked, (now(), end)).await?,
            };
            match verdict {
                Verdict::Well => return Ok(()),
                Verdict::Unwell(why) => return Err(Fault::Failed(why)),
                Verdict::Wait(why) => {
                    if why != told {
                        self.tell(format!("waiting: {why}"));
                        told = why;
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Without a broker: the units that were reloaded are active, at first and after the time in
    /// which a daemon that dies of its configuration has died of it.
    async fn by_systemd(
        &self,
        session: &mut Session,
        since: &mut Option<Duration>,
        (now, end): (Duration, Duration),
    ) -> Result<Verdict, Fault> {
        let unit = |file: &File| match &file.reload {
            Some(Reload::Unit(unit)) => Some(unit.clone()),
            Some(Reload::Run(_)) => Some("backrow-collector.service".to_owned()),
            None => None,
        };
        let units: BTreeSet<String> = self.wanted.files.iter().filter_map(unit).collect();
        match session.active(&units).await {
            Ok(()) => {}
            Err(Fault::Failed(why)) => {
                *since = None;
                return Ok(if now >= end { Verdict::Unwell(why) } else { Verdict::Wait(why) });
            }
            Err(fault) => return Err(fault),
        }
        let first = *since.get_or_insert(now);
        if now.saturating_sub(first) >= self.options.settle {
            return Ok(Verdict::Well);
        }
        Ok(Verdict::Wait("systemd says that it is well".to_owned()))
    }
}

fn stuck(why: &str, fault: &Fault) -> Outcome {
    match fault {
        Fault::CutOff(gone) => Outcome::CutOff(format!("{why}; then {gone}")),
        _ => Outcome::Stuck(format!("{why}; and it could not go back: {fault}")),
    }
}
