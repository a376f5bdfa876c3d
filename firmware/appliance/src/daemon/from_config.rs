//! The update that provisioning found on CONFIG: installed when the running image is good, and once.
//!
//! ```text
//! data/update.raucb ─▶ data/taken.raucb ─▶ installed ─▶ removed ─▶ the box restarts
//! ```
//! The second name tells a file that somebody asked for from one that a restart or a loss of power
//! left: such a one is installed too, but not if the box has just come back from it.

use std::{fs, io, path::Path};

use protocol::payload::EventKind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    command::desk::{Desk, Job},
    image::Boot,
    paths::Paths,
    provision::requests,
    update::{
        bundle, fetch,
        health::COMPONENT,
        install::{Bundle, Wanted},
        record::{Outcome, Update},
    },
};

/// Who asks, for the record.
const ASKED_BY: &str = "CONFIG";

/// Installs what is there. Whatever comes of it, the file goes: it would be tried at every start.
pub(super) async fn run(desk: Desk, mut good: watch::Receiver<bool>, cancel: CancellationToken) {
    let taken = requests::taken_update(&desk.paths);
    if !requests::update_file(&desk.paths).exists() && !taken.exists() {
        return;
    }
    desk.doing.send_replace("an update from CONFIG waits until this version is known good".into());
    // What the boot loader starts because nothing is good may never become so.
    let rescue = Boot::read(&desk.paths).rescue;
    let is_good = async { good.wait_for(|good| *good || rescue).await.is_ok() };
    if cancel.run_until_cancelled(is_good).await != Some(true) {
        return;
    }
    match take(&desk.paths, &taken) {
        Ok(true) => {}
        Ok(false) => {
            if let Some(words) = came_back_from(&desk, &taken).await {
                fetch::forget(&taken);
                tracing::warn!("{words}");
                desk.board.event(EventKind::Notice, COMPONENT, words);
                desk.doing.send_replace(String::new());
                return;
            }
        }
        Err(error) => {
            let words = format!("the update from CONFIG cannot be taken: {error}");
            tracing::warn!("{words}");
            desk.board.event(EventKind::Notice, COMPONENT, words);
            desk.doing.send_replace(String::new());
            return;
        }
    }
    let bundle = Bundle::Once(taken.clone());
    let wanted = Wanted { bundle, sha256: None, asked_by: ASKED_BY.to_owned() };
    let done = cancel.run_until_cancelled(desk.carry_out(Job::Update(wanted))).await;
    if done.is_some() {
        fetch::forget(&taken);
    }
}

/// Whether a file was asked for; it has its second name then.
fn take(paths: &Paths, taken: &Path) -> io::Result<bool> {
    match fs::rename(requests::update_file(paths), taken) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    fs::File::open(paths.data())?.sync_all()?;
    Ok(true)
}

/// If a file that was left is what the box has come back from, that in words.
async fn came_back_from(desk: &Desk, left: &Path) -> Option<String> {
    let last = Update::last(&desk.paths).filter(|last| last.state == Outcome::RolledBack)?;
    let info = bundle::inspect(&desk.programs, left).await.ok()?;
    (info.version.as_ref() == Some(&last.to)).then(|| {
        format!(
            "{} is not installed from CONFIG again, as it did not become healthy; to try it once \
             more, put it on CONFIG once more",
            last.to
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use watchdog::{board::Board, clock};

    use super::*;
    use crate::{image::Slot, programs::Programs, update::install::Installer};

    /// A box that runs 1.0 from slot A, with a `rauc` that takes whatever is there as 1.1.
    struct Rig {
        dir: tempfile::TempDir,
        desk: Desk,
    }

    fn rig() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let script = |name: &str, text: &str| {
            let path = file(name, &format!("#!/bin/sh\ncd {}\n{text}\n", dir.path().display()));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.into_os_string()
        };
        file("usr/lib/backrow/image", "BACKROW_VERSION=1.0\nBACKROW_BOARD=b\nBACKROW_BUILT=1\n");
        file("proc/cmdline", "rauc.slot=A backrow.try=0\n");
        file("proc/sys/kernel/random/boot_id", "boot-1\n");
        file("data/backrow/x", "");
        let info = r#"{"compatible":"backrow-b","version":"1.1","format":"verity"}"#;
        let rauc = format!("case $1 in info) echo '{info}';; *) echo $1 >> called;; esac");
        let programs = Programs {
            rauc: vec![script("rauc", &rauc)],
            // What is there when the restart is asked for.
            systemctl: script("systemctl", "echo reboot, $(cd data; echo *) >> called"),
        };
        let clock = clock::system();
        let paths = Paths::under(dir.path());
        let installer = Installer { paths, programs, clock: clock.clone(), ca: None };
        let desk = Desk::new(installer, Board::new(clock));
        Rig { dir, desk }
    }

    impl Rig {
        async fn start(&self) -> String {
            self.start_that_is(true).await
        }

        async fn start_that_is(&self, good: bool) -> String {
            let (_good, is_good) = watch::channel(good);
            run(self.desk.clone(), is_good, CancellationToken::new()).await;
            let called = self.dir.path().join("called");
            let said = fs::read_to_string(&called).unwrap_or_default();
            let _ = fs::remove_file(called);
            said
        }

        fn last(&self, to: &str, state: Outcome) {
            let update = Update {
                v: 1,
                from: "1.0".into(),
                to: to.into(),
                slot: Some(Slot::B),
                at: jiff::Timestamp::UNIX_EPOCH,
                during: "boot-0".into(),
                asked_by: ASKED_BY.into(),
                state,
                reason: String::new(),
            };
            update.keep(&self.desk.paths).unwrap();
        }
    }

    const DONE: &str = "install\nreboot, backrow\n";

    #[tokio::test]
    async fn it_is_installed_and_gone_before_the_box_restarts() {
        let rig = rig();
        assert_eq!(rig.start().await, "", "nothing was asked for");
        fs::write(requests::update_file(&rig.desk.paths), "").unwrap();
        assert_eq!(rig.start().await, DONE);
        assert_eq!(Update::last(&rig.desk.paths).unwrap().state, Outcome::Pending);
        assert_eq!(rig.start().await, "");
    }

    #[tokio::test]
    async fn where_no_slot_is_good_it_does_not_wait_for_one() {
        let rig = rig();
        let line = "rauc.slot=A backrow.try=3 backrow.rescue\n";
        fs::write(rig.dir.path().join("proc/cmdline"), line).unwrap();
        fs::write(requests::update_file(&rig.desk.paths), "").unwrap();
        assert_eq!(rig.start_that_is(false).await, DONE);
    }

    #[tokio::test]
    async fn what_was_left_is_installed_but_not_what_the_box_came_back_from() {
        let rig = rig();
        let left = requests::taken_update(&rig.desk.paths);
        // Power was lost while it was installed, or before.
        for (to, state) in [("1.1", Outcome::Failed), ("0.9", Outcome::RolledBack)] {
            fs::write(&left, "").unwrap();
            rig.last(to, state);
            assert_eq!(rig.start().await, DONE, "{to} {state:?}");
        }
        // Power was lost after it was installed, and it did not work.
        fs::write(&left, "").unwrap();
        rig.last("1.1", Outcome::RolledBack);
        assert_eq!(rig.start().await, "");
        assert!(!left.exists());
        let events = rig.desk.board.events();
        let said = "1.1 is not installed from CONFIG again, as it did not become healthy";
        assert!(events.iter().any(|event| event.message.starts_with(said)), "{events:?}");
        // Whoever puts it on CONFIG once more gets it once more.
        fs::write(requests::update_file(&rig.desk.paths), "").unwrap();
        assert_eq!(rig.start().await, DONE);
    }
}
