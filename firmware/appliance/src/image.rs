//! What runs here: the image, the slot it was started from, and this boot.

use std::{fmt, fs};

use serde::{Deserialize, Serialize};

use crate::paths::Paths;

/// One of the two places for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// `rootfs-a`.
    A,
    /// `rootfs-b`.
    B,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// What the image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its version.
    pub version: String,
    /// The board it is for.
    pub board: String,
    /// When it was built, Unix seconds: no clock can rightly show less.
    pub built: i64,
}

impl Image {
    /// Reads [`Paths::image`]; `None` when this is no box.
    #[must_use]
    pub fn read(paths: &Paths) -> Option<Self> {
        Self::parse(&fs::read_to_string(paths.image()).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
            Some(line.strip_prefix('=')?.trim_matches(['"', '\'']).to_owned())
        };
        Some(Self {
            version: value("BACKROW_VERSION")?,
            board: value("BACKROW_BOARD")?,
            built: value("BACKROW_BUILT")?.parse().ok()?,
        })
    }

    /// What an update bundle must say it is for.
    #[must_use]
    pub fn compatible(&self) -> String {
        format!("backrow-{}", self.board)
    }
}

/// This boot, as the boot loader and the kernel tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boot {
    /// The kernel's random name for it.
    pub id: String,
    /// The slot; `None` when not started by our boot loader.
    pub slot: Option<Slot>,
    /// Which try of a slot that is not known to be good; 0 when it is.
    pub attempt: u32,
    /// No slot had a try left: the boot loader starts what is there.
    pub rescue: bool,
}

impl Boot {
    /// Reads it from `/proc`.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        let text = |path: &str| fs::read_to_string(paths.system(path)).unwrap_or_default();
        let words = text("proc/cmdline");
        let (slot, attempt) = command_line(&words);
        let rescue = words.split_whitespace().any(|word| word == "backrow.rescue");
        let id = text("proc/sys/kernel/random/boot_id").trim().to_owned();
        Self { id, slot, attempt, rescue }
    }

    /// What is the matter when nothing better than this slot is left.
    #[must_use]
    pub fn distress(&self) -> Option<String> {
        let slot = self.slot.filter(|_| self.rescue)?;
        Some(format!(
            "slot {slot} runs although all its tries failed, as the other slot is no better; flash the \
             box anew, or give it another update"
        ))
    }
}

/// The slot and the try. The last word counts, as for the kernel.
fn command_line(words: &str) -> (Option<Slot>, u32) {
    let value = |name: &str| words.split_whitespace().rev().find_map(|w| w.strip_prefix(name));
    let slot = match value("rauc.slot=") {
        Some("A") => Some(Slot::A),
        Some("B") => Some(Slot::B),
        _ => None,
    };
    (slot, value("backrow.try=").and_then(|n| n.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_image_and_the_command_line() {
        let text = "BACKROW_VERSION=0.2.0\nBACKROW_BOARD=\"pc_x86_64\"\nBACKROW_BUILT=1763000000\n";
        let image = Image::parse(text).unwrap();
        assert_eq!(image.compatible(), "backrow-pc_x86_64");
        assert_eq!((image.version.as_str(), image.built), ("0.2.0", 1_763_000_000));
        assert_eq!(Image::parse("BACKROW_VERSION=1\n"), None);
        let line = "root=PARTUUID=x ro rauc.slot=A quiet rauc.slot=B backrow.try=2\n";
        assert_eq!(command_line(line), (Some(Slot::B), 2));
        assert_eq!(command_line("rauc.slot=C backrow.try=x"), (None, 0));
        assert_eq!(Boot::read(&Paths::under("/nowhere")), Boot::default());
    }

    #[test]
    fn a_start_without_a_slot_that_is_good_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let start = |line: &str| {
            fs::create_dir_all(paths.system("proc")).unwrap();
            fs::write(paths.system("proc/cmdline"), line).unwrap();
            Boot::read(&paths)
        };
        let boot = start("ro rauc.slot=B backrow.try=3 backrow.rescue quiet\n");
        assert!(boot.rescue);
        assert!(boot.distress().unwrap().starts_with("slot B runs although all its tries failed"));
        let boot = start("ro rauc.slot=B backrow.try=3 backrow.rescuer quiet\n");
        assert_eq!((boot.rescue, boot.distress()), (false, None));
    }
}
