//! The diagnostics bundle: what somebody far away needs to see what is wrong, as a `.tar.gz`, with
//! every secret struck out.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use tokio::process::Command;

use super::strike::{self, Secrets};
use crate::{
    paths::Paths,
    programs::{self, command, tail},
};

/// Of one entry, at most; of a longer one, the end.
const MAX_ENTRY: usize = 8 << 20;
/// For each program.
const ANSWER: Duration = Duration::from_secs(20);

/// Programs that are asked, and the entry their answer goes to. One that is not there says so.
const PROGRAMS: &[(&str, &[&str])] = &[
    (
        "journal.txt",
        &["journalctl", "--boot", "--no-pager", "--output=short-precise", "--lines=20000"],
    ),
    ("kernel.txt", &["dmesg"]),
    ("units.txt", &["systemctl", "list-units", "--all", "--full", "--no-pager"]),
    (
        "failed-units.txt",
        &["systemctl", "status", "--failed", "--full", "--no-pager", "--lines=50"],
    ),
    (
        "collector-unit.txt",
        &[
            "systemctl",
            "status",
            "backrow-collector.service",
            "--full",
            "--no-pager",
            "--lines=100",
        ],
    ),
    ("network.txt", &["networkctl", "status", "--all", "--no-pager", "--lines=30"]),
    ("addresses.txt", &["ip", "address"]),
    ("routes.txt", &["ip", "route"]),
    ("names.txt", &["resolvectl", "status", "--no-pager"]),
    ("clock.txt", &["timedatectl", "status", "--no-pager"]),
    ("time-servers.txt", &["timedatectl", "timesync-status", "--no-pager"]),
    ("slots.txt", &["rauc", "status", "--detailed"]),
    ("disks.txt", &["df", "-h"]),
    ("video.txt", &["v4l2-ctl", "--list-devices"]),
];

/// Files that are taken as they are.
const FILES: &[(&str, &str)] = &[
    ("image.txt", "usr/lib/backrow/image"),
    ("collector/status.json", "run/backrow-collector/status.json"),
    ("provision/outcome.json", "run/backrow/outcome.json"),
    ("boots.json", "data/backrow/boots.json"),
    ("update.json", "data/backrow/update.json"),
    ("commands.json", "data/backrow/commands.json"),
    ("proc/version", "proc/version"),
    ("proc/cmdline", "proc/cmdline"),
    ("proc/uptime", "proc/uptime"),
    ("proc/loadavg", "proc/loadavg"),
    ("proc/meminfo", "proc/meminfo"),
    ("proc/cpuinfo", "proc/cpuinfo"),
    ("proc/mounts", "proc/mounts"),
    ("proc/partitions", "proc/partitions"),
    ("proc/diskstats", "proc/diskstats"),
    ("proc/interrupts", "proc/interrupts"),
    ("proc/asound-cards", "proc/asound/cards"),
];

/// Configurations, shown with their secrets struck out.
const CONFIGURATIONS: &[(&str, &str)] = &[
    ("site.toml", "run/backrow/site.toml"),
    ("kept/site.toml", "data/backrow/site.toml"),
    ("kept/network-good.toml", "data/backrow/network-good.toml"),
];

/// Secrets that are in no configuration.
const SECRET_FILES: &[&str] = &["data/backrow/token", "run/backrow/token"];

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
#[error("the diagnostics cannot be written to {}: {source}", path.display())]
pub struct DiagnosticsError {
    /// Where to.
    path: PathBuf,
    /// Why not.
    source: io::Error,
}

/// Gathers everything and writes it. What cannot be had says why, in its place.
///
/// # Errors
/// If the file cannot be written.
pub async fn write(paths: &Paths, to: &Path) -> Result<(), DiagnosticsError> {
    let mut secrets = Secrets::default();
    let mut entries = Vec::new();
    for (name, file) in CONFIGURATIONS {
        if let Some(text) = read(&paths.system(file)) {
            entries.push(((*name).to_owned(), strike::configuration(&text, &mut secrets)));
        }
    }
    for file in SECRET_FILES {
        secrets.add(&read(&paths.system(file)).unwrap_or_default());
    }
    for (name, file) in FILES {
        if let Some(text) = read(&paths.system(file)) {
            entries.push(((*name).to_owned(), text));
        }
    }
    entries.extend(crashes(paths));
    entries.push(("devices.txt".to_owned(), devices(paths)));
    // All at once: on a box that is ill each may take its whole time.
    let answers =
        PROGRAMS.iter().map(|(name, words)| async { ((*name).to_owned(), ask(words).await) });
    entries.extend(join_all(answers).await);
    for (_, text) in &mut entries {
        *text = secrets.strike(text);
    }
    let failed = |source| DiagnosticsError { path: to.to_owned(), source };
    pack(to, &entries).map_err(failed)
}

/// The same for who has no runtime.
///
/// # Errors
/// As [`write`].
pub fn write_now(paths: &Paths, to: &Path) -> Result<(), DiagnosticsError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(write(paths, to)),
        Err(source) => Err(DiagnosticsError { path: to.to_owned(), source }),
    }
}

async fn ask(words: &[&str]) -> String {
    let Some((program, args)) = words.split_first() else { return String::new() };
    let mut command: Command = command(program);
    command.args(args).env("SYSTEMD_COLORS", "0");
    match programs::output(command, ANSWER).await {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            tail(&text, MAX_ENTRY).to_owned()
        }
        Err(error) => format!("{error}\n"),
    }
}

/// A file's text, its end if it is long. Files of the kernel have no size, so that is no bound.
fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let file = fs::File::open(path).ok()?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(MAX_ENTRY).unwrap_or(u64::MAX);
    file.take(bound).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the kernel left of its crashes.
fn crashes(paths: &Paths) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![paths.system("sys/fs/pstore"), paths.system("var/lib/systemd/pstore")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(64) {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    found.extend(read(&path).map(|text| (format!("crash/{name}"), text)));
                }
                _ => {}
            }
        }
    }
    found
}

/// What is plugged in: a folder of sysfs, and the attributes that name a device.
const BUSES: &[(&str, &[&str])] = &[
    (
        "sys/bus/usb/devices",
        &["idVendor", "idProduct", "manufacturer", "product", "speed", "bcdDevice"],
    ),
    (
        "sys/bus/firewire/devices",
        &["guid", "vendor", "vendor_name", "model", "model_name", "units"],
    ),
    ("sys/class/video4linux", &["name", "index"]),
    ("sys/class/sound", &["id"]),
    ("sys/class/watchdog", &["identity", "bootstatus", "timeout", "state"]),
    ("sys/class/thermal", &["type", "temp"]),
    ("sys/class/net", &["address", "operstate", "speed", "carrier_changes"]),
];

fn devices(paths: &Paths) -> String {
    let mut text = String::new();
    for (folder, attributes) in BUSES {
        text.push_str(&format!("{folder}\n"));
        let mut entries: Vec<_> =
            fs::read_dir(paths.system(folder)).into_iter().flatten().flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let values = attributes.iter().filter_map(|name| {
                let value = fs::read_to_string(entry.path().join(name)).ok()?;
                Some(format!(" {name}={}", value.trim()))
            });
            let values: String = values.collect();
            if !values.is_empty() {
                text.push_str(&format!("  {}{values}\n", entry.file_name().to_string_lossy()));
            }
        }
    }
    text
}

fn pack(to: &Path, entries: &[(String, String)]) -> io::Result<()> {
    let beside = to.with_extension("new");
    let packed = (|| {
        let file = fs::File::create(&beside)?;
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        for (name, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(u64::try_from(text.len()).map_err(io::Error::other)?);
            header.set_mode(0o644);
            let name = format!("diagnostics/{name}");
            archive.append_data(&mut header, name, text.as_bytes())?;
        }
        archive.into_inner()?.finish()?.sync_all()?;
        fs::rename(&beside, to)
    })();
    if packed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    packed
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use flate2::read::GzDecoder;

    use super::*;
    use crate::kept;

    fn unpack(file: &Path) -> BTreeMap<String, String> {
        let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(file).unwrap()));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (name, text)
        });
        entries.collect()
    }

    #[test]
    fn everything_is_in_it_and_no_secret_is() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let put = |path: PathBuf, text: &str| kept::write(&path, text.as_bytes(), 0o600).unwrap();
        let site = "room = \"hall\"\n[encoder]\nurl = \"https://e\"\ntoken = \"correct-horse-9\"\n";
        put(paths.site(), site);
        put(paths.kept().join("site.toml"), &site.replace("horse-9", "horse-old"));
        put(
            paths.kept().join("network-good.toml"),
            "[wifi]\nssid = \"Venue\"\npsk = \"wifi-pass\"\n",
        );
        put(paths.kept().join("token"), "page-token-77\n");
        put(paths.collector().join("status.json"), "{\"why\":\"refused correct-horse-9\"}");
        put(paths.system("sys/bus/usb/devices/1-1/idVendor"), "534d\n");
        put(paths.system("sys/bus/usb/devices/1-1/idProduct"), "2109\n");
        put(paths.system("var/lib/systemd/pstore/17/dmesg.txt"), "Oops wifi-pass page-token-77\n");
        let file = dir.path().join("d.tar.gz");
        write_now(&paths, &file).unwrap();
        let entries = unpack(&file);
        let all: String = entries.values().map(String::as_str).collect();
        for secret in ["correct-horse", "wifi-pass", "page-token-77"] {
            assert!(!all.contains(secret), "{secret}");
        }
        assert!(entries["diagnostics/site.toml"].contains("hall"));
        assert!(entries["diagnostics/collector/status.json"].contains("refused (struck out)"));
        assert!(entries["diagnostics/devices.txt"].contains("1-1 idVendor=534d idProduct=2109"));
        assert!(entries["diagnostics/crash/dmesg.txt"].starts_with("Oops"));
        assert!(entries.contains_key("diagnostics/journal.txt"));
        let error = write_now(&paths, Path::new("/no/such/folder/d.tar.gz")).unwrap_err();
        assert!(error.to_string().starts_with("the diagnostics cannot be written to /no/such"));
    }
}
