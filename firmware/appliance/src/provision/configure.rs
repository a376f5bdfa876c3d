//! Takes a `site.toml` while the box runs, as `backrow push` brings it by ssh (from a folder) or by
//! MQTT: first it is judged as one on CONFIG would be, then it is put there, and the box set up from
//! it. So it is in force after the next start, too.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use protocol::config::Site;

use super::{
    accept::{Accepted, MAX_FILE, Places, Reader, SITE, accept, decode},
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
    let system = System::new(paths.clone());
    let restarted = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(restart(&system, other_network, &[])));
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

/// Starts anew what reads the settings; the box's own daemon asks for it with `--no-block`, as it is
/// one of those that end.
pub(crate) async fn restart(system: &System, network: bool, how: &[&str]) -> Result<(), String> {
    if network {
        // What does not do as told here, the network's guard tells, and goes back.
        if let Err(error) = system.reload().await {
            tracing::warn!("network: {error}");
        }
    }
    // Also one that does not run yet: whether it is wanted, its unit's condition says.
    let late = ["restart", "systemd-timesyncd.service", "systemd-journal-upload.service"];
    let ours = ["restart", "backrow-collector.service", "backrow-appliance.service"];
    let late = programs::good(system.programs.systemctl(&[how, &late].concat()), BOUND).await;
    let ours = programs::good(system.programs.systemctl(&[how, &ours].concat()), BOUND).await;
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
    let files = read(folder).map_err(|error| vec![format!("{}: {error}", folder.display())])?;
    if !files.contains_key(SITE) {
        return Err(vec![format!("there is no {SITE} in {}", folder.display())]);
    }
    put(paths, partition, files, hooks)
}

/// A site and the files that it names, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Judges a site as one on CONFIG would be; changes nothing.
///
/// # Errors
/// All that is wrong.
pub(crate) fn judge(paths: &Paths, files: &Files) -> Result<Site, Vec<String>> {
    let site = files.get(SITE).ok_or_else(|| vec![format!("there is no {SITE}")])?;
    let (text, _) = decode(site).map_err(|why| vec![why])?;
    let reader =
        |name: &str| files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into());
    accepted(paths, text, Some(&reader)).map(|accepted| accepted.site)
}

/// The site that the box keeps, with its secrets, and the files that it names: what [`put`] takes to
/// bring it back.
///
/// # Errors
/// In words: the box keeps none.
pub(crate) fn kept(paths: &Paths) -> Result<Files, String> {
    let kept = store::load(paths).site;
    let text = kept.ok_or("the box keeps no settings on its data partition")?;
    let accepted = accepted(paths, &text, None).map_err(|why| why.join("; "))?;
    let mut files: Files = accepted.files.into_iter().map(|it| (it.name, it.bytes)).collect();
    files.insert(SITE.to_owned(), text.into_bytes());
    Ok(files)
}

fn accepted(
    paths: &Paths,
    text: &str,
    reader: Option<Reader<'_>>,
) -> Result<Accepted, Vec<String>> {
    let (certs, spool) = (paths.run().join("certs"), paths.data().join("recordings"));
    let places = Places { certs: &certs, spool: spool.is_dir().then_some(&spool) };
    accept(text, reader, &store::load(paths), places)
}

/// Judges a site and, if it is right, puts it on CONFIG and sets the box up from it.
///
/// # Errors
/// All that is wrong.
pub(crate) fn put(
    paths: &Paths,
    partition: Result<Partition, String>,
    mut files: Files,
    hooks: &Hooks,
) -> Result<Outcome, Vec<String>> {
    judge(paths, &files)?;
    let site = files.remove(SITE).unwrap_or_default();
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
fn read(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
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
