//! How often GRUB started a slot: it counts those starts too that never came as far as this program.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{image::Slot, paths::Paths};

/// For its partition to be mounted, which systemd does when it is looked at.
const WAIT: Duration = Duration::from_secs(5);
/// Its environment has 1024 bytes.
const MOST: u64 = 4096;

/// Where GRUB's environment is; a Raspberry Pi has none.
fn file(paths: &Paths) -> PathBuf {
    paths.system("boot/efi/EFI/BOOT/grubenv")
}

/// What GRUB counted; nothing if it cannot be read, or not in time.
#[must_use]
pub fn counted(paths: &Paths, slot: Slot) -> Option<usize> {
    let (file, (told, tells)) = (file(paths), mpsc::channel());
    // A disk that does not answer holds up this thread, and nothing else.
    let reading = thread::Builder::new().name("grubenv".to_owned()).spawn(move || {
        let _ = told.send(read(&file));
    });
    reading.ok()?;
    tries(&tells.recv_timeout(WAIT).ok()??, slot)
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `B_TRY=3` on a line of its own; GRUB counts to 3.
fn tries(environment: &[u8], slot: Slot) -> Option<usize> {
    let name = format!("{slot}_TRY=");
    let text = String::from_utf8_lossy(environment);
    let value = text.lines().find_map(|line| line.strip_prefix(name.as_str()))?;
    value.trim().parse().ok().filter(|tries| *tries <= 3)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_grub_counted_is_read_and_all_else_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(counted(&paths, Slot::B), None);
        fs::create_dir_all(file(&paths).parent().unwrap()).unwrap();
        let environment = "# GRUB Environment Block\nORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=3\n";
        fs::write(file(&paths), format!("{environment:#<1024}")).unwrap();
        assert_eq!((counted(&paths, Slot::A), counted(&paths, Slot::B)), (Some(0), Some(3)));
        for damaged in ["B_TRY=", "B_TRY=x", "B_TRY=-1", "B_TRY=4000000000", "#B_TRY=1", "\u{0}"] {
            fs::write(file(&paths), damaged).unwrap();
            assert_eq!(counted(&paths, Slot::B), None, "{damaged}");
        }
        fs::remove_file(file(&paths)).unwrap();
        fs::create_dir(file(&paths)).unwrap();
        assert_eq!(counted(&paths, Slot::B), None, "not a file");
    }

    #[test]
    fn a_partition_that_hangs_does_not_hang_the_box() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        fs::create_dir_all(file(&paths).parent().unwrap()).unwrap();
        // Nobody ever writes to it: opening it waits for ever.
        let made = std::process::Command::new("mkfifo").arg(file(&paths)).status().unwrap();
        assert!(made.success());
        assert_eq!(counted(&paths, Slot::B), None);
    }
}
