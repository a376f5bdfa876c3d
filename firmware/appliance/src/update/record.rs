//! `update.json`: the update that was tried last, and what came of it. Kept until the next one.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::boots::Boots;
use crate::{
    image::{Boot, Slot},
    kept,
    paths::Paths,
};

/// An update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The version of this file, 1.
    pub v: u8,
    /// The version it was installed from.
    pub from: String,
    /// The version that was installed.
    pub to: String,
    /// Where.
    pub slot: Option<Slot>,
    /// When, by the box's clock.
    pub at: Timestamp,
    /// The boot in which it was installed: those after it are its tries, whatever the clock said.
    #[serde(default)]
    pub during: String,
    /// Who asked: `CONFIG`, `command 01J…`, `page`, `command line`.
    #[serde(default)]
    pub asked_by: String,
    /// What came of it.
    pub state: Outcome,
    /// What came of it, in plain words.
    #[serde(default)]
    pub reason: String,
}

/// What came of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Being written to its slot.
    Installing,
    /// It could not be installed, or power was lost on the way.
    Failed,
    /// Installed; it has not shown yet that it works.
    Pending,
    /// It works and stays.
    Good,
    /// The box runs from the other slot again.
    RolledBack,
}

/// Where it is.
fn file(paths: &Paths) -> std::path::PathBuf {
    paths.kept().join("update.json")
}

impl Update {
    /// The last one, if any.
    #[must_use]
    pub fn last(paths: &Paths) -> Option<Self> {
        kept::read_json(&file(paths))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If the data partition does not take it.
    pub fn keep(&self, paths: &Paths) -> io::Result<()> {
        kept::write_json(&file(paths), self)
    }

    /// What this boot says about an update: the record as it is now, if it changed. How often the
    /// boot loader tried a slot is asked only if it did not work.
    #[must_use]
    pub fn after_boot(
        &self,
        boot: &Boot,
        running: &str,
        boots: &Boots,
        counted: impl Fn(Slot) -> Option<usize>,
    ) -> Option<Self> {
        let there = self.is_running(boot, running);
        let (state, reason) = match self.state {
            Outcome::Good | Outcome::RolledBack | Outcome::Failed => return None,
            // Power was lost after the boot loader was told, before we could note it.
            Outcome::Installing if there => (Outcome::Pending, self.reason.clone()),
            // Still in the boot that installs: only this daemon was started anew.
            Outcome::Installing if boot.id == self.during => return None,
            Outcome::Installing => (
                Outcome::Failed,
                format!(
                    "installing {} was broken off by a restart or a loss of power; {running} goes \
                     on; ask for the update again",
                    self.to
                ),
            ),
            Outcome::Pending if there || boot.id == self.during => return None,
            Outcome::Pending => {
                let counted = self.slot.and_then(counted).unwrap_or(0);
                (Outcome::RolledBack, self.rolled_back(running, boots, counted))
            }
        };
        Some(Self { state, reason, ..self.clone() })
    }

    /// The box runs what was installed.
    #[must_use]
    pub fn is_running(&self, boot: &Boot, running: &str) -> bool {
        running == self.to && (boot.slot.is_none() || boot.slot == self.slot)
    }

    /// Why the box runs something else than what was installed.
    fn rolled_back(&self, running: &str, boots: &Boots, counted: usize) -> String {
        let tries: Vec<_> = boots
            .since(&self.during)
            .filter(|boot| boot.version == self.to && boot.slot == self.slot)
            .collect();
        let (to, from) = (&self.to, running);
        let Some(last) = tries.last() else {
            return format!(
                "the update to {to} did not start: none of its tries came as far as this box's own \
                 program (kernel or system image); {from} runs again"
            );
        };
        // Some may not have come as far as to be on record.
        let mut text = match tries.len().max(counted) {
            1 => format!("the update to {to} was tried once and did not become healthy"),
            n => format!("the update to {to} was tried {n} times and did not become healthy"),
        };
        let trouble = match (&last.gave_up, last.failed.as_slice(), &last.missing) {
            (Some(why), _, _) => why.clone(),
            (None, [], Some(missing)) => missing.clone(),
            (None, [], None) => "it stopped without a word".to_owned(),
            (None, failed, _) => format!("{} failed", failed.join(", ")),
        };
        text.push_str(&format!(": {trouble}"));
        text.push_str(&format!("; {from} runs again"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{super::boots::BootRecord, *};

    fn update() -> Update {
        Update {
            v: 1,
            from: "1.0".into(),
            to: "1.1".into(),
            slot: Some(Slot::B),
            at: "2026-02-03T04:05:06Z".parse().unwrap(),
            during: "0".into(),
            asked_by: "CONFIG".into(),
            state: Outcome::Pending,
            reason: String::new(),
        }
    }

    fn boot(slot: Slot) -> Boot {
        Boot { id: "x".into(), slot: Some(slot), attempt: 0, rescue: false }
    }

    fn tried(boots: &mut Boots, id: &str, attempt: u32) {
        let boot = Boot { id: id.into(), slot: Some(Slot::B), attempt, rescue: false };
        // A box without a clock: the time says nothing.
        let at = Timestamp::UNIX_EPOCH;
        boots.begin(BootRecord::new(&boot, "1.1", at, "restarted on purpose".into()));
    }

    #[test]
    fn a_boot_into_the_new_slot_settles_nothing() {
        assert_eq!(update().after_boot(&boot(Slot::B), "1.1", &Boots::default(), |_| None), None);
        let same_boot = Boot { id: "0".into(), ..boot(Slot::A) };
        assert_eq!(update().after_boot(&same_boot, "1.0", &Boots::default(), |_| None), None);
        let good = Update { state: Outcome::Good, ..update() };
        assert_eq!(good.after_boot(&boot(Slot::A), "1.0", &Boots::default(), |_| None), None);
    }

    #[test]
    fn power_lost_while_installing_is_told() {
        let installing = Update { state: Outcome::Installing, ..update() };
        let boots = Boots::default();
        let after = installing.after_boot(&boot(Slot::A), "1.0", &boots, |_| None).unwrap();
        assert_eq!(after.state, Outcome::Failed);
        assert!(after.reason.contains("loss of power; 1.0 goes on"), "{}", after.reason);
        let there = installing.after_boot(&boot(Slot::B), "1.1", &boots, |_| None).unwrap();
        assert_eq!(there.state, Outcome::Pending);
    }

    #[test]
    fn a_rollback_names_version_tries_and_the_last_trouble() {
        let mut boots = Boots::default();
        tried(&mut boots, "earlier", 1);
        tried(&mut boots, "0", 0);
        let reason = |boots: &Boots| {
            let counted = |slot| (slot == Slot::B).then_some(2);
            let after = update().after_boot(&boot(Slot::A), "1.0", boots, counted).unwrap();
            assert_eq!(after.state, Outcome::RolledBack);
            after.reason
        };
        assert!(reason(&boots).starts_with("the update to 1.1 did not start"));
        tried(&mut boots, "1", 1);
        assert!(reason(&boots).contains("tried 2 times"), "one did not come as far");
        for attempt in 2..=3 {
            tried(&mut boots, &format!("{attempt}"), attempt);
        }
        assert!(
            reason(&boots).contains("tried 3 times") && reason(&boots).contains("without a word")
        );
        // The plug was pulled while it was on trial.
        let missing = "the collector is not ready (activating, auto-restart)";
        boots.current("3", |boot| boot.missing = Some(missing.into()));
        assert!(reason(&boots).contains(&format!(": {missing}; 1.0 runs again")));
        boots.current("3", |boot| boot.failed = vec!["backrow-collector.service".into()]);
        assert!(reason(&boots).contains(": backrow-collector.service failed; 1.0 runs again"));
        boots.current("3", |boot| boot.gave_up = Some("no collector for 15 min".into()));
        assert!(reason(&boots).contains(": no collector for 15 min; 1.0 runs again"));
    }

    #[test]
    fn it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(Update::last(&paths), None);
        update().keep(&paths).unwrap();
        assert_eq!(Update::last(&paths), Some(update()));
    }
}
