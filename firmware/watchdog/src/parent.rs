//! A worker dies with its daemon: however the daemon ends, no worker is left holding the device.

use std::io;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Environment variable by which the runner tells a worker its daemon's process id.
pub const PARENT_VARIABLE: &str = "BACKROW_PARENT";

/// Asks the kernel to kill this process when its parent dies. Every worker calls it first thing.
///
/// The kernel watches the parent's *thread* that started the worker (prctl(2), PR_SET_PDEATHSIG):
/// a daemon therefore starts workers from threads that live as long as it does, as those of a
/// tokio runtime are.
///
/// # Errors
/// When the kernel refuses, or the daemon is gone already: the worker must then end at once.
pub fn die_with_parent() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The daemon may have died before the line above, and then no signal ever comes.
    let expected: Option<i32> =
        std::env::var(PARENT_VARIABLE).ok().and_then(|text| text.parse().ok());
    match expected {
        Some(expected) if getppid().map_or(0, Pid::as_raw_pid) != expected => {
            Err(io::Error::other("the daemon that started this worker is gone"))
        }
        // Started by hand: there is no daemon to be gone.
        _ => Ok(()),
    }
}
