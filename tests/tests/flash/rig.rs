//! A bench for `flash.sh`: a small image as the real ones are, loop devices for disks, and
//! stand-ins for programs that go wrong.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

pub(crate) const MIB: usize = 1 << 20;
/// What a disk is full of before it is flashed: nothing that an image has.
const OLD: u8 = 0xa5;
/// Where things are in the image, in bytes.
pub(crate) const ROOTFS: usize = 5 * MIB;
pub(crate) const CONFIG: std::ops::Range<usize> = 13 * MIB..21 * MIB;
const IMAGE: usize = 24 * MIB;

/// A folder to work in, with stand-ins for programs in it.
pub(crate) struct Bench {
    dir: TempDir,
    disks: TempDir,
    environment: Vec<(String, String)>,
}

/// How `flash.sh` ended, and what it said.
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) said: String,
}

impl Outcome {
    /// Expects an exit code, and a message with all of `words`.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "flash.sh said:\n{}", self.said);
        for word in words {
            assert!(self.said.contains(word), "`{word}` is not in what it said:\n{}", self.said);
        }
    }
}

/// Loop devices need root and a kernel that has them; where they are not, a test says so.
fn loops() -> bool {
    let root = rustix::process::geteuid().is_root();
    let allowed = root && Path::new("/dev/loop-control").exists();
    if !allowed {
        eprintln!("SKIPPED: flash.sh on a disk needs root and loop devices");
    }
    allowed
}

/// Where disks are quick: flash.sh waits until all has reached them, many times a test.
fn memory() -> PathBuf {
    match rustix::fs::statvfs("/dev/shm") {
        Ok(memory) if memory.f_bavail * memory.f_frsize > 1 << 30 => "/dev/shm".into(),
        _ => std::env::temp_dir(),
    }
}

impl Bench {
    /// A bench with loop devices, if they are permitted.
    pub(crate) fn new() -> Option<Self> {
        loops().then(Self::without_disks)
    }

    pub(crate) fn without_disks() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
            disks: tempfile::tempdir_in(memory()).unwrap(),
            environment: Vec::new(),
        };
        fs::create_dir(bench.path("bin")).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    pub(crate) fn env(&mut self, key: &str, value: impl Into<String>) {
        self.environment.push((key.into(), value.into()));
    }

    /// Puts a shell script before the real `program`; in it, `$real` is the real one.
    pub(crate) fn stand_in(&self, program: &str, script: &str) {
        let real = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
            .map(|folder| Path::new(folder).join(program))
            .into_iter()
            .find(|path| path.exists())
            .unwrap_or_else(|| "false".into());
        let file = self.path("bin").join(program);
        // It may be a link to the real one.
        let _ = fs::remove_file(&file);
        fs::write(&file, format!("#!/bin/bash\nreal={}\n{script}\n", real.display())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes `device` look like other hardware to `lsblk`.
    pub(crate) fn looks_like(&self, size: u64, removable: bool, model: &str, serial: &str) {
        let removable = u8::from(removable);
        let line = format!(
            r#"SIZE="{size}" RM="{removable}" TRAN="usb" MODEL="{model}" SERIAL="{serial}""#
        );
        let script =
            format!("case \"$*\" in *MODEL*) echo '{line}' ;; *) exec \"$real\" \"$@\" ;; esac");
        self.stand_in("lsblk", &script);
    }

    /// Runs `flash.sh` with an empty standard input.
    pub(crate) fn flash<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome {
        self.answer("", args)
    }

    /// Runs `flash.sh`, and types `answer`.
    pub(crate) fn answer<S: AsRef<OsStr>>(&self, answer: &str, args: &[S]) -> Outcome {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.path("bin").display());
        self.run(&path, answer, args)
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, path: &str, answer: &str, args: &[S]) -> Outcome {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../flash.sh");
        // To try another bash, such as the 3.2 of macOS.
        let bash = std::env::var("FLASH_BASH").unwrap_or_else(|_| "/bin/bash".into());
        // Whatever goes wrong, it ends.
        let mut child = Command::new("/usr/bin/timeout")
            .args(["--signal=KILL", "120", &bash, script])
            .args(args)
            .env("PATH", path)
            .env("TMPDIR", self.dir.path())
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It need not read its answer.
        let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
        let output = child.wait_with_output().unwrap();
        let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        self.leaves_nothing(code);
        Outcome { code: code.unwrap(), said }
    }

    /// Secrets are in what it keeps while it runs; after kill -9 nobody can tidy up.
    fn leaves_nothing(&self, code: Option<i32>) {
        let left = fs::read_dir(self.dir.path()).unwrap().filter_map(Result::ok);
        let left: Vec<_> = left
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("flash."))
            .collect();
        assert!(left.is_empty() || code == Some(137), "temporary files are left: {left:?}");
    }

    /// An image with the partitions of the real ones, its block map and its checksum.
    pub(crate) fn image(&self) -> String {
        let image = self.raw_image();
        sh(
            self.dir.path(),
            "bmaptool -q create box.img -o box.img.bmap; sha256sum box.img >box.img.sha256",
        );
        image
    }

    /// An image and nothing beside it.
    pub(crate) fn raw_image(&self) -> String {
        let dir = self.dir.path();
        sh(
            dir,
            "truncate -s 24M box.img
             sfdisk -q box.img <<'TABLE'
label: gpt
start=2048, size=8192, type=uefi, name=esp
start=10240, size=8192, name=rootfs-a
start=18432, size=8192, name=rootfs-b
start=26624, size=16384, name=config
start=43008, size=4096, name=data
TABLE
             truncate -s 8M config; mkfs.vfat -n CONFIG config >/dev/null
             echo 'Put site.toml here.' >README.txt
             MTOOLSRC=/dev/null mcopy -i config README.txt ::
             dd if=config of=box.img bs=1M seek=13 conv=notrunc,sparse status=none
             rm config",
        );
        // More than two of the largest pieces that are written at once would be nicer, but slower.
        let rootfs: Vec<u8> =
            (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        patch(&self.path("box.img"), ROOTFS, &rootfs);
        self.path("box.img").display().to_string()
    }

    /// A disk of `mib` MiB that is full of something else.
    pub(crate) fn disk(&self, mib: usize) -> Disk {
        self.disk_with(mib, &[])
    }

    /// The same, with options for losetup.
    pub(crate) fn disk_with(&self, mib: usize, options: &[&str]) -> Disk {
        let file = self.disks.path().join(format!("disk-{mib}"));
        fs::write(&file, vec![OLD; mib * MIB]).unwrap();
        Disk::of(file, options)
    }
}

/// A loop device, which is gone when it is dropped, with whatever used it.
pub(crate) struct Disk {
    pub(crate) file: PathBuf,
    pub(crate) device: String,
    partitions: bool,
    mounted: Option<TempDir>,
    swap: bool,
}

impl Disk {
    pub(crate) fn of(file: PathBuf, options: &[&str]) -> Self {
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .args(options)
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { file, device, partitions: false, mounted: None, swap: false }
    }

    /// The kernel's name of it.
    pub(crate) fn name(&self) -> &str {
        self.device.strip_prefix("/dev/").unwrap()
    }

    pub(crate) fn sh(&self, script: &str) {
        sh(Path::new("/"), &format!("disk={}\n{script}", self.device));
    }

    /// Makes two partitions, which the kernel is told of.
    pub(crate) fn partitioned(&mut self) {
        self.sh("printf 'size=8M\\nsize=8M\\n' | sfdisk -q --label gpt --no-reread $disk 2>/dev/null; partx --add $disk");
        self.partitions = true;
    }

    /// Mounts it, or its partition; returns where.
    pub(crate) fn mount(&mut self, partition: &str) -> PathBuf {
        let point = tempfile::tempdir().unwrap();
        let path = point.path().to_owned();
        self.sh(&format!(
            "mkfs.ext4 -qF ${{disk}}{partition}; mount ${{disk}}{partition} {}",
            path.display()
        ));
        self.mounted = Some(point);
        path
    }

    pub(crate) fn swap(&mut self) {
        self.sh("mkswap --quiet $disk 2>/dev/null; swapon $disk");
        self.swap = true;
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.sh("sync $disk; blockdev --flushbufs $disk");
        fs::read(&self.file).unwrap()
    }

    pub(crate) fn is_untouched(&self) -> bool {
        full_of(OLD, &self.bytes())
    }

    /// Whether nothing can take it for a disk with partitions.
    #[track_caller]
    pub(crate) fn expect_no_table(&self) {
        let bytes = self.bytes();
        let zero = |part: &[u8]| full_of(0, part);
        assert!(zero(&bytes[..MIB]), "there is something at the start of the disk");
        assert!(zero(&bytes[bytes.len() - 32768..]), "there is something at the end of the disk");
        assert!(zero(&bytes[IMAGE - 32768..IMAGE]), "there is something where the image ends");
    }

    /// Expects the image on the disk, and what is not of the image as it was, apart from `except`.
    #[track_caller]
    pub(crate) fn expect_image(&self, image: &Path, except: std::ops::Range<usize>) {
        let (image, disk) = (fs::read(image).unwrap(), self.bytes());
        for at in (0..image.len()).step_by(4096).filter(|at| !except.contains(at)) {
            let (wanted, got) = (&image[at..at + 4096], &disk[at..at + 4096]);
            let empty = full_of(0, wanted);
            let old = full_of(OLD, got);
            assert!(wanted == got || empty && old, "block {} is not the image's", at / 4096);
        }
        let rest = &disk[image.len()..];
        let (rest, end) = rest.split_at(rest.len().saturating_sub(32768));
        assert!(full_of(OLD, rest), "something beyond the image was written");
        assert!(full_of(0, end), "an old table may be at the end of the disk");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let run = |program: &str, args: &[&str]| {
            let _ = Command::new(program).args(args).stderr(Stdio::null()).status();
        };
        if let Some(point) = self.mounted.take() {
            run("umount", &[&point.path().display().to_string()]);
        }
        if self.swap {
            run("swapoff", &[&self.device]);
        }
        if self.partitions {
            run("partx", &["--delete", &self.device]);
        }
        run("losetup", &["--detach", &self.device]);
    }
}

/// Whether there is only one value; by blocks, since a test's own loops are slow.
fn full_of(value: u8, bytes: &[u8]) -> bool {
    let block = [value; 4096];
    bytes.chunks(4096).all(|chunk| chunk == &block[..chunk.len()])
}

/// Changes a file in place.
pub(crate) fn patch(file: &Path, at: usize, bytes: &[u8]) {
    use std::io::{Seek as _, SeekFrom};
    let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Runs a script that must succeed.
#[track_caller]
pub(crate) fn sh(dir: &Path, script: &str) {
    let output = Command::new("bash")
        .args(["-euc", &format!("PATH=$PATH:/usr/sbin:/sbin\n{script}")])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this failed:\n{script}\n{said}");
}
