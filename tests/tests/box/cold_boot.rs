//! From switching on to frames that an encoder has confirmed, and the system around it.

use backrow_tests::journal::JournalServer;
use backrow_tests::machine::{HOST, Machine, Setup, Stage, Stopwatch, patience};
use backrow_tests::until;

/// What must hold of a running box: a command, and its output.
const SYSTEM: &[(&str, &str)] = &[
    // No unit has failed, and systemd had to break no ordering cycle.
    ("systemctl list-units --failed --plain --no-legend", ""),
    ("journalctl -b -o cat | grep -ci 'ordering cycle' || true", "0"),
    // Fonts have a cache.
    ("journalctl -b -o cat | grep -c 'Fontconfig error' || true", "0"),
    // The root is a read-only squashfs.
    ("grep ' / ' /proc/mounts | grep -c 'squashfs ro'", "1"),
    ("touch /usr/x /x 2>/dev/null && echo written || echo refused", "refused"),
    // Neither died (bit 7) nor locked up (14) nor met a bad page (5).
    ("echo $(( $(cat /proc/sys/kernel/tainted) & (1 << 7 | 1 << 14 | 1 << 5) ))", "0"),
    // Nobody but the collector runs the collector, and it needs nothing more.
    ("ls -ld /proc/$(pidof -s collector) | tr -s ' ' | cut -d' ' -f3", "collector"),
    ("grep -c '^NoNewPrivs:.*1' /proc/$(pidof -s collector)/status", "1"),
    // FAT is not left mounted: it would be written to.
    ("grep -c ' /run/backrow/config ' /proc/mounts || true", "0"),
    ("grep ' /data ' /proc/mounts | grep -c ext4", "1"),
    // No password opens anything.
    ("cut -d: -f2 /etc/shadow | grep -vc '^[*!]' || true", "0"),
    // The links to partitions exist, all of them, on the disk that / is on.
    ("ls /dev/backrow | tr '\\n' ' ' | xargs", "config data esp rootfs-a rootfs-b"),
];

async fn looks_well(machine: &Machine) {
    let mut script = String::new();
    for (command, _) in SYSTEM {
        script.push_str(&format!("echo \"$({command})\"; echo ----; "));
    }
    let out = machine.ssh(&script).await;
    let answers: Vec<_> = out.split("----\n").map(str::trim).collect();
    for ((command, wanted), found) in SYSTEM.iter().zip(answers) {
        assert_eq!(found, *wanted, "`{command}` on the box");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_boot_ends_in_confirmed_segments_and_a_sound_system() {
    let journals = JournalServer::start().await;
    let upload = format!("[log]\nupload = \"http://{HOST}:{}\"", journals.port());
    let mut stage = Stage::set(Setup::new(), |site| site.more(&upload)).await;
    let watch = Stopwatch::start();
    stage.machine.start().await;
    let session = stage.confirmed().await;
    watch.lap("from switching on to the first confirmed segment");
    stage.state(240, "ready").await;
    watch.lap("ready, says the broker");
    stage.machine.up().await;
    stage.component(120, "capture", |it| it["mood"] == "happy").await;
    stage.component(120, "uplink", |it| it["mood"] == "happy").await;

    // Boot is over only when systemd has nothing more to start.
    let machine = &stage.machine;
    let started = "systemctl is-system-running | grep -v starting";
    machine.ssh_until(180, "systemd to be done with the boot", started).await;
    looks_well(machine).await;
    watch.lap("the system is sound");
    let times = "systemctl show -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic";
    eprintln!("{}", machine.ssh(times).await);

    // The data partition has been grown to the end of the disk.
    let size: u64 = machine
        .ssh("df -k /data | tail -1 | tr -s ' ' | cut -d' ' -f2")
        .await
        .trim()
        .parse()
        .unwrap();
    assert!(size > 700 * 1024, "/data has {size} KiB");

    // Its screen names the room, and says that it streams.
    let screen = "grep -aq 'Backrow: room demo' /dev/vcs1 && grep -aq ' OK  Sending' /dev/vcs1";
    stage.machine.ssh_until(120, "the screen to say so", screen).await;
    // A picture of it is kept where `SCREENSHOTS` says, to be looked at.
    if let Some(folder) = std::env::var_os("SCREENSHOTS") {
        stage.machine.photograph(&std::path::Path::new(&folder).join("box-screen.png")).await;
    }

    // The box's own page can be looked at without a password.
    let page = until(patience(60), "the box's page", async || stage.machine.page("/").await).await;
    assert!(page.contains("<html") && page.contains("Backrow"), "{page}");
    let jpeg = format!("{}/preview.jpg", stage.machine.http());
    until(patience(60), "the live preview", async || {
        let answer = backrow_tests::encoder::client().get(&jpeg).send().await.ok()?;
        answer.bytes().await.ok()?.starts_with(&[0xff, 0xd8]).then_some(())
    })
    .await;
    stage.goes_on(&session).await;
    watch.lap("page and preview");

    // Where there was no network yet, its sender has tried again meanwhile, every half minute.
    until(patience(180), "the box's journal to arrive", async || {
        (!journals.messages("backrow-collector.service").await.is_empty()).then_some(())
    })
    .await;
    watch.lap("its journal is here");
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_or_cut_off_it_comes_back_with_what_it_was_given() {
    let mut stage = Stage::set(Setup::new(), |site| site).await;
    let watch = Stopwatch::start();
    let session = stage.up().await;

    // Switched off in good order, it says so; and CONFIG has the answer and no secret any more.
    stage.machine.shut_down().await;
    stage.state(30, "disconnected").await;
    let disk = stage.machine.disk();
    let answer = disk.read_config("OK.txt").await.expect("OK.txt on CONFIG");
    let answer = String::from_utf8(answer).unwrap();
    eprintln!("{answer}");
    assert!(disk.read_config("ERROR.txt").await.is_none(), "there is an ERROR.txt");
    let token = stage.encoder.token().to_owned();
    assert!(
        !disk.holds("config", token.as_bytes()).await,
        "the token can still be read from CONFIG"
    );
    assert_eq!(disk.complaints().await, Vec::<String>::new());

    // Another disk with Backrow is put in: it still starts from its own, with what it was given.
    stage.machine.rebuild(Setup::with_twin);
    let again = stage.up().await;
    assert_ne!(again, session);
    stage.event(120, "box.boot", "on purpose").await;
    let disks = "for link in /dev/disk/by-partuuid/6261636b-726f-4777-a001-000000000004 \
                 /dev/backrow/config; do readlink -f $link; done";
    assert_eq!(stage.machine.ssh(disks).await, "/dev/vda4\n/dev/vdb4\n");
    watch.lap("switched off, on with another disk");

    // The power is cut while it runs; it says why it started.
    stage.goes_on(&again).await;
    stage.machine.cut_power().await;
    stage.state(180, "lost").await;
    let third = stage.up().await;
    assert_ne!(third, again);
    stage.event(120, "box.boot", "power was lost").await;
    looks_well(&stage.machine).await;
    watch.lap("power cut, on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_in_1970_keeps_nobody_from_streaming_by_tls() {
    use backrow_tests::machine::{ROOM, Site};
    use backrow_tests::tls::TlsFront;
    use backrow_tests::{Broker, EncoderConfig, EncoderProcess};

    let broker = Broker::start().await;
    let encoder = EncoderProcess::start(EncoderConfig::light(ROOM)).await;
    let front = TlsFront::start(encoder.http()).await;
    let broker_front = TlsFront::start(broker.address()).await;
    let told = backrow_tests::mqtt::Subscriber::start(&broker).await;
    let setup = Setup::new()
        .with_clock("1970-01-01T00:00:00")
        .with_file("certs/encoder.pem", std::fs::read(front.authority()).unwrap())
        .with_file("certs/broker.pem", std::fs::read(broker_front.authority()).unwrap());
    let mut site = Site::new(&encoder, &broker);
    site.encoder = format!("https://{HOST}:{}", front.port());
    site.encoder_more = "ca = \"certs/encoder.pem\"".into();
    site.broker = Some(format!("mqtts://{HOST}:{}", broker_front.port()));
    site.broker_more = "ca = \"certs/broker.pem\"".into();
    let mut machine = Machine::new(setup, |key| Some(site.key(key).to_toml())).await;
    machine.boot().await;
    let ready = |it: &serde_json::Value| it["state"] == "ready";
    told.wait(patience(300), "backrow/box/state", ready).await;
    until(patience(300), "a segment over TLS", async || {
        let archive = encoder.archive(ROOM).await?;
        (archive["sessions"][0]["segments"].as_u64()? > 0).then_some(())
    })
    .await;
    // It knows the time by now, from the encoder: nobody else here has it.
    let now: i64 = machine.ssh("date +%s").await.trim().parse().unwrap();
    let host: i64 = String::from_utf8(backrow_tests::tool::run("date", &["+%s"]).await)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!((now - host).abs() < 120, "the box is {} s off", now - host);
}
