//! What a bundle is, as `rauc info` tells, and whether it may be installed here.
//!
//! RAUC checks the signature and the format. That the bundle is for this board RAUC checks only at
//! the end, and its version not at all: both are checked here first, so that the reason is plain.

use std::{cmp::Ordering, path::Path, time::Duration};

use serde::Deserialize;

use super::version::Version;
use crate::{
    image::Image,
    programs::{self, ProgramError, Programs},
};

/// To read and check the signature of a bundle of some hundred megabytes.
const INFO: Duration = Duration::from_secs(120);

/// A bundle's own words. RAUC 1.8 does not tell the format; later ones do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// What it is for.
    #[serde(default)]
    pub compatible: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// `plain`, `verity` or `crypt`.
    #[serde(default)]
    pub format: Option<String>,
}

/// Why a bundle is not installed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not signed with a key that this image trusts, or changed afterwards.
    #[error(
        "it is not signed with a key that this box trusts, or was damaged on its way ({0}); take a \
         bundle from where the box's image came from"
    )]
    Signature(String),
    /// Not a bundle at all.
    #[error("it is not an update bundle, or only a part of one ({0}); download it again")]
    NotABundle(String),
    /// A format that is not verified while it is read.
    #[error("its format is \"{0}\", and only \"verity\" is taken; build the bundle anew")]
    Format(String),
    /// For another board.
    #[error("it is for {offered}, and this box is {here}")]
    Board {
        /// What it is for.
        offered: String,
        /// What this is.
        here: String,
    },
    /// Nothing newer.
    #[error("it is version {offered}, which is older than {here}, which runs here")]
    Older {
        /// Its version.
        offered: String,
        /// The version that runs.
        here: String,
    },
    /// Whether it is newer cannot be said.
    #[error("its version cannot be compared with the one that runs here: {0}")]
    Version(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// RAUC cannot do its work here.
    #[error("it cannot be checked: {0}")]
    Unchecked(String),
}

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        Self::Unchecked(error.to_string())
    }
}

/// A bundle that is for this box.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// Newer than what runs here.
    Newer(Version),
    /// What runs here.
    Same(Version),
}

/// Asks RAUC what a bundle is; the signature is good if this succeeds.
///
/// # Errors
/// [`Refusal`] of a bundle that RAUC does not trust or understand.
pub async fn inspect(programs: &Programs, bundle: &Path) -> Result<Info, Refusal> {
    if let Err(error) = std::fs::File::open(bundle) {
        return Err(Refusal::Unreadable(format!("{}: {error}", bundle.display())));
    }
    let mut command = programs.rauc(&["info", "--output-format=json"]);
    command.arg(bundle);
    let output = programs::output(command, INFO).await?;
    if !output.status.success() {
        return Err(explain(&String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Refusal::Unchecked(format!("rauc's answer is not understood: {error}")))
}

/// Whether a bundle is for this box, and newer than what runs here.
///
/// # Errors
/// [`Refusal`], with the reason.
pub fn judge(info: &Info, here: &Image) -> Result<Offer, Refusal> {
    if let Some(format) = info.format.as_deref().filter(|format| *format != "verity") {
        return Err(Refusal::Format(format.to_owned()));
    }
    let offered = info.compatible.as_deref().unwrap_or("nothing it names");
    if offered != here.compatible() {
        return Err(Refusal::Board { offered: offered.to_owned(), here: here.compatible() });
    }
    let version =
        |text: &str| text.parse::<Version>().map_err(|error| Refusal::Version(error.to_string()));
    let offered = match info.version.as_deref() {
        Some(text) if !text.is_empty() => version(text)?,
        _ => return Err(Refusal::Version("the bundle names none".to_owned())),
    };
    let here = version(&here.version)?;
    match offered.cmp(&here) {
        Ordering::Greater => Ok(Offer::Newer(offered)),
        Ordering::Equal => Ok(Offer::Same(offered)),
        Ordering::Less => {
            Err(Refusal::Older { offered: offered.to_string(), here: here.to_string() })
        }
    }
}

/// What RAUC's complaint means.
fn explain(stderr: &str) -> Refusal {
    // Its messages of progress come on stderr too.
    let said: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| {
            !line.is_empty() && !line.starts_with("rauc-") && !line.starts_with("(rauc:")
        })
        .collect();
    let first = said.first().copied().unwrap_or("rauc gave no reason").to_owned();
    let lower = first.to_lowercase();
    if let Some(format) = lower.strip_prefix("bundle format '").and_then(|l| l.split_once('\'')) {
        return Refusal::Format(format.0.to_owned());
    }
    if lower.contains("failed to load ca") || lower.contains("initialize context") {
        // This image's fault, not the bundle's.
        return Refusal::Unchecked(first);
    }
    if lower.contains("signature verification failed")
        || lower.contains("verify error")
        || lower.contains("failed to parse signature")
        || lower.contains("content type")
        || lower.contains("manifest in inline signature")
    {
        return Refusal::Signature(first);
    }
    if lower.contains("invalid bundle format") || lower.contains("invalid bundle") {
        return Refusal::NotABundle(first);
    }
    if lower.starts_with("no such file") {
        return Refusal::Unreadable(first);
    }
    Refusal::Unchecked(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn here() -> Image {
        Image { version: "1.2.0".into(), board: "pc_x86_64".into(), built: 0 }
    }

    fn info(json: &str) -> Info {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn both_rauc_versions_are_understood() {
        // As 1.8 and as 1.15 write it.
        let old = r#"{"compatible":"backrow-pc_x86_64","version":"1.3.0","description":null,"build":"2026",
            "hooks":[],"images":[{"rootfs":{"variant":null,"filename":"rootfs.img","checksum":"1b58",
            "size":61440,"hooks":[],"adaptive":[]}}]}"#;
        let new = r#"{"compatible":"backrow-pc_x86_64","version":"1.3.0","description":null,"build":"2026",
            "format":"verity","hooks":[],"hash":"ab","images":[{"rootfs":{"artifact":null,"variant":null,
            "filename":"rootfs.img","type":null,"checksum":"1b58","size":61440,"hooks":[],"adaptive":[]}}]}"#;
        for text in [old, new] {
            let newer = Offer::Newer("1.3.0".parse().unwrap());
            assert_eq!(judge(&info(text), &here()).unwrap(), newer);
        }
    }

    #[test]
    fn every_refusal_says_why() {
        let why = |json: &str| judge(&info(json), &here()).unwrap_err().to_string();
        let board = r#"{"compatible":"backrow-rpi4","version":"9"}"#;
        assert_eq!(why(board), "it is for backrow-rpi4, and this box is backrow-pc_x86_64");
        let older = r#"{"compatible":"backrow-pc_x86_64","version":"1.1.9"}"#;
        assert_eq!(why(older), "it is version 1.1.9, which is older than 1.2.0, which runs here");
        let same = info(r#"{"compatible":"backrow-pc_x86_64","version":"1.2"}"#);
        assert_eq!(judge(&same, &here()).unwrap(), Offer::Same("1.2".parse().unwrap()));
        let candidate = r#"{"compatible":"backrow-pc_x86_64","version":"1.2.0-rc1"}"#;
        assert!(why(candidate).contains("older"));
        let plain = r#"{"compatible":"backrow-pc_x86_64","version":"2","format":"plain"}"#;
        assert!(why(plain).starts_with("its format is \"plain\""));
        let none = r#"{"compatible":"backrow-pc_x86_64","version":null}"#;
        assert!(why(none).ends_with("the bundle names none"));
        assert!(why(r#"{"compatible":"backrow-pc_x86_64","version":"new"}"#).contains("\"new\""));
        assert!(why("{}").contains("nothing it names"));
    }

    proptest! {
        #[test]
        fn whatever_rauc_says_there_is_one_reason(stderr in any::<String>()) {
            prop_assert!(!explain(&stderr).to_string().is_empty());
        }
    }
}
