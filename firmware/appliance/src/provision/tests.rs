//! Provisioning of a box in a folder.

mod disk;
mod plans;
mod pushed;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::{certificates::tests::made, outcome::Source, *};
use crate::network::guard::Situation;

const SITE: &str = "\
# The main hall\r\nroom = \"main_hall\"\r\n\r\n[encoder]\r\n\
url = \"https://enc.example.org\"  # ours\r\ntoken = \"correct-horse\"\r\n";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVpZ2h0LWJ5dGVzLWZvdXItdGltZXMtb3Zlci4uLi54 ada";

/// A box: its root, and CONFIG.
struct Bench {
    dir: tempfile::TempDir,
    paths: Paths,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("CONFIG")).unwrap();
        let paths = Paths::under(dir.path().join("root"));
        fs::create_dir_all(paths.data()).unwrap();
        Self { dir, paths }
    }

    fn with(files: &[(&str, &[u8])]) -> Self {
        let bench = Self::new();
        for (name, bytes) in files {
            bench.put(name, bytes);
        }
        bench
    }

    fn config(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("CONFIG").join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.config(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.config(name)).unwrap_or_default()
    }

    fn run(&self, path: &str) -> String {
        fs::read_to_string(self.paths.system(path)).unwrap_or_default()
    }

    /// One boot: `/run` is new, and CONFIG is there.
    fn boot(&self) -> Outcome {
        self.boot_with(Ok(Partition::folder(self.dir.path().join("CONFIG"))))
    }

    fn boot_with(&self, partition: Result<Partition, String>) -> Outcome {
        let _ = fs::remove_dir_all(self.paths.system("run"));
        provision(&self.paths, partition, &hooks()).unwrap()
    }

    /// When CONFIG was last written, with the names and sizes of what is on it.
    fn state(&self) -> Vec<(String, std::time::SystemTime, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.dir.path().join("CONFIG"))
            .unwrap()
            .flatten()
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (
                    name,
                    entry.metadata().unwrap().modified().unwrap(),
                    fs::read(entry.path()).unwrap_or_default(),
                )
            })
            .collect();
        files.sort();
        files
    }
}

fn hooks() -> Hooks {
    Hooks {
        noted_reset: |_| None,
        factory_reset: |paths| {
            fs::remove_dir_all(paths.kept()).map_err(|e| e.to_string())?;
            Ok("everything".to_owned())
        },
        diagnostics: |_, file| fs::write(file, "tar").map_err(|e| e.to_string()),
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_good_site_is_taken_and_its_secrets_are_wiped() {
    let (certificate, key) = made("box-7");
    let mqtt = "[mqtt]\r\nurl = \"mqtts://broker\"\r\ncertificate = \"mqtt/box.pem\"\r\n\
                key = \"mqtt/box.key\"\r\npassword = \"hush hush\"\r\nusername = \"u\"\r\n\
                [time]\r\nservers = [\"ntp.example.org\"]\r\n[log]\r\nupload = \"https://logs:1\"\r\n";
    let site = format!("\u{feff}{SITE}{mqtt}");
    let bench = Bench::with(&[
        ("site.toml", site.as_bytes()),
        ("authorized_keys", format!("# who\r\n{KEY}\r\n").as_bytes()),
        ("mqtt/box.pem", &certificate),
        ("mqtt/box.key", &key),
    ]);
    let outcome = bench.boot();
    assert_eq!((outcome.problems.as_slice(), outcome.source), (&[][..], Source::Config));
    assert_eq!(Outcome::read(&bench.paths), Some(outcome));
    let expected =
        site.replace("correct-horse", "kept-on-the-box").replace("hush hush", "kept-on-the-box");
    assert_eq!(bench.text("site.toml"), expected);
    assert!(!bench.config("mqtt/box.key").exists() && bench.config("mqtt/box.pem").exists());
    let run = protocol::config::site::read(&bench.paths.site()).unwrap();
    assert_eq!((run.room.as_str(), run.device.as_str()), ("main_hall", "main_hall"));
    let client = run.mqtt.unwrap().client.unwrap();
    assert_eq!(fs::read(&client.key).unwrap(), key);
    assert!(client.key.starts_with(bench.paths.run().join("certs")));
    assert_eq!((mode(&client.key), mode(&bench.paths.site())), (0o640, 0o640));
    assert_eq!(mode(&bench.paths.kept().join("site.toml")), 0o600);
    assert_eq!(bench.run("run/backrow/ssh/authorized_keys"), format!("{KEY}\n"));
    assert_eq!(bench.run("run/backrow/hostname"), "main-hall\n");
    assert_eq!(
        bench.run("run/systemd/timesyncd.conf.d/backrow.conf"),
        "[Time]\nNTP=ntp.example.org\n"
    );
    assert_eq!(
        bench.run("run/systemd/journal-upload.conf.d/backrow.conf"),
        "[Upload]\nURL=https://logs:1\nServerKeyFile=-\nServerCertificateFile=-\n\
         TrustedCertificateFile=/etc/ssl/certs/ca-certificates.crt\n"
    );
    assert!(bench.run("run/systemd/network/10-backrow-2-wired.network").contains("DHCP=yes"));
    let answer = bench.text("OK.txt");
    let token = bench.run("data/backrow/token");
    for line in [
        "Room:        main_hall\r\n",
        "http://main-hall.local\r\n",
        "mqtt/box.key\r\n",
        "SSH:         ada\r\n",
        "the encoder's token\r\n",
        token.trim(),
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    assert!(answer.replace("\r\n", "").chars().all(|c| !c.is_control()), "{answer:?}");
    assert!(!bench.config("ERROR.txt").exists());
    // The next boots find nothing to write, and the box has what it had.
    let state = bench.state();
    let first = bench.run("run/backrow/site.toml");
    assert!(bench.boot().ok);
    assert_eq!((bench.state(), bench.run("run/backrow/site.toml")), (state, first));
}

#[test]
fn an_edit_with_the_marker_left_means_the_kept_secret() {
    let bench = Bench::with(&[("site.toml", SITE.as_bytes())]);
    bench.boot();
    let edited = bench.text("site.toml").replace("main_hall", "attic");
    bench.put("site.toml", &edited);
    assert!(bench.boot().ok);
    assert!(bench.run("run/backrow/site.toml").contains("token = \"correct-horse\""));
    assert_eq!(bench.text("site.toml"), edited);
    bench.put("site.toml", edited.replace("kept-on-the-box", "battery-staple"));
    assert!(bench.boot().ok);
    assert!(bench.run("run/backrow/site.toml").contains("token = \"battery-staple\""));
    assert_eq!(bench.text("site.toml"), edited);
}

#[test]
fn a_bad_site_leaves_the_last_good_one() {
    let bench = Bench::with(&[("site.toml", SITE.as_bytes())]);
    bench.boot();
    let bad = format!("{}[vidio]\r\nwidth = 1\r\n", bench.text("site.toml").replace("room", "rom"));
    bench.put("site.toml", &bad);
    let outcome = bench.boot();
    assert_eq!((outcome.ok, outcome.source), (false, Source::Kept));
    assert!(bench.run("run/backrow/site.toml").contains("main_hall"));
    let answer = bench.text("ERROR.txt");
    for line in [
        "site.toml line 2: unknown key `rom`",
        "site.toml line 7: unknown table [vidio]",
        "goes on with the last settings",
        "Room:        main_hall",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    assert_eq!(bench.text("site.toml"), bad, "it is the person's to correct");
    assert!(!bench.config("OK.txt").exists());
    let state = bench.state();
    bench.boot();
    assert_eq!(bench.state(), state);
    // CONFIG damaged, or not there at all.
    let outcome = bench.boot_with(Err("CONFIG cannot be read".to_owned()));
    assert_eq!(
        (outcome.problems.as_slice(), outcome.source),
        (&["CONFIG cannot be read".to_owned()][..], Source::Kept)
    );
    assert!(bench.run("run/backrow/site.toml").contains("correct-horse"));
}

#[test]
fn a_bad_new_site_keeps_its_secrets_until_it_is_good() {
    let bench = Bench::with(&[("site.toml", SITE.replace("room", "rom").as_bytes())]);
    let outcome = bench.boot();
    assert_eq!(outcome.source, Source::None);
    assert!(bench.text("site.toml").contains("correct-horse"));
    assert!(!bench.paths.site().exists());
    assert!(bench.run("run/systemd/network/10-backrow-2-wired.network").contains("DHCP=yes"));
    assert!(bench.text("ERROR.txt").contains("streams nothing"));
}

#[test]
fn nothing_at_all_comes_up_with_dhcp_and_says_so() {
    let bench = Bench::with(&[("site.toml.txt", b"x")]);
    let outcome = bench.boot();
    assert_eq!((outcome.source, outcome.network.as_str()), (Source::None, "default"));
    assert!(outcome.problems[0].contains("there is site.toml.txt: rename it"));
    let answer = bench.text("ERROR.txt");
    assert!(answer.contains("The shortest site.toml that works:\r\n"), "{answer}");
    assert!(answer.contains("http://backrow.local"), "{answer}");
    let nowhere = Bench::new();
    fs::remove_dir_all(nowhere.paths.data()).unwrap();
    let outcome = nowhere.boot_with(Err("there is no CONFIG partition on this disk".to_owned()));
    assert_eq!(outcome.source, Source::None);
    assert!(nowhere.run("run/systemd/network/10-backrow-2-wired.network").contains("DHCP=yes"));
}

#[test]
fn without_data_secrets_stay_where_they_are() {
    let (_, key) = made("box");
    let bench = Bench::with(&[("site.toml", SITE.as_bytes()), ("box.key", &key)]);
    // Root writes through permissions; a file in the folder's place stops root, too.
    fs::remove_dir_all(bench.paths.data()).unwrap();
    fs::write(bench.paths.data(), "").unwrap();
    let outcome = bench.boot();
    assert_eq!((outcome.ok, outcome.source), (false, Source::Config));
    assert_eq!(bench.text("site.toml"), SITE);
    assert!(bench.run("run/backrow/site.toml").contains("correct-horse"), "and the box streams");
    assert!(bench.text("ERROR.txt").contains("secrets stay on CONFIG"));
    assert!(!bench.run("run/backrow/token").is_empty());
}

#[test]
fn requests_are_taken_once() {
    let bench = Bench::with(&[("site.toml", SITE.as_bytes())]);
    bench.boot();
    bench.put("site.toml", SITE.replace("main_hall", "attic"));
    bench.put("Factory-Reset.txt", "");
    bench.put("update.raucb", "bundle");
    bench.put("diagnostics", "");
    let outcome = bench.boot();
    assert_eq!((outcome.problems.as_slice(), outcome.source), (&[][..], Source::Config));
    assert!(bench.run("run/backrow/site.toml").contains("attic"));
    assert_eq!(fs::read(requests::update_file(&bench.paths)).unwrap(), b"bundle");
    assert_eq!(bench.text("diagnostics.tar.gz"), "tar");
    let answer = bench.text("OK.txt");
    for line in [
        "The box was reset as Factory-Reset.txt asked: everything",
        "update.raucb was taken.",
        "The diagnostics are in",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    for name in ["Factory-Reset.txt", "update.raucb", "diagnostics"] {
        assert!(!bench.config(name).exists(), "{name}");
    }
    bench.boot();
    assert!(!bench.text("OK.txt").contains("was reset"));
    // After a reset with markers only, the secrets are gone and must be written again.
    bench.put("factory-reset", "");
    let outcome = bench.boot();
    assert_eq!(outcome.source, Source::None);
    assert!(bench.text("ERROR.txt").contains("`token` says that it is kept-on-the-box, but"));
}

#[test]
fn an_update_that_stays_on_config_is_not_taken() {
    let bench = Bench::new();
    // It can be read, and not be removed.
    let mut stuck = Partition::folder("/proc/self");
    let request = requests::Request::Update;
    let taken = requests::take(request, "status", &mut stuck, &bench.paths, &hooks());
    assert!(taken.unwrap_err().starts_with("status on CONFIG cannot be taken"));
    assert!(!requests::update_file(&bench.paths).exists());
}

#[test]
fn a_power_cut_while_secrets_are_wiped_loses_nothing() {
    let bench = Bench::with(&[("site.toml", SITE.as_bytes())]);
    bench.boot();
    let marked = bench.text("site.toml");
    for (site, new) in [
        (Some(vec![0; 50]), &marked),
        (None, &marked),
        (Some(marked.clone().into_bytes()), &"half".to_owned()),
    ] {
        match site {
            Some(bytes) => bench.put("site.toml", bytes),
            None => fs::remove_file(bench.config("site.toml")).unwrap(),
        }
        bench.put("site.new", new);
        let outcome = bench.boot();
        assert!(outcome.ok, "{outcome:?}");
        assert_eq!(bench.text("site.toml"), marked);
        assert!(!bench.config("site.new").exists());
    }
}

#[test]
fn new_network_settings_are_on_trial_and_refused_ones_are_told() {
    let fixed = "[network]\r\nmode = \"static\"\r\naddress = \"192.0.2.10/24\"\r\ndns = []\r\n";
    let site = format!("{SITE}{fixed}");
    let bench = Bench::with(&[("site.toml", site.as_bytes())]);
    let outcome = bench.boot();
    assert_eq!((outcome.ok, outcome.network.as_str()), (true, "new"));
    let network = bench.paths.run().join("network.json");
    let situation: Situation = crate::kept::read_json(&network).unwrap();
    assert!(!situation.settled);
    assert!(bench.run("run/systemd/network/10-backrow-2-wired.network").contains("192.0.2.10/24"));
    assert!(bench.text("OK.txt").contains("Network:     192.0.2.10/24\r\n"));
    memory::refuse(&bench.paths, &situation.settings(situation.in_force)).unwrap();
    let outcome = bench.boot();
    assert_eq!((outcome.ok, outcome.network.as_str()), (false, "default"));
    assert!(bench.run("run/systemd/network/10-backrow-2-wired.network").contains("DHCP=yes"));
    assert!(bench.text("ERROR.txt").contains("so the box went back to DHCP; correct [network]"));
    memory::keep(&bench.paths, &situation.settings(situation.in_force)).unwrap();
    let outcome = bench.boot();
    assert_eq!((outcome.ok, outcome.network.as_str()), (true, "kept"));
}
