//! The machine, from its first start on. What a provider gives it beside its disk is a volume for
//! cloud-init (the `NoCloud` source): its name, the key that may log in, where packages come from, and
//! the user data of whoever rents it.

use std::path::{Path, PathBuf};

use backrow_tests::machine::{Kernel, Machine, Setup, Stopwatch, patience};
use backrow_tests::{tool, until};

use crate::mirror::Mirror;

/// Where Caddy keeps the certificate of an authority of its own.
const AUTHORITY: &str = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt";

/// What `make rented-test` has made.
pub(crate) fn made(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/rented").join(name);
    assert!(path.exists(), "{} is missing; `make rented-test` makes it", path.display());
    path.canonicalize().unwrap()
}

/// The encoder's package.
pub(crate) fn package() -> PathBuf {
    let entries = std::fs::read_dir(made("packages")).unwrap();
    let mut found = entries.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("backrow-encoder_") && name.ends_with(".deb")
    });
    found.next().expect("the encoder's package")
}

/// A rented machine.
pub(crate) struct Rented {
    pub(crate) machine: Machine,
    pub(crate) watch: Stopwatch,
}

impl Rented {
    /// Starts a new one with this user data, and waits until cloud-init has done all it was told.
    pub(crate) async fn start(mirror: &Mirror, user_data: &str) -> Self {
        let kernel = Kernel {
            image: made("kernel"),
            initrd: made("initrd"),
            command_line: "root=LABEL=rented ro console=ttyS0".into(),
        };
        let setup = Setup::computer(made("debian.img"), kernel, 2048);
        let mut machine = Machine::new(setup, |_| None).await;
        let volume = volume(&machine, mirror, user_data).await;
        machine.rebuild(|setup| setup.with_volume(&volume));
        let watch = Stopwatch::start();
        machine.boot().await;
        watch.lap("ssh answers");
        let rented = Self { machine, watch };
        rented.set_up().await;
        rented
    }

    /// Waits until cloud-init has finished, without an error.
    async fn set_up(&self) {
        self.says("cloud-init to finish", |line| {
            line.contains("Cloud-init v. ") && line.contains(" finished at ")
        })
        .await;
        let said = self.machine.run("cloud-init status --long --wait").await.1;
        if !said.contains("status: done") {
            let log = self.machine.run("tail -n 60 /var/log/cloud-init-output.log").await.1;
            panic!("{said}\n{log}");
        }
        assert!(said.contains("DataSourceNoCloud"), "{said}");
        let said = self.machine.ssh("cloud-init schema --system 2>&1").await;
        assert!(said.contains("Valid cloud-config"), "{said}");
        self.watch.lap("cloud-init is done");
    }

    /// Waits for a line at the serial port: to ask by ssh takes the emulated processor for seconds.
    async fn says(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        until(patience(900), what, async || {
            assert!(self.machine.is_on(), "QEMU has ended");
            let log = self.machine.serial();
            log.lines().find(|line| fits(line)).map(str::to_owned)
        })
        .await
    }

    /// Has apt install these there, in root's home.
    pub(crate) async fn install(&self, packages: &str) {
        let install = format!(
            "(apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y {packages}; \
             echo \"apt has ended: $?.\" >/dev/ttyS0) >apt.log 2>&1 </dev/null &"
        );
        self.machine.ssh(&install).await;
        let said = self
            .says("apt to install", |line| {
                // The whole of it.
                line.split_once("apt has ended: ").is_some_and(|(_, rest)| rest.contains('.'))
            })
            .await;
        if !said.contains("ended: 0.") {
            panic!("{said}\n{}", self.machine.ssh("cat apt.log").await);
        }
    }

    /// The certificate of the authority that Caddy made for itself there.
    pub(crate) async fn authority(&self) -> PathBuf {
        let said = self
            .machine
            .ssh_until(120, "Caddy's authority", &format!("test -s {AUTHORITY} && cat {AUTHORITY}"))
            .await;
        let file = self.machine.directory().join("authority.pem");
        std::fs::write(&file, said).unwrap();
        file
    }
}

/// The volume for cloud-init.
async fn volume(machine: &Machine, mirror: &Mirror, user_data: &str) -> PathBuf {
    let source = mirror.url("");
    let files = [
        ("user-data", user_data.to_owned()),
        (
            "meta-data",
            format!(
                "instance-id: rented-1\nlocal-hostname: encoder-1\npublic-keys:\n  - {}\n",
                machine.key()
            ),
        ),
        (
            "vendor-data",
            format!(
                "#cloud-config\ndisable_root: false\nlocale: C.UTF-8\napt:\n  preserve_sources_list: false\n  \
                 sources_list: |\n    deb [trusted=yes] {source} ./\n"
            ),
        ),
    ];
    let volume = machine.directory().join("seed.img");
    let at = volume.display().to_string();
    tool::run("mkfs.vfat", &["-C", "-n", "CIDATA", &at, "1024"]).await;
    for (name, text) in files {
        let file = machine.directory().join(name);
        std::fs::write(&file, text).unwrap();
        let to = format!("::{name}");
        tool::run("mcopy", &["-i", &at, &file.display().to_string(), &to]).await;
    }
    volume
}
