//! `backrow status`.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::anyhow;
use clap::Args;
use protocol::{mood::Mood, names::DeviceName};
use watchdog::clock::{self, SharedClock};

use super::{
    commands::{InEvent, hear, listen, load, run},
    heard::Heard,
    status::{Row, rows, table},
};
use crate::push::outcome::exit;

/// How long machines may take to tell their numbers, which they do every 5 s.
const NUMBERS: Duration = Duration::from_secs(7);
/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// What `status` takes.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only these machines, or all of these rooms or kinds
    names: Vec<String>,
    #[command(flatten)]
    event: InEvent,
    /// As JSON, one document
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Go on: on a terminal the table anew each second, else what changes
    #[arg(long)]
    watch: bool,
}

impl StatusArgs {
    /// Carries it out.
    ///
    /// # Errors
    /// The event is wrong, or the broker is not reached.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let event = load(&self.event)?;
        let names = event.meant(&self.names).map_err(|why| anyhow!(why))?;
        let wanted = |name: &DeviceName| self.names.is_empty() || names.contains(name);
        let clock = clock::system();
        run(async {
            let watch = listen(&event, &clock).await?;
            let told = |heard: &Heard| {
                event.machines.keys().filter(|name| wanted(name)).all(|name| {
                    heard.machine(name).is_some_and(|it| it.health.is_some() || !it.is_there())
                })
            };
            hear(&watch, &clock, NUMBERS, told).await;
            let look = || watch.look(|heard| rows(&event, heard, wanted));
            if self.watch {
                return follow(look, || watch.trouble(), &clock).await;
            }
            let rows = look();
            let text = if self.json {
                format!("{}\n", serde_json::json!({ "v": 1, "at": clock.utc(), "machines": rows }))
            } else {
                table(&rows, clock.utc())
            };
            io::stdout().lock().write_all(text.as_bytes())?;
            let well = rows.iter().all(Row::is_well);
            Ok(ExitCode::from(if well { exit::GOOD } else { exit::UNWELL }))
        })
    }
}

/// Until the user ends it.
async fn follow(
    look: impl Fn() -> Vec<Row>,
    trouble: impl Fn() -> Option<String>,
    clock: &SharedClock,
) -> anyhow::Result<ExitCode> {
    let mut away = None;
    let mut before: BTreeMap<String, (Option<Mood>, String)> = BTreeMap::new();
    let terminal = io::stdout().is_terminal();
    loop {
        let (rows, now) = (look(), clock.utc());
        let mut out = String::new();
        // Without the broker, what was heard last is no longer news.
        let now_away = trouble().map(|why| format!("the broker: {why}; what follows is old"));
        if terminal {
            // From the top, over what was there (ECMA-48: CUP, ED).
            let head = now_away.as_deref().map(|why| format!("{why}\n")).unwrap_or_default();
            out = format!("\x1b[H\x1b[J{head}{}", table(&rows, now));
        } else {
            if now_away != away {
                out = format!("{now:.0} {}\n", now_away.as_deref().unwrap_or("the broker is back"));
                away = now_away;
            }
            for row in rows {
                let is = (row.mood, row.why);
                if before.get(&row.machine) != Some(&is) {
                    let mood = is.0.map_or("unknown", |it| it.as_str());
                    out.push_str(&format!("{now:.0} {}: {mood} {}\n", row.machine, is.1));
                    before.insert(row.machine, is);
                }
            }
        }
        io::stdout().lock().write_all(out.as_bytes())?;
        io::stdout().lock().flush()?;
        tokio::time::sleep(WATCH).await;
    }
}
