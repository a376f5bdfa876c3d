//! Waiting for a condition, with a deadline and a name for what is awaited.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(50);

/// Polls `condition` until it gives a value, and returns that.
///
/// # Panics
/// When `deadline` passes first; the message says `what` was awaited. A condition that itself
/// hangs counts as not met.
pub async fn until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match timeout(left, condition()).await {
            Ok(Some(value)) => return value,
            Ok(None) if Instant::now() < end => sleep(POLL).await,
            _ => panic!("waited {} s in vain for: {what}", deadline.as_secs_f32()),
        }
    }
}
