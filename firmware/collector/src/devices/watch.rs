//! Follows plug, unplug and replug.
//!
//! udev tells of one plug many times (each node, each rule, sometimes twice). Events are gathered
//! until they have been quiet for a moment; then the devices are listed anew and compared. A device
//! that went and came back within that moment has changed, for whoever had it open has lost it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_udev::{AsyncMonitorSocket, EventType, MonitorBuilder};

use super::Device;
use super::enumerate::{EnumerateError, SUBSYSTEMS, snapshot};

/// Events this close together are one plug.
const QUIET: Duration = Duration::from_millis(250);
/// However busy the bus, a change is told after this long.
const AT_MOST: Duration = Duration::from_secs(2);

/// What has happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is there now.
    Add,
    /// It is gone.
    Remove,
    /// It has come back, or become another.
    Change,
}

/// One device's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What has happened.
    pub change: ChangeKind,
    /// To which: as it is now, or as it was if it is gone.
    pub device: Device,
}

/// Watches from now on. Returns the devices there are now and their changes to come; the channel
/// ends when udev does. Needs a tokio runtime.
///
/// # Errors
/// When udev cannot be watched or read.
pub fn watch() -> Result<(Vec<Device>, mpsc::Receiver<Change>), EnumerateError> {
    let mut builder = MonitorBuilder::new()?;
    for subsystem in SUBSYSTEMS {
        builder = builder.match_subsystem(subsystem)?;
    }
    // Listening begins before listing, so that nothing falls between.
    let events = AsyncMonitorSocket::new(builder.listen()?)?;
    let devices = snapshot()?;
    let (sender, changes) = mpsc::channel(64);
    tokio::spawn(follow(events, devices.clone(), sender));
    Ok((devices, changes))
}

async fn follow(mut events: AsyncMonitorSocket, mut known: Vec<Device>, out: mpsc::Sender<Change>) {
    let mut touched = Touched::default();
    loop {
        let event = tokio::select! {
            () = out.closed() => return,
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        touched.note(event);
        let deadline = tokio::time::sleep(AT_MOST);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut deadline => break,
                next = tokio::time::timeout(QUIET, events.next()) => match next {
                    Ok(Some(event)) => touched.note(event),
                    Ok(None) => return,
                    Err(_) => break,
                },
            }
        }
        let now = match snapshot() {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!("{error}");
                continue;
            }
        };
        for change in compare(&known, &now, &std::mem::take(&mut touched).again) {
            if out.send(change).await.is_err() {
                return;
            }
        }
        known = now;
    }
}

/// What the events of one moment were about.
#[derive(Debug, Default)]
struct Touched {
    /// Devices that a present holder has lost, or that say they have changed.
    again: BTreeSet<String>,
}

impl Touched {
    fn note(&mut self, event: std::io::Result<tokio_udev::Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                // The socket overflowed: the list is compared all the same.
                tracing::warn!("An event of udev's was lost: {error}.");
                return;
            }
        };
        if matches!(event.event_type(), EventType::Remove | EventType::Change) {
            self.again.insert(event.device().syspath().to_string_lossy().into_owned());
        }
    }
}

/// What has changed between two lists. `again` are devices that went or changed in between.
fn compare(before: &[Device], now: &[Device], again: &BTreeSet<String>) -> Vec<Change> {
    let find =
        |list: &[Device], syspath: &str| list.iter().position(|device| device.syspath == syspath);
    let mut changes = Vec::new();
    for device in before.iter().filter(|device| find(now, &device.syspath).is_none()) {
        changes.push(Change { change: ChangeKind::Remove, device: device.clone() });
    }
    for device in now {
        let change = match find(before, &device.syspath).and_then(|place| before.get(place)) {
            None => ChangeKind::Add,
            Some(old) if old != device || again.contains(&device.syspath) => ChangeKind::Change,
            Some(_) => continue,
        };
        changes.push(Change { change, device: device.clone() });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DeviceKind;

    fn device(place: &str) -> Device {
        Device {
            syspath: place.into(),
            name: "USB Video".into(),
            kind: DeviceKind::Sound { alsa: "hw:CARD=A".into() },
            usb: None,
            ignored: None,
        }
    }

    fn kinds(before: &[Device], now: &[Device], again: &[&str]) -> Vec<(ChangeKind, String)> {
        let again = again.iter().map(|place| (*place).to_owned()).collect();
        compare(before, now, &again)
            .into_iter()
            .map(|change| (change.change, change.device.syspath))
            .collect()
    }

    #[test]
    fn plug_unplug_and_another_name() {
        let (a, b) = (device("a"), device("b"));
        assert_eq!(kinds(&[], std::slice::from_ref(&a), &[]), [(ChangeKind::Add, "a".into())]);
        assert_eq!(
            kinds(&[a.clone(), b.clone()], std::slice::from_ref(&b), &["a"]),
            [(ChangeKind::Remove, "a".into())]
        );
        let renamed = Device { name: "Other".into(), ..a.clone() };
        assert_eq!(
            kinds(std::slice::from_ref(&a), &[renamed], &[]),
            [(ChangeKind::Change, "a".into())]
        );
        assert_eq!(kinds(&[a.clone(), b.clone()], &[a, b], &[]), []);
    }

    #[test]
    fn a_quick_replug_is_a_change() {
        let a = [device("a")];
        assert_eq!(kinds(&a, &a, &["a"]), [(ChangeKind::Change, "a".into())]);
    }
}
