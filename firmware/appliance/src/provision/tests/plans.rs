//! Decisions alone.

use std::{collections::BTreeMap, io};

use proptest::prelude::*;

use super::{SITE, *};
use crate::provision::{
    accept::{Kept, MAX_FILE, hostname},
    fuzzing,
};

fn decide(site: &[u8], files: &BTreeMap<&str, Vec<u8>>) -> plan::Plan {
    let read = |name: &str| files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into());
    let keys = files.get("authorized_keys").cloned();
    let found = Found { site: Some(site.to_vec()), keys, names: Vec::new(), read: &read };
    let places = Places { certs: Path::new("/run/certs"), spool: None };
    plan::plan(Ok(&found), &Kept::default(), &Networks::default(), places)
}

fn problems(more: &str, files: &BTreeMap<&str, Vec<u8>>) -> Vec<String> {
    decide(format!("{SITE}{more}").as_bytes(), files).problems
}

#[test]
fn each_thing_wrong_with_a_file_is_told_with_its_line() {
    let ((certificate, key), (_, other)) = (made("a"), made("b"));
    let files = BTreeMap::from([
        ("a.pem", certificate),
        ("a.key", key),
        ("b.key", other),
        ("text.pem", b"hello".to_vec()),
        ("big.pem", vec![b'x'; MAX_FILE + 1]),
    ]);
    let mqtt = |more: &str| format!("[mqtt]\nurl = \"mqtts://b\"\n{more}\n");
    for (more, expected) in [
        (
            "ca = \"no.pem\"",
            "line 9: `ca`: there is no file no.pem on CONFIG, and the box keeps none of this name",
        ),
        (
            "ca = \"text.pem\"",
            "line 9: `ca`: text.pem: there is no certificate in it (it must be in PEM form, with a line that says BEGIN CERTIFICATE)",
        ),
        ("ca = \"big.pem\"", "line 9: `ca`: big.pem is too large to be a certificate or a key"),
        (
            "ca = \"/etc/ssl/ca.pem\"",
            "line 9: `ca`: on a box the file must lie on CONFIG, beside site.toml; write its name alone",
        ),
        ("ca = \"../../etc/shadow\"", "line 9: `ca`: the path must not lead out of CONFIG"),
        (
            "certificate = \"a.pem\"\nkey = \"b.key\"",
            "line 10: `key`: the key is not the certificate's; put the two that belong together",
        ),
        (
            "certificate = \"a.key\"\nkey = \"a.pem\"",
            "line 9: `certificate`: a.key: there is no certificate in it (it must be in PEM form, with a line that says BEGIN CERTIFICATE)",
        ),
    ] {
        let told = problems(&mqtt(more), &files);
        assert_eq!(told[0], format!("site.toml {expected}"), "{told:?}");
    }
    let good = mqtt("certificate = './a.pem'\nkey = 'a.key'\nca = \".\\\\a.pem\"");
    assert_eq!(problems(&good, &files), [""; 0]);
    let told = problems("[source]\nkind = \"file\"\npath = \"talk.mp4\"\n", &files);
    assert_eq!(
        told,
        [
            "site.toml line 9: `path` in [source] must begin with / on a box, for example: path = \"/data/recordings\""
        ]
    );
}

#[test]
fn texts_that_are_none() {
    let none = BTreeMap::new();
    let utf16: Vec<u8> = "\u{feff}room".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, expected) in [
        (&b""[..], "site.toml is empty"),
        (b"\0\0\0", "site.toml is empty"),
        (
            &utf16,
            "site.toml is saved as UTF-16; save it as UTF-8 (in Notepad: Save as, Encoding: UTF-8)",
        ),
        (
            b"a = 1\nb = \"\xe9\"\n",
            "site.toml line 2: this is not UTF-8 text; save the file as UTF-8",
        ),
    ] {
        assert_eq!(decide(bytes, &none).problems, [expected]);
    }
    let broken = decide(b"\xEF\xBB\xBFroom = \"x\"\r\n[encoder\r\n", &none).problems;
    assert!(broken[0].starts_with("site.toml line 2: not valid TOML"), "{broken:?}");
}

#[test]
fn keys_of_both_places_count_once_and_bad_lines_are_told() {
    let files = BTreeMap::from([(
        "authorized_keys",
        format!("\u{feff}{KEY}\r\n\r\nnonsense\r\n").into_bytes(),
    )]);
    let site = format!("{SITE}[ssh]\nkeys = [\"{KEY}\"]\n");
    let plan = decide(site.as_bytes(), &files);
    assert_eq!(plan.ssh.len(), 1);
    assert_eq!(plan.problems.len(), 1);
    assert!(plan.problems[0].starts_with("authorized_keys line 3: it does not begin"));
    assert!(plan.accepted.is_some());
}

#[test]
fn a_room_makes_a_host_name() {
    for (device, expected) in [("Main_Hall-2", "main-hall-2"), ("__", "backrow"), ("é", "backrow")]
    {
        assert_eq!(hostname(device), expected);
    }
    assert_eq!(hostname(&"x".repeat(64)).len(), 63);
    let named = SITE.replace("room", "device = \"box-7\"\r\nroom");
    let plan = decide(named.as_bytes(), &BTreeMap::new());
    assert_eq!(plan.accepted.unwrap().hostname, "box-7");
}

#[test]
fn a_collector_on_a_box_records_where_there_is_a_disk() {
    let none = |_: &str| Err(io::ErrorKind::NotFound.into());
    let places = Places { certs: Path::new("/c"), spool: Some(Path::new("/data/recordings")) };
    let spool = |more: &str| {
        let text = format!("{SITE}{more}");
        let accepted = accept::accept(&text, Some(&none), &Kept::default(), places).unwrap();
        accepted.site.uplink.spool.unwrap().display().to_string()
    };
    assert_eq!(spool(""), "/data/recordings");
    assert_eq!(spool("[uplink] # mine\r\nmemory = \"32MiB\"\r\n[time]\r\n"), "/data/recordings");
    assert_eq!(spool("[uplink]\nspool = \"/data/mine\"\n"), "/data/mine");
    let told = problems("[uplink]\nspool = \"here\"\n", &BTreeMap::new());
    assert_eq!(
        told,
        [
            "site.toml line 8: `spool` in [uplink] must begin with / on a box, for example: spool = \"/data/recordings\""
        ]
    );
}

fn nearly() -> impl Strategy<Value = String> {
    let lines = [
        "room = \"demo\"",
        "device = \"b\"",
        "[encoder]",
        "url = \"https://e\"",
        "url = \"rtmp://h/a/b\"",
        "url = \"https://u:p@e\"",
        "token = \"correct-horse\"",
        "token = '''kept-on-the-box'''",
        "ca = \"x\"",
        "[mqtt]",
        "url = \"mqtts://b\"",
        "password = \"\"",
        "username = \"u\"",
        "[network]",
        "mode = \"static\"",
        "address = \"192.0.2.9/24\"",
        "dns = []",
        "[network.wifi]",
        "ssid = \"a\"",
        "open = true",
        "password = \"\"\"\nlong enough\"\"\"",
        "\u{feff}",
        "\r",
        "mqtt = { url = \"mqtt://b\", username = \"x\", password = \"y\" } # z",
        "encoder.url = \"https://e\"",
        "encoder.token = 'correct-horse'",
    ];
    prop::collection::vec(
        prop_oneof![
            6 => prop::sample::select(lines.to_vec()).prop_map(str::to_owned),
            1 => any::<String>()
        ],
        0..10,
    )
    .prop_map(|lines| lines.join("\n"))
}

#[test]
fn what_the_fuzzer_starts_from_is_decided_about() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let certificate = fs::read(fuzz.join("fuzz_targets/site.pem")).unwrap();
    let mut accepted = 0;
    for entry in fs::read_dir(fuzz.join("corpus/site")).unwrap().flatten() {
        let bytes = fs::read(entry.path()).unwrap();
        fuzzing::site(&bytes, b"");
        fuzzing::site(&bytes, &certificate);
        let files = BTreeMap::from([("ca.pem", certificate.clone()), ("z", certificate.clone())]);
        accepted += usize::from(decide(&bytes, &files).accepted.is_some());
    }
    assert_eq!(accepted, 5, "all but the one that is wrong, and the one whose secret is missing");
}

proptest! {
    #[test]
    fn any_bytes_are_decided_about(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::site(&bytes, &bytes);
    }

    #[test]
    fn nearly_good_sites_too(text in nearly()) {
        fuzzing::site(text.as_bytes(), b"");
    }

    #[test]
    fn good_sites_with_any_secret(token in "[!-~]{8,40}", comment in "[^\\x00-\\x08\\x0a-\\x1f\\x7f]{0,20}") {
        let quoted = crate::provision::document::quoted(&token);
        let text = format!("room = \"r\" # {comment}\r\n[encoder]\r\nurl=\"https://e\"\r\ntoken={quoted}#x\r\n");
        fuzzing::site(text.as_bytes(), b"");
        prop_assert!(decide(text.as_bytes(), &BTreeMap::new()).accepted.is_some() || token == "kept-on-the-box");
    }
}
