//! A box's root in a folder, set up by the appliance from a `site.toml`: what the system's own
//! programs read there, and how the box's units start them.

use std::path::PathBuf;

use appliance::paths::Paths;
use appliance::provision::{config::Partition, outcome::Outcome, provision, requests::Hooks};
use tempfile::TempDir;

/// The rest of the site: what these programs have nothing to do with.
const SITE: &str = "room = \"demo\"\n\
                    [encoder]\nurl = \"http://127.0.0.1:9\"\ntoken = \"correct-horse\"\n";

/// A root.
#[derive(Debug)]
pub struct Provisioned {
    paths: Paths,
    _directory: TempDir,
}

impl Provisioned {
    /// With these tables in `site.toml`, and these files beside it on CONFIG.
    ///
    /// # Panics
    /// When the appliance finds anything wrong with them.
    pub fn with(tables: &str, files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("CONFIG");
        std::fs::create_dir(&config).unwrap();
        let site = format!("{SITE}{tables}");
        for (name, content) in [("site.toml", site.as_bytes())].iter().chain(files) {
            std::fs::write(config.join(name), content).unwrap();
        }
        let paths = Paths::under(directory.path().join("root"));
        std::fs::create_dir_all(paths.data()).unwrap();
        let Outcome { problems, .. } =
            provision(&paths, Ok(Partition::folder(config)), &Hooks::default()).unwrap();
        assert_eq!(problems, Vec::<String>::new(), "{site}");
        Self { paths, _directory: directory }
    }

    /// Where a file of the root is.
    pub fn path(&self, below_root: &str) -> PathBuf {
        self.paths.system(below_root)
    }

    /// What a unit of the box starts for this interface, with its configuration from this root.
    ///
    /// # Panics
    /// When there is no such unit.
    pub fn command(&self, unit: &str, interface: &str) -> Vec<String> {
        let units = concat!(env!("CARGO_MANIFEST_DIR"), "/../overlay/usr/lib/systemd/system");
        let text = std::fs::read_to_string(format!("{units}/{unit}")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let run = format!("-c{}/", self.path("run").display());
        let words = line.expect("a program to start").split(' ');
        words.map(|word| word.replace("%I", interface).replace("-c/run/", &run)).collect()
    }
}
