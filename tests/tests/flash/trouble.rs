//! What is left when something goes wrong in the middle: never a disk that boots half an image.

use std::path::Path;

use crate::rig::{Bench, CONFIG, Disk, ROOTFS};

const YES: &str = "--yes=67108864";

/// Puts a script into dd: at the time of `$at`, one of "write" (a piece of the image goes to the
/// disk; `$n` tells which) and "read" (something is read back).
fn at_dd(bench: &Bench, disk: &Disk, script: &str) {
    let count = bench.path("count");
    bench.stand_in(
        "dd",
        &format!(
            "disk={}; at=; n=0; arguments=\" $* \"
             case $arguments in
               *' if=/dev/zero '*) ;;
               *\" of=$disk \"*)
                 at=write; echo >>{count}; n=$(wc -l <{count}) ;;
               *\" if=$disk \"*) at=read ;;
             esac
             {script}
             exec \"$real\" \"$@\"",
            disk.device,
            count = count.display()
        ),
    );
}

/// Something in the disk changes once, when `when` is true.
fn flip(bench: &Bench, disk: &Disk, at: usize, when: &str) {
    let once = bench.path("once");
    let script = format!(
        "if {when} && [ ! -e {once} ]; then
           touch {once}
           byte=$(od -An -tu1 -j {at} -N 1 $disk)
           printf \"\\\\$(printf %03o $((byte ^ 4)))\" |
             $real of=$disk bs=1 seek={at} conv=notrunc status=none
         fi",
        once = once.display()
    );
    at_dd(bench, disk, &script);
}

#[test]
fn a_bit_that_flips_is_found_when_reading_back() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    flip(&bench, &disk, ROOTFS + 1_234_567, "[ $at = read ]");
    let failed = bench.flash(&[YES, &image, &disk.device]);
    failed.expect(41, &["differs from what was written", "partition table", "was blanked"]);
    disk.expect_no_table();
}

#[test]
fn a_bit_that_flips_in_the_site_is_found_too() {
    let Some(bench) = Bench::new() else { return };
    let (image, site) = (bench.image(), bench.write("site.toml", "room = \"demo\"\n"));
    let disk = bench.disk(64);
    flip(&bench, &disk, CONFIG.end - 5000, "[ $at = read ]");
    bench.flash(&[YES, "--site", &site, &image, &disk.device]).expect(41, &["was blanked"]);
    disk.expect_no_table();
}

#[test]
fn a_bit_that_flips_in_the_partition_table_is_found_last() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    flip(&bench, &disk, 520, "[ $at = read ] && [[ $arguments = *' skip=0 '* ]]");
    let failed = bench.flash(&[YES, &image, &disk.device]);
    failed.expect(41, &["Reading 100 %", "blocks 0 to", "was blanked"]);
    disk.expect_no_table();
}

#[test]
fn who_does_not_want_it_read_back_gets_no_reading() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    at_dd(&bench, &disk, "[ \"$at\" != read ] || exit 1");
    bench.flash(&["--no-verify", YES, &image, &disk.device]).expect(0, &["is ready"]);
    disk.expect_image(Path::new(&image), 0..0);
}

#[test]
fn a_signal_in_the_middle_leaves_no_table() {
    let Some(bench) = Bench::new() else { return };
    for (signal, code) in [("HUP", 129), ("INT", 130), ("TERM", 143)] {
        let (image, disk) = (bench.image(), bench.disk(64));
        let _ = std::fs::remove_file(bench.path("count"));
        at_dd(&bench, &disk, &format!("[ $n != 3 ] || kill -{signal} $PPID"));
        let stopped = bench.flash(&[YES, &image, &disk.device]);
        stopped.expect(code, &["was blanked", "Flash it again"]);
        disk.expect_no_table();
        assert_eq!(
            std::fs::read(bench.path("count")).unwrap().len(),
            3,
            "it went on after {signal}"
        );
    }
}

#[test]
fn killed_with_all_but_the_table_written_there_is_no_table() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    // dd is started by a copy of a copy of the shell; their parent is the child of `timeout`.
    let script = "up() { ps -o ppid= -p $1 | tr -d ' '; }
                  if [ \"$at\" = read ] && mkdir killed 2>/dev/null; then
                    first=$PPID
                    while [ $first ] && [ \"$(ps -o comm= -p $(up $first))\" != timeout ]; do first=$(up $first); done
                    kill -KILL $first
                  fi";
    at_dd(&bench, &disk, script);
    assert_eq!(bench.flash(&[YES, &image, &disk.device]).code, 137);
    disk.expect_no_table();
    let (wanted, got) = (std::fs::read(&image).unwrap(), disk.bytes());
    let all = ROOTFS..ROOTFS + 3_000_000;
    assert!(wanted[all.clone()] == got[all], "it was killed too early for this test");
}

#[test]
fn a_disk_that_stops_taking_data_is_reported() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    at_dd(&bench, &disk, "[ $n != 4 ] || { echo 'dd: writing: Input/output error' >&2; exit 1; }");
    let failed = bench.flash(&[YES, &image, &disk.device]);
    failed.expect(40, &["writing to", "Input/output error", "was blanked"]);
    disk.expect_no_table();
}

#[test]
fn a_disk_that_vanishes_is_reported_as_it_is() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let gone = bench.path("gone");
    bench.stand_in(
        "dd",
        &format!(
            "case \" $* \" in
               *' if=/dev/zero '*) [ ! -e {gone} ] || exit 1 ;;
               *' of={} '*) touch {gone}; echo 'dd: No such device' >&2; exit 1 ;;
             esac
             exec \"$real\" \"$@\"",
            disk.device,
            gone = gone.display()
        ),
    );
    let failed = bench.flash(&[YES, &image, &disk.device]);
    failed.expect(40, &["No such device", "could not be blanked", "Do not boot from it"]);
    disk.expect_no_table();
}
