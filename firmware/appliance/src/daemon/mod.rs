//! The box's own daemon: puts the parts together.
//!
//! ```text
//! collector's status.json ─▶ reached ─▶ network guard, health gate
//! MQTT commands, page ─▶ desk ─▶ updates, reset, diagnostics
//! MQTT configuration ─▶ applier ─▶ CONFIG, and back
//! board ─▶ MQTT (box.*)          picture ─▶ page, screen, lights
//! ```
//! None of the parts makes the stream wait, and the stream goes on if this daemon does not. It ends
//! in order: the parts first, then the note that this was a good end, and MQTT last, to tell of it.

mod condition;
mod from_config;
mod reached;

use std::{
    net::{Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use pages::listener;
use protocol::{config::Site, mood::Mood, push::ConfigState};
use telemetry::{
    life::{self, Pulse},
    mqtt, systemd,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use watchdog::{
    board::Board,
    clock::{self, SharedClock},
};

use crate::{
    command::{
        desk::Desk,
        listen::{self, Listener},
    },
    image::{Boot, Image},
    network::{apply::System, guard},
    page,
    paths::Paths,
    programs::Programs,
    push::applier::Applier,
    status::{leds, screen},
    time,
    update::{
        health::{self, Health},
        install::{Installer, site_ca},
    },
};

/// The connection to the broker on the board.
pub(crate) const MQTT: &str = "box.mqtt";
/// The page on the board.
const PAGE: &str = "box.page";
/// How long the parts may take to end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Commands and orders that wait for their turn.
const WAITING: usize = 16;

/// How to run.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The port of the box's page; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value_t = 80)]
    page_port: u16,
}

/// Runs until told to stop.
#[must_use]
pub fn main(args: &RunArgs, paths: &Paths) -> ExitCode {
    telemetry::log::init("backrow-appliance");
    // The provider is the same for every connection; a second call would only say it is set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(run(args, paths)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &RunArgs, paths: &Paths) -> anyhow::Result<()> {
    let clock = clock::system();
    // Provisioning did this too; a box that is not provisioned has a clock all the same.
    time::set_floor(paths, clock.as_ref());
    let site = site(paths);
    let parts = Parts::new(paths, clock, site);
    parts.start(args.page_port);
    systemd::ready();
    systemd::status(&format!("version {}", parts.image.version));
    let mut petting = tokio::spawn(systemd::watchdog(parts.pulse.felt(), parts.telling.clone()));
    let told = parts.tell();

    life::end().await.context("signals cannot be watched")?;
    tracing::info!("stopping");
    systemd::stopping();
    parts.working.cancel();
    parts.tasks.close();
    if tokio::time::timeout(LAST_WORDS, parts.tasks.wait()).await.is_err() {
        tracing::warn!("not every part ended in time");
    }
    health::end(paths, &parts.boot);
    parts.telling.cancel();
    let _ = tokio::time::timeout(LAST_WORDS, &mut petting).await;
    if let Some(told) = told {
        let _ = tokio::time::timeout(LAST_WORDS, told).await;
    }
    Ok(())
}

/// The site this boot runs with; none while the box is not set up.
fn site(paths: &Paths) -> Option<Site> {
    if !paths.site().exists() {
        return None;
    }
    match protocol::config::site::read(&paths.site()) {
        Ok(site) => Some(site),
        Err(error) => {
            tracing::error!("{error}");
            None
        }
    }
}

/// The daemon's parts, and what they share.
struct Parts {
    paths: Paths,
    clock: SharedClock,
    board: Board,
    site: Option<Site>,
    image: Image,
    boot: Boot,
    desk: Desk,
    good: Arc<watch::Sender<bool>>,
    incoming: mpsc::Sender<mqtt::Incoming>,
    answers: std::sync::Mutex<Option<mpsc::Receiver<protocol::command::Ack>>>,
    commands: std::sync::Mutex<Option<(Listener, mpsc::Receiver<mqtt::Incoming>)>>,
    pushed: mpsc::Sender<mqtt::Incoming>,
    pushes: std::sync::Mutex<Option<mpsc::Receiver<mqtt::Incoming>>>,
    config: Arc<watch::Sender<Option<ConfigState>>>,
    pulse: Pulse,
    tasks: TaskTracker,
    working: CancellationToken,
    telling: CancellationToken,
}

impl Parts {
    fn new(paths: &Paths, clock: SharedClock, site: Option<Site>) -> Self {
        let board = Board::new(clock.clone());
        let image = Image::read(paths).unwrap_or_else(|| {
            tracing::warn!("{}: this machine is no box", paths.image().display());
            Image { version: "0".to_owned(), board: "unknown".to_owned(), built: 0 }
        });
        let boot = Boot::read(paths);
        health::begin(paths, &image, &boot, &board, &clock);
        let installer = Installer {
            paths: paths.clone(),
            programs: Programs::default(),
            clock: clock.clone(),
            ca: site.as_ref().and_then(site_ca),
        };
        let desk = Desk::new(installer, board.clone());
        let good = Arc::new(watch::Sender::new(false));
        let (incoming, heard) = mpsc::channel(WAITING);
        let (answer, answers) = mpsc::channel(WAITING);
        let (pushed, pushes) = mpsc::channel(WAITING);
        let listener = Listener {
            desk: desk.clone(),
            clock: clock.clone(),
            boot: boot.id.clone(),
            answers: answer,
            good: good.subscribe(),
        };
        Self {
            paths: paths.clone(),
            clock,
            board,
            site,
            image,
            boot,
            desk,
            good,
            incoming,
            answers: std::sync::Mutex::new(Some(answers)),
            commands: std::sync::Mutex::new(Some((listener, heard))),
            pushed,
            pushes: std::sync::Mutex::new(Some(pushes)),
            config: Arc::new(watch::Sender::new(None)),
            pulse: Pulse::default(),
            tasks: TaskTracker::new(),
            working: CancellationToken::new(),
            telling: CancellationToken::new(),
        }
    }

    /// Tells the broker, if there is one, to the very end.
    fn tell(&self) -> Option<JoinHandle<()>> {
        let site = self.site.as_ref()?;
        let broker = site.mqtt.clone()?;
        let answers = take(&self.answers)?;
        let reporter = mqtt::Reporter::companion(broker, site.device.clone(), MQTT)
            .commands(self.incoming.clone(), answers)
            .configs(self.pushed.clone(), self.config.subscribe());
        Some(reporter.spawn(self.board.clone(), self.clock.clone(), self.telling.clone()))
    }

    fn start(&self, page_port: u16) {
        let stop = || self.working.child_token();
        let (paths, board, clock) = (self.paths.clone(), self.board.clone(), self.clock.clone());
        let has_broker = self.site.as_ref().is_some_and(|site| site.mqtt.is_some());
        let reached = reached::Reached::default();
        let watched = reached::Watched {
            paths: paths.clone(),
            board: board.clone(),
            has_broker,
            pulse: self.pulse.clone(),
        };
        self.tasks.spawn(watched.run(reached.clone(), stop()));
        self.tasks.spawn(condition::run(paths.clone(), board.clone(), stop()));
        let guarded = guard::Guarded {
            system: System::new(paths.clone()),
            clock: clock.clone(),
            board: board.clone(),
        };
        self.tasks.spawn(guard::run(guarded, reached.now.subscribe(), stop()));
        let health = Health {
            paths: paths.clone(),
            programs: self.desk.programs.clone(),
            clock: clock.clone(),
            board: board.clone(),
            image: self.image.clone(),
            boot: self.boot.clone(),
            reached: reached.once.subscribe(),
            good: self.good.clone(),
        };
        self.tasks.spawn(health.run(stop()));
        let servers = self.site.as_ref().map(time::servers).unwrap_or_default();
        let keeper = time::Keeper { paths: paths.clone(), clock, board, servers };
        self.tasks.spawn(keeper.run(stop()));
        // Without a broker nobody would hear the answers of before the restart, such as that of a
        // reset, after which the box has no site: they wait for a start with one.
        if has_broker && let Some((listener, heard)) = take(&self.commands) {
            self.tasks.spawn(listener.run(heard, stop()));
        }
        if let (Some(site), Some(pushes)) = (&self.site, take(&self.pushes)) {
            let applier = Applier {
                system: System::new(self.paths.clone()),
                clock: self.clock.clone(),
                board: self.board.clone(),
                site: site.clone(),
                told: self.config.clone(),
            };
            self.tasks.spawn(applier.run(pushes, stop()));
        }
        self.tasks.spawn(from_config::run(self.desk.clone(), self.good.subscribe(), stop()));
        self.show(paths, page_port);
    }

    /// The page, the screen and the lights.
    fn show(&self, paths: Paths, port: u16) {
        let stop = || self.working.child_token();
        let doing = self.desk.doing.subscribe();
        let (seen, _) = crate::status::spawn(
            paths.clone(),
            self.clock.clone(),
            self.board.clone(),
            doing,
            stop(),
        );
        let (for_screen, for_lights) = (paths.clone(), paths.clone());
        let (picture, identify, cancel) =
            (seen.picture.clone(), self.desk.identify.watch(), stop());
        self.tasks.spawn(async move {
            screen::run(&for_screen, picture, identify, cancel).await;
        });
        let (picture, identify, cancel) =
            (seen.picture.clone(), self.desk.identify.watch(), stop());
        self.tasks.spawn(async move {
            leds::run(&for_lights, picture, identify, cancel).await;
        });
        let (orders, asked) = mpsc::channel(WAITING);
        self.tasks.spawn(listen::page(self.desk.clone(), asked, stop()));
        let app = page::app(paths, seen, orders);
        // Both families: an IPv6 socket takes IPv4 too, unless the kernel is told otherwise.
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        match listener::bind(any, &page::LIMITS) {
            Ok(listener) => {
                self.board.set(PAGE, Mood::Happy, format!("the page is at port {port}"));
                self.tasks.spawn(listener::serve(listener, app, page::LIMITS, stop()));
            }
            Err(error) => {
                let text = format!("the page cannot be shown at port {port}: {error}");
                self.board.set(PAGE, Mood::Sad, text);
            }
        }
    }
}

fn take<T>(from: &std::sync::Mutex<Option<T>>) -> Option<T> {
    from.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}
