//! Why the machine started: what ended the boot before.

use std::{fs, path::Path};

use super::boots::BootRecord;
use crate::paths::Paths;

/// `WDIOF_CARDRESET` of the kernel's watchdog interface: the watchdog reset the machine.
const CARD_RESET: u32 = 0x20;

/// What there is to conclude from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// A hardware watchdog says that it reset the machine.
    pub watchdog: bool,
    /// The kernel left a record of its crash.
    pub crash: Option<String>,
}

impl Evidence {
    /// Gathers it.
    #[must_use]
    pub fn gather(paths: &Paths) -> Self {
        let watchdog = entries(&paths.system("sys/class/watchdog")).into_iter().any(|dog| {
            let status = fs::read_to_string(dog.join("bootstatus")).unwrap_or_default();
            status.trim().parse::<u32>().is_ok_and(|status| status & CARD_RESET != 0)
        });
        // systemd-pstore moves the records away from the firmware's few kilobytes.
        let crash = ["sys/fs/pstore", "var/lib/systemd/pstore"]
            .iter()
            .flat_map(|folder| entries(&paths.system(folder)))
            .filter_map(|entry| entry.file_name().map(|name| name.to_string_lossy().into_owned()))
            .find(|name| name.starts_with("dmesg") || name.bytes().all(|b| b.is_ascii_digit()));
        Self { watchdog, crash }
    }
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Why the machine started, in plain words, from the record of the boot before.
#[must_use]
pub fn because(previous: Option<&BootRecord>, evidence: &Evidence) -> String {
    if let Some(why) = previous.and_then(|boot| boot.gave_up.as_ref()) {
        return format!("the box restarted itself: {why}");
    }
    let clean = previous.is_some_and(|boot| boot.clean_end);
    match (&evidence.crash, evidence.watchdog, clean, previous) {
        (Some(record), ..) => format!("the kernel crashed (its record: {record})"),
        // A watchdog's flag may outlive the boot that it ended, but not a power cut.
        (None, true, false, _) => "the hardware watchdog reset it: the system hung".to_owned(),
        (None, _, true, _) => "restarted or switched off on purpose".to_owned(),
        (None, false, false, Some(_)) => "power was lost, or it was switched off hard".to_owned(),
        (None, false, false, None) => "the first start that is on record".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Boot;

    #[test]
    fn evidence_is_gathered_where_the_kernel_and_systemd_leave_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(Evidence::gather(&paths), Evidence::default());
        let dog = paths.system("sys/class/watchdog/watchdog0");
        fs::create_dir_all(&dog).unwrap();
        fs::write(dog.join("bootstatus"), "0\n").unwrap();
        assert!(!Evidence::gather(&paths).watchdog);
        fs::write(dog.join("bootstatus"), "32\n").unwrap();
        fs::create_dir_all(paths.system("var/lib/systemd/pstore/171234")).unwrap();
        let found = Evidence { watchdog: true, crash: Some("171234".into()) };
        assert_eq!(Evidence::gather(&paths), found);
    }

    #[test]
    fn power_loss_is_told_from_a_restart() {
        let mut before =
            BootRecord::new(&Boot::default(), "1", jiff::Timestamp::UNIX_EPOCH, String::new());
        let evidence = Evidence::default();
        assert_eq!(because(None, &evidence), "the first start that is on record");
        assert!(because(Some(&before), &evidence).starts_with("power was lost"));
        let watchdog = Evidence { watchdog: true, crash: None };
        assert!(because(Some(&before), &watchdog).contains("watchdog"));
        before.clean_end = true;
        assert!(because(Some(&before), &watchdog).contains("on purpose"));
        let crash = Evidence { watchdog: true, crash: Some("dmesg-efi-1".into()) };
        assert!(because(Some(&before), &crash).contains("kernel crashed"));
        before.gave_up = Some("no collector".into());
        assert_eq!(because(Some(&before), &evidence), "the box restarted itself: no collector");
    }
}
