//! The time that it is at least: no clock can rightly show less.

use std::{fs, io, time::Duration};

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_settime};
use watchdog::clock::Clock;

use crate::{image::Image, kept, paths::Paths};

/// A kept time this long after the image was built is damage, or a time server's bad joke.
const CREDIBLE: i64 = 20 * 365 * 24 * 3600;

/// Sets the clock to the floor if it shows less. Early at boot, before the network: certificates
/// are "not yet valid" for a clock that stands at 1970. Returns the time it was set to.
pub fn set_floor(paths: &Paths, clock: &dyn Clock) -> Option<Timestamp> {
    let built = Image::read(paths)?.built;
    let wanted = floor(clock.utc().as_second(), built, kept_time(paths))?;
    let wanted = Timestamp::from_second(wanted).ok()?;
    match set(wanted) {
        Ok(()) => {
            tracing::info!("the clock showed {}; it is at least {wanted}", clock.utc());
            Some(wanted)
        }
        Err(error) => {
            tracing::warn!("the clock cannot be set to {wanted}: {error}");
            None
        }
    }
}

/// What to set a clock to that shows `now`, if anything. Unix seconds.
fn floor(now: i64, built: i64, kept: Option<i64>) -> Option<i64> {
    let credible = kept.filter(|kept| *kept <= built.saturating_add(CREDIBLE));
    let floor = credible.map_or(built, |kept| kept.max(built));
    (now < floor).then_some(floor)
}

fn file(paths: &Paths) -> std::path::PathBuf {
    paths.kept().join("clock")
}

fn kept_time(paths: &Paths) -> Option<i64> {
    let text = fs::read_to_string(file(paths)).ok()?;
    text.trim().parse().ok()
}

/// Keeps the time for the next start. Only where there is a data partition.
///
/// # Errors
/// If the disk does not take it.
pub fn keep(paths: &Paths, now: Timestamp) -> io::Result<()> {
    if now.as_second() <= 0 {
        return Ok(());
    }
    kept::write(&file(paths), now.as_second().to_string().as_bytes(), 0o600)
}

/// Sets the machine's clock.
pub(super) fn set(time: Timestamp) -> io::Result<()> {
    let since = time.duration_since(Timestamp::UNIX_EPOCH);
    let since = Duration::try_from(since).map_err(io::Error::other)?;
    let seconds = i64::try_from(since.as_secs()).map_err(io::Error::other)?;
    let time = Timespec { tv_sec: seconds, tv_nsec: since.subsec_nanos().into() };
    clock_settime(ClockId::Realtime, time).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUILT: i64 = 1_763_000_000;

    #[test]
    fn the_floor_is_the_build_or_the_kept_time() {
        assert_eq!(floor(0, BUILT, None), Some(BUILT));
        assert_eq!(floor(0, BUILT, Some(BUILT + 5)), Some(BUILT + 5));
        assert_eq!(floor(BUILT + 3, BUILT, Some(BUILT + 5)), Some(BUILT + 5));
        assert_eq!(floor(BUILT + 6, BUILT, Some(BUILT + 5)), None, "it goes well");
        assert_eq!(floor(0, BUILT, Some(7)), Some(BUILT), "an older image was there before");
        assert_eq!(floor(0, BUILT, Some(i64::MAX)), Some(BUILT), "damage");
    }

    #[test]
    fn the_time_is_kept_and_damage_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        assert_eq!(kept_time(&paths), None);
        keep(&paths, Timestamp::from_second(BUILT).unwrap()).unwrap();
        assert_eq!(kept_time(&paths), Some(BUILT));
        fs::write(file(&paths), "\0\0").unwrap();
        assert_eq!(kept_time(&paths), None);
    }

    proptest! {
        #[test]
        fn the_clock_is_only_ever_set_forward(now in any::<i64>(), built in 0..BUILT, kept in any::<Option<i64>>()) {
            if let Some(to) = floor(now, built, kept) {
                prop_assert!(to > now && to >= built);
            }
        }
    }
}
