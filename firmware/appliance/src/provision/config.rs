//! The CONFIG partition: mounted to be read, made writable only to answer, and unmounted after.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::{
    accept::{MAX_FILE, SITE},
    answer::Change,
};
use crate::paths::Paths;

/// The new `site.toml` on its way to its place.
const NEW: &str = "site.new";
/// Zeros, for a moment, in all space that is free.
const SCRUB: &str = "scrub.tmp";
/// How many of them at once.
const PIECE: usize = 1 << 16;
/// Nobody but root reads it; and nothing on it is a program or a device.
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const OPTIONS: &std::ffi::CStr = c"fmask=0177,dmask=0077";

/// CONFIG, where it can be read.
#[derive(Debug)]
pub struct Partition {
    folder: PathBuf,
    /// Whether we mounted it.
    mounted: bool,
    /// Whether it is a file system of its own, and all free space on it CONFIG's.
    whole: bool,
    writable: bool,
}

impl Partition {
    /// Mounts it, to be read.
    ///
    /// # Errors
    /// In words: there is none, or it is damaged.
    pub fn mount(paths: &Paths) -> Result<Self, String> {
        let device = paths.partition("config");
        let folder = paths.config_mount();
        if !device.exists() {
            return Err("there is no CONFIG partition on this disk".to_owned());
        }
        // Where there are no partitions, as in a container, a folder does as well.
        if device.is_dir() {
            return Ok(Self::folder(device));
        }
        fs::create_dir_all(&folder)
            .map_err(|error| format!("CONFIG cannot be mounted: {}: {error}", folder.display()))?;
        mount(&device, &folder, "vfat", FLAGS | MountFlags::RDONLY, OPTIONS)
            .map_err(|error| format!("CONFIG cannot be read, it is damaged or not FAT: {error}"))?;
        Ok(Self { folder, mounted: true, whole: true, writable: false })
    }

    /// A folder in its place.
    #[must_use]
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), mounted: false, whole: false, writable: true }
    }

    /// A file system that somebody else mounted.
    #[cfg(test)]
    pub(super) fn mounted_at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), mounted: false, whole: true, writable: true }
    }

    /// Where a file of it is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The names of the files at its top.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What is in a file; of one that is too large, as much as shows that.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// `site.toml`; or, where the power failed while it was replaced, what was to be put in its place.
    #[must_use]
    pub fn site(&self) -> Option<Vec<u8>> {
        let site = self.read(SITE).ok();
        let gone = site.as_ref().is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0));
        if gone
            && let Ok(new) = self.read(NEW)
            && !new.is_empty()
        {
            return Some(new);
        }
        site
    }

    /// Makes it writable.
    ///
    /// # Errors
    /// If it cannot be: its lock is on, or it is damaged.
    pub fn unlock(&mut self) -> io::Result<()> {
        if !self.writable {
            mount_remount(&self.folder, FLAGS, OPTIONS)?;
            self.writable = true;
        }
        Ok(())
    }

    /// Makes changes, and what was secret in the files before is overwritten wherever it may be.
    pub(super) fn change(&mut self, changes: &[Change]) -> io::Result<()> {
        let left: Vec<PathBuf> =
            [NEW, SCRUB].iter().map(|name| self.path(name)).filter(|path| path.exists()).collect();
        if changes.is_empty() && left.is_empty() {
            return Ok(());
        }
        self.unlock()?;
        let mut secret = false;
        for change in changes {
            match change {
                Change::Site(text) => {
                    self.replace_site(text)?;
                    secret = true;
                }
                Change::Shred(name) => {
                    self.overwrite(name)?;
                    fs::remove_file(self.path(name))?;
                    secret = true;
                }
                Change::Write(name, bytes) => self.write(name, bytes)?,
                Change::Remove(name) => fs::remove_file(self.path(name))?,
            }
        }
        for left in left {
            let _ = fs::remove_file(left);
        }
        // Editors leave copies of what they edited in space that counts as free.
        if secret && self.whole { self.scrub() } else { Ok(()) }
    }

    /// At any moment the old text or the new one is whole somewhere, see [`Partition::site`].
    fn replace_site(&self, text: &[u8]) -> io::Result<()> {
        self.write(NEW, text)?;
        self.overwrite(SITE)?;
        fs::rename(self.path(NEW), self.path(SITE))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(self.path(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Puts zeros over a file where it lies: FAT writes in place.
    fn overwrite(&self, name: &str) -> io::Result<()> {
        let mut file = match OpenOptions::new().write(true).open(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let mut left = file.metadata()?.len();
        let zeros = [0; 4096];
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(zeros.len()).min(zeros.len());
            file.write_all(zeros.get(..step).unwrap_or(&zeros))?;
            left = left.saturating_sub(step as u64);
        }
        file.sync_all()
    }

    fn scrub(&self) -> io::Result<()> {
        let path = self.path(SCRUB);
        let scrubbed = self.fill(&path);
        let removed = fs::remove_file(path);
        scrubbed.and(removed)
    }

    /// Fills all free space with zeros, to the last block. There cannot be more of it than the
    /// partition has room; how much is free, FAT itself does not know for sure.
    fn fill(&self, path: &Path) -> io::Result<()> {
        let room = || rustix::fs::statvfs(&self.folder);
        let mut left = room()?.f_blocks.saturating_mul(room()?.f_frsize);
        let mut file = File::create(path)?;
        let zeros = [0; PIECE];
        let mut step = zeros.len();
        let mut failed = None;
        while left > 0 && step >= 512 {
            match file.write(zeros.get(..step).unwrap_or(&zeros)) {
                Ok(0) => step /= 2,
                Ok(n) => left = left.saturating_sub(n as u64),
                Err(error) => {
                    step /= 2;
                    failed = Some(error);
                }
            }
        }
        file.sync_all()?;
        // Full is what it should be; not every file system says so with the same error.
        match failed {
            Some(error) if room()?.f_bfree > 0 => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = unmount(&self.folder, UnmountFlags::empty())
        {
            tracing::warn!("CONFIG cannot be unmounted: {error}");
        }
    }
}
