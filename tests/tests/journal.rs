//! The box's journal, sent elsewhere: the real systemd-journal-upload with what the box makes of its
//! `site.toml`, to a real systemd-journal-remote.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use backrow_tests::journal::{JournalServer, PROGRAMS};
use backrow_tests::process::{Launch, Process};
use backrow_tests::provisioned::Provisioned;
use backrow_tests::venue::allowed;
use backrow_tests::{tool, until};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const UNIT: &str = "backrow-collector.service";
/// Sees `$1` as the system's `/run`, trusts the authorities in `$2`, and becomes the rest.
const ON_BOX: &str = r#"
set -e
mount --bind "$2" /etc/ssl/certs/ca-certificates.crt
mount --rbind "$1" /run
shift 2
exec "$@"
"#;

/// A journal in a folder.
struct Journal(TempDir);

impl Journal {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Adds a message of the collector's.
    async fn add(&self, number: u64, message: &str) {
        let mut text = String::new();
        for (field, value) in [
            ("__REALTIME_TIMESTAMP", (1_700_000_000_000_000 + number).to_string()),
            ("__MONOTONIC_TIMESTAMP", number.to_string()),
            ("_BOOT_ID", "0123456789abcdef0123456789abcdef".to_owned()),
            ("_SYSTEMD_UNIT", UNIT.to_owned()),
            ("MESSAGE", message.to_owned()),
        ] {
            let _ = writeln!(text, "{field}={value}");
        }
        let exported = self.0.path().join("exported");
        std::fs::write(&exported, text + "\n").unwrap();
        let output = format!("--output={}", self.0.path().join("box.journal").display());
        let remote = format!("{PROGRAMS}/systemd-journal-remote");
        tool::run(&remote, &[&output, &exported.display().to_string()]).await;
    }

    /// Sends it as a box would that has this address in its site and trusts these authorities.
    fn upload(&self, address: &str, authorities: &Path) -> (Process, Provisioned) {
        let machine = Provisioned::with(&format!("[log]\nupload = {address:?}\n"), &[]);
        let shown = |path: &Path| path.display().to_string();
        let folder = shown(self.0.path());
        let launch = Launch::new("unshare").args([
            "--mount".to_owned(),
            "sh".to_owned(),
            "-c".to_owned(),
            ON_BOX.to_owned(),
            "sh".to_owned(),
            shown(&machine.path("run")),
            shown(authorities),
            format!("{PROGRAMS}/systemd-journal-upload"),
            format!("--directory={folder}"),
            format!("--save-state={folder}/state"),
        ]);
        let log = self.0.path().join("log");
        // Each begins with a log of its own.
        File::create(&log).unwrap();
        (Process::start("systemd-journal-upload", launch, &log), machine)
    }
}

async fn arrives(server: &JournalServer, messages: &[&str]) {
    until(SOON, "the journal to arrive", async || {
        let mut found = server.messages(UNIT).await;
        // Started again, the sender begins with the last one that it sent.
        found.dedup();
        (found == messages).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_arrives_and_goes_on_where_it_ended() {
    if !allowed() {
        return;
    }
    let server = JournalServer::start().await;
    let address = format!("http://127.0.0.1:{}/", server.port());
    let journal = Journal::new();
    journal.add(1, "first").await;
    let nobody = Path::new("/dev/null");
    let (sender, _machine) = journal.upload(&address, nobody);
    arrives(&server, &["first"]).await;
    journal.add(2, "second").await;
    arrives(&server, &["first", "second"]).await;
    sender.stop().await;
    journal.add(3, "third").await;
    let _again = journal.upload(&address, nobody);
    arrives(&server, &["first", "second", "third"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_encrypted_and_a_stranger_gets_nothing() {
    if !allowed() {
        return;
    }
    let server = JournalServer::start_encrypted().await;
    let stranger = JournalServer::start_encrypted().await;
    let address = |server: &JournalServer| format!("https://localhost:{}", server.port());
    let journal = Journal::new();
    journal.add(1, "first").await;
    let (sender, _machine) = journal.upload(&address(&stranger), &server.authority());
    assert!(!sender.exit(SOON).await.success());
    assert!(sender.log().contains("certificate"), "{}", sender.log());
    assert_eq!(stranger.messages(UNIT).await, Vec::<String>::new());
    let _sender = journal.upload(&address(&server), &server.authority());
    arrives(&server, &["first"]).await;
}
