//! The work with one machine: over one connection of ssh, or over the broker (`over_mqtt`).

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use protocol::trial::{Said, Trial, Verdict};
use tokio::sync::mpsc;
use watchdog::clock::SharedClock;

use super::{
    LOOK, News, Options,
    decide::{Step, decide},
    diff,
    outcome::{Line, Outcome},
    ssh::{Fault, Session},
    watch::Watch,
};
use crate::{
    event::Machine,
    render::{File, Reload, Rendered},
};

/// How long what the broker keeps may take to come, before a machine is sent anything.
pub(super) const HEAR: Duration = Duration::from_secs(3);

/// The work with one machine.
pub(super) struct Work<'a> {
    pub(super) machine: Machine,
    pub(super) wanted: Rendered,
    pub(super) options: &'a Options,
    pub(super) clock: &'a SharedClock,
    pub(super) news: &'a mpsc::UnboundedSender<News>,
    pub(super) watch: Option<&'a Watch>,
    /// The folder with the operator's.
    pub(super) certificates: PathBuf,
}

impl Work<'_> {
    pub(super) fn tell(&self, what: impl Into<String>) {
        // Nobody listens any more: then nobody wants to know.
        let _ = self.news.send(News::Doing(self.wanted.machine.clone(), what.into()));
    }

    pub(super) async fn run(self) -> Line {
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
        let Options { ssh, patience, settle, .. } = self.options;
        let (sudo, patience) = (self.machine.sudo, patience.saturating_add(*settle));
        let opened = Session::open(host, sudo, &self.wanted.state, ssh, patience).await;
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
    pub(super) fn verdict(&self, watch: &Watch, trial: &mut Trial) -> Verdict {
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
    pub(super) async fn before(&self) -> Option<Said> {
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
