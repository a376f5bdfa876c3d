//! What a boot is set up with, decided from what is on CONFIG and what the box keeps. Pure.

use protocol::config::{Network, ssh::SshKey};

use super::{
    accept::{Accepted, Kept, Places, Reader, SITE, accept, decode},
    outcome::Source,
};
use crate::network::guard::{Situation, Which, failed};

/// What is on CONFIG.
pub(super) struct Found<'a> {
    /// `site.toml`, if it is there.
    pub(super) site: Option<Vec<u8>>,
    /// `authorized_keys`, if it is there.
    pub(super) keys: Option<Vec<u8>>,
    /// The names of all files at the top.
    pub(super) names: Vec<String>,
    /// Reads any of them.
    pub(super) read: Reader<'a>,
}

/// What the box remembers of networks.
#[derive(Debug, Clone, Default)]
pub(super) struct Networks {
    /// The last that worked.
    pub(super) good: Option<Network>,
    /// What was tried and did not.
    pub(super) refused: Option<Network>,
}

/// The decision.
#[derive(Debug)]
pub(super) struct Plan {
    /// The site, if there is one to run with.
    pub(super) accepted: Option<Accepted>,
    /// Whose it is.
    pub(super) source: Source,
    /// All that is wrong.
    pub(super) problems: Vec<String>,
    /// Who may log in.
    pub(super) ssh: Vec<SshKey>,
    /// The good lines of `authorized_keys`, to be kept.
    pub(super) keys: Option<String>,
    /// The network settings.
    pub(super) situation: Situation,
    /// Whether the site on CONFIG began with a byte order mark.
    pub(super) bom: bool,
}

/// Decides. `found` is what is on CONFIG, or why it cannot be read.
pub(super) fn plan(
    found: Result<&Found<'_>, &str>,
    kept: &Kept,
    networks: &Networks,
    places: Places<'_>,
) -> Plan {
    let (mut problems, mut bom) = (Vec::new(), false);
    let fresh = match found {
        Err(why) => {
            problems.push(why.to_owned());
            None
        }
        Ok(found) => match site(found, kept, places, &mut bom) {
            Ok(accepted) => Some(accepted),
            Err(why) => {
                problems.extend(why);
                None
            }
        },
    };
    let (accepted, source) = match fresh {
        Some(accepted) => (Some(accepted), Source::Config),
        None => match kept.site.as_deref().map(|text| accept(text, None, kept, places)) {
            Some(Ok(accepted)) => (Some(accepted), Source::Kept),
            Some(Err(why)) => {
                let why = why.join("; ");
                problems.push(format!("the settings that the box keeps cannot be used: {why}"));
                (None, Source::None)
            }
            None => (None, Source::None),
        },
    };
    let keys = match found {
        Ok(found) => found.keys.as_deref().map(|file| authorized_keys(file, &mut problems)),
        Err(_) => {
            kept.keys.as_deref().map(|file| authorized_keys(file.as_bytes(), &mut Vec::new()))
        }
    };
    let mut ssh = accepted.as_ref().map_or_else(Vec::new, |a| a.site.on_box.ssh_keys.clone());
    ssh.extend(keys.iter().flatten().cloned());
    let mut once = Vec::new();
    ssh.retain(|key| !once.contains(key) && (once.push(key.clone()), true).1);
    let wanted = accepted.as_ref().map(|accepted| &accepted.site.on_box.network);
    let situation = match wanted {
        None => Situation::at_boot(Some(&Network::default()), None, None),
        wanted => Situation::at_boot(wanted, networks.good.as_ref(), networks.refused.as_ref()),
    };
    if situation.in_force == Which::Fallback {
        problems.push(failed(&situation));
    }
    let keys = keys.map(|keys| keys.iter().map(|key| format!("{key}\n")).collect());
    Plan { accepted, source, problems, ssh, keys, situation, bom }
}

fn site(
    found: &Found<'_>,
    kept: &Kept,
    places: Places<'_>,
    bom: &mut bool,
) -> Result<Accepted, Vec<String>> {
    let Some(bytes) = &found.site else {
        let near = found.names.iter().find(|name| {
            let name = name.to_lowercase();
            name != SITE && (name.starts_with("site.") || name == "site")
        });
        return Err(vec![match near {
            Some(near) => format!(
                "there is no {SITE} on CONFIG, but there is {near}: rename it to {SITE} (Windows may \
                 hide the end of a name)"
            ),
            None => format!("there is no {SITE} on CONFIG"),
        }]);
    };
    let (text, marked) = decode(bytes).map_err(|why| vec![why])?;
    *bom = marked;
    accept(text, Some(found.read), kept, places)
}

/// The keys in an `authorized_keys`; what is wrong with a line is told, and the others count.
fn authorized_keys(file: &[u8], problems: &mut Vec<String>) -> Vec<SshKey> {
    let text = String::from_utf8_lossy(file);
    let text = text.trim_start_matches('\u{feff}');
    let mut keys = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim_matches([' ', '\t', '\r', '\0']);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match text.parse::<SshKey>() {
            Ok(key) => keys.push(key),
            Err(why) => problems.push(format!("authorized_keys line {line}: {why}")),
        }
    }
    keys
}
