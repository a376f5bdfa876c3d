//! QEMU's command line for a machine. Pure, but for the look at which firmware is installed.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::setup::{Bus, Fault, Processor, Setup};

/// Where Debian has the UEFI firmware: code, and the variables to begin with.
fn firmware(processor: Processor) -> (PathBuf, PathBuf) {
    let (code, variables) = match processor {
        Processor::X86 => ("OVMF/OVMF_CODE_4M.fd", "OVMF/OVMF_VARS_4M.fd"),
        Processor::Arm => ("AAVMF/AAVMF_CODE.fd", "AAVMF/AAVMF_VARS.fd"),
    };
    let share = Path::new("/usr/share");
    (share.join(code), share.join(variables))
}

/// The emulator to run.
pub(super) fn program(processor: Processor) -> &'static str {
    match processor {
        Processor::X86 => "qemu-system-x86_64",
        Processor::Arm => "qemu-system-aarch64",
    }
}

/// Copies the firmware's variables, if they are not there yet: they are the machine's own.
///
/// # Panics
/// When the firmware is not installed.
pub(super) fn variables(processor: Processor, directory: &Path) -> PathBuf {
    let own = directory.join("variables.fd");
    if !own.exists() {
        let (_, original) = firmware(processor);
        std::fs::copy(&original, &own).unwrap_or_else(|error| {
            panic!("{}: {error}; `./setup.sh test` installs it", original.display())
        });
    }
    own
}

/// What QEMU runs for each connection to a server of the host.
const SERVER: &str = "server";
/// A file that is there while those servers are.
pub(super) const OUTSIDE: &str = "outside";

/// The second network card's address.
pub const UPLINK: &str = "52:54:00:12:34:57";

/// Writes the program that passes a connection on to a port here.
///
/// # Panics
/// When it cannot be written.
pub(super) fn server(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let script = "#!/bin/sh\n[ -e \"${0%/*}/outside\" ] && exec socat - TCP:127.0.0.1:\"$1\"\n";
    let file = directory.join(SERVER);
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The arguments; sockets, log and disk are in `directory`.
pub(super) fn arguments(setup: &Setup, disk: &Disk, directory: &Path) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    let mut args = Args::default();
    match setup.processor {
        Processor::X86 => args.add("-machine", "q35"),
        Processor::Arm => args.add("-machine", "virt"),
    }
    if std::env::var("BACKROW_KVM").is_ok_and(|it| it == "1") && setup.processor == Processor::X86 {
        args.add("-accel", "kvm");
        args.add("-cpu", "host");
    } else {
        args.add("-accel", "tcg,thread=multi");
        args.add("-cpu", "max");
    }
    args.add("-smp", "2");
    args.add("-m", &setup.memory.to_string());
    args.flag("-nodefaults");
    args.flag("-no-user-config");
    args.add("-display", "none");
    args.add("-device", if setup.processor == Processor::X86 { "VGA" } else { "ramfb" });
    args.add("-chardev", &format!("file,id=serial,append=on,path={}", file("serial.log")));
    args.add("-serial", "chardev:serial");
    args.add("-qmp", &format!("unix:{},server=on,wait=off", file("qmp")));
    let virtual_parts = setup.bus == Bus::Virtio;
    if virtual_parts {
        args.add("-device", "virtio-rng-pci");
    }
    if let Some(kernel) = &setup.kernel {
        args.add("-kernel", &kernel.image.display().to_string());
        args.add("-initrd", &kernel.initrd.display().to_string());
        args.add("-append", &kernel.command_line);
    } else {
        let (code, _) = firmware(setup.processor);
        let code = code.display();
        args.add("-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"));
        args.add("-drive", &format!("if=pflash,unit=1,format=raw,file={}", file("variables.fd")));
    }
    if let Some(Fault::Slow(bytes)) = &setup.fault {
        let limits = serde_json::json!({ "bps-total": bytes });
        let group =
            serde_json::json!({ "qom-type": "throttle-group", "id": "slow", "limits": limits });
        args.add("-object", &group.to_string());
    }
    if setup.twin {
        let image = setup.image.display();
        args.add("-drive", &format!("if=none,id=twin,format=raw,snapshot=on,file={image}"));
        args.add("-device", "virtio-blk-pci,drive=twin");
    }
    args.add("-blockdev", &blockdev(setup, disk));
    // A kernel that is given by itself comes first, and is number 0.
    let first = if setup.kernel.is_some() { "" } else { ",bootindex=0" };
    let disk = match setup.bus {
        Bus::Virtio => "virtio-blk-pci",
        Bus::Usb => "usb-storage,bus=xhci.0",
        Bus::Nvme => "nvme",
        Bus::Sata => "ide-hd,bus=ide.0",
    };
    if setup.bus == Bus::Usb {
        args.add("-device", "qemu-xhci,id=xhci");
    }
    args.add("-device", &format!("{disk},drive=disk,serial=backrow-boot{first}"));
    if let Some(volume) = &setup.volume {
        let volume = volume.display();
        args.add("-drive", &format!("if=virtio,format=raw,readonly=on,file={volume}"));
    }
    // Port 0: QEMU takes a free one, and tells.
    let to = &setup.address;
    let forwards = [22, 80].map(|port| format!("hostfwd=tcp:127.0.0.1:0-{to}:{port}")).join(",");
    let servers = setup
        .servers
        .iter()
        .map(|(address, port)| format!(",guestfwd=tcp:{address}:443-cmd:{} {port}", file(SERVER)));
    let servers: String = servers.collect();
    args.add("-netdev", &format!("user,id=net,ipv6=off,{forwards}{servers}"));
    if setup.uplink {
        args.add("-netdev", "hubport,id=net-port,hubid=0,netdev=net");
        args.add("-netdev", "hubport,id=nic-port,hubid=0");
        args.add("-netdev", "hubport,id=uplink-port,hubid=0");
    }
    let card = if virtual_parts { "virtio-net-pci" } else { "e1000e" };
    // A hub joins two cards to one network.
    let socket = if setup.uplink { "nic-port" } else { "net" };
    args.add("-device", &format!("{card},id=nic,netdev={socket},mac=52:54:00:12:34:56"));
    if setup.uplink {
        args.add("-device", &format!("{card},id=uplink,netdev=uplink-port,mac={UPLINK}"));
    }
    args.add("-rtc", &format!("base={}", setup.clock.as_deref().unwrap_or("utc")));
    if setup.watchdog {
        args.add("-device", "i6300esb");
        args.add("-action", "watchdog=reset");
    }
    if setup.grabber {
        args.add("-device", "usb-ehci,id=ehci");
        args.add("-chardev", &format!("socket,id=grabber,path={}", file("grabber")));
        args.add("-device", "usb-redir,chardev=grabber,bus=ehci.0");
    }
    args.0
}

/// The disk with what is wrong with it, in QEMU's JSON.
fn blockdev(setup: &Setup, disk: &Disk) -> String {
    let file = serde_json::json!({
        "driver": disk.format(),
        "discard": "unmap",
        // The host's own disk is not under test: its cache is never flushed for us.
        "cache": { "no-flush": !matches!(setup.fault, Some(Fault::Logged(_))) },
        "file": { "driver": "file", "filename": disk.path() },
    });
    let mut node = match &setup.fault {
        None => file,
        Some(Fault::FailingWrites) => {
            let faults = ["write", "write-zeroes", "discard", "flush"]
                .map(|kind| serde_json::json!({ "event": "none", "iotype": kind, "errno": 5 }));
            serde_json::json!({ "driver": "blkdebug", "inject-error": faults, "image": file })
        }
        Some(Fault::Slow(_)) => {
            serde_json::json!({ "driver": "throttle", "throttle-group": "slow", "file": file })
        }
        Some(Fault::Logged(log)) => serde_json::json!({
            "driver": "blklogwrites",
            "log-sector-size": 512,
            "file": file,
            "log": { "driver": "file", "filename": log },
        }),
    };
    node["node-name"] = "disk".into();
    node.to_string()
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }
    fn add(&mut self, name: &str, value: &str) {
        self.0.extend([name.into(), value.into()]);
    }
}
