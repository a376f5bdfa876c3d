//! A box that nobody reaches: the real `appliance` and `collector` in namespaces of their own, with
//! the root, `/data` and CONFIG of a box. What is not real is `systemctl`, since systemd does not run
//! in a namespace, and CONFIG, which is a folder and not a FAT partition.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Launch, Process, binary};
use crate::until;

/// How long the box may take to be off.
const OFF: Duration = Duration::from_secs(60);

/// Starts the box's two daemons anew, and each again when it ends; all else is well.
const SYSTEMCTL: &str = r#"#!/bin/sh
if [ "$1" = --no-block ]; then
  shift
  setsid "$0" "$@" </dev/null >/dev/null 2>&1 &
  exit 0
fi
[ "$1" = restart ] || exit 0
shift
for unit; do
  pid=/run/$unit.pid
  if [ -f "$pid" ]; then
    kill "$(cat "$pid")"
    while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.1; done
  fi
  rm -f "$pid"
  case $unit in
    backrow-collector.service) set -- BIN/collector --config /run/backrow/site.toml ;;
    backrow-appliance.service) set -- BIN/appliance run --page-port 0 ;;
    *) continue ;;
  esac
  setsid sh -c 'echo $$ >/run/$0.pid
    trap "kill \$child; wait \$child; exit 0" TERM
    while :; do
      [ "$0" != backrow-collector.service ] || { rm -rf "$RUNTIME_DIRECTORY"; mkdir -p "$RUNTIME_DIRECTORY"; }
      "$@" >>"/var/log/$0" 2>&1 & child=$!
      echo $child >/var/$0.child
      wait $child
      sleep 0.5
    done' "$unit" "$@" </dev/null >/dev/null 2>&1 &
  until [ -f "$pid" ]; do sleep 0.1; done
done
"#;

/// The box's start.
const BOOT: &str = r#"#!/bin/sh
export PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin RUNTIME_DIRECTORY=/run/backrow-collector
BIN/appliance provision >>/var/log/provision 2>&1
systemctl restart backrow-collector.service backrow-appliance.service
# As the first process it takes care of those whose parents are gone.
while :; do sleep 600 & wait; done
"#;

/// Makes the box's root, and becomes its start. `$1` is its folder, `$2` where the programs are. It
/// must neither set this machine's clock nor take its port 80. A box knows its data partition by
/// another file system than the root's.
const ROOT: &str = r#"
set -e
mount --make-rprivate /
root=$1/root
for own in usr etc dev proc run root tmp opt data var/log "$2"; do mkdir -p "$root/$own"; done
for link in bin sbin lib lib64; do [ -L "$root/$link" ] || ln -s usr/$link "$root/$link"; done
mkdir -p "$1/etc" "$1/work" "$1/empty" "$1/data-work"
mount --rbind /usr "$root/usr"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" "$root/etc"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero full random urandom; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/dev/shm" "$root/dev/backrow/config"
mount --bind "$1/config" "$root/dev/backrow/config"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t overlay overlay -o "lowerdir=$1/empty,upperdir=$1/data,workdir=$1/data-work" "$root/data"
mount --rbind "$2" "$root/$2"
mount --bind "$1/programs" "$root/opt"
exec setpriv --bounding-set=-sys_time,-sys_boot,-net_bind_service chroot "$root" /opt/boot
"#;

/// A box.
#[derive(Debug)]
pub struct FarBox {
    directory: TempDir,
    process: Option<Process>,
}

impl FarBox {
    /// A box with these files on its CONFIG partition; it is off.
    ///
    /// # Panics
    /// When the files cannot be copied.
    pub fn flashed(config: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        for name in ["config", "data", "programs"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        for entry in std::fs::read_dir(config).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join("config").join(entry.file_name())).unwrap();
        }
        for (program, text) in [("systemctl", SYSTEMCTL), ("boot", BOOT)] {
            let file = folder.join("programs").join(program);
            std::fs::write(&file, text.replace("BIN", &programs())).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { directory, process: None }
    }

    /// Switches it on.
    ///
    /// # Panics
    /// When it cannot be started (root is needed).
    pub fn power_on(&mut self) {
        let folder = self.directory.path();
        let launch = Launch::new("unshare").args([
            "--mount",
            "--pid",
            "--uts",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            ROOT,
            "root",
            &folder.display().to_string(),
            &programs(),
        ]);
        self.process = Some(Process::start("box", launch, &folder.join("log")));
    }

    /// The power fails: everything on it ends at once.
    ///
    /// # Panics
    /// When it is off.
    pub async fn power_off(&mut self) {
        let daemon = self.path("var/backrow-appliance.service.child");
        let process = self.process.take().expect("a box that is on");
        process.kill().await;
        let _ = std::fs::remove_file(daemon);
        until(OFF, "the box to be off", async || (!process.is_running()).then_some(())).await;
    }

    /// Where a file of its `/var` is seen from outside.
    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("root").join(path)
    }

    /// The site that the box keeps.
    ///
    /// # Panics
    /// When it keeps none.
    pub fn site(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("data/backrow/site.toml")).unwrap()
    }

    /// The process that a daemon runs as, as long as it is not started anew.
    pub fn process_of(&self, unit: &str) -> Option<String> {
        std::fs::read_to_string(self.path(&format!("var/{unit}.child"))).ok()
    }

    /// What all of it logged, for who looks into a failure.
    pub fn log(&self) -> String {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let own = read(self.directory.path().join("log"));
        let of = |name: &str| read(self.path(&format!("var/log/{name}")));
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        format!(
            "{own}\n--- provision\n{}\n--- collector\n{}\n--- appliance\n{}",
            tail(of("provision")),
            tail(of("backrow-collector.service")),
            tail(of("backrow-appliance.service"))
        )
    }
}

impl Drop for FarBox {
    fn drop(&mut self) {
        // `unshare` waits for its child whatever it is told; killed, it takes all of them along.
        if let Some(process) = &self.process {
            process.signal(Signal::KILL);
        }
    }
}

fn programs() -> String {
    binary("appliance").parent().unwrap().display().to_string()
}
