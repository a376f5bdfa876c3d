//! A real FAT file system: what was secret must not be found in its bytes any more.
//!
//! With the kernel's own driver where there is one, through a loop device and our own mounting; else
//! with FUSE's. Without root there is neither.

use std::{
    io::Write as _,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use super::*;

/// Runs a program; what it said, if it succeeded.
fn tool(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A disk image of so many MiB with a FAT file system and these files.
fn image(dir: &Path, size: u64, files: &[(&str, &[u8])]) -> PathBuf {
    let image = dir.join("config.img");
    fs::File::create(&image).unwrap().set_len(size << 20).unwrap();
    let path = image.to_str().unwrap();
    tool("mkfs.vfat", &["-n", "CONFIG", path]).expect("mkfs.vfat of dosfstools");
    for (name, bytes) in files {
        let mut copy = Command::new("mcopy")
            .args(["-o", "-i", path, "-", &format!("::{name}")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("mcopy of mtools");
        copy.stdin.take().unwrap().write_all(bytes).unwrap();
        assert!(copy.wait().unwrap().success());
    }
    image
}

fn kernel_has_fat() -> bool {
    let _ = tool("modprobe", &["vfat"]);
    fs::read_to_string("/proc/filesystems").unwrap().lines().any(|line| line.trim() == "vfat")
}

/// A loop device, given back at the end.
struct Loop(String);

impl Drop for Loop {
    fn drop(&mut self) {
        tool("losetup", &["-d", &self.0]);
    }
}

/// A FUSE mount, undone at the end.
struct Fuse(PathBuf);

impl Drop for Fuse {
    fn drop(&mut self) {
        tool("fusermount", &["-u", self.0.to_str().unwrap()]);
    }
}

fn until(what: &str, so: impl Fn() -> bool) {
    let clock = watchdog::clock::system();
    while !so() {
        assert!(clock.monotonic() < Duration::from_secs(30), "{what}");
        std::thread::yield_now();
    }
}

/// Boots the box once with this image as its CONFIG; false where no FAT can be mounted.
fn boot(bench: &Bench, image: &Path) -> Option<Outcome> {
    let path = image.to_str().unwrap();
    if !rustix::process::getuid().is_root() {
        return None;
    }
    if kernel_has_fat() {
        let device = Loop(tool("losetup", &["--find", "--show", path])?);
        let link = bench.paths.partition("config");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(&device.0, &link).unwrap();
        return Some(bench.boot_with(Partition::mount(&bench.paths)));
    }
    let folder = bench.dir.path().join("fat");
    fs::create_dir_all(&folder).unwrap();
    tool("fusefat", &["-o", "rw+", path, folder.to_str().unwrap()])?;
    let mount = Fuse(folder);
    until("FUSE does not mount", || mount.0.join("site.toml").exists());
    Some(bench.boot_with(Ok(Partition::mounted_at(&mount.0))))
}

fn holds(image: &Path, text: &str) -> bool {
    let bytes = fs::read(image).unwrap();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn no_secret_is_left_on_the_disk() {
    let (certificate, key) = made("box");
    let body = String::from_utf8(key.clone()).unwrap().lines().nth(1).unwrap().to_owned();
    let bench = Bench::new();
    let mqtt =
        "[mqtt]\r\nurl = \"mqtts://b\"\r\ncertificate = \"box.pem\"\r\nkey = \"box.key\"\r\n";
    let site = format!("\u{feff}{SITE}{mqtt}");
    let image = image(
        bench.dir.path(),
        4,
        &[
            ("site.toml", site.as_bytes()),
            ("box.pem", &certificate),
            ("box.key", &key),
            // What an editor made, and removed.
            ("site.tmp", site.replace("correct-horse", "former-secret").as_bytes()),
        ],
    );
    tool("mdel", &["-i", image.to_str().unwrap(), "::site.tmp"]).unwrap();
    let secrets = ["correct-horse", body.as_str(), "former-secret"];
    assert!(secrets.iter().all(|secret| holds(&image, secret)));
    let Some(outcome) = boot(&bench, &image) else {
        eprintln!("not tested: this needs root, and FAT by the kernel or by fusefat");
        return;
    };
    assert_eq!((outcome.problems.as_slice(), outcome.source), (&[][..], Source::Config));
    until("the answer is not on the disk", || holds(&image, "This Backrow box is set up."));
    for secret in secrets {
        assert!(!holds(&image, secret), "{secret} is still there");
    }
    let text = tool("mtype", &["-i", image.to_str().unwrap(), "::site.toml"]).unwrap();
    assert!(text.contains("token = \"kept-on-the-box\"") && text.contains("# ours"), "{text}");
    let names = tool("mdir", &["-b", "-i", image.to_str().unwrap()]).unwrap();
    let names = names.lines().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["::/OK.txt", "::/box.pem", "::/site.toml"]);
    // Nothing has changed, so not a byte is written.
    let before = fs::read(&image).unwrap();
    assert!(boot(&bench, &image).unwrap().ok);
    assert!(fs::read(&image).unwrap() == before, "CONFIG was written for nothing");
    // Then it is edited, and wrong.
    let bad = bench.dir.path().join("bad");
    fs::write(&bad, text.replace("room", "rom")).unwrap();
    tool("mcopy", &["-o", "-i", image.to_str().unwrap(), bad.to_str().unwrap(), "::site.toml"])
        .unwrap();
    assert_eq!(boot(&bench, &image).unwrap().source, Source::Kept);
    let error = tool("mtype", &["-i", image.to_str().unwrap(), "::ERROR.txt"]).unwrap();
    assert!(error.contains("site.toml line 2: unknown key `rom`"), "{error}");
}

#[test]
fn a_secret_is_wiped_at_the_very_end_of_a_partition_as_large_as_the_real_one() {
    let bench = Bench::new();
    let large = vec![b'x'; 144 << 20];
    let files: &[(&str, &[u8])] =
        &[("update.old", &large), ("site.tmp", b"former-secret"), ("site.toml", SITE.as_bytes())];
    let image = image(bench.dir.path(), 160, files);
    for name in ["::update.old", "::site.tmp"] {
        tool("mdel", &["-i", image.to_str().unwrap(), name]).unwrap();
    }
    // A file begins where a sector does.
    let is_there = || {
        let bytes = fs::read(&image).unwrap();
        bytes.chunks(512).any(|sector| sector.starts_with(b"former-secret"))
    };
    assert!(is_there());
    let Some(outcome) = boot(&bench, &image) else {
        eprintln!("not tested: this needs root, and FAT by the kernel or by fusefat");
        return;
    };
    assert_eq!(outcome.problems, Vec::<String>::new());
    until("the answer is not on the disk", || holds(&image, "This Backrow box is set up."));
    assert!(!is_there());
}
