use std::path::PathBuf;

use proptest::prelude::*;
use protocol::config::Secret;

use super::*;

fn file<'f>(files: &'f [Rendered], path: &str) -> &'f str {
    let file = files.iter().find(|file| file.path.ends_with(path));
    &file.unwrap_or_else(|| panic!("no {path} in {files:?}")).text
}

#[test]
fn without_settings_every_wire_asks_by_dhcp() {
    let files = render(&Network::default());
    let [wired] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(wired.path, "run/systemd/network/10-backrow-2-wired.network");
    for line in ["Type=ether", "DHCP=yes", "ClientIdentifier=mac", "UseNTP=yes", "MulticastDNS=yes"]
    {
        assert!(wired.text.lines().any(|l| l == line), "{line} in {}", wired.text);
    }
}

#[test]
fn a_fixed_address_is_for_the_chosen_interface_alone() {
    let fixed = Fixed {
        address: "192.0.2.10/24".parse().unwrap(),
        gateway: Some("192.0.2.1".parse().unwrap()),
    };
    let dns = vec!["192.0.2.2".parse().unwrap()];
    let mut network = Network { fixed: Some(fixed), dns, ..Network::default() };
    let text = render(&network);
    let text = file(&text, "2-wired.network");
    assert!(!text.contains("DHCP"), "{text}");
    assert!(text.contains("[Address]\nAddress=192.0.2.10/24\n"), "{text}");
    assert!(text.contains("[Route]\nGateway=192.0.2.1\n"), "{text}");
    assert!(text.contains("DNS=192.0.2.2\n"), "{text}");
    network.interface = Some("enp3s0".to_owned());
    let files = render(&network);
    assert!(file(&files, "1-chosen.network").contains("Name=enp3s0\n"));
    assert!(file(&files, "1-chosen.network").contains("192.0.2.10/24"));
    assert!(file(&files, "2-wired.network").contains("DHCP=yes"));
}

#[test]
fn a_wireless_network_open_or_with_a_password() {
    let mut wifi =
        Wifi { ssid: "Hörsaal\n}".to_owned(), password: None, country: Some("DE".to_owned()) };
    let network = |wifi: &Wifi| Network { wifi: Some(wifi.clone()), ..Network::default() };
    let open = render(&network(&wifi));
    assert!(file(&open, "wifi.conf").contains("\tssid=48c3b6727361616c0a7d\n"));
    assert!(file(&open, "wifi.conf").contains("country=DE\n"));
    assert!(file(&open, "wifi.conf").contains("\tkey_mgmt=NONE\n"));
    assert!(file(&open, "3-wifi.network").contains("Type=wlan\n"));
    wifi.password = Some(Secret::new("say \"friend\" # twice"));
    let secured = render(&network(&wifi));
    assert!(file(&secured, "wifi.conf").contains("\tpsk=\"say \"friend\" # twice\"\n"));
    assert!(secured.iter().filter(|file| file.path.ends_with(".conf")).all(|f| f.mode == 0o600));
    wifi.password = Some(Secret::new("a1".repeat(32)));
    let key = render(&network(&wifi));
    assert!(file(&key, "wifi.conf").contains(&format!("\tpsk={}\n", "a1".repeat(32))));
}

#[test]
fn a_login_on_the_wire_by_each_method() {
    let with = |eap| {
        let auth = WiredAuth {
            eap,
            identity: "box".to_owned(),
            anonymous_identity: Some("nobody".to_owned()),
            ca: Some(PathBuf::from("/c/ca")),
            domain: Some("a.example".to_owned()),
        };
        render(&Network { wired_auth: Some(auth), ..Network::default() })
    };
    let peap = with(Eap::Peap(Secret::new("pass\nword")));
    let peap = file(&peap, "wired.conf");
    assert!(peap.contains("\teap=PEAP\n\tphase2=\"auth=MSCHAPV2\"\n"), "{peap}");
    assert!(peap.contains("\tpassword=706173730a776f7264\n"), "{peap}");
    assert!(peap.contains("\tanonymous_identity=6e6f626f6479\n"), "{peap}");
    assert!(
        peap.contains("\tca_cert=2f632f6361\n\tdomain_suffix_match=612e6578616d706c65\n"),
        "{peap}"
    );
    let ttls = with(Eap::Ttls(Secret::new("x"), Inner::Pap));
    assert!(file(&ttls, "wired.conf").contains("\teap=TTLS\n\tphase2=\"auth=PAP\"\n"));
    let tls = with(Eap::Tls { certificate: "/c/a".into(), key: "/c/b".into() });
    let tls = file(&tls, "wired.conf");
    assert!(tls.contains("\tclient_cert=2f632f61\n\tprivate_key=2f632f62\n"), "{tls}");
    assert!(!tls.contains("password"), "{tls}");
}

fn anything() -> impl Strategy<Value = Network> {
    let text = || any::<String>().prop_filter("not empty", |text| !text.is_empty());
    let wifi = (text(), "[ -~]{8,63}").prop_map(|(ssid, password)| Wifi {
        ssid,
        password: Some(Secret::new(password)),
        country: None,
    });
    let auth = (text(), text(), text(), text(), text()).prop_map(
        |(identity, anonymous, password, ca, domain)| WiredAuth {
            eap: Eap::Peap(Secret::new(password)),
            identity,
            anonymous_identity: Some(anonymous),
            ca: Some(PathBuf::from(ca)),
            domain: Some(domain),
        },
    );
    (prop::option::of(wifi), prop::option::of(auth)).prop_map(|(wifi, wired_auth)| Network {
        wifi,
        wired_auth,
        ..Network::default()
    })
}

/// What wpa_supplicant makes of a value: the text in quotes (to the last), or hexadecimal.
fn understood(text: &str, key: &str) -> Option<Vec<u8>> {
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("\t{key}=")))?;
    match value.strip_prefix('"').and_then(|value| value.rsplit_once('"')) {
        Some((inside, "")) => Some(inside.as_bytes().to_vec()),
        Some(_) => None,
        None => (0..value.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(value.get(at..at + 2)?, 16).ok())
            .collect(),
    }
}

proptest! {
    #[test]
    fn no_value_becomes_a_line_and_all_are_understood(network in anything()) {
        let files = render(&network);
        for file in files.iter().filter(|file| file.path.ends_with(".conf")) {
            for line in file.text.lines() {
                let known = ["update_config=0", "sae_pwe=2", "ap_scan=0", "network={", "}", "\t"];
                prop_assert!(known.iter().any(|known| line.starts_with(known)), "{}", line);
            }
        }
        if let Some(Wifi { ssid, password: Some(password), .. }) = &network.wifi {
            let text = file(&files, "wifi.conf");
            prop_assert_eq!(understood(text, "ssid"), Some(ssid.as_bytes().to_vec()));
            prop_assert_eq!(understood(text, "psk"), Some(password.reveal().as_bytes().to_vec()));
        }
        if let Some(WiredAuth { identity, eap: Eap::Peap(password), domain, .. }) =
            &network.wired_auth
        {
            let text = file(&files, "wired.conf");
            prop_assert_eq!(understood(text, "identity"), Some(identity.as_bytes().to_vec()));
            let domain = domain.as_ref().map(|domain| domain.as_bytes().to_vec());
            prop_assert_eq!(understood(text, "domain_suffix_match"), domain);
            prop_assert_eq!(
                understood(text, "password"),
                Some(password.reveal().as_bytes().to_vec())
            );
        }
    }
}
