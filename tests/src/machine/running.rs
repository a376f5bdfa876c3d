//! A machine that runs, and what a person in the venue can do to it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::blocklog::BlockLog;
use super::disk::Disk;
use super::grabber::Grabber;
use super::qmp::{Qmp, forwards};
use super::setup::{Fault, Setup};
use super::{patience, qemu};
use crate::broker::free_port;
use crate::process::{Launch, Process};
use crate::{encoder, tool, until};

/// The machine that runs the test, as the box sees it.
pub const HOST: &str = "10.0.2.2";

/// How long a boot may take until ssh answers.
const BOOT: u64 = 420;

/// A machine; its QEMU is ended when it goes out of scope, and nothing else.
#[derive(Debug)]
pub struct Machine {
    setup: Setup,
    disk: Disk,
    key: SshKey,
    grabber: Option<Grabber>,
    power: Option<Power>,
    directory: TempDir,
}

/// What there is while the machine is on.
#[derive(Debug)]
struct Power {
    qmp: Qmp,
    process: Process,
    ssh: u16,
    http: u16,
}

/// The public half of the test's key, to be put into `site.toml`, and the private one.
#[derive(Debug, Clone)]
pub struct SshKey {
    private: PathBuf,
    public: String,
}

impl Machine {
    /// A machine with a new disk, switched off. `site` gets the test's ssh key to put into the file.
    ///
    /// # Panics
    /// When the disk cannot be made.
    pub async fn new(setup: Setup, site: impl FnOnce(&str) -> Option<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::over(&setup.image, directory.path()).await;
        Self::with_disk(setup, disk, directory, site).await
    }

    /// A machine with this disk, which is under `directory`, switched off.
    ///
    /// # Panics
    /// When the files do not fit.
    pub async fn with_disk(
        mut setup: Setup,
        disk: Disk,
        directory: TempDir,
        site: impl FnOnce(&str) -> Option<String>,
    ) -> Self {
        let key = SshKey::make(directory.path()).await;
        if let Some(site) = site(&key.public) {
            setup = setup.with_site(site);
        }
        let files = std::mem::take(&mut setup.config);
        let files: Vec<_> = files.iter().map(|(name, it)| (name.as_str(), it.as_slice())).collect();
        disk.write_config(&files).await;
        let grabber = setup.grabber.then(|| Grabber::at(&directory.path().join("grabber")));
        if setup.kernel.is_none() {
            qemu::variables(setup.processor, directory.path());
        }
        Self { setup, disk, key, grabber, power: None, directory }
    }

    /// Its disk; only to be touched while it is off.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The public key that may log in.
    pub fn key(&self) -> &str {
        &self.key.public
    }

    /// Its USB grabber.
    ///
    /// # Panics
    /// When it has none.
    pub fn grabber(&self) -> &Grabber {
        self.grabber.as_ref().expect("a machine set up with a grabber")
    }

    /// Files of the test beside the machine's.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Changes what it is made of; it must be off.
    ///
    /// # Panics
    /// When it is on.
    pub fn rebuild(&mut self, change: impl FnOnce(Setup) -> Setup) {
        assert!(self.power.is_none(), "the machine is on");
        self.setup = change(self.setup.clone());
    }

    /// Whether the host's servers of [`Setup::with_server`] are there; at first they are not.
    ///
    /// # Panics
    /// When the file that says so cannot be written.
    pub fn outside(&self, there: bool) {
        let file = self.directory().join(qemu::OUTSIDE);
        if there { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }

    /// Switches it on; it begins to boot.
    ///
    /// # Panics
    /// When QEMU does not start.
    pub async fn start(&mut self) {
        assert!(self.power.is_none(), "the machine is on");
        let directory = self.directory.path();
        let _ = std::fs::remove_file(directory.join("qmp"));
        qemu::server(directory);
        let args = qemu::arguments(&self.setup, &self.disk, directory);
        let program = qemu::program(self.setup.processor);
        let process = Process::start("QEMU", Launch::new(program).args(args), &self.qemu_log());
        let socket = directory.join("qmp");
        until(patience(60), "QEMU to start", async || {
            assert!(process.is_running(), "QEMU ended at once:\n{}", process.tail());
            socket.exists().then_some(())
        })
        .await;
        let mut qmp = Qmp::connect(&socket).await;
        if !self.setup.cable {
            qmp.run("set_link", json!({ "name": "nic", "up": false })).await;
        }
        if self.setup.uplink {
            qmp.run("set_link", json!({ "name": "uplink", "up": false })).await;
        }
        let ports = forwards(&qmp.human("info usernet").await);
        let port = |inside: u16| {
            let found = ports.iter().find(|(guest, _)| *guest == inside);
            found.unwrap_or_else(|| panic!("QEMU forwards no port {inside}: {ports:?}")).1
        };
        let (ssh, http) = (port(22), port(80));
        self.power = Some(Power { qmp, process, ssh, http });
    }

    /// Switches it on, and waits until ssh answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn boot(&mut self) {
        self.start().await;
        self.up().await;
    }

    /// Waits until ssh answers.
    ///
    /// # Panics
    /// When it does not, or QEMU ends.
    pub async fn up(&self) {
        until(patience(BOOT), "the box to answer by ssh", async || {
            assert!(self.is_on(), "QEMU ended while the box was booting");
            self.try_ssh("true").await.is_ok_and(|output| output.status.success()).then_some(())
        })
        .await;
    }

    /// Whether QEMU runs.
    pub fn is_on(&self) -> bool {
        self.power.as_ref().is_some_and(|power| power.process.is_running())
    }

    fn power(&self) -> &Power {
        self.power.as_ref().expect("a machine that is on")
    }

    /// The monitor.
    ///
    /// # Panics
    /// When it is off.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.power.as_mut().expect("a machine that is on").qmp
    }

    /// How often QEMU told of this since it was started.
    pub fn told(&self, event: &str) -> usize {
        self.power().qmp.count(event)
    }

    /// A port here that leads to this one of the machine, until it is switched off.
    ///
    /// # Panics
    /// When QEMU opens none.
    pub async fn forward(&mut self, inside: u16) -> u16 {
        let to = self.setup.address.clone();
        let said =
            self.qmp().human(&format!("hostfwd_add net tcp:127.0.0.1:0-{to}:{inside}")).await;
        let ports = forwards(&self.qmp().human("info usernet").await);
        let found = ports.iter().find(|(guest, _)| *guest == inside);
        found.unwrap_or_else(|| panic!("QEMU forwards no port {inside}: {said} {ports:?}")).1
    }

    /// A free port here that leads to the port of the same number of the machine, until it is
    /// switched off: for what has one URL inside and outside.
    ///
    /// # Panics
    /// When none can be had.
    pub async fn forward_same(&mut self) -> u16 {
        let to = self.setup.address.clone();
        self.forward_to(&to, None).await
    }

    /// A port here that leads to this one of another address in the machine's network, until it is
    /// switched off; without one, to that of the same number.
    ///
    /// # Panics
    /// When none can be had.
    pub async fn forward_to(&mut self, address: &str, inside: Option<u16>) -> u16 {
        for _ in 0..5 {
            let port = free_port().port();
            let inside = inside.unwrap_or(port);
            let rule = format!("hostfwd_add net tcp:127.0.0.1:{port}-{address}:{inside}");
            if self.qmp().human(&rule).await.is_empty() {
                return port;
            }
        }
        panic!("QEMU found no free port");
    }

    /// The private key that may log in, as a file.
    pub fn private_key(&self) -> &Path {
        &self.key.private
    }

    /// The port here that leads to its sshd.
    ///
    /// # Panics
    /// When it is off.
    pub fn ssh_port(&self) -> u16 {
        self.power().ssh
    }

    async fn try_ssh(&self, command: &str) -> Result<Output, String> {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=30"])
            .args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8"])
            .arg("-i")
            .arg(&self.key.private)
            .args(["-p", &self.power().ssh.to_string(), "root@127.0.0.1", command])
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        match timeout(patience(300), ssh.output()).await {
            Ok(output) => output.map_err(|error| format!("ssh could not be run: {error}")),
            Err(_) => Err("ssh took for ever".to_owned()),
        }
    }

    /// Runs a command on the box as root; its exit status, standard output and error.
    ///
    /// # Panics
    /// When the box cannot be reached.
    pub async fn run(&self, command: &str) -> (i32, String, String) {
        let output = self.try_ssh(command).await.unwrap_or_else(|e| panic!("{command}: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command on the box as root, and returns what it put out.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ssh(&self, command: &str) -> String {
        let (status, out, err) = self.run(command).await;
        assert_eq!(status, 0, "on the box, `{command}` failed:\n{out}\n{err}");
        out
    }

    /// Waits until a command on the box succeeds, and returns what it put out.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ssh_until(&self, seconds: u64, what: &str, command: &str) -> String {
        until(patience(seconds), what, async || {
            let output = self.try_ssh(command).await.ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        })
        .await
    }

    /// Copies a file to the box.
    ///
    /// # Panics
    /// When it does not arrive.
    pub async fn copy(&self, file: &Path, to: &str) {
        let script = format!(
            "ssh -F none -o BatchMode=yes -o LogLevel=ERROR -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -i '{}' -p {} root@127.0.0.1 \
             'cat > {to}' < '{}'",
            self.key.private.display(),
            self.power().ssh,
            file.display()
        );
        let copied = tool::output_within(patience(300), "sh", &["-c", &script]).await;
        let said = String::from_utf8_lossy(&copied.stderr);
        assert!(copied.status.success(), "{} did not arrive: {said}", file.display());
    }

    /// A page of the box, when it answers 200.
    pub async fn page(&self, path: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.power().http);
        let answer = encoder::client().get(url).timeout(patience(30)).send().await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())?;
        answer.text().await.ok()
    }

    /// Where the box's port 80 is.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.power().http)
    }

    /// Pulls the network cable, or puts it in.
    ///
    /// # Panics
    /// When QEMU refuses.
    pub async fn cable(&mut self, up: bool) {
        self.qmp().run("set_link", json!({ "name": "nic", "up": up })).await;
    }

    /// Plugs the second network card in.
    ///
    /// # Panics
    /// When QEMU refuses.
    pub async fn plug_uplink(&mut self) {
        self.qmp().run("set_link", json!({ "name": "uplink", "up": true })).await;
    }

    /// Takes a picture of the screen, a PNG.
    ///
    /// # Panics
    /// When QEMU refuses.
    pub async fn photograph(&mut self, to: &Path) {
        self.qmp().run("screendump", json!({ "filename": to, "format": "png" })).await;
    }

    /// Presses the power button, and waits until it is off.
    ///
    /// # Panics
    /// When it stays on.
    pub async fn shut_down(&mut self) {
        self.qmp().run("system_powerdown", json!({})).await;
        self.ended(patience(180)).await;
    }

    /// Waits until QEMU has ended, after the box switched itself off.
    ///
    /// # Panics
    /// When it has not.
    pub async fn ended(&mut self, deadline: Duration) {
        let power = self.power.take().expect("a machine that is on");
        power.process.exit(deadline).await;
    }

    /// Pulls the mains plug.
    ///
    /// # Panics
    /// When it is off.
    pub async fn cut_power(&mut self) {
        let power = self.power.take().expect("a machine that is on");
        power.process.kill().await;
    }

    /// Waits until it has been reset this many times since it was switched on.
    ///
    /// # Panics
    /// When it has not.
    pub async fn resets(&self, count: usize, seconds: u64) {
        let what = format!("reset number {count} of the machine");
        until(patience(seconds), &what, async || (self.told("RESET") >= count).then_some(())).await;
    }

    /// What came over the serial line since the machine was made.
    pub fn serial(&self) -> String {
        let log = std::fs::read(self.directory.path().join("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The log of its disk's writes, once it is off.
    ///
    /// # Panics
    /// When it was not set up with one.
    pub fn block_log(&self) -> BlockLog {
        let Some(Fault::Logged(log)) = &self.setup.fault else { panic!("no log of writes") };
        BlockLog::open(log).unwrap_or_else(|error| panic!("{error}"))
    }

    fn qemu_log(&self) -> PathBuf {
        self.directory.path().join("qemu.log")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let serial = self.serial();
            let lines: Vec<_> = serial.lines().collect();
            let tail = &lines[lines.len().saturating_sub(80)..];
            eprintln!("--- end of the serial line:\n{}\n---", tail.join("\n"));
            if let Some(keep) = std::env::var_os("BACKROW_KEEP") {
                let _ = std::fs::write(Path::new(&keep).join("serial.log"), &serial);
            }
        }
    }
}

impl SshKey {
    async fn make(directory: &Path) -> Self {
        let private = directory.join("ssh-key");
        if !private.exists() {
            let file = private.display().to_string();
            let line = ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", &file];
            tool::run("ssh-keygen", &line).await;
        }
        let public = std::fs::read_to_string(directory.join("ssh-key.pub")).unwrap();
        Self { private, public: public.trim().to_owned() }
    }
}
