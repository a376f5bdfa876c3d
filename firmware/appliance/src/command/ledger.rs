//! Which commands came, and what became of them, so that none is carried out twice: not when the
//! broker delivers it again, not when it keeps it, and not after the restart that it asked for.
//! Pure, bounded, and kept on the data partition.

use std::{collections::VecDeque, io};

use jiff::Timestamp;
use protocol::command::{Ack, AckState, Command, Order};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{
    kept,
    paths::Paths,
    update::record::{Outcome, Update},
};

/// Commands remembered.
pub const KEPT: usize = 64;

/// A command and its answer so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: Ulid,
    /// The command's name.
    command: String,
    state: AckState,
    message: String,
    /// The boot it came in.
    boot: String,
}

impl Entry {
    fn ack(&self) -> Ack {
        Ack::new(Some(self.id), self.state, self.message.clone())
    }
}

/// The commands that came, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    #[serde(default)]
    commands: VecDeque<Entry>,
}

/// What to do with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Only answer: it is known, or refused.
    Answer(Ack),
    /// Carry it out.
    CarryOut,
}

/// How a command came.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Now.
    pub now: Timestamp,
    /// This boot.
    pub boot: &'a str,
    /// The broker had kept it.
    pub retained: bool,
    /// The ledger outlives this boot.
    pub lasting: bool,
}

/// How who asked is named in the record of an update.
#[must_use]
pub fn asked_by(id: Ulid) -> String {
    format!("command {id}")
}

impl Ledger {
    /// As kept.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        let mut ledger: Self =
            kept::read_json(&paths.kept().join("commands.json")).unwrap_or_default();
        ledger.bound();
        ledger
    }

    /// Keeps it.
    ///
    /// # Errors
    /// If the data partition does not take it.
    pub fn keep(&self, paths: &Paths) -> io::Result<()> {
        kept::write_json(&paths.kept().join("commands.json"), self)
    }

    /// A command comes. Unless it is known, it is taken down, and is carried out or refused.
    pub fn admit(&mut self, command: &Command, how: Circumstances<'_>) -> Admission {
        if let Some(known) = self.commands.iter().find(|entry| entry.id == command.id) {
            return Admission::Answer(known.ack());
        }
        let refusal = refusal(command, how);
        let (state, message) = match &refusal {
            Some(why) => (AckState::Refused, why.clone()),
            None => (AckState::Accepted, format!("{} is under way", command.order.name())),
        };
        let entry = Entry {
            id: command.id,
            command: command.order.name().to_owned(),
            state,
            message,
            boot: how.boot.to_owned(),
        };
        let answer = refusal.map(|_| Admission::Answer(entry.ack()));
        self.commands.push_back(entry);
        self.bound();
        answer.unwrap_or(Admission::CarryOut)
    }

    /// What became of a command: its answer.
    pub fn settle(&mut self, id: Ulid, state: AckState, message: impl Into<String>) -> Ack {
        let ack = Ack::new(Some(id), state, message);
        if let Some(entry) = self.commands.iter_mut().find(|entry| entry.id == id) {
            entry.state = state;
            entry.message.clone_from(&ack.message);
        }
        ack
    }

    /// Settles commands that an earlier run of this daemon left open: their answers. To be called
    /// at the start, and again when an update on trial has become good.
    pub fn settle_earlier(&mut self, boot: &str, update: Option<&Update>) -> Vec<Ack> {
        let mut answers = Vec::new();
        for entry in self.commands.iter_mut().filter(|entry| !entry.state.is_final()) {
            let restarted = entry.boot != boot;
            let (state, message) = match entry.command.as_str() {
                "reboot" if restarted => (AckState::Done, "the box was restarted".to_owned()),
                "factory-reset" if restarted => (AckState::Done, "the box was reset".to_owned()),
                "update" => match after_update(update, entry.id) {
                    Some(settled) => settled,
                    None => continue,
                },
                name => (AckState::Failed, format!("{name} was broken off by a restart")),
            };
            entry.state = state;
            entry.message = message;
            answers.push(entry.ack());
        }
        answers
    }

    fn bound(&mut self) {
        while self.commands.len() > KEPT {
            self.commands.pop_front();
        }
    }
}

/// Why a command is not carried out, if so.
fn refusal(command: &Command, how: Circumstances<'_>) -> Option<String> {
    let name = command.order.name();
    if command.expired(how.now) {
        let expired = command.expires.map(|at| at.to_string()).unwrap_or_default();
        return Some(format!("it expired at {expired}; here it is {}", how.now));
    }
    match command.order {
        Order::FactoryReset { .. } if how.retained => Some(format!(
            "{name} is not taken from what the broker keeps: it would come again; publish it \
             without `retain`"
        )),
        Order::Reboot | Order::Update { .. } if how.retained && !how.lasting => Some(format!(
            "{name} is not taken from what the broker keeps, because this box cannot remember that \
             it was done: there is no data partition"
        )),
        _ => None,
    }
}

/// What became of an update that a command asked for; `None` while that is open.
fn after_update(update: Option<&Update>, id: Ulid) -> Option<(AckState, String)> {
    let broken_off = || (AckState::Failed, "update was broken off by a restart".to_owned());
    let Some(update) = update.filter(|update| update.asked_by == asked_by(id)) else {
        return Some(broken_off());
    };
    match update.state {
        Outcome::Pending => None,
        Outcome::Good => Some((AckState::Done, update.reason.clone())),
        Outcome::Failed | Outcome::RolledBack => Some((AckState::Failed, update.reason.clone())),
        Outcome::Installing => Some(broken_off()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn how(boot: &str) -> Circumstances<'_> {
        let now = "2026-05-01T10:00:00Z".parse().unwrap();
        Circumstances { now, boot, retained: false, lasting: true }
    }

    fn command(id: u128, order: Order) -> Command {
        Command { id: Ulid::from(id), expires: None, order }
    }

    fn answer(admission: Admission) -> Ack {
        match admission {
            Admission::Answer(ack) => ack,
            Admission::CarryOut => panic!("it is carried out"),
        }
    }

    #[test]
    fn a_reboot_is_done_once_however_often_it_comes() {
        let mut ledger = Ledger::default();
        let reboot = command(1, Order::Reboot);
        let kept = Circumstances { retained: true, ..how("one") };
        assert_eq!(ledger.admit(&reboot, kept), Admission::CarryOut);
        assert_eq!(answer(ledger.admit(&reboot, kept)).state, AckState::Accepted);
        // After the restart, the broker brings it again.
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        ledger.keep(&paths).unwrap();
        let mut ledger = Ledger::read(&paths);
        let settled = ledger.settle_earlier("two", None);
        assert_eq!((settled.len(), settled[0].message.as_str()), (1, "the box was restarted"));
        let kept = Circumstances { retained: true, ..how("two") };
        assert_eq!(answer(ledger.admit(&reboot, kept)), settled[0]);
        assert!(ledger.settle_earlier("two", None).is_empty(), "told once");
    }

    #[test]
    fn what_expired_or_would_come_again_for_ever_is_refused() {
        let mut ledger = Ledger::default();
        let expires = Some("2026-05-01T09:59:59Z".parse().unwrap());
        let late = Command { expires, ..command(1, Order::Restart) };
        let told = answer(ledger.admit(&late, how("a")));
        assert_eq!(told.state, AckState::Refused);
        let why = "it expired at 2026-05-01T09:59:59Z; here it is 2026-05-01T10:00:00Z";
        assert_eq!(told.message, why);
        let kept = Circumstances { retained: true, ..how("a") };
        let reset = command(2, Order::FactoryReset { recordings: false });
        assert!(answer(ledger.admit(&reset, kept)).message.contains("without `retain`"));
        let forgetful = Circumstances { lasting: false, ..kept };
        let told = answer(ledger.admit(&command(3, Order::Reboot), forgetful));
        assert!(told.message.contains("no data partition"));
        let fresh = Circumstances { lasting: false, ..how("a") };
        assert_eq!(ledger.admit(&command(4, Order::Reboot), fresh), Admission::CarryOut);
    }

    #[test]
    fn an_update_is_settled_when_it_has_shown_that_it_works() {
        let url = "https://example.org/x".parse().unwrap();
        let order = Order::Update { url, sha256: None };
        let mut ledger = Ledger::default();
        ledger.admit(&command(7, order), how("one"));
        let mut update = Update {
            v: 1,
            from: "1.0".into(),
            to: "1.1".into(),
            slot: None,
            at: Timestamp::UNIX_EPOCH,
            during: "one".into(),
            asked_by: asked_by(Ulid::from(7u128)),
            state: Outcome::Pending,
            reason: "why".into(),
        };
        assert!(ledger.settle_earlier("two", Some(&update)).is_empty(), "on trial");
        for (outcome, state) in
            [(Outcome::RolledBack, AckState::Failed), (Outcome::Good, AckState::Done)]
        {
            update.state = outcome;
            let told = ledger.clone().settle_earlier("three", Some(&update));
            assert_eq!((told[0].state, told[0].message.as_str()), (state, "why"));
        }
        let other = Update { asked_by: "CONFIG".into(), ..update };
        assert_eq!(ledger.settle_earlier("three", Some(&other))[0].state, AckState::Failed);
    }

    proptest! {
        #[test]
        fn no_id_is_carried_out_twice_and_memory_is_bounded(
            ids in proptest::collection::vec(0u128..KEPT as u128, 0..400),
            retained in any::<bool>(),
        ) {
            let mut ledger = Ledger::default();
            let mut carried_out = std::collections::BTreeSet::new();
            for id in ids {
                let how = Circumstances { retained, ..how("a") };
                if ledger.admit(&command(id, Order::Restart), how) == Admission::CarryOut {
                    prop_assert!(carried_out.insert(id));
                }
                prop_assert!(ledger.commands.len() <= KEPT);
            }
        }
    }
}
