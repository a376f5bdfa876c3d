//! Memory and processor time of processes, from `/proc` (proc(5)).

use std::time::Duration;

use rustix::process::Pid;

/// Resident memory of a process in bytes; zero when it is gone.
pub fn resident(pid: Pid) -> u64 {
    kilobytes(pid, "status", "VmRSS:") * 1024
}

/// Highest resident memory of a process so far, in bytes; zero when it is gone.
pub fn peak_resident(pid: Pid) -> u64 {
    kilobytes(pid, "status", "VmHWM:") * 1024
}

/// Resident memory of a process in bytes, where what is shared with other processes counts by
/// its share; zero when it is gone.
pub fn proportional(pid: Pid) -> u64 {
    kilobytes(pid, "smaps_rollup", "Pss:") * 1024
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

fn kilobytes(pid: Pid, file: &str, field: &str) -> u64 {
    let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
