//! How a daemon tells of itself: [`log`] to the journal, [`systemd`] notifications, [`mqtt`], and its
//! own [`life`].
//!
//! ```no_run
//! # async fn example(broker: protocol::config::Mqtt, birth: protocol::payload::Birth) {
//! use tokio_util::sync::CancellationToken;
//! use watchdog::{board::Board, clock};
//!
//! telemetry::log::init("collector");
//! let clock = clock::system();
//! let board = Board::new(clock.clone());
//! let cancel = CancellationToken::new();
//! let mqtt = telemetry::mqtt::Reporter::new(broker, birth)
//!     .numbers(|| [("frames_out".to_owned(), 1234.into())].into_iter().collect())
//!     .spawn(board.clone(), clock, cancel.clone());
//! telemetry::systemd::ready();
//! // … at the end, after everything else has stopped and said so on the board:
//! cancel.cancel();
//! let _ = mqtt.await;
//! # }
//! ```

pub mod life;
pub mod log;
pub mod mqtt;
pub mod systemd;
pub mod vitals;
