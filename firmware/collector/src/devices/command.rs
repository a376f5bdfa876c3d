//! `collector devices`: what is seen, what would be chosen, and why.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use protocol::config::site;
use serde::Serialize;

use super::{Choice, Device, DeviceKind, choose, snapshot, watch};

/// Options of `collector devices`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Write JSON
    #[arg(long)]
    json: bool,
    /// Go on and write a JSON line for each change
    #[arg(long)]
    watch: bool,
    /// Choose for this configuration file rather than for `auto`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Listing<'a> {
    devices: &'a [Device],
    choice: &'a Choice,
}

/// Lists devices on stdout.
pub fn run(args: Args) -> ExitCode {
    let result = if args.watch { follow() } else { list(&args) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn list(args: &Args) -> anyhow::Result<()> {
    let (source, audio) = match &args.config {
        Some(path) => {
            let site = site::read(path)?;
            (site.source, site.audio.device)
        }
        None => (automatic(), site::AudioDevice::Auto),
    };
    let devices = snapshot()?;
    let choice = choose(&devices, &source, &audio);
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &Listing { devices: &devices, choice: &choice })?;
        writeln!(out)?;
    } else {
        write_text(&mut out, &devices, &choice)?;
    }
    Ok(())
}

fn automatic() -> site::Source {
    site::Source {
        kind: site::SourceKind::Auto,
        device: None,
        guid: None,
        path: None,
        address: None,
        format: site::MixerFormat::Matroska,
    }
}

fn write_text(out: &mut impl Write, devices: &[Device], choice: &Choice) -> io::Result<()> {
    if devices.is_empty() {
        writeln!(out, "udev shows no capture device.")?;
    }
    for device in devices {
        let kind = match device.kind {
            DeviceKind::Video { .. } => "video   ",
            DeviceKind::Sound { .. } => "sound   ",
            DeviceKind::Firewire { .. } => "firewire",
        };
        writeln!(out, "{kind}  {}", device.label())?;
    }
    writeln!(out)?;
    match &choice.source {
        Some(source) => writeln!(out, "Chosen: {source}, sound {}", choice.audio)?,
        None => writeln!(out, "Chosen: nothing")?,
    }
    writeln!(out, "  because {}", choice.why)?;
    for rejected in &choice.rejected {
        writeln!(out, "Not {}\n  because {}", rejected.device, rejected.why)?;
    }
    Ok(())
}

/// Prints a JSON line for each device there is, then for each change.
fn follow() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (devices, mut changes) = watch()?;
        let mut out = io::stdout();
        let mut line = |value: &serde_json::Value| -> anyhow::Result<()> {
            writeln!(out, "{value}")?;
            out.flush()?;
            Ok(())
        };
        line(&serde_json::json!({ "change": "watching", "devices": devices }))?;
        while let Some(change) = changes.recv().await {
            line(&serde_json::to_value(change)?)?;
        }
        Ok(())
    })
}
