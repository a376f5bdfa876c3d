//! What the box around a collector reads from `site.toml`. A collector on any other machine checks
//! it and passes over it.

use std::{marker::PhantomData, path::Path};

use url::Url;

use super::{
    address::Host,
    network::{self, Network},
    section::Section,
    ssh::SshKey,
    values::{Address, Schemes},
};

/// The box's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnBox {
    /// How to join the network.
    pub network: Network,
    /// Who may log in, besides the keys in the file `authorized_keys`.
    pub ssh_keys: Vec<SshKey>,
    /// Time servers, besides those of DHCP.
    pub time_servers: Vec<Host>,
    /// Where the journal is sent, if anywhere.
    pub log_upload: Option<Url>,
}

struct Journal;

impl Schemes for Journal {
    const ALLOWED: &'static [&'static str] = &["https", "http"];
    const EXAMPLE: &'static str = "\"https://logs.example.org:19532\"";
}

/// Reads the box's tables; paths start at `base`.
pub(super) fn read(root: &Section<'_, '_, '_>, base: &Path) -> OnBox {
    let network = network::read(root, base);
    let ssh = root.section("ssh");
    let ssh_keys = ssh.list("keys");
    ssh.close();
    let time = root.section("time");
    let time_servers = time.list("servers");
    time.close();
    let log = root.section("log");
    let log_upload =
        log.optional::<Address<Journal>>("upload").map(|Address(url, PhantomData)| url);
    log.close();
    OnBox { network, ssh_keys, time_servers, log_upload }
}
