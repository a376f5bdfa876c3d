//! Factory reset in its three ways: by order over MQTT, by a file on CONFIG, by the box's page.

use backrow_tests::machine::{Machine, Setup, Stage, Stopwatch, patience};
use backrow_tests::until;
use serde_json::json;

use crate::update::{answer, order};

/// The sessions whose recordings are on the box.
async fn recorded(machine: &Machine) -> String {
    machine.ssh("find /data/recordings -name '*.flv' | grep -o '01[0-9A-Z]*' | sort -u").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_is_reset_by_order_by_file_and_by_its_page() {
    let mut stage = Stage::set(Setup::new(), |site| site).await;
    let watch = Stopwatch::start();
    let first = stage.up().await;
    stage.goes_on(&first).await;
    stage.state(240, "ready").await;

    // By order: what it was told goes, the recordings stay. CONFIG has no secrets since they were
    // taken, so it says which it needs again.
    let id = order(&stage, 1, json!({ "command": "factory-reset" })).await;
    let said = answer(&stage, &id, "accepted", 120).await;
    stage.machine.resets(1, 240).await;
    stage.machine.up().await;
    let page = until(patience(240), "the page of a box without its secrets", async || {
        let page = stage.machine.page("/").await?;
        page.contains("kept-on-the-box").then_some(page)
    })
    .await;
    assert!(page.contains("`token`"), "{page}");
    assert!(recorded(&stage.machine).await.contains(&first));
    let secret = stage.encoder.token();
    let kept = format!("grep -rlF '{secret}' /data /run/backrow 2>/dev/null || echo none");
    assert_eq!(stage.machine.ssh(&kept).await.trim(), "none", "a secret is left");
    stage.machine.shut_down().await;
    let error = stage.machine.disk().read_config("ERROR.txt").await.expect("ERROR.txt");
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("token"), "{error}");
    watch.lap(&format!("reset by order: {said}"));

    // By a file, and a site with its secrets beside it: that one is taken after the reset.
    let site = stage.site().to_toml();
    let files: [(&str, &[u8]); 2] = [("site.toml", site.as_bytes()), ("factory-reset", b"")];
    stage.machine.disk().write_config(&files).await;
    let second = stage.up().await;
    let done = answer(&stage, &id, "done", 240).await;
    assert_eq!(done, "the box was reset");
    let all = recorded(&stage.machine).await;
    assert!(all.contains(&first) && all.contains(&second), "{all}");
    watch.lap("reset by a file, and it streams with the new site");

    // By the page, for those who have its token, with the recordings.
    let order = format!("{}/api/v1/factory-reset", stage.machine.http());
    let client = backrow_tests::encoder::client();
    let body = json!({ "recordings": true }).to_string();
    let ask = client.post(&order).header("content-type", "application/json").body(body);
    let refused = ask.try_clone().unwrap().send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let token = stage.machine.ssh("cat /data/backrow/token").await;
    let taken = ask.bearer_auth(token.trim()).send().await.unwrap();
    assert!(taken.status().is_success(), "{}", taken.text().await.unwrap());
    stage.machine.resets(1, 240).await;
    stage.machine.up().await;
    let all = "find /data/recordings -name '*.flv' | wc -l";
    stage.machine.ssh_until(120, "the data partition", "mountpoint -q /data").await;
    assert_eq!(stage.machine.ssh(all).await.trim(), "0");
    watch.lap("reset by the page, without its recordings");
}
