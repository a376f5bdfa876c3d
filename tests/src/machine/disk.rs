//! The machine's disk: a layer over an image, so that the image itself is never written to.
//!
//! Files go into the CONFIG partition and come out of it with mtools, on a copy of that partition
//! that `qemu-io` puts back; nothing is mounted, so this needs no privileges.

use std::path::{Path, PathBuf};

use crate::tool;

use super::gpt::{self, HEAD, Partition};

/// Bytes of a box's disk: more than any image, so that the data partition can grow.
pub const SIZE: u64 = 2 << 30;
/// `qemu-img dd` reads in blocks; partitions begin and end at whole ones.
const BLOCK: u64 = 1 << 20;

/// A disk of the machine, in a directory of the test's.
#[derive(Debug, Clone)]
pub struct Disk {
    directory: PathBuf,
    path: PathBuf,
    format: &'static str,
}

impl Disk {
    /// A new disk that begins as a copy of a raw image.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn over(image: &Path, directory: &Path) -> Self {
        let image = image.canonicalize().unwrap_or_else(|error| {
            panic!("no image at {}: {error}; `make bench-image` makes one", image.display())
        });
        let path = directory.join("disk.qcow2");
        let size = std::fs::metadata(&image).unwrap().len().max(SIZE).to_string();
        let (base, layer) = (show(&image), show(&path));
        let line = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &base, &layer, &size];
        tool::run("qemu-img", &line).await;
        Self { directory: directory.to_owned(), path, format: "qcow2" }
    }

    /// A raw disk that is there already.
    pub fn raw(path: &Path, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), path: path.to_owned(), format: "raw" }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format, as QEMU names it.
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// The whole disk as a sparse raw file.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn flatten(&self, to: &Path) {
        let line = ["convert", "-f", self.format, "-O", "raw", &show(&self.path), &show(to)];
        tool::run("qemu-img", &line).await;
    }

    /// A partition by name.
    ///
    /// # Panics
    /// When the disk has none of that name.
    pub async fn partition(&self, name: &str) -> Partition {
        let file = self.directory.join("head");
        self.copy_out(0, BLOCK, &file).await;
        let mut head = std::fs::read(file).unwrap();
        head.truncate(usize::try_from(HEAD).unwrap());
        let all = gpt::partitions(&head).expect("a partition table");
        let found = all.iter().find(|partition| partition.name == name);
        found.unwrap_or_else(|| panic!("no partition {name} in {all:?}")).clone()
    }

    /// A copy of a partition as a file.
    ///
    /// # Panics
    /// When there is none.
    pub async fn extract(&self, name: &str) -> PathBuf {
        let partition = self.partition(name).await;
        let file = self.directory.join(format!("{name}.img"));
        let length = partition.bytes.end - partition.bytes.start;
        self.copy_out(partition.bytes.start, length, &file).await;
        file
    }

    /// Puts a partition's copy back.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn put_back(&self, name: &str, file: &Path) {
        let partition = self.partition(name).await;
        let length = std::fs::metadata(file).unwrap().len();
        let write = format!("write -s {} {} {length}", file.display(), partition.bytes.start);
        let line = ["-f", self.format, "-c", &write, &show(&self.path)];
        let said = tool::run("qemu-io", &line).await;
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("wrote "), "qemu-io {write}: {said}");
    }

    /// Writes files into the CONFIG partition.
    ///
    /// # Panics
    /// When they do not fit.
    pub async fn write_config(&self, files: &[(&str, &[u8])]) {
        if files.is_empty() {
            return;
        }
        let partition = self.extract("config").await;
        for (name, content) in files {
            let file = self.directory.join("to-copy");
            std::fs::write(&file, content).unwrap();
            if let Some((folder, _)) = name.rsplit_once('/') {
                // It may be there from before.
                let line = ["-D", "s", "-i", &show(&partition), &format!("::{folder}")];
                tool::output("mmd", &line).await;
            }
            let line = ["-o", "-i", &show(&partition), &show(&file), &format!("::{name}")];
            tool::run("mcopy", &line).await;
        }
        self.put_back("config", &partition).await;
    }

    /// A file of the CONFIG partition, if it is there.
    pub async fn read_config(&self, name: &str) -> Option<Vec<u8>> {
        let partition = self.extract("config").await;
        let line = ["-i", &show(&partition), &format!("::{name}")];
        let output = tool::output("mtype", &line).await;
        output.status.success().then_some(output.stdout)
    }

    /// Whether these bytes are anywhere in a partition, in use or not.
    ///
    /// # Panics
    /// When the partition cannot be read.
    pub async fn holds(&self, partition: &str, needle: &[u8]) -> bool {
        let content = std::fs::read(self.extract(partition).await).unwrap();
        content.windows(needle.len()).any(|window| window == needle)
    }

    /// Checks the file systems without changing them: what the checkers complain of.
    ///
    /// A journal not yet replayed is no complaint: it is there to be replayed, and is, on a copy. Nor is
    /// FAT's mark that the power was cut while it was mounted.
    pub async fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for name in ["esp", "config"] {
            let file = self.extract(name).await;
            take_dirty_mark(&file);
            let output = tool::output("fsck.vfat", &["-n", &show(&file)]).await;
            if !output.status.success() {
                complaints.push(format!("{name}: {}", String::from_utf8_lossy(&output.stdout)));
            }
        }
        let data = self.partition("data").await;
        let file = self.directory.join("whole.img");
        self.flatten(&file).await;
        let place = format!("{}?offset={}", file.display(), data.bytes.start);
        // What mounting does: replay the journal.
        tool::output("e2fsck", &["-p", "-E", "journal_only", &place]).await;
        let output = tool::output("e2fsck", &["-fn", &place]).await;
        if output.status.code() != Some(0) {
            complaints.push(format!("data: {}", String::from_utf8_lossy(&output.stdout)));
        }
        complaints
    }

    async fn copy_out(&self, at: u64, length: u64, to: &Path) {
        assert!(at.is_multiple_of(BLOCK), "a partition begins at {at}, not at a whole MiB");
        let _ = std::fs::remove_file(to);
        let line = [
            "dd".to_owned(),
            "-U".to_owned(),
            "-f".to_owned(),
            self.format.to_owned(),
            "-O".to_owned(),
            "raw".to_owned(),
            format!("bs={BLOCK}"),
            format!("skip={}", at / BLOCK),
            // The size that is counted begins where the disk does.
            format!("count={}", (at + length).div_ceil(BLOCK)),
            format!("if={}", self.path.display()),
            format!("of={}", to.display()),
        ];
        tool::run("qemu-img", &line).await;
        std::fs::File::options().write(true).open(to).unwrap().set_len(length).unwrap();
    }
}

/// Linux sets bit 0 of a byte in the boot sector while a FAT is mounted to be written to. FAT32 has it
/// elsewhere than the smaller ones; its `BPB_FATSz16` is 0 (Microsoft's FAT specification, 3.1).
fn take_dirty_mark(file: &Path) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, 0).unwrap();
    let at = if sector[22..24] == [0, 0] { 65 } else { 37 };
    file.write_all_at(&[sector[at] & !1], at as u64).unwrap();
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
