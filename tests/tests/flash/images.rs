//! Images and site files that are not what they should be: found before the disk is touched.

use std::path::Path;

use crate::rig::{Bench, Disk, ROOTFS, patch, sh};

/// Expects a refusal that leaves the disk alone.
#[track_caller]
fn refused(bench: &Bench, disk: &Disk, image: &str, code: i32, words: &[&str]) {
    bench.flash(&["--yes=67108864", image, &disk.device]).expect(code, words);
    assert!(disk.is_untouched(), "it wrote to the disk");
}

#[test]
fn a_damaged_image_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let sum = std::fs::read_to_string(bench.path("box.img.sha256")).unwrap();
    patch(Path::new(&image), ROOTFS + 99, b"damage");
    refused(&bench, &disk, &image, 11, &["does not match its checksum", "Fetch it again"]);

    // A checksum made afterwards does not help where the block map knows.
    sh(bench.path("").as_path(), "sha256sum box.img >box.img.sha256");
    refused(&bench, &disk, &image, 11, &["does not match its block map"]);

    // Sums of other programs and systems: in capitals, with a CR, alone.
    std::fs::remove_file(bench.path("box.img.bmap")).unwrap();
    let capitals = format!("{} *box.img\r\n", sum[..64].to_uppercase());
    bench.write("box.img.sha256", capitals);
    refused(&bench, &disk, &image, 11, &["does not match its checksum"]);
    bench.write("box.img.sha256", &sum[..64]);
    refused(&bench, &disk, &image, 11, &["does not match its checksum"]);
    bench.write("box.img.sha256", "");
    refused(&bench, &disk, &image, 11, &["has no checksum of the image"]);
}

#[test]
fn a_damaged_block_map_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let map = std::fs::read_to_string(bench.path("box.img.bmap")).unwrap();
    bench.write("box.img.bmap", map.replace("> 0-", "> 1-"));
    refused(&bench, &disk, &image, 11, &["the block map", "is damaged"]);

    // The map of another build, whole in itself.
    sh(
        bench.path("").as_path(),
        "cp --sparse=always box.img other.img; truncate -s +1M other.img
         bmaptool -q create other.img -o box.img.bmap",
    );
    refused(&bench, &disk, &image, 11, &["is of another image"]);

    // One that is not known here is not trusted, and not needed.
    bench.write("box.img.bmap", map.replace("sha256", "sha1"));
    let told = bench.flash(&["--dry-run", &image, &disk.device]);
    told.expect(0, &["the whole image is written", "24 MiB are written"]);
}

#[test]
fn a_packed_image_that_is_cut_off_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    for (packing, pack) in [("zst", "zstd -qf"), ("xz", "xz -kf0"), ("gz", "gzip -kf1")] {
        let cut = format!("{pack} box.img; truncate -s -100 box.img.{packing}");
        sh(bench.path("").as_path(), &cut);
        let packed = format!("{image}.{packing}");
        refused(&bench, &disk, &packed, 10, &["cannot be unpacked"]);
    }
}

#[test]
fn what_is_no_disk_image_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let disk = bench.disk(64);
    let text = bench.write("notes.txt", "not an image\n".repeat(1_000_000));
    refused(&bench, &disk, &text, 10, &["is not a disk image"]);
    let short = bench.write("short.img", "");
    refused(&bench, &disk, &short, 10, &["is not a disk image"]);
    // One filesystem, as of a single partition.
    sh(bench.path("").as_path(), "truncate -s 16M fat.img; mkfs.vfat fat.img");
    let fat = bench.path("fat.img").display().to_string();
    refused(&bench, &disk, &fat, 10, &["no GPT partition table"]);
}

#[test]
fn a_wrong_site_is_refused_with_its_line() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let wrong: [(&[u8], &str); 8] = [
        (b"", "is empty"),
        (b"room = \"a\"\n\nencoder rtmp://x\n", "line 3: this is neither [table] nor key = value"),
        (b"[encoder\nurl = 1\n", "line 1: this is neither"),
        (b"room = \"a\n", "line 1: a quotation mark is missing"),
        (b"[mqtt]\r\nca = '''\r\nMIIB\r\n", "a text in ''' does not end"),
        (b"room = \"caf\xe9\"\n", "not UTF-8"),
        (b"PK\x03\x04\x00\x00", "is not a text file"),
        (&[b'#'; (1 << 20) + 1], "larger than 1 MiB"),
    ];
    for (text, complaint) in wrong {
        let site = bench.write("site.toml", text);
        let told = bench.flash(&["--yes=67108864", "--site", &site, &image, &disk.device]);
        told.expect(13, &["site.toml", complaint]);
    }
    bench
        .flash(&["--site", "nowhere", &image, &disk.device])
        .expect(13, &["nowhere cannot be read"]);
    assert!(disk.is_untouched());
}

#[test]
fn a_site_with_all_that_toml_has_is_taken() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let text = r#"
# it's a comment with "one quotation mark
room = "a \"quoted\" # name"
'quoted key' = 1 # don't
list = [ "a]", # one
  "b", { c = [1, 2] },
]
[ mqtt ]
ca = """
-----BEGIN CERTIFICATE-----
MIIB [ "
-----END CERTIFICATE-----"""
one.line = '''don't'''
[[sources]]
kind = 'C:\dv'
"#;
    let site = bench.write("site.toml", text);
    bench.flash(&["--dry-run", "--site", &site, &image, &disk.device]).expect(0, &["all is well"]);
}

#[test]
fn an_image_without_config_takes_no_site() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.raw_image(), bench.disk(64));
    let site = bench.write("site.toml", "room = \"demo\"\n");
    let args = ["--yes=67108864", "--site", &site, &image, &disk.device];
    sh(bench.path("").as_path(), "sfdisk -q --part-label box.img 4 other");
    bench.flash(&args).expect(13, &["has no CONFIG partition"]);
    // One of that name, with nothing in it.
    sh(
        bench.path("").as_path(),
        "sfdisk -q --part-label box.img 4 config
         dd if=/dev/zero of=box.img bs=1M seek=13 count=8 conv=notrunc status=none",
    );
    bench.flash(&args).expect(13, &["does not go into the CONFIG partition"]);
    assert!(disk.is_untouched());
}
