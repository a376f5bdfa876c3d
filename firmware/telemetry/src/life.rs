//! A daemon's life: its pulse, for the system's watchdog, and the wish that it end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::signal::unix::{SignalKind, signal};

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

/// Returns when SIGTERM or SIGINT asks the daemon to end.
///
/// # Errors
/// If the signals cannot be watched.
pub async fn end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
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
