//! Which devices there are now, and a wake-up when that changes.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::devices::{self, Change, Device};

/// How long to wait before udev is asked again after it failed.
const RETRY: Duration = Duration::from_secs(10);

/// The devices of this machine, as udev shows them.
#[derive(Debug, Default)]
pub struct Follow {
    devices: Vec<Device>,
    changes: Option<mpsc::Receiver<Change>>,
}

impl Follow {
    /// Begins to follow. Without udev there are no devices, and it is tried again from time to
    /// time.
    #[must_use]
    pub fn start() -> Self {
        match devices::watch() {
            Ok((devices, changes)) => Self { devices, changes: Some(changes) },
            Err(error) => {
                tracing::warn!(%error, "capture devices cannot be followed");
                Self::default()
            }
        }
    }

    /// The devices there are.
    #[must_use]
    pub fn now(&self) -> &[Device] {
        &self.devices
    }

    /// Returns when the devices may have changed.
    pub async fn changed(&mut self) {
        let Some(changes) = &mut self.changes else {
            tokio::time::sleep(RETRY).await;
            *self = Self::start();
            return;
        };
        if changes.recv().await.is_none() {
            self.changes = None;
            return;
        }
        // One plug makes several changes: those that are there already come with it.
        while changes.try_recv().is_ok() {}
        match devices::snapshot() {
            Ok(devices) => self.devices = devices,
            Err(error) => tracing::warn!(%error, "capture devices cannot be listed"),
        }
    }
}
