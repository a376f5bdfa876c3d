//! The Debian packages: built from the programs under test, installed into an empty root, removed.
#![allow(clippy::unwrap_used, clippy::panic)] // a test says what it expects by panicking

use std::fs;
use std::path::{Path, PathBuf};

use backrow_tests::{process, tool};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A root with nothing in it but what dpkg writes.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
        Self(root)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs dpkg on it. Maintainer scripts run outside, and are told of the root; what the packages
    /// depend on is not there.
    async fn dpkg(&self, args: &[&str]) {
        let root = format!("--root={}", self.0.path().display());
        // Whoever is not root is so in a namespace of their own.
        let mut line =
            vec!["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", &root, "--log=/dev/null"];
        line.extend(["--force-script-chrootless", "--force-depends"]);
        line.extend(args);
        let program = if rustix::process::geteuid().is_root() { "env" } else { "unshare" };
        if program == "unshare" {
            line.insert(0, "--map-root-user");
        } else {
            line.remove(0);
        }
        tool::run(program, &line).await;
    }
}

/// Builds the packages; the paths of the three.
async fn packages(out: &Path) -> Vec<String> {
    let bin = process::binary("encoder");
    let bin = format!("BIN={}", bin.parent().unwrap().display());
    let out_is = format!("OUT={}", out.display());
    let script = top().join("deploy/package.sh").display().to_string();
    // Whoever packs a release waits for the compression; nobody reads these.
    tool::run("env", &[&*bin, &out_is, "DPKG_DEB_COMPRESSOR_TYPE=none", &script]).await;
    let mut found: Vec<String> = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|name| name.ends_with(".deb"))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn packages_bring_units_users_and_programs_and_never_take_a_recording() {
    let out = tempfile::tempdir().unwrap();
    let packages = packages(out.path()).await;
    assert_eq!(packages.len(), 3, "{packages:?}");
    let root = Root::new();
    let mut install = vec!["--install"];
    install.extend(packages.iter().map(String::as_str));
    root.dpkg(&install).await;

    for program in ["backrow", "backrow-encoder", "backrow-collector"] {
        let program = root.path(&format!("usr/bin/{program}")).display().to_string();
        let said = tool::run(&program, &["--version"]).await;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{program}: {said}");
    }
    let (users, groups) = (root.read("etc/passwd"), root.read("etc/group"));
    for daemon in ["encoder", "collector"] {
        let user = format!("backrow-{daemon}:");
        assert!(users.lines().any(|line| line.starts_with(&user)), "no {user} in {users}");
        let wanted = format!("etc/systemd/system/multi-user.target.wants/backrow-{daemon}.service");
        assert!(root.path(&wanted).is_symlink(), "{wanted} is not there: it starts at no boot");
        verify(&root, daemon).await;
    }
    for group in ["video", "audio"] {
        let line = groups.lines().find(|line| line.starts_with(&format!("{group}:"))).unwrap();
        assert!(line.ends_with("backrow-collector"), "{line}");
    }

    look_through(&root).await;

    let recordings = ["var/lib/backrow/archive/main-hall/1.flv", "var/lib/backrow-collector/1.flv"];
    for recording in recordings {
        fs::create_dir_all(root.path(recording).parent().unwrap()).unwrap();
        fs::write(root.path(recording), "a talk").unwrap();
    }
    root.dpkg(&["--remove", "backrow-encoder", "backrow-collector", "backrow"]).await;
    root.dpkg(&["--purge", "backrow-encoder", "backrow-collector", "backrow"]).await;
    assert!(!root.path("usr/bin/backrow-encoder").exists());
    for recording in recordings {
        assert_eq!(root.read(recording), "a talk");
    }
}

/// What a person asks before the service is started.
async fn look_through(root: &Root) {
    let encoder = "[[room]]\nname = \"main-hall\"\ntoken = \"correct-horse-battery\"\n";
    let site = "room = \"main-hall\"\n[encoder]\nurl = \"https://encoder.example.org\"\n\
                token = \"correct-horse-battery\"\n";
    for (daemon, right) in [("encoder", encoder), ("collector", site)] {
        let program = root.path(&format!("usr/bin/backrow-{daemon}"));
        let file = root.path("etc/looked-at.toml");
        let args = ["check", "--config", file.to_str().unwrap()];
        fs::write(&file, right).unwrap();
        let said = String::from_utf8(tool::output(&program, &args).await.stdout).unwrap();
        assert!(said.contains("is right") && said.contains("main-hall"), "{daemon}: {said}");
        fs::write(&file, right.replace("token", "tokne")).unwrap();
        let output = tool::output(&program, &args).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{daemon}: {said}");
        assert!(said.contains("looked-at.toml:") && said.contains("tokne"), "{daemon}: {said}");
    }
}

/// systemd understands every line of the unit, and its program is there.
async fn verify(root: &Root, daemon: &str) {
    let name = format!("backrow-{daemon}.service");
    let unit = root.read(&format!("lib/systemd/system/{name}"));
    let program = root.path("usr/bin/").display().to_string();
    let unit = unit.replace("ExecStart=/usr/bin/", &format!("ExecStart={program}"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name).display().to_string();
    fs::write(&file, unit).unwrap();
    let output = tool::output("systemd-analyze", &["verify", "--man=no", &file]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    // Of other units on this machine it may say what it likes.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("backrow")).collect();
    assert!(ours.is_empty(), "{ours:?}");
}
