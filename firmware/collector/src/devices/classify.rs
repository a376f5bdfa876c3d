//! From what udev knows of a device to what it is for us. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Device, DeviceKind};

/// What udev knows of one device.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) subsystem: String,
    pub(super) sysname: String,
    pub(super) syspath: String,
    pub(super) devnode: Option<PathBuf>,
    /// udev's properties, such as `ID_PATH`.
    pub(super) properties: BTreeMap<String, String>,
    /// The few sysfs attributes in [`ATTRIBUTES`].
    pub(super) attributes: BTreeMap<String, String>,
    /// The USB device above it.
    pub(super) usb: Option<Usb>,
}

/// A USB device.
#[derive(Debug, Clone)]
pub(super) struct Usb {
    pub(super) syspath: String,
    /// Four hexadecimal digits.
    pub(super) vendor: String,
}

/// The sysfs attributes that are read.
pub(super) const ATTRIBUTES: [&str; 7] =
    ["name", "index", "id", "guid", "units", "vendor_name", "model_name"];

/// An AV/C unit: specifier of the 1394 Trade Association and its version.
const AVC_UNIT: &str = "0x00a02d:0x010001";

/// Makers of USB grabbers: MacroSilicon (two), Elgato, Magewell, YUAN, AVerMedia, Blackmagic.
const GRABBER_VENDORS: [&str; 7] = ["534d", "345f", "0fd9", "2935", "1164", "07ca", "1edb"];
/// Words in a grabber's name.
const GRABBER_WORDS: [&str; 6] = ["capture", "grabber", "hdmi", "sdi", "cam link", "dvi"];
/// Nodes of boards' picture processors, which take and give pictures but have no signal.
const PROCESSORS: [&str; 7] =
    ["bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc", "pispbe", "rp1-cfe", "visl"];

impl Facts {
    fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// The devices among the facts, in a fixed order.
pub(super) fn classify(facts: &[Facts]) -> Vec<Device> {
    let mut devices: Vec<Device> = facts
        .iter()
        .filter_map(|fact| match fact.subsystem.as_str() {
            "video4linux" => video(fact),
            "sound" => sound(fact, facts),
            "firewire" => firewire(fact),
            _ => None,
        })
        .collect();
    devices.sort_by(|a, b| a.syspath.cmp(&b.syspath));
    devices
}

fn device(fact: &Facts, name: Option<&str>, kind: DeviceKind, ignored: Option<&str>) -> Device {
    Device {
        syspath: fact.syspath.clone(),
        name: name.unwrap_or(&fact.sysname).to_owned(),
        kind,
        usb: fact.usb.as_ref().map(|usb| usb.syspath.clone()),
        ignored: ignored.map(str::to_owned),
    }
}

fn video(fact: &Facts) -> Option<Device> {
    let node = fact.devnode.clone()?;
    // Radios and other tuners share the subsystem.
    if !node.file_name()?.to_str()?.starts_with("video") {
        return None;
    }
    let name = fact
        .attribute("name")
        .or_else(|| fact.property("ID_V4L_PRODUCT"))
        .or_else(|| fact.property("ID_MODEL"));
    let links: Vec<&str> = fact
        .property("DEVLINKS")
        .map(|links| links.split_whitespace().collect())
        .unwrap_or_default();
    let stable = |kind: &str| links.iter().find(|link| link.starts_with(kind)).copied();
    let path = stable("/dev/v4l/by-path/")
        .or_else(|| stable("/dev/v4l/by-id/"))
        .map_or(node, PathBuf::from);
    let mut aliases: Vec<String> = links
        .iter()
        .filter(|link| link.starts_with("/dev/v4l/") && Path::new(link) != path)
        .map(|&link| link.to_owned())
        .collect();
    aliases.extend(fact.property("ID_PATH").map(str::to_owned));
    let ignored = not_a_source(fact, name.unwrap_or_default());
    let grabber = is_grabber(fact, name.unwrap_or_default());
    Some(device(fact, name, DeviceKind::Video { path, aliases, grabber }, ignored))
}

/// Why a video node gives no picture of its own.
fn not_a_source(fact: &Facts, name: &str) -> Option<&'static str> {
    if PROCESSORS.iter().any(|processor| name.starts_with(processor)) {
        return Some("it is part of this board's picture processor");
    }
    match fact.property("ID_V4L_CAPABILITIES") {
        Some(capabilities) => {
            let can = |word: &str| capabilities.split(':').any(|capability| capability == word);
            match (can("capture"), can("video_output")) {
                (true, false) => None,
                (true, true) => Some("it is a codec: it takes pictures and gives them back"),
                (false, true) => Some("it is an output"),
                (false, false) => Some("it gives no picture (metadata, or a codec)"),
            }
        }
        // Without v4l_id, the first node of a device is the one with the picture.
        None if fact.attribute("index").is_some_and(|index| index != "0") => {
            Some("it is a further node of its device (metadata)")
        }
        None => None,
    }
}

fn is_grabber(fact: &Facts, name: &str) -> bool {
    let name = name.to_lowercase();
    GRABBER_WORDS.iter().any(|word| name.contains(word))
        || fact.usb.as_ref().is_some_and(|usb| GRABBER_VENDORS.contains(&usb.vendor.as_str()))
}

fn sound(fact: &Facts, all: &[Facts]) -> Option<Device> {
    let number = fact.sysname.strip_prefix("card")?;
    let id = fact.attribute("id").map_or_else(|| number.to_owned(), str::to_owned);
    // pcmC1D0c: card 1, device 0, capture.
    let prefix = format!("pcmC{number}D");
    let recorder = all
        .iter()
        .filter(|other| other.subsystem == "sound")
        .filter_map(|other| {
            other.sysname.strip_prefix(&prefix)?.strip_suffix('c')?.parse::<u32>().ok()
        })
        .min();
    let alsa = match recorder {
        Some(0) | None => format!("hw:CARD={id}"),
        Some(device) => format!("hw:CARD={id},DEV={device}"),
    };
    let name = fact.property("ID_MODEL").unwrap_or(&id).to_owned();
    let ignored = recorder.is_none().then_some("it cannot record");
    Some(device(fact, Some(&name), DeviceKind::Sound { alsa }, ignored))
}

fn firewire(fact: &Facts) -> Option<Device> {
    // A node has a GUID; its units are devices of their own, without one.
    let digits = fact.attribute("guid")?;
    let guid = u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()?;
    let names: Vec<&str> =
        ["vendor_name", "model_name"].iter().filter_map(|name| fact.attribute(name)).collect();
    let name = if names.is_empty() { None } else { Some(names.join(" ")) };
    let units = fact.attribute("units").or_else(|| fact.property("IEEE1394_UNIT_FUNCTION_VIDEO"));
    let video = units.is_some_and(|units| units.contains(AVC_UNIT));
    let ignored = (!video).then_some("it has no video unit (a computer or a disk)");
    let kind = DeviceKind::Firewire { guid: format!("0x{guid:016x}") };
    Some(device(fact, name.as_deref(), kind, ignored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn node(n: u32, name: &str, capabilities: &str) -> Facts {
        Facts {
            subsystem: "video4linux".into(),
            sysname: format!("video{n}"),
            syspath: format!("/sys/usb/1-2/video4linux/video{n}"),
            devnode: Some(format!("/dev/video{n}").into()),
            properties: map(&[
                ("ID_V4L_CAPABILITIES", capabilities),
                (
                    "DEVLINKS",
                    "/dev/v4l/by-id/usb-x-video-index0 /dev/v4l/by-path/pci-usb-video-index0",
                ),
                ("ID_PATH", "pci-usb"),
            ]),
            attributes: map(&[("name", name), ("index", "0")]),
            usb: Some(Usb { syspath: "/sys/usb/1-2".into(), vendor: "046d".into() }),
        }
    }

    fn only(facts: Facts) -> Device {
        let mut devices = classify(&[facts]);
        assert_eq!(devices.len(), 1);
        devices.remove(0)
    }

    #[test]
    fn a_camera_is_known_by_its_path_and_other_names() {
        let camera = only(node(0, "HD Pro Webcam C920", ":capture:"));
        assert_eq!(camera.ignored, None);
        assert_eq!(
            camera.kind,
            DeviceKind::Video {
                path: "/dev/v4l/by-path/pci-usb-video-index0".into(),
                aliases: vec!["/dev/v4l/by-id/usb-x-video-index0".into(), "pci-usb".into()],
                grabber: false,
            }
        );
    }

    #[test]
    fn what_gives_no_picture_is_ignored_with_a_reason() {
        for (name, capabilities, why) in [
            ("USB Video", ":", "it gives no picture (metadata, or a codec)"),
            (
                "codec",
                ":capture:video_output:",
                "it is a codec: it takes pictures and gives them back",
            ),
            ("Loopback", ":video_output:", "it is an output"),
            ("bcm2835-isp-capture0", ":capture:", "it is part of this board's picture processor"),
        ] {
            assert_eq!(only(node(1, name, capabilities)).ignored.as_deref(), Some(why), "{name}");
        }
        let mut second = node(1, "USB Video", "");
        second.attributes.insert("index".into(), "1".into());
        assert_eq!(
            only(second).ignored.as_deref(),
            Some("it is a further node of its device (metadata)")
        );
    }

    #[test]
    fn grabbers_are_known_by_maker_or_name() {
        let by_name = only(node(0, "USB3.0 HDMI Capture", ":capture:"));
        let mut facts = node(0, "USB Video", ":capture:");
        facts.usb = Some(Usb { syspath: "/sys/u".into(), vendor: "534d".into() });
        for device in [by_name, only(facts)] {
            assert!(matches!(device.kind, DeviceKind::Video { grabber: true, .. }), "{device:?}");
        }
    }

    #[test]
    fn a_sound_card_needs_a_recorder() {
        let card = |sysname: &str| Facts {
            subsystem: "sound".into(),
            sysname: sysname.into(),
            syspath: format!("/sys/sound/{sysname}"),
            attributes: map(&[("id", "Capture")]),
            ..Facts::default()
        };
        let silent = classify(&[card("card1"), card("pcmC1D0p"), card("pcmC11D0c")]);
        assert_eq!(silent.len(), 1);
        assert_eq!(silent[0].ignored.as_deref(), Some("it cannot record"));
        let recorder = classify(&[card("card1"), card("pcmC1D2c"), card("controlC1")]);
        assert_eq!(recorder[0].kind, DeviceKind::Sound { alsa: "hw:CARD=Capture,DEV=2".into() });
        assert_eq!(recorder[0].ignored, None);
    }

    #[test]
    fn firewire_nodes_need_an_avc_unit() {
        let node = |units: &str| Facts {
            subsystem: "firewire".into(),
            sysname: "fw1".into(),
            syspath: "/sys/fw1".into(),
            attributes: map(&[
                ("guid", "0x000a9d00001234ab"),
                ("units", units),
                ("vendor_name", "Canopus"),
                ("model_name", "TwinPact100"),
            ]),
            ..Facts::default()
        };
        let twinpact = only(node("0x00a02d:0x010001\n"));
        assert_eq!(twinpact.label(), "Canopus TwinPact100 (0x000a9d00001234ab)");
        assert_eq!(twinpact.ignored, None);
        assert!(only(node("0x00609e:0x010483")).ignored.is_some());
        let unit =
            Facts { subsystem: "firewire".into(), sysname: "fw1.0".into(), ..Facts::default() };
        assert_eq!(classify(&[unit]), []);
    }
}
