//! `backrow push` to real machines: sshd, a broker that is itself pushed, and the daemons.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use backrow_tests::host::Hosts;
use backrow_tests::process::binary;
use backrow_tests::until;
use backrow_tests::venue::Venue;
use backrow_tests::web_client::WebClient;
use tempfile::TempDir;

/// Machines that only have to run and be well: encoders without a room's stream cost nothing.
const ENCODERS: [&str; 7] = ["e1", "e2", "e3", "e4", "e5", "e6", "e7"];
const OPERATORS: &str = "may touch, too";
const SMALL: &str = "192k";
const SOON: Duration = Duration::from_secs(60);

/// An event in a folder, and what of it changes during a test.
struct Conference {
    directory: TempDir,
    venue: Arc<Venue>,
    /// The password of the dashboard.
    password: &'static str,
    /// Settings of one machine, by machine.
    more: BTreeMap<&'static str, String>,
    /// Everybody's `[hls] window`: another one is another revision.
    window: u32,
}

impl Conference {
    async fn new(venue: Arc<Venue>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (password, more) = ("look, do not touch", BTreeMap::new());
        let conference = Self { directory, venue, password, more, window: 8 };
        std::fs::create_dir(conference.dir()).unwrap();
        conference.write();
        conference.backrow(&["certificates"]).await;
        conference
    }

    /// The first machine.
    fn hub() -> Ipv4Addr {
        Venue::address(0)
    }

    fn dir(&self) -> PathBuf {
        self.directory.path().join("event")
    }

    fn write(&self) {
        let mut text = format!(
            "[event]\nname = \"test\"\nbroker = \"mqtts://{hub}:8883\"\n\
             browsers = \"wss://{hub}:8084\"\n\
             [defaults]\nladder = []\n\
             [defaults.encoder]\nurl = \"http://{hub}:8080\"\n\
             [defaults.hls]\nwindow = {}\n\
             [defaults.webm]\nhigh = \"off\"\nlow = \"off\"\n\
             [defaults.archive]\nmin_free = \"1MiB\"\n\
             [defaults.listen]\nhttp = \"127.0.0.1:0\"\n\
             [defaults.source]\nkind = \"test\"\n\
             [defaults.uplink]\nmemory = \"{}MiB\"\n\
             [defaults.video]\nwidth = 64\nheight = 64\nframerate = 5\nbitrate = \"50k\"\n\
             [rooms.main]\n[rooms.side]\n",
            self.window,
            self.window + 8,
            hub = Self::hub(),
        );
        let mut machine = |name: &str, rest: &str| {
            let _ = writeln!(text, "[machines.{name}]\nhost = \"{name}\"\n{rest}");
            text.push_str(self.more.get(name).map_or("", String::as_str));
        };
        machine(
            "hub",
            "kind = \"encoder\"\nrooms = \"all\"\nbroker = true\nlisten.http = \"0.0.0.0:8080\"",
        );
        machine("c1", "kind = \"collector\"\nroom = \"main\"");
        machine("c2", "kind = \"collector\"\nroom = \"side\"");
        for name in ENCODERS {
            machine(name, "kind = \"encoder\"\nrooms = [\"main\"]");
        }
        std::fs::write(self.dir().join("event.toml"), text).unwrap();
        let secret = format!(
            "[rooms.main]\ntoken = \"token-of-main\"\n[rooms.side]\ntoken = \"token-of-side\"\n\
             [browsers.dashboard]\npassword = \"{}\"\n\
             [browsers.operator]\npassword = \"{OPERATORS}\"\n",
            self.password
        );
        std::fs::write(self.dir().join("event.secret.toml"), secret).unwrap();
    }

    /// How far a browser comes at the pushed broker; it is to hear that the hub is there.
    async fn visit(&self, user: &str, password: &str) -> String {
        let hear = Some("backrow/hub/birth".to_owned());
        let by = Some(self.venue.as_operator("node"));
        let client = WebClient { hear, by, ..WebClient::with(user, password) };
        let url = format!("wss://{}:8084", Self::hub());
        client.visits(&url, &self.dir().join("certificates/authority.pem")).await
    }

    /// Runs `backrow COMMAND DIR REST`.
    async fn backrow(&self, args: &[&str]) -> Output {
        let dir = self.dir().display().to_string();
        let (command, rest) = args.split_first().unwrap();
        let all: Vec<&str> = [*command, &dir].into_iter().chain(rest.iter().copied()).collect();
        self.venue.operate(binary("backrow").to_str().unwrap(), &all).await
    }

    async fn push(&self, config: &str, more: &[&str]) -> Pushed {
        let mut args = vec!["push", "-F", config, "--settle", "2"];
        args.extend(more);
        Pushed::of_output(&self.backrow(&args).await)
    }

    /// What the machines are to have in their configuration's files now.
    async fn wanted(&self, machines: &[&'static str]) -> BTreeMap<&'static str, String> {
        let out = self.directory.path().join("rendered");
        let dir = self.dir().display().to_string();
        let args = ["render", &out.display().to_string(), &dir];
        let rendered = self.venue.operate(binary("backrow").to_str().unwrap(), &args).await;
        assert!(rendered.status.success(), "{rendered:?}");
        let read = |machine: &'static str| {
            let path = out.join(machine).join(file(machine).trim_start_matches('/'));
            (machine, std::fs::read_to_string(path).unwrap())
        };
        machines.iter().map(|machine| read(machine)).collect()
    }
}

/// A machine's configuration.
fn file(machine: &str) -> &'static str {
    if machine.starts_with('c') { "/etc/backrow/site.toml" } else { "/etc/backrow/encoder.toml" }
}

/// A machine's daemon.
fn unit(machine: &str) -> &'static str {
    if machine.starts_with('c') { "backrow-collector.service" } else { "backrow-encoder.service" }
}

/// What came of a push.
#[derive(Debug)]
struct Pushed {
    status: i32,
    shown: String,
    progress: String,
}

impl Pushed {
    fn of_output(output: &Output) -> Self {
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let progress = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status.code().unwrap(), shown, progress }
    }

    /// A machine's words at the end of its line in the table.
    fn of(&self, machine: &str) -> String {
        let table = self.shown.rsplit("machine  ").next().unwrap_or_default();
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(machine));
        let words = line.map(|line| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" "));
        words.unwrap_or_else(|| panic!("{machine} is not in the table:\n{self}"))
    }

    fn expect(&self, machine: &str, words: &str) {
        let said = self.of(machine);
        assert!(said.starts_with(words), "{machine}: {said:?} is not {words:?}\n{self}");
    }
}

impl std::fmt::Display for Pushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}\n{}\n{}", self.status, self.progress, self.shown)
    }
}

/// No file of any machine is half-written: each is as it was or as it is to be.
async fn whole(hosts: &mut Hosts, machine: &str, allowed: &[&str]) {
    let host = hosts.host(machine);
    let text = host.text(file(machine)).await.unwrap();
    assert!(
        allowed.contains(&text.as_str()),
        "{machine} has\n{text}\nand not one of\n{allowed:#?}"
    );
    for folder in ["/etc/backrow", "/etc/mosquitto/backrow", "/etc/mosquitto/conf.d"] {
        let names = host.names(folder).await;
        let left = names.iter().any(|name| name.ends_with(".backrow-new"));
        assert!(!left, "{machine}: {folder} has {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_machines_of_which_five_have_their_troubles() {
    let names: Vec<&'static str> = ["hub", "c1", "c2"].into_iter().chain(ENCODERS).collect();
    let small = |name: &&'static str| (*name, (*name == "e2").then_some(SMALL));
    let mut hosts = Hosts::start(&names.iter().map(small).collect::<Vec<_>>()).await;
    let config = hosts.ssh_config().display().to_string();
    let mut conference = Conference::new(hosts.venue()).await;

    // From nothing: the broker comes with the same push that asks it how the machines do, and so it
    // comes before the canary.
    let first =
        conference.push(&config, &["--patience", "120", "--canary", "1", "--jobs", "5"]).await;
    assert_eq!(first.status, 0, "{first}");
    for name in &names {
        first.expect(name, "pushed");
    }
    // Browsers come by the passwords that went along, and by no others.
    assert!(!first.shown.contains(":$7$"), "{first}");
    assert_eq!(conference.visit("dashboard", conference.password).await, "no orders 135");
    assert_eq!(conference.visit("operator", OPERATORS).await, "orders");
    assert_eq!(conference.visit("operator", conference.password).await, "refused 135");
    assert_eq!(conference.visit("hub", OPERATORS).await, "refused 135");
    let before = conference.wanted(&names).await;
    for name in &names {
        whole(&mut hosts, name, &[&before[name]]).await;
    }

    // Troubles.
    conference.window = 9;
    conference.more.insert("c2", "encoder.url = \"http://127.0.0.1:1\"\n".to_owned());
    // sshd's port: the configuration is right, and the daemon cannot live.
    conference.more.insert("e5", format!("listen.http = \"{}:22\"\n", hosts.of("e5").address()));
    conference.write();
    hosts.host("e1").power_off().await;
    hosts.host("e2").shell("dd if=/dev/zero of=/small/filler bs=4k; true").await;
    // The agent moves six things before the list of what is there now: four of them the files.
    hosts.host("e3").shell("echo 7 >/etc/power-fails").await;
    hosts.host("e6").shell("echo 5 >/etc/power-fails").await;
    let by_hand = format!("{}# a volunteer was here\n", before["e4"]);
    hosts.host("e4").shell("echo '# a volunteer was here' >>/etc/backrow/encoder.toml").await;

    // Looking changes nothing.
    let dry = conference.push(&config, &["--dry-run", "--only", "c1,e7"]).await;
    assert_eq!(dry.status, 3, "{dry}");
    dry.expect("e7", "would change: 1 file");
    assert!(dry.shown.contains("-window = 8\n+window = 9\n"), "{dry}");
    assert!(!dry.shown.contains("token-of-main"), "{dry}");
    whole(&mut hosts, "e7", &[&before["e7"]]).await;

    let pushing = conference.push(&config, &["--patience", "40"]);
    let failing = async {
        // The power goes in the middle of the work, once with the new file in its place and once
        // without.
        for name in ["e3", "e6"] {
            let still = hosts.host(name).path("/var/stands-still");
            until(SOON, "a machine to be half-way", async || still.exists().then_some(())).await;
            hosts.host(name).power_off().await;
        }
    };
    let (second, ()) = tokio::join!(pushing, failing);
    assert_eq!(second.status, 6, "{second}");
    for name in ["hub", "c1", "e7"] {
        second.expect(name, "pushed");
    }
    second.expect("e1", "unreachable: ");
    second.expect("e2", "refused: ");
    assert!(second.of("e2").contains("No space left on device"), "{second}");
    second.expect("e3", "cut off: ");
    second.expect("e6", "cut off: ");
    second.expect("e4", "changed by hand: /etc/backrow/encoder.toml");
    assert!(second.shown.contains("-# a volunteer was here\n"), "{second}");
    second.expect("e5", "went back: ");
    second.expect("c2", "went back: uplink: ");
    let after = conference.wanted(&names).await;
    for name in ["hub", "c1", "e7"] {
        whole(&mut hosts, name, &[&after[name]]).await;
    }
    for name in ["e2", "e5", "c2"] {
        whole(&mut hosts, name, &[&before[name]]).await;
    }
    whole(&mut hosts, "e4", &[&by_hand]).await;
    for name in ["e1", "e3", "e6"] {
        hosts.host(name).forget("/etc/power-fails");
        hosts.host(name).power_on();
        hosts.host(name).up().await;
    }
    assert_eq!(hosts.host("e3").text(file("e3")).await, Some(after["e3"].clone()));
    assert_eq!(hosts.host("e6").text(file("e6")).await.as_ref(), Some(&before["e6"]));

    // What was wrong is put right, and a second run brings everybody where they should be.
    conference.more.clear();
    let old = std::mem::replace(&mut conference.password, "only look");
    conference.write();
    hosts.host("e2").shell("rm /small/filler").await;
    let third = conference.push(&config, &["--patience", "120", "--overwrite"]).await;
    assert_eq!(third.status, 0, "{third}");
    for name in ["c1", "e7"] {
        third.expect(name, "up to date");
    }
    third.expect("hub", "pushed");
    assert_eq!(conference.visit("dashboard", conference.password).await, "no orders 135");
    assert_eq!(conference.visit("dashboard", old).await, "refused 135");
    let after = conference.wanted(&names).await;
    let mut running = BTreeMap::new();
    for name in &names {
        whole(&mut hosts, name, &[&after[name]]).await;
        running.insert(*name, hosts.host(name).process_of(unit(name)).unwrap());
    }

    // And a third finds nothing to do: no daemon is started anew.
    let fourth = conference.push(&config, &["--patience", "120"]).await;
    assert_eq!(fourth.status, 0, "{fourth}");
    for name in &names {
        fourth.expect(name, "up to date");
        assert_eq!(
            hosts.host(name).process_of(unit(name)).as_ref(),
            Some(&running[name]),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_a_canary_that_dies_holds_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut hosts = Hosts::start(&[("a", None), ("b", None)]).await;
    let config = hosts.ssh_config().display().to_string();
    let venue = hosts.venue();
    let write = |http: &str| {
        let text = format!(
            "[event]\nname = \"test\"\n[rooms.main]\n\
             [machines.a]\nkind = \"encoder\"\nhost = \"a\"\nrooms = \"all\"\n\
             listen.http = \"{http}\"\narchive.min_free = \"1MiB\"\n\
             [machines.b]\nkind = \"encoder\"\nhost = \"b\"\nrooms = \"all\"\n\
             listen.http = \"127.0.0.1:0\"\narchive.min_free = \"1MiB\"\n"
        );
        std::fs::write(directory.path().join("event.toml"), text).unwrap();
        let secret = "[rooms.main]\ntoken = \"token-of-main\"\n";
        std::fs::write(directory.path().join("event.secret.toml"), secret).unwrap();
    };
    let push = async || {
        let dir = directory.path().display().to_string();
        let args =
            ["push", &dir, "-F", &config, "--settle", "3", "--canary", "1", "--patience", "12"];
        Pushed::of_output(&venue.operate(binary("backrow").to_str().unwrap(), &args).await)
    };
    // sshd's port: the configuration is right, and the daemon cannot live.
    write(&format!("{}:22", hosts.of("a").address()));
    let pushed = push().await;
    assert_eq!(pushed.status, 5, "{pushed}");
    pushed.expect("a", "went back: backrow-encoder.service is activating");
    pushed.expect("b", "held");
    assert_eq!(hosts.host("a").text("/etc/backrow/encoder.toml").await, None);
    assert_eq!(hosts.host("b").text("/etc/backrow/encoder.toml").await, None);

    write("127.0.0.1:0");
    let pushed = push().await;
    assert_eq!(pushed.status, 0, "{pushed}");
    pushed.expect("a", "pushed");
    pushed.expect("b", "pushed");
}
