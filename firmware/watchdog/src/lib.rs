//! Moods and restarts: what looks after every component of a daemon.
//!
//! ```text
//! worker process ──progress──▶ runner ──inputs──▶ policy (pure) ──outputs──▶ runner ──▶ board
//!                                                                 kill, start            moods, events
//! ```
//! * [`policy`] decides, and does nothing else: it is a state machine without clock or process.
//! * [`runner`] applies it to one child process.
//! * [`board`] is where every component's mood stands, for the journal, MQTT and the status page.
//! * [`clock`] is the only place that asks the machine for the time.
//!
//! ```no_run
//! # async fn example() {
//! use watchdog::{board::Board, clock, policy::Limits, runner::{self, WorkerSpec}};
//! let clock = clock::system();
//! let board = Board::new(clock.clone());
//! let cancel = tokio_util::sync::CancellationToken::new();
//! let spec = WorkerSpec::new("capture", "/usr/bin/collector").arg("capture").limits(Limits::default());
//! runner::supervise(spec, board, clock, cancel, |mut io, progress| async move {
//!     use tokio::io::AsyncReadExt;
//!     let mut buffer = vec![0; 65536];
//!     while matches!(io.stdout.read(&mut buffer).await, Ok(1..)) {
//!         progress.made(); // the first makes the component happy
//!     }
//! })
//! .await;
//! # }
//! ```

pub mod backoff;
pub mod board;
pub mod clock;
pub mod mood;
pub mod parent;
pub mod policy;
pub mod runner;
