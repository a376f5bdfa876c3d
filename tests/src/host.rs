//! Machines to push to: each is a real sshd with a root of its own, in its own mount, process and network
//! namespaces, and the real daemons started there. The one thing that is not real is `systemctl`,
//! since systemd does not run in a namespace: a script starts, restarts and looks at the daemons.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::process::{Launch, Process, binary, children};
use crate::venue::Venue;
use crate::{tool, until};

/// How long a machine may take to come up.
const UP: Duration = Duration::from_secs(60);

/// Starts, restarts and looks at a daemon; a stand-in's arguments are those of `systemctl`.
const SYSTEMCTL: &str = r#"#!/bin/sh
verb=$1
unit=$2
pid=/run/$unit.pid
case $unit in
  backrow-encoder.service) set -- BIN/encoder --config /etc/backrow/encoder.toml ;;
  backrow-collector.service) set -- BIN/collector --config /etc/backrow/site.toml ;;
  mosquitto.service)
    echo "include_dir /etc/mosquitto/conf.d" >/run/mosquitto.conf
    set -- /usr/sbin/mosquitto -c /run/mosquitto.conf ;;
  *) echo "Unit $unit not found." >&2; exit 5 ;;
esac
case $verb in
  restart)
    if [ -f "$pid" ]; then
      kill "$(cat "$pid")"
      while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.1; done
    fi
    rm -f "/var/$unit.child"
    setsid sh -c 'log=/var/log/$0; echo $$ >/run/$0.pid
      trap "kill \$child; wait \$child; exit 0" TERM
      while :; do
        "$@" >>"$log" 2>&1 & child=$!
        echo $child >/var/$0.child
        wait $child
        sleep 0.5
      done' "$unit" "$@" </dev/null >/dev/null 2>&1 &
    until [ -f "/var/$unit.child" ]; do sleep 0.1; done
    ;;
  is-active)
    if kill -0 "$(cat "/var/$unit.child" 2>/dev/null)" 2>/dev/null; then echo active
    else echo activating; exit 3; fi
    ;;
  *) exit 1 ;;
esac
"#;

/// `mv`; but where `/etc/power-fails` has a number, the machine comes to a stand before so many
/// things are moved, and waits there for its end.
const MV: &str = r#"#!/bin/sh
if [ -f /etc/power-fails ]; then
  n=$(($(cat /var/moved 2>/dev/null || echo 0) + 1))
  echo $n >/var/moved
  if [ $n = "$(cat /etc/power-fails)" ]; then touch /var/stands-still; sleep 600; fi
fi
exec /usr/bin/mv "$@"
"#;

/// Makes the machine's root, and becomes its sshd. `$1` is its folder, `$2` what else has to be
/// seen there, `$3` the size of a small disk, `$4` what plugs in its network.
const ROOT: &str = r#"
set -e
mount --make-rprivate /
eval "$4"
root=$1/root
for own in usr etc dev proc run root tmp opt "$2"; do mkdir -p "$root/$own"; done
for link in bin sbin lib lib64; do [ -L "$root/$link" ] || ln -s usr/$link "$root/$link"; done
mkdir -p "$1/etc" "$1/work" "$root/var/log" "$root/var/lib"
mount --rbind /usr "$root/usr"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" "$root/etc"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount --bind /root "$root/root"
mount --rbind "$2" "$root/$2"
mount --bind "$1/programs" "$root/opt"
mkdir -p "$root/run/sshd" "$root/etc/backrow" "$root/var/lib/backrow-push"
if [ -n "$3" ]; then
  mkdir -p "$1/small"
  mount -t tmpfs -o "size=$3" tmpfs "$1/small"
  mkdir -p "$1/small/etc" "$1/small/state"
  mount --bind "$1/small/etc" "$root/etc/backrow"
  mount --bind "$1/small/state" "$root/var/lib/backrow-push"
  mkdir -p "$root/small"
  mount --bind "$1/small" "$root/small"
fi
cp "$1/sshd_config" "$1/host_key" "$1/authorized_keys" "$root/run/"
exec chroot "$root" /usr/sbin/sshd -D -e -f /run/sshd_config
"#;

/// Machines that one ssh configuration knows, on one network.
#[derive(Debug)]
pub struct Hosts {
    directory: TempDir,
    // Before the network: a machine's link is in it.
    hosts: Vec<Host>,
    venue: Arc<Venue>,
}

/// One of them.
#[derive(Debug)]
pub struct Host {
    name: String,
    folder: PathBuf,
    number: usize,
    venue: Arc<Venue>,
    small_disk: Option<&'static str>,
    process: Option<Process>,
}

impl Hosts {
    /// Starts machines of these names; some with a disk of so many bytes.
    ///
    /// # Panics
    /// When they do not come up (root is needed, and openssh-server).
    pub async fn start(names: &[(&str, Option<&'static str>)]) -> Self {
        Self::start_with(names, SYSTEMCTL).await
    }

    /// The same, with another `systemctl`.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start_with(
        names: &[(&str, Option<&'static str>)],
        systemctl: &'static str,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for key in ["host_key", "user_key"] {
            let file = path.join(key).display().to_string();
            tool::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &file]).await;
        }
        let public = std::fs::read_to_string(path.join("host_key.pub")).unwrap();
        let venue = Arc::new(Venue::open().await);
        let mut config = format!(
            "Host *\n  User root\n  IdentityFile {0}/user_key\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile {0}/known_hosts\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
            path.display()
        );
        let mut known = String::new();
        let mut hosts: Vec<Host> = Vec::new();
        for (number, (name, small_disk)) in names.iter().enumerate() {
            let address = Venue::address(number);
            let _ = write!(config, "Host {name}\n  HostName {address}\n  HostKeyAlias {name}\n");
            let _ = writeln!(known, "{name} {}", public.trim());
            let folder = path.join(name);
            std::fs::create_dir_all(folder.join("programs")).unwrap();
            for key in ["host_key", "user_key.pub"] {
                let to = if key == "host_key" { key } else { "authorized_keys" };
                std::fs::copy(path.join(key), folder.join(to)).unwrap();
            }
            let programs = binary("encoder").parent().unwrap().display().to_string();
            for (program, text) in [("systemctl", systemctl), ("mv", MV)] {
                let file = folder.join("programs").join(program);
                std::fs::write(&file, text.replace("BIN", &programs)).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            let sshd = format!(
                "ListenAddress {address}\nHostKey /run/host_key\nAuthorizedKeysFile \
                 /run/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
                 PidFile none\nSubsystem sftp /usr/lib/openssh/sftp-server\nSetEnv PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin\n"
            );
            std::fs::write(folder.join("sshd_config"), sshd).unwrap();
            hosts.push(Host {
                name: (*name).to_owned(),
                folder,
                number,
                venue: Arc::clone(&venue),
                small_disk: *small_disk,
                process: None,
            });
        }
        std::fs::write(path.join("config"), config).unwrap();
        std::fs::write(path.join("known_hosts"), known).unwrap();
        for host in &mut hosts {
            host.power_on();
        }
        for host in &hosts {
            host.up().await;
        }
        Self { directory, hosts, venue }
    }

    /// The network.
    pub fn venue(&self) -> Arc<Venue> {
        Arc::clone(&self.venue)
    }

    /// The ssh configuration that knows them.
    pub fn ssh_config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    /// All of them.
    pub fn all(&self) -> &[Host] {
        &self.hosts
    }

    /// One by its name, to look at.
    ///
    /// # Panics
    /// When there is none.
    pub fn of(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).expect("a host of this name")
    }

    /// One by its name.
    ///
    /// # Panics
    /// When there is none.
    pub fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.name == name).expect("a host of this name")
    }
}

impl Host {
    /// Switches it on. What is in `/etc` and `/var` is as it was.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn power_on(&mut self) {
        let programs = binary("encoder");
        let programs = programs.parent().unwrap().display().to_string();
        let launch = Launch::new("unshare").args([
            "--mount",
            "--pid",
            "--net",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            ROOT,
            "root",
            &self.folder.display().to_string(),
            &programs,
            self.small_disk.unwrap_or_default(),
            &self.venue.plug(self.number),
        ]);
        self.process = Some(Process::start(&self.name, launch, &self.folder.join("log")));
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub async fn up(&self) {
        until(UP, &format!("{} to answer", self.name), async || self.answers().await.then_some(()))
            .await;
    }

    /// The power fails: everything on it ends at once.
    ///
    /// # Panics
    /// When it is off.
    pub async fn power_off(&mut self) {
        let process = self.process.take().expect("a machine that is on");
        process.kill().await;
        // Its processes go with its first one, a moment after it.
        until(UP, &format!("{} to be off", self.name), async || {
            (!self.answers().await).then_some(())
        })
        .await;
    }

    async fn answers(&self) -> bool {
        let connect = format!("exec 3<>/dev/tcp/{}/22", self.address());
        let args = ["2", "bash", "-c", &connect];
        self.venue.operate("timeout", &args).await.status.success()
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        Venue::address(self.number)
    }

    /// Where a file of its `/etc` or `/var` is seen from outside; of `/etc`, only what differs from
    /// this machine's own.
    pub fn path(&self, path: &str) -> PathBuf {
        match path.strip_prefix("/etc/") {
            Some(below) => self.folder.join("etc").join(below),
            None => self.folder.join("root").join(path.trim_start_matches('/')),
        }
    }

    /// Removes a file of its `/etc` while it is off.
    pub fn forget(&self, path: &str) {
        let _ = std::fs::remove_file(self.path(path));
    }

    /// Runs a shell script on it, over ssh as an operator would.
    ///
    /// # Panics
    /// When ssh cannot be started.
    pub async fn shell(&self, script: &str) -> Output {
        let config = self.folder.with_file_name("config").display().to_string();
        let args = ["-F", &config, "-o", "BatchMode=yes", &self.name, script];
        self.venue.operate("ssh", &args).await
    }

    /// What a file of its `/etc` or `/var` has in it, if it differs from this machine's own.
    pub async fn text(&self, path: &str) -> Option<String> {
        if self.small_disk.is_none() {
            return std::fs::read_to_string(self.path(path)).ok();
        }
        // The small disk is mounted where only the machine itself sees it.
        let output = self.shell(&format!("cat {path}")).await;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The names of the files in a folder of its `/etc`.
    pub async fn names(&self, folder: &str) -> Vec<String> {
        if self.small_disk.is_none() {
            let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
            return entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        }
        let output = self.shell(&format!("ls -A {folder}")).await;
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Its sshd.
    ///
    /// # Panics
    /// When it is off.
    pub fn sshd(&self) -> Pid {
        let unshare = self.process.as_ref().expect("a machine that is on").pid();
        *children(unshare).first().expect("its first process")
    }

    /// The process that a daemon runs as, as long as it is not started anew.
    pub fn process_of(&self, unit: &str) -> Option<String> {
        std::fs::read_to_string(self.path(&format!("/var/{unit}.child"))).ok()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // `unshare` waits for its child whatever it is told; killed, it takes all of them along.
        if let Some(process) = &self.process {
            process.signal(Signal::KILL);
        }
    }
}
