//! What goes wrong around the box and in it, while it streams.

use backrow_tests::machine::{Fault, Setup, Stage, Stopwatch, patience};
use backrow_tests::until;
use serde_json::Value;

/// Nothing of the room is missing in what the encoder has.
async fn nothing_is_missing(stage: &Stage, session: &str) {
    until(patience(240), "everything to be backfilled", async || {
        let archive = stage.encoder.archive(backrow_tests::machine::ROOM).await?;
        let all = archive["sessions"].as_array()?;
        let it = all.iter().find(|it| it["session"] == session)?;
        let whole = it["gaps"].as_array().is_none_or(Vec::is_empty) && it["partial"].as_u64()? <= 1;
        whole.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_that_are_bad_lose_nothing() {
    const ENCODER: &str = "10.0.2.100";
    const BROKER: &str = "10.0.2.101";
    let mut stage = Stage::set(Setup::new(), |mut site| {
        site.encoder = format!("http://{ENCODER}:443");
        site.broker = Some(format!("mqtt://{BROKER}:443"));
        site
    })
    .await;
    let (encoder, broker) = (stage.encoder.http().port(), stage.broker.address().port());
    stage.machine.rebuild(|setup| setup.with_server(ENCODER, encoder).with_server(BROKER, broker));
    let watch = Stopwatch::start();
    stage.machine.boot().await;
    // Nobody answers: it boots all the same, and keeps what it captures.
    let status =
        "test -s /run/backrow-collector/status.json && systemctl is-active backrow-collector";
    stage.machine.ssh_until(180, "the collector to run without an encoder", status).await;
    watch.lap("it runs with nobody to talk to");
    assert_eq!(stage.sessions().await, []);

    // A venue that lets out nothing but port 443 (and our ssh, and DHCP, which is the venue's own);
    // no name is answered.
    let device = stage.machine.ssh("ip -o route show default | grep -o 'dev [^ ]*'").await;
    let device = device.trim();
    let let_out = |what: &str| {
        format!(
            "tc filter add {device} egress protocol ip prio 5 u32 match ip {what} 0xffff action pass; "
        )
    };
    let rules = format!(
        "set -e; tc qdisc add {device} clsact; {}{}{}{}\
         tc filter add {device} egress protocol ip prio 9 u32 match u32 0 0 action drop",
        let_out("sport 22"),
        let_out("sport 80"),
        let_out("dport 443"),
        let_out("dport 67")
    );
    stage.machine.ssh(&rules).await;
    stage.machine.outside(true);
    let session = stage.confirmed().await;
    stage.state(240, "ready").await;
    watch.lap("by port 443 alone");
    nothing_is_missing(&stage, &session).await;
    watch.lap("what was captured before has been sent, too");

    // Packets are lost and late.
    stage.machine.ssh(&format!("tc qdisc add {device} root netem delay 120ms 30ms loss 3%")).await;
    stage.grows(&session, 6, patience(240)).await;
    stage.machine.ssh(&format!("tc qdisc del {device} root")).await;
    nothing_is_missing(&stage, &session).await;
    watch.lap("through loss and delay");

    // Encoder and broker vanish without a word, and come back.
    let silence = format!("{device} egress protocol ip prio 1");
    let drop = "u32 match ip dport 443 0xffff action drop";
    stage.machine.ssh(&format!("tc filter add {silence} {drop}")).await;
    stage.state(180, "lost").await;
    let before = stage.segments(&session).await;
    stage.machine.ssh(&format!("tc filter del {silence}")).await;
    stage.state(240, "ready").await;
    stage.goes_on(&session).await;
    nothing_is_missing(&stage, &session).await;
    assert!(stage.segments(&session).await > before);
    watch.lap("after an outage");

    // The cable is pulled and put in again.
    stage.machine.cable(false).await;
    stage.state(180, "lost").await;
    stage.machine.cable(true).await;
    stage.state(240, "ready").await;
    stage.goes_on(&session).await;
    nothing_is_missing(&stage, &session).await;
    watch.lap("after a pulled cable");

    // And once more, while the venue's DHCP server is dead: the box itself sees that it has no
    // address for 15 s, and lets the server live again.
    let no_lease = format!(
        "tc filter add {silence} u32 match ip protocol 17 0xff match ip dport 67 0xffff action drop
         cat >/run/no-lease.sh <<'END'
         link=/sys/class/net/{name}/carrier
         until [ \"$(cat $link)\" = 0 ]; do sleep 0.2; done
         until [ \"$(cat $link)\" = 1 ]; do sleep 0.2; done
         without=0
         while [ $without -lt 15 ]; do
           sleep 1
           if [ -n \"$(ip -4 -o addr show {device} scope global)\" ]; then without=0
           else without=$((without + 1)); fi
         done
         touch /run/no-lease
         tc filter del {silence}\nEND
         systemd-run --quiet sh /run/no-lease.sh",
        name = device.trim_start_matches("dev "),
    );
    stage.machine.ssh(&no_lease).await;
    stage.machine.cable(false).await;
    stage.state(180, "lost").await;
    stage.machine.cable(true).await;
    stage.state(360, "ready").await;
    stage.machine.ssh("test -e /run/no-lease").await;
    stage.goes_on(&session).await;
    nothing_is_missing(&stage, &session).await;
    assert_eq!(stage.sessions().await.len(), 1);
    watch.lap("after a cable without DHCP");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_is_restarted() {
    let mut stage = Stage::set(Setup::new().with_watchdog(), |site| site).await;
    let watch = Stopwatch::start();
    let session = stage.up().await;
    let pid = stage.machine.ssh("systemctl show -P MainPID backrow-collector").await;
    stage.machine.ssh(&format!("kill -STOP {}", pid.trim())).await;
    let again = stage.confirmed_other_than(&[&session]).await;
    let now = stage.machine.ssh("systemctl show -P MainPID backrow-collector").await;
    assert_ne!(pid, now);
    watch.lap("a collector that hung was started anew");

    // The box's own daemon, too.
    let pid = stage.machine.ssh("systemctl show -P MainPID backrow-appliance").await;
    stage.machine.ssh(&format!("kill -STOP {}", pid.trim())).await;
    let other = format!("test $(systemctl show -P MainPID backrow-appliance) != {}", pid.trim());
    stage.machine.ssh_until(180, "the box's daemon to be started anew", &other).await;
    watch.lap("and so was the box's daemon");

    // systemd stops; so nobody pets the watchdog any more.
    let petted = stage.machine.ssh("cat /sys/class/watchdog/watchdog0/identity").await;
    assert!(petted.contains("i6300ESB"), "{petted}");
    let _ = stage.machine.run("kill -SEGV 1").await;
    stage.machine.resets(1, 240).await;
    assert_eq!(stage.machine.told("WATCHDOG"), 1, "it was not the watchdog that did it");
    watch.lap("a machine that hung was reset");
    stage.machine.up().await;
    stage.confirmed_other_than(&[&session, &again]).await;
    let why = stage.event(240, "box.boot", "watchdog").await;
    eprintln!("{why}");
    watch.lap("it streams, and says why it started");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_dying_one_keep_nobody_from_streaming() {
    let mut stage = Stage::set(Setup::new(), |site| site).await;
    let watch = Stopwatch::start();
    let session = stage.up().await;
    stage.component(240, "uplink", |it| it["mood"] == "happy").await;
    let fill = "dd if=/dev/zero of=/data/recordings/fill bs=1M 2>/dev/null; df /data | tail -1";
    stage.machine.ssh(fill).await;
    stage.goes_on(&session).await;
    let told = |it: &Value| matches!(it["mood"].as_str(), Some("sad" | "hungry"));
    let disk = stage.component(180, "box.disk", told).await;
    eprintln!("{disk}");
    watch.lap("a full disk is told, and the stream goes on");
    stage.machine.shut_down().await;

    // From now on each write fails.
    stage.machine.rebuild(|setup| setup.with_fault(Fault::FailingWrites));
    let again = stage.up().await;
    stage.goes_on(&again).await;
    let disk = stage.component(240, "box.disk", told).await;
    eprintln!("{disk}");
    watch.lap("from a disk that takes no writes");
}
