//! A socket in a venue's wall that wants a login (802.1X): a real hostapd with accounts of its own at
//! one end of a cable, and at the other the real wpa_supplicant, as the box starts it.
//!
//! Both ends are in one namespace: a bridge in between would keep to itself what the two say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Launch, Process};
use crate::secure_broker::certificates;
use crate::venue::Venue;
use crate::{tool, until};

/// The box's end of the cable.
pub const BOX: &str = "eth0";
/// The account's name; also that of a certificate with its key.
pub const IDENTITY: &str = "box-7";
/// How long a login may take; each side asks again after seconds.
pub const SOON: Duration = Duration::from_secs(60);

const SWITCH: &str = "switch";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The socket.
#[derive(Debug)]
pub struct Socket {
    switch: Process,
    directory: TempDir,
    venue: Venue,
}

impl Socket {
    /// Installs one that lets in the account with this password, by every method, and who has a
    /// certificate of its own authority.
    ///
    /// # Panics
    /// When hostapd does not start.
    pub async fn start(password: &str) -> Self {
        let venue = Venue::open().await;
        for line in [
            &["link", "add", SWITCH, "type", "veth", "peer", "name", BOX][..],
            &["link", "set", SWITCH, "up"],
            &["link", "set", BOX, "up"],
        ] {
            assert!(venue.operate("ip", line).await.status.success(), "ip {line:?}");
        }
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path();
        certificates(there, &[IDENTITY]).await;
        // A password without quotes is in hexadecimal.
        let password: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
        let accounts = format!(
            "* PEAP,TTLS,TLS\n\"{IDENTITY}\" MSCHAPV2,TTLS-PAP,TTLS-MSCHAPV2 {password} [2]\n"
        );
        std::fs::write(there.join("accounts"), accounts).unwrap();
        let at = there.display();
        let text = format!(
            "interface={SWITCH}\ndriver=wired\nlogger_stdout=-1\nctrl_interface={at}/control\n\
             ieee8021x=1\neap_server=1\neap_user_file={at}/accounts\n\
             ca_cert={at}/ca.pem\nserver_cert={at}/server.pem\nprivate_key={at}/server.key\n"
        );
        let config = there.join("hostapd.conf");
        std::fs::write(&config, text).unwrap();
        let (ip, mut args) = venue.as_operator("hostapd");
        args.push(config.display().to_string());
        let launch = Launch::new(ip).args(args).env("PATH", PATH);
        let switch = Process::start("hostapd", launch, &there.join("log"));
        until(SOON, "hostapd to be ready", async || {
            assert!(switch.is_running(), "hostapd ended at once:\n{}", switch.tail());
            switch.log().contains("AP-ENABLED").then_some(())
        })
        .await;
        Self { switch, directory, venue }
    }

    /// A file of its authority: `ca.pem`, `box-7.pem`, `box-7.key`.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).unwrap()
    }

    /// Plugs in a box that runs this command.
    pub fn plug(&self, command: &[String]) -> Supplicant {
        Supplicant::start(&self.venue, BOX, command)
    }

    /// Whether it lets the box through.
    pub async fn lets_through(&self) -> bool {
        let control = self.directory.path().join("control").display().to_string();
        let stations = tool::run("hostapd_cli", &["-p", &control, "-i", SWITCH, "all_sta"]).await;
        String::from_utf8_lossy(&stations).contains("[AUTHORIZED]")
    }

    /// What it logged, for who looks into a failure.
    pub fn log(&self) -> String {
        self.switch.tail()
    }
}

/// A running wpa_supplicant.
#[derive(Debug)]
pub struct Supplicant {
    process: Process,
    interface: String,
    directory: TempDir,
}

impl Supplicant {
    /// Starts it by this command, for this interface of the venue's. It is asked through a control socket
    /// of its own, not of the configuration's.
    pub fn start(venue: &Venue, interface: &str, command: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [program, rest @ ..] = command else { panic!("an empty command") };
        let (ip, mut args) = venue.as_operator(program);
        args.extend(rest.iter().cloned());
        args.push(format!("-g{}", control(directory.path()).display()));
        let launch = Launch::new(ip).args(args);
        let process = Process::start("wpa_supplicant", launch, &directory.path().join("log"));
        Self { process, interface: interface.into(), directory }
    }

    /// What it answers to `wpa_cli` with these words; nothing until it runs.
    ///
    /// # Panics
    /// When it has ended.
    pub async fn ask(&self, words: &[&str]) -> Option<String> {
        let running = self.process.is_running();
        assert!(running, "wpa_supplicant has ended:\n{}", self.process.tail());
        let socket = control(self.directory.path()).display().to_string();
        let interface = format!("IFNAME={}", self.interface);
        let args = [&["-g", &socket, &interface], words].concat();
        let output = tool::output("wpa_cli", &args).await;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !said.starts_with("FAIL")).then_some(said)
    }

    /// Waits until it is let in, and gives what it says of that.
    ///
    /// # Panics
    /// When it is not.
    pub async fn logged_in(&self) -> String {
        until(SOON, "the box to be logged in", async || {
            let status = self.ask(&["status"]).await?;
            status.contains("suppPortStatus=Authorized").then_some(status)
        })
        .await
    }

    /// Waits until it is refused, or refuses; gives its log.
    ///
    /// # Panics
    /// When that does not come, or it is let in.
    pub async fn refused(&self) -> String {
        until(SOON, "the login to be refused", async || {
            let log = self.process.log();
            assert!(!log.contains("CTRL-EVENT-EAP-SUCCESS"), "it is logged in:\n{log}");
            log.contains("CTRL-EVENT-EAP-FAILURE").then_some(log)
        })
        .await
    }
}

fn control(directory: &Path) -> PathBuf {
    directory.join("control")
}
