use std::os::unix::fs::PermissionsExt as _;

use super::{judge::unfit, *};
use crate::event::parse;

fn conference(dir: &Path) -> Event {
    parse(
        "[event]\nname = \"demo\"\nbroker = \"mqtts://broker.example.org\"\n[rooms.a]\n\
         [machines.enc]\nkind = \"encoder\"\nhost = \"enc\"\nrooms = \"all\"\nbroker = true\n\
         [machines.box_1]\nkind = \"box\"\nhost = \"b\"\nroom = \"a\"\n",
        "[rooms.a]\ntoken = \"a-long-token\"\n",
        dir,
    )
    .unwrap()
}

fn now() -> Timestamp {
    "2026-02-28T00:00:00Z".parse().unwrap()
}

#[test]
fn they_are_made_once_and_renewed_when_they_end() {
    let dir = tempfile::tempdir().unwrap();
    let event = conference(dir.path());
    assert_eq!(make(&event, now()).unwrap(), ["box_1", "enc", "broker", "operator"]);
    let first = Certificates::read(&event, now()).unwrap();
    assert!(make(&event, now()).unwrap().is_empty());
    assert_eq!(Certificates::read(&event, now()).unwrap().pairs, first.pairs);
    let mode = |name: &str| {
        fs::metadata(event.certificates().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("box_1.key"), 0o600);
    assert_eq!(mode("authority.key"), 0o600);

    let later: Timestamp = "2031-02-10T00:00:00Z".parse().unwrap();
    assert_eq!(make(&event, later).unwrap().len(), 4);
    let after = Certificates::read(&event, later).unwrap();
    assert_eq!(after.authority, first.authority);
    assert_ne!(after.pairs, first.pairs);
}

#[test]
fn what_is_wrong_with_them_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let event = conference(dir.path());
    let said = |now: Timestamp| {
        let problems = Certificates::read(&event, now).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(said(now()).contains("certificates/authority.pem:1: it cannot be read"));
    make(&event, now()).unwrap();
    let folder = event.certificates();
    fs::copy(folder.join("enc.key"), folder.join("box_1.key")).unwrap();
    fs::write(folder.join("enc.pem"), "nothing").unwrap();
    fs::remove_file(folder.join("broker.key")).unwrap();
    let now_said = said(now());
    for wanted in [
        "certificates/box_1.pem:1: the key beside it is not its own",
        "certificates/enc.pem:1: there is no certificate in it",
        "certificates/broker.pem:1: its key, broker.key, cannot be read",
    ] {
        assert!(now_said.contains(wanted), "{wanted} is not in:\n{now_said}");
    }
    let late = said("2032-01-01T00:00:00Z".parse().unwrap());
    assert!(late.contains("certificates/operator.pem:1: it has expired on 2031-02-28"), "{late}");

    let other = tempfile::tempdir().unwrap();
    let foreign = conference(other.path());
    make(&foreign, now()).unwrap();
    for end in ["pem", "key"] {
        let name = format!("operator.{end}");
        fs::copy(foreign.certificates().join(&name), folder.join(&name)).unwrap();
    }
    assert!(said(now()).contains("certificates/operator.pem:1: it is not signed by"));
}

#[test]
fn only_the_operators_is_for_signing_and_an_earlier_one_is_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let event = conference(dir.path());
    make(&event, now()).unwrap();
    let folder = event.certificates();
    let certificates = Certificates::read(&event, now()).unwrap();
    let authority = certificates.authority.unwrap();
    for (name, pair) in &certificates.pairs {
        assert_eq!(unfit(pair, &authority, now()).is_none(), name == OPERATOR, "{name}");
    }
    // As it was made before: for the broker alone.
    for end in ["pem", "key"] {
        fs::copy(folder.join(format!("enc.{end}")), folder.join(format!("operator.{end}")))
            .unwrap();
    }
    let problems = Certificates::read(&event, now()).unwrap_err();
    assert!(problems[0].to_string().contains("not made for signing settings"), "{problems:?}");
    assert_eq!(make(&event, now()).unwrap(), ["operator"]);
    Certificates::read(&event, now()).unwrap();
}

#[test]
fn the_brokers_is_for_its_host_and_another_host_has_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut event = conference(dir.path());
    make(&event, now()).unwrap();
    for host in ["mqtts://192.0.2.7", "mqtts://[2001:db8::7]:8883", "mqtts://hub.example.org"] {
        let (url, _) = event.broker.as_mut().unwrap();
        *url = host.parse().unwrap();
        let problems = Certificates::read(&event, now()).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        let said = problem.to_string();
        assert!(said.contains("certificates/broker.pem:1: it is not made for "), "{said}");
        assert_eq!(make(&event, now()).unwrap(), ["broker"], "{host}");
        Certificates::read(&event, now()).unwrap();
    }
}
