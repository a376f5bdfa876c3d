//! Where everything on the box is. Tests put it all under a folder of their own.

use std::path::{Path, PathBuf};

/// The box's file system, from a root that is `/` on the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self::under("/")
    }
}

impl Paths {
    /// All paths below this folder.
    #[must_use]
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Any other path of the system, such as `proc/uptime`.
    #[must_use]
    pub fn system(&self, below_root: &str) -> PathBuf {
        self.root.join(below_root.trim_start_matches('/'))
    }

    /// What this boot was set up with; in memory, made anew by every `appliance provision`.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.system("run/backrow")
    }

    /// The collector's configuration for this boot.
    #[must_use]
    pub fn site(&self) -> PathBuf {
        self.run().join("site.toml")
    }

    /// Where the CONFIG partition is mounted while it is read and answered.
    #[must_use]
    pub fn config_mount(&self) -> PathBuf {
        self.run().join("config")
    }

    /// What the collector tells of itself: `status.json` and `preview.jpg`.
    #[must_use]
    pub fn collector(&self) -> PathBuf {
        self.system("run/backrow-collector")
    }

    /// The data partition; an empty folder of the read-only root when it could not be mounted.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.system("data")
    }

    /// What the box itself keeps: the site it was given, secrets, the record of its boots.
    #[must_use]
    pub fn kept(&self) -> PathBuf {
        self.data().join("backrow")
    }

    /// A partition of the disk the box was started from: `esp`, `rootfs-a`, `rootfs-b`, `config` or
    /// `data`; udev makes these links, and for no other disk.
    #[must_use]
    pub fn partition(&self, name: &str) -> PathBuf {
        self.system("dev/backrow").join(name)
    }

    /// What this image is: `BACKROW_VERSION`, `BACKROW_BOARD` and `BACKROW_BUILT` (Unix seconds), one
    /// `NAME=value` a line.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.system("usr/lib/backrow/image")
    }

    /// Whether a folder is where a file system is mounted: its device differs from its parent's.
    #[must_use]
    pub fn is_mounted(path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| path.metadata().map(|m| m.dev()).ok();
        path.parent().is_some_and(|parent| device(path).is_some() && device(path) != device(parent))
    }
}
