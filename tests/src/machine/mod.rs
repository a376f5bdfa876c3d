//! A box in an emulated machine: QEMU boots the disk image through UEFI and GRUB as the hardware
//! does, and the test is the venue around it.
//!
//! ```text
//! test ─┬─ QMP ───────────▶ QEMU: power, cable, reset          (qmp)
//!       ├─ USB socket ────▶ QEMU: a grabber, plugged or not    (grabber, uvc, usbredir)
//!       ├─ ssh ───────────▶ the box: look, and do harm
//!       ├─ broker, encoder ◀── the box, which sees them at 10.0.2.2
//!       └─ disk: a layer over the image; files into CONFIG     (disk, gpt)
//!                its writes logged and replayed                (blocklog)
//! ```
//!
//! A machine that is no box, but a Debian that one rents, is [`Setup::computer`].
//!
//! The emulation is in software (TCG) unless `BACKROW_KVM=1` asks for KVM. It is slow, and slower
//! on a busy machine: `BACKROW_TIMEOUT_SCALE` stretches every deadline here.

use std::time::Duration;

pub mod blocklog;
pub mod disk;
pub mod gpt;
pub mod grabber;
mod qemu;
pub mod qmp;
pub mod running;
pub mod setup;
pub mod site;
pub mod stage;
pub mod usbredir;
pub mod uvc;

pub use disk::Disk;
pub use grabber::Grabber;
pub use qemu::UPLINK;
pub use qmp::{Event, Qmp};
pub use running::{HOST, Machine};
pub use setup::{Bus, Fault, Kernel, Processor, Setup, bench_directory, bundle};
pub use site::Site;
pub use stage::{ROOM, Stage, Stopwatch};

/// A deadline of so many seconds, times `BACKROW_TIMEOUT_SCALE`.
pub fn patience(seconds: u64) -> Duration {
    let scale = std::env::var("BACKROW_TIMEOUT_SCALE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds).mul_f64(scale.unwrap_or(1.0))
}
