//! Which network settings are in force: new ones are on trial until they have reached the encoder or
//! the broker, and those that do not are taken back.
//!
//! ```text
//!            reached                                    reached
//! Settled ◀────────── Trial (the wanted settings)   ┌────────────▶ Settled (the last good ones)
//! (they are the           │ 2 minutes with a link   │
//!  last good ones now)    ▼                         │
//!                      Fallback (the last good ones, or DHCP) ──┐
//!                         ▲                                     │ 5 minutes with a link,
//!                         └──────── Trial, again ◀──────────────┘ later 10, 20, at most 30
//! ```
//! Time without a link does not count: a cable that is not plugged in says nothing about settings.
//! When neither reaches anything (the encoder itself is off, or the box is at a new venue), they
//! take turns, so whichever begins to work is found. A box that never had good settings takes turns
//! with DHCP. After a restart wanted settings that failed before wait behind the last good ones, until
//! `site.toml` gives others.

mod driver;

use std::time::Duration;

use protocol::config::{Network, network};
use serde::{Deserialize, Serialize};

pub use self::driver::{COMPONENT, Guarded, failed, run};

/// How long new settings have to reach something, with a link.
pub const TRIAL: Duration = Duration::from_secs(120);
/// How long the next ones have; doubled each time, up to [`LONGEST`].
pub const TURN: Duration = Duration::from_secs(300);
/// The longest turn.
pub const LONGEST: Duration = Duration::from_secs(1800);
/// The most that one look at the clock can count: a machine that slept was not trying.
const STEP: Duration = Duration::from_secs(10);

/// Which of the two settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// Those of `site.toml`.
    Wanted,
    /// The last that worked, or DHCP if none ever did.
    Fallback,
}

/// Both settings and which are in force: what provisioning leaves for the guard in `network.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    /// Version of this file, 1.
    pub v: u8,
    /// Those of `site.toml`, as a `[network]` table.
    pub wanted: String,
    /// What to go back to.
    pub fallback: String,
    /// Whether the fallback is known to be good; else it is DHCP.
    pub good: bool,
    /// Which are in force.
    pub in_force: Which,
    /// Whether those have proved themselves: nothing is on trial.
    pub settled: bool,
}

impl Situation {
    /// The situation of a boot: what is wanted (nothing without a site), what was good last, and
    /// what was tried and did not work.
    #[must_use]
    pub fn at_boot(
        wanted: Option<&Network>,
        good: Option<&Network>,
        refused: Option<&Network>,
    ) -> Self {
        let default = Network::default();
        let fallback = good.unwrap_or(&default);
        let wanted = wanted.unwrap_or(fallback);
        let waits = refused == Some(wanted) && wanted != fallback;
        Self {
            v: 1,
            wanted: wanted.to_toml(),
            fallback: fallback.to_toml(),
            good: good.is_some(),
            in_force: if waits { Which::Fallback } else { Which::Wanted },
            settled: good == Some(wanted),
        }
    }

    /// The settings themselves; DHCP if they cannot be read, which only damage explains.
    #[must_use]
    pub fn settings(&self, which: Which) -> Network {
        let text = match which {
            Which::Wanted => &self.wanted,
            Which::Fallback => &self.fallback,
        };
        network::load(text, "network.json".as_ref()).unwrap_or_default()
    }

    /// The word for `outcome.json`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match (self.in_force, self.good) {
            (Which::Wanted, _) if self.wanted == self.fallback && self.good => "kept",
            (Which::Wanted, _) if self.wanted == Network::default().to_toml() => "default",
            (Which::Wanted, _) => "new",
            (Which::Fallback, true) => "kept",
            (Which::Fallback, false) => "default",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Put these settings in force.
    Use(Which),
    /// These work: keep them as the last good ones.
    Keep(Which),
}

/// The state machine. It only ever answers with settings that exist, so the box is never without.
#[derive(Debug, Clone)]
pub struct Guard {
    in_force: Which,
    settled: bool,
    /// Nothing to change to: both are the same.
    alike: bool,
    /// Time with a link in this turn.
    used: Duration,
    turn: Duration,
    next_turn: Duration,
    last: Option<Duration>,
}

impl Guard {
    /// The guard of a situation, at the beginning of a turn.
    #[must_use]
    pub fn new(situation: &Situation) -> Self {
        let waits = situation.in_force == Which::Fallback;
        Self {
            in_force: situation.in_force,
            settled: situation.settled,
            alike: situation.wanted == situation.fallback,
            used: Duration::ZERO,
            turn: if waits { TURN } else { TRIAL },
            next_turn: if waits { TURN * 2 } else { TURN },
            last: None,
        }
    }

    /// Which settings are in force.
    #[must_use]
    pub fn in_force(&self) -> Which {
        self.in_force
    }

    /// Whether they have proved themselves, and nothing is on trial.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// Looks at the clock: is there a link, and has anything been reached with what is in force?
    pub fn look(&mut self, now: Duration, link: bool, reached: bool) -> Option<Action> {
        if self.settled {
            return None;
        }
        if reached {
            self.settled = true;
            return Some(Action::Keep(self.in_force));
        }
        let step = now.saturating_sub(self.last.unwrap_or(now)).min(STEP);
        self.last = Some(now);
        if !link || self.alike {
            return None;
        }
        self.used += step;
        if self.used < self.turn {
            return None;
        }
        self.in_force = match self.in_force {
            Which::Wanted => Which::Fallback,
            Which::Fallback => Which::Wanted,
        };
        self.used = Duration::ZERO;
        self.turn = self.next_turn;
        self.next_turn = (self.next_turn * 2).min(LONGEST);
        Some(Action::Use(self.in_force))
    }
}

#[cfg(test)]
mod tests;
