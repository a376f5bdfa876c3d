//! Runs a program to its end, and tells what it used.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backrow_tests::resources;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::time::sleep;

/// How often a running program's peak memory is read.
const LOOK: Duration = Duration::from_millis(50);
/// Ticks per second in `/proc/pid/stat`: fixed at 100 for programs (`USER_HZ`).
const HZ: f64 = 100.0;

/// What a program used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time, seconds.
    pub(crate) processor: f64,
    /// Peak resident memory, bytes.
    pub(crate) memory: u64,
}

/// Runs `program` with its streams at the given files, in the directory of `output`.
pub(crate) async fn run(
    program: &str,
    args: &[String],
    input: Option<&Path>,
    output: &Path,
) -> Usage {
    let log = output.with_extension("log");
    let mut child = Command::new(program)
        .args(args)
        .current_dir(output.parent().unwrap())
        .stdin(input.map_or_else(Stdio::null, |path| File::open(path).unwrap().into()))
        .stdout(File::create(output).unwrap())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let pid = Pid::from_child(&child);
    let mut memory = 0;
    // Its end is looked at without taking it away: a process that has ended and has not been
    // reaped still shows its times.
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), ended).unwrap().is_none() {
        memory = memory.max(resources::peak_resident(pid));
        sleep(LOOK).await;
    }
    let processor = times(pid);
    let status = child.wait().unwrap();
    assert!(
        status.success(),
        "{program} {args:?} failed ({status}):\n{}",
        std::fs::read_to_string(log).unwrap_or_default()
    );
    Usage { processor, memory }
}

/// User and system time of a process and of the children it has reaped, seconds (proc(5):
/// fields 14 to 17 of `stat`).
pub(crate) fn times(pid: Pid) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u32 =
        fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / HZ
}
