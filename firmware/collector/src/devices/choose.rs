//! Which device is the source. Pure: devices and configuration in, a choice with its reasons out.
//!
//! `auto` prefers FireWire (nobody plugs it in by accident), then grabbers, then other cameras, and
//! among equals the first by place, so that the same plugs always give the same choice.

use protocol::config::site::{self, SourceKind};

use super::{Choice, Device, DeviceKind, Rejected};
use crate::capture::{AudioDevice, SourceSpec};

/// Chooses the source for this configuration.
pub fn choose(devices: &[Device], source: &site::Source, audio: &site::AudioDevice) -> Choice {
    let fixed = |source: SourceSpec, why: &str| Choice {
        source: Some(source),
        audio: AudioDevice::None,
        why: why.to_owned(),
        rejected: Vec::new(),
    };
    match source.kind {
        SourceKind::Test => fixed(SourceSpec::Test, "the test picture is configured"),
        SourceKind::Flash => fixed(SourceSpec::Flash, "the measuring picture is configured"),
        SourceKind::File => match &source.path {
            Some(path) => fixed(SourceSpec::File(path.clone()), "this file is configured"),
            None => none("no file is configured: set `path` in [source]"),
        },
        SourceKind::Mixer => match &source.address {
            Some(address) => fixed(SourceSpec::Mixer(address.clone()), "this mixer is configured"),
            None => none("no mixer is configured: set `address` in [source]"),
        },
        SourceKind::Auto | SourceKind::V4l2 | SourceKind::Dv => among(devices, source, audio),
    }
}

fn none(why: &str) -> Choice {
    Choice { source: None, audio: AudioDevice::None, why: why.to_owned(), rejected: Vec::new() }
}

fn among(devices: &[Device], wanted: &site::Source, audio: &site::AudioDevice) -> Choice {
    let mut rejected = Vec::new();
    let mut candidates = Vec::new();
    for device in devices.iter().filter(|device| !matches!(device.kind, DeviceKind::Sound { .. })) {
        match unwanted(device, wanted) {
            Some(why) => rejected.push(Rejected { device: device.label(), why }),
            None => candidates.push(device),
        }
    }
    candidates.sort_by_key(|device| (rank(device), &device.syspath));
    let mut candidates = candidates.into_iter();
    let Some(best) = candidates.next() else {
        return Choice { rejected, ..none(&missing(wanted)) };
    };
    rejected.extend(candidates.map(|other| Rejected {
        device: other.label(),
        why: if rank(other) == rank(best) {
            format!("{} comes first by its place", best.name)
        } else {
            format!("{} is {} and goes before it", best.name, kind(best))
        },
    }));
    let (source, audio, sound) = match &best.kind {
        DeviceKind::Video { path, .. } => {
            let (audio, sound) = pair(best, devices, audio);
            (SourceSpec::V4l2(path.clone()), audio, sound)
        }
        DeviceKind::Firewire { guid } => {
            let guid = crate::capture::args::parse_guid(guid).ok();
            (SourceSpec::Dv(guid), AudioDevice::None, "its sound is in the same stream".into())
        }
        DeviceKind::Sound { .. } => return Choice { rejected, ..none(&missing(wanted)) },
    };
    let found = if is_named(wanted) { "it is the one configured" } else { "it is the first" };
    Choice {
        source: Some(source),
        audio,
        why: format!("{}: {}, and {found}; {sound}", best.name, kind(best)),
        rejected,
    }
}

fn is_named(wanted: &site::Source) -> bool {
    match wanted.kind {
        SourceKind::V4l2 => wanted.device.is_some(),
        SourceKind::Dv => wanted.guid.is_some(),
        _ => false,
    }
}

/// Why this device is not what the configuration wants.
fn unwanted(device: &Device, wanted: &site::Source) -> Option<String> {
    if let Some(why) = &device.ignored {
        return Some(why.clone());
    }
    match (&device.kind, wanted.kind) {
        (DeviceKind::Firewire { .. }, SourceKind::V4l2) => {
            Some("a v4l2 device is configured".to_owned())
        }
        (DeviceKind::Video { .. }, SourceKind::Dv) => {
            Some("a FireWire device is configured".to_owned())
        }
        (DeviceKind::Video { path, aliases, .. }, SourceKind::V4l2) => {
            let name = wanted.device.as_deref()?;
            let is_it = path.to_str() == Some(name) || aliases.iter().any(|alias| alias == name);
            // A bare node is accepted only where udev makes no stable name.
            (!is_it).then(|| format!("{name} is configured"))
        }
        (DeviceKind::Firewire { guid }, SourceKind::Dv) => {
            let wanted = format!("0x{:016x}", wanted.guid?);
            (*guid != wanted).then(|| format!("{wanted} is configured"))
        }
        _ => None,
    }
}

/// What to say when nothing fits.
fn missing(wanted: &site::Source) -> String {
    match (wanted.kind, &wanted.device, wanted.guid) {
        (SourceKind::V4l2, Some(name), _) if name.starts_with("/dev/video") => format!(
            "{name} is not a stable name: use the path under /dev/v4l/by-path/ that \
             `collector devices` shows"
        ),
        (SourceKind::V4l2, Some(name), _) => format!("{name} is not plugged in"),
        (SourceKind::V4l2, None, _) => "no video device is plugged in".to_owned(),
        (SourceKind::Dv, _, Some(guid)) => {
            format!("no FireWire device with GUID 0x{guid:016x} is plugged in")
        }
        (SourceKind::Dv, _, None) => "no FireWire video device is plugged in".to_owned(),
        _ => "no capture device is plugged in".to_owned(),
    }
}

/// Lower goes first.
fn rank(device: &Device) -> u8 {
    match device.kind {
        DeviceKind::Firewire { .. } => 0,
        DeviceKind::Video { grabber: true, .. } => 1,
        DeviceKind::Video { .. } => 2,
        DeviceKind::Sound { .. } => 3,
    }
}

fn kind(device: &Device) -> &'static str {
    match device.kind {
        DeviceKind::Firewire { .. } => "a FireWire DV device",
        DeviceKind::Video { grabber: true, .. } => "a grabber",
        DeviceKind::Video { .. } => "a camera",
        DeviceKind::Sound { .. } => "a sound card",
    }
}

/// The sound for this video device, and why.
fn pair(video: &Device, devices: &[Device], wanted: &site::AudioDevice) -> (AudioDevice, String) {
    match wanted {
        site::AudioDevice::None => (AudioDevice::None, "no sound, as configured".to_owned()),
        site::AudioDevice::Alsa(name) => {
            (AudioDevice::Alsa(name.clone()), format!("sound from {name}, as configured"))
        }
        site::AudioDevice::Auto => match card_of(video, devices) {
            Some(alsa) => {
                (AudioDevice::Alsa(alsa.to_owned()), format!("sound from its own card {alsa}"))
            }
            None => (AudioDevice::None, "it has no sound card, silence is sent".to_owned()),
        },
    }
}

/// The recording sound card of the same USB device.
fn card_of<'a>(video: &Device, devices: &'a [Device]) -> Option<&'a str> {
    let usb = video.usb.as_ref()?;
    devices.iter().find_map(|device| match &device.kind {
        DeviceKind::Sound { alsa }
            if device.usb.as_ref() == Some(usb) && device.ignored.is_none() =>
        {
            Some(alsa.as_str())
        }
        _ => None,
    })
}

/// The sound card that belongs to the video device at this path.
pub(crate) fn sound_of(path: &std::path::Path, devices: &[Device]) -> Option<String> {
    let same = |candidate: &std::path::Path| {
        candidate == path
            || candidate
                .canonicalize()
                .ok()
                .is_some_and(|real| path.canonicalize().ok() == Some(real))
    };
    let video = devices.iter().find(|device| match &device.kind {
        DeviceKind::Video { path, .. } => same(path),
        _ => false,
    })?;
    card_of(video, devices).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(name: &str, place: &str, grabber: bool) -> Device {
        Device {
            syspath: format!("/sys/{place}/video4linux/video0"),
            name: name.into(),
            kind: DeviceKind::Video {
                path: format!("/dev/v4l/by-path/{place}-video-index0").into(),
                aliases: vec![place.into()],
                grabber,
            },
            usb: Some(format!("/sys/{place}")),
            ignored: None,
        }
    }

    fn sound(place: &str, card: &str) -> Device {
        Device {
            syspath: format!("/sys/{place}/sound/card1"),
            name: card.into(),
            kind: DeviceKind::Sound { alsa: format!("hw:CARD={card}") },
            usb: Some(format!("/sys/{place}")),
            ignored: None,
        }
    }

    fn twinpact() -> Device {
        Device {
            syspath: "/sys/fw1".into(),
            name: "Canopus TwinPact100".into(),
            kind: DeviceKind::Firewire { guid: "0x000a9d00001234ab".into() },
            usb: None,
            ignored: None,
        }
    }

    fn wanted(kind: SourceKind) -> site::Source {
        site::Source {
            kind,
            device: None,
            guid: None,
            path: None,
            address: None,
            format: site::MixerFormat::Matroska,
        }
    }

    fn auto(devices: &[Device]) -> Choice {
        choose(devices, &wanted(SourceKind::Auto), &site::AudioDevice::Auto)
    }

    fn chosen(choice: &Choice) -> Option<String> {
        choice.source.as_ref().map(ToString::to_string)
    }

    #[test]
    fn a_grabber_goes_before_a_webcam_and_brings_its_own_sound() {
        let devices = [
            video("Webcam", "1-1", false),
            video("USB Video", "1-2", true),
            sound("1-1", "Webcam"),
            sound("1-2", "MS2109"),
        ];
        let choice = auto(&devices);
        assert_eq!(chosen(&choice).as_deref(), Some("v4l2:/dev/v4l/by-path/1-2-video-index0"));
        assert_eq!(choice.audio, AudioDevice::Alsa("hw:CARD=MS2109".into()));
        assert_eq!(
            choice.why,
            "USB Video: a grabber, and it is the first; sound from its own card hw:CARD=MS2109"
        );
        assert_eq!(
            choice.rejected,
            [Rejected {
                device: "Webcam (/dev/v4l/by-path/1-1-video-index0)".into(),
                why: "USB Video is a grabber and goes before it".into()
            }]
        );
    }

    #[test]
    fn firewire_goes_first() {
        let choice = auto(&[video("USB Video", "1-2", true), twinpact()]);
        assert_eq!(chosen(&choice).as_deref(), Some("dv:0x000a9d00001234ab"));
    }

    #[test]
    fn the_order_of_the_devices_does_not_matter() {
        let (a, b) = (video("A", "1-1", true), video("B", "1-2", true));
        let (one, two) = (auto(&[a.clone(), b.clone()]), auto(&[b, a]));
        assert_eq!(one.source, two.source);
        assert_eq!(one.rejected[0].why, "A comes first by its place");
    }

    #[test]
    fn nothing_plugged_in() {
        let choice = auto(&[sound("1-3", "PCH")]);
        assert_eq!((choice.source, choice.why.as_str()), (None, "no capture device is plugged in"));
    }

    #[test]
    fn a_configured_device_is_the_only_one_considered() {
        let devices = [video("A", "1-1", true), video("B", "1-2", false)];
        for name in ["1-2", "/dev/v4l/by-path/1-2-video-index0"] {
            let source = site::Source { device: Some(name.into()), ..wanted(SourceKind::V4l2) };
            let choice = choose(&devices, &source, &site::AudioDevice::None);
            assert_eq!(chosen(&choice).as_deref(), Some("v4l2:/dev/v4l/by-path/1-2-video-index0"));
            assert_eq!(choice.rejected[0].why, format!("{name} is configured"));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let source = |kind, device: Option<&str>, guid| site::Source {
            device: device.map(str::to_owned),
            guid,
            ..wanted(kind)
        };
        for (source, why) in [
            (
                source(SourceKind::V4l2, Some("/dev/video0"), None),
                "/dev/video0 is not a stable name: use the path under /dev/v4l/by-path/ that \
                 `collector devices` shows",
            ),
            (source(SourceKind::V4l2, Some("usb-9"), None), "usb-9 is not plugged in"),
            (
                source(SourceKind::Dv, None, Some(0xabc)),
                "no FireWire device with GUID 0x0000000000000abc is plugged in",
            ),
        ] {
            let choice = choose(&[twinpact()], &source, &site::AudioDevice::Auto);
            assert_eq!((choice.source, choice.why.as_str()), (None, why));
            assert_eq!(choice.rejected.len(), 1);
        }
    }
}
