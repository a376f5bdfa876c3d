//! Finds the facts: small files of the kernel's, of the collector's and of our own. Nothing here
//! waits for anything but memory, except the data partition's size.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use protocol::status::{CollectorStatus, FILE, PREVIEW};
use serde::de::DeserializeOwned;
use watchdog::clock::SharedClock;

use super::facts::{Clock, Facts, Software};
use super::{network, power, storage};
use crate::image::{Boot, Image};
use crate::page;
use crate::paths::Paths;
use crate::provision::outcome::Outcome;
use crate::update::install::slot_is_good;
use crate::update::record::{Outcome as UpdateOutcome, Update};

/// A status that has not been renewed for this long is nobody's.
const STALE: Duration = Duration::from_secs(5);
/// A picture older than this is none of now.
const PREVIEW_STALE: i64 = 30;
/// How far back the loudest peak is looked for.
const LOUDEST_OVER: Duration = Duration::from_secs(30);
/// The largest file that is read.
const MAX_FILE: u64 = 256 * 1024;

/// Gathers facts, time and again; it remembers what only time tells.
#[derive(Debug)]
pub struct Gatherer {
    paths: Paths,
    clock: SharedClock,
    status: Option<CollectorStatus>,
    /// The status file's time, and when it last changed by a clock that does not jump.
    renewed: Option<(SystemTime, Duration)>,
    /// Peaks and when they were, oldest first.
    peaks: VecDeque<(Duration, f64)>,
}

impl Gatherer {
    /// A gatherer of what is below `paths`.
    #[must_use]
    pub fn new(paths: Paths, clock: SharedClock) -> Self {
        Self { paths, clock, status: None, renewed: None, peaks: VecDeque::new() }
    }

    /// What the collector says now; None when it has said nothing for a while. Cheap when the file is
    /// as it was.
    pub fn collector(&mut self) -> Option<&CollectorStatus> {
        let now = self.clock.monotonic();
        let file = self.paths.collector().join(FILE);
        let modified = fs::metadata(&file).and_then(|it| it.modified()).ok();
        if let Some(modified) = modified
            && self.renewed.is_none_or(|(last, _)| last != modified)
        {
            self.renewed = Some((modified, now));
            self.status = json(&file);
            let peak = self.status.iter().flat_map(|it| it.levels_db.iter().copied());
            if let Some(peak) = peak.reduce(f64::max) {
                self.peaks.push_back((now, peak));
            }
        }
        while self.peaks.front().is_some_and(|(at, _)| now.saturating_sub(*at) > LOUDEST_OVER) {
            self.peaks.pop_front();
        }
        let fresh = modified.is_some()
            && self.renewed.is_some_and(|(_, at)| now.saturating_sub(at) <= STALE);
        if !fresh {
            self.status = None;
            self.peaks.clear();
        }
        self.status.as_ref()
    }

    /// All facts, now.
    pub fn facts(&mut self) -> Facts {
        let collector = self.collector().cloned();
        let now = self.clock.utc();
        let paths = &self.paths;
        Facts {
            now,
            uptime: uptime(paths),
            hostname: text(&paths.system("proc/sys/kernel/hostname")),
            image: Image::read(paths).unwrap_or_else(|| Image {
                version: String::new(),
                board: String::new(),
                built: 0,
            }),
            has_site: paths.site().exists(),
            preview: preview(paths, now).filter(|_| collector.is_some()),
            loudest_db: self.peaks.iter().map(|(_, peak)| *peak).reduce(f64::max),
            collector,
            power: power::read(paths),
            network: network::read(paths),
            clock: clock(paths),
            disk: storage::read(paths),
            software: software(paths),
            outcome: Outcome::read(paths),
            has_token: !page::token(paths).is_empty(),
        }
    }
}

fn uptime(paths: &Paths) -> Duration {
    let seconds = text(&paths.system("proc/uptime"));
    let seconds = seconds.split_whitespace().next().and_then(|it| it.parse::<f64>().ok());
    seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()).unwrap_or_default()
}

fn preview(paths: &Paths, now: Timestamp) -> Option<Timestamp> {
    let modified = fs::metadata(paths.collector().join(PREVIEW)).ok()?.modified().ok()?;
    let at = Timestamp::try_from(modified).ok()?;
    (now.as_second().saturating_sub(at.as_second()).abs() <= PREVIEW_STALE).then_some(at)
}

/// systemd-timesyncd leaves a file when a server has answered.
fn clock(paths: &Paths) -> Clock {
    let synchronised = paths.system("run/systemd/timesync/synchronized").exists();
    Clock { synchronised, trouble: String::new() }
}

fn software(paths: &Paths) -> Software {
    let boot = Boot::read(paths);
    let last = Update::last(paths).filter(|it| it.state == UpdateOutcome::RolledBack);
    let trouble = last.map(|it| {
        let reason = it.reason.trim().trim_end_matches('.').to_owned();
        match reason.as_str() {
            "" => format!("The update to {} did not work; {} runs again.", it.to, it.from),
            _ => format!("The update to {} did not work: {reason}.", it.to),
        }
    });
    Software {
        slot: boot.slot.map(|slot| slot.to_string()),
        // The boot loader counts every start, until the box says that it is well.
        attempt: if slot_is_good(paths, &boot) { 0 } else { boot.attempt },
        doing: String::new(),
        trouble: trouble.unwrap_or_default(),
        distress: boot.distress().unwrap_or_default(),
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// A file of JSON; None when it is not there, too large, or nonsense.
fn json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let small = fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() <= MAX_FILE);
    let text = small.then(|| fs::read(path).ok())??;
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::debug!("{} cannot be read: {error}", path.display()))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use watchdog::clock::FakeClock;

    use super::*;

    fn put(paths: &Paths, path: &str, content: &str) {
        let path = paths.system(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn status(level: &str) -> String {
        format!(
            r#"{{"v":1,"at":"2026-02-03T04:05:06Z","room":"hall","device":"box","levels_db":[{level}]}}"#
        )
    }

    const STATUS: &str = "run/backrow-collector/status.json";

    #[test]
    fn a_status_counts_while_it_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let clock = Arc::new(FakeClock::at("2026-02-03T04:05:06Z".parse().unwrap()));
        let mut gatherer = Gatherer::new(paths.clone(), clock.clone());
        assert!(gatherer.facts().collector.is_none());
        put(&paths, STATUS, &status("-20,-9.5"));
        assert_eq!(gatherer.collector().unwrap().room.as_str(), "hall");
        assert_eq!(gatherer.facts().loudest_db, Some(-9.5));
        clock.advance(Duration::from_secs(4));
        // However far the time of day jumps.
        clock.set_utc("2030-01-01T00:00:00Z".parse().unwrap());
        assert!(gatherer.collector().is_some());
        clock.advance(Duration::from_secs(4));
        assert!(gatherer.collector().is_none());
        assert_eq!(gatherer.facts().loudest_db, None);
        put(&paths, STATUS, &status("-50"));
        assert_eq!(gatherer.facts().loudest_db, Some(-50.0));
        fs::remove_file(paths.system(STATUS)).unwrap();
        assert!(gatherer.facts().collector.is_none());
    }

    #[test]
    fn nonsense_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let clock = Arc::new(FakeClock::at("2026-02-03T04:05:06Z".parse().unwrap()));
        let mut gatherer = Gatherer::new(paths.clone(), clock);
        put(&paths, STATUS, "{\"v\":");
        put(&paths, "run/backrow/outcome.json", "[]");
        put(&paths, "proc/uptime", "-nan x");
        let facts = gatherer.facts();
        assert!(facts.collector.is_none() && facts.outcome.is_none());
        assert_eq!(facts.uptime, Duration::ZERO);
    }

    #[test]
    fn the_box_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let clock = Arc::new(FakeClock::at(Timestamp::UNIX_EPOCH));
        put(&paths, "proc/uptime", "75.5 10.0\n");
        put(&paths, "proc/sys/kernel/hostname", "hall-1\n");
        put(
            &paths,
            "usr/lib/backrow/image",
            "BACKROW_VERSION=1.2.0\nBACKROW_BOARD=rpi4\nBACKROW_BUILT=1790000000\n",
        );
        put(&paths, "proc/cmdline", "quiet rauc.slot=B backrow.try=2\n");
        put(
            &paths,
            "run/backrow/outcome.json",
            r#"{"v":1,"ok":true,"problems":[],"source":"config","network":"new"}"#,
        );
        put(&paths, "run/systemd/timesync/synchronized", "");
        put(&paths, "data/backrow/token", "x");
        let mut gatherer = Gatherer::new(paths.clone(), clock);
        let facts = gatherer.facts();
        assert_eq!((facts.hostname.as_str(), facts.uptime.as_secs()), ("hall-1", 75));
        assert_eq!((facts.image.version.as_str(), facts.image.built), ("1.2.0", 1_790_000_000));
        assert_eq!((facts.software.slot.as_deref(), facts.software.attempt), (Some("B"), 2));
        assert!(facts.clock.synchronised && facts.has_token && facts.outcome.unwrap().ok);
        put(&paths, "run/backrow/slot-good", "");
        assert_eq!(gatherer.facts().software.attempt, 0);
    }
}
