//! The data partition: there, writable, sound, and not full.

use std::fs;

use super::facts::Disk;
use crate::paths::Paths;

/// Looks at it.
#[must_use]
pub fn read(paths: &Paths) -> Disk {
    let mounts = fs::read_to_string(paths.system("proc/mounts")).unwrap_or_default();
    let Some(mount) = data_mount(&mounts) else { return Disk::default() };
    let (size, free) = space(paths);
    Disk {
        mounted: true,
        read_only: mount.read_only,
        errors: errors(paths, &mount.device),
        size,
        free,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    read_only: bool,
}

/// The last line for `/data`: what is mounted over another is what counts.
fn data_mount(mounts: &str) -> Option<Mount> {
    mounts.lines().rev().find_map(|line| {
        let mut columns = line.split_whitespace();
        let device = columns.next()?;
        (columns.next()? == "/data").then_some(())?;
        let options = columns.nth(1)?;
        let read_only = options.split(',').any(|option| option == "ro");
        Some(Mount { device: device.to_owned(), read_only })
    })
}

/// What ext4 counts for itself since its disk was made.
fn errors(paths: &Paths, device: &str) -> u64 {
    let device = fs::canonicalize(paths.system(device)).unwrap_or_else(|_| device.into());
    let Some(name) = device.file_name() else { return 0 };
    let count = paths.system("sys/fs/ext4").join(name).join("errors_count");
    fs::read_to_string(count).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn space(paths: &Paths) -> (u64, u64) {
    rustix::fs::statvfs(paths.data()).map_or((0, 0), |it| {
        (it.f_blocks.saturating_mul(it.f_frsize), it.f_bavail.saturating_mul(it.f_frsize))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mounted_read_only_or_not_at_all() {
        let mounts = "/dev/root / squashfs ro,relatime 0 0\n/dev/vda5 /data ext4 rw,noatime 0 0\n";
        let mount = |read_only| Mount { device: "/dev/vda5".to_owned(), read_only };
        assert_eq!(data_mount(mounts), Some(mount(false)));
        assert_eq!(data_mount(&mounts.replace("rw,", "ro,")), Some(mount(true)));
        assert_eq!(data_mount("/dev/root / squashfs ro 0 0\n"), None);
    }

    #[test]
    fn its_errors_and_its_space() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(read(&paths), Disk::default());
        fs::create_dir_all(paths.data()).unwrap();
        fs::create_dir_all(paths.system("proc")).unwrap();
        fs::create_dir_all(paths.system("sys/fs/ext4/vda5")).unwrap();
        fs::write(paths.system("proc/mounts"), "/dev/vda5 /data ext4 rw 0 0\n").unwrap();
        fs::write(paths.system("sys/fs/ext4/vda5/errors_count"), "3\n").unwrap();
        let disk = read(&paths);
        assert!(disk.mounted && !disk.read_only && disk.errors == 3);
        assert!(disk.size > 0 && disk.free <= disk.size);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            let _ = data_mount(&text);
        }
    }
}
