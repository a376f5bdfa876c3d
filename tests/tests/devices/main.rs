//! Devices, as udev shows them: a make-believe sysfs and udev (umockdev) around the real program.

mod bench;
mod cameras;

use std::time::Duration;

use backrow_tests::until;
use bench::Bench;
use serde_json::{Value, json};

/// The names of the devices in a listing, with why they are ignored.
fn listed(listing: &Value) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let devices = listing["devices"].as_array().expect("a list");
    devices
        .iter()
        .map(|device| (text(&device["name"]).expect("a name"), text(&device["ignored"])))
        .collect()
}

#[tokio::test]
async fn nothing_is_plugged_in() {
    let bench = Bench::start();
    let listing = bench.listing();
    assert_eq!(listing["devices"], json!([]));
    assert_eq!(listing["choice"]["source"], Value::Null);
    assert_eq!(listing["choice"]["why"], "no capture device is plugged in");
}

#[tokio::test]
async fn a_grabber_is_chosen_by_its_stable_path_without_its_metadata_node() {
    let mut bench = Bench::start();
    let usb = bench.usb("1-2", "534d", "2109");
    bench.video(&usb, 0, "USB Video", ":capture:", 0);
    bench.video(&usb, 1, "USB Video", ":", 1);
    let listing = bench.listing();
    assert_eq!(
        listed(&listing),
        [
            ("USB Video".into(), None),
            ("USB Video".into(), Some("it gives no picture (metadata, or a codec)".into())),
        ]
    );
    let choice = &listing["choice"];
    assert_eq!(choice["source"], "v4l2:/dev/v4l/by-path/pci-1-2-video-index0");
    assert_eq!(choice["audio"], "none");
    assert_eq!(
        choice["why"],
        "USB Video: a grabber, and it is the first; it has no sound card, silence is sent"
    );
}

#[tokio::test]
async fn a_grabber_brings_its_own_sound_and_a_webcam_waits() {
    let mut bench = Bench::start();
    let webcam = bench.usb("1-1", "046d", "082d");
    bench.video(&webcam, 0, "HD Pro Webcam C920", ":capture:", 0);
    bench.sound(&webcam, 0, "C920");
    let grabber = bench.usb("1-2", "534d", "2109");
    bench.video(&grabber, 2, "USB Video", ":capture:", 0);
    bench.sound(&grabber, 1, "MS2109");
    let choice = bench.listing()["choice"].take();
    assert_eq!(choice["source"], "v4l2:/dev/v4l/by-path/pci-1-2-video-index0");
    assert_eq!(choice["audio"], "hw:CARD=MS2109");
    assert_eq!(
        choice["rejected"][0],
        json!({
            "device": "HD Pro Webcam C920 (/dev/v4l/by-path/pci-1-1-video-index0)",
            "why": "USB Video is a grabber and goes before it"
        })
    );
}

#[tokio::test]
async fn a_board_s_codec_is_no_source() {
    let mut bench = Bench::start();
    let board = bench.platform("bcm2835-codec");
    bench.video(&board, 10, "bcm2835-codec-decode", ":", 0);
    bench.video(&board, 11, "some-codec", ":capture:video_output:", 0);
    let listing = bench.listing();
    assert!(listed(&listing).iter().all(|(_, ignored)| ignored.is_some()), "{listing}");
    assert_eq!(listing["choice"]["source"], Value::Null);
}

#[tokio::test]
async fn a_twinpact_is_chosen_by_its_guid() {
    let mut bench = Bench::start();
    let usb = bench.usb("1-2", "534d", "2109");
    bench.video(&usb, 0, "USB Video", ":capture:", 0);
    bench.firewire("fw0", "0x0011223344556677", "0x00609e:0x010483", "A computer");
    bench.firewire("fw1", "0x000a9d00001234ab", "0x00a02d:0x010001", "TwinPact100");
    let listing = bench.listing();
    let choice = &listing["choice"];
    assert_eq!(choice["source"], "dv:0x000a9d00001234ab");
    assert_eq!(
        choice["why"],
        "Canopus TwinPact100: a FireWire DV device, and it is the first; its sound is in the same \
         stream"
    );
    let why: Vec<_> = choice["rejected"].as_array().unwrap().iter().map(|r| &r["why"]).collect();
    assert_eq!(
        why,
        [
            "it has no video unit (a computer or a disk)",
            "Canopus TwinPact100 is a FireWire DV device and goes before it"
        ]
    );
}

#[tokio::test]
async fn the_text_for_people_says_the_same() {
    let mut bench = Bench::start();
    let usb = bench.usb("1-2", "534d", "2109");
    bench.video(&usb, 0, "USB Video", ":capture:", 0);
    let text = bench.devices(&[]);
    assert_eq!(
        text,
        "video     USB Video (/dev/v4l/by-path/pci-1-2-video-index0)\n\n\
         Chosen: v4l2:/dev/v4l/by-path/pci-1-2-video-index0, sound none\n  \
         because USB Video: a grabber, and it is the first; it has no sound card, silence is sent\n"
    );
}

#[tokio::test]
async fn a_configured_device_that_is_away_is_named() {
    let mut bench = Bench::start();
    let usb = bench.usb("1-2", "534d", "2109");
    bench.video(&usb, 0, "USB Video", ":capture:", 0);
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("site.toml");
    for (device, why) in [
        ("/dev/v4l/by-path/pci-9-9-video-index0", "is not plugged in"),
        ("/dev/video0", "is not a stable name: use the path under /dev/v4l/by-path/ that"),
    ] {
        let text = format!(
            "room = \"demo\"\n[encoder]\nurl = \"http://127.0.0.1:1\"\ntoken = \"a-long-enough-token\"\n\
             [source]\nkind = \"v4l2\"\ndevice = \"{device}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let listing = bench.devices(&["--json", "--config", config.to_str().unwrap()]);
        let choice = serde_json::from_str::<Value>(&listing).unwrap()["choice"].take();
        assert_eq!(choice["source"], Value::Null);
        let said = choice["why"].as_str().unwrap();
        assert!(said.starts_with(&format!("{device} {why}")), "{said}");
    }
}

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn plug_unplug_and_replug_are_seen() {
    let mut bench = Bench::start();
    let usb = bench.usb("1-2", "534d", "2109");
    let video = bench.video(&usb, 0, "USB Video", ":capture:", 0);
    let watch = bench.watch();
    let next = async || {
        let line = until(SOON, "a change", async || watch.try_line()).await;
        let line: Value = serde_json::from_str(&line).unwrap();
        (line["change"].as_str().unwrap().to_owned(), line["device"]["name"].clone(), line)
    };
    let (change, _, line) = next().await;
    assert_eq!((change.as_str(), line["devices"].as_array().unwrap().len()), ("watching", 1));

    bench.remove(&video);
    let (change, name, _) = next().await;
    assert_eq!((change.as_str(), name), ("remove", json!("USB Video")));

    let again = bench.video(&usb, 1, "USB Video", ":capture:", 0);
    let (change, _, line) = next().await;
    assert_eq!(change, "add");
    // Another number, the same stable path.
    assert_eq!(line["device"]["path"], "/dev/v4l/by-path/pci-1-2-video-index0");

    bench.firewire("fw1", "0x000a9d00001234ab", "0x00a02d:0x010001", "TwinPact100");
    let (change, name, line) = next().await;
    assert_eq!((change.as_str(), name), ("add", json!("Canopus TwinPact100")));

    // A wiggled FireWire cable gives no more than this.
    bench.change(line["device"]["syspath"].as_str().unwrap());
    let (change, name, _) = next().await;
    assert_eq!((change.as_str(), name), ("change", json!("Canopus TwinPact100")));

    bench.remove(&again);
    let (change, _, _) = next().await;
    assert_eq!(change, "remove");
}
