//! What of the makers' firmware stays in an image: `board/common/firmware.sh`, run by itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::root;

fn run(words: &str, firmware: &Path, input: &str) {
    let script = format!("set -euo pipefail; source board/common/firmware.sh; {words}");
    let mut child = Command::new("bash")
        .args(["-c", &script, "bash"])
        .arg(firmware)
        .current_dir(root())
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{words}");
}

fn put(firmware: &Path, names: &[&str]) {
    for name in names {
        let file = firmware.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("<{name}>")).unwrap();
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn each_radio_keeps_the_version_its_driver_takes() {
    let there = tempfile::tempdir().unwrap();
    let firmware = there.path();
    let intel = [
        // The newest that the driver knows, and one it does not know yet.
        "iwlwifi-cc-a0-59.ucode",
        "iwlwifi-cc-a0-77.ucode",
        "iwlwifi-cc-a0-100.ucode",
        // The newest that it knows is not there: it takes the next.
        "iwlwifi-so-a0-gf-a0-86.ucode",
        "iwlwifi-so-a0-gf-a0-83.ucode",
        "iwlwifi-so-a0-gf-a0.pnvm",
        // No driver.
        "iwlwifi-100-5.ucode",
    ];
    put(firmware, &intel.map(|name| format!("intel/iwlwifi/{name}")).each_ref().map(|n| &**n));
    for name in intel {
        symlink(format!("intel/iwlwifi/{name}"), firmware.join(name)).unwrap();
    }
    put(
        firmware,
        &[
            "rtw89/rtw8852b_fw.bin",
            "rtw89/rtw8852b_fw-1.bin",
            "rtw89/rtw8852b_fw-2.bin",
            "rtw89/rtw8922a_fw.bin",
            "rtw89/rtw8851b_fw.bin",
            "rtl_nic/rtl8168h-2.fw",
        ],
    );
    let wanted = "iwlwifi-cc-a0-77.ucode\niwlwifi-so-a0-gf-a0-89.ucode\nrtw89/rtw8852b_fw-1.bin\n\
                  rtw89/rtw8851b_fw.bin\n";
    run("newest_firmware \"$1\"", firmware, wanted);
    let kept =
        ["iwlwifi-cc-a0-77.ucode", "iwlwifi-so-a0-gf-a0-86.ucode", "iwlwifi-so-a0-gf-a0.pnvm"]
            .map(str::to_owned);
    assert_eq!(names(&firmware.join("intel/iwlwifi")), BTreeSet::from(kept.clone()));
    let kept = BTreeSet::from(kept);
    let found = names(firmware);
    let links: BTreeSet<_> = found.iter().filter(|name| name.starts_with("iwl")).cloned().collect();
    assert_eq!(links, kept, "links to what is gone are gone");
    let realtek = ["rtw8852b_fw-1.bin", "rtw8851b_fw.bin"].map(str::to_owned);
    assert_eq!(names(&firmware.join("rtw89")), BTreeSet::from(realtek));
    assert_eq!(names(&firmware.join("rtl_nic")).len(), 1, "what has no versions stays");
}

#[test]
fn a_processors_corrections_are_where_the_kernel_looks() {
    let there = tempfile::tempdir().unwrap();
    let firmware = there.path();
    // A laptop's, two servers'.
    put(firmware, &["intel-ucode/06-8e-09", "intel-ucode/06-8f-04", "intel-ucode/06-55-04"]);
    put(firmware, &["amd-ucode/microcode_amd.bin", "amd-ucode/microcode_amd_fam17h.bin"]);
    run("early_microcode \"$1\" \"$1/initrd\"", firmware, "");
    assert_eq!(names(firmware), BTreeSet::from(["initrd".to_owned()]));
    let archive = fs::File::open(firmware.join("initrd")).unwrap();
    let unpacked = Command::new("cpio")
        .args(["-i", "--quiet", "--no-absolute-filenames", "-d"])
        .current_dir(firmware)
        .stdin(archive)
        .status()
        .unwrap();
    assert!(unpacked.success());
    let read = |name: &str| {
        let file = firmware.join("kernel/x86/microcode").join(name);
        fs::read_to_string(file).unwrap()
    };
    assert_eq!(read("GenuineIntel.bin"), "<intel-ucode/06-8e-09>");
    let amd = "<amd-ucode/microcode_amd.bin><amd-ucode/microcode_amd_fam17h.bin>";
    assert_eq!(read("AuthenticAMD.bin"), amd);
}
