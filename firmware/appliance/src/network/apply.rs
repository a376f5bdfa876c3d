//! Puts settings in force: writes the files, and has the running system read them.

use std::{ffi::OsString, fs, io, path::Path, time::Duration};

use protocol::config::{Network, network::Eap};

use super::render::{self, NETWORKD, PREFIX, WIFI, WIRED_AUTH, render};
use crate::{
    kept,
    paths::Paths,
    programs::{self, Programs},
};

/// The units that log in to networks, one for each interface; udev starts them, too.
const WIFI_UNIT: &str = "backrow-wifi";
const WIRED_AUTH_UNIT: &str = "backrow-wired-login";
/// How long a program of the system may take.
const BOUND: Duration = Duration::from_secs(30);

/// Writes the files of these settings, and removes those of others. The system reads them when it
/// starts its network, or when it is told to by [`System::reload`].
///
/// # Errors
/// If `/run` cannot be written.
pub fn write(paths: &Paths, network: &Network) -> io::Result<()> {
    bring_certificates(paths, network);
    let files = render(network);
    let wanted = |path: &Path| files.iter().any(|file| paths.system(&file.path) == path);
    let ours = fs::read_dir(paths.system(NETWORKD)).into_iter().flatten().flatten();
    let ours = ours
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path());
    for old in ours.chain([paths.system(WIFI), paths.system(WIRED_AUTH)]) {
        if !wanted(&old) {
            let _ = fs::remove_file(old);
        }
    }
    for render::Rendered { path, text, mode } in &files {
        kept::write(&paths.system(path), text.as_bytes(), *mode)?;
    }
    Ok(())
}

/// Settings of an earlier site name certificates that this boot has not laid out.
fn bring_certificates(paths: &Paths, network: &Network) {
    let Some(auth) = &network.wired_auth else { return };
    let client = match &auth.eap {
        Eap::Tls { certificate, key } => vec![certificate, key],
        Eap::Peap(_) | Eap::Ttls(..) => Vec::new(),
    };
    for file in auth.ca.iter().chain(client) {
        let Some(name) = file.file_name() else { continue };
        let here = paths.run().join("certs").join(name);
        if !here.exists()
            && let Ok(bytes) = fs::read(paths.kept().join("certs").join(name))
            && let Err(error) = kept::write(&here, &bytes, 0o600)
        {
            tracing::warn!("{}: {error}", here.display());
        }
    }
}

/// The running system.
#[derive(Debug, Clone)]
pub struct System {
    /// Where everything is.
    pub paths: Paths,
    /// What to call.
    pub programs: Programs,
    /// `networkctl`.
    pub networkctl: OsString,
}

/// A network interface of hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface {
    name: String,
    wireless: bool,
    carrier: bool,
}

impl System {
    /// The system of this machine.
    #[must_use]
    pub fn new(paths: Paths) -> Self {
        Self { paths, programs: Programs::default(), networkctl: "networkctl".into() }
    }

    fn interfaces(&self) -> Vec<Interface> {
        let entries =
            fs::read_dir(self.paths.system("sys/class/net")).into_iter().flatten().flatten();
        let mut found: Vec<Interface> = entries
            .filter(|entry| entry.path().join("device").exists())
            .map(|entry| {
                let path = entry.path();
                // Reading fails while the interface is down.
                let carrier = fs::read_to_string(path.join("carrier"));
                Interface {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    wireless: path.join("wireless").exists() || path.join("phy80211").exists(),
                    carrier: carrier.is_ok_and(|carrier| carrier.trim() == "1"),
                }
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Whether these settings can be expected to reach anything: a cable is plugged in, or a wireless
    /// network is to be joined (whose wrong password shows as no link at all).
    #[must_use]
    pub fn link(&self, network: &Network) -> bool {
        network.wifi.is_some() || self.interfaces().iter().any(|i| i.carrier && !i.wireless)
    }

    /// Has the system read the files anew.
    ///
    /// # Errors
    /// What did not do as told; the rest was tried all the same.
    pub async fn reload(&self) -> Result<(), String> {
        let interfaces = self.interfaces();
        let mut trouble = Vec::new();
        let mut note = |result: Result<String, programs::ProgramError>| {
            trouble.extend(result.err().map(|error| error.to_string()));
        };
        for (unit, config, wireless) in
            [(WIFI_UNIT, WIFI, true), (WIRED_AUTH_UNIT, WIRED_AUTH, false)]
        {
            let verb = if self.paths.system(config).exists() { "restart" } else { "stop" };
            for interface in interfaces.iter().filter(|i| i.wireless == wireless) {
                let unit = format!("{unit}@{}.service", interface.name);
                let command = self.programs.systemctl(&["--no-block", verb, &unit]);
                note(programs::good(command, BOUND).await);
            }
        }
        note(programs::good(self.networkctl(&["reload"]), BOUND).await);
        let names = interfaces.iter().map(|interface| interface.name.as_str());
        let reconfigure: Vec<&str> = ["reconfigure"].into_iter().chain(names).collect();
        if reconfigure.len() > 1 {
            note(programs::good(self.networkctl(&reconfigure), BOUND).await);
        }
        if trouble.is_empty() { Ok(()) } else { Err(trouble.join("; ")) }
    }

    fn networkctl(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = programs::command(self.networkctl.clone());
        command.args(args);
        command
    }
}
