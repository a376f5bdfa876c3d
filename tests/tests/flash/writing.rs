//! What arrives on the disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::{Bench, CONFIG, Disk, sh};

/// A site.toml as an editor on Windows may write it.
const SITE: &str = "\u{feff}room = \"main-hall\"\r\n\r\n[encoder]\r\nurl = \"rtmps://live.example\" # it's ours\r\ntoken = \"correct horse\"\r\n";

/// A file on the CONFIG partition, as mtools reads it from the disk.
fn on_config(disk: &Disk, name: &str) -> Vec<u8> {
    let partition = format!("{}@@{}", disk.device, CONFIG.start);
    let args = ["-i", &partition, &format!("::{name}"), "-"];
    let output = Command::new("mcopy").args(args).env("MTOOLSRC", "/dev/null").output().unwrap();
    assert!(output.status.success(), "mcopy: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn an_image_and_its_site_arrive() {
    let Some(bench) = Bench::new() else { return };
    let (image, site) = (bench.image(), bench.write("mine.toml", SITE));
    let disk = bench.disk(64);
    bench.looks_like(64 << 20, true, "Flash Drive", "1234");
    let done = bench.answer("y\n", &["--site", &site, &image, &disk.device]);
    done.expect(0, &["Flash Drive", "Writing 100 %", "Reading 100 %", "is ready"]);
    done.expect(0, &["moves its secrets to its own disk at its first start"]);

    assert_eq!(on_config(&disk, "site.toml"), SITE.as_bytes(), "site.toml is not as it was");
    assert_eq!(on_config(&disk, "README.txt"), b"Put site.toml here.\n");
    disk.expect_image(Path::new(&image), CONFIG);
    disk.sh(&format!(
        "sfdisk --json $disk 2>/dev/null | grep -q '\"name\": \"config\"'
         dd if=$disk of={0} bs=1M skip=13 count=8 status=none; fsck.vfat -n {0}",
        bench.path("config").display()
    ));
}

#[test]
fn without_a_site_the_disk_is_the_image() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let done = bench.flash(&[&format!("--yes={}", 64 << 20), &image, &disk.device]);
    done.expect(0, &["still needs its site.toml", "CONFIG"]);
    disk.expect_image(Path::new(&image), 0..0);
}

#[test]
fn packed_images_are_the_same_image() {
    let Some(bench) = Bench::new() else { return };
    let image = bench.image();
    sh(
        Path::new(&image).parent().unwrap(),
        "zstd -q box.img; xz -k0 box.img; gzip -k1 box.img
         for f in box.img.zst box.img.xz box.img.gz; do sha256sum $f >$f.sha256; done",
    );
    for packing in ["zst", "xz", "gz"] {
        let disk = bench.disk(32);
        let packed = format!("{image}.{packing}");
        let done = bench.flash(&[&format!("--yes={}", 32 << 20), &packed, &disk.device]);
        done.expect(0, &["Checking the image against its checksum", "against its block map"]);
        disk.expect_image(Path::new(&image), 0..0);
    }
}

#[test]
fn without_a_block_map_all_of_the_image_is_written() {
    let Some(bench) = Bench::new() else { return };
    // As large as the image: the table's copy is at the end of both.
    let (image, disk) = (bench.raw_image(), bench.disk(24));
    let done = bench.flash(&[&format!("--yes={}", 24 << 20), &image, &disk.device]);
    done.expect(0, &["There is no checksum beside", "24 MiB are written"]);
    assert!(disk.bytes() == std::fs::read(&image).unwrap(), "the disk is not the image");
}

#[test]
fn a_site_goes_into_an_image_without_a_block_map() {
    let Some(bench) = Bench::new() else { return };
    let (image, site) = (bench.raw_image(), bench.write("site.toml", SITE));
    let disk = bench.disk(24);
    bench
        .flash(&["--site", &site, &format!("--yes={}", 24 << 20), &image, &disk.device])
        .expect(0, &[]);
    assert_eq!(on_config(&disk, "site.toml"), SITE.as_bytes());
    let (wanted, got) = (std::fs::read(&image).unwrap(), disk.bytes());
    assert!(wanted[..CONFIG.start] == got[..CONFIG.start]);
    assert!(wanted[CONFIG.end..] == got[CONFIG.end..]);
}

#[test]
fn an_image_that_ends_within_a_block_is_written_and_read_back() {
    let Some(bench) = Bench::new() else { return };
    let image = PathBuf::from(bench.raw_image());
    sh(
        image.parent().unwrap(),
        "truncate -s +512 box.img; bmaptool -q create box.img -o box.img.bmap",
    );
    let disk = bench.disk(32);
    bench
        .flash(&["--yes=33554432", image.to_str().unwrap(), &disk.device])
        .expect(0, &["is ready"]);
    let (wanted, got) = (std::fs::read(&image).unwrap(), disk.bytes());
    assert!(wanted[..1 << 20] == got[..1 << 20]);
}

#[test]
fn a_dry_run_checks_everything_and_writes_nothing() {
    let Some(bench) = Bench::new() else { return };
    let (image, site) = (bench.image(), bench.write("site.toml", SITE));
    let disk = bench.disk(64);
    let told = bench.flash(&["--dry-run", "--site", &site, &image, &disk.device]);
    told.expect(0, &["Image:  box.img, 24 MiB", "Disk:", "Site:", "nothing was written"]);
    assert!(disk.is_untouched());
}
