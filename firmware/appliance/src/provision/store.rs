//! What the box keeps of what it was given, on its data partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use protocol::config::{Network, network::Eap};
use serde::{Deserialize, Serialize};

use super::{accept::Kept, outcome::Source, plan::Plan, secrets::Secrets};
use crate::{kept, network::memory, paths::Paths};

/// Secrets and files by what the site calls them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Names {
    v: u8,
    secrets: Secrets,
    files: BTreeMap<String, String>,
}

/// What there is; nothing if there is no data partition.
pub(super) fn load(paths: &Paths) -> Kept {
    let folder = paths.kept();
    let names: Names = kept::read_json(&folder.join("secrets.json")).unwrap_or_default();
    let contents = names
        .files
        .values()
        .filter_map(|stored| Some((stored.clone(), fs::read(certs(paths).join(stored)).ok()?)))
        .collect();
    Kept {
        site: fs::read_to_string(folder.join("site.toml")).ok(),
        secrets: names.secrets,
        files: names.files,
        contents,
        keys: fs::read_to_string(folder.join("authorized_keys")).ok(),
    }
}

fn certs(paths: &Paths) -> std::path::PathBuf {
    paths.kept().join("certs")
}

/// Keeps what was accepted. When this returns, it is on the disk and may leave CONFIG.
///
/// # Errors
/// In words: there is no data partition, or it is full or damaged.
pub(super) fn save(paths: &Paths, plan: &Plan, before: &Kept) -> Result<(), String> {
    let saved = try_save(paths, plan, before);
    saved.map_err(|error| {
        format!(
            "nothing can be kept on the data partition ({error}): secrets stay on CONFIG, and after a \
             factory reset or with CONFIG damaged the box knows nothing"
        )
    })
}

fn try_save(paths: &Paths, plan: &Plan, before: &Kept) -> io::Result<()> {
    let folder = paths.kept();
    fs::create_dir_all(&folder)?;
    let ours = plan.accepted.as_ref().filter(|_| plan.source == Source::Config);
    if let Some(accepted) = ours {
        let mut names =
            Names { v: 1, secrets: before.secrets.clone(), files: before.files.clone() };
        names.secrets.extend(accepted.secrets.clone());
        for file in &accepted.files {
            write(&certs(paths).join(&file.stored), &file.bytes)?;
            names.files.insert(file.name.clone(), file.stored.clone());
        }
        write(&folder.join("secrets.json"), &serde_json::to_vec(&names)?)?;
        write(&folder.join("site.toml"), accepted.text.as_bytes())?;
        tidy(paths, &names);
    }
    let file = folder.join("authorized_keys");
    match &plan.keys {
        Some(keys) => write(&file, keys.as_bytes())?,
        None if file.exists() => fs::remove_file(&file)?,
        None => {}
    }
    // Nothing may have changed: then this shows that the partition takes something at all.
    write(&folder.join("here"), b"")
}

/// Writes what is not there yet.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    kept::write(path, bytes, 0o600)
}

/// Removes certificates that nothing names any more.
fn tidy(paths: &Paths, names: &Names) {
    let mut used: BTreeSet<String> = names.files.values().cloned().collect();
    let networks = [memory::good(paths), memory::refused(paths)];
    used.extend(networks.iter().flatten().flat_map(certificates));
    for entry in fs::read_dir(certs(paths)).into_iter().flatten().flatten() {
        if !used.contains(&*entry.file_name().to_string_lossy()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn certificates(network: &Network) -> Vec<String> {
    let Some(auth) = &network.wired_auth else { return Vec::new() };
    let client = match &auth.eap {
        Eap::Tls { certificate, key } => vec![certificate, key],
        Eap::Peap(_) | Eap::Ttls(..) => Vec::new(),
    };
    let files = auth.ca.iter().chain(client);
    files.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}
