//! A disk that is really full: a small tmpfs in a mount namespace of its own.

use std::path::Path;
use std::process::Command;

use encoder::ingest::Options;

use super::site::{Site, confirmation, refusal, session, until};
use super::sources::segments;

const DISK: &str = "BACKROW_TEST_DISK";

#[test]
fn a_full_disk_is_an_answer_and_not_the_end() {
    // The second time round, on the small disk.
    if let Ok(root) = std::env::var(DISK) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(with_a_small_disk(root.as_ref()));
    }
    let place = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    // A probe first: without the right to mount there is nothing to test.
    let mount = "mount -t tmpfs -o size=200k tmpfs \"$0\"";
    let allowed = Command::new("unshare")
        .args(["--mount", "sh", "-c", mount])
        .arg(place.path())
        .output()
        .unwrap();
    if !allowed.status.success() {
        let why = String::from_utf8_lossy(&allowed.stderr).into_owned();
        println!("SKIPPED: a file system cannot be mounted here: {}", why.trim());
        return;
    }
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &format!("{mount} && exec \"$1\" --exact {NAME}")])
        .args([place.path(), this.as_path()])
        .env(DISK, place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

const NAME: &str = "disk::a_full_disk_is_an_answer_and_not_the_end";

async fn with_a_small_disk(root: &Path) {
    let site = Site::start_in(root, Options::default(), 0).await;
    let (segments, run) = (segments(), session(1));
    let mut sent = Vec::new();
    let mut stored = 0;
    let (status, code, text) = loop {
        let segment = &segments[stored as usize % segments.len()];
        let response = site.put(run, stored, segment.bytes.clone()).send().await.unwrap();
        sent.extend(segment.tags.clone());
        if response.status() != 201 {
            break refusal(response).await;
        }
        stored += 1;
        assert!(stored < 50, "the disk does not fill");
    };
    assert!(stored > 0);
    assert_eq!((status, code.as_str()), (507, "disk-full"));
    let begin = format!("the archive's disk is full: {}/demo has ", root.display());
    assert!(text.starts_with(&begin), "{text}");
    // Live had it all, and what was confirmed is there.
    until("every tag is on air", || site.demo.tags().len() == sent.len()).await;
    assert_eq!(site.demo.tags(), sent);
    for seq in 0..stored {
        let bytes = &segments[seq as usize % segments.len()].bytes;
        assert_eq!(site.file(run, &format!("{seq:010}.flv")), *bytes);
    }
    // Nothing temporary takes up what is left.
    let files = site.files(&run.to_string());
    assert!(files.iter().all(|name| !name.ends_with(".tmp")), "{files:?}");
    assert_eq!(site.board.get("demo.archive").unwrap().mood.as_str(), "sad");
    // With space again, the retry is taken.
    let first = root.join("demo").join(run.to_string());
    std::fs::remove_file(first.join("0000000000.flv")).unwrap();
    std::fs::remove_file(first.join("0000000001.flv")).unwrap();
    let bytes = segments[stored as usize % segments.len()].bytes.clone();
    confirmation(site.put(run, stored, bytes).send().await.unwrap(), 201).await;
    assert_eq!(site.board.get("demo.archive").unwrap().mood.as_str(), "happy");
    site.stop().await;
}
