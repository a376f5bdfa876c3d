//! `boots.json`: the last boots, how each began and how it ended. What a box that falls back, or
//! restarts by itself, is asked about.

use std::{collections::VecDeque, io, path::PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    image::{Boot, Slot},
    kept,
    paths::Paths,
};

/// Boots kept.
pub const KEPT: usize = 32;
/// Failed units kept of one boot.
const KEPT_UNITS: usize = 8;

/// One boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// The kernel's name for it.
    pub id: String,
    /// When the box's program first saw it; before the time was known, it may be wrong.
    pub at: Timestamp,
    /// The slot.
    #[serde(default)]
    pub slot: Option<Slot>,
    /// Which try of a slot not known to be good; 0 when it is.
    #[serde(default)]
    pub attempt: u32,
    /// The image's version.
    pub version: String,
    /// Why the machine started: what ended the boot before.
    #[serde(default)]
    pub because: String,
    /// Units that have failed in it.
    #[serde(default)]
    pub failed: Vec<String>,
    /// The slot was marked good in it, or was before.
    #[serde(default)]
    pub good: bool,
    /// What an image on trial lacked when the box last looked; power may be cut at any moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Why the box gave this image up and restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<String>,
    /// It ended in good order.
    #[serde(default)]
    pub clean_end: bool,
}

impl BootRecord {
    /// A boot that begins.
    #[must_use]
    pub fn new(boot: &Boot, version: &str, at: Timestamp, because: String) -> Self {
        Self {
            id: boot.id.clone(),
            at,
            slot: boot.slot,
            attempt: boot.attempt,
            version: version.to_owned(),
            because,
            failed: Vec::new(),
            good: boot.attempt == 0,
            missing: None,
            gave_up: None,
            clean_end: false,
        }
    }
}

/// The last boots, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boots {
    #[serde(default)]
    v: u8,
    #[serde(default)]
    boots: VecDeque<BootRecord>,
}

fn file(paths: &Paths) -> PathBuf {
    paths.kept().join("boots.json")
}

impl Boots {
    /// As kept; none if the file is missing or damaged.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        let mut boots: Self = kept::read_json(&file(paths)).unwrap_or_default();
        boots.bound();
        boots
    }

    /// Keeps them.
    ///
    /// # Errors
    /// If the data partition does not take it.
    pub fn keep(&self, paths: &Paths) -> io::Result<()> {
        kept::write_json(&file(paths), self)
    }

    /// All, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &BootRecord> {
        self.boots.iter()
    }

    /// Those after a boot; all, when that one is not known any more.
    pub fn since(&self, id: &str) -> impl Iterator<Item = &BootRecord> {
        let after = self.boots.iter().position(|boot| boot.id == id).map_or(0, |at| at + 1);
        self.boots.iter().skip(after)
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> Option<&BootRecord> {
        self.boots.back()
    }

    /// Takes note of a boot; not twice of the same when the daemon starts again.
    pub fn begin(&mut self, boot: BootRecord) {
        if let Some(known) = self.boots.iter_mut().find(|known| known.id == boot.id) {
            known.clean_end = false;
            return;
        }
        self.v = 1;
        self.boots.push_back(boot);
        self.bound();
    }

    /// Changes the record of a boot; `true` if that changed anything.
    pub fn current(&mut self, id: &str, change: impl FnOnce(&mut BootRecord)) -> bool {
        let Some(boot) = self.boots.iter_mut().rev().find(|boot| boot.id == id) else {
            return false;
        };
        let before = boot.clone();
        change(boot);
        boot.failed.truncate(KEPT_UNITS);
        *boot != before
    }

    /// Whether this version has been marked good in this slot before: it need not prove itself at
    /// every start, where three quick power cuts would cost it the slot.
    #[must_use]
    pub fn proved(&self, slot: Option<Slot>, version: &str) -> bool {
        self.boots.iter().any(|boot| boot.good && boot.slot == slot && boot.version == version)
    }

    /// How often in a row, up to now, this version was given up.
    #[must_use]
    pub fn given_up(&self, version: &str) -> usize {
        self.boots
            .iter()
            .rev()
            .filter(|boot| boot.version == version)
            .skip_while(|boot| boot.gave_up.is_none() && !boot.good)
            .take_while(|boot| boot.gave_up.is_some())
            .count()
    }

    fn bound(&mut self) {
        while self.boots.len() > KEPT {
            self.boots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(id: &str) -> BootRecord {
        let boot = Boot { id: id.into(), slot: Some(Slot::A), attempt: 1, rescue: false };
        BootRecord::new(&boot, "1.0", Timestamp::UNIX_EPOCH, "power".into())
    }

    #[test]
    fn the_ring_is_bounded_and_a_boot_counts_once() {
        let mut boots = Boots::default();
        for i in 0..KEPT + 5 {
            boots.begin(record(&i.to_string()));
            boots.begin(record(&i.to_string()));
        }
        assert_eq!(boots.all().count(), KEPT);
        assert_eq!(boots.newest().unwrap().id, (KEPT + 4).to_string());
        assert!(boots.current("7", |boot| boot.failed = vec!["x".into(); 100]));
        assert_eq!(boots.all().find(|b| b.id == "7").unwrap().failed.len(), KEPT_UNITS);
        assert!(!boots.current("0", |boot| boot.good = true), "gone");
    }

    #[test]
    fn giving_up_is_counted_in_a_row() {
        let mut boots = Boots::default();
        for (id, gave_up) in [("1", true), ("2", false), ("3", true), ("4", true), ("5", false)] {
            boots.begin(record(id));
            boots.current(id, |boot| {
                boot.gave_up = gave_up.then(|| "sad".to_owned());
                boot.good = id == "2";
            });
        }
        assert_eq!(boots.given_up("1.0"), 2, "the boot that runs is not counted");
        assert_eq!(boots.given_up("1.1"), 0);
    }

    proptest! {
        #[test]
        fn any_file_is_read(damage in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..600) {
            let dir = tempfile::tempdir().unwrap();
            let paths = Paths::under(dir.path());
            let mut boots = Boots::default();
            boots.begin(record("a"));
            boots.keep(&paths).unwrap();
            prop_assert_eq!(&Boots::read(&paths), &boots);
            let mut bytes = std::fs::read(file(&paths)).unwrap();
            bytes.truncate(cut);
            bytes.extend(damage);
            std::fs::write(file(&paths), bytes).unwrap();
            let mut boots = Boots::read(&paths);
            boots.begin(record("b"));
            boots.keep(&paths).unwrap();
            prop_assert_eq!(Boots::read(&paths), boots);
        }
    }
}
