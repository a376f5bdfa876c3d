//! Small files that survive a power cut: written beside their place, synced, and moved there. One
//! that is damaged all the same is as good as none.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

/// No file of ours is larger; a larger one is not ours.
const MAX_BYTES: u64 = 1 << 20;

/// Puts a file in its place, whole or not at all, with this mode; makes its folder.
///
/// # Errors
/// If the disk does not take it; what was there before is there still.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        // The mode counts only for a file that is made.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        // The folder's entry, too. Not every file system can (FAT).
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The same, as JSON.
///
/// # Errors
/// As [`write`].
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec(value)?, 0o600)
}

/// What a JSON file says; nothing if it is missing, damaged, or too large to be ours.
#[must_use]
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    match path.metadata() {
        Ok(found) if found.len() <= MAX_BYTES => {}
        Ok(_) => {
            tracing::warn!("{}: too large, passed over", path.display());
            return None;
        }
        Err(_) => return None,
    }
    match fs::read(path).map(|bytes| serde_json::from_slice(&bytes)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            tracing::warn!("{}: damaged, passed over: {error}", path.display());
            None
        }
        Err(error) => {
            tracing::warn!("{}: {error}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/x.json");
        write_json(&path, &[1, 2, 3]).unwrap();
        write_json(&path, &[4]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path), Some(vec![4]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert_eq!(read_json::<Vec<u32>>(&path), None);
        for damage in [&b"[1,2"[..], b"", b"\0\0\0\0"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(read_json::<Vec<u32>>(&path), None);
        }
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path), None);
    }
}
