//! The answer on CONFIG: `OK.txt` or `ERROR.txt`, for a person with a laptop; and which of the files
//! there have to change. Pure.

use std::fmt::Write as _;

use super::{accept::SITE, outcome::Source, plan::Plan, secrets};
use crate::network::guard::Which;

/// The answer when all is well.
pub(super) const OK: &str = "OK.txt";
/// The answer when something is not.
pub(super) const ERROR: &str = "ERROR.txt";

/// What else the answer tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// This machine's name.
    pub(super) hostname: String,
    /// What its page asks for before it changes anything.
    pub(super) page_token: String,
    /// The version of the image.
    pub(super) version: String,
    /// What was done because a file asked for it.
    pub(super) done: Vec<String>,
    /// Why nothing could be kept on the data partition.
    pub(super) not_kept: Option<String>,
    /// What else is wrong.
    pub(super) trouble: Vec<String>,
}

/// A change of a file on CONFIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// `site.toml` becomes this, and what it was is overwritten.
    Site(Vec<u8>),
    /// A file is overwritten and removed.
    Shred(String),
    /// A file is written.
    Write(String, Vec<u8>),
    /// A file is removed.
    Remove(String),
}

/// All problems, those of the plan and those found since.
pub(super) fn problems(plan: &Plan, facts: &Facts) -> Vec<String> {
    plan.problems.iter().chain(&facts.not_kept).chain(&facts.trouble).cloned().collect()
}

/// The name of the answer, and its text with lines as Windows ends them.
pub(super) fn text(plan: &Plan, facts: &Facts) -> (&'static str, Vec<u8>) {
    let problems = problems(plan, facts);
    let mut out = String::new();
    if problems.is_empty() {
        out.push_str("This Backrow box is set up.\n");
    } else {
        out.push_str("Something on this Backrow box needs to be put right:\n\n");
        for problem in &problems {
            let _ = writeln!(out, "  * {}", problem.replace('\n', "\n    "));
        }
        out.push_str(match plan.source {
            Source::Config => "\nEverything else in site.toml is in use.\n",
            Source::Kept => {
                "\nUntil then the box goes on with the last settings that were right.\n"
            }
            Source::None => {
                "\nUntil then the box streams nothing. Its network is set up by DHCP.\n"
            }
        });
        out.push_str("Correct it here, put the CONFIG partition back, and switch the box on.\n");
    }
    if plan.accepted.is_none() {
        out.push_str(
            "\nThe shortest site.toml that works:\n\n    room = \"main-hall\"\n\n    [encoder]\n    \
             url = \"https://encoder.example.org\"\n    token = \"the room's token\"\n",
        );
    }
    out.push('\n');
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<13}{value}");
    };
    if let Some(accepted) = &plan.accepted {
        line("Room:", accepted.site.room.as_str());
        line("Encoder:", &accepted.site.encoder.shown());
        if let Some(mqtt) = &accepted.site.mqtt {
            line("Broker:", &mqtt.shown());
        }
    }
    line("Network:", &network(plan));
    line("Page:", &format!("http://{}.local", facts.hostname));
    line(
        "Page token:",
        &format!("{}   (the page asks for it before it changes anything)", facts.page_token),
    );
    let keys: Vec<&str> = plan.ssh.iter().map(|key| key.owner()).collect();
    line(
        "SSH:",
        &if keys.is_empty() { "off, there is no key".to_owned() } else { keys.join(", ") },
    );
    line("Software:", &facts.version);
    let kept = if facts.not_kept.is_none() { kept(plan) } else { Vec::new() };
    if !kept.is_empty() {
        let _ = write!(
            out,
            "\nThe box keeps these, so they are not on this partition any more:\n  {}\nTo change one, \
             write it here again.\n",
            kept.join("\n  ")
        );
    }
    for done in &facts.done {
        let _ = write!(out, "\n{done}\n");
    }
    let mut text = out.replace('\n', "\r\n").into_bytes();
    if !text.is_ascii() {
        text.splice(0..0, *b"\xEF\xBB\xBF");
    }
    (if problems.is_empty() { OK } else { ERROR }, text)
}

fn network(plan: &Plan) -> String {
    let settings = plan.situation.settings(plan.situation.in_force);
    let mut words = match &settings.fixed {
        Some(fixed) => fixed.address.to_string(),
        None => "by DHCP".to_owned(),
    };
    if let Some(interface) = &settings.interface {
        let _ = write!(words, " on {interface}");
    }
    if let Some(wifi) = &settings.wifi {
        let _ = write!(words, ", Wi-Fi {}", wifi.ssid.escape_debug());
    }
    if settings.wired_auth.is_some() {
        words.push_str(", with a login on the wire");
    }
    if plan.situation.in_force == Which::Fallback {
        words.push_str(" (not as site.toml says)");
    }
    words
}

/// What the box keeps instead of CONFIG.
fn kept(plan: &Plan) -> Vec<String> {
    let Some(accepted) = plan.accepted.as_ref().filter(|_| plan.source == Source::Config) else {
        return Vec::new();
    };
    let mut kept: Vec<String> =
        accepted.secrets.keys().map(|key| secrets::name(key).to_owned()).collect();
    kept.dedup();
    kept.extend(accepted.files.iter().filter(|file| file.private).map(|file| file.name.clone()));
    kept
}

/// What has to change on CONFIG. `now` gives what is in a file there.
pub(super) fn changes(
    plan: &Plan,
    facts: &Facts,
    site: Option<&[u8]>,
    now: impl Fn(&str) -> Option<Vec<u8>>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let ours = plan.accepted.as_ref().filter(|_| plan.source == Source::Config);
    // Nothing is taken away before it is safe elsewhere.
    if let (Some(accepted), None) = (ours, &facts.not_kept) {
        let mut marked = accepted.marked.clone().into_bytes();
        if plan.bom {
            marked.splice(0..0, *b"\xEF\xBB\xBF");
        }
        if site != Some(marked.as_slice()) || now(SITE).as_deref() != site {
            changes.push(Change::Site(marked));
        }
        let private = accepted.files.iter().filter(|file| file.private);
        // Also one that was overwritten, and is there still because the power failed.
        let shred = private.filter(|file| file.on_config || now(&file.name).is_some());
        changes.extend(shred.map(|file| Change::Shred(file.name.clone())));
    }
    let (name, text) = text(plan, facts);
    if now(name).as_deref() != Some(&text) {
        changes.push(Change::Write(name.to_owned(), text));
    }
    let other = if name == OK { ERROR } else { OK };
    if now(other).is_some() {
        changes.push(Change::Remove(other.to_owned()));
    }
    changes
}
