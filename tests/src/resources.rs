//! Memory and processor time of processes, from `/proc` (proc(5)).

use std::time::Duration;

use rustix::process::Pid;

/// Resident memory of a process in bytes; zero when it is gone.
pub fn resident(pid: Pid) -> u64 {
    status_kilobytes(pid, "VmRSS:") * 1024
}

/// Highest resident memory of a process so far, in bytes; zero when it is gone.
pub fn peak_resident(pid: Pid) -> u64 {
    status_kilobytes(pid, "VmHWM:") * 1024
}

/// Processor time, user and system, that a process has used itself.
pub fn processor_time(pid: Pid) -> Duration {
    let path = format!("/proc/{}/task", pid.as_raw_nonzero());
    let Ok(tasks) = std::fs::read_dir(path) else {
        return Duration::ZERO;
    };
    // schedstat counts nanoseconds where stat counts ticks of 10 ms.
    let nanoseconds = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

fn status_kilobytes(pid: Pid, field: &str) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
