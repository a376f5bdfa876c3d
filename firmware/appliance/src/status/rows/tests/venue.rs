//! What the volunteer can reach: power and network.

use super::*;

#[test]
fn power_is_judged_by_what_is_worst() {
    let power = |power: Power| row("power", |it| it.power = power);
    is(
        &power(Power { low_now: true, throttled: true, ..Power::default() }),
        Light::Red,
        "The power supply is too weak: the voltage is too low.",
        "came with the box",
    );
    is(
        &power(Power { low_before: true, ..Power::default() }),
        Light::Amber,
        "The voltage was too low for a moment since the start.",
        "came with the box",
    );
    is(
        &power(Power { mains: Some(false), battery: Some(40), ..Power::default() }),
        Light::Red,
        "The box runs on its battery (40 % left).",
        "Plug the power cable in.",
    );
    is(
        &power(Power { temperature: Some(84.4), ..Power::default() }),
        Light::Amber,
        "The box is too hot (84 °C) and may slow down.",
        "Give it air",
    );
    is(&power(Power::default()), Light::Green, "The box has power.", "");
}

#[test]
fn the_network_says_which_end_to_look_at() {
    let network = |otherwise: &dyn Fn(&mut Facts)| row("network", |it| otherwise(it));
    is(
        &network(&|it| it.network.links.clear()),
        Light::Red,
        "The box finds no network socket in itself.",
        "USB network adapter",
    );
    let unplugged = |it: &mut Facts| it.network.links[0].carrier = false;
    is(
        &network(&unplugged),
        Light::Red,
        "No network cable is plugged in, or its other end is dead.",
        "Plug the network cable in; the light beside the socket must blink.",
    );
    is(
        &network(&|it| {
            unplugged(it);
            it.network.links[0].kind = LinkKind::Wireless;
        }),
        Light::Red,
        "The box is on no Wi-Fi network.",
        "name and password of the Wi-Fi",
    );
    let no_address = |it: &mut Facts| it.network.links[0].addresses.clear();
    is(
        &network(&no_address),
        Light::Red,
        "Connected by cable, but the network gives no address.",
        "DHCP",
    );
    is(
        &network(&|it| {
            no_address(it);
            it.uptime = Duration::from_secs(5);
        }),
        Light::Grey,
        "Waiting for an address from the network.",
        "",
    );
    is(
        &network(&|it| it.network.gateway = None),
        Light::Red,
        "The box has the address 192.0.2.7, but no way out.",
        "leads to the Internet",
    );
    is(
        &network(&|it| {
            it.network.links[0].kind = LinkKind::Wireless;
            it.network.links[0].signal = Some(-82);
        }),
        Light::Amber,
        "The Wi-Fi is weak here (-82 dBm).",
        "plug a network cable in",
    );
}

#[test]
fn the_cable_counts_before_wifi_and_an_idle_socket_does_not() {
    let network = row("network", |it| {
        let wifi = Link {
            name: "wlan0".into(),
            kind: LinkKind::Wireless,
            carrier: true,
            addresses: vec!["198.51.100.4".into()],
            signal: Some(-50),
        };
        it.network.links[0].carrier = false;
        it.network.links[0].addresses.clear();
        it.network.links.push(wifi);
    });
    is(&network, Light::Green, "Connected by Wi-Fi, address 198.51.100.4.", "");
}
