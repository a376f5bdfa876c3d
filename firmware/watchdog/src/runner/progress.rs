//! What a worker's reader tells the runner. It never waits, and keeps only what is newest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::policy::Input;

/// Tells the runner how a worker is doing. Cheap to clone and to call, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    signals: Mutex<Signals>,
    changed: Notify,
}

/// What was told since the runner last looked.
#[derive(Debug, Default)]
pub(super) struct Signals {
    ready: bool,
    made: bool,
    /// `Some(None)`: fed.
    hunger: Option<Option<String>>,
    fault: Option<String>,
}

impl Progress {
    /// A `Progress` that no runner reads, for testing a reader alone.
    #[must_use]
    pub fn detached() -> Self {
        Self::default()
    }

    /// The worker is ready to work.
    pub fn ready(&self) {
        self.tell(|signals| signals.ready = true);
    }

    /// The worker made something.
    pub fn made(&self) {
        let mut signals = self.lock();
        if !signals.made {
            signals.made = true;
            drop(signals);
            self.inner.changed.notify_one();
        }
    }

    /// The worker's input is silent, and why. It will not be restarted for making nothing, and stays
    /// hungry until it is [fed](Self::fed), even if it makes something (a slate) meanwhile.
    pub fn hungry(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.tell(|signals| signals.hunger = Some(Some(reason)));
    }

    /// The worker's input is back.
    pub fn fed(&self) {
        self.tell(|signals| signals.hunger = Some(None));
    }

    /// The worker says itself what is wrong, as a sentence without a full stop. Should it end, this
    /// is the reason shown.
    pub fn fault(&self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        self.tell(|signals| signals.fault = Some(sentence));
    }

    fn tell(&self, change: impl FnOnce(&mut Signals)) {
        change(&mut self.lock());
        self.inner.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Signals> {
        self.inner.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is told. Cancel-safe: nothing is taken before it returns.
    pub(super) async fn next(&self) -> Signals {
        self.inner.changed.notified().await;
        self.take()
    }

    pub(super) fn take(&self) -> Signals {
        std::mem::take(&mut *self.lock())
    }
}

impl Signals {
    /// As the policy's inputs. Hunger first: what was made before it came is no news.
    pub(super) fn into_inputs(self) -> impl Iterator<Item = Input> {
        let hunger = self.hunger.map(|hunger| match hunger {
            Some(reason) => Input::Hungry(reason),
            None => Input::Fed,
        });
        let ready = self.ready.then_some(Input::Ready);
        let made = self.made.then_some(Input::Progress);
        let fault = self.fault.map(Input::Fault);
        [ready, hunger, made, fault].into_iter().flatten()
    }
}
