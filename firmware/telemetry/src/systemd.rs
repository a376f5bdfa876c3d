//! Notifications to systemd (sd_notify(3)). Without systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// The daemon is up: `READY=1`.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// One line on how it is, for `systemctl status`.
pub fn status(text: &str) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    tell(NotifyState::Status(&line));
}

/// The daemon is going down: `STOPPING=1`.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Asks for so much more time, from now on, for what the daemon is about: else systemd kills what
/// takes longer than `TimeoutStopSec=` to stop.
pub fn extend(by: Duration) {
    let microseconds = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
    tell(NotifyState::ExtendTimeoutUsec(microseconds));
}

/// Feeds systemd's watchdog at half its interval for as long as `alive` says that the main loop
/// lives; when it does not, systemd restarts the daemon. Returns at once when the unit has no
/// `WatchdogSec=`, else when cancelled.
pub async fn watchdog(alive: impl Fn() -> bool, cancel: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) else {
        return;
    };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {
                if alive() {
                    tell(NotifyState::Watchdog);
                } else {
                    tracing::error!("the main loop is stuck; systemd is not told that we are well");
                }
            }
        }
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!("systemd: {error}");
    }
}
