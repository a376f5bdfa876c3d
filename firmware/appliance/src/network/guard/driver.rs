//! Runs the guard in the box's daemon: looks each second, does what it says, and tells.

use std::{path::PathBuf, time::Duration};

use protocol::payload::EventKind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use watchdog::{board::Board, clock::SharedClock, mood::Mood};

use super::{Action, Guard, Situation, Which};
use crate::{
    kept,
    network::{
        apply::{self, System},
        memory,
    },
    provision::outcome::Outcome,
};

/// The guard's line on the board.
pub const COMPONENT: &str = "box.network";
/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// What the guard works with.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// The system whose network it is.
    pub system: System,
    /// The time.
    pub clock: SharedClock,
    /// Where to tell.
    pub board: Board,
}

/// Guards the network until it is cancelled. `reached` says whether the encoder or the broker is
/// reached now.
pub async fn run(guarded: Guarded, reached: watch::Receiver<bool>, cancel: CancellationToken) {
    let Some(mut situation) = kept::read_json::<Situation>(&file(&guarded)) else {
        // Not provisioned by us: then the network is not ours either.
        tracing::info!("there are no network settings to guard");
        return cancel.cancelled().await;
    };
    let mut guard = Guard::new(&situation);
    let mut in_force = situation.settings(guard.in_force());
    loop {
        let link = guarded.system.link(&in_force);
        let reached = *reached.borrow();
        match guard.look(guarded.clock.monotonic(), link, reached) {
            None => {}
            Some(Action::Keep(which)) => {
                let settings = situation.settings(which);
                if let Err(error) = memory::keep(&guarded.system.paths, &settings) {
                    tracing::warn!("the network settings that work cannot be remembered: {error}");
                }
                if situation.wanted != situation.fallback {
                    guarded.board.event(EventKind::Notice, COMPONENT, kept_words(which));
                }
                situation.in_force = which;
                situation.settled = true;
                remember(&guarded, &situation);
            }
            Some(Action::Use(which)) => {
                if which == Which::Fallback
                    && let Err(error) =
                        memory::refuse(&guarded.system.paths, &situation.settings(Which::Wanted))
                {
                    tracing::warn!(
                        "the network settings that failed cannot be remembered: {error}"
                    );
                }
                guarded.board.event(EventKind::Notice, COMPONENT, used_words(which, &situation));
                in_force = situation.settings(which);
                situation.in_force = which;
                remember(&guarded, &situation);
                if let Err(error) = apply::write(&guarded.system.paths, &in_force) {
                    tracing::error!("the network settings cannot be written: {error}");
                }
                if let Err(error) = guarded.system.reload().await {
                    tracing::warn!("network: {error}");
                }
            }
        }
        let (mood, why) = line(&guard, &situation, link);
        guarded.board.set(COMPONENT, mood, why);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn file(guarded: &Guarded) -> PathBuf {
    guarded.system.paths.run().join("network.json")
}

/// For a daemon that is started again, and for the page.
fn remember(guarded: &Guarded, situation: &Situation) {
    let problem = (situation.in_force == Which::Fallback).then(|| failed(situation));
    let outcome = Outcome::set_network(&guarded.system.paths, situation.word(), problem.as_deref());
    let written = kept::write_json(&file(guarded), situation).and(outcome);
    if let Err(error) = written {
        tracing::warn!("the state of the network cannot be written down: {error}");
    }
}

/// What to tell of wanted settings that are not in force; for `ERROR.txt`, too.
#[must_use]
pub fn failed(situation: &Situation) -> String {
    let instead = match situation.good {
        true => "the box went back to the last ones that worked",
        false => "the box went back to DHCP",
    };
    format!(
        "the network settings of site.toml reached neither the encoder nor the broker, so {instead}; \
         correct [network], or the addresses of the encoder and the broker"
    )
}

fn kept_words(which: Which) -> &'static str {
    match which {
        Which::Wanted => "the new network settings work, and are kept",
        Which::Fallback => "with the former network settings there is a connection: they stay",
    }
}

fn used_words(which: Which, situation: &Situation) -> String {
    match which {
        Which::Wanted => "the network settings of site.toml are tried once more".to_owned(),
        Which::Fallback => failed(situation),
    }
}

fn line(guard: &Guard, situation: &Situation, link: bool) -> (Mood, String) {
    match (guard.settled(), guard.in_force()) {
        (true, Which::Wanted) => (Mood::Happy, "the network settings work".to_owned()),
        (_, Which::Fallback) => (Mood::Sad, failed(situation)),
        (false, Which::Wanted) if !link => {
            (Mood::Hungry, "no network cable is plugged in".to_owned())
        }
        (false, Which::Wanted) if situation.wanted == situation.fallback => {
            (Mood::Waking, "neither the encoder nor the broker is reached yet".to_owned())
        }
        (false, Which::Wanted) => {
            (Mood::Waking, "the network settings are on trial: nothing is reached yet".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
