//! Files on CONFIG that ask for something to be done, once: each is removed when it is taken.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::config::Partition;
use crate::{
    paths::Paths,
    recovery::{diagnostics, reset},
};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// `factory-reset`: the box as it was when flashed.
    FactoryReset,
    /// `update.raucb`: an update.
    Update,
    /// `diagnostics`: a file for who helps.
    Diagnostics,
}

/// The answer to a request for diagnostics.
const DIAGNOSTICS: &str = "diagnostics.tar.gz";

/// What other parts of the box do when they are asked.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// Carries out a reset that was asked for before this start, if one was.
    pub noted_reset: fn(&Paths) -> Option<Result<String, String>>,
    /// Removes what the box keeps; tells what was removed.
    pub factory_reset: fn(&Paths) -> Result<String, String>,
    /// Writes a diagnostics bundle to this file.
    pub diagnostics: fn(&Paths, &Path) -> Result<(), String>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            noted_reset: reset::carry_out,
            factory_reset: |paths| reset::now(paths, false),
            diagnostics: |paths, file| {
                diagnostics::write_now(paths, file).map_err(|error| error.to_string())
            },
        }
    }
}

/// Where an update from CONFIG waits for the box's daemon to install it.
#[must_use]
pub fn update_file(paths: &Paths) -> PathBuf {
    paths.data().join("update.raucb")
}

/// The same file from when its installing begins: one that is found there was left by a restart or
/// a loss of power, and nobody asked for it anew.
#[must_use]
pub fn taken_update(paths: &Paths) -> PathBuf {
    paths.data().join("taken.raucb")
}

/// What the files at the top ask for, and by which names: Windows may have put `.txt` behind.
pub(super) fn asked(names: &[String]) -> Vec<(Request, String)> {
    let known = |name: &String| {
        let request = match name.to_lowercase().as_str() {
            "factory-reset" | "factory-reset.txt" => Request::FactoryReset,
            "update.raucb" => Request::Update,
            "diagnostics" | "diagnostics.txt" => Request::Diagnostics,
            _ => return None,
        };
        Some((request, name.clone()))
    };
    names.iter().filter_map(known).collect()
}

/// Does what is asked; says what was done, or why not.
pub(super) fn take(
    request: Request,
    name: &str,
    partition: &mut Partition,
    paths: &Paths,
    hooks: &Hooks,
) -> Result<String, String> {
    let no = |error: io::Error| format!("{name} on CONFIG cannot be taken: {error}");
    partition.unlock().map_err(no)?;
    match request {
        Request::FactoryReset => {
            // First of all, so that a box that fails half-way is not reset at every start.
            fs::remove_file(partition.path(name)).map_err(no)?;
            (hooks.factory_reset)(paths)
                .map(|what| format!("The box was reset as {name} asked: {what}."))
                .map_err(|why| format!("the factory reset failed: {why}"))
        }
        Request::Update => {
            let to = update_file(paths);
            // The new one is asked for, and needs the room.
            let _ = fs::remove_file(taken_update(paths));
            copy(&partition.path(name), &to).map_err(|error| {
                format!("{name} cannot be copied to the data partition: {error}")
            })?;
            // Else it would be there again at the next start, whatever came of this one.
            fs::remove_file(partition.path(name)).map_err(|error| {
                let _ = fs::remove_file(&to);
                no(error)
            })?;
            Ok(format!("{name} was taken. The box installs it now; its page tells how that went."))
        }
        Request::Diagnostics => {
            fs::remove_file(partition.path(name)).map_err(no)?;
            let file = paths.run().join(DIAGNOSTICS);
            (hooks.diagnostics)(paths, &file)
                .map_err(|why| format!("the diagnostics cannot be made: {why}"))?;
            let copied = copy(&file, &partition.path(DIAGNOSTICS));
            let _ = fs::remove_file(&file);
            copied.map_err(|error| {
                let _ = fs::remove_file(partition.path(DIAGNOSTICS));
                format!("{DIAGNOSTICS} cannot be written to CONFIG: {error}")
            })?;
            Ok(format!("The diagnostics are in {DIAGNOSTICS}. They have no passwords in them."))
        }
    }
}

/// Copies a file so that it is there whole, or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let beside = to.with_extension("part");
    let copied = (|| {
        let mut file = File::create(&beside)?;
        io::copy(&mut File::open(from)?, &mut file)?;
        file.sync_all()?;
        fs::rename(&beside, to)
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&beside);
    }
    copied
}
