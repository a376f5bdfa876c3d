//! Showing which box this is: a switch that goes off by itself, for screen and lights to watch.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

/// The switch; clones are the same one.
#[derive(Debug, Clone)]
pub struct Identify {
    on: Arc<watch::Sender<bool>>,
    until: Arc<std::sync::Mutex<Option<JoinHandle<()>>>>,
}

impl Default for Identify {
    fn default() -> Self {
        Self { on: Arc::new(watch::Sender::new(false)), until: Arc::default() }
    }
}

impl Identify {
    /// Whether somebody looks for this box.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.on.subscribe()
    }

    /// On for so long, from now; off at once when that is nothing. Within a runtime.
    pub fn show(&self, lasting: Duration) {
        let mut until = self.until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(earlier) = until.take() {
            earlier.abort();
        }
        self.on.send_replace(!lasting.is_zero());
        if !lasting.is_zero() {
            let on = self.on.clone();
            *until = Some(tokio::spawn(async move {
                tokio::time::sleep(lasting).await;
                on.send_replace(false);
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_off_by_itself_and_the_last_word_counts() {
        let identify = Identify::default();
        let mut on = identify.watch();
        identify.show(Duration::from_millis(1));
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, on.wait_for(|on| !on)).await.unwrap().unwrap();
        identify.show(Duration::from_millis(1));
        identify.show(patience);
        assert!(*on.borrow_and_update());
        identify.show(Duration::ZERO);
        assert!(!*on.borrow());
    }
}
