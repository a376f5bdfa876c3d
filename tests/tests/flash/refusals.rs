//! Disks that are never written to, each with its own message and exit code.

use std::path::Path;

use crate::rig::{Bench, Disk, MIB, patch, sh};

/// Expects a refusal; `--yes` with everything right does not help.
#[track_caller]
fn refused(bench: &Bench, image: &str, device: &str, code: i32, words: &[&str]) {
    bench.flash(&["--yes=67108864", image, device]).expect(code, words);
}

#[test]
fn what_is_no_disk() {
    let bench = Bench::without_disks();
    let image = bench.raw_image();
    for device in ["/dev/sdxyz", "/dev/null", "/", &image] {
        refused(&bench, &image, device, 31, &[device, "is not there, or is no disk"]);
    }
}

#[test]
fn the_disk_this_computer_runs_from() {
    let bench = Bench::without_disks();
    let image = bench.raw_image();
    let script =
        "lsblk -nrso PATH,TYPE $(findmnt -no SOURCE /) | awk '$2 == \"disk\" { print $1 }'";
    let output = std::process::Command::new("bash").args(["-c", script]).output().unwrap();
    let disks = String::from_utf8(output.stdout).unwrap();
    if disks.is_empty() {
        eprintln!("SKIPPED: / is on no disk here, as in a container");
    }
    for disk in disks.lines() {
        let words = [disk, "holds this computer's own system"];
        bench.flash(&["--dry-run", &image, disk]).expect(20, &words);
    }
}

#[test]
fn a_partition() {
    let Some(bench) = Bench::new() else { return };
    let (image, mut disk) = (bench.raw_image(), bench.disk(64));
    disk.partitioned();
    let words = ["is a partition", &format!("Name the whole disk: {}", disk.device)];
    refused(&bench, &image, &format!("{}p1", disk.device), 27, &words);
}

#[test]
fn a_mounted_disk() {
    let Some(bench) = Bench::new() else { return };
    let (image, mut disk) = (bench.raw_image(), bench.disk(64));
    let point = disk.mount("");
    let words = ["is mounted at", point.to_str().unwrap(), "umount"];
    refused(&bench, &image, &disk.device, 21, &words);
}

#[test]
fn a_disk_with_a_mounted_partition() {
    let Some(bench) = Bench::new() else { return };
    let (image, mut disk) = (bench.raw_image(), bench.disk(64));
    disk.partitioned();
    let point = disk.mount("p2");
    refused(&bench, &image, &disk.device, 21, &["is mounted at", point.to_str().unwrap()]);
}

#[test]
fn a_disk_that_is_swapped_to() {
    let Some(bench) = Bench::new() else { return };
    let (image, mut disk) = (bench.raw_image(), bench.disk(64));
    disk.swap();
    refused(&bench, &image, &disk.device, 22, &["is used for swap", "swapoff"]);
}

/// What LVM, LUKS and Linux RAID write at the start of what is theirs, as blkid knows them.
fn signature(kind: &str) -> Vec<u8> {
    let mut bytes = vec![0; MIB];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    match kind {
        "LVM2_member" => {
            // Label in sector 1, with the CRC that LVM takes over it (poly edb88320, no inversion).
            put(512, b"LABELONE");
            put(520, &1u64.to_le_bytes());
            put(532, &32u32.to_le_bytes());
            put(536, b"LVM2 001");
            put(544, b"bQkzQ3ZVOTZUS3o1cGJXZ2xYbE1ZSmhB");
            let mut crc = 0xf597_a6cf_u32;
            for byte in &bytes[532..1024] {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
                }
            }
            bytes[528..532].copy_from_slice(&crc.to_le_bytes());
        }
        "crypto_LUKS" => {
            put(0, b"LUKS\xba\xbe");
            put(6, &1u16.to_be_bytes());
            put(168, b"61df1dda-0b7f-422f-9c4f-43596dad908f");
        }
        "linux_raid_member" => {
            // Version 1.2: the superblock is 4 KiB in.
            put(4096, &0xa92b_4efc_u32.to_le_bytes());
            put(4100, &1u32.to_le_bytes());
            put(4096 + 144, &8u64.to_le_bytes());
        }
        other => panic!("no signature of {other}"),
    }
    bytes
}

#[test]
fn a_part_of_a_raid_or_lvm_or_something_encrypted() {
    let Some(bench) = Bench::new() else { return };
    let image = bench.raw_image();
    let kinds = [
        ("linux_raid_member", 23, "belongs to a RAID"),
        ("LVM2_member", 24, "belongs to LVM"),
        ("crypto_LUKS", 25, "is encrypted"),
    ];
    for (kind, code, words) in kinds {
        let disk = bench.disk(64);
        patch(Path::new(&disk.device), 0, &signature(kind));
        refused(&bench, &image, &disk.device, code, &[words, kind, "wipefs"]);

        // Within a partition.
        let mut disk = bench.disk(64);
        disk.partitioned();
        patch(Path::new(&format!("{}p2", disk.device)), 0, &signature(kind));
        refused(&bench, &image, &disk.device, code, &[words, kind]);
    }
}

#[test]
fn a_read_only_disk() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk_with(64, &["--read-only"]));
    refused(&bench, &image, &disk.device, 28, &["is read-only", "LOCK"]);
}

#[test]
fn a_disk_that_is_too_small() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(23));
    let words = ["is too small: it has 23 MiB, the image needs 24 MiB"];
    refused(&bench, &image, &disk.device, 29, &words);
    assert!(disk.is_untouched());
}

#[test]
fn a_disk_with_large_sectors() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk_with(64, &["--sector-size", "4096"]));
    refused(&bench, &image, &disk.device, 32, &["sectors of 4096 bytes"]);
}

#[test]
fn the_disk_the_image_lies_on() {
    let Some(bench) = Bench::new() else { return };
    let (image, mut disk) = (bench.raw_image(), bench.disk(64));
    let point = disk.mount("");
    std::fs::copy(&image, point.join("box.img")).unwrap();
    let there = point.join("box.img").display().to_string();
    refused(&bench, &there, &disk.device, 30, &["lies on", &disk.device]);
    // The disk that is made of the image.
    let disk = Disk::of(image.clone().into(), &[]);
    refused(&bench, &image, &disk.device, 30, &["lies on"]);
}

#[test]
fn a_disk_that_another_program_has_locked() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    let locked = std::fs::File::open(&disk.device).unwrap();
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockExclusive).unwrap();
    refused(&bench, &image, &disk.device, 26, &["in use by another program"]);
    assert!(disk.is_untouched());
}

#[test]
fn a_disk_that_was_mounted_while_the_question_stood() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    let script = "[[ $* != *--rereadpt* ]] || { echo busy >&2; exit 1; }
exec \"$real\" \"$@\"";
    bench.stand_in("blockdev", script);
    refused(&bench, &image, &disk.device, 26, &["in use by something"]);
    assert!(disk.is_untouched());
}

/// A kernel that tells of other disks: sysfs and /proc, made by a script in which `$disk` is the
/// name of a real disk.
fn kernel(bench: &mut Bench, disk: &Disk, script: &str) {
    let name = disk.name();
    let fake = format!(
        "disk={name}
         rm -rf sys proc; mkdir -p sys/class/block sys/block sys/dev/block sys/devices proc/self
         add() {{ # path under devices, number, things it holds or is made of
           mkdir -p sys/devices/$1; ln -s ../../devices/$1 sys/class/block/${{1##*/}}
           ln -s ../../devices/$1 sys/dev/block/$2
           case $1 in */*) touch sys/devices/$1/partition ;; esac
         }}
         on() {{ # name of the upper, path of the lower
           mkdir -p sys/devices/$1/slaves/${{2##*/}} sys/devices/$2/holders/$1
         }}
         echo 'Filename Type Size Used Priority' >proc/swaps
         mount() {{ echo \"27 1 $1 / $2 rw - ${{4:-ext4}} $3 rw\" >>proc/self/mountinfo; }}
         add $disk 7:0; add $disk/${{disk}}p1 7:1; add $disk/${{disk}}p2 7:2
         mkdir -p sys/devices/$disk/queue; echo 512 >sys/devices/$disk/queue/logical_block_size
         echo 131072 >sys/devices/$disk/size; echo 0 >sys/devices/$disk/ro
         {script}"
    );
    sh(&bench.path(""), &fake);
    for (key, folder) in [("FLASH_SYSFS", "sys"), ("FLASH_PROC", "proc")] {
        let path = bench.path(folder).display().to_string();
        bench.env(key, path);
    }
}

#[test]
fn the_system_through_lvm_encryption_and_raid() {
    let Some(mut bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    for point in ["/", "/boot", "/boot/efi", "/usr"] {
        let script = format!(
            "mount 0:5 /proc proc proc
             add md0 9:0; add dm-0 253:0; add dm-1 253:1
             on md0 $disk/${{disk}}p2; on dm-0 md0; on dm-1 dm-0
             mount 253:1 {point} /dev/mapper/vg-root"
        );
        kernel(&mut bench, &disk, &script);
        refused(&bench, &image, &disk.device, 20, &["holds this computer's own system"]);
    }
}

#[test]
fn the_second_disk_of_a_btrfs_system() {
    let Some(mut bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    let script = |point| {
        format!(
            "mount 0:29 {point} /dev/vdz1 btrfs
             add vdz 8:0; add vdz/vdz1 8:1
             mkdir -p sys/fs/btrfs/id/devices; touch sys/fs/btrfs/id/devices/{{vdz1,${{disk}}p2}}"
        )
    };
    kernel(&mut bench, &disk, &script("/"));
    refused(&bench, &image, &disk.device, 20, &["own system"]);
    kernel(&mut bench, &disk, &script("/srv/films"));
    refused(&bench, &image, &disk.device, 21, &["is mounted at /srv/films"]);
}

#[test]
fn something_built_on_a_partition() {
    let Some(mut bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    let layers = "add dm-0 253:0; on dm-0 $disk/${disk}p1; touch proc/self/mountinfo";
    kernel(&mut bench, &disk, layers);
    refused(&bench, &image, &disk.device, 26, &["in use by dm-0"]);

    kernel(&mut bench, &disk, &format!("{layers}; mount 253:0 /mnt/my\\\\040disk /dev/mapper/x"));
    refused(&bench, &image, &disk.device, 21, &["is mounted at /mnt/my disk"]);

    kernel(&mut bench, &disk, &format!("{layers}; echo '/dev/dm-0 partition 9 0 -2' >>proc/swaps"));
    refused(&bench, &image, &disk.device, 22, &["swapoff /dev/dm-0"]);
}

#[test]
fn a_device_made_of_others_and_an_empty_card_reader() {
    let Some(mut bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    kernel(&mut bench, &disk, "touch proc/self/mountinfo; mkdir sys/devices/$disk/md");
    refused(&bench, &image, &disk.device, 31, &["is made of others"]);
    kernel(&mut bench, &disk, "touch proc/self/mountinfo; echo 0 >sys/devices/$disk/size");
    refused(&bench, &image, &disk.device, 31, &["has no medium in it"]);
}

#[test]
fn without_a_device_the_disks_are_listed() {
    let Some(mut bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    // Named as disks are; the file of the device is the real disk's.
    let node = format!("/dev/flashtest{}", std::process::id());
    sh(Path::new("/"), &format!("cp -a {} {node}", disk.device));
    let script = format!(
        "name={}; mkdir -p sys/block/{{sda,sr0,zram0,loop7,$name}}
         cp -r sys/devices/$disk sys/devices/$name; rm -r sys/devices/$name/*p?
         ln -s ../../devices/$name sys/class/block/$name
         mkdir sys/devices/$name/device; echo SD >sys/devices/$name/device/type
         add sda 8:0; mount 8:0 / /dev/sda",
        node.trim_start_matches("/dev/")
    );
    kernel(&mut bench, &disk, &script);
    bench.stand_in(
        "lsblk",
        "case \"$*\" in
           */dev/sda) echo 'SIZE=\"1000204886016\" RM=\"0\" TRAN=\"sata\" MODEL=\"Big\\x20Disk \" SERIAL=\"S1\"' ;;
           *) echo 'SIZE=\"31914983424\" RM=\"0\" TRAN=\"\" MODEL=\"\" SERIAL=\"\"' ;;
         esac",
    );
    let told = bench.flash(&[&image]);
    std::fs::remove_file(&node).unwrap();
    let card = format!("{node}  no model, 31.9 GB, sd, removable\n  /dev/sda");
    told.expect(
        3,
        &["/dev/sda  Big Disk, 1000.2 GB, sata, fixed, serial S1", "cannot be used", &card],
    );
    assert!(!["sr0", "zram0", "loop7"].iter().any(|name| told.said.contains(name)));
    assert!(disk.is_untouched());
}

#[test]
fn a_user_without_the_rights_is_told_of_sudo() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../flash.sh");
    sh(&bench.path(""), "chmod 755 . && chmod 644 box.img");
    let line = format!(
        "cd /; TMPDIR=/tmp exec setpriv --reuid 65534 --regid 65534 --clear-groups bash {script} --yes=67108864 {image} {}",
        disk.device
    );
    let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("cannot be read") || output.status.code() == Some(126) {
        return eprintln!("SKIPPED: another user cannot read this folder: {said}");
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("sudo ./flash.sh"), "{said}");
    assert!(disk.is_untouched());
}
