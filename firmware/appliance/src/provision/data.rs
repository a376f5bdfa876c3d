//! The data partition of a disk that takes no more writes: the site that is kept there can still be read.

use rustix::mount::{MountFlags, mount};

use crate::paths::Paths;

/// Mounts it to be read, where systemd could not mount it to be written to: that is how a flash card
/// ends that is worn out, and CONFIG has no secrets any more.
///
/// Without its journal (`noload`, ext4(5)): to replay that would be to write.
pub(super) fn mount_to_read(paths: &Paths) {
    let (device, folder) = (paths.partition("data"), paths.data());
    if Paths::is_mounted(&folder) || !device.exists() || device.is_dir() {
        return;
    }
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount(&device, &folder, "ext4", flags, c"noload") {
        Ok(()) => tracing::warn!("the data partition takes no writes; it is only read"),
        Err(error) => tracing::error!("the data partition cannot be read: {error}"),
    }
}
