//! When a worker is started, killed and started again. Pure: inputs and the time in, outputs out.
//!
//! ```text
//!            tick at the time                 ready / progress
//!  ┌▶ Waiting ──────▶ Spawning ──started──▶ Starting ─────────▶ Running
//!  │     ▲               │                     │                  │
//!  │     └──cannot start─┘     start deadline, │  no progress for │ `stall`, unless hungry
//!  │                           unless hungry   ▼                  ▼
//!  └───────────── exited ◀─────────────────── Killing ◀───────────┘
//!                                              │ not gone after `reap`: lost (stuck in the kernel)
//!  stop, in any state ──▶ Stopped (killed first if it runs; nothing is ever started again)
//! ```
//!
//! * A worker that is *hungry* (its input is silent) is never restarted for it: it has done no
//!   wrong, and a restart would cut those who are served by it. The clocks stand still meanwhile.
//! * The first restart comes at once. Each further one waits twice as long as the one before, up
//!   to a cap, until the worker has worked for `healthy`.
//! * Each further start may take twice as long, too: a machine so busy that a worker is not ready in
//!   time would else kill it for ever.
//! * There is at most one process: nothing is started before the last one is known to be gone.

use std::time::Duration;

use crate::mood::Mood;

/// The longest that a start may take after failures, unless the limit itself is longer.
pub const LONGEST_START: Duration = Duration::from_secs(60);

/// How patient the policy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the first start to the first sign of work; further starts may take longer, up to
    /// [`LONGEST_START`].
    pub start: Duration,
    /// Without progress while it has input.
    pub stall: Duration,
    /// From being killed to being gone.
    pub reap: Duration,
    /// The wait before the second restart; the first has none.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_cap: Duration,
    /// Working this long makes good for earlier failures.
    pub healthy: Duration,
    /// What it makes, for the reason "no … for 5 s".
    pub product: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(10),
            stall: Duration::from_secs(5),
            reap: Duration::from_secs(5),
            backoff: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(30),
            healthy: Duration::from_secs(30),
            product: "frame".to_owned(),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The process was started.
    Started,
    /// The process could not be started, and why.
    CannotStart(String),
    /// It says it is ready.
    Ready,
    /// It made something.
    Progress,
    /// Its input is silent, and why.
    Hungry(String),
    /// Its input came back.
    Fed,
    /// Its own words on what is wrong, for when it ends.
    Fault(String),
    /// Its reader gave up on it: it must go.
    Abandoned,
    /// It is gone, and how: "exited with code 1".
    Exited(String),
    /// Time passed.
    Tick,
    /// It is not wanted any more.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Start the process, then say [`Input::Started`] or [`Input::CannotStart`].
    Start,
    /// Kill it, then say [`Input::Exited`] when it is gone.
    Kill,
    /// It failed and will be started at this (monotonic) time.
    Restart {
        /// When.
        at: Duration,
        /// Why, as a sentence.
        reason: String,
    },
    /// How it is now.
    Mood(Mood, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Waiting { at: Duration },
    Spawning,
    Starting,
    Running { since: Duration },
    Killing { since: Duration, why: String, told: bool },
    Stopping,
    Stopped,
}

/// The state machine of one worker.
#[derive(Debug, Clone)]
pub struct Policy {
    component: String,
    limits: Limits,
    phase: Phase,
    /// When it last gave a sign of work, or its clock began anew.
    alive_at: Duration,
    hungry: Option<String>,
    /// Its own words on what is wrong, and when it said them.
    fault: Option<(String, Duration)>,
    /// Failures since it last worked for `healthy`.
    failures: u32,
    last_failure: Option<String>,
    shown: Option<(Mood, String)>,
}

impl Policy {
    /// A worker that is to be started at the first tick.
    #[must_use]
    pub fn new(component: impl Into<String>, limits: Limits) -> Self {
        Self {
            component: component.into(),
            limits,
            phase: Phase::Waiting { at: Duration::ZERO },
            alive_at: Duration::ZERO,
            hungry: None,
            fault: None,
            failures: 0,
            last_failure: None,
            shown: None,
        }
    }

    /// When the next [`Input::Tick`] is wanted, in monotonic time; `None`: only other inputs count.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Waiting { at } => Some(*at),
            Phase::Starting if self.hungry.is_none() => Some(self.alive_at + self.start()),
            Phase::Running { .. } if self.hungry.is_none() => {
                Some(self.alive_at + self.limits.stall)
            }
            Phase::Killing { since, told: false, .. } => Some(*since + self.limits.reap),
            _ => None,
        }
    }

    /// Whether it was stopped and its process is gone.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// Takes one input at the monotonic time `now` and says what to do, in this order.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        match (self.phase.clone(), input) {
            (Phase::Stopped, _) => {}
            (Phase::Waiting { .. }, Input::Stop) => self.stopped(&mut out),
            (Phase::Spawning, Input::Stop) | (Phase::Stopping, Input::Stop) => {
                self.phase = Phase::Stopping;
            }
            (_, Input::Stop) => {
                self.phase = Phase::Stopping;
                out.push(Output::Kill);
            }
            // It was being started when the stop came.
            (Phase::Stopping, Input::Started) => out.push(Output::Kill),
            (Phase::Stopping, Input::Exited(_) | Input::CannotStart(_)) => self.stopped(&mut out),
            (Phase::Stopping, _) => {}
            (Phase::Waiting { at }, Input::Tick) if now >= at => {
                self.phase = Phase::Spawning;
                self.waking(&mut out);
                out.push(Output::Start);
            }
            (Phase::Waiting { .. }, _) => {}
            (Phase::Spawning, Input::Started) => {
                self.phase = Phase::Starting;
                self.alive_at = now;
                self.hungry = None;
                self.fault = None;
            }
            (Phase::Spawning, Input::CannotStart(why)) => {
                let why = format!("the {} worker cannot be started: {why}", self.component);
                self.failed(why, now, &mut out);
            }
            (Phase::Spawning, _) => {}
            (Phase::Killing { why, .. }, Input::Exited(_)) => self.failed(why, now, &mut out),
            (Phase::Killing { since, why, told: false }, Input::Tick)
                if now >= since + self.limits.reap =>
            {
                self.phase = Phase::Killing { since, why, told: true };
                let reason = format!(
                    "the {} worker was killed and does not go: it hangs in the kernel, perhaps in \
                     a device's driver; unplug the device or restart the machine",
                    self.component
                );
                self.show(Mood::Lost, reason, &mut out);
            }
            (Phase::Killing { since, told, .. }, Input::Fault(why)) => {
                self.phase = Phase::Killing { since, why, told };
            }
            (Phase::Killing { .. }, _) => {}
            (phase, input) => self.alive(&phase, input, now, &mut out),
        }
        out
    }

    /// The inputs of a process that runs and is meant to.
    fn alive(&mut self, phase: &Phase, input: Input, now: Duration, out: &mut Vec<Output>) {
        match input {
            Input::Ready | Input::Progress => {
                self.alive_at = now;
                if *phase == Phase::Starting {
                    self.phase = Phase::Running { since: now };
                }
                if self.hungry.is_none() {
                    self.show(Mood::Happy, "working".to_owned(), out);
                }
            }
            Input::Hungry(why) => {
                let why = if why.trim().is_empty() { "no input".to_owned() } else { why };
                self.hungry = Some(why.clone());
                self.show(Mood::Hungry, why, out);
            }
            Input::Fed if self.hungry.is_some() => {
                self.hungry = None;
                self.alive_at = now;
                match phase {
                    Phase::Starting => self.waking(out),
                    _ => self.show(Mood::Happy, "working again: its input is back".to_owned(), out),
                }
            }
            Input::Fault(why) if !why.trim().is_empty() => self.fault = Some((why, now)),
            Input::Abandoned => {
                let why =
                    format!("the {} worker closed its output or sent nonsense", self.component);
                let why = self.last_words(now).unwrap_or(why);
                self.kill(why, now, out);
            }
            Input::Exited(how) => {
                let why = format!("the {} worker {how}", self.component);
                let why = self.last_words(now).unwrap_or(why);
                self.failed(why, now, out);
            }
            Input::Tick if self.deadline().is_some_and(|deadline| now >= deadline) => {
                let why = match phase {
                    Phase::Starting => {
                        format!("not ready {} after its start", seconds(self.start()))
                    }
                    _ => format!("no {} for {}", self.limits.product, seconds(self.limits.stall)),
                };
                let why = self.last_words(now).unwrap_or(why);
                self.kill(why, now, out);
            }
            _ => {}
        }
    }

    fn kill(&mut self, why: String, now: Duration, out: &mut Vec<Output>) {
        self.note_health(now);
        self.show(Mood::Sad, format!("{why}; killing it"), out);
        self.phase = Phase::Killing { since: now, why, told: false };
        out.push(Output::Kill);
    }

    fn failed(&mut self, why: String, now: Duration, out: &mut Vec<Output>) {
        self.note_health(now);
        let wait = self.wait();
        self.failures = self.failures.saturating_add(1);
        let reason = if wait.is_zero() {
            format!("{why}; starting it again")
        } else {
            format!("{why}; starting it again in {}", seconds(wait))
        };
        let at = now.saturating_add(wait);
        self.phase = Phase::Waiting { at };
        self.last_failure = Some(why);
        self.show(Mood::Sad, reason.clone(), out);
        out.push(Output::Restart { at, reason });
    }

    /// What it said of itself, unless it has long worked on since.
    fn last_words(&mut self, now: Duration) -> Option<String> {
        let (why, at) = self.fault.take()?;
        let counts_for = self.limits.stall.saturating_add(self.limits.reap);
        (now.saturating_sub(at) <= counts_for).then_some(why)
    }

    /// How long this start may take.
    fn start(&self) -> Duration {
        let longer = self.limits.start.saturating_mul(doubled(self.failures));
        longer.min(LONGEST_START.max(self.limits.start))
    }

    /// The wait before the next restart.
    fn wait(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            n => self.limits.backoff.saturating_mul(doubled(n - 1)).min(self.limits.backoff_cap),
        }
    }

    /// Forgets earlier failures if it worked long enough, up to its last sign of work.
    fn note_health(&mut self, now: Duration) {
        if let Phase::Running { since } = self.phase {
            let until = if self.hungry.is_some() { now } else { self.alive_at };
            if until.saturating_sub(since) >= self.limits.healthy {
                self.failures = 0;
            }
        }
    }

    fn waking(&mut self, out: &mut Vec<Output>) {
        let reason = match &self.last_failure {
            None => "starting".to_owned(),
            Some(why) => format!("starting again; before, {why}"),
        };
        self.show(Mood::Waking, reason, out);
    }

    fn stopped(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Stopped;
        self.show(Mood::Sleeping, "stopped on purpose".to_owned(), out);
    }

    /// Says a mood, once.
    fn show(&mut self, mood: Mood, reason: String, out: &mut Vec<Output>) {
        // "working again: …" stands until something else is to be said.
        let still_happy = mood == Mood::Happy && matches!(self.shown, Some((Mood::Happy, _)));
        if still_happy || self.shown.as_ref().is_some_and(|(m, r)| *m == mood && *r == reason) {
            return;
        }
        self.shown = Some((mood, reason.clone()));
        out.push(Output::Mood(mood, reason));
    }
}

/// 1, doubled so many times.
fn doubled(times: u32) -> u32 {
    2u32.checked_pow(times).unwrap_or(u32::MAX)
}

/// A duration for people: "5 s", "0.5 s".
fn seconds(duration: Duration) -> String {
    let text = format!("{:.1}", duration.as_secs_f64());
    format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests;
