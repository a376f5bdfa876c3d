//! Sets the box up from what a person wrote on its CONFIG partition.
//!
//! ```text
//! CONFIG: site.toml ─┐                      ┌─▶ /run/backrow, /run/systemd: this boot
//!   certificates ────┼─▶ accept ─▶ plan ────┼─▶ /data/backrow: kept for when CONFIG is bad
//!   authorized_keys ─┘     ▲                └─▶ CONFIG: OK.txt or ERROR.txt, secrets wiped
//! /data/backrow ───────────┘
//! ```
//! * [`accept`] and [`plan`] decide, [`answer`] says what to tell and change; all three are pure.
//! * [`config`] is the partition itself, [`data`] the one for what is kept, [`store`] what that is, [`host`] what this boot runs with.
//! * [`configure`] takes a site from a folder, while the box runs.
//! * [`requests`] are the files that ask for an update, a reset, diagnostics.
//!
//! Whatever is on CONFIG, the box comes up: with the last settings that were right, or with DHCP and
//! no collector. A secret leaves CONFIG only when it is safe on the data partition.

mod accept;
mod answer;
mod certificates;
pub mod config;
pub mod configure;
mod data;
mod document;
#[doc(hidden)]
pub mod fuzzing;
mod host;
pub mod outcome;
mod plan;
pub mod requests;
mod secrets;
mod store;

use std::process::ExitCode;

use self::{
    accept::Places,
    answer::Facts,
    config::Partition,
    outcome::Outcome,
    plan::{Found, Networks},
    requests::{Hooks, Request},
};
use watchdog::clock;

use crate::{image::Image, network::memory, paths::Paths, time};

/// Reads CONFIG, answers on it, and writes what this boot runs with.
#[must_use]
pub fn main(paths: &Paths) -> ExitCode {
    telemetry::log::init("backrow-provision");
    data::mount_to_read(paths);
    // Before certificates are looked at, and the network comes up.
    time::set_floor(paths, clock::system().as_ref());
    match provision(paths, Partition::mount(paths), &Hooks::default()) {
        Ok(outcome) => {
            for problem in &outcome.problems {
                tracing::warn!("{problem}");
            }
            tracing::info!("settings: {:?}, network: {}", outcome.source, outcome.network);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("the box cannot be set up: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sets the box up from this partition, or without it for the reason given.
///
/// # Errors
/// Only if `/run` cannot be written; all else is in the outcome.
pub fn provision(
    paths: &Paths,
    mut partition: Result<Partition, String>,
    hooks: &Hooks,
) -> std::io::Result<Outcome> {
    let mut facts = Facts::default();
    match (hooks.noted_reset)(paths) {
        Some(Ok(what)) => facts.done.push(format!("The box was reset: {what}.")),
        Some(Err(why)) => facts.trouble.push(format!("the factory reset failed: {why}")),
        None => {}
    }
    let names = partition.as_ref().map(Partition::names).unwrap_or_default();
    let (resets, others): (Vec<_>, Vec<_>) =
        requests::asked(&names).into_iter().partition(|(r, _)| *r == Request::FactoryReset);
    let take =
        |partition: &mut Partition, facts: &mut Facts, request, name: &str| match requests::take(
            request, name, partition, paths, hooks,
        ) {
            Ok(done) => facts.done.push(done),
            Err(why) => facts.trouble.push(why),
        };
    if let Ok(partition) = &mut partition {
        for (request, name) in resets {
            take(partition, &mut facts, request, &name);
        }
    }
    let before = store::load(paths);
    let networks = Networks { good: memory::good(paths), refused: memory::refused(paths) };
    let (certs, spool) = (paths.run().join("certs"), paths.data().join("recordings"));
    let places = Places { certs: &certs, spool: spool.is_dir().then_some(&spool) };
    let site = partition.as_ref().ok().and_then(Partition::site);
    let plan = match &partition {
        Err(why) => plan::plan(Err(why), &before, &networks, places),
        Ok(partition) => {
            let read = |name: &str| partition.read(name);
            let keys = partition.read("authorized_keys").ok();
            let found = Found { site: site.clone(), keys, names, read: &read };
            plan::plan(Ok(&found), &before, &networks, places)
        }
    };
    facts.not_kept = store::save(paths, &plan, &before).err();
    facts.hostname = match &plan.accepted {
        Some(accepted) => accepted.hostname.clone(),
        None => accept::hostname("backrow"),
    };
    facts.page_token = host::page_token(paths)?;
    facts.version = Image::read(paths).map_or_else(|| "unknown".to_owned(), |image| image.version);
    host::lay_out(paths, &plan, &facts.hostname)?;
    host::set_hostname(paths, &facts.hostname);
    let mut outcome = Outcome {
        v: 1,
        ok: false,
        problems: answer::problems(&plan, &facts),
        source: plan.source,
        network: plan.situation.word().to_owned(),
    };
    outcome.write(paths)?;
    if let Ok(partition) = &mut partition {
        for (request, name) in others {
            take(partition, &mut facts, request, &name);
        }
        let now = |name: &str| partition.read(name).ok();
        let changes = answer::changes(&plan, &facts, site.as_deref(), now);
        if let Err(error) = partition.change(&changes) {
            facts
                .trouble
                .push(format!("CONFIG cannot be written, so secrets may be on it: {error}"));
        }
    }
    outcome.problems = answer::problems(&plan, &facts);
    outcome.ok = outcome.problems.is_empty();
    outcome.write(paths)?;
    Ok(outcome)
}

#[cfg(test)]
mod tests;
