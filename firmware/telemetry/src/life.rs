//! A daemon's life: its pulse, for the system's watchdog, and the wish that it end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Counts the turns of a daemon's main loop; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// The loop has made a turn.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// For [`systemd::watchdog`](crate::systemd::watchdog): whether the loop has made a turn since
    /// the last time this was asked.
    pub fn felt(&self) -> impl Fn() -> bool + Send + use<> {
        let pulse = self.clone();
        let last = AtomicU64::new(u64::MAX);
        move || {
            let now = pulse.0.load(Ordering::Relaxed);
            last.swap(now, Ordering::Relaxed) != now
        }
    }
}

/// A wish that the daemon end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM: from systemd, a container's runtime, an operator.
    Terminate,
    /// SIGINT: Ctrl-C, from somebody who waits in front of it.
    Interrupt,
}

/// The wishes, as they come.
#[derive(Debug)]
pub struct Wishes {
    terminate: Signal,
    interrupt: Signal,
}

impl Wishes {
    /// Watches the signals from now on.
    ///
    /// # Errors
    /// If they cannot be watched.
    pub fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one. Safe to cancel.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Terminate,
            _ = self.interrupt.recv() => Wish::Interrupt,
        }
    }
}

/// Returns when SIGTERM or SIGINT asks the daemon to end.
///
/// # Errors
/// If the signals cannot be watched.
pub async fn end() -> io::Result<()> {
    Wishes::new()?.next().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_noticed() {
        let pulse = Pulse::default();
        let felt = pulse.felt();
        assert!(felt(), "nothing is held against it at the start");
        assert!(!felt());
        pulse.beat();
        assert!(felt());
        assert!(!felt());
    }
}
