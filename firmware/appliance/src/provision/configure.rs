//! Takes a `site.toml` from a folder while the box runs, as `backrow push` brings it: first it is
//! judged as one on CONFIG would be, then it is put there, and the box set up from it. So it is in
//! force after the next start, too.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use super::{
    accept::{MAX_FILE, Places, SITE, accept, decode},
    answer::Change,
    config::Partition,
    outcome::{Outcome, Source},
    provision,
    requests::Hooks,
    store,
};
use crate::{network::apply::System, paths::Paths, programs};

/// No site names more files than this.
const MOST_FILES: usize = 64;
/// How long the services may take to start anew.
const BOUND: Duration = Duration::from_secs(120);

/// Which site.
#[derive(Debug, clap::Args)]
pub struct ConfigureArgs {
    /// A folder with site.toml and, beside it, the files that it names
    pub folder: PathBuf,
}

/// Takes the site, and starts anew what reads it.
#[must_use]
pub fn configure(args: &ConfigureArgs, paths: &Paths) -> ExitCode {
    telemetry::log::init("backrow-configure");
    let network = paths.run().join("network.json");
    let before = fs::read(&network).ok();
    let taken = take(paths, Partition::mount(paths), &args.folder, &Hooks::default());
    if let Err(problems) = taken {
        for problem in &problems {
            tracing::error!("{problem}");
        }
        return ExitCode::FAILURE;
    }
    let other_network = before != fs::read(&network).ok();
    let restarted = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(restart(System::new(paths.clone()), other_network)));
    match restarted {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                "the settings are taken, but not all of the box runs with them: {error}"
            );
            ExitCode::FAILURE
        }
    }
}

async fn restart(system: System, network: bool) -> Result<(), String> {
    if network {
        // What does not do as told here, the network's guard tells, and goes back.
        if let Err(error) = system.reload().await {
            tracing::warn!("network: {error}");
        }
    }
    let late = ["try-restart", "systemd-timesyncd.service", "systemd-journal-upload.service"];
    let ours = ["restart", "backrow-collector.service", "backrow-appliance.service"];
    let late = programs::good(system.programs.systemctl(&late), BOUND).await;
    let ours = programs::good(system.programs.systemctl(&ours), BOUND).await;
    ours.and(late).map(drop).map_err(|error| error.to_string())
}

/// Judges the site in a folder and, if it is right, puts it on CONFIG and sets the box up from it.
///
/// # Errors
/// All that is wrong. Of a site that is not right, nothing is taken.
pub fn take(
    paths: &Paths,
    partition: Result<Partition, String>,
    folder: &Path,
    hooks: &Hooks,
) -> Result<Outcome, Vec<String>> {
    let mut files = read(folder).map_err(|error| vec![format!("{}: {error}", folder.display())])?;
    let Some(site) = files.remove(SITE) else {
        return Err(vec![format!("there is no {SITE} in {}", folder.display())]);
    };
    let (text, _) = decode(&site).map_err(|why| vec![why])?;
    let (certs, spool) = (paths.run().join("certs"), paths.data().join("recordings"));
    let places = Places { certs: &certs, spool: spool.is_dir().then_some(&spool) };
    let reader =
        |name: &str| files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into());
    accept(text, Some(&reader), &store::load(paths), places)?;

    let mut partition = partition.map_err(|why| vec![why])?;
    let mut changes: Vec<Change> =
        files.into_iter().map(|(name, bytes)| Change::Write(name, bytes)).collect();
    // Last: at any moment before, CONFIG has the old site.
    changes.push(Change::Site(site));
    partition
        .change(&changes)
        .map_err(|error| vec![format!("CONFIG cannot be written: {error}")])?;
    // A reset that is to come with the next start is not for now.
    let hooks = Hooks { noted_reset: |_| None, ..*hooks };
    let outcome = provision(paths, Ok(partition), &hooks)
        .map_err(|error| vec![format!("the box cannot be set up: {error}")])?;
    match outcome.source {
        Source::Config => Ok(outcome),
        Source::Kept | Source::None => Err(outcome.problems),
    }
}

/// The files of a folder, by name.
fn read(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is on its way to its place begins with a dot.
        if !entry.file_type()?.is_file() || name.starts_with('.') {
            continue;
        }
        if files.len() >= MOST_FILES || entry.metadata()?.len() > MAX_FILE as u64 {
            return Err(io::Error::other(format!("{name} is one file too many, or too large")));
        }
        files.insert(name, fs::read(entry.path())?);
    }
    Ok(files)
}
