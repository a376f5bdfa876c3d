//! `outcome.json`: what provisioning made of CONFIG, for the page, the screen and MQTT.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{kept, paths::Paths};

/// Whose settings the box runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Those on CONFIG.
    Config,
    /// The last that were accepted.
    Kept,
    /// Nobody's: there are none.
    #[default]
    None,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of this file, 1.
    pub v: u8,
    /// Whether nothing was wrong.
    pub ok: bool,
    /// What was, with file and line.
    pub problems: Vec<String>,
    /// Whose settings are in use.
    pub source: Source,
    /// Which network settings: `new`, `kept` (the last that worked) or `default` (DHCP).
    pub network: String,
}

fn file(paths: &Paths) -> PathBuf {
    paths.run().join("outcome.json")
}

impl Outcome {
    /// The answer of this boot; nothing before there is one.
    #[must_use]
    pub fn read(paths: &Paths) -> Option<Self> {
        kept::read_json(&file(paths))
    }

    /// Writes it; everybody on the box may read it.
    ///
    /// # Errors
    /// If `/run` cannot be written.
    pub fn write(&self, paths: &Paths) -> io::Result<()> {
        kept::write(&file(paths), &serde_json::to_vec(self)?, 0o644)
    }

    /// Changes which network settings are in use, and adds why if that is a problem.
    ///
    /// # Errors
    /// If `/run` cannot be written.
    pub fn set_network(paths: &Paths, network: &str, problem: Option<&str>) -> io::Result<()> {
        let mut outcome = Self::read(paths).unwrap_or_else(|| Self {
            v: 1,
            ok: true,
            problems: Vec::new(),
            source: Source::None,
            network: String::new(),
        });
        outcome.network = network.to_owned();
        if let Some(problem) = problem {
            outcome.ok = false;
            if !outcome.problems.iter().any(|known| known == problem) {
                outcome.problems.push(problem.to_owned());
            }
        }
        outcome.write(paths)
    }
}
