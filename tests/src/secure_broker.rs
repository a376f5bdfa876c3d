//! The broker as it ships: `deploy/broker` with a certificate authority of its own, and what its
//! clients need. Clients are mosquitto's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::broker::{free_port, mosquitto};
use crate::process::{Launch, Process};
use crate::tool;

/// Where the configuration says its files are.
const PLACE: &str = "/etc/mosquitto/backrow";
/// Tries at three free ports.
const TRIES: usize = 5;

/// A running broker.
#[derive(Debug)]
pub struct SecureBroker {
    /// For devices and operators, by certificate.
    pub devices: SocketAddr,
    /// For browsers, by password.
    pub browsers: SocketAddr,
    /// For browsers, by certificate.
    pub certified_browsers: SocketAddr,
    _process: Process,
    directory: TempDir,
}

impl SecureBroker {
    /// Starts it, with a certificate for each of `names` and a password for each of `users`.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(names: &[&str], users: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let there = directory.path();
        certificates(there, names).await;
        std::fs::write(there.join("acl"), include_str!("../../deploy/broker/acl")).unwrap();
        let file = there.join("passwords").display().to_string();
        for (index, (user, password)) in users.iter().enumerate() {
            let create: &[&str] = if index == 0 { &["-c"] } else { &[] };
            let args = [create, &["-b", file.as_str(), *user, *password]].concat();
            tool::run("mosquitto_passwd", &args).await;
        }
        let shipped = concat!(
            include_str!("../../deploy/broker/mosquitto.conf"),
            include_str!("../../deploy/broker/browsers.conf")
        );
        for _ in 0..TRIES {
            let [devices, browsers, certified_browsers] = [(); 3].map(|()| free_port());
            let mut text = shipped.replace(PLACE, &there.display().to_string());
            for (port, at) in [(8883, devices), (8084, browsers), (8085, certified_browsers)] {
                let listener = format!("listener {port}");
                assert!(text.contains(&listener), "{listener} is not in the configuration");
                text = text.replace(&listener, &format!("listener {} {}", at.port(), at.ip()));
            }
            if let Some(process) = mosquitto(there, &text, devices).await {
                return Self {
                    devices,
                    browsers,
                    certified_browsers,
                    _process: process,
                    directory,
                };
            }
        }
        panic!("mosquitto found no free ports in {TRIES} tries");
    }

    /// A file of the authority: `ca.pem`, `{name}.pem`, `{name}.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The lines of a device's `[mqtt]` table.
    pub fn table(&self, name: &str) -> String {
        format!(
            "[mqtt]\nurl = \"mqtts://{}\"\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
            self.devices,
            self.file("ca.pem"),
            self.file(&format!("{name}.pem")),
            self.file(&format!("{name}.key")),
        )
    }

    /// Arguments that make one of mosquitto's clients come as `name`.
    fn come_as(&self, name: &str) -> Vec<String> {
        let file = |it: &str| self.file(it).display().to_string();
        let port = self.devices.port().to_string();
        let (pem, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        let ca = file("ca.pem");
        ["-V", "5", "-h", "127.0.0.1", "-p", &port, "--cafile", &ca, "--cert", &pem, "--key", &key]
            .map(str::to_owned)
            .to_vec()
    }

    /// Publishes as `name`, and keeps it; gives what the client said, which is nothing when the
    /// broker took it.
    pub async fn publish(&self, name: &str, topic: &str, message: &str) -> String {
        let mut args = self.come_as(name);
        args.extend(["-q", "1", "-r", "-t", topic, "-m", message].map(str::to_owned));
        let Output { stdout, stderr, .. } = tool::output("mosquitto_pub", &args).await;
        String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
    }

    /// Hears everything that `name` may hear, below each of `filters`.
    pub fn listen(&self, name: &str, filters: &[&str]) -> Hearing {
        let mut args = self.come_as(name);
        args.extend(["-q", "1", "-v", "-d"].map(str::to_owned));
        for filter in filters {
            args.extend(["-t", filter].map(str::to_owned));
        }
        let arguments = ["-oL".to_owned(), "mosquitto_sub".to_owned()].into_iter().chain(args);
        let log = self.directory.path().join(format!("heard-by-{name}"));
        let launch = Launch::new("stdbuf").killed().args(arguments);
        Hearing(Process::start("mosquitto_sub", launch, &log))
    }
}

/// A client that hears.
#[derive(Debug)]
pub struct Hearing(Process);

impl Hearing {
    /// Whether it is subscribed.
    pub fn is_subscribed(&self) -> bool {
        self.0.log().contains("Subscribed")
    }

    /// Whether it has heard this message on this topic.
    pub fn heard(&self, topic: &str, message: &str) -> bool {
        let line = format!("{topic} {message}");
        self.0.log().lines().any(|it| it == line)
    }

    /// Whether it has heard anything on this topic that has `part` in it.
    pub fn heard_part(&self, topic: &str, part: &str) -> bool {
        let start = format!("{topic} ");
        self.0.log().lines().any(|it| it.starts_with(&start) && it.contains(part))
    }
}

/// Makes an authority (`ca.pem`), a certificate for a server on this machine (`server.pem` and
/// `server.key`), and one for each name.
pub(crate) async fn certificates(there: &Path, names: &[&str]) {
    let openssl = async |line: &str| {
        let args: Vec<String> = line
            .split_whitespace()
            .map(|word| match word.strip_prefix('@') {
                Some(name) => there.join(name).display().to_string(),
                None => word.to_owned(),
            })
            .collect();
        tool::run("openssl", &args).await;
    };
    let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    std::fs::write(there.join("extensions"), extensions).unwrap();
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {new} -days 2 -subj /CN=authority -keyout @ca.key -out @ca.pem"))
        .await;
    for name in ["server"].iter().chain(names) {
        openssl(&format!("req -new {new} -subj /CN={name} -keyout @{name}.key -out @{name}.csr"))
            .await;
        openssl(&format!(
            "x509 -req -in @{name}.csr -CA @ca.pem -CAkey @ca.key -CAcreateserial -days 2 \
             -extfile @extensions -out @{name}.pem"
        ))
        .await;
    }
}
