//! Applies the [`policy`](crate::policy) to one child process.
//!
//! The runner starts the process with its three streams piped, hands them to the caller's `run`,
//! and does what the policy says until it is cancelled. There is one process at a time; it is
//! waited for, so there are no zombies, and it is killed when the runner is dropped.

mod process;
mod progress;

use std::{ffi::OsString, future::poll_fn, path::PathBuf, pin::pin, task::Poll, time::Duration};

use protocol::payload::EventKind;
use tokio_util::sync::CancellationToken;

pub use self::{
    process::{WorkerIo, WorkerStderr},
    progress::Progress,
};
use crate::{
    board::Board,
    clock::SharedClock,
    policy::{Input, Limits, Output, Policy},
};

/// How long a process that was asked to end, or whose streams ended, may take.
const GRACE: Duration = Duration::from_secs(1);
/// How long its reader may take over what a dead process left in the pipes.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What to run.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    /// Its name on the board, such as `capture`.
    pub component: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// How patient to be with it.
    pub limits: Limits,
}

impl WorkerSpec {
    /// A program without arguments, with the usual patience.
    pub fn new(component: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            component: component.into(),
            program: program.into(),
            args: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets the patience.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// Runs a worker and keeps it running until `cancel`; then leaves no process behind.
///
/// `run` is called for every process with its streams. It reads the output, feeds the input, and
/// says through [`Progress`] how it goes. It is dropped when the process is gone; when it returns
/// earlier, the process is given a second to end and is then killed.
pub async fn supervise<F, Fut>(
    spec: WorkerSpec,
    board: Board,
    clock: SharedClock,
    cancel: CancellationToken,
    mut run: F,
) where
    F: FnMut(WorkerIo, Progress) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut driver = Driver::new(&spec, &board, &clock, &cancel);
    while driver.wait_for_start().await {
        match process::spawn(&spec) {
            Ok((process, io)) => {
                let progress = Progress::detached();
                let stderr = io.stderr.clone();
                let work = run(io, progress.clone());
                driver.step(Input::Started);
                driver.attend(process, progress, stderr, work).await;
            }
            Err(error) => {
                let why = format!("{}: {error}", spec.program.display());
                driver.step(Input::CannotStart(why));
            }
        }
    }
}

/// The policy with what it acts on.
struct Driver<'a> {
    component: &'a str,
    policy: Policy,
    board: &'a Board,
    clock: &'a SharedClock,
    cancel: &'a CancellationToken,
}

/// What the policy wants done to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Nothing,
    Start,
    Kill,
}

impl<'a> Driver<'a> {
    fn new(
        spec: &'a WorkerSpec,
        board: &'a Board,
        clock: &'a SharedClock,
        cancel: &'a CancellationToken,
    ) -> Self {
        let policy = Policy::new(spec.component.clone(), spec.limits.clone());
        Self { component: &spec.component, policy, board, clock, cancel }
    }

    /// Gives the policy an input and tells the board what comes of it.
    fn step(&mut self, input: Input) -> Order {
        let mut order = Order::Nothing;
        for output in self.policy.step(input, self.clock.monotonic()) {
            match output {
                Output::Start => order = Order::Start,
                Output::Kill => order = Order::Kill,
                Output::Mood(mood, reason) => self.board.set(self.component, mood, reason),
                Output::Restart { reason, .. } => {
                    self.board.restarted(self.component);
                    self.board.event(EventKind::Restart, self.component, reason);
                }
            }
        }
        order
    }

    /// Sleeps until the policy wants a tick; for ever when it wants none.
    async fn until_deadline(&self) {
        match self.policy.deadline() {
            Some(at) => tokio::time::sleep(at.saturating_sub(self.clock.monotonic())).await,
            None => std::future::pending().await,
        }
    }

    /// Returns when a process is to be started, or with `false` when none ever will be.
    async fn wait_for_start(&mut self) -> bool {
        loop {
            if self.cancel.is_cancelled() {
                self.step(Input::Stop);
                return false;
            }
            tokio::select! {
                () = self.cancel.cancelled() => {}
                () = self.until_deadline() => {
                    if self.step(Input::Tick) == Order::Start {
                        return true;
                    }
                }
            }
        }
    }

    /// Looks after one process until it is gone.
    async fn attend(
        &mut self,
        mut process: process::Process,
        progress: Progress,
        stderr: WorkerStderr,
        work: impl Future<Output = ()>,
    ) {
        let mut work = pin!(work);
        // The reader has its first turn before anything else, to take stderr if it wants it.
        let mut working = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_pending())).await;
        stderr.log_if_left(self.component);
        let mut stopping = false;
        // Until when it may go by itself, once it was asked to end or `run` has returned.
        let mut leave_by = (!working).then(|| self.clock.monotonic() + GRACE);
        let how = loop {
            let leave = leave_by;
            let now = self.clock.monotonic();
            let order = tokio::select! {
                how = process.wait() => break how,
                () = &mut work, if working => {
                    working = false;
                    leave_by = Some(now + GRACE);
                    Order::Nothing
                }
                signals = progress.next() => self.signals(signals),
                () = self.until_deadline() => self.step(Input::Tick),
                () = sleep_until(leave, now), if leave.is_some() => {
                    leave_by = None;
                    if stopping { Order::Kill } else { self.step(Input::Abandoned) }
                }
                () = self.cancel.cancelled(), if !stopping => {
                    stopping = true;
                    leave_by = Some(now + GRACE);
                    self.step(Input::Stop);
                    process.end();
                    Order::Nothing
                }
            };
            if order == Order::Kill {
                process.kill();
            }
        };
        // Its last words may still be in the pipes; a grandchild may hold them open for ever.
        if working {
            let _ = tokio::time::timeout(LAST_WORDS, work).await;
        }
        let last_words = progress.take();
        self.signals(last_words);
        self.step(Input::Exited(how));
    }

    fn signals(&mut self, signals: progress::Signals) -> Order {
        let mut order = Order::Nothing;
        for input in signals.into_inputs() {
            if self.step(input) == Order::Kill {
                order = Order::Kill;
            }
        }
        order
    }
}

async fn sleep_until(at: Option<Duration>, now: Duration) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_sub(now)).await,
        None => std::future::pending().await,
    }
}
