//! Takes commands from MQTT and orders from the page to the desk, and their answers back.

use std::{sync::Arc, time::Duration};

use protocol::command::{self, Ack, AckState, Command, Order};
use telemetry::mqtt::Incoming;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use watchdog::clock::SharedClock;

use super::{
    desk::{Desk, Done, Job, NotDone},
    ledger::{self, Admission, Circumstances, Ledger},
};
use crate::{
    page::{Action, Answer, Order as PageOrder},
    update::{
        install::{Bundle, Wanted},
        record::Update,
    },
};

/// How long the box shows itself when the page asks.
const SHOW: Duration = Duration::from_secs(30);
/// How long the page waits for an update to be refused, or to be so far that it is not.
const PAGE_WAITS: Duration = Duration::from_secs(20);

/// Takes commands from MQTT.
#[derive(Debug)]
pub struct Listener {
    /// Who carries them out.
    pub desk: Desk,
    /// The time, for their expiry.
    pub clock: SharedClock,
    /// This boot.
    pub boot: String,
    /// Where answers go.
    pub answers: mpsc::Sender<Ack>,
    /// Whether the running image is good: then an update that a command asked for is done.
    pub good: watch::Receiver<bool>,
}

impl Listener {
    /// Until cancelled. Commands run beside each other: an update does not keep one from hearing
    /// that the box shall show itself.
    pub async fn run(mut self, mut incoming: mpsc::Receiver<Incoming>, cancel: CancellationToken) {
        let paths = &self.desk.paths;
        let ledger = Arc::new(Mutex::new(Ledger::read(paths)));
        self.settle_earlier(&ledger).await;
        let tasks = TaskTracker::new();
        let mut good_told = *self.good.borrow_and_update();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Ok(()) = self.good.changed(), if !good_told => {
                    good_told = *self.good.borrow_and_update();
                    self.settle_earlier(&ledger).await;
                }
                next = incoming.recv() => match next {
                    Some(incoming) => self.take(&incoming, &ledger, &tasks).await,
                    None => return,
                },
            }
        }
    }

    async fn settle_earlier(&self, ledger: &Mutex<Ledger>) {
        let mut ledger = ledger.lock().await;
        let update = Update::last(&self.desk.paths);
        let answers = ledger.settle_earlier(&self.boot, update.as_ref());
        if !answers.is_empty() {
            self.keep(&ledger);
        }
        drop(ledger);
        for ack in answers {
            let _ = self.answers.send(ack).await;
        }
    }

    fn keep(&self, ledger: &Ledger) -> bool {
        match ledger.keep(&self.desk.paths) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("which commands were carried out cannot be kept: {error}");
                false
            }
        }
    }

    async fn take(&self, incoming: &Incoming, ledger: &Arc<Mutex<Ledger>>, tasks: &TaskTracker) {
        let command = match command::parse(&incoming.payload) {
            Ok(command) => command,
            Err(error) => {
                tracing::warn!("a command is not understood: {error}");
                let ack = Ack::new(error.id, AckState::Refused, error.to_string());
                let _ = self.answers.send(ack).await;
                return;
            }
        };
        let admission = {
            let mut ledger = ledger.lock().await;
            // What cannot be kept now could not be kept afterwards.
            let lasting = !incoming.retained || self.keep(&ledger);
            let how = Circumstances {
                now: self.clock.utc(),
                boot: &self.boot,
                retained: incoming.retained,
                lasting,
            };
            let admission = ledger.admit(&command, how);
            self.keep(&ledger);
            admission
        };
        if let Admission::Answer(ack) = admission {
            tracing::info!("command {}: {}", command.id, ack.message);
            let _ = self.answers.send(ack).await;
            return;
        }
        tracing::info!("command {}: {}", command.id, command.order.name());
        let under_way = format!("{} is under way", command.order.name());
        let ack = Ack::new(Some(command.id), AckState::Accepted, under_way);
        let _ = self.answers.send(ack).await;
        let (desk, answers, ledger) = (self.desk.clone(), self.answers.clone(), ledger.clone());
        tasks.spawn(async move {
            let (state, message) = outcome(desk.carry_out(job(&command)).await);
            let ack = {
                let mut ledger = ledger.lock().await;
                let ack = ledger.settle(command.id, state, message);
                if let Err(error) = ledger.keep(&desk.paths) {
                    tracing::warn!("which commands were carried out cannot be kept: {error}");
                }
                ack
            };
            tracing::info!("command {}: {}", ack.id, ack.message);
            let _ = answers.send(ack).await;
        });
    }
}

fn job(command: &Command) -> Job {
    match &command.order {
        Order::Update { url, sha256 } => Job::Update(Wanted {
            bundle: Bundle::Url(url.clone()),
            sha256: sha256.clone(),
            asked_by: ledger::asked_by(command.id),
        }),
        Order::FactoryReset { recordings } => Job::FactoryReset { recordings: *recordings },
        Order::Diagnostics { url } => Job::Diagnostics(url.clone()),
        Order::Restart => Job::Restart,
        Order::Reboot => Job::Reboot,
        Order::Identify { seconds } => Job::Identify(Duration::from_secs((*seconds).into())),
    }
}

fn outcome(done: Result<Done, NotDone>) -> (AckState, String) {
    match done {
        Ok(Done::Said(words)) => (AckState::Done, words),
        // Settled after the restart.
        Ok(Done::Restarting(words)) => (AckState::Accepted, words),
        Ok(Done::File(path)) => {
            let words = format!("the diagnostics are on the box, in {}", path.display());
            (AckState::Done, words)
        }
        Err(NotDone::Refused(why)) => (AckState::Refused, why),
        Err(NotDone::Failed(why)) => (AckState::Failed, why),
    }
}

/// Takes orders from the page until cancelled.
pub async fn page(desk: Desk, mut orders: mpsc::Receiver<PageOrder>, cancel: CancellationToken) {
    while let Some(Some(order)) = cancel.run_until_cancelled(orders.recv()).await {
        let desk = desk.clone();
        tokio::spawn(async move {
            let answered = answer(&desk, order.action).await;
            let _ = order.answer.send(answered);
        });
    }
}

async fn answer(desk: &Desk, action: Action) -> Answer {
    let job = match action {
        Action::Restart => Job::Restart,
        Action::Reboot => Job::Reboot,
        Action::Identify => Job::Identify(SHOW),
        Action::Diagnostics => Job::Diagnostics(None),
        Action::FactoryReset { recordings } => Job::FactoryReset { recordings },
        Action::Update { bundle, sha256 } => return update(desk, bundle, sha256).await,
    };
    from(desk.carry_out(job).await)
}

fn from(done: Result<Done, NotDone>) -> Answer {
    match done {
        Ok(Done::Said(words) | Done::Restarting(words)) => Answer::Done(words),
        Ok(Done::File(path)) => Answer::File(path, "diagnostics.tar.gz".to_owned()),
        Err(NotDone::Refused(why)) => Answer::Refused(why),
        Err(NotDone::Failed(why)) => Answer::Failed(why),
    }
}

/// An update that is not refused at once takes minutes: the page shows how it goes.
async fn update(desk: &Desk, bundle: Bundle, sha256: Option<String>) -> Answer {
    let (bundle, uploaded) = match bundle {
        Bundle::File(path) | Bundle::Once(path) => (Bundle::Once(path.clone()), Some(path)),
        Bundle::Url(url) => (Bundle::Url(url), None),
    };
    let wanted = Wanted { bundle, sha256, asked_by: "page".to_owned() };
    let desk = desk.clone();
    let mut installing = tokio::spawn(async move {
        let done = desk.carry_out(Job::Update(wanted)).await;
        // An update that was refused before it was looked at.
        if let Some(file) = uploaded {
            let _ = tokio::fs::remove_file(file).await;
        }
        done
    });
    match tokio::time::timeout(PAGE_WAITS, &mut installing).await {
        Ok(Ok(done)) => from(done),
        Ok(Err(_)) => Answer::Failed("the update was broken off".to_owned()),
        Err(_) => Answer::Done("the update is being installed; the box restarts by itself".into()),
    }
}

#[cfg(test)]
mod tests;
