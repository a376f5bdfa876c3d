//! What a machine is made of: image, disk, clock, devices, and what goes wrong with them.

use std::path::{Path, PathBuf};

/// The kind of processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// A PC.
    X86,
    /// 64-bit ARM, on QEMU's `virt` board.
    Arm,
}

/// How the disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// As only emulators have it, like the network card then.
    Virtio,
    /// A stick; like the following, in a machine without any virtio device, as one buys it.
    Usb,
    /// A solid-state disk on PCI Express.
    Nvme,
    /// SATA.
    Sata,
}

/// Something between the machine and its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It can be read, but whatever writes gets EIO, as from a worn-out flash card.
    FailingWrites,
    /// No more bytes a second than this.
    Slow(u64),
    /// Every write is kept in this log.
    Logged(PathBuf),
}

/// A kernel that is booted by itself, without firmware and boot loader.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Its file.
    pub image: PathBuf,
    /// The initial file system.
    pub initrd: PathBuf,
    /// Its command line.
    pub command_line: String,
}

/// A machine, before it is started.
#[derive(Debug, Clone)]
pub struct Setup {
    pub(super) processor: Processor,
    pub(super) image: PathBuf,
    pub(super) bus: Bus,
    pub(super) clock: Option<String>,
    pub(super) fault: Option<Fault>,
    pub(super) watchdog: bool,
    pub(super) grabber: bool,
    pub(super) cable: bool,
    pub(super) uplink: bool,
    pub(super) address: String,
    pub(super) servers: Vec<(String, u16)>,
    pub(super) config: Vec<(String, Vec<u8>)>,
    pub(super) kernel: Option<Kernel>,
    pub(super) volume: Option<PathBuf>,
    pub(super) twin: bool,
    pub(super) memory: u32,
}

impl Setup {
    /// The image under test: `IMAGE`, or else the bench image.
    pub fn new() -> Self {
        let image = std::env::var_os("IMAGE").map(PathBuf::from);
        Self {
            processor: Processor::X86,
            image: image.unwrap_or_else(|| bench("x86_64")),
            bus: Bus::Virtio,
            clock: None,
            fault: None,
            watchdog: false,
            grabber: false,
            cable: true,
            uplink: false,
            address: "10.0.2.15".into(),
            servers: Vec::new(),
            config: Vec::new(),
            kernel: None,
            volume: None,
            twin: false,
            memory: 1024,
        }
    }

    /// The bench image for ARM.
    #[must_use]
    pub fn arm() -> Self {
        Self { processor: Processor::Arm, image: bench("aarch64"), ..Self::new() }
    }

    /// No box: a PC with this disk, whose kernel is taken from beside it, and so many MiB of memory.
    #[must_use]
    pub fn computer(image: PathBuf, kernel: Kernel, memory: u32) -> Self {
        Self { image, kernel: Some(kernel), memory, ..Self::new() }
    }

    /// With a second disk, a file that is only read.
    #[must_use]
    pub fn with_volume(mut self, file: &Path) -> Self {
        self.volume = Some(file.into());
        self
    }

    /// With a second disk that was flashed with the same image and never started, and that the kernel
    /// finds first; what is written to it is lost.
    #[must_use]
    pub fn with_twin(mut self) -> Self {
        self.twin = true;
        self
    }

    /// With a file on the CONFIG partition.
    #[must_use]
    pub fn with_file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.config.push((name.into(), content.into()));
        self
    }

    /// With this as `site.toml`.
    #[must_use]
    pub fn with_site(self, text: impl Into<Vec<u8>>) -> Self {
        self.with_file("site.toml", text)
    }

    /// With its disk attached so.
    #[must_use]
    pub fn on(mut self, bus: Bus) -> Self {
        self.bus = bus;
        self
    }

    /// With a clock that shows this when it is switched on, such as `1970-01-01T00:00:00`.
    #[must_use]
    pub fn with_clock(mut self, at: &str) -> Self {
        self.clock = Some(at.into());
        self
    }

    /// With something wrong with its disk.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// With a watchdog chip that resets it.
    #[must_use]
    pub fn with_watchdog(mut self) -> Self {
        self.watchdog = true;
        self
    }

    /// With a USB port for a grabber.
    #[must_use]
    pub fn with_grabber(mut self) -> Self {
        self.grabber = true;
        self
    }

    /// With its network cable pulled.
    #[must_use]
    pub fn without_cable(mut self) -> Self {
        self.cable = false;
        self
    }

    /// With a second network card in the same network, its cable pulled: the test hands it to an access
    /// point in the machine.
    #[must_use]
    pub fn with_uplink(mut self) -> Self {
        self.uplink = true;
        self
    }

    /// Connections from the test go to this address, rather than to the one that DHCP gives.
    #[must_use]
    pub fn at_address(mut self, address: &str) -> Self {
        self.address = address.into();
        self
    }

    /// With a server of the host, which listens at `port` of its loopback, at port 443 of `address`
    /// in the machine's network, while [`Machine::outside`](super::Machine::outside) is there.
    #[must_use]
    pub fn with_server(mut self, address: &str, port: u16) -> Self {
        self.servers.push((address.into(), port));
        self
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// Where `make bench-image` puts its image and what belongs to it.
pub fn bench_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench")
}

fn bench(processor: &str) -> PathBuf {
    bench_directory().join(format!("backrow-bench_{processor}.img"))
}

/// One of the updates that were made with the bench image, such as `good`.
///
/// # Panics
/// When there is none of that name.
pub fn bundle(name: &str) -> PathBuf {
    let directory = std::env::var_os("BUNDLES").map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| bench_directory().join("bundles"));
    let file = directory.join(format!("{name}.raucb"));
    assert!(file.is_file(), "{} is missing; `make bench-image` makes it", file.display());
    file
}
