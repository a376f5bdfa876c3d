//! The kernel of a release mounts its root by itself: there is no initrd that could load a driver, and
//! one that waits for its root for ever is never ended by a watchdog.

use std::collections::BTreeMap;

use crate::{files, none, read};

/// What the root lies on and is made of, on every board: memory cards, NVMe, USB disks of both kinds.
const EVERYWHERE: &[&str] = &[
    "SCSI",
    "BLK_DEV_SD",
    "USB",
    "USB_XHCI_HCD",
    "USB_STORAGE",
    "USB_UAS",
    "BLK_DEV_NVME",
    "MMC",
    "MMC_BLOCK",
    "EFI_PARTITION",
    "SQUASHFS",
    "SQUASHFS_ZSTD",
];
/// A PC besides: the disks and cards of its mainboard, and USB 2.
const PC: &[&str] = &["ATA", "SATA_AHCI", "USB_EHCI_HCD", "MMC_SDHCI_PCI", "MMC_SDHCI_ACPI"];
/// A virtual machine besides.
const QEMU: &[&str] = &["VIRTIO_PCI", "VIRTIO_BLK", "SCSI_VIRTIO"];

/// The value of a line of Buildroot's configuration, without its quotes.
fn value(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_default().trim_matches('"').to_owned()
}

/// What our own files say of the kernel's options, the last one last, as the kernel's build merges them.
fn options(defconfig: &str) -> BTreeMap<String, String> {
    let base = value(defconfig, "BR2_LINUX_KERNEL_CUSTOM_CONFIG_FILE");
    let fragments = value(defconfig, "BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES");
    let mut options = BTreeMap::new();
    for path in base.split_whitespace().chain(fragments.split_whitespace()) {
        let path = path.strip_prefix("$(BR2_EXTERNAL_BACKROW_PATH)/../").expect("a file of ours");
        for line in read(path).lines() {
            let unset = line.strip_prefix("# ").and_then(|line| line.strip_suffix(" is not set"));
            let set = unset.map(|name| (name, "n")).or_else(|| line.split_once('='));
            if let Some((name, value)) = set
                && let Some(name) = name.strip_prefix("CONFIG_")
            {
                options.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    options
}

#[test]
fn what_the_root_may_lie_on_is_built_in() {
    let mut complaints = Vec::new();
    for file in files("buildroot/configs", "_defconfig") {
        let options = options(&read(&file));
        let board = if file.contains("_qemu_") {
            QEMU
        } else if file.contains("_pc_") {
            PC
        } else {
            &[]
        };
        for name in EVERYWHERE.iter().chain(board) {
            match options.get(*name).map(String::as_str) {
                Some("y") => {}
                Some(other) => complaints.push(format!("{file}: {name} is {other}")),
                None => complaints.push(format!("{file}: nothing says that {name} is built in")),
            }
        }
        if !file.contains("_qemu_") {
            let virtual_ones = options.keys().filter(|name| name.contains("VIRTIO"));
            complaints.extend(virtual_ones.map(|name| format!("{file} is no machine for {name}")));
        }
    }
    none(&complaints);
}

/// What is asked for without what it hangs on is dropped without a word. The foundation's own configuration
/// of a Raspberry Pi has the rest.
#[test]
fn wireless_networks_can_be_joined_and_their_strength_read() {
    let mut complaints = Vec::new();
    for file in files("buildroot/configs", "_defconfig") {
        let options = options(&read(&file));
        let wanted: &[&str] = if file.contains("_rpi") {
            &["CFG80211_WEXT"]
        } else if file.contains("_qemu_") {
            &["CFG80211", "CFG80211_WEXT", "MAC80211", "MAC80211_HWSIM", "BRIDGE"]
        } else {
            &["CFG80211", "CFG80211_WEXT", "MAC80211"]
        };
        let missing = wanted
            .iter()
            .filter(|name| !matches!(options.get(**name).map(String::as_str), Some("y" | "m")));
        complaints.extend(missing.map(|name| format!("{file}: {name} is missing")));
    }
    none(&complaints);
}

#[test]
fn no_kernel_waits_for_its_root_for_ever() {
    let mut complaints = Vec::new();
    for file in ["board/common/grub.cfg", "board/raspberrypi/image.sh"] {
        let text = read(file);
        let words = || text.split(|c: char| c.is_whitespace() || c == '\'');
        let waits: Vec<_> = words().filter(|word| word.starts_with("rootwait")).collect();
        if waits != ["rootwait=60"] {
            complaints.push(format!("{file}: it waits {waits:?}"));
        }
        if !words().any(|word| word.starts_with("panic=")) {
            complaints.push(format!("{file}: it does not restart after that"));
        }
    }
    none(&complaints);
}
