//! Tells each website of each room: one task for every pair, for as long as the encoder runs.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::config::Website;
use protocol::config::register::Announce;
use protocol::mood::Mood;
use protocol::register::{ANSWER_BYTES, Answer, CONTENT_TYPE, FORGETS, Group, form};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchdog::backoff::jitter;
use watchdog::board::Board;
use watchdog::clock::SharedClock;

use super::announcer::{Announcer, Outcome, Verdict};
use super::{Meters, component};
use crate::room::{Room, Rooms};

/// How long a website may take to be reached, and to answer in all.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// Until when a website may still send viewers here. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<Mutex<BTreeMap<String, Told>>>);

/// When one website last took a report, or may have.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    surely: Option<Duration>,
    perhaps: Option<Duration>,
}

impl Presence {
    /// When every website has forgotten this encoder if it is told no more; `None`: none knows it.
    #[must_use]
    pub fn until(&self) -> Option<Duration> {
        let told = self.lock();
        let last = told.values().filter_map(|told| told.surely.max(told.perhaps)).max();
        last.map(|last| last.saturating_add(FORGETS))
    }

    fn telling(&self, component: &str, now: Duration) {
        self.lock().entry(component.to_owned()).or_default().perhaps = Some(now);
    }

    fn told(&self, component: &str, now: Duration, verdict: &Verdict, taken: bool) {
        let mut told = self.lock();
        let told = told.entry(component.to_owned()).or_default();
        if taken {
            told.surely = Some(now);
        }
        if taken || verdict.refused {
            told.perhaps = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the tasks need.
#[derive(Debug, Clone)]
pub struct Register {
    /// The websites.
    pub websites: Vec<Website>,
    /// The rooms' names there.
    pub groups: BTreeMap<protocol::names::RoomName, Group>,
    /// What is sent now.
    pub meters: Meters,
    /// Moods.
    pub board: Board,
    /// The time.
    pub clock: SharedClock,
    /// Where it is noted who knows us.
    pub presence: Presence,
}

impl Register {
    /// Starts a task on `tasks` for every room and website; they end when cancelled.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn spawn(
        self,
        rooms: &Rooms,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) -> Result<(), reqwest::Error> {
        if self.websites.is_empty() {
            return Ok(());
        }
        if rooms.only().is_none() {
            tracing::warn!(
                "there are several rooms: the original website sends viewers to the streams at the \
                 root, which only an encoder with one room has"
            );
        }
        for website in &self.websites {
            let client = client(website)?;
            for room in rooms.iter() {
                let Some(group) = self.groups.get(&room.name) else { continue };
                let task = Task {
                    component: component(&room.name, &website.name),
                    room: Arc::clone(room),
                    group: group.clone(),
                    website: website.clone(),
                    client: client.clone(),
                    register: self.clone(),
                };
                tasks.spawn(task.run(cancel.clone()));
            }
        }
        Ok(())
    }
}

/// A client for one website. It sends viewers to the address that the request comes from: so that
/// must be our own, and of IPv4, for the original has no place for another.
fn client(website: &Website) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("backrow-encoder/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .redirect(Policy::none())
        .no_proxy();
    if !website.url.host_str().is_some_and(|host| host.starts_with('[')) {
        builder = builder.local_address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
    builder.build()
}

struct Task {
    component: String,
    room: Arc<Room>,
    group: Group,
    website: Website,
    client: reqwest::Client,
    register: Register,
}

impl Task {
    async fn run(self, cancel: CancellationToken) {
        let _ = cancel.run_until_cancelled(self.announce()).await;
        self.say(Mood::Sleeping, "the encoder is stopping: the website is told no more".to_owned());
    }

    async fn announce(&self) {
        let clock = &self.register.clock;
        let mut announcer = Announcer::new(self.group.clone(), self.website.interval);
        let mut status = self.room.status.clone();
        let mut due = Duration::ZERO;
        self.say(Mood::Waking, format!("the website has not been told of \"{}\" yet", self.group));
        loop {
            if !self.wanted(status.borrow_and_update().live) {
                let reason = "the room is not live: the website is told of it when it is";
                self.say(Mood::Hungry, reason.to_owned());
                let live = status.wait_for(|status| self.wanted(status.live)).await.is_ok();
                if !live {
                    return;
                }
            }
            let began = clock.monotonic();
            if began < due {
                tokio::select! {
                    () = tokio::time::sleep(due.saturating_sub(began)) => {}
                    // It may have gone off air.
                    changed = status.changed() => if changed.is_err() { return },
                }
                continue;
            }
            let verdict = self.tell(&mut announcer).await;
            due = began.saturating_add(verdict.wait);
            self.say(verdict.mood, verdict.reason);
        }
    }

    async fn tell(&self, announcer: &mut Announcer) -> Verdict {
        let Register { clock, presence, meters, .. } = &self.register;
        presence.telling(&self.component, clock.monotonic());
        let body = form(self.website.secret.reveal(), &self.group, &meters.report(&self.room.name));
        let outcome = self.post(body).await;
        let now = clock.monotonic();
        let verdict = announcer.settled(&outcome, now, jitter());
        presence.told(&self.component, now, &verdict, outcome == Outcome::Answered(Answer::Ok));
        verdict
    }

    async fn post(&self, body: String) -> Outcome {
        let request =
            self.client.post(self.website.url.clone()).header("content-type", CONTENT_TYPE);
        let mut response = match request.body(body).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Outcome::Unreachable(cause(&error)),
            Err(error) => return Outcome::Unanswered(in_words(&error)),
        };
        let status = response.status();
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
            return Outcome::Redirected { to: to.map(|to| to.chars().take(200).collect()) };
        }
        if status != reqwest::StatusCode::OK {
            return Outcome::Status(status.as_u16());
        }
        let mut answer = Vec::new();
        while answer.len() < ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => answer.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Outcome::Unanswered(in_words(&error)),
            }
        }
        Outcome::Answered(Answer::read(&answer))
    }

    fn wanted(&self, live: bool) -> bool {
        live || self.website.announce == Announce::Always
    }

    fn say(&self, mood: Mood, reason: String) {
        self.register.board.set(&self.component, mood, reason);
    }
}

/// What failed, as the end of "the website …".
fn in_words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("does not answer within {} s", ANSWER.as_secs());
    }
    format!("broke off: {}", cause(error))
}

/// The innermost cause: it says most, and has no address in it, which might have a password.
fn cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut last = None;
    while let Some(inner) = cause {
        last = Some(inner.to_string());
        cause = inner.source();
    }
    last.unwrap_or_else(|| "no reason is known".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(refused: bool) -> Verdict {
        Verdict { mood: Mood::Sad, reason: "x".into(), wait: Duration::ZERO, refused }
    }

    #[test]
    fn who_may_have_heard_of_us_counts_until_it_surely_has_not() {
        let at = Duration::from_secs;
        let presence = Presence::default();
        assert_eq!(presence.until(), None);
        presence.telling("a", at(10));
        assert_eq!(presence.until(), Some(at(70)), "it is on the way");
        presence.told("a", at(11), &verdict(true), false);
        assert_eq!(presence.until(), None, "a refusal is no announcement");
        presence.telling("a", at(20));
        presence.told("a", at(21), &verdict(false), true);
        assert_eq!(presence.until(), Some(at(81)));
        presence.telling("a", at(50));
        presence.told("a", at(60), &verdict(false), false);
        assert_eq!(presence.until(), Some(at(110)), "the answer was lost, not the report");
        presence.telling("b", at(30));
        presence.told("b", at(31), &verdict(false), true);
        assert_eq!(presence.until(), Some(at(110)), "the last of all");
    }
}
