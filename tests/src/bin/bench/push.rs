//! A push to a hundred machines, beside plain parallel scp of the same files to the same machines.
//! Each is an sshd with a root of its own; all of them are on this machine, and their time is counted.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backrow_tests::host::{Host, Hosts};
use backrow_tests::process::binary;
use backrow_tests::{tool, until};
use rustix::process::Pid;
use tokio::time::Instant;

use crate::table::{Report, Takes, Target};
use crate::usage;

const MACHINES: usize = 100;
/// At once, as `backrow push` has it unless told otherwise.
const JOBS: &str = "10";
/// A push may cost so many times as much as scp, which neither looks, nor checks, nor goes back.
const MOST: f64 = 1.5;
const PATIENCE: Duration = Duration::from_secs(300);

/// Daemons are started by both or by none: here by none, and each of them is well.
const SYSTEMCTL: &str = "#!/bin/sh\necho active\n";

/// What one of the two took.
#[derive(Default)]
struct Cost {
    wall: Takes,
    /// On the operator's side.
    here: Takes,
    /// Here and on all machines.
    all: Takes,
}

impl Cost {
    fn ratio(ours: &Takes, others: &Takes) -> Takes {
        Takes(ours.0.iter().zip(&others.0).map(|(ours, other)| ours / other).collect())
    }
}

pub(crate) async fn measure(report: &mut Report, runs: usize, directory: &Path) {
    let names: Vec<String> = (1..=MACHINES).map(|number| format!("m{number}")).collect();
    let machines: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    let hosts = Hosts::start_with(&machines, SYSTEMCTL).await;
    let venue = hosts.venue();
    let sshds: Vec<Pid> = hosts.all().iter().map(Host::sshd).collect();
    let config = hosts.ssh_config().display().to_string();
    let place = |name: &str| directory.join(name).display().to_string();
    let (event, files, list) = (place("event"), place("files"), place("machines"));
    std::fs::create_dir(&event).unwrap();
    std::fs::write(&list, names.join("\n") + "\n").unwrap();
    write(&event, &names, 0);
    let backrow = binary("backrow").display().to_string();
    tool::run(&backrow, &["certificates", &event]).await;

    let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let push = words(&["push", &event, "-F", &config, "--by-ssh", "--settle", "0", "--jobs", JOBS]);
    let folders = format!("{files}/{{}}/etc/backrow");
    let scp = [&["-a", &list, "-P", JOBS, "-I{}"][..], &["scp", "-q", "-F", &config, "-r"]];
    let scp = words(&[&scp.concat()[..], &[folders.as_str(), "{}:/etc"]].concat());

    let (mut ours, mut theirs) = (Cost::default(), Cost::default());
    // The first time is not counted: then there are no files there, and the caches are cold.
    for run in 0..=runs {
        write(&event, &names, run);
        tool::run(&backrow, &["render", &files, &event]).await;
        let output = directory.join("pushed");
        for (cost, program, args) in
            [(&mut ours, backrow.as_str(), &push), (&mut theirs, "xargs", &scp)]
        {
            let (ip, mut line) = venue.as_operator(program);
            line.extend_from_slice(args);
            let before = at_rest(&sshds).await;
            let began = Instant::now();
            let here = usage::run(ip, &line, None, &output).await.processor;
            let wall = began.elapsed().as_secs_f64();
            let there = at_rest(&sshds).await - before;
            if run > 0 {
                cost.wall.0.push(wall);
                cost.here.0.push(here);
                cost.all.0.push(here + there);
            }
        }
    }
    for name in &names {
        let file = PathBuf::from(&files).join(name).join("etc/backrow/site.toml");
        let there = hosts.of(name).text("/etc/backrow/site.toml").await;
        assert_eq!(there, std::fs::read_to_string(file).ok(), "{name} has other files");
    }
    let ratio = Cost::ratio;
    let what = format!("{MACHINES} machines, {JOBS} at once");
    for (of, ours, theirs) in [
        ("time", &ours.wall, &theirs.wall),
        ("processor time of the operator's side", &ours.here, &theirs.here),
        ("processor time in all", &ours.all, &theirs.all),
    ] {
        report.row(&format!("{what}: {of} of a push"), "s", ours.clone(), Target::None);
        report.row(&format!("{what}: {of} of scp"), "s", theirs.clone(), Target::None);
        let ratio = ratio(ours, theirs);
        report.row(&format!("{what}: {of}, push / scp"), "", ratio, Target::AtMost(MOST));
    }
    report.command(&backrow, &push);
    report.command("xargs", &scp);
}

/// An event of a collector on each machine; another `memory` is another revision.
fn write(event: &str, names: &[String], run: usize) {
    let mut open = format!(
        "[event]\nname = \"bench\"\nbroker = \"mqtts://broker.example.org\"\n\
         [defaults.encoder]\nurl = \"https://encoder.example.org\"\n\
         [defaults.uplink]\nmemory = \"{}MiB\"\n",
        64 + run
    );
    let mut secret = String::new();
    for name in names {
        let _ = write!(
            open,
            "[rooms.{name}]\n[machines.{name}]\nkind = \"collector\"\nhost = \"{name}\"\nroom = \"{name}\"\n"
        );
        let _ = writeln!(secret, "[rooms.{name}]\ntoken = \"token-of-{name}\"");
    }
    std::fs::write(Path::new(event).join("event.toml"), open).unwrap();
    std::fs::write(Path::new(event).join("event.secret.toml"), secret).unwrap();
}

/// What all machines have used so far, seconds, when nobody is logged in any more.
async fn at_rest(sshds: &[Pid]) -> f64 {
    until(PATIENCE, "everybody to be logged out", async || (sessions(sshds) == 0).then_some(()))
        .await;
    sshds.iter().map(|sshd| usage::times(*sshd)).sum()
}

/// How many are logged in at these sshds, or about to be.
fn sessions(sshds: &[Pid]) -> usize {
    let of_them = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let parent = Pid::from_raw(rest.split_whitespace().nth(1)?.parse().ok()?)?;
        (name == "sshd" && sshds.contains(&parent)).then_some(())
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(of_them).count()
}
