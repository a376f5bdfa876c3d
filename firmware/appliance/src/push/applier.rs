//! Takes pushed settings in the box's daemon, sees how the box does with them, and takes them back.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::{
    config::Site,
    payload::EventKind,
    push::{ConfigState, Document, Refused, SITE, Signed, Standing},
    trial::{Trial, Verdict},
};
use telemetry::mqtt::Incoming;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use watchdog::{board::Board, clock::SharedClock};

use super::{
    health::{self, Collector},
    record::{Admission, Phase, Record, Resume, sum},
    verify::verify,
};
use crate::{
    kept,
    network::apply::System,
    paths::Paths,
    provision::{
        config::Partition,
        configure::{self, Files},
        requests::Hooks,
    },
};

/// The settings on the board.
const COMPONENT: &str = "box.config";
/// How often a trial is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long this daemon may take to be started anew.
const RESTART: Duration = Duration::from_secs(120);
/// Between two tries to go back.
const RETRY: Duration = Duration::from_secs(60);

/// What it works with.
#[derive(Debug)]
pub struct Applier {
    /// The system whose settings these are.
    pub system: System,
    /// The time.
    pub clock: SharedClock,
    /// Where moods stand.
    pub board: Board,
    /// The site that this daemon runs with.
    pub site: Site,
    /// What is told at the broker.
    pub told: Arc<watch::Sender<Option<ConfigState>>>,
}

/// What came, if it is to be believed; else what could be read of it.
type Understood = Result<Document, (Option<Box<Document>>, String)>;

/// The work.
struct Work {
    applier: Applier,
    record: Record,
    collector: Collector,
    trial: Option<Trial>,
    /// Told last by the trial.
    worry: String,
    /// Everything is to be started anew; if it is not by then, something is wrong.
    restarting: Option<Duration>,
    /// When to try again to go back.
    retry: Option<Duration>,
    /// Came while another was on trial.
    waiting: Option<Incoming>,
}

impl Applier {
    /// Until cancelled.
    pub async fn run(self, mut incoming: mpsc::Receiver<Incoming>, cancel: CancellationToken) {
        let mut work = Work::new(self);
        work.resume().await;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                next = incoming.recv() => match next {
                    Some(incoming) => work.waiting = Some(incoming),
                    None => return cancel.cancelled().await,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
            work.look().await;
        }
    }
}

impl Work {
    fn new(applier: Applier) -> Self {
        let record = Record::read(&applier.system.paths);
        Self {
            applier,
            record,
            collector: Collector::default(),
            trial: None,
            worry: String::new(),
            restarting: None,
            retry: None,
            waiting: None,
        }
    }

    fn paths(&self) -> &Paths {
        &self.applier.system.paths
    }

    fn now(&self) -> Duration {
        self.applier.clock.monotonic()
    }

    fn utc(&self) -> Timestamp {
        self.applier.clock.utc()
    }

    fn before_file(&self) -> PathBuf {
        self.paths().kept().join("config-before.json")
    }

    /// Tells what became of the last document; or of this one, which was refused and is not kept.
    fn tell(&self, refused: Option<(Option<&Document>, &str)>) {
        let Record { standing, reason, at, sequence, revision, highest, applied, .. } =
            &self.record;
        let mut state = match refused {
            Some((document, why)) => {
                let mut state = ConfigState::new(self.utc(), Standing::Refused, why);
                state.sequence = document.map(|it| it.sequence);
                state.revision = document.map(|it| it.revision.clone());
                state
            }
            None => {
                let standing = standing.unwrap_or(Standing::None);
                let mut state = ConfigState::new(at.unwrap_or(self.utc()), standing, reason);
                state.sequence = Some(*sequence).filter(|_| standing != Standing::None);
                state.revision.clone_from(revision);
                state
            }
        };
        state.highest = *highest;
        state.has.clone_from(&self.applier.site.revision);
        let here = fs::read(self.paths().kept().join("site.toml")).ok();
        state.by_hand = match (applied, here) {
            (Some(applied), Some(here)) if self.record.pending.is_none() => *applied != sum(&here),
            _ => false,
        };
        self.applier.told.send_replace(Some(state));
    }

    fn event(&self, message: String) {
        self.applier.board.event(EventKind::Notice, COMPONENT, message);
    }

    /// Writes the record down; `false` if the data partition does not take it.
    fn keep(&self) -> bool {
        match self.record.keep(self.paths()) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("what became of pushed settings cannot be kept: {error}");
                false
            }
        }
    }

    async fn resume(&mut self) {
        let runs = self.applier.site.revision.clone();
        let resume = self.record.resume(runs.as_ref());
        if resume != Resume::Nothing {
            self.keep();
        }
        match resume {
            Resume::Nothing => self.tell(None),
            Resume::Judge => {
                let Some(pending) = self.record.pending.clone() else { return };
                let revision = runs.map(|it| it.to_string()).unwrap_or_default();
                let seconds = Duration::from_secs;
                let (settle, patience) = (seconds(pending.settle_s), seconds(pending.patience_s));
                self.trial =
                    Some(Trial::new(&revision, pending.worried, settle, patience, self.now()));
                let at = self.utc();
                self.record.stands(Standing::Trial, "it is in force, and on trial", at);
                self.tell(None);
            }
            Resume::Again => {
                if let Err(why) = self.put_back().await {
                    tracing::warn!("after a push that was cut off: {why}");
                }
                let at = self.utc();
                self.record.forget(at);
                self.keep();
                self.tell(None);
            }
            Resume::GoBack(why) => self.go_back(why).await,
        }
    }

    async fn look(&mut self) {
        let now = self.now();
        if let Some(end) = self.restarting {
            match &self.record.pending {
                _ if now < end => {}
                Some(_) => self.go_back("the box could not be started anew with it".into()).await,
                // What there was before is in place, and does not run yet.
                None => self.restart(false).await,
            }
            return;
        }
        if self.trial.is_some() {
            return self.judge().await;
        }
        if self.record.pending.is_some() {
            if self.retry.is_none_or(|at| now >= at) {
                let why = self.record.reason.clone();
                self.go_back(why).await;
            }
            return;
        }
        if let Some(incoming) = self.waiting.take() {
            self.take(&incoming).await;
        }
    }

    async fn judge(&mut self) {
        let now = self.now();
        let status = self.collector.look(&self.applier.system.paths, now);
        let Some(pending) = &self.record.pending else { return };
        let runs = self.applier.site.revision.as_ref();
        let (said, trouble) = health::said(status, &self.applier.board, runs, &pending.session);
        let Some(trial) = &mut self.trial else { return };
        let (verdict, at) = (trial.look(&said, now), self.utc());
        match verdict {
            Verdict::Well => {
                self.trial = None;
                self.record.end(Standing::Applied, "the box is well with it", at);
                let site = fs::read(self.paths().kept().join("site.toml")).ok();
                self.record.applied = site.map(|site| sum(&site));
                self.keep();
                let _ = fs::remove_file(self.before_file());
                self.event("the pushed settings are applied: the box is well with them".to_owned());
                self.tell(None);
            }
            Verdict::Unwell(why) => {
                self.trial = None;
                self.go_back(trouble.unwrap_or(why)).await;
            }
            Verdict::Wait(why) => {
                let why = trouble.unwrap_or(why);
                if why != self.worry {
                    self.record.stands(Standing::Trial, &why, at);
                    self.worry = why;
                    self.tell(None);
                }
            }
        }
    }

    /// What came, if it is signed by somebody who may.
    fn understood(&self, incoming: &Incoming) -> Understood {
        let plain = |refused: Refused| (None, refused.to_string());
        let signed = Signed::parse(&incoming.payload).map_err(plain)?;
        let parsed = Document::parse(&signed.document);
        let no = |why: String| Err((parsed.clone().ok().map(Box::new), why));
        let authority = self.applier.site.mqtt.as_ref().and_then(|mqtt| mqtt.ca.clone());
        let Some(authority) = authority else {
            return no("this box has no `ca` in [mqtt], so it trusts nobody's signature".to_owned());
        };
        let authority = match fs::read(&authority) {
            Ok(authority) => authority,
            Err(error) => return no(format!("{}: {error}", authority.display())),
        };
        if let Err(why) = verify(&signed, &authority, self.utc()) {
            return no(why);
        }
        parsed.map_err(plain)
    }

    async fn take(&mut self, incoming: &Incoming) {
        let document = match self.understood(incoming) {
            Ok(document) => document,
            Err((document, why)) => return self.refuse(document.as_deref(), &why),
        };
        let site = fs::metadata(self.paths().kept().join("site.toml"));
        let since = site.and_then(|site| site.modified()).ok();
        let since = since.and_then(|since| Timestamp::try_from(since).ok());
        let device = &self.applier.site.device;
        match self.record.admit(&document, device, incoming.retained, since) {
            Admission::Known => self.tell(None),
            Admission::Refuse(why) => self.refuse(Some(&document), &why),
            Admission::Take => self.apply(document).await,
        }
    }

    /// Nothing is kept of it: it may not be what it says.
    fn refuse(&self, document: Option<&Document>, why: &str) {
        self.event(format!("pushed settings are refused: {why}"));
        self.tell(Some((document, why)));
    }

    async fn apply(&mut self, document: Document) {
        let now = self.now();
        let status = self.collector.look(&self.applier.system.paths, now).cloned();
        let worries = health::worries(status.as_ref(), &self.applier.board);
        let session = status.map(|status| status.session).unwrap_or_default();
        let earlier = self.record.clone();
        let at = self.utc();
        self.record.begin(&document, worries.into_keys().collect(), session, at);
        let files: Files = document
            .files
            .iter()
            .map(|(name, content)| (name.clone(), content.clone().into_bytes()))
            .collect();
        let judged = self.judged(&document, &files);
        let ready = judged.and_then(|()| self.remember());
        if let Err(why) = ready {
            self.record.end(Standing::Refused, &why, at);
            self.keep();
            self.event(format!("pushed settings are refused: {why}"));
            return self.tell(None);
        }
        if !self.keep() {
            self.record = earlier;
            return self
                .refuse(Some(&document), "the box cannot write down what it is about to do");
        }
        self.event(format!("revision {} was pushed: it is put in place", document.revision));
        self.tell(None);
        match self.put(files).await {
            Ok(other_network) => self.restart(other_network).await,
            Err(why) => self.go_back(why).await,
        }
    }

    /// Whether these files are right, and are what the document says.
    fn judged(&self, document: &Document, files: &Files) -> Result<(), String> {
        let site = configure::judge(self.paths(), files).map_err(|why| why.join("; "))?;
        if site.revision.as_ref() != Some(&document.revision) {
            return Err(format!("`revision` in {SITE} is not {}", document.revision));
        }
        if site.device != document.machine {
            return Err(format!("`device` in {SITE} is {}, not {}", site.device, document.machine));
        }
        Ok(())
    }

    /// Keeps what there is now, to go back to.
    fn remember(&self) -> Result<(), String> {
        let no = |why: String| format!("there would be nothing to go back to: {why}");
        let before = configure::kept(self.paths()).map_err(no)?;
        let mut texts = BTreeMap::new();
        for (name, bytes) in before {
            let text = String::from_utf8(bytes).map_err(|_| no(format!("{name} is not text")))?;
            texts.insert(name, text);
        }
        kept::write_json(&self.before_file(), &texts).map_err(|error| no(error.to_string()))
    }

    /// Puts files in place; whether that changed the network's settings.
    async fn put(&self, files: Files) -> Result<bool, String> {
        let paths = self.paths().clone();
        let put = tokio::task::spawn_blocking(move || {
            let network = paths.run().join("network.json");
            let before = fs::read(&network).ok();
            let done = configure::put(&paths, Partition::mount(&paths), files, &Hooks::default());
            done.map(|_| before != fs::read(&network).ok()).map_err(|why| why.join("; "))
        });
        put.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn put_back(&self) -> Result<bool, String> {
        let before: Option<BTreeMap<String, String>> = kept::read_json(&self.before_file());
        let before = before.ok_or("what there was before is not kept any more")?;
        self.put(before.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()).await
    }

    async fn go_back(&mut self, why: String) {
        tracing::warn!("pushed settings: going back: {why}");
        self.trial = None;
        let at = self.utc();
        if let Some(pending) = &mut self.record.pending {
            pending.phase = Phase::GoingBack(why.clone());
        }
        self.record.stands(Standing::Stuck, &why, at);
        self.keep();
        match self.put_back().await {
            Ok(other_network) => {
                self.record.end(Standing::WentBack, &why, at);
                self.keep();
                let _ = fs::remove_file(self.before_file());
                self.event(format!("the box went back to what it had before: {why}"));
                self.tell(None);
                self.restart(other_network).await;
            }
            Err(fault) => {
                tracing::error!("the box cannot go back: {fault}");
                self.retry = Some(self.now().saturating_add(RETRY));
                self.tell(None);
            }
        }
    }

    /// Starts anew what reads the settings, this daemon, too.
    async fn restart(&mut self, network: bool) {
        self.restarting = Some(self.now().saturating_add(RESTART));
        let asked = configure::restart(&self.applier.system, network, &["--no-block"]).await;
        if let Err(error) = asked {
            tracing::error!("not all of the box can be started anew: {error}");
            let wait = if self.record.pending.is_some() { Duration::ZERO } else { RETRY };
            self.restarting = Some(self.now().saturating_add(wait));
        }
    }
}

#[cfg(test)]
mod tests;
