//! Real bundles, made and signed here, through the real RAUC: what is refused, and in which words.
//! Installing needs slots and dm-verity; that is done in the virtual machines of `tests/`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use appliance::{
    command::desk::{Desk, Done, Job, NotDone},
    paths::Paths,
    programs::Programs,
    update::{
        bundle::{self, Offer},
        health::COMPONENT,
        install::{Bundle, Installed, Installer, UpdateError, Wanted},
        record::Update,
    },
};
use protocol::mood::Mood;
use watchdog::{board::Board, clock};

/// A box in a folder, with its keyring, and a place to make bundles in.
struct Bench {
    dir: tempfile::TempDir,
}

fn run(program: &str, args: &[&str], folder: &Path) {
    let output = Command::new(program).args(args).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Bytes that do not shrink: a bundle of less than a block cannot be made.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["ours", "theirs"] {
            bench.key(name);
        }
        fs::create_dir(bench.path("root")).unwrap();
        fs::write(bench.path("root/noise"), noise(60_000)).unwrap();
        run("mksquashfs", &["root", "rootfs.img", "-quiet", "-noappend"], bench.dir.path());
        let conf = format!(
            "[system]\ncompatible=backrow-bench_x86_64\nbootloader=noop\nbundle-formats=-plain\n\
             [keyring]\npath={}\n[slot.rootfs.0]\ndevice={}\nbootname=A\n",
            bench.path("ours.pem").display(),
            bench.path("slot").display(),
        );
        fs::write(bench.path("system.conf"), conf).unwrap();
        let image = "BACKROW_VERSION=1.2.0\nBACKROW_BOARD=bench_x86_64\nBACKROW_BUILT=1763000000\n";
        for (file, text) in [
            ("box/usr/lib/backrow/image", image),
            ("box/proc/cmdline", "ro rauc.slot=A backrow.try=0\n"),
            ("box/proc/sys/kernel/random/boot_id", "boot-1\n"),
        ] {
            let file = bench.path(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn key(&self, name: &str) {
        let (subject, key, pem) =
            (format!("/CN={name}"), format!("{name}.key"), format!("{name}.pem"));
        let args = [
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", &subject,
            "-keyout", &key, "-out", &pem,
        ];
        run("openssl", &args, self.dir.path());
    }

    /// A bundle signed by one of the keys.
    fn bundle(
        &self,
        name: &str,
        key: &str,
        compatible: &str,
        version: &str,
        format: &str,
    ) -> PathBuf {
        let content = self.path(&format!("{name}.content"));
        fs::create_dir(&content).unwrap();
        fs::copy(self.path("rootfs.img"), content.join("rootfs.img")).unwrap();
        let manifest = format!(
            "[update]\ncompatible={compatible}\nversion={version}\n[bundle]\nformat={format}\n\
             [image.rootfs]\nfilename=rootfs.img\n"
        );
        fs::write(content.join("manifest.raucm"), manifest).unwrap();
        let file = format!("{name}.raucb");
        let (key, pem) = (format!("{key}.key"), format!("{key}.pem"));
        let content = content.display().to_string();
        let args = ["bundle", "--cert", &pem, "--key", &key, "--keyring", &pem, &content, &file];
        run("rauc", &args, self.dir.path());
        self.path(&file)
    }

    fn ours(&self, name: &str, compatible: &str, version: &str) -> PathBuf {
        self.bundle(name, "ours", compatible, version, "verity")
    }

    fn programs(&self) -> Programs {
        let conf: OsString = self.path("system.conf").into();
        Programs { rauc: vec!["rauc".into(), "--conf".into(), conf], ..Programs::default() }
    }

    fn paths(&self) -> Paths {
        Paths::under(self.path("box"))
    }

    fn installer(&self) -> Installer {
        Installer {
            paths: self.paths(),
            programs: self.programs(),
            clock: clock::system(),
            ca: None,
        }
    }

    async fn install(&self, file: &Path) -> Result<Installed, UpdateError> {
        self.installer().install(&wanted(file), &|_| {}).await
    }

    fn desk(&self) -> Desk {
        Desk::new(self.installer(), Board::new(clock::system()))
    }

    /// Why it is refused, without the bundle's path.
    async fn why(&self, file: &Path) -> String {
        let error = self.install(file).await.unwrap_err();
        assert!(error.is_refusal(), "{error}");
        assert_eq!(Update::last(&self.paths()), None, "nothing was begun");
        let text = error.to_string();
        text.strip_prefix(&format!("{} is not installed: ", file.display())).unwrap().to_owned()
    }
}

fn wanted(file: &Path) -> Wanted {
    Wanted { bundle: Bundle::File(file.to_owned()), sha256: None, asked_by: "a test".to_owned() }
}

const HERE: &str = "backrow-bench_x86_64";

#[tokio::test]
async fn a_bundle_that_is_signed_ours_and_newer_is_taken() {
    let bench = Bench::new();
    let file = bench.ours("good", HERE, "1.10.0");
    let info = bundle::inspect(&bench.programs(), &file).await.unwrap();
    assert_eq!((info.compatible.as_deref(), info.version.as_deref()), (Some(HERE), Some("1.10.0")));
    let image = appliance::image::Image::read(&bench.paths()).unwrap();
    assert_eq!(bundle::judge(&info, &image).unwrap(), Offer::Newer("1.10.0".parse().unwrap()));
}

#[tokio::test]
async fn a_bundle_that_runs_here_already_changes_nothing_and_is_no_fault() {
    let bench = Bench::new();
    let same = bench.ours("same", HERE, "1.2.0+later");
    let words = "1.2.0+later is not installed: 1.2.0 runs here already";
    assert_eq!(bench.install(&same).await.unwrap(), Installed::Already(words.into()));
    assert_eq!(Update::last(&bench.paths()), None, "nothing was begun");

    // Who ordered it hears that it is done, and the box is as well as it was; so it is with a refusal.
    let desk = bench.desk();
    desk.board.set(COMPONENT, Mood::Happy, "1.2.0 runs");
    let done = desk.carry_out(Job::Update(wanted(&same))).await;
    assert_eq!(done, Ok(Done::Said(words.into())));
    let older = bench.ours("older", HERE, "1.1.9");
    let refused = desk.carry_out(Job::Update(wanted(&older))).await;
    assert!(matches!(refused, Err(NotDone::Refused(_))), "{refused:?}");
    let stands = desk.board.get(COMPONENT).unwrap();
    assert_eq!((stands.mood, stands.reason.as_str()), (Mood::Happy, "1.2.0 runs"));
    assert_eq!(*desk.doing.borrow(), "");
}

#[tokio::test]
async fn every_refusal_says_plainly_why() {
    let bench = Bench::new();
    let older = bench.ours("older", HERE, "1.1.9");
    let why = "it is version 1.1.9, which is older than 1.2.0, which runs here";
    assert_eq!(bench.why(&older).await, why);
    let other = bench.ours("other", "backrow-rpi4", "9.0");
    assert_eq!(
        bench.why(&other).await,
        "it is for backrow-rpi4, and this box is backrow-bench_x86_64"
    );
    let odd = bench.ours("odd", HERE, "latest");
    assert!(bench.why(&odd).await.contains("\"latest\" is not a version"));

    let foreign = bench.bundle("foreign", "theirs", HERE, "2.0", "verity");
    let why = bench.why(&foreign).await;
    assert!(why.starts_with("it is not signed with a key that this box trusts"), "{why}");
    let plain = bench.bundle("plain", "ours", HERE, "2.0", "plain");
    let why = bench.why(&plain).await;
    assert!(why.starts_with("its format is \"plain\", and only \"verity\" is taken"), "{why}");

    let good = fs::read(bench.ours("good", HERE, "2.0")).unwrap();
    let cut = bench.path("cut.raucb");
    fs::write(&cut, &good[..good.len() - 100]).unwrap();
    let why = bench.why(&cut).await;
    assert!(why.starts_with("it is not an update bundle, or only a part of one"), "{why}");
    let changed = bench.path("changed.raucb");
    fs::write(&changed, &good).unwrap();
    let signature = u64::try_from(good.len()).unwrap() - 300;
    let file = fs::OpenOptions::new().write(true).open(&changed).unwrap();
    file.write_all_at(b"else", signature).unwrap();
    let why = bench.why(&changed).await;
    assert!(why.contains("or was damaged on its way"), "{why}");
    let nonsense = bench.path("nonsense.raucb");
    for content in ["", "this is no bundle"] {
        fs::write(&nonsense, content).unwrap();
        assert!(bench.why(&nonsense).await.starts_with("it is not an update bundle"));
    }
    let why = bench.why(&bench.path("missing.raucb")).await;
    assert!(why.starts_with("it cannot be read"), "{why}");

    // This box's own fault is not blamed on the bundle.
    fs::remove_file(bench.path("ours.pem")).unwrap();
    let why = bench.why(&changed).await;
    assert!(why.starts_with("it cannot be checked"), "{why}");
}

#[tokio::test]
async fn an_image_on_trial_and_a_second_update_are_not_now() {
    let bench = Bench::new();
    let file = bench.ours("good", HERE, "2.0");
    fs::write(bench.path("box/proc/cmdline"), "rauc.slot=B backrow.try=1\n").unwrap();
    let error = bench.install(&file).await.unwrap_err();
    assert!(matches!(error, UpdateError::NotYetGood), "{error}");
    fs::create_dir_all(bench.paths().run()).unwrap();
    fs::write(bench.paths().run().join("slot-good"), "").unwrap();
    let lock = fs::File::create(bench.paths().run().join("update.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = bench.install(&file).await.unwrap_err();
    assert!(matches!(error, UpdateError::Busy), "{error}");
    drop(lock);
    // The slots of this bench are nothing that can be installed to; that must not go unsaid.
    let error = bench.install(&file).await.unwrap_err();
    assert!(matches!(error, UpdateError::Failed { .. }), "{error}");
    let kept = Update::last(&bench.paths()).unwrap();
    assert!(kept.reason.starts_with("installing 2.0 failed: "), "{}", kept.reason);
}
