//! Updates: what may be installed, and whether the running image may stay.
//!
//! ```text
//! CONFIG · MQTT · page · command line ─▶ install ─▶ restart ─▶ new slot, on its try
//!                                          ▲                        │ health gate
//!                                          │             good ◀─────┴─────▶ given up, restart
//!                                      update.json ◀── boots.json ◀── … the boot loader falls back
//! ```
//! * [`bundle`] says what is refused and why; [`install`] is the one place that installs.
//! * [`gate`] decides whether the image may stay; [`health`] looks around for it.
//! * [`boots`] and [`record`] remember, so that a box that fell back can say why.

pub mod because;
pub mod boots;
pub mod bundle;
pub mod fetch;
pub mod gate;
pub mod health;
pub mod install;
pub mod record;
pub mod tries;
pub mod version;

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use watchdog::clock;

use self::install::{Bundle, Installed, Installer, Wanted, site_ca};
use crate::{paths::Paths, programs::Programs};

/// Which bundle.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file, or an http(s) address
    pub bundle: String,
    /// What the bundle's SHA-256 must be, in hexadecimal
    #[arg(long)]
    pub sha256: Option<String>,
}

/// Installs a bundle and restarts the box, unless it runs here already.
#[must_use]
pub fn main(args: &Args, paths: &Paths) -> ExitCode {
    telemetry::log::init("backrow-update");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")
        .and_then(|runtime| runtime.block_on(update(args, paths)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn update(args: &Args, paths: &Paths) -> anyhow::Result<()> {
    let bundle = Bundle::parse(&args.bundle).map_err(|error| anyhow!(error))?;
    let programs = Programs::default();
    let ca = protocol::config::site::read(&paths.site()).ok().and_then(|site| site_ca(&site));
    let installer =
        Installer { paths: paths.clone(), programs: programs.clone(), clock: clock::system(), ca };
    let asked_by = "command line".to_owned();
    let wanted = Wanted { bundle, sha256: args.sha256.clone(), asked_by };
    let installed = installer.install(&wanted, &|words| tracing::info!("{words}")).await?;
    if let Installed::Already(words) = installed {
        tracing::info!("{words}");
        return Ok(());
    }
    programs
        .reboot()
        .await
        .context("the update is installed, but the box must be restarted by hand")
}
