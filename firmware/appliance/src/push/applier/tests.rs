//! Pushed settings from the wire to the files and back, with a script for `systemctl`.

use std::os::unix::fs::PermissionsExt as _;

use protocol::{
    mood::Mood,
    names::Revision,
    payload::VERSION,
    status::{CollectorStatus, FILE},
};
use watchdog::clock::{Clock as _, FakeClock};

use super::*;
use crate::{
    daemon::MQTT, programs::Programs, provision::provision, push::verify::tests::Authority,
};

/// A box in a folder. Its daemon is started by hand.
struct Rig {
    dir: tempfile::TempDir,
    paths: Paths,
    clock: FakeClock,
    authority: Authority,
}

fn site(revision: &str, device: &str, encoder: &str) -> String {
    format!(
        "room = \"hall\"\ndevice = \"{device}\"\nrevision = \"{revision}\"\n[encoder]\n\
         url = \"https://{encoder}\"\ntoken = \"a-secret-token\"\n[mqtt]\nurl = \"mqtts://broker\"\n\
         ca = \"ca.pem\"\ncertificate = \"box-7.pem\"\nkey = \"box-7.key\"\n"
    )
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let config = paths.partition("config");
        fs::create_dir_all(&config).unwrap();
        let authority = Authority::new();
        for name in ["ca.pem", "box-7.pem", "box-7.key"] {
            fs::write(config.join(name), authority.file(name)).unwrap();
        }
        fs::write(config.join(SITE), site("r0", "box-7", "old.example.org")).unwrap();
        fs::create_dir_all(paths.system("proc/sys/kernel/random")).unwrap();
        let script = dir.path().join("systemctl");
        let text = format!("#!/bin/sh\necho \"$@\" >> {}\n", dir.path().join("called").display());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let outcome = provision(&paths, Partition::mount(&paths), &Hooks::default()).unwrap();
        assert!(outcome.ok, "{:?}", outcome.problems);
        let rig = Self { dir, paths, clock: FakeClock::at(Timestamp::now()), authority };
        rig.collector("session-0", Mood::Happy);
        rig
    }

    /// A start of the daemon, with the site as it is now.
    async fn start(&self) -> Work {
        let mut system = System::new(self.paths.clone());
        let called = self.dir.path().join("systemctl").into_os_string();
        system.programs = Programs { rauc: vec!["false".into()], systemctl: called };
        system.networkctl = "true".into();
        let clock: SharedClock = Arc::new(self.clock.clone());
        let board = Board::new(clock.clone());
        board.set(MQTT, Mood::Happy, "connected");
        let site = protocol::config::site::read(&self.paths.site()).unwrap();
        let told = Arc::new(watch::Sender::new(None));
        let mut work = Work::new(Applier { system, clock, board, site, told });
        work.resume().await;
        work
    }

    fn collector(&self, session: &str, uplink: Mood) {
        let text = format!(
            r#"{{"v":1,"at":"{}","room":"hall","device":"box-7","session":"{session}",
            "components":{{"uplink":{{"mood":"{uplink}","since":"2026-02-03T04:05:06Z","reason":"refused"}}}}}}"#,
            self.clock.utc()
        );
        let status: CollectorStatus = serde_json::from_str(&text).unwrap();
        kept::write_json(&self.paths.collector().join(FILE), &status).unwrap();
    }

    fn document(&self, sequence: u64, site: String) -> Document {
        let file = |name: &str| (name.to_owned(), self.authority.file(name));
        let mut files: BTreeMap<String, String> =
            ["ca.pem", "box-7.pem", "box-7.key"].map(file).into();
        files.insert(SITE.to_owned(), site);
        Document {
            v: VERSION,
            machine: "box-7".parse().unwrap(),
            revision: format!("r{sequence}").parse().unwrap(),
            made: self.clock.utc(),
            sequence,
            settle_s: 5,
            patience_s: 60,
            files,
        }
    }

    /// A good document of this sequence.
    fn good(&self, sequence: u64) -> Document {
        self.document(sequence, site(&format!("r{sequence}"), "box-7", "new.example.org"))
    }

    fn sign(&self, document: &Document) -> Incoming {
        let payload = self.authority.sign("operator", &document.to_json()).to_json().into();
        Incoming { payload, retained: true }
    }

    fn in_force(&self) -> String {
        fs::read_to_string(self.paths.site()).unwrap()
    }

    fn called(&self) -> String {
        fs::read_to_string(self.dir.path().join("called")).unwrap_or_default()
    }
}

impl Work {
    async fn hear(&mut self, incoming: Incoming) {
        self.waiting = Some(incoming);
        self.look().await;
    }

    fn told(&self) -> (Standing, String) {
        let state = self.applier.told.borrow().clone().unwrap();
        (state.state, state.reason)
    }
}

#[tokio::test]
async fn what_is_signed_is_put_in_place_tried_and_kept() {
    let rig = Rig::new();
    let mut work = rig.start().await;
    assert_eq!(work.told().0, Standing::None);
    let message = rig.sign(&rig.good(5));
    work.hear(message.clone()).await;
    assert_eq!(work.told().0, Standing::Trial);
    assert!(rig.in_force().contains("new.example.org"));
    let called = rig.called();
    let restart = "--no-block restart backrow-collector.service backrow-appliance.service";
    assert!(called.contains(restart), "{called}");

    // The daemon as it starts anew.
    let mut work = rig.start().await;
    work.look().await;
    assert_eq!(work.told(), (Standing::Trial, "the collector does not say how it is".into()));
    rig.collector("session-1", Mood::Happy);
    work.look().await;
    rig.clock.advance(Duration::from_secs(5));
    rig.collector("session-1", Mood::Happy);
    work.look().await;
    assert_eq!(work.told().0, Standing::Applied);
    let state = work.applier.told.borrow().clone().unwrap();
    assert_eq!((state.sequence, state.highest, state.by_hand), (Some(5), 5, false));
    assert_eq!(state.has, Some("r5".parse::<Revision>().unwrap()));

    // The broker brings it again, after another start, too: nothing happens.
    let called = rig.called();
    let mut work = rig.start().await;
    work.hear(message).await;
    assert_eq!(work.told().0, Standing::Applied);
    assert_eq!(rig.called(), called);
    // Somebody changes the settings there.
    let text = rig.in_force().replace("new.example.org", "hand.example.org");
    fs::write(rig.paths.kept().join(SITE), text).unwrap();
    work.tell(None);
    assert!(work.applier.told.borrow().as_ref().unwrap().by_hand);
}

#[tokio::test]
async fn a_box_that_is_not_well_goes_back_and_does_not_try_again() {
    let rig = Rig::new();
    let before = rig.in_force();
    let mut work = rig.start().await;
    let message = rig.sign(&rig.good(5));
    work.hear(message.clone()).await;
    let mut work = rig.start().await;
    rig.collector("session-1", Mood::Sad);
    work.look().await;
    assert_eq!(work.told(), (Standing::Trial, "uplink: refused".into()));
    rig.clock.advance(Duration::from_secs(60));
    rig.collector("session-1", Mood::Sad);
    work.look().await;
    assert_eq!(work.told(), (Standing::WentBack, "uplink: refused".into()));
    assert_eq!(rig.in_force(), before);

    let called = rig.called();
    let mut work = rig.start().await;
    work.hear(message).await;
    assert_eq!(work.told(), (Standing::WentBack, "uplink: refused".into()));
    assert_eq!((rig.called(), rig.in_force()), (called, before));
    // What is pushed anew is tried anew.
    work.hear(rig.sign(&rig.good(6))).await;
    assert_eq!(work.told().0, Standing::Trial);
}

#[tokio::test]
async fn a_box_without_the_broker_goes_back() {
    let rig = Rig::new();
    let before = rig.in_force();
    rig.start().await.hear(rig.sign(&rig.good(5))).await;
    let mut work = rig.start().await;
    work.applier.board.set(MQTT, Mood::Sad, "the broker's name is not known");
    rig.collector("session-1", Mood::Happy);
    work.look().await;
    rig.clock.advance(Duration::from_secs(61));
    work.look().await;
    assert_eq!(work.told(), (Standing::WentBack, "the broker's name is not known".into()));
    assert_eq!(rig.in_force(), before);
}

#[tokio::test]
async fn a_loss_of_power_on_the_way_loses_nothing() {
    let rig = Rig::new();
    let before = rig.in_force();
    let message = rig.sign(&rig.good(5));
    // Begun, and cut off before anything was put in place.
    let mut work = rig.start().await;
    work.record.begin(&rig.good(5), Vec::new(), String::new(), rig.clock.utc());
    work.remember().unwrap();
    assert!(work.keep());
    let mut work = rig.start().await;
    assert_eq!(work.told().0, Standing::None);
    work.hear(message).await;
    assert_eq!(work.told().0, Standing::Trial);
    // Cut off while going back.
    let mut work = rig.start().await;
    if let Some(pending) = &mut work.record.pending {
        pending.phase = Phase::GoingBack("uplink: refused".into());
    }
    assert!(work.keep());
    let work = rig.start().await;
    assert_eq!(work.told(), (Standing::WentBack, "uplink: refused".into()));
    assert_eq!(rig.in_force(), before);
}

#[tokio::test]
async fn what_is_not_to_be_believed_or_wrong_changes_nothing() {
    let rig = Rig::new();
    let before = (rig.in_force(), rig.called());
    let mut work = rig.start().await;
    let raw = |text: &str| Incoming { payload: text.to_owned().into(), retained: true };
    let signed = |name: &str, document: &Document| {
        raw(&rig.authority.sign(name, &document.to_json()).to_json())
    };
    let mut tampered = rig.authority.sign("operator", &rig.good(5).to_json());
    tampered.document = tampered.document.replace("new.example.org", "bad.example.org");
    let mut other = rig.good(5);
    other.machine = "box-8".parse().unwrap();
    let mut stale = rig.good(5);
    stale.made = Timestamp::UNIX_EPOCH;
    for (message, why) in [
        (raw("{"), "line 1 column 1"),
        (raw("\u{0}\u{1}"), "not understood"),
        (raw(&tampered.to_json()), "changed after it was signed"),
        (signed("box-7", &rig.good(5)), "not one for signing settings"),
        (signed("operator", &other), "for the machine box-8, and this is box-7"),
        (signed("operator", &stale), "before this box was given its settings"),
    ] {
        work.hear(message).await;
        let (standing, reason) = work.told();
        assert!(standing == Standing::Refused && reason.contains(why), "{reason:?} is not {why:?}");
        assert_eq!(work.record, Record::default());
    }
    // Rightly signed, and wrong: that is known from then on.
    for (sequence, site, why) in [
        (5, "room = \"hall\"\nroom_ = 1\n".to_owned(), "site.toml line 2"),
        (6, site("r5", "box-7", "a.example.org"), "`revision` in site.toml is not r6"),
        (7, site("r7", "box-9", "a.example.org"), "`device` in site.toml is box-9"),
        (4, site("r4", "box-7", "a.example.org"), "older (sequence 4)"),
    ] {
        work.hear(rig.sign(&rig.document(sequence, site))).await;
        let (standing, reason) = work.told();
        assert!(standing == Standing::Refused && reason.contains(why), "{reason:?} is not {why:?}");
        assert_eq!(work.record.highest, sequence.max(5).max(work.record.highest));
    }
    assert_eq!((rig.in_force(), rig.called()), before);
    assert_eq!(rig.start().await.record.highest, 7);
}
