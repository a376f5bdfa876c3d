//! A real mosquitto on a free port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Launch, Process};
use crate::until;

/// Tries at finding a port that nobody takes between our look and mosquitto's bind.
const TRIES: usize = 5;

/// A running broker; anonymous clients may do anything.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Broker {
    /// Starts a broker on a free port.
    ///
    /// # Panics
    /// When mosquitto does not come up.
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            if let Some(broker) = Self::start_on(free_port()).await {
                return broker;
            }
        }
        panic!("mosquitto found no free port in {TRIES} tries");
    }

    /// Starts a broker at `address`; `None` if that is taken.
    ///
    /// # Panics
    /// When mosquitto neither listens nor ends.
    pub async fn start_on(address: SocketAddr) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("mosquitto.conf");
        let (ip, port) = (address.ip(), address.port());
        // A change of user, which root's mosquitto makes by itself, would take away the signal that
        // ends it with the test.
        let text =
            format!("user root\nlistener {port} {ip}\nallow_anonymous true\npersistence false\n");
        std::fs::write(&config, text).unwrap();
        let launch = Launch::new("mosquitto")
            .args(["-v", "-c"])
            .args([config.display().to_string()])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let process = Process::start("mosquitto", launch, &directory.path().join("log"));
        let up = until(Duration::from_secs(60), "mosquitto to listen", async || {
            if !process.is_running() {
                return Some(false);
            }
            TcpStream::connect(address).is_ok().then_some(true)
        })
        .await;
        // Another program may hold the port and have answered for a mosquitto about to give up.
        let ours = up && {
            until(Duration::from_secs(60), "mosquitto to say it runs", async || {
                let log = process.log();
                (log.contains(" running") || !process.is_running()).then_some(())
            })
            .await;
            process.is_running()
        };
        ours.then_some(Self { address, _process: process, _directory: directory })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as the configuration files want it.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }
}

/// An address that nobody listened on a moment ago.
///
/// # Panics
/// When the loopback interface is missing.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
