//! Keeps the right capture worker running: the source the configuration names, or the device
//! that `auto` finds, through plug, unplug and replug.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::config::Site;
use protocol::mood::Mood;
use protocol::payload::EventKind;
use protocol::status::Source;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use watchdog::board::Board;
use watchdog::clock::SharedClock;
use watchdog::policy::Limits;
use watchdog::runner::{WorkerSpec, supervise};

use super::follow::Follow;
use super::senses::Senses;
use super::splice::Origin;
use super::worker::{self, Incoming};
use crate::capture::CaptureArgs;
use crate::capture::report::{Health, Line};
use crate::devices;

/// The component's name on the board and in MQTT.
pub const COMPONENT: &str = "capture";
/// The component's name of the stand-in picture.
pub const SLATE: &str = "slate";

/// What the workers need and give.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The configuration.
    pub site: Arc<Site>,
    /// This very program, which is also the worker.
    pub program: PathBuf,
    /// Moods and events.
    pub board: Board,
    /// The time.
    pub clock: SharedClock,
    /// Where tags go.
    pub tags: mpsc::Sender<Incoming>,
    /// The newest health of picture and sound.
    pub health: watch::Sender<Option<Health>>,
    /// The newest preview image, JPEG.
    pub preview: watch::Sender<Option<Bytes>>,
    /// What is captured, while it is.
    pub source: watch::Sender<Option<Source>>,
    /// How loud it is right now, if somebody near the box may be watching.
    pub levels: Option<watch::Sender<Vec<f64>>>,
}

impl Capture {
    /// Runs the capture worker for whatever source there is, until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        let mut devices = Follow::start();
        loop {
            let choice = self.choose(&devices);
            let Some(args) = CaptureArgs::for_site(&self.site, &choice) else {
                self.board.set(COMPONENT, Mood::Hungry, choice.why);
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = devices.changed() => continue,
                }
            };
            self.board.event(EventKind::Came, COMPONENT, choice.why);
            let stop = cancel.child_token();
            let worker = self.worker(args.clone(), stop.clone());
            tokio::pin!(worker);
            let why = loop {
                tokio::select! {
                    () = &mut worker => return,
                    () = devices.changed() => {
                        let now = self.choose(&devices);
                        if CaptureArgs::for_site(&self.site, &now).as_ref() != Some(&args) {
                            break now.why;
                        }
                    }
                }
            };
            self.board.event(EventKind::Went, COMPONENT, why);
            stop.cancel();
            worker.await;
        }
    }

    fn choose(&self, devices: &Follow) -> devices::Choice {
        devices::choose(devices.now(), &self.site.source, &self.site.audio.device)
    }

    /// Runs the slate whenever it is wanted, until cancelled.
    pub async fn run_slate(self, mut wanted: watch::Receiver<bool>, cancel: CancellationToken) {
        loop {
            let stop = cancel.child_token();
            tokio::select! {
                () = cancel.cancelled() => return,
                asked = wanted.wait_for(|wanted| *wanted) => if asked.is_err() { return },
            }
            let fault = self.board.get(COMPONENT).map_or_else(String::new, |status| status.reason);
            self.board.event(EventKind::Notice, SLATE, format!("the slate is shown: {fault}"));
            let args = CaptureArgs::slate(&self.site, &fault);
            let spec = self.spec(SLATE, &args);
            let tags = self.tags.clone();
            let worker = supervise(
                spec,
                self.board.clone(),
                self.clock.clone(),
                stop.clone(),
                move |io, progress| {
                    let tags = tags.clone();
                    async move { worker::read(Origin::Slate, io, progress, tags, |_| {}).await }
                },
            );
            tokio::pin!(worker);
            tokio::select! {
                () = &mut worker => return,
                _ = wanted.wait_for(|wanted| !*wanted) => {}
            }
            stop.cancel();
            worker.await;
            self.board.remove(SLATE);
        }
    }

    async fn worker(&self, args: CaptureArgs, stop: CancellationToken) {
        let args = CaptureArgs { watched: self.levels.is_some(), ..args };
        let spec = self.spec(COMPONENT, &args);
        let this = self.clone();
        supervise(spec, self.board.clone(), self.clock.clone(), stop, move |io, progress| {
            let this = this.clone();
            async move {
                let senses = Senses::new(this.board.clone(), this.clock.clone());
                let tags = this.tags.clone();
                worker::read(Origin::Capture, io, progress, tags, |line| this.told(&senses, line))
                    .await;
                senses.forget();
                this.health.send_replace(None);
                this.source.send_replace(None);
                if let Some(levels) = &this.levels {
                    levels.send_replace(Vec::new());
                }
            }
        })
        .await;
    }

    fn told(&self, senses: &Senses, line: Line) {
        match line {
            Line::Health(health) => {
                senses.take(&health);
                self.health.send_replace(Some(health));
            }
            Line::Preview { jpeg } => {
                if let Some(jpeg) = crate::capture::report::jpeg_bytes(&jpeg) {
                    self.preview.send_replace(Some(jpeg.into()));
                }
            }
            Line::Levels { audio } => {
                if let Some(levels) = &self.levels {
                    levels.send_replace(audio.iter().map(|level| level.peak_db).collect());
                }
            }
            Line::Ready { source, .. } => {
                self.source.send_replace(Some(Source { description: source }));
            }
            Line::Log { message } => tracing::info!("capture: {message}"),
            Line::Error { .. } => {}
        }
    }

    fn spec(&self, component: &str, args: &CaptureArgs) -> WorkerSpec {
        // A worker's first frame can take long on a slow device, or on a slow box that makes the
        // slate meanwhile; between frames nothing should.
        let limits = Limits {
            start: Duration::from_secs(30),
            stall: Duration::from_secs(4),
            ..Limits::default()
        };
        WorkerSpec::new(component, &self.program).args(args.to_command_line()).limits(limits)
    }
}
