//! macOS, by stand-ins for its commands: what was asked of them, in which order, and nothing that
//! only Linux has. No Mac ever ran these tests; they hold the adapter to what `diskutil` prints.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::rig::{Bench, Outcome};

const CARD: &str = "
   Device Identifier:         disk4
   Device Node:               /dev/disk4
   Whole:                     Yes
   Part of Whole:             disk4
   Device / Media Name:       SD Card Reader
   Protocol:                  USB
   Disk Size:                 67.1 MB (67108864 Bytes) (exactly 131072 512-Byte-Units)
   Device Block Size:         512 Bytes
   Media Read-Only:           No
   Device Location:           External
   Removable Media:           Removable
   Virtual:                   No
";
const ROOT: &str = "
   Device Identifier:         disk3s1s1
   Whole:                     No
   Part of Whole:             disk3
   APFS Physical Store:       disk0s2
";
const VOLUME: &str = "
   Device Identifier:         disk5s1
   Whole:                     No
   Part of Whole:             disk5
   APFS Physical Store:       disk4s2
";
const LIST: &str = "/dev/disk0 (internal, physical):
   0:      GUID_partition_scheme                        *500.3 GB   disk0
/dev/disk4 (external, physical):
   0:     FDisk_partition_scheme                        *67.1 MB    disk4
   1:             Windows_FAT_32 OLD                     67.1 MB    disk4s1
";

/// Two containers, as `diskutil apfs list` shows them; the second is on the card.
const CONTAINERS: &str = "APFS Containers (2 found)
|
+-- Container disk3 0F3C3E5A-7A0A-4C52-9A3B-3B4C5D6E7F80
|   ====================================================
|   +-< Physical Store disk0s2 6B1D2C3E-4F50-4617-8293-A4B5C6D7E8F9
|   +-> Volume disk3s1 1A2B3C4D-5E6F-4071-8293-A4B5C6D7E8F9
|       FileVault:                 Yes (Unlocked)
|
+-- Container disk5 9F8E7D6C-5B4A-4392-8172-6354A5B6C7D8
    ====================================================
    +-< Physical Store disk4s2 0A1B2C3D-4E5F-4607-8192-A3B4C5D6E7F8
    +-> Volume disk5s1 A9B8C7D6-E5F4-4302-9181-726354A5B6C7
        FileVault:                 No
";

struct Mac {
    bench: Bench,
    image: String,
}

impl Mac {
    fn new() -> Self {
        let bench = Bench::without_disks();
        let image = bench.image();
        bench.write("card", vec![0xa5; 64 << 20]);
        for (name, text) in [("card.txt", CARD), ("root.txt", ROOT), ("list.txt", LIST)] {
            bench.write(name, text);
        }
        bench.write(
            "builtin.txt",
            CARD.replace("External", "Internal").replace("Removable\n", "Fixed\n"),
        );
        bench.write(
            "part.txt",
            CARD.replace("Whole:                     Yes", "Whole:                     No"),
        );
        bench.write("volume.txt", VOLUME);
        bench.write("apfs.txt", CONTAINERS);
        let here = bench.path("").display().to_string();
        bench.stand_in("uname", "echo Darwin");
        bench.stand_in(
            "df",
            "echo Filesystem; echo \"$(cat DF 2>/dev/null || echo /dev/disk3s5) 1 1 1 1% /\"",
        );
        bench.stand_in("sync", "echo sync >>CALLS");
        bench.stand_in("id", "echo 0");
        bench.stand_in(
            "diskutil",
            "echo \"diskutil $*\" >>CALLS
             case \"$*\" in
               'info /dev/disk4') cat card.txt ;;
               'info /dev/disk4s1') cat part.txt ;;
               'info /dev/disk5s1') cat volume.txt ;;
               'info /dev/disk0') cat builtin.txt ;;
               'info /' | 'info /dev/disk3s5') cat root.txt ;;
               'list physical' | 'list /dev/disk4') cat list.txt ;;
               'apfs list') cat apfs.txt ;;
               'unmountDisk /dev/disk4') [ ! -e BUSY ] ;;
               'eject /dev/disk4') ;;
               *) echo \"Could not find disk: $*\"; exit 1 ;;
             esac",
        );
        // BSD's dd knows no iflag, oflag and none of GNU's conv; the raw disk is a file here.
        bench.stand_in(
            "dd",
            &format!(
                "arguments=()
                 for argument; do
                   case $argument in
                     if=/dev/rdisk4) argument=if={here}/card ;;
                     of=/dev/rdisk4) argument=of={here}/card; echo dd >>CALLS ;;
                     iflag=* | oflag=* | status=* | if=/dev/disk* | of=/dev/*) exit 64 ;;
                     conv=notrunc | conv=sparse) ;;
                     conv=*) exit 64 ;;
                   esac
                   arguments+=(\"$argument\")
                 done
                 exec \"$real\" \"${{arguments[@]}}\""
            ),
        );
        let tools = "awk bash cat cmp cut dirname grep gzip head iconv mcopy mktemp od rm sed shasum \
                     sort tail tr wc xz zstd";
        for tool in tools.split_whitespace() {
            let real = Path::new("/usr/bin").join(tool);
            symlink(real, bench.path("bin").join(tool)).unwrap();
        }
        Self { bench, image }
    }

    /// Runs it with nothing of Linux in the path.
    fn flash(&self, answer: &str, args: &[&str]) -> Outcome {
        let path = self.bench.path("bin").display().to_string();
        let image = [self.image.as_str()];
        let (options, device) = args.split_at(args.len() - 1);
        self.bench.run(&path, answer, &[options, &image, device].concat())
    }

    /// What was called, without what only asks, each once.
    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.bench.path("CALLS")).unwrap_or_default();
        let asks = |call: &&str| call.contains(" info ") || call.contains(" list");
        let mut calls: Vec<_> =
            calls.lines().filter(|call| !asks(call)).map(str::to_owned).collect();
        calls.dedup();
        calls
    }

    #[track_caller]
    fn refuses(&self, device: &str, code: i32, words: &[&str]) {
        self.flash("", &["--yes=SD Card Reader", device]).expect(code, words);
        assert!(!self.calls().contains(&"dd".to_owned()), "something was written");
    }
}

#[test]
fn a_card_is_unmounted_written_and_ejected() {
    let mac = Mac::new();
    let site = mac.bench.write("site.toml", "room = \"demo\"\n");
    let done = mac.flash("y\n", &["--site", &site, "/dev/disk4"]);
    done.expect(0, &["SD Card Reader, 67 MB, USB, removable", "Reading 100 %", "is ready"]);
    // The table off, the body on, the table on.
    assert_eq!(
        mac.calls(),
        [
            "diskutil unmountDisk /dev/disk4",
            "dd",
            "sync",
            "dd",
            "sync",
            "dd",
            "sync",
            "diskutil eject /dev/disk4"
        ]
    );
    let (image, card) =
        (std::fs::read(&mac.image).unwrap(), std::fs::read(mac.bench.path("card")).unwrap());
    assert!(image[..8192] == card[..8192]);
    assert!(card.windows(14).any(|text| text == b"room = \"demo\"\n"));
}

#[test]
fn a_failure_leaves_no_table() {
    let mac = Mac::new();
    let dd = std::fs::read_to_string(mac.bench.path("bin/dd")).unwrap();
    let dd = dd.replace("if=/dev/rdisk4) ", "if=/dev/rdisk4) exit 1;; x) ");
    std::fs::write(mac.bench.path("bin/dd"), dd).unwrap();
    mac.flash("y\n", &["/dev/disk4"]).expect(41, &["was blanked"]);
    let card = std::fs::read(mac.bench.path("card")).unwrap();
    assert!(card[..1 << 20] == vec![0; 1 << 20]);
}

#[test]
fn disks_are_listed() {
    let mac = Mac::new();
    let told = mac.bench.run(&mac.bench.path("bin").display().to_string(), "", &[&mac.image]);
    told.expect(
        3,
        &["/dev/disk4  SD Card Reader, 67 MB, USB, removable\n", "/dev/disk0", "own system"],
    );
    assert!(mac.calls().is_empty());
}

#[test]
fn what_must_not_be_written_is_refused() {
    let mac = Mac::new();
    mac.refuses("/dev/disk0", 20, &["own system"]);
    mac.refuses("/dev/disk9", 31, &["is not there"]);
    mac.refuses("/dev/disk4s1", 27, &["Name the whole disk: /dev/disk4"]);

    mac.bench.write("DF", "/dev/disk5s1");
    mac.refuses("/dev/disk4", 30, &["lies on"]);
    std::fs::remove_file(mac.bench.path("DF")).unwrap();

    for (scheme, code) in [("Apple_RAID", 23), ("Linux_LVM", 24), ("Apple_CoreStorage", 25)] {
        mac.bench.write("list.txt", LIST.replace("Windows_FAT_32", scheme));
        mac.refuses("/dev/disk4", code, &["Disk Utility"]);
    }
    // Of two containers, the encrypted one is not on the card; then it is.
    mac.bench.write("list.txt", LIST.replace("Windows_FAT_32", "Apple_APFS"));
    mac.flash("", &["--dry-run", "/dev/disk4"]).expect(0, &[]);
    mac.bench.write(
        "apfs.txt",
        CONTAINERS.replace("FileVault:                 No", "FileVault:                 Yes"),
    );
    mac.refuses("/dev/disk4", 25, &["/dev/disk4 is encrypted", "Disk Utility"]);
    mac.bench.write("list.txt", LIST);

    let changes = [
        ("External", "Internal", "Removable\n", "Fixed\n", 20, "built into this Mac"),
        ("Read-Only:           No", "Read-Only:           Yes", "", "", 28, "read-only"),
        ("512 Bytes", "4096 Bytes", "", "", 32, "not of 512 bytes"),
        (
            "Virtual:                   No",
            "Virtual:                   Yes",
            "",
            "",
            31,
            "made of others",
        ),
        ("(67108864 Bytes)", "(8388608 Bytes)", "", "", 29, "too small"),
    ];
    for (from, to, also, with, code, words) in changes {
        mac.bench.write("card.txt", CARD.replace(from, to).replace(also, with));
        mac.refuses("/dev/disk4", code, &[words]);
    }
    mac.bench.write("card.txt", CARD);

    mac.bench.write("BUSY", "");
    mac.refuses("/dev/disk4", 21, &["something there is open"]);
}
