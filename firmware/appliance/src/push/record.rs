//! What came, and what became of it: kept on the data partition, so that nothing is taken twice. Pure
//! but for reading and writing.

use std::{io, path::PathBuf};

use jiff::Timestamp;
use protocol::{
    names::{DeviceName, Revision},
    push::{Document, Standing},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{kept, paths::Paths};

/// So often a revision is begun whose putting in place was cut off.
const TRIES: u32 = 3;
/// So often the box's daemon may start during a trial: once by the trial itself, and some by accident.
const STARTS: u32 = 4;

/// How far a revision is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is being put in place.
    Putting,
    /// It is in place, and on trial.
    Judging,
    /// What was there before is being put back, for this reason.
    GoingBack(String),
}

/// A revision that is not settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// How far it is.
    pub phase: Phase,
    /// How long the box must be well, seconds.
    pub settle_s: u64,
    /// How long that may take, seconds.
    pub patience_s: u64,
    /// The components that worried before.
    pub worried: Vec<String>,
    /// The collector's session before.
    pub session: String,
    /// Starts of the daemon since.
    pub starts: u32,
    /// The highest sequence before.
    pub highest_before: u64,
}

/// All that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Version of this file, 1.
    pub v: u8,
    /// Only a document with a higher sequence is taken.
    pub highest: u64,
    /// The document that `standing` is about.
    pub sequence: u64,
    /// Its revision.
    pub revision: Option<Revision>,
    /// What became of it; `None`: nothing ever came.
    pub standing: Option<Standing>,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Option<Timestamp>,
    /// The sum of the site that was applied last.
    pub applied: Option<String>,
    /// How often putting this document in place was cut off.
    pub cut_off: u32,
    /// What is under way.
    pub pending: Option<Pending>,
}

/// What to do with a document that is to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Nothing: it is known, and what became of it.
    Known,
    /// Tell why it is not taken.
    Refuse(String),
    /// Take it.
    Take,
}

/// How to go on after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// Nothing was under way.
    Nothing,
    /// The revision is in force: see how it does.
    Judge,
    /// It was being put in place: put back what was there, then it may come again.
    Again,
    /// Put back what was there, for good.
    GoBack(String),
}

fn file(paths: &Paths) -> PathBuf {
    paths.kept().join("config.json")
}

/// The sum of a site's text.
#[must_use]
pub fn sum(site: &[u8]) -> String {
    Sha256::digest(site).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Record {
    /// As kept.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        kept::read_json(&file(paths)).unwrap_or_default()
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If the data partition does not take it.
    pub fn keep(&self, paths: &Paths) -> io::Result<()> {
        kept::write_json(&file(paths), self)
    }

    /// What to do with a document. `since` is when the box was given the settings that it has, and
    /// `retained` that the broker had kept the message: a box that was set up anew does not take what
    /// was made before.
    #[must_use]
    pub fn admit(
        &self,
        document: &Document,
        device: &DeviceName,
        retained: bool,
        since: Option<Timestamp>,
    ) -> Admission {
        if document.machine != *device {
            return Admission::Refuse(format!(
                "it is for the machine {}, and this is {device}",
                document.machine
            ));
        }
        if document.sequence == self.highest && self.standing.is_some() {
            return Admission::Known;
        }
        if document.sequence <= self.highest {
            return Admission::Refuse(format!(
                "it is older (sequence {}) than what this box had already ({})",
                document.sequence, self.highest
            ));
        }
        match since {
            Some(since) if retained && self.highest == 0 && document.made < since => {
                Admission::Refuse(format!(
                    "it was made at {}, before this box was given its settings at {since}",
                    document.made
                ))
            }
            _ => Admission::Take,
        }
    }

    /// A document is to be put in place.
    pub fn begin(
        &mut self,
        document: &Document,
        worried: Vec<String>,
        session: String,
        at: Timestamp,
    ) {
        if self.sequence != document.sequence {
            self.cut_off = 0;
        }
        let (settle, patience) = document.times();
        self.pending = Some(Pending {
            phase: Phase::Putting,
            settle_s: settle.as_secs(),
            patience_s: patience.as_secs(),
            worried,
            session,
            starts: 0,
            highest_before: self.highest,
        });
        self.v = 1;
        self.highest = document.sequence;
        self.sequence = document.sequence;
        self.revision = Some(document.revision.clone());
        self.stands(Standing::Trial, "it is being put in place", at);
    }

    /// Where what is under way stands.
    pub fn stands(&mut self, standing: Standing, reason: &str, at: Timestamp) {
        self.standing = Some(standing);
        reason.clone_into(&mut self.reason);
        self.at = Some(at);
    }

    /// What is under way has come to its end.
    pub fn end(&mut self, standing: Standing, reason: &str, at: Timestamp) {
        self.pending = None;
        self.stands(standing, reason, at);
    }

    /// What to do after a start of the daemon, which runs with this revision.
    pub fn resume(&mut self, runs: Option<&Revision>) -> Resume {
        let in_force = runs.is_some() && runs == self.revision.as_ref();
        let Some(pending) = &mut self.pending else { return Resume::Nothing };
        pending.starts = pending.starts.saturating_add(1);
        match &pending.phase {
            Phase::GoingBack(why) => Resume::GoBack(why.clone()),
            _ if in_force && pending.starts > STARTS => Resume::GoBack(format!(
                "the box's daemon was started {} times during the trial",
                pending.starts
            )),
            _ if in_force => {
                pending.phase = Phase::Judging;
                Resume::Judge
            }
            Phase::Putting => {
                self.cut_off = self.cut_off.saturating_add(1);
                match self.cut_off {
                    0..TRIES => Resume::Again,
                    tries => {
                        Resume::GoBack(format!("putting it in place was cut off {tries} times"))
                    }
                }
            }
            Phase::Judging => {
                Resume::GoBack("the box started with other settings than those".to_owned())
            }
        }
    }

    /// What was cut off is forgotten, so that the message that the broker keeps is taken once more.
    pub fn forget(&mut self, at: Timestamp) {
        if let Some(pending) = self.pending.take() {
            self.highest = pending.highest_before;
            self.stands(Standing::None, "putting it in place was cut off; it will come again", at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::payload::VERSION;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn document(sequence: u64) -> Document {
        Document {
            v: VERSION,
            machine: "box-7".parse().unwrap(),
            revision: format!("r{sequence}").parse().unwrap(),
            made: at(100),
            sequence,
            settle_s: 6,
            patience_s: 90,
            files: [("site.toml".to_owned(), String::new())].into(),
        }
    }

    fn admit(record: &Record, sequence: u64) -> Admission {
        record.admit(&document(sequence), &"box-7".parse().unwrap(), true, None)
    }

    fn begin(record: &mut Record, sequence: u64) {
        record.begin(&document(sequence), Vec::new(), String::new(), at(0));
    }

    #[test]
    fn the_wrong_machine_and_what_is_older_are_refused() {
        let mut record = Record::default();
        let other = record.admit(&document(5), &"box-8".parse().unwrap(), false, None);
        let told = "it is for the machine box-7, and this is box-8".to_owned();
        assert_eq!(other, Admission::Refuse(told));
        let us = "box-7".parse().unwrap();
        // Made before the box was set up, and kept by the broker since.
        let late = record.admit(&document(5), &us, true, Some(at(101)));
        assert!(
            matches!(late, Admission::Refuse(why) if why.contains("before this box was given"))
        );
        assert_eq!(record.admit(&document(5), &us, false, Some(at(101))), Admission::Take);
        assert_eq!(record.admit(&document(5), &us, true, Some(at(99))), Admission::Take);
        begin(&mut record, 5);
        record.end(Standing::WentBack, "uplink: refused", at(1));
        assert_eq!(admit(&record, 5), Admission::Known);
        assert!(matches!(admit(&record, 4), Admission::Refuse(why) if why.contains("older")));
        assert_eq!(admit(&record, 6), Admission::Take);
    }

    #[test]
    fn after_a_start_it_goes_on_where_it_was() {
        let runs = |name: &str| Some(name.parse::<Revision>().unwrap());
        let mut record = Record::default();
        assert_eq!(record.resume(runs("r1").as_ref()), Resume::Nothing);
        begin(&mut record, 1);
        let begun = record.clone();
        // The expected start, and too many.
        for _ in 0..STARTS {
            assert_eq!(record.resume(runs("r1").as_ref()), Resume::Judge);
        }
        assert!(matches!(record.resume(runs("r1").as_ref()), Resume::GoBack(_)));
        let mut record = begun;
        // Cut off before it was in place: it may come again, but not for ever.
        for _ in 1..TRIES {
            assert_eq!(record.resume(runs("r0").as_ref()), Resume::Again);
            record.forget(at(2));
            assert_eq!(record.highest, 0);
            assert_eq!(admit(&record, 1), Admission::Take);
            begin(&mut record, 1);
        }
        assert!(matches!(record.resume(None), Resume::GoBack(why) if why.contains("3 times")));
        if let Some(pending) = &mut record.pending {
            pending.phase = Phase::GoingBack("why".into());
        }
        assert_eq!(record.resume(runs("r1").as_ref()), Resume::GoBack("why".into()));
    }

    proptest! {
        /// However documents come and the power fails: none is taken that is not newer than all that
        /// came to an end, and the end of each is kept over a restart.
        #[test]
        fn no_document_is_taken_twice(steps in proptest::collection::vec((1_u64..6, 0_u8..4), 1..60)) {
            let mut record = Record::default();
            let mut ended = Vec::new();
            for (sequence, what) in steps {
                let text = serde_json::to_vec(&record).unwrap();
                record = serde_json::from_slice(&text).unwrap();
                match what {
                    0 | 1
                        if record.pending.is_none()
                            && admit(&record, sequence) == Admission::Take =>
                    {
                        prop_assert!(ended.iter().all(|old| *old < sequence));
                        begin(&mut record, sequence);
                    }
                    2 => {
                        let other = "other".parse().unwrap();
                        if record.resume(Some(&other)) == Resume::Again { record.forget(at(3)); }
                    }
                    _ if record.pending.is_some() => {
                        ended.push(record.sequence);
                        record.end(Standing::Applied, "", at(4));
                    }
                    _ => {}
                }
            }
        }
    }
}
