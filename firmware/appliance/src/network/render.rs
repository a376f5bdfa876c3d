//! Network settings as the system's own files: systemd-networkd's, and wpa_supplicant's.
//!
//! Every value was checked when it was read, and what a person chose freely (names, passwords) is
//! written in hexadecimal, or where that is not possible in quotes that it cannot end: so no value
//! can become a line of its own. Nothing on the box asks wpa_supplicant, so no `ctrl_interface` is
//! named: one that was built without it, as Buildroot's is, refuses a file that has that line.

use std::{fmt::Write as _, path::Path};

use protocol::config::network::{Eap, Fixed, Inner, Network, Wifi, WiredAuth};

/// A file to be written, by its path below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Where.
    pub path: String,
    /// What.
    pub text: String,
    /// Who may read it.
    pub mode: u32,
}

/// Where systemd-networkd looks.
pub const NETWORKD: &str = "run/systemd/network";
/// Ours begin with this, and nobody else's.
pub const PREFIX: &str = "10-backrow-";
/// What the unit for wireless networks reads; without it there is none.
pub const WIFI: &str = "run/wpa_supplicant/wifi.conf";
/// What the unit for wired networks that want a login reads.
pub const WIRED_AUTH: &str = "run/wpa_supplicant/wired.conf";

/// All files for these settings. Certificates are looked for by the paths in the settings.
#[must_use]
pub fn render(network: &Network) -> Vec<Rendered> {
    let mut files = Vec::new();
    let mut networkd = |name: &str, matching: &str, fixed: Option<&Fixed>, metric: u32| {
        files.push(Rendered {
            path: format!("{NETWORKD}/{PREFIX}{name}.network"),
            text: dot_network(matching, fixed, network, metric),
            mode: 0o644,
        });
    };
    let wired = "Type=ether\nKind=!*";
    let fixed = network.fixed.as_ref();
    match &network.interface {
        // The first file that matches counts, in the order of their names.
        Some(interface) => {
            networkd("1-chosen", &format!("Name={interface}"), fixed, 100);
            networkd("2-wired", wired, None, 200);
        }
        None => networkd("2-wired", wired, fixed, 100),
    }
    if network.wifi.is_some() {
        networkd("3-wifi", "Type=wlan", None, 600);
    }
    if let Some(settings) = &network.wifi {
        files.push(Rendered { path: WIFI.to_owned(), text: wifi(settings), mode: 0o600 });
    }
    if let Some(settings) = &network.wired_auth {
        files.push(Rendered {
            path: WIRED_AUTH.to_owned(),
            text: wired_auth(settings),
            mode: 0o600,
        });
    }
    files
}

fn dot_network(matching: &str, fixed: Option<&Fixed>, network: &Network, metric: u32) -> String {
    let mut out = format!("[Match]\n{matching}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n");
    if fixed.is_none() {
        out.push_str("DHCP=yes\n");
    }
    out.push_str("MulticastDNS=yes\nLLMNR=no\nIPv6PrivacyExtensions=no\n");
    for dns in &network.dns {
        let _ = writeln!(out, "DNS={dns}");
    }
    match fixed {
        Some(Fixed { address, gateway }) => {
            let _ = write!(out, "\n[Address]\nAddress={address}\n");
            if let Some(gateway) = gateway {
                let _ = write!(out, "\n[Route]\nGateway={gateway}\nMetric={metric}\n");
            }
        }
        None => {
            // Servers know a box by the address on its label, and not by what it made up.
            let _ = write!(
                out,
                "\n[DHCPv4]\nClientIdentifier=mac\nUseNTP=yes\nUseDomains=yes\nRouteMetric={metric}\n\
                 \n[DHCPv6]\nUseNTP=yes\n\n[IPv6AcceptRA]\nRouteMetric={metric}\n"
            );
        }
    }
    out
}

fn wifi(settings: &Wifi) -> String {
    // SAE by both ways to make its element: 6 GHz has the newer only, old access points the older only.
    let mut out = "update_config=0\nsae_pwe=2\n".to_owned();
    if let Some(country) = &settings.country {
        let _ = writeln!(out, "country={country}");
    }
    // Networks that hide their name are asked for by it.
    let _ = write!(out, "network={{\n\tssid={}\n\tscan_ssid=1\n", hex(settings.ssid.as_bytes()));
    match settings.password.as_ref().map(|password| password.reveal()) {
        None => out.push_str("\tkey_mgmt=NONE\n"),
        Some(key) if key.len() == 64 => {
            let _ = write!(out, "\tkey_mgmt=WPA-PSK WPA-PSK-SHA256\n\tpsk={key}\n");
        }
        // WPA3 where the network has it. A passphrase cannot be given in hexadecimal: it is printable
        // ASCII, and its quotes end at the last one of the line.
        Some(passphrase) => {
            let _ = write!(
                out,
                "\tkey_mgmt=SAE WPA-PSK WPA-PSK-SHA256\n\tieee80211w=1\n\tpsk=\"{passphrase}\"\n"
            );
        }
    }
    out.push_str("}\n");
    out
}

fn wired_auth(settings: &WiredAuth) -> String {
    let WiredAuth { eap, identity, anonymous_identity, ca, domain } = settings;
    let mut out =
        "ap_scan=0\nupdate_config=0\nnetwork={\n\tkey_mgmt=IEEE8021X\n\teapol_flags=0\n".to_owned();
    let path = |path: &Path| hex(path.as_os_str().as_encoded_bytes());
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(out, "\t{key}={value}");
    };
    line("identity", &hex(identity.as_bytes()));
    if let Some(identity) = anonymous_identity {
        line("anonymous_identity", &hex(identity.as_bytes()));
    }
    match eap {
        Eap::Peap(password) => {
            line("eap", "PEAP");
            line("phase2", "\"auth=MSCHAPV2\"");
            line("password", &hex(password.reveal().as_bytes()));
        }
        Eap::Ttls(password, inner) => {
            let inner = if *inner == Inner::Pap { "PAP" } else { "MSCHAPV2" };
            line("eap", "TTLS");
            line("phase2", &format!("\"auth={inner}\""));
            line("password", &hex(password.reveal().as_bytes()));
        }
        Eap::Tls { certificate, key } => {
            line("eap", "TLS");
            line("client_cert", &path(certificate));
            line("private_key", &path(key));
        }
    }
    if let Some(ca) = ca {
        line("ca_cert", &path(ca));
    }
    if let Some(domain) = domain {
        line("domain_suffix_match", &hex(domain.as_bytes()));
    }
    out.push_str("}\n");
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
