//! Whether a `site.toml` can be used on this box, with all that it names; and if so, what the box
//! makes of it. Pure: files come through a function.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    path::{Component, Path, PathBuf},
};

use protocol::config::{
    Site,
    site::{self, SourceKind},
};
use sha2::{Digest, Sha256};
use toml_edit::DocumentMut;

use super::{
    certificates::{self, Kind},
    document::{Found, find, replace},
    secrets::{self, Secrets},
};

/// The file that a person edits.
pub(super) const SITE: &str = "site.toml";
/// No certificate or key is larger.
pub(super) const MAX_FILE: usize = 1 << 20;

/// Reads a file of CONFIG, by its path there.
pub(super) type Reader<'a> = &'a dyn Fn(&str) -> io::Result<Vec<u8>>;

/// Files that a site names: the key, what it must be, and whether the collector reads it.
const FILES: &[(&str, Kind, bool)] = &[
    ("encoder.ca", Kind::Authority, true),
    ("mqtt.ca", Kind::Authority, true),
    ("mqtt.certificate", Kind::Certificate, true),
    ("mqtt.key", Kind::Key, true),
    ("network.wired_auth.ca", Kind::Authority, false),
    ("network.wired_auth.certificate", Kind::Certificate, false),
    ("network.wired_auth.key", Kind::Key, false),
];
/// Those of them that belong together.
const PAIRS: &[(&str, &str)] = &[
    ("mqtt.certificate", "mqtt.key"),
    ("network.wired_auth.certificate", "network.wired_auth.key"),
];

/// What the box keeps from before.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// The last site that was accepted, with its secrets.
    pub(super) site: Option<String>,
    /// Secrets, by key.
    pub(super) secrets: Secrets,
    /// Files, by their path on CONFIG: what they are called on the box.
    pub(super) files: BTreeMap<String, String>,
    /// What is in them, by what they are called on the box.
    pub(super) contents: BTreeMap<String, Vec<u8>>,
    /// The last `authorized_keys`.
    pub(super) keys: Option<String>,
}

/// A file that a site names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its path on CONFIG.
    pub(super) name: String,
    /// What it is called on the box.
    pub(super) stored: String,
    /// What is in it.
    pub(super) bytes: Vec<u8>,
    /// Whether there is a private key in it.
    pub(super) private: bool,
    /// Whether the collector reads it.
    pub(super) collector: bool,
    /// Whether it is on CONFIG (still).
    pub(super) on_config: bool,
}

/// A site that can be used.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    /// What it says.
    pub(super) site: Site,
    /// As the person wrote it, with all secrets in it.
    pub(super) text: String,
    /// As the collector is to read it: secrets in it, paths where the files are.
    pub(super) run: String,
    /// As it may lie about: without secrets.
    pub(super) marked: String,
    /// Its secrets.
    pub(super) secrets: Secrets,
    /// The files it names.
    pub(super) files: Vec<Taken>,
    /// The name of this machine.
    pub(super) hostname: String,
}

/// Something wrong, and in which line.
type Wrong = (usize, String);

/// Where things will be on the box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// Certificates and keys.
    pub(super) certs: &'a Path,
    /// The recordings, if there is a data partition for them.
    pub(super) spool: Option<&'a Path>,
}

/// Decides about a site's text, without a byte order mark.
pub(super) fn accept(
    text: &str,
    config: Option<Reader<'_>>,
    kept: &Kept,
    places: Places<'_>,
) -> Result<Accepted, Vec<String>> {
    let (filled, mut wrong) = secrets::fill(text, &kept.secrets);
    let loaded = match site::load(&filled, Path::new(SITE)) {
        Ok(site) => Some(site),
        Err(error) => {
            wrong.extend(error.problems.into_iter().map(|p| (p.line, p.message)));
            None
        }
    };
    let (paths, files) = take_files(&filled, config, kept, places.certs, &mut wrong);
    let is_file = loaded.as_ref().is_some_and(|site| site.source.kind == SourceKind::File);
    for found in find(&filled, &["source.path", "uplink.spool"]) {
        // What is on CONFIG is not there any more when the collector runs.
        if (found.key == "uplink.spool" || is_file) && !Path::new(&found.value).is_absolute() {
            let (table, key) = found.key.split_once('.').unwrap_or_default();
            let why = format!(
                "`{key}` in [{table}] must begin with / on a box, for example: {key} = \
                 \"/data/recordings\""
            );
            wrong.push((found.line(&filled), why));
        }
    }
    wrong.sort();
    wrong.dedup();
    if !wrong.is_empty() {
        return Err(wrong.iter().map(|(line, why)| format!("{SITE} line {line}: {why}")).collect());
    }
    let Some(loaded) = loaded else { return Err(vec![format!("{SITE} is not complete")]) };
    let device = find(&filled, &["device"]).first().map(|found| found.value.clone());
    let run = complete(&replace(&filled, &paths), &loaded, device.is_none(), places.spool)
        .map_err(|error| vec![format!("{SITE} cannot be completed: {error}")])?;
    let hostname = hostname(device.as_deref().unwrap_or(loaded.room.as_str()));
    let site = site::load(&run, Path::new(SITE))
        .map_err(|error| vec![format!("{SITE} cannot be made ready for the collector: {error}")])?;
    let (marked, secrets) = (secrets::mark(text), secrets::take(&filled));
    Ok(Accepted { site, text: filled, run, marked, secrets, files, hostname })
}

/// Adds what a box has for its collector, where the person wrote nothing else.
fn complete(
    text: &str,
    site: &Site,
    name: bool,
    spool: Option<&Path>,
) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    // The collector would take the host's name, in which a room's may have other letters.
    if name {
        document.insert("device", toml_edit::value(site.room.as_str()));
    }
    if let (None, Some(spool)) = (&site.uplink.spool, spool) {
        let uplink = document.entry("uplink").or_insert_with(toml_edit::table);
        if let Some(uplink) = uplink.as_table_like_mut() {
            uplink.insert("spool", toml_edit::value(spool.display().to_string()));
        }
    }
    Ok(document.to_string())
}

fn take_files(
    text: &str,
    config: Option<Reader<'_>>,
    kept: &Kept,
    certs: &Path,
    wrong: &mut Vec<Wrong>,
) -> (Vec<(Found, String)>, Vec<Taken>) {
    let keys: Vec<&'static str> = FILES.iter().map(|(key, ..)| *key).collect();
    let (mut places, mut files) = (Vec::new(), Vec::<Taken>::new());
    let mut by_key = BTreeMap::new();
    for found in find(text, &keys) {
        let Some((key, kind, collector)) = FILES.iter().find(|(key, ..)| *key == found.key) else {
            continue;
        };
        let line = found.line(text);
        let mut no = |why: String| {
            let key = key.rsplit('.').next().unwrap_or_default();
            wrong.push((line, format!("`{key}`: {why}")));
        };
        let name = match name_on_config(&found.value) {
            Ok(name) => name,
            Err(why) => {
                no(why);
                continue;
            }
        };
        let (bytes, on_config) = match contents(&name, config, kept) {
            Ok(contents) => contents,
            Err(why) => {
                no(why);
                continue;
            }
        };
        if let Err(why) = certificates::check(*kind, &bytes) {
            no(format!("{name}: {why}"));
            continue;
        }
        by_key.insert(*key, (line, bytes.clone()));
        let stored = stored_name(&name, &bytes);
        places.push((found, certs.join(&stored).display().to_string()));
        match files.iter_mut().find(|taken| taken.name == name) {
            Some(taken) => taken.collector |= collector,
            None => {
                let private = certificates::is_private(&bytes);
                files.push(Taken {
                    name,
                    stored,
                    bytes,
                    private,
                    collector: *collector,
                    on_config,
                });
            }
        }
    }
    for (certificate, key) in PAIRS {
        if let (Some((_, certificate)), Some((line, key))) =
            (by_key.get(certificate), by_key.get(key))
            && let Err(why) = certificates::check_pair(certificate, key)
        {
            wrong.push((*line, format!("`key`: {why}")));
        }
    }
    (places, files)
}

/// A path as it is on CONFIG: below it, and with slashes.
fn name_on_config(path: &str) -> Result<String, String> {
    let path = PathBuf::from(path.replace('\\', "/"));
    if path.is_absolute() {
        return Err("on a box the file must lie on CONFIG, beside site.toml; write its name alone"
            .to_owned());
    }
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            _ => return Err("the path must not lead out of CONFIG".to_owned()),
        }
    }
    if parts.is_empty() {
        return Err("this is not the name of a file".to_owned());
    }
    Ok(parts.join("/"))
}

fn contents(
    name: &str,
    config: Option<Reader<'_>>,
    kept: &Kept,
) -> Result<(Vec<u8>, bool), String> {
    let kept = || {
        let stored = kept.files.get(name)?;
        kept.contents.get(stored).cloned().map(|bytes| (bytes, false))
    };
    let read = match config {
        Some(read) => read(name),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    match read {
        Ok(bytes) if bytes.len() > MAX_FILE => {
            Err(format!("{name} is too large to be a certificate or a key"))
        }
        // Shredded, and the power failed before it was removed.
        Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => {
            kept().ok_or_else(|| format!("{name} is empty"))
        }
        Ok(bytes) => Ok((certificates::cleaned(&bytes), true)),
        Err(error) => kept().ok_or_else(|| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no file {name} on CONFIG, and the box keeps none of this name")
            }
            _ => format!("{name} cannot be read: {error}"),
        }),
    }
}

/// A name that says what is in the file: so one that changes never replaces one that is in use.
fn stored_name(name: &str, bytes: &[u8]) -> String {
    let mut stored = String::new();
    for byte in Sha256::digest(bytes).iter().take(6) {
        let _ = write!(stored, "{byte:02x}");
    }
    stored.push('-');
    let last = name.rsplit('/').next().unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    stored.extend(last.chars().map(safe).take(40));
    stored
}

/// A host name like a device's: letters, digits and hyphens.
pub(super) fn hostname(device: &str) -> String {
    let safe: String = device
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(63)
        .collect();
    match safe.trim_matches('-') {
        "" => "backrow".to_owned(),
        safe => safe.to_owned(),
    }
}

/// A file's bytes as text without a byte order mark, and whether there was one.
pub(super) fn decode(bytes: &[u8]) -> Result<(&str, bool), String> {
    let bom = bytes.starts_with(b"\xEF\xBB\xBF");
    let plain = if bom { bytes.get(3..).unwrap_or_default() } else { bytes };
    if plain.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
        return Err(format!("{SITE} is empty"));
    }
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(format!(
            "{SITE} is saved as UTF-16; save it as UTF-8 (in Notepad: Save as, Encoding: UTF-8)"
        ));
    }
    std::str::from_utf8(plain).map(|text| (text, bom)).map_err(|error| {
        let before = plain.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{SITE} line {line}: this is not UTF-8 text; save the file as UTF-8")
    })
}
