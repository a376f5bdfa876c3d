//! What people put on the CONFIG partition, and what the box answers.

use backrow_tests::machine::{Machine, Setup, Stage, Stopwatch, patience};
use backrow_tests::until;

/// Puts files on the CONFIG partition of a running box, and lets it read them as at a boot.
async fn provision(machine: &Machine, files: &[(&str, &[u8])]) -> (Option<String>, Option<String>) {
    let mount = "mkdir -p /tmp/c && mount /dev/backrow/config /tmp/c";
    machine.ssh(&format!("{mount} && rm -f /tmp/c/OK.txt /tmp/c/ERROR.txt && umount /tmp/c")).await;
    for (name, content) in files {
        let file = machine.directory().join("to-box");
        std::fs::write(&file, content).unwrap();
        machine.copy(&file, "/tmp/new").await;
        machine.ssh(&format!("{mount} && cp /tmp/new /tmp/c/{name} && umount /tmp/c")).await;
    }
    let _ = machine.run("appliance provision").await;
    let read = async |name: &str| {
        let (status, out, _) = machine
            .run(&format!("{mount} -o ro && cat /tmp/c/{name}; s=$?; umount /tmp/c; exit $s"))
            .await;
        (status == 0).then_some(out)
    };
    (read("OK.txt").await, read("ERROR.txt").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_answered_with_their_lines_and_what_worked_goes_on() {
    // A new box, and a file with a mistake.
    let broken = "room = \"demo\"\r\n[encoder]\r\nurl = http://nothing\r\n";
    let stage = Stage::set(Setup::new(), |site| site).await;
    let mut stage = stage;
    stage.machine.disk().write_config(&[("site.toml", broken.as_bytes())]).await;
    let watch = Stopwatch::start();
    stage.machine.start().await;
    let machine = &stage.machine;
    let page =
        until(patience(420), "the page of a box without a site", async || machine.page("/").await)
            .await;
    assert!(page.contains("site.toml"), "{page}");
    watch.lap("the page of a box that cannot work yet");
    stage.machine.shut_down().await;
    let disk = stage.machine.disk();
    let error = String::from_utf8(disk.read_config("ERROR.txt").await.expect("ERROR.txt")).unwrap();
    eprintln!("{error}");
    assert!(error.contains("line 3"), "{error}");
    assert!(disk.read_config("OK.txt").await.is_none(), "both OK.txt and ERROR.txt");

    // Corrected, in an editor that writes a mark of its encoding and its own line ends.
    let good = stage.site().to_toml();
    let windows = format!("\u{feff}{}", good.replace('\n', "\r\n"));
    disk.write_config(&[("site.toml", windows.as_bytes())]).await;
    let session = stage.up().await;
    watch.lap("streams after the correction");

    // Further mistakes, one after the other; none disturbs the stream.
    let wrong_key = good.replace("framerate = 5", "framrate = 5");
    let line = 1 + good.lines().position(|line| line == "framerate = 5").unwrap();
    let (ok, error) = provision(&stage.machine, &[("site.toml", wrong_key.as_bytes())]).await;
    assert_eq!(ok, None);
    let error = error.expect("ERROR.txt");
    assert!(error.contains(&format!("line {line}")) && error.contains("framerate"), "{error}");

    let certificate = good.replace("[source]", "ca = \"certs/ca.pem\"\n[source]");
    let files: [(&str, &[u8]); 2] =
        [("ca.pem", b"not a certificate"), ("site.toml", certificate.as_bytes())];
    let moved = certificate.replace("certs/ca.pem", "ca.pem");
    let files = [files[0], ("site.toml", moved.as_bytes())];
    let (ok, error) = provision(&stage.machine, &files).await;
    assert_eq!(ok, None);
    let error = error.expect("ERROR.txt");
    assert!(error.contains("ca.pem"), "{error}");
    eprintln!("{error}");
    stage.goes_on(&session).await;

    let (ok, error) = provision(&stage.machine, &[("site.toml", good.as_bytes())]).await;
    assert_eq!(error, None);
    eprintln!("{}", ok.expect("OK.txt"));
    stage.goes_on(&session).await;
    watch.lap("mistakes were answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cut_the_box_off_are_taken_back() {
    // An address of its own, name servers that are dead, and a broker that has only a name.
    let fixed = "[network]\nmode = \"static\"\naddress = \"10.0.2.50/24\"\ngateway = \"10.0.2.2\"\n\
                 dns = [\"10.0.2.250\"]";
    let setup = Setup::new().at_address("10.0.2.50");
    let mut stage = Stage::set(setup, |site| site.more(fixed)).await;
    let watch = Stopwatch::start();
    let first = stage.up().await;
    let addresses = stage.machine.ssh("ip -4 -o address show").await;
    assert!(addresses.contains("10.0.2.50/24") && !addresses.contains("10.0.2.15"), "{addresses}");
    stage.state(240, "ready").await;
    // These are the last that worked, from now on.
    let kept = "test -s /data/backrow/network-good.toml";
    stage.machine.ssh_until(240, "the settings to be kept as good", kept).await;
    watch.lap("a fixed address, without DNS");
    stage.machine.shut_down().await;

    let away = "[network]\nmode = \"static\"\naddress = \"192.168.77.5/24\"\n\
                gateway = \"192.168.77.1\"\ndns = []";
    let site = stage.site().more(away).to_toml();
    stage.machine.disk().write_config(&[("site.toml", site.as_bytes())]).await;
    stage.machine.start().await;
    // Neither broker nor encoder is reached, so it goes back, and both are.
    let second = stage.confirmed_other_than(&[&first]).await;
    stage.state(240, "ready").await;
    watch.lap("gone back to what worked");
    stage.machine.up().await;
    let addresses = stage.machine.ssh("ip -4 -o address show").await;
    assert!(addresses.contains("10.0.2.50/24"), "{addresses}");
    let said = stage
        .component(120, "box.network", |it| {
            it["reason"]
                .as_str()
                .is_some_and(|it| it.contains("192.168.77.5") || it.contains("back"))
        })
        .await;
    eprintln!("{said}");
    stage.goes_on(&second).await;
}
