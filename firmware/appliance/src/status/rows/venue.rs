//! What the venue gives: power and network.

use super::super::facts::{Facts, Link, LinkKind};
use super::super::{Light, Row};

/// A place so hot that most processors slow down.
const HOT: f64 = 80.0;
/// Wi-Fi under which video stutters, dBm.
const WEAK: i32 = -75;
/// How long DHCP may take before anybody is sent to look for a cause.
const DHCP_SECONDS: u64 = 20;

const USE_ITS_OWN: &str = "Use the power supply that came with the box, with its own cable, and \
    unplug from its USB sockets what is not needed.";

pub(super) fn power(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("power", "Power", light, says);
    let power = &facts.power;
    let warmth = power.temperature.map(|degrees| format!("{degrees:.0} °C"));
    if power.low_now {
        return row(Light::Red, "The power supply is too weak: the voltage is too low.".into())
            .todo(USE_ITS_OWN);
    }
    if power.mains == Some(false) {
        let left = power.battery.map(|it| format!(" ({it} % left)")).unwrap_or_default();
        return row(Light::Red, format!("The box runs on its battery{left}."))
            .todo("Plug the power cable in.");
    }
    if power.temperature.is_some_and(|degrees| degrees >= HOT) || power.throttled {
        let degrees = warmth.map(|it| format!(" ({it})")).unwrap_or_default();
        return row(Light::Amber, format!("The box is too hot{degrees} and may slow down."))
            .todo("Give it air: nothing on top of it or around it, and no sun.");
    }
    if power.low_before {
        return row(Light::Amber, "The voltage was too low for a moment since the start.".into())
            .todo(USE_ITS_OWN);
    }
    let says = match warmth {
        Some(degrees) => format!("The box has power; it is {degrees} warm."),
        None => "The box has power.".to_owned(),
    };
    row(Light::Green, says)
}

pub(super) fn network(facts: &Facts) -> Row {
    let row = |light, says: String| Row::new("network", "Network", light, says);
    let links = &facts.network.links;
    if links.is_empty() {
        return row(Light::Red, "The box finds no network socket in itself.".into())
            .todo("Plug in a USB network adapter, or use another box.");
    }
    let Some(link) = best(links) else {
        let says = if links.iter().all(|link| link.kind == LinkKind::Wireless) {
            return row(Light::Red, "The box is on no Wi-Fi network.".into()).todo(
                "Move the box nearer to the access point, or plug a network cable in. If it never \
                 worked: check name and password of the Wi-Fi in site.toml.",
            );
        } else {
            "No network cable is plugged in, or its other end is dead."
        };
        return row(Light::Red, says.into())
            .todo("Plug the network cable in; the light beside the socket must blink.");
    };
    let by = match link.kind {
        LinkKind::Wired => "cable",
        LinkKind::Wireless => "Wi-Fi",
    };
    let Some(address) = link.addresses.first() else {
        if facts.uptime.as_secs() < DHCP_SECONDS {
            return row(Light::Grey, "Waiting for an address from the network.".into());
        }
        return row(Light::Red, format!("Connected by {by}, but the network gives no address."))
            .todo(
                "Try another network socket. Ask whoever runs the network for one with DHCP, or \
                 for a fixed address to put into site.toml.",
            );
    };
    if facts.network.gateway.is_none() {
        return row(Light::Red, format!("The box has the address {address}, but no way out."))
            .todo("Ask whoever runs the network for a socket that leads to the Internet.");
    }
    if let Some(signal) = link.signal.filter(|dbm| link.kind == LinkKind::Wireless && *dbm < WEAK) {
        return row(Light::Amber, format!("The Wi-Fi is weak here ({signal} dBm)."))
            .todo("Move the box nearer to the access point, or better: plug a network cable in.");
    }
    row(Light::Green, format!("Connected by {by}, address {address}."))
}

/// The link that is used: one with an address, else one with something at its other end.
fn best(links: &[Link]) -> Option<&Link> {
    let up = || links.iter().filter(|link| link.carrier);
    let with_address = |link: &&Link| !link.addresses.is_empty();
    let wired = |link: &&Link| link.kind == LinkKind::Wired;
    up().find(|link| with_address(link) && wired(link))
        .or_else(|| up().find(with_address))
        .or_else(|| up().find(wired))
        .or_else(|| up().next())
}
