//! What the box remembers of network settings: those that worked last, and those that did not.

use std::{fs, io, path::PathBuf};

use protocol::config::{Network, network};

use crate::{kept, paths::Paths};

/// The last settings that reached something.
#[must_use]
pub fn good(paths: &Paths) -> Option<Network> {
    read(&paths.kept().join("network-good.toml"))
}

/// Settings that were tried and reached nothing.
#[must_use]
pub fn refused(paths: &Paths) -> Option<Network> {
    read(&paths.kept().join("network-refused.toml"))
}

fn read(file: &PathBuf) -> Option<Network> {
    let text = fs::read_to_string(file).ok()?;
    match network::load(&text, file) {
        Ok(network) => Some(network),
        Err(error) => {
            tracing::warn!("passed over: {error}");
            None
        }
    }
}

/// Remembers settings that work; what was refused before is forgotten if it is these.
///
/// # Errors
/// If the data partition cannot be written.
pub fn keep(paths: &Paths, network: &Network) -> io::Result<()> {
    if good(paths).as_ref() != Some(network) {
        let text = network.to_toml();
        kept::write(&paths.kept().join("network-good.toml"), text.as_bytes(), 0o600)?;
    }
    if refused(paths).as_ref() == Some(network) {
        fs::remove_file(paths.kept().join("network-refused.toml"))?;
    }
    Ok(())
}

/// Remembers settings that did not work.
///
/// # Errors
/// If the data partition cannot be written.
pub fn refuse(paths: &Paths, network: &Network) -> io::Result<()> {
    if refused(paths).as_ref() == Some(network) {
        return Ok(());
    }
    let text = network.to_toml();
    kept::write(&paths.kept().join("network-refused.toml"), text.as_bytes(), 0o600)
}
