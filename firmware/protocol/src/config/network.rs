//! The `[network]` table: how a box joins the network of its venue. Without it: DHCP on every wire.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    ConfigError,
    address::Cidr,
    secret::Secret,
    section::{Section, read_document},
    values::{Choice, Text},
};

/// How to join the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// The interface that the address is for; `None`: every wired one.
    pub interface: Option<String>,
    /// The box's own address; `None`: from DHCP.
    pub fixed: Option<Fixed>,
    /// Name servers, besides those of DHCP.
    pub dns: Vec<IpAddr>,
    /// The wireless network to join, if any.
    pub wifi: Option<Wifi>,
    /// How to log in to a wired network that wants it (802.1X).
    pub wired_auth: Option<WiredAuth>,
}

/// An address that never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// The address.
    pub address: Cidr,
    /// The way out, if there is one.
    pub gateway: Option<IpAddr>,
}

/// A wireless network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wifi {
    /// Its name.
    pub ssid: String,
    /// Its password; `None` when it is open.
    pub password: Option<Secret>,
    /// The country whose rules the radio keeps, as two letters.
    pub country: Option<String>,
}

/// Logging in to a wired network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiredAuth {
    /// By which method.
    pub eap: Eap,
    /// Who.
    pub identity: String,
    /// Who the box says it is before the network has shown its certificate; `None`: `identity`.
    pub anonymous_identity: Option<String>,
    /// PEM file with the authority that the network's own certificate must come from.
    pub ca: Option<PathBuf>,
    /// The name in that certificate, or what it ends with.
    pub domain: Option<String>,
}

/// The method of logging in, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eap {
    /// PEAP with MSCHAPv2.
    Peap(Secret),
    /// TTLS.
    Ttls(Secret, Inner),
    /// TLS: PEM files with the box's certificate and its key.
    Tls {
        /// The certificate.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// How the password is shown inside TTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// MSCHAPv2.
    Mschapv2,
    /// PAP: as it is.
    Pap,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Dhcp,
    Static,
}

impl Choice for Mode {
    const ALL: &'static [(&'static str, Self)] = &[("dhcp", Self::Dhcp), ("static", Self::Static)];
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Peap,
    Ttls,
    Tls,
}

impl Choice for Method {
    const ALL: &'static [(&'static str, Self)] =
        &[("peap", Self::Peap), ("ttls", Self::Ttls), ("tls", Self::Tls)];
}

impl Choice for Inner {
    const ALL: &'static [(&'static str, Self)] =
        &[("mschapv2", Self::Mschapv2), ("pap", Self::Pap)];
}

/// Reads a file that has nothing but a `[network]` table, as [`Network::to_toml`] writes it.
///
/// # Errors
/// [`ConfigError`] with every problem found.
pub fn load(text: &str, file: &Path) -> Result<Network, ConfigError> {
    let base = file.parent().unwrap_or(Path::new(""));
    read_document(text, file, |root| Some(read(root, base)))
}

/// Reads the `[network]` table; paths start at `base`. What is wrong in it is noted in the report.
pub(super) fn read(root: &Section<'_, '_, '_>, base: &Path) -> Network {
    let section = root.section("network");
    let interface = section.optional("interface").map(|Text(name)| name);
    if let Some(name) = &interface
        && !is_interface(name)
    {
        let why = "`interface` in [network] must be the name of a network interface, at most 15 \
                   letters and digits, for example: interface = \"eth0\"";
        section.problem("interface", why.to_owned());
    }
    let fixed = fixed(&section);
    let dns = section.list("dns");
    let wifi = wifi(&section);
    let wired_auth = wired_auth(&section, base);
    section.close();
    Network { interface, fixed, dns, wifi, wired_auth }
}

fn is_interface(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=15).contains(&name.len()) && name.chars().all(good) && name != "." && name != ".."
}

fn fixed(section: &Section<'_, '_, '_>) -> Option<Fixed> {
    let mode = section.or("mode", Mode::Dhcp);
    if mode == Mode::Dhcp {
        let address: Option<Cidr> = section.optional("address");
        let gateway: Option<IpAddr> = section.optional("gateway");
        for (key, there) in [("address", address.is_some()), ("gateway", gateway.is_some())] {
            if there {
                let why = format!(
                    "`{key}` in [network] is of no use with DHCP; write mode = \"static\" or remove it"
                );
                section.problem(key, why);
            }
        }
        return None;
    }
    let address: Option<Cidr> = section.required("address");
    let gateway: Option<IpAddr> = section.optional("gateway");
    if let (Some(address), Some(gateway)) = (address, gateway) {
        // A router's link-local address is in every IPv6 network.
        let local = matches!(gateway, IpAddr::V6(gateway) if gateway.is_unicast_link_local());
        if gateway == address.address {
            let why = "`gateway` in [network] is the box's own address; it must be the router's";
            section.problem("gateway", why.to_owned());
        } else if !(address.contains(gateway) || local && address.address.is_ipv6()) {
            let why = format!(
                "`gateway` in [network] is {gateway}, which is not in the network of {address}; \
                 correct one of them"
            );
            section.problem("gateway", why);
        }
    }
    if !section.has("dns") {
        let why = "`dns` is missing in [network]; with a fixed address the box must be told its name \
                   servers, for example: dns = [\"192.0.2.1\"] (or [] for none)";
        section.problem("mode", why.to_owned());
    }
    Some(Fixed { address: address?, gateway })
}

fn wifi(network: &Section<'_, '_, '_>) -> Option<Wifi> {
    let section = network.section("wifi");
    if !section.is_there() {
        return None;
    }
    let ssid = section.required("ssid").map(|Text(ssid)| ssid);
    if ssid.as_ref().is_some_and(|ssid| ssid.len() > 32 || ssid.contains('\0')) {
        let why =
            "`ssid` in [network.wifi] is longer than a wireless network's name can be (32 bytes)";
        section.problem("ssid", why.to_owned());
    }
    let password = section.optional("password").map(|Text(password)| password);
    if let Some(password) = &password
        && !is_passphrase(password)
    {
        let why = "`password` in [network.wifi]: a wireless network's password has 8 to 63 \
                   characters, only letters, digits, spaces and signs of ASCII";
        section.problem("password", why.to_owned());
    }
    let open = section.or("open", false);
    if open && section.has("password") {
        let why =
            "`password` in [network.wifi] is of no use in an open network; remove it or `open`";
        section.problem("password", why.to_owned());
    } else if !open && !section.has("password") && ssid.is_some() {
        let why = "`password` is missing in [network.wifi]; if the network has none, write: \
                   open = true";
        section.problem("ssid", why.to_owned());
    }
    let country = section.optional("country").map(|Text(country)| country.to_ascii_uppercase());
    if let Some(country) = &country
        && !(country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase()))
    {
        let why = "`country` in [network.wifi] must be two letters, for example: country = \"DE\"";
        section.problem("country", why.to_owned());
    }
    section.close();
    Some(Wifi { ssid: ssid?, password: password.map(Secret::new), country })
}

/// What WPA takes as a password: printable ASCII, or the 64 digits of the key itself.
fn is_passphrase(text: &str) -> bool {
    let printable = text.chars().all(|c| matches!(c, ' '..='~'));
    let key = text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
    printable && ((8..=63).contains(&text.len()) || key)
}

fn wired_auth(network: &Section<'_, '_, '_>, base: &Path) -> Option<WiredAuth> {
    let section = network.section("wired_auth");
    if !section.is_there() {
        return None;
    }
    let method: Option<Method> = section.required("eap");
    let identity = section.required("identity").map(|Text(identity)| identity);
    let anonymous_identity = section.optional("anonymous_identity").map(|Text(identity)| identity);
    let ca = section.optional::<PathBuf>("ca").map(|path| base.join(path));
    let domain = section.optional("domain").map(|Text(domain)| domain);
    if domain.is_some() && !section.has("ca") {
        let why = "`domain` in [network.wired_auth] is of no use without `ca`: anybody can write a \
                   name into a certificate; add ca = \"radius.pem\", the authority that made it";
        section.problem("domain", why.to_owned());
    }
    let secret = |section: &Section<'_, '_, '_>| {
        section.required("password").map(|Text(password)| Secret::new(password))
    };
    let file = |key| section.required::<PathBuf>(key).map(|path| base.join(path));
    let eap = match method {
        Some(Method::Peap) => secret(&section).map(Eap::Peap),
        Some(Method::Ttls) => {
            let inner = section.or("inner", Inner::Mschapv2);
            secret(&section).map(|password| Eap::Ttls(password, inner))
        }
        Some(Method::Tls) => match (file("certificate"), file("key")) {
            (Some(certificate), Some(key)) => Some(Eap::Tls { certificate, key }),
            _ => None,
        },
        None => None,
    };
    let useless: &[&str] = match method {
        Some(Method::Peap) => &["certificate", "key", "inner"],
        Some(Method::Ttls) => &["certificate", "key"],
        Some(Method::Tls) => &["password", "inner"],
        None => &[],
    };
    for key in useless.iter().filter(|key| section.has(key)) {
        let why =
            format!("`{key}` in [network.wired_auth] is of no use with this `eap`; remove it");
        section.problem(key, why);
    }
    // Known keys all the same.
    let _ = (section.optional::<Text>("password"), section.optional::<Inner>("inner"));
    let _ = (section.optional::<PathBuf>("certificate"), section.optional::<PathBuf>("key"));
    section.close();
    Some(WiredAuth { eap: eap?, identity: identity?, anonymous_identity, ca, domain })
}

impl Network {
    /// The settings as a `[network]` table, secrets and all.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = Table("[network]\n".to_owned());
        out.text("mode", if self.fixed.is_some() { "static" } else { "dhcp" });
        if let Some(interface) = &self.interface {
            out.text("interface", interface);
        }
        if let Some(Fixed { address, gateway }) = &self.fixed {
            out.text("address", &address.to_string());
            if let Some(gateway) = gateway {
                out.text("gateway", &gateway.to_string());
            }
        }
        let dns: Vec<String> = self.dns.iter().map(|dns| format!("\"{dns}\"")).collect();
        out.raw("dns", &format!("[{}]", dns.join(", ")));
        if let Some(Wifi { ssid, password, country }) = &self.wifi {
            out.0.push_str("\n[network.wifi]\n");
            out.text("ssid", ssid);
            match password {
                Some(password) => out.text("password", password.reveal()),
                None => out.raw("open", "true"),
            }
            if let Some(country) = country {
                out.text("country", country);
            }
        }
        if let Some(auth) = &self.wired_auth {
            let WiredAuth { eap, identity, anonymous_identity, ca, domain } = auth;
            out.0.push_str("\n[network.wired_auth]\n");
            out.text("identity", identity);
            if let Some(identity) = anonymous_identity {
                out.text("anonymous_identity", identity);
            }
            let (method, rest) = match eap {
                Eap::Peap(password) => ("peap", vec![("password", password.reveal().to_owned())]),
                Eap::Ttls(password, inner) => {
                    let inner = if *inner == Inner::Pap { "pap" } else { "mschapv2" };
                    let password = ("password", password.reveal().to_owned());
                    ("ttls", vec![password, ("inner", inner.to_owned())])
                }
                Eap::Tls { certificate, key } => {
                    let shown = |path: &Path| path.display().to_string();
                    ("tls", vec![("certificate", shown(certificate)), ("key", shown(key))])
                }
            };
            out.text("eap", method);
            for (key, value) in rest {
                out.text(key, &value);
            }
            if let Some(ca) = ca {
                out.text("ca", &ca.display().to_string());
            }
            if let Some(domain) = domain {
                out.text("domain", domain);
            }
        }
        out.0
    }
}

/// Lines of `key = value`.
struct Table(String);

impl Table {
    fn raw(&mut self, key: &str, value: &str) {
        self.0.push_str(&format!("{key} = {value}\n"));
    }

    fn text(&mut self, key: &str, value: &str) {
        let quoted = toml::Value::String(value.to_owned()).to_string();
        self.raw(key, &quoted);
    }
}

#[cfg(test)]
#[path = "tests/network.rs"]
mod tests;
