//! A real mosquitto on a free port.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
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
    websocket: Option<SocketAddr>,
    process: Process,
    directory: TempDir,
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

    /// Starts one that browsers reach, too.
    ///
    /// # Panics
    /// When mosquitto does not come up.
    pub async fn start_for_browsers() -> Self {
        for _ in 0..TRIES {
            let directory = tempfile::tempdir().unwrap();
            if let Some(broker) = Self::open(directory, free_port(), Some(free_port())).await {
                return broker;
            }
        }
        panic!("mosquitto found no free ports in {TRIES} tries");
    }

    /// Starts a broker at `address`; `None` if that is taken.
    ///
    /// # Panics
    /// When mosquitto neither listens nor ends.
    pub async fn start_on(address: SocketAddr) -> Option<Self> {
        Self::open(tempfile::tempdir().unwrap(), address, None).await
    }

    async fn open(
        directory: TempDir,
        address: SocketAddr,
        websocket: Option<SocketAddr>,
    ) -> Option<Self> {
        let mut text = format!("listener {} {}\n", address.port(), address.ip());
        if let Some(browsers) = websocket {
            let _ = writeln!(text, "listener {} {}", browsers.port(), browsers.ip());
            text.push_str("protocol websockets\n");
        }
        text.push_str("allow_anonymous true\n");
        let process = mosquitto(directory.path(), &text, address).await?;
        Some(Self { address, websocket, process, directory })
    }

    /// Kills it, as a crash would.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Starts it again at the same ports after it has ended; it remembers nothing.
    ///
    /// # Panics
    /// When another program has taken a port meanwhile.
    pub async fn start_again(self) -> Self {
        let Self { address, websocket, directory, .. } = self;
        Self::open(directory, address, websocket).await.expect("its ports, still free")
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as the configuration files want it.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Its address as a browser wants it.
    ///
    /// # Panics
    /// When it was not started for browsers.
    pub fn websocket_url(&self) -> String {
        format!("ws://{}", self.websocket.expect("started for browsers"))
    }
}

/// Runs mosquitto with these settings; `None` if a port that it wants is taken. `address` is where
/// it is seen to listen.
///
/// # Panics
/// When it neither listens nor ends.
pub async fn mosquitto(directory: &Path, text: &str, address: SocketAddr) -> Option<Process> {
    let config = directory.join("mosquitto.conf");
    // A change of user, which root's mosquitto makes by itself, would take away the signal that
    // ends it with the test.
    std::fs::write(&config, format!("user root\npersistence false\n{text}")).unwrap();
    let log = directory.join("log");
    let _ = std::fs::remove_file(&log);
    let launch = Launch::new("mosquitto")
        .args(["-v", "-c"])
        .args([config.display().to_string()])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let process = Process::start("mosquitto", launch, &log);
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
    ours.then_some(process)
}

/// An address that nobody listened on a moment ago.
///
/// # Panics
/// When the loopback interface is missing.
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
