//! A wireless network that the box joins: two radios of the kernel's own (mac80211_hwsim), and a real
//! access point in the same machine.
//!
//! ```text
//! box: wlan1 ~~~ air ~~~ wlan0 ── bridge ── second card ─┐
//!   └─ first card ──────────────────────────────────────┴─ QEMU's network: DHCP, encoder, broker
//! ```
//! All from wlan0 to the second card is in a network namespace, where the box does not see it. The
//! access point's programs are the host's, with their libraries, as no image has them.

use backrow_tests::machine::{Machine, Setup, Stage, Stopwatch, UPLINK, patience};
use backrow_tests::{tool, until};
use serde_json::Value;
use tempfile::TempDir;

/// As people name their networks; 25 bytes of UTF-8.
const SSID: &str = "Hörsaal \"Ø\" #1 \\ mit Ton";
/// Everything that a configuration file could take for something else.
const PASSWORD: &str = "say \"friend\" # and \\n 'enter'";
/// Where the programs are in the machine.
const PROGRAMS: &str = "/run/venue";
/// How QEMU's DHCP numbers its second client; the first is the box's cable.
const BY_WIFI: &str = "10.0.2.16";

/// What the access point asks of who joins.
const WPA2: &str = "wpa_key_mgmt=WPA-PSK\n";
const WPA3: &str = "wpa_key_mgmt=SAE\nieee80211w=2\nsae_require_mfp=1\n";
/// The newer way to begin with WPA3 (hash to element), as access points of 6 GHz ask for it.
const H2E: &str = "sae_pwe=1\n";

/// A program of the host's as the machine runs it, by the loader and the libraries it was built for.
fn program(name: &str) -> String {
    format!("{PROGRAMS}/loader --library-path {PROGRAMS} {PROGRAMS}/{name}")
}

/// Copies programs and libraries into the machine.
async fn bring_programs(machine: &Machine) {
    let directory = tempfile::tempdir().unwrap();
    let take = |from: &str, name: &str| {
        std::fs::copy(from, directory.path().join(name)).unwrap_or_else(|e| panic!("{from}: {e}"));
    };
    for name in ["hostapd", "iw"] {
        let path = format!("/usr/sbin/{name}");
        take(&path, name);
        let needs = tool::run("ldd", &[&path]).await;
        for library in String::from_utf8(needs).unwrap().split_whitespace() {
            let Some((_, file)) = library.rsplit_once('/').filter(|_| library.starts_with('/'))
            else {
                continue;
            };
            take(library, if file.starts_with("ld-linux") { "loader" } else { file });
        }
    }
    let archive = machine.directory().join("venue.tar");
    let (from, to) = (directory.path().display().to_string(), archive.display().to_string());
    tool::run("tar", &["-C", &from, "-cf", &to, "."]).await;
    machine.ssh(&format!("mkdir -p {PROGRAMS}")).await;
    machine.copy(&archive, "/run/venue.tar").await;
    machine.ssh(&format!("tar -C {PROGRAMS} -xf /run/venue.tar && rm /run/venue.tar")).await;
}

/// The access point, behind the air.
#[derive(Debug)]
struct AccessPoint {
    /// The box's own radio.
    radio: String,
    config: TempDir,
}

impl AccessPoint {
    /// Installs one that is switched off yet.
    async fn install(machine: &mut Machine) -> Self {
        bring_programs(machine).await;
        let script = format!(
            "set -e
             modprobe bridge
             modprobe mac80211_hwsim radios=2
             ip netns add venue
             for phy in /sys/class/ieee80211/*; do break; done
             {iw} phy $(basename $phy) set netns name venue
             card=$(grep -l {UPLINK} /sys/class/net/*/address | cut -d/ -f5)
             ip link set $card netns venue
             ip -n venue link add bridge type bridge
             ip -n venue link set $card up master bridge
             ip -n venue link set bridge up
             for net in /sys/class/net/*; do [ ! -e $net/phy80211 ] || basename $net; done",
            iw = program("iw"),
        );
        let radio = machine.ssh(&script).await.trim().to_owned();
        machine.plug_uplink().await;
        Self { radio, config: tempfile::tempdir().unwrap() }
    }

    /// Switches it on.
    async fn on(&self, machine: &Machine, security: &str) {
        let ssid: String = SSID.bytes().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "interface=wlan0\nbridge=bridge\ndriver=nl80211\nlogger_stdout=-1\nssid2={ssid}\n\
             hw_mode=g\nchannel=1\nieee80211n=1\nwmm_enabled=1\nwpa=2\nrsn_pairwise=CCMP\nwpa_passphrase={PASSWORD}\n{security}"
        );
        let config = self.config.path().join("hostapd.conf");
        std::fs::write(&config, text).unwrap();
        machine.copy(&config, &format!("{PROGRAMS}/hostapd.conf")).await;
        let hostapd = program("hostapd");
        let run = format!(
            "systemd-run --quiet --collect --unit=access-point \
             ip netns exec venue {hostapd} {PROGRAMS}/hostapd.conf"
        );
        machine.ssh(&run).await;
        let up =
            "journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID access-point) |
            grep AP-ENABLED && systemctl is-active access-point";
        machine.ssh_until(60, "the access point to be on the air", up).await;
    }

    /// Cuts its power: nobody is told.
    async fn off(&self, machine: &Machine) {
        machine
            .ssh("systemctl kill --signal=KILL access-point; ip -n venue link set wlan0 down")
            .await;
        machine.ssh_until(30, "it to be off", "! systemctl is-active access-point").await;
        let gone = format!("[ \"$(cat /sys/class/net/{}/operstate)\" != up ]", self.radio);
        machine.ssh_until(60, "the box to notice that the network has gone", &gone).await;
    }

    /// Waits until the box has joined, and has an address.
    async fn is_joined(&self, machine: &Machine) {
        let radio = &self.radio;
        let command = format!(
            "[ $(cat /sys/class/net/{radio}/operstate) = up ] && \
             ip -4 -o addr show dev {radio} scope global | grep {BY_WIFI}/24"
        );
        machine.ssh_until(120, "an address by Wi-Fi", &command).await;
    }
}

/// The line about the network, and its light, as the page at this port has it.
async fn network_line(port: &str) -> Option<(String, String)> {
    let url = format!("{port}/api/v1/status");
    let answer = backrow_tests::encoder::client().get(url).send().await.ok()?;
    let status: Value = answer.json().await.ok()?;
    let row = status["rows"].as_array()?.iter().find(|row| row["id"] == "network")?;
    Some((row["light"].as_str()?.to_owned(), row["says"].as_str()?.to_owned()))
}

async fn page_says(port: &str, words: &str) {
    until(patience(60), &format!("`{words}` on the page"), async || {
        let (light, says) = network_line(port).await?;
        (light == "green" && says == words).then_some(())
    })
    .await;
}

/// How often the box has told the broker how it is.
fn healths(stage: &Stage) -> usize {
    stage.told.messages().iter().filter(|it| it.topic == "backrow/box/health").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wireless_network_is_joined_by_itself_and_carries_the_stream_when_the_cable_is_pulled() {
    let wifi =
        format!("[network.wifi]\nssid = {SSID:?}\npassword = {PASSWORD:?}\ncountry = \"DE\"");
    let setup = Setup::new().with_uplink();
    let mut stage = Stage::set(setup, |site| site.more(&wifi)).await;
    let watch = Stopwatch::start();
    let session = stage.up().await;
    let works = |it: &Value| it["mood"] == "happy";
    stage.component(120, "box.network", works).await;
    watch.lap("it streams by cable, without a radio");

    let air = AccessPoint::install(&mut stage.machine).await;
    air.on(&stage.machine, WPA2).await;
    watch.lap("the access point is on");
    air.is_joined(&stage.machine).await;
    watch.lap("joined by WPA2");
    page_says(&stage.machine.http(), "Connected by cable, address 10.0.2.15.").await;
    stage.goes_on(&session).await;

    air.off(&stage.machine).await;
    air.on(&stage.machine, WPA2).await;
    air.is_joined(&stage.machine).await;
    watch.lap("joined again, after the access point was off");

    air.off(&stage.machine).await;
    air.on(&stage.machine, WPA3).await;
    air.is_joined(&stage.machine).await;
    watch.lap("joined by WPA3");

    air.off(&stage.machine).await;
    air.on(&stage.machine, &format!("{WPA3}{H2E}")).await;
    air.is_joined(&stage.machine).await;
    watch.lap("joined by WPA3, the newer way");
    stage.component(10, "box.network", works).await;

    // By Wi-Fi alone: the page, the stream, the broker.
    stage.machine.cable(false).await;
    let forward = stage.machine.forward_to(BY_WIFI, Some(80)).await;
    page_says(&format!("http://127.0.0.1:{forward}"), "Connected by Wi-Fi, address 10.0.2.16.")
        .await;
    stage.goes_on(&session).await;
    let before = healths(&stage);
    until(patience(60), "the broker to be told by Wi-Fi", async || {
        (healths(&stage) > before).then_some(())
    })
    .await;
    stage.component(10, "box.network", works).await;
    watch.lap("it streams by Wi-Fi alone");
    stage.machine.cable(true).await;
    page_says(&stage.machine.http(), "Connected by cable, address 10.0.2.15.").await;
    stage.goes_on(&session).await;
    assert_eq!(stage.sessions().await.len(), 1);
    watch.lap("and by cable again");
}
