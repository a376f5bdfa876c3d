//! A site from a folder, while the box runs.

use super::*;
use crate::provision::configure::take;

const WITH_BROKER: &str = "room = \"main_hall\"\nrevision = \"3f2a91c07b54\"\n\
    [encoder]\nurl = \"https://enc.example.org\"\ntoken = \"another-token\"\n\
    [mqtt]\nurl = \"mqtts://broker:8883\"\nca = \"backrow-ca.pem\"\n\
    certificate = \"backrow-box.pem\"\nkey = \"backrow-box.key\"\n";

impl Bench {
    fn take(&self, files: &[(&str, &[u8])]) -> Result<Outcome, Vec<String>> {
        let folder = self.dir.path().join("pushed");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).unwrap();
        }
        let partition = Ok(Partition::folder(self.dir.path().join("CONFIG")));
        take(&self.paths, partition, &folder, &hooks())
    }
}

#[test]
fn it_is_in_force_at_once_and_after_the_next_start() {
    let bench = Bench::with(&[("site.toml", SITE.as_bytes())]);
    assert!(bench.boot().ok);
    let (certificate, key) = made("box-7");
    let files: &[(&str, &[u8])] = &[
        ("site.toml", WITH_BROKER.as_bytes()),
        ("backrow-ca.pem", &certificate),
        ("backrow-box.pem", &certificate),
        ("backrow-box.key", &key),
    ];
    let outcome = bench.take(files).unwrap();
    assert!(outcome.ok, "{:?}", outcome.problems);
    for _ in 0..2 {
        let site = bench.run("run/backrow/site.toml");
        assert!(site.contains("revision = \"3f2a91c07b54\""), "{site}");
        assert!(site.contains("another-token") && site.contains("mqtts://broker:8883"), "{site}");
        // What `backrow push` compares with: the site as it was pushed.
        let kept = fs::read_to_string(bench.paths.kept().join("site.toml")).unwrap();
        assert_eq!(kept, WITH_BROKER);
        // Secrets do not stay on CONFIG.
        assert!(!bench.text("site.toml").contains("another-token"));
        assert_eq!(bench.text("backrow-box.key"), "");
        assert!(bench.boot().ok);
    }
    // And back, with the site alone: the box has the files that the former one named.
    bench.take(&[("site.toml", SITE.as_bytes())]).unwrap();
    assert!(!bench.run("run/backrow/site.toml").contains("revision"));
    bench.take(&[("site.toml", WITH_BROKER.as_bytes())]).unwrap();
    assert!(bench.run("run/backrow/site.toml").contains("revision"));
}

#[test]
fn of_a_site_that_is_wrong_nothing_is_taken() {
    let bench = Bench::with(&[("site.toml", SITE.as_bytes())]);
    bench.boot();
    let before = bench.state();
    let run = bench.run("run/backrow/site.toml");
    let wrong = bench.take(&[("site.toml", b"room = \"a\"\nroom_ = 1\n")]).unwrap_err();
    assert!(wrong.iter().any(|why| why.contains("line 2") && why.contains("room_")), "{wrong:?}");
    let wrong = bench.take(&[("site.toml", WITH_BROKER.as_bytes())]).unwrap_err();
    assert!(wrong.iter().any(|why| why.contains("backrow-ca.pem")), "{wrong:?}");
    let wrong = bench.take(&[]).unwrap_err();
    assert!(wrong.iter().any(|why| why.contains("there is no site.toml")), "{wrong:?}");
    assert_eq!(bench.state(), before);
    assert_eq!(bench.run("run/backrow/site.toml"), run);
}
