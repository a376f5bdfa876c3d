//! How a push ended for each machine: the table, and the exit status. Pure.

use std::fmt::Write as _;

use protocol::names::DeviceName;

use crate::render::Rendered;

/// How it ended for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It had this revision already, and is well.
    UpToDate,
    /// It has the new revision, and is well with it.
    Pushed,
    /// `--dry-run`: so many files would change; 0 if only the revision is known.
    WouldChange(usize),
    /// Not begun, because a canary did not do well.
    Held,
    /// It cannot be reached; nothing was changed.
    Unreachable(String),
    /// These files were changed there by somebody; nothing was changed.
    ByHand(Vec<String>),
    /// It did not take the files; it goes on with what it had.
    Refused(String),
    /// It has the right files, and is not well.
    Unwell(String),
    /// It was not well with the new revision, and went back to what it had.
    WentBack(String),
    /// The connection was lost during the trial: it goes back by itself, if it can.
    CutOff(String),
    /// It is not well with the new revision, and could not go back.
    Stuck(String),
}

/// Exit statuses of `backrow push`.
pub mod exit {
    /// Every machine runs what the event says, and is well.
    pub const GOOD: u8 = 0;
    /// Nothing was done: the event, or how `backrow` was called, is wrong. (2: an unknown option.)
    pub const NOT_BEGUN: u8 = 1;
    /// `--dry-run`: there is something to push.
    pub const DIFFERENT: u8 = 3;
    /// Some machines go on with what they had: not reached, refused, changed by hand, held.
    pub const BEHIND: u8 = 4;
    /// Some machines were not well: they went back, or are not well as they are.
    pub const UNWELL: u8 = 5;
    /// Some machines need a person: they could not go back, or nobody knows.
    pub const STUCK: u8 = 6;
}

impl Outcome {
    /// Whether the machine is as it should be; of a canary, whether the others may follow.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::UpToDate | Self::Pushed | Self::WouldChange(_))
    }

    /// The exit status if this were the only machine.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::UpToDate | Self::Pushed => exit::GOOD,
            Self::WouldChange(_) => exit::DIFFERENT,
            Self::Held | Self::Unreachable(_) | Self::ByHand(_) | Self::Refused(_) => exit::BEHIND,
            Self::Unwell(_) | Self::WentBack(_) => exit::UNWELL,
            Self::CutOff(_) | Self::Stuck(_) => exit::STUCK,
        }
    }

    /// A word or two, and why.
    #[must_use]
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Self::UpToDate => ("up to date", String::new()),
            Self::Pushed => ("pushed", String::new()),
            Self::WouldChange(0) => ("would change", "the files are not seen over MQTT".to_owned()),
            Self::WouldChange(1) => ("would change", "1 file".to_owned()),
            Self::WouldChange(files) => ("would change", format!("{files} files")),
            Self::Held => ("held", "a canary did not do well".to_owned()),
            Self::Unreachable(why) => ("unreachable", why.clone()),
            Self::ByHand(files) => {
                ("changed by hand", format!("{}; --overwrite replaces it", files.join(", ")))
            }
            Self::Refused(why) => ("refused", why.clone()),
            Self::Unwell(why) => ("not well", why.clone()),
            Self::WentBack(why) => ("went back", why.clone()),
            Self::CutOff(why) => ("cut off", why.clone()),
            Self::Stuck(why) => ("stuck", why.clone()),
        }
    }
}

/// A machine's line in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The machine.
    pub machine: DeviceName,
    /// The revision that it was to have.
    pub wanted: String,
    /// The revision that it has, as far as is known.
    pub has: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Line {
    /// Of a machine that was not begun with.
    #[must_use]
    pub fn held(wanted: Rendered) -> Self {
        let revision = wanted.revision.to_string();
        Self { machine: wanted.machine, wanted: revision, has: None, outcome: Outcome::Held }
    }
}

/// The exit status of a whole push: that of the machine that is worst off.
#[must_use]
pub fn status(lines: &[Line]) -> u8 {
    lines.iter().map(|line| line.outcome.exit()).max().unwrap_or(exit::GOOD)
}

/// What is where.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let known = |line: &Line| line.has.clone().unwrap_or_else(|| "?".to_owned());
    let mut rows: Vec<[String; 4]> = vec![["machine", "has", "should have", ""].map(str::to_owned)];
    for line in lines {
        let (word, why) = line.outcome.words();
        let why: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let last = if why.is_empty() { word.to_owned() } else { format!("{word}: {why}") };
        rows.push([line.machine.to_string(), known(line), line.wanted.clone(), last]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max()
    };
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or(0));
    let mut out = String::new();
    for [machine, has, wanted, last] in &rows {
        let [a, b, c] = widths;
        let line = format!("{machine:a$}  {has:b$}  {wanted:c$}  {last}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(machine: &str, has: Option<&str>, outcome: Outcome) -> Line {
        Line {
            machine: machine.parse().unwrap(),
            wanted: "3f2a91c07b54".to_owned(),
            has: has.map(str::to_owned),
            outcome,
        }
    }

    #[test]
    fn the_table_says_what_is_where_and_the_status_is_the_worst() {
        let lines = [
            line("box-main", Some("3f2a91c07b54"), Outcome::Pushed),
            line("enc", Some("0011223344aa"), Outcome::Refused("No space left\non device".into())),
            line("side", None, Outcome::Unreachable("Connection refused".into())),
        ];
        assert_eq!(
            table(&lines),
            "machine   has           should have\n\
             box-main  3f2a91c07b54  3f2a91c07b54  pushed\n\
             enc       0011223344aa  3f2a91c07b54  refused: No space left on device\n\
             side      ?             3f2a91c07b54  unreachable: Connection refused\n"
        );
        assert_eq!(status(&lines), exit::BEHIND);
        assert_eq!(status(&lines[..1]), exit::GOOD);
        assert_eq!(status(&[]), exit::GOOD);
    }

    proptest! {
        #[test]
        fn a_status_of_nought_is_for_good_machines_alone(which in proptest::collection::vec(0_usize..11, 0..6)) {
            let all = [
                Outcome::UpToDate, Outcome::Pushed, Outcome::WouldChange(2), Outcome::Held,
                Outcome::Unreachable(String::new()), Outcome::ByHand(vec![]),
                Outcome::Refused(String::new()), Outcome::Unwell(String::new()),
                Outcome::WentBack(String::new()), Outcome::CutOff(String::new()),
                Outcome::Stuck(String::new()),
            ];
            let lines: Vec<Line> =
                which.iter().map(|at| line("m", None, all[*at].clone())).collect();
            let good = which.iter().all(|at| *at < 2);
            prop_assert_eq!(status(&lines) == exit::GOOD, good);
            prop_assert_eq!(table(&lines).lines().count(), lines.len() + 1);
        }
    }
}
