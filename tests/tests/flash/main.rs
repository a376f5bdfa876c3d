//! `flash.sh` on loop devices: what it refuses, what it writes, and what it leaves when
//! something goes wrong.
//!
//! The disks are real ones of the kernel, of a file each. Hardware that no test machine has is
//! faked where the kernel tells of it; macOS is stand-ins for its commands, and only that.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test says what it expects by panicking

mod confirmation;
mod images;
mod macos;
mod refusals;
mod rig;
mod trouble;
mod writing;

use rig::Bench;

#[test]
fn the_help_tells_every_exit_code() {
    let bench = Bench::without_disks();
    let help = bench.flash(&["--help"]);
    help.expect(0, &["Usage: ./flash.sh", "--site FILE", "--dry-run", "--yes=WORD", "--no-verify"]);
    let script = |name: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        std::fs::read_to_string(format!("{root}/{name}")).unwrap()
    };
    let parts =
        ["flash.sh", "flash/image.sh", "flash/linux.sh", "flash/macos.sh", "flash/write.sh"];
    for text in parts.map(script) {
        let codes = ["die ", "return ", "exit "].map(|word| text.split(word).skip(1).collect());
        for code in codes.into_iter().flat_map(|rest: Vec<&str>| rest) {
            let code = code.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            let known = code.is_empty()
                || help.said.lines().any(|line| {
                    let (codes, _) = line.trim().split_once("  ").unwrap_or_default();
                    codes.split(", ").any(|known| known == code)
                });
            assert!(known, "--help does not tell what exit code {code} means");
        }
    }
}

#[test]
fn wrong_usage_is_explained() {
    let bench = Bench::without_disks();
    bench.flash::<&str>(&[]).expect(2, &["no IMAGE was named"]);
    bench.flash(&["--fast", "box.img"]).expect(2, &["unknown option '--fast'"]);
    bench.flash(&["--site"]).expect(2, &["--site needs a file"]);
    bench.flash(&["a.img", "/dev/a", "/dev/b"]).expect(2, &["one IMAGE and one DEVICE"]);
    bench.flash(&["box.img", "/dev/a"]).expect(10, &["the image box.img cannot be read"]);
}
