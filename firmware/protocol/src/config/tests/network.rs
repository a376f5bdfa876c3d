use proptest::prelude::*;

use super::*;
use crate::config::site;

const SITE: &str =
    "room = \"demo\"\n[encoder]\nurl = \"https://enc.example.org\"\ntoken = \"correct-horse\"\n";

fn with(more: &str) -> Result<site::Site, ConfigError> {
    site::load(&format!("{SITE}{more}"), Path::new("/cfg/site.toml"))
}

#[test]
fn without_it_every_wire_has_dhcp() {
    assert_eq!(with("").unwrap().on_box.network, Network::default());
    assert_eq!(with("[network]\nmode = \"dhcp\"\n").unwrap().on_box.network, Network::default());
}

#[test]
fn all_of_it() {
    let text = r#"
[network]
mode = "static"
interface = "eth0"
address = "192.0.2.10/24"
gateway = "192.0.2.1"
dns = ["192.0.2.1", "2001:db8::1"]
[network.wifi]
ssid = "Venue ☕"
password = "correct horse"
country = "de"
[network.wired_auth]
eap = "tls"
identity = "box-7@example.org"
anonymous_identity = "anonymous@example.org"
ca = "radius.pem"
domain = "radius.example.org"
certificate = "box.pem"
key = "box.key"
[ssh]
keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVpZ2h0LWJ5dGVzLWZvdXItdGltZXMtb3Zlci4uLi54 ada"]
[time]
servers = ["ntp.example.org", "192.0.2.1"]
[log]
upload = "https://logs.example.org:19532"
"#;
    let on_box = with(text).unwrap_or_else(|e| panic!("{e}")).on_box;
    let network = &on_box.network;
    assert_eq!(network.fixed.unwrap().address.to_string(), "192.0.2.10/24");
    assert_eq!(network.dns.len(), 2);
    let wifi = network.wifi.as_ref().unwrap();
    assert_eq!((wifi.ssid.as_str(), wifi.country.as_deref()), ("Venue ☕", Some("DE")));
    let auth = network.wired_auth.as_ref().unwrap();
    let Eap::Tls { key, .. } = &auth.eap else { panic!() };
    assert_eq!(key, Path::new("/cfg/box.key"));
    assert_eq!(auth.anonymous_identity.as_deref(), Some("anonymous@example.org"));
    assert_eq!(auth.domain.as_deref(), Some("radius.example.org"));
    assert_eq!(on_box.ssh_keys[0].owner(), "ada");
    assert_eq!(on_box.time_servers[1].as_str(), "192.0.2.1");
    assert_eq!(on_box.log_upload.as_ref().unwrap().port(), Some(19532));
    assert!(!format!("{on_box:?}").contains("correct horse"));
}

#[test]
fn mistakes() {
    let cases = [
        (
            "[network]\nmode = \"stattic\"",
            "6:8: `mode` in [network] is \"stattic\"; it must be one of \"dhcp\", \"static\"; did you mean \"static\"?",
        ),
        (
            "[network]\naddress = \"192.0.2.10/24\"",
            "6:11: `address` in [network] is of no use with DHCP; write mode = \"static\" or remove it",
        ),
        (
            "[network]\nmode = \"static\"\ndns = []",
            "5:1: `address` is missing in [network]; it is the box's own address and the bits of its network, for example: address = \"192.0.2.10/24\"",
        ),
        (
            "[network]\nmode = \"static\"\naddress = \"192.0.2.10/24\"",
            "6:8: `dns` is missing in [network]; with a fixed address the box must be told its name servers, for example: dns = [\"192.0.2.1\"] (or [] for none)",
        ),
        (
            "[network]\nmode = \"static\"\naddress = \"192.0.2.10/24\"\ngateway = \"192.0.3.1\"\ndns = []",
            "8:11: `gateway` in [network] is 192.0.3.1, which is not in the network of 192.0.2.10/24; correct one of them",
        ),
        (
            "[network]\nmode = \"static\"\naddress = \"192.0.2.10/24\"\ngateway = \"192.0.2.10\"\ndns = []",
            "8:11: `gateway` in [network] is the box's own address; it must be the router's",
        ),
        (
            "[network]\ndns = [\n\"192.0.2.1\",\n\"192.0.2\"]",
            "8:1: `dns` in [network] is \"192.0.2\": it is not an IP address; it must be a list, each an IP address, for example: dns = [\"192.0.2.1\"]",
        ),
        (
            "[network]\ndns = \"192.0.2.1\"",
            "6:7: `dns` in [network] is a text; it must be a list, each an IP address, for example: dns = [\"192.0.2.1\"]",
        ),
        (
            "[network]\ninterface = \"eth0\\n[Match]\"",
            "6:13: `interface` in [network] must be the name of a network interface, at most 15 letters and digits, for example: interface = \"eth0\"",
        ),
        (
            "[network]\nwifi = 1",
            "6:8: `wifi` in [network] is a whole number; it must be a table: write [network.wifi] on a line of its own and its keys below",
        ),
        (
            "[network.wifi]\nssid = \"x\"",
            "6:8: `password` is missing in [network.wifi]; if the network has none, write: open = true",
        ),
        (
            "[network.wifi]\nssid = \"x\"\npassword = \"short\"",
            "7:12: `password` in [network.wifi]: a wireless network's password has 8 to 63 characters, only letters, digits, spaces and signs of ASCII",
        ),
        (
            "[network.wifi]\nssid = \"x\"\nopen = true\npassword = \"long enough\"",
            "8:12: `password` in [network.wifi] is of no use in an open network; remove it or `open`",
        ),
        (
            "[network.wifi]\nssid = \"x\"\nopen = true\ncountry = \"Germany\"",
            "8:11: `country` in [network.wifi] must be two letters, for example: country = \"DE\"",
        ),
        (
            "[network.wifi]\nsid = \"x\"",
            "5:1: `ssid` is missing in [network.wifi]; it is a text, for example: ssid = \"…\"\nsite.toml:6:1: unknown key `sid` in [network.wifi]; did you mean `ssid`?",
        ),
        (
            "[network.wired_auth]\neap = \"peap\"\nidentity = \"x\"",
            "5:1: `password` is missing in [network.wired_auth]; it is a text, for example: password = \"…\"",
        ),
        (
            "[network.wired_auth]\neap = \"tls\"\nidentity = \"x\"\ncertificate = \"a\"\nkey = \"b\"\npassword = \"c\"",
            "10:12: `password` in [network.wired_auth] is of no use with this `eap`; remove it",
        ),
        (
            "[network.wired_auth]\neap = \"peap\"\nidentity = \"x\"\npassword = \"c\"\ndomain = \"d\"",
            "9:10: `domain` in [network.wired_auth] is of no use without `ca`: anybody can write a name into a certificate; add ca = \"radius.pem\", the authority that made it",
        ),
        (
            "[ssh]\nkeys = [\"ssh-dss AAAA\"]",
            "6:9: `keys` in [ssh]: it does not begin with the kind of key, such as ssh-ed25519, ecdsa-sha2-nistp256 or ssh-rsa; it must be a list, each a public SSH key, for example: keys = [\"ssh-ed25519 AAAA… name\"]",
        ),
        (
            "[time]\nserver = [\"a\"]",
            "6:1: unknown key `server` in [time]; did you mean `servers`?",
        ),
        (
            "[time]\nservers = [\"a b\"]",
            "6:12: `servers` in [time] is \"a b\": it is neither a host name nor an IP address; it must be a list, each a server's name or address, for example: servers = [\"ntp.example.org\"]",
        ),
        (
            "[log]\nupload = \"logs.example.org\"",
            "6:10: `upload` in [log]: the scheme is missing; it must be an address that begins with https:// or http://, for example: upload = \"https://logs.example.org:19532\"",
        ),
        ("[wifi]\nssid = \"x\"", "5:2: unknown table [wifi]; it belongs in [network]"),
    ];
    for (more, expected) in cases {
        let error = with(more).unwrap_err().to_string().replace("/cfg/", "");
        assert_eq!(error, format!("site.toml:{expected}"), "{more}");
    }
}

/// Any settings there can be.
pub(crate) fn any_network() -> impl Strategy<Value = Network> {
    let secret = || "[ -~]{8,63}".prop_map(Secret::new);
    let text = || prop_oneof!["[ -~]{1,20}", "\\PC{1,8}", Just("\"\\\n#'".to_owned())];
    let path = || "[a-z ☕\"]{1,8}".prop_map(|name| Path::new("/c").join(name));
    let fixed = prop_oneof![
        Just("192.0.2.10/24 192.0.2.1"),
        Just("10.1.2.3/8 -"),
        Just("2001:db8::10/64 fe80::1"),
    ]
    .prop_map(|text| {
        let (address, gateway) = text.split_once(' ').unwrap();
        Fixed { address: address.parse().unwrap(), gateway: gateway.parse().ok() }
    });
    let wifi = (text(), prop::option::of(secret()), prop::option::of("[A-Z]{2}"))
        .prop_map(|(ssid, password, country)| Wifi { ssid, password, country });
    let eap = prop_oneof![
        secret().prop_map(Eap::Peap),
        (secret(), prop_oneof![Just(Inner::Pap), Just(Inner::Mschapv2)])
            .prop_map(|(password, inner)| Eap::Ttls(password, inner)),
        (path(), path()).prop_map(|(certificate, key)| Eap::Tls { certificate, key }),
    ];
    let authority = prop::option::of((path(), prop::option::of(text())));
    let wired_auth = (eap, text(), prop::option::of(text()), authority).prop_map(
        |(eap, identity, anonymous_identity, authority)| {
            let (ca, domain) = authority.unzip();
            WiredAuth { eap, identity, anonymous_identity, ca, domain: domain.flatten() }
        },
    );
    let dns = prop::collection::vec(any::<u32>(), 0..3).prop_map(|all| {
        let usable = |bits: u32| IpAddr::from((bits >> 1 | 1).to_be_bytes());
        all.into_iter().map(usable).filter(|a| !a.is_multicast()).collect()
    });
    (
        prop::option::of("[a-z][a-z0-9]{0,14}"),
        prop::option::of(fixed),
        dns,
        prop::option::of(wifi),
        prop::option::of(wired_auth),
    )
        .prop_map(|(interface, fixed, dns, wifi, wired_auth)| Network {
            interface,
            fixed,
            dns,
            wifi,
            wired_auth,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(network in any_network()) {
        let text = network.to_toml();
        let read = load(&text, Path::new("/x/network.toml")).map_err(|e| e.to_string());
        prop_assert_eq!(read, Ok(network), "{}", text);
    }
}
