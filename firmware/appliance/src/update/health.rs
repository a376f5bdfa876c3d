//! Looks around for the [gate](super::gate), and does what it decides.

use std::{fs, sync::Arc, time::Duration};

use protocol::{mood::Mood, payload::EventKind};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use watchdog::{board::Board, clock::SharedClock};

use super::{
    boots::{BootRecord, Boots},
    gate::{Collector, Gate, Seen, Verdict},
    install::good_mark,
    record::{Outcome, Update},
};
use crate::{
    image::{Boot, Image},
    kept,
    paths::Paths,
    programs::{self, ProgramError, Programs},
};

/// Updates on the board.
pub const COMPONENT: &str = "box.update";
/// The system's units on the board.
pub const UNITS: &str = "box.system";
/// The collector's unit.
pub const COLLECTOR: &str = "backrow-collector.service";

/// Between two looks around.
const LOOK: Duration = Duration::from_secs(5);
/// For systemd's answer.
const ANSWER: Duration = Duration::from_secs(20);
/// For RAUC to mark a slot, which mounts the ESP.
const MARK: Duration = Duration::from_secs(60);

/// What the looking around needs.
#[derive(Debug)]
pub struct Health {
    /// The box.
    pub paths: Paths,
    /// Its programs.
    pub programs: Programs,
    /// Its clock.
    pub clock: SharedClock,
    /// Where moods stand.
    pub board: Board,
    /// What runs.
    pub image: Image,
    /// How it was started.
    pub boot: Boot,
    /// Whether broker or encoder has been reached.
    pub reached: watch::Receiver<bool>,
    /// Set when the slot is good.
    pub good: Arc<watch::Sender<bool>>,
}

impl Health {
    /// Looks around until cancelled. A restart of the box, if the image is given up, comes to the
    /// daemon as SIGTERM like any other.
    pub async fn run(self, cancel: CancellationToken) {
        let mut gate = self.gate().await;
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let restarting = match self.seen().await {
                Ok(seen) => self.act(&mut gate, &seen).await,
                Err(error) => {
                    tracing::warn!("the system's health is not known: {error}");
                    // An image in which that stays so must not stay.
                    let collector = Collector::Down(error.to_string());
                    let reached = *self.reached.borrow();
                    let seen = Seen { failed: Vec::new(), collector, reached };
                    self.judge(&mut gate, &seen).await
                }
            };
            if restarting {
                return;
            }
        }
    }

    /// The gate as this boot finds it.
    async fn gate(&self) -> Gate {
        let boots = Boots::read(&self.paths);
        let given_up = boots.given_up(&self.image.version);
        let good = super::install::slot_is_good(&self.paths, &self.boot);
        let mut gate = Gate::new(good, given_up, self.clock.monotonic());
        if let Some(distress) = self.boot.distress() {
            gate.stays(distress);
        }
        if good {
            self.became_good();
        } else if boots.proved(self.boot.slot, &self.image.version) {
            gate.stays("it worked before and stays; get the diagnostics".to_owned());
            // The boot loader counts every start: it is told at once that this one counts for nothing.
            self.mark(&mut gate).await;
        }
        gate
    }

    async fn seen(&self) -> Result<Seen, ProgramError> {
        let failed = failed_units(&self.programs).await?;
        let collector = if self.paths.site().exists() {
            collector(&self.programs).await?
        } else {
            Collector::NotWanted
        };
        Ok(Seen { failed, collector, reached: *self.reached.borrow() })
    }

    /// `true` when the box is being restarted.
    async fn act(&self, gate: &mut Gate, seen: &Seen) -> bool {
        self.note(seen);
        self.judge(gate, seen).await
    }

    async fn judge(&self, gate: &mut Gate, seen: &Seen) -> bool {
        match gate.look(seen, self.clock.monotonic()) {
            Verdict::Good => {}
            Verdict::Wait(missing) => {
                let (mood, text) = match self.boot.distress() {
                    Some(distress) => (Mood::Sad, format!("{distress} ({missing})")),
                    None => {
                        let version = &self.image.version;
                        (Mood::Waking, format!("version {version} is on trial: {missing}"))
                    }
                };
                self.board.set(COMPONENT, mood, text);
                self.change_record(|boot| boot.missing = Some(missing));
            }
            Verdict::Stuck(why) => {
                let text = format!("version {} is not healthy: {why}", self.image.version);
                self.board.set(COMPONENT, Mood::Sad, text);
            }
            Verdict::MarkGood => self.mark(gate).await,
            Verdict::GiveUp(why) => match self.record_give_up(&why) {
                Ok(()) => return self.give_up(&why).await,
                Err(error) => {
                    // The next look tells.
                    tracing::error!("not given up, as that cannot be recorded: {error}; {why}");
                    gate.stays(format!(
                        "it stays, as the data partition takes no record of giving it up \
                         ({error}); if a restart does not help, flash the box anew, best on \
                         another disk"
                    ));
                }
            },
        }
        false
    }

    /// Failed units go on the board, and into the record as they appear.
    fn note(&self, seen: &Seen) {
        if seen.failed.is_empty() {
            self.board.set(UNITS, Mood::Happy, "every part of the system runs");
            return;
        }
        let text = format!("{} failed: get the diagnostics", seen.failed.join(", "));
        self.board.set(UNITS, Mood::Sad, text);
        self.change_record(|boot| {
            for unit in &seen.failed {
                if !boot.failed.contains(unit) {
                    boot.failed.push(unit.clone());
                }
            }
        });
    }

    async fn mark(&self, gate: &mut Gate) {
        match self.mark_good().await {
            Ok(()) => {
                gate.marked();
                self.became_good();
            }
            Err(error) => {
                let why = format!("it cannot be marked good: {error}");
                tracing::warn!("{why}");
                gate.not_marked(why);
            }
        }
    }

    async fn mark_good(&self) -> Result<(), ProgramError> {
        programs::good(self.programs.rauc(&["status", "mark-good"]), MARK).await?;
        let mark = good_mark(&self.paths);
        if let Err(error) = kept::write(&mark, b"", 0o644) {
            tracing::warn!("{}: {error}", mark.display());
        }
        let message = format!("version {} works and stays", self.image.version);
        self.board.event(EventKind::Notice, COMPONENT, message);
        Ok(())
    }

    fn became_good(&self) {
        self.change_record(|boot| {
            boot.good = true;
            boot.missing = None;
        });
        let version = &self.image.version;
        let mut told = match self.boot.distress() {
            Some(distress) => (Mood::Sad, distress),
            None => (Mood::Happy, format!("version {version} works")),
        };
        if let Some(update) = Update::last(&self.paths) {
            match update.state {
                Outcome::Pending if update.is_running(&self.boot, version) => {
                    let reason =
                        format!("{version} works and stays; it was {} before", update.from);
                    let good = Update { state: Outcome::Good, reason: reason.clone(), ..update };
                    if let Err(error) = good.keep(&self.paths) {
                        tracing::warn!("the record of the update: {error}");
                    }
                    told = (Mood::Happy, reason);
                }
                // Kept in sight until an update succeeds.
                Outcome::RolledBack | Outcome::Failed if !self.boot.rescue => {
                    told = (Mood::Sad, update.reason);
                }
                _ => {}
            }
        }
        self.board.set(COMPONENT, told.0, told.1);
        self.good.send_replace(true);
    }

    /// On the disk, before anything follows from it: what is not counted there would not end.
    fn record_give_up(&self, why: &str) -> std::io::Result<()> {
        let mut boots = Boots::read(&self.paths);
        // It may not have been possible when this boot began.
        let Health { boot, image, clock, .. } = self;
        boots.begin(BootRecord::new(boot, &image.version, clock.utc(), String::new()));
        boots.current(&boot.id, |boot| boot.gave_up = Some(why.to_owned()));
        boots.keep(&self.paths)
    }

    async fn give_up(&self, why: &str) -> bool {
        let text = format!("version {} is given up: {why}; restarting", self.image.version);
        self.board.set(COMPONENT, Mood::Sad, text);
        match self.programs.reboot().await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("{error}");
                false
            }
        }
    }

    fn change_record(&self, change: impl FnOnce(&mut BootRecord)) {
        let mut boots = Boots::read(&self.paths);
        if boots.current(&self.boot.id, change)
            && let Err(error) = boots.keep(&self.paths)
        {
            tracing::warn!("the record of boots cannot be written: {error}");
        }
    }
}

/// The names of all units that have failed.
///
/// # Errors
/// If systemd does not answer.
pub async fn failed_units(programs: &Programs) -> Result<Vec<String>, ProgramError> {
    let args = ["list-units", "--failed", "--plain", "--no-legend", "--no-pager", "--full"];
    let listed = programs::good(programs.systemctl(&args), ANSWER).await?;
    Ok(listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

async fn collector(programs: &Programs) -> Result<Collector, ProgramError> {
    let args = ["show", COLLECTOR, "-p", "ActiveState,SubState,ActiveEnterTimestampMonotonic"];
    let shown = programs::good(programs.systemctl(&args), ANSWER).await?;
    Ok(unit_state(&shown))
}

fn unit_state(shown: &str) -> Collector {
    let value = |name: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim()
    };
    match (value("ActiveState"), value("ActiveEnterTimestampMonotonic").parse()) {
        ("active", Ok(start)) => Collector::Ready(start),
        ("", _) => Collector::Down("unknown".to_owned()),
        (state, _) => Collector::Down(format!("{state}, {}", value("SubState"))),
    }
}

/// What the start of the daemon tells of the boots before: a record of this boot, and whether an
/// update was taken back. Returns why the machine started.
pub fn begin(
    paths: &Paths,
    image: &Image,
    boot: &Boot,
    board: &Board,
    clock: &SharedClock,
) -> String {
    let mut boots = Boots::read(paths);
    let evidence = super::because::Evidence::gather(paths);
    let known = boots.all().find(|known| known.id == boot.id).map(|known| known.because.clone());
    let because = known.unwrap_or_else(|| {
        let because = super::because::because(boots.newest(), &evidence);
        board.event(EventKind::Notice, "box.boot", format!("this start: {because}"));
        because
    });
    let record = BootRecord::new(boot, &image.version, clock.utc(), because.clone());
    boots.begin(record);
    if let Err(error) = fs::create_dir_all(paths.kept()).and_then(|()| boots.keep(paths)) {
        tracing::warn!("the record of boots cannot be written: {error}");
    }
    if let Some(update) = Update::last(paths)
        && let Some(after) = update
            .after_boot(boot, &image.version, &boots, |slot| super::tries::counted(paths, slot))
    {
        if let Err(error) = after.keep(paths) {
            tracing::warn!("the record of the update cannot be written: {error}");
        }
        if matches!(after.state, Outcome::RolledBack | Outcome::Failed) {
            board.event(EventKind::Loss, COMPONENT, after.reason.clone());
            board.set(COMPONENT, Mood::Sad, after.reason);
        }
    }
    because
}

/// The daemon ends in good order.
pub fn end(paths: &Paths, boot: &Boot) {
    let mut boots = Boots::read(paths);
    if boots.current(&boot.id, |boot| boot.clean_end = true)
        && let Err(error) = boots.keep(paths)
    {
        tracing::warn!("the record of boots cannot be written: {error}");
    }
}

#[cfg(test)]
mod tests;
