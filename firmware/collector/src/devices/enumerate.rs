//! Asking udev for the devices there are.

use std::collections::BTreeMap;
use std::io;

use super::Device;
use super::classify::{ATTRIBUTES, Facts, Usb, classify};

/// The subsystems that have to do with capture.
pub(super) const SUBSYSTEMS: [&str; 3] = ["video4linux", "sound", "firewire"];

/// udev could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("The list of devices cannot be read from udev: {0}.")]
pub struct EnumerateError(#[from] pub(super) io::Error);

/// The capture devices there are now, in a fixed order. Reads sysfs: some milliseconds.
///
/// # Errors
/// When udev or sysfs cannot be read.
pub fn snapshot() -> Result<Vec<Device>, EnumerateError> {
    let mut facts = Vec::new();
    for subsystem in SUBSYSTEMS {
        let mut enumerator = udev::Enumerator::new()?;
        enumerator.match_subsystem(subsystem)?;
        facts.extend(enumerator.scan_devices()?.map(|device| facts_of(&device)));
    }
    Ok(classify(&facts))
}

fn facts_of(device: &udev::Device) -> Facts {
    let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
    let usb = device.parent_with_subsystem_devtype("usb", "usb_device").ok().flatten();
    let attribute = |device: &udev::Device, name: &str| device.attribute_value(name).map(text);
    Facts {
        subsystem: device.subsystem().map(text).unwrap_or_default(),
        sysname: text(device.sysname()),
        syspath: device.syspath().to_string_lossy().into_owned(),
        devnode: device.devnode().map(Into::into),
        properties: device
            .properties()
            .map(|property| (text(property.name()), text(property.value())))
            .collect(),
        attributes: ATTRIBUTES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), attribute(device, name)?)))
            .collect::<BTreeMap<_, _>>(),
        usb: usb.map(|usb| Usb {
            syspath: usb.syspath().to_string_lossy().into_owned(),
            vendor: attribute(&usb, "idVendor").unwrap_or_default(),
        }),
    }
}
