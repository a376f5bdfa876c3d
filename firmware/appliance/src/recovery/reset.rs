//! The box as it was when flashed.
//!
//! ```text
//! page · MQTT · command line ─▶ ask: a note on the data partition ─▶ restart ─┐
//!                              `factory-reset` on CONFIG ─▶ start of the box ─┴▶ carry_out
//! ```
//! What the box keeps is removed at the start, before anything uses it, and the note goes last: a
//! loss of power on the way changes nothing. CONFIG is not touched: its `site.toml` has had no
//! secrets since the box took them, so the box asks for them again (`ERROR.txt` says which).
//!
//! Kept: the recordings, unless told otherwise; and which commands were carried out, so that a
//! reset that comes twice is done once.

use std::{fmt::Write as _, fs, io, path::Path};

use protocol::status::{CollectorStatus, FILE};
use serde::{Deserialize, Serialize};

use crate::{kept, paths::Paths};

/// What stays in [`Paths::kept`]: nothing of the site, and no secret.
const STAYS: &[&str] = &["commands.json"];
/// Deeper than any recording lies.
const DEPTH: usize = 8;

/// The note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    recordings: bool,
}

fn note(paths: &Paths) -> std::path::PathBuf {
    paths.data().join("factory-reset.json")
}

fn recordings(paths: &Paths) -> std::path::PathBuf {
    paths.data().join("recordings")
}

/// Notes that the box is to be reset; the caller restarts it. The answer says what goes and what
/// stays, and names what the encoder does not have yet.
///
/// # Errors
/// If the data partition does not take the note.
pub fn ask(paths: &Paths, with_recordings: bool) -> io::Result<String> {
    let answer = answer(paths, with_recordings);
    kept::write_json(&note(paths), &Note { recordings: with_recordings })?;
    Ok(answer)
}

fn answer(paths: &Paths, with_recordings: bool) -> String {
    let (files, bytes) = size(&recordings(paths), DEPTH);
    let mut text =
        "the box restarts and forgets its site, its secrets and its SSH keys; ".to_owned();
    let _ = match (files, with_recordings) {
        (0, _) => write!(text, "there are no recordings"),
        (n, false) => write!(text, "its recordings stay ({n} files, {} MB)", bytes / 1_000_000),
        (n, true) => write!(text, "its recordings go too ({n} files, {} MB)", bytes / 1_000_000),
    };
    if let Some(status) = kept::read_json::<CollectorStatus>(&paths.collector().join(FILE)) {
        let (segments, ms) = (status.number("backlog_segments"), status.number("backlog_ms"));
        if segments > 0 {
            let seconds = ms.div_ceil(1000);
            let _ = write!(
                text,
                "; of room {} the encoder has not confirmed {segments} segments ({seconds} s) of \
                 session {}: what it does not have by then is nowhere else",
                status.room, status.session
            );
        }
    }
    text
}

/// Carries out a reset that was noted, at the start of the box; `None` if none was.
pub fn carry_out(paths: &Paths) -> Option<Result<String, String>> {
    let asked = fs::read(note(paths)).ok()?;
    // A note that is damaged keeps the recordings.
    let with_recordings = serde_json::from_slice(&asked).is_ok_and(|note: Note| note.recordings);
    Some(now(paths, with_recordings))
}

/// Resets the box now, and says what was removed. At the start of the box only, before anything
/// uses what goes.
///
/// # Errors
/// What could not be removed, and why.
pub fn now(paths: &Paths, with_recordings: bool) -> Result<String, String> {
    let mut failed = Vec::new();
    empty(&paths.kept(), STAYS, &mut failed);
    if with_recordings {
        empty(&recordings(paths), &[], &mut failed);
    }
    if !failed.is_empty() {
        return Err(format!("not everything could be removed: {}", failed.join("; ")));
    }
    match fs::remove_file(note(paths)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", note(paths).display()));
        }
        _ => {}
    }
    let _ = fs::File::open(paths.data()).and_then(|folder| folder.sync_all());
    Ok(if with_recordings {
        "its site, secrets, SSH keys and recordings were removed".to_owned()
    } else {
        "its site, secrets and SSH keys were removed; its recordings were kept".to_owned()
    })
}

/// Removes all that is in a folder, but not through links.
fn empty(folder: &Path, but: &[&str], failed: &mut Vec<String>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return failed.push(format!("{}: {error}", folder.display())),
    };
    for entry in entries.flatten() {
        if but.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            failed.push(format!("{}: {error}", path.display()));
        }
    }
}

/// How many files there are, and their bytes.
fn size(folder: &Path, depth: usize) -> (u64, u64) {
    let mut all = (0, 0u64);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() && depth > 0 => {
                let below = size(&entry.path(), depth - 1);
                all = (all.0 + below.0, all.1.saturating_add(below.1));
            }
            Ok(found) if found.is_file() => all = (all.0 + 1, all.1.saturating_add(found.len())),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used_box() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        for file in ["site.toml", "token", "certs/key.pem", "ssh/host", "commands.json"] {
            kept::write(&paths.kept().join(file), b"secret", 0o600).unwrap();
        }
        kept::write(&recordings(&paths).join("01A/0000000001.flv"), b"FLV", 0o600).unwrap();
        kept::write(&dir.path().join("elsewhere/x"), b"x", 0o600).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), paths.kept().join("link"))
            .unwrap();
        (dir, paths)
    }

    fn left(paths: &Paths) -> Vec<String> {
        let entries = fs::read_dir(paths.kept()).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn recordings_stay_unless_told_and_the_note_goes_last() {
        let (dir, paths) = used_box();
        assert_eq!(carry_out(&paths), None);
        let told = ask(&paths, false).unwrap();
        assert!(told.ends_with("its recordings stay (1 files, 0 MB)"), "{told}");
        assert_eq!(left(&paths).len(), 6, "nothing goes before the restart");
        assert!(carry_out(&paths).unwrap().unwrap().ends_with("its recordings were kept"));
        assert_eq!(left(&paths), ["commands.json"]);
        assert!(recordings(&paths).join("01A/0000000001.flv").exists());
        assert!(dir.path().join("elsewhere/x").exists(), "not through a link");
        assert_eq!(carry_out(&paths), None, "once");

        ask(&paths, true).unwrap();
        carry_out(&paths).unwrap().unwrap();
        assert!(recordings(&paths).exists() && !recordings(&paths).join("01A").exists());
        assert_eq!(now(&Paths::under("/nowhere"), true), now(&paths, true), "nothing to do");
    }

    #[test]
    fn a_damaged_note_resets_but_keeps_the_recordings() {
        let (_dir, paths) = used_box();
        fs::write(note(&paths), "\0\0").unwrap();
        carry_out(&paths).unwrap().unwrap();
        assert!(recordings(&paths).join("01A").exists());
    }

    #[test]
    fn what_the_encoder_does_not_have_is_named() {
        let (_dir, paths) = used_box();
        let status = r#"{"v":1,"at":"2026-02-03T04:05:06Z","room":"hall","device":"box-1",
            "session":"01ABC","numbers":{"backlog_segments":12,"backlog_ms":23500}}"#;
        kept::write(&paths.collector().join(FILE), status.as_bytes(), 0o644).unwrap();
        let told = ask(&paths, true).unwrap();
        let named =
            "of room hall the encoder has not confirmed 12 segments (24 s) of session 01ABC";
        assert!(told.contains(named), "{told}");
    }
}
