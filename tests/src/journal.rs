//! A server for journals: a real systemd-journal-remote on a free port.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::free_port;
use crate::process::{Launch, Process};
use crate::secure_broker::certificates;
use crate::{tool, until};

/// Where Debian and Buildroot have what belongs to systemd alone.
pub const PROGRAMS: &str = "/usr/lib/systemd";
/// Tries at finding a port that nobody takes between our look and the server's bind.
const TRIES: usize = 5;
/// How long it may take to listen.
const UP: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct JournalServer {
    address: SocketAddr,
    process: Process,
    directory: TempDir,
}

impl JournalServer {
    /// Starts one without encryption.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        Self::open(tempfile::tempdir().unwrap(), "http", &[]).await
    }

    /// Starts one with a certificate for `localhost` of an authority of its own; it asks for none.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start_encrypted() -> Self {
        let directory = tempfile::tempdir().unwrap();
        certificates(directory.path(), &[]).await;
        let file = |name: &str| directory.path().join(name).display().to_string();
        let args =
            [format!("--cert={}", file("server.pem")), format!("--key={}", file("server.key"))];
        Self::open(directory, "https", &args).await
    }

    async fn open(directory: TempDir, scheme: &str, more: &[String]) -> Self {
        for _ in 0..TRIES {
            let address = free_port();
            let launch = Launch::new(format!("{PROGRAMS}/systemd-journal-remote"))
                .args([
                    format!("--listen-{scheme}={address}"),
                    "--split-mode=none".to_owned(),
                    format!("--output={}", received(directory.path()).display()),
                ])
                .args(more.iter().cloned());
            let log = directory.path().join("log");
            let process = Process::start("systemd-journal-remote", launch, &log);
            let up = until(UP, "the server for journals to listen", async || {
                let ended = !process.is_running();
                (ended || TcpStream::connect(address).is_ok()).then_some(!ended)
            })
            .await;
            if up {
                return Self { address, process, directory };
            }
        }
        panic!("systemd-journal-remote found no free port in {TRIES} tries");
    }

    /// Its port, on the loopback.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its authority's certificate, if it has one.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The messages of a unit that have arrived.
    ///
    /// # Panics
    /// When it has ended.
    pub async fn messages(&self, unit: &str) -> Vec<String> {
        assert!(self.process.is_running(), "it has ended:\n{}", self.process.tail());
        let file = format!("--file={}", received(self.directory.path()).display());
        let unit = format!("_SYSTEMD_UNIT={unit}");
        let output = tool::output("journalctl", &[&file, "--output=cat", "--quiet", &unit]).await;
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

fn received(directory: &Path) -> PathBuf {
    directory.join("received.journal")
}
