//! Who must say what before a disk is overwritten.

use crate::rig::Bench;

const SMALL: u64 = 32_000_000_000;
const LARGE: u64 = 512_000_000_000;

#[test]
fn a_small_removable_disk_needs_a_yes() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    bench.looks_like(SMALL, true, "Ultra Fit", "4C53");
    let args = [&image, &disk.device];
    for no in ["", "\n", "n\n", "Ultra\n"] {
        let told = bench.answer(no, &args);
        told.expect(4, &["Ultra Fit, 32.0 GB, usb, removable, serial 4C53", "Not confirmed"]);
    }
    bench.flash(&["--yes=Another", &image, &disk.device]).expect(4, &["is not 'Ultra Fit'"]);
    assert!(disk.is_untouched());
    bench.flash(&["--yes", &image, &disk.device]).expect(0, &["is ready"]);
}

#[test]
fn a_large_or_fixed_disk_needs_its_name_typed() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let args = [&image, &disk.device];
    for (size, removable) in [(LARGE, true), (SMALL, false)] {
        bench.looks_like(size, removable, "Backup Disk", "WX21");
        bench.answer("y\n", &args).expect(4, &["Type 'Backup Disk'", "'y' is not 'Backup Disk'"]);
        bench.answer("", &args).expect(4, &["Not confirmed"]);
        let yes = bench.flash(&["--yes", &image, &disk.device]);
        yes.expect(4, &["say --yes='Backup Disk' if you mean it"]);
        bench.flash(&["--yes=Backup", &image, &disk.device]).expect(4, &["is not 'Backup Disk'"]);
        bench.flash(&["--yes=", &image, &disk.device]).expect(4, &[]);
    }
    assert!(disk.is_untouched());
    bench.answer("Backup Disk\n", &args).expect(0, &["is ready"]);
    bench.answer("WX21\n", &args).expect(0, &["is ready"]);
    bench.flash(&["--yes=WX21", &image, &disk.device]).expect(0, &["is ready"]);
}

#[test]
fn a_disk_without_a_model_is_named_by_its_serial_or_its_size() {
    let Some(bench) = Bench::new() else { return };
    let (image, disk) = (bench.image(), bench.disk(64));
    let args = [&image, &disk.device];
    bench.looks_like(LARGE, true, "  ", "WX21");
    bench.answer("\n", &args).expect(4, &["Type 'WX21'"]);
    bench.looks_like(LARGE, true, "", "");
    bench.answer("0\n", &args).expect(4, &["Type '512000000000'"]);
    assert!(disk.is_untouched());
    bench.answer("512000000000\n", &args).expect(0, &["is ready"]);
}
