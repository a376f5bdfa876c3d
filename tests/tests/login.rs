//! Logging in to the venue's network: the real wpa_supplicant with what the box makes of its
//! `site.toml`, and a real hostapd. There is no radio here, so of wireless networks only what
//! wpa_supplicant understands is seen.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use backrow_tests::login::{BOX, IDENTITY, SOON, Socket, Supplicant};
use backrow_tests::provisioned::Provisioned;
use backrow_tests::until;
use backrow_tests::venue::{BRIDGE, Venue, allowed};
use futures_util::future::join_all;

const WIRED: &str = "backrow-wired-login@.service";
const WIFI: &str = "backrow-wifi@.service";
/// What would end a value or a line, if it were written as it is.
const PASSWORD: &str = "hush \"hush\" # grüße\\";

/// `eap` with PAP inside, which shows the server the password as it is.
const PAP: &str = "\"ttls\"\ninner = \"pap\"";
const CERTIFICATE: &str = "eap = \"tls\"\ncertificate = \"box.pem\"\nkey = \"box.key\"\n";
const CA: &str = "ca = \"radius.pem\"\n";
/// The name in the certificate of the network.
const DOMAIN: &str = "domain = \"localhost\"\n";

/// A box whose `site.toml` has these lines in `[network.wired_auth]`; it brings the authority of `known`
/// along, and its certificate.
fn boxed(lines: &str, known: &Socket) -> Provisioned {
    let certificate = format!("{IDENTITY}.pem");
    let key = format!("{IDENTITY}.key");
    let files: [(&str, &[u8]); 3] = [
        ("radius.pem", &known.file("ca.pem")),
        ("box.pem", &known.file(&certificate)),
        ("box.key", &known.file(&key)),
    ];
    Provisioned::with(&format!("[network.wired_auth]\nidentity = {IDENTITY:?}\n{lines}"), &files)
}

/// Lines of a `site.toml` with a method and a password.
fn with_password(method: &str, password: &str) -> String {
    format!("eap = {method}\npassword = {password:?}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_is_let_in() {
    if !allowed() {
        return;
    }
    let cases = [
        (with_password("\"peap\"", PASSWORD) + CA, ["(EAP-PEAP)", "method=MSCHAPV2"]),
        (with_password("\"ttls\"", PASSWORD) + CA, ["(EAP-TTLS)", "method=MSCHAPV2"]),
        (with_password(PAP, PASSWORD) + CA, ["(EAP-TTLS)", "method=PAP"]),
        (CERTIFICATE.to_owned() + CA, ["(EAP-TLS)", "EAP TLS cipher="]),
        // A name that the account does not have: only the outer one is for everybody.
        (
            with_password("\"peap\"", PASSWORD) + CA + DOMAIN + "anonymous_identity = \"nobody\"\n",
            ["(EAP-PEAP)", "method=MSCHAPV2"],
        ),
        // Whose certificate it is does not matter without an authority.
        (with_password("\"peap\"", PASSWORD), ["(EAP-PEAP)", "method=MSCHAPV2"]),
    ];
    join_all(cases.map(async |(lines, signs)| {
        let socket = Socket::start(PASSWORD).await;
        let machine = boxed(&lines, &socket);
        let supplicant = socket.plug(&machine.command(WIRED, BOX));
        let status = supplicant.logged_in().await;
        for sign in signs {
            assert!(status.contains(sign), "no {sign} with\n{lines}in\n{status}");
        }
        assert!(socket.lets_through().await, "{}", socket.log());
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_wrong_passwords_are_refused() {
    if !allowed() {
        return;
    }
    let other = Socket::start(PASSWORD).await;
    let mut cases = Vec::new();
    for method in ["\"peap\"", "\"ttls\"", PAP] {
        // No password is told to a server whose certificate is of another authority.
        cases.push((with_password(method, PASSWORD) + CA, Some(&other), true));
        cases.push((with_password(method, "battery-staple") + CA, None, false));
    }
    cases.push((CERTIFICATE.to_owned() + CA, Some(&other), true));
    // Nor to another server, even if the same authority certified it.
    let elsewhere = CA.to_owned() + "domain = \"radius.example.org\"\n";
    cases.push((with_password("\"peap\"", PASSWORD) + &elsewhere, None, true));
    // Without an authority it is the server that knows no such certificate.
    cases.push((CERTIFICATE.to_owned(), Some(&other), false));
    // Each at a socket of its own: after a failure it is deaf for a minute.
    join_all(cases.iter().map(async |(lines, known, distrusts)| {
        let socket = Socket::start(PASSWORD).await;
        let machine = boxed(lines, known.unwrap_or(&socket));
        let supplicant = socket.plug(&machine.command(WIRED, BOX));
        let log = supplicant.refused().await;
        let distrusted = log.contains("CTRL-EVENT-EAP-TLS-CERT-ERROR");
        assert_eq!(distrusted, *distrusts, "with\n{lines}\n{log}");
        assert!(!socket.lets_through().await, "{}", socket.log());
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wireless_networks_are_understood_as_they_were_written() {
    if !allowed() {
        return;
    }
    let venue = Venue::open().await;
    let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
    let personal = ["WPA-PSK", "WPA-PSK-SHA256", "SAE"];
    // What wpa_supplicant shows of a name is in quotes or, if it has more than ASCII, in hexadecimal.
    for (ssid, shown, password, keys) in [
        ("Venue", "\"Venue\"", Some("correct horse"), &personal[..]),
        ("say \"hi\" # {x}", "\"say \"hi\" # {x}\"", Some("a \"b\" # \\c} ~ "), &personal),
        ("Hörsaal", "48c3b6727361616c", Some("\"\"\"\"\"\"\"\""), &personal),
        ("line\nline", "6c696e650a6c696e65", Some("#       "), &personal),
        ("Key", "\"Key\"", Some(digits.as_str()), &personal[..2]),
        ("Open", "\"Open\"", None, &["NONE"]),
    ] {
        let secret = match password {
            Some(password) => format!("password = {password:?}"),
            None => "open = true".to_owned(),
        };
        let tables = format!("[network.wifi]\nssid = {ssid:?}\n{secret}\ncountry = \"DE\"\n");
        let machine = Provisioned::with(&tables, &[]);
        let command: Vec<String> = machine
            .command(WIFI, BRIDGE)
            .into_iter()
            .map(|word| word.replace("-Dnl80211", "-Dnone"))
            .collect();
        let supplicant = Supplicant::start(&venue, BRIDGE, &command);
        let found = until(SOON, "wpa_supplicant to answer", async || {
            supplicant.ask(&["get_network", "0", "ssid"]).await
        })
        .await;
        assert_eq!(found, shown, "{tables}");
        let found = supplicant.ask(&["get_network", "0", "key_mgmt"]).await.unwrap();
        assert_eq!(found.split(' ').collect::<Vec<_>>(), keys, "{tables}");
        // It shows no secret, but whether there is one.
        let found = supplicant.ask(&["get_network", "0", "psk"]).await;
        assert_eq!(found.as_deref(), password.map(|_| "*"), "{tables}");
    }
}
