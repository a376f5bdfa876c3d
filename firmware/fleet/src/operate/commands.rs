//! What the commands have in common: the event, the machines that are meant, the broker.

use std::{collections::BTreeMap, ffi::OsString, future::Future, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use protocol::names::DeviceName;
use watchdog::clock::SharedClock;

use super::heard::Heard;
use crate::{
    event::{self, Event, Machine},
    push::{self, ssh::SshOptions, watch::Watch},
};

/// How long the broker may take to be reached.
const CONNECT: Duration = Duration::from_secs(15);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
/// Where the event is.
#[derive(Debug, Args)]
pub(super) struct InEvent {
    /// The event's folder, with event.toml in it
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    event: PathBuf,
}

/// How ssh is called.
#[derive(Debug, Args)]
pub(super) struct Ssh {
    /// ssh's -F: another configuration file
    #[arg(short = 'F', value_name = "FILE")]
    config: Option<OsString>,
    /// ssh's -o: an option; may be given more than once
    #[arg(short = 'o', value_name = "OPTION")]
    options: Vec<String>,
}

impl Ssh {
    pub(super) fn options(self) -> SshOptions {
        SshOptions { config: self.config, options: self.options }
    }
}

/// The event, or all that is wrong with it.
pub(super) fn load(folder: &InEvent) -> anyhow::Result<Event> {
    event::load(&folder.event).map_err(|wrong| {
        anyhow!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// The machines that are meant.
pub(super) fn meant<'a>(
    event: &'a Event,
    words: &[String],
) -> anyhow::Result<BTreeMap<DeviceName, &'a Machine>> {
    let names = event.meant(words).map_err(|why| anyhow!(why))?;
    Ok(event
        .machines
        .iter()
        .filter(|(name, _)| names.contains(*name))
        .map(|(n, m)| (n.clone(), m))
        .collect())
}

/// Carries out what waits for others.
pub(super) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(work)
}

/// Listens at the event's broker.
pub(super) async fn listen(event: &Event, clock: &SharedClock) -> anyhow::Result<Watch<Heard>> {
    let broker = push::operator(event).map_err(|why| anyhow!(why))?;
    let watch = Watch::start(&broker).map_err(|why| anyhow!(why))?;
    let end = clock.monotonic().saturating_add(CONNECT);
    while let Some(trouble) = watch.trouble() {
        if clock.monotonic() >= end {
            bail!(trouble);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(watch)
}

/// Waits until `enough` has been heard, but not for ever.
pub(super) async fn hear(
    watch: &Watch<Heard>,
    clock: &SharedClock,
    limit: Duration,
    enough: impl Fn(&Heard) -> bool,
) {
    let end = clock.monotonic().saturating_add(limit);
    while clock.monotonic() < end && !watch.look(&enough) {
        tokio::time::sleep(LOOK).await;
    }
}
