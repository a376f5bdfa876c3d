//! What every Linux machine can say of itself. What one cannot is `None`.

use std::{fs, path::Path};

/// A machine's and this program's vital signs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Vitals {
    /// Load average over one minute.
    pub load: Option<f64>,
    /// Resident memory of this program, bytes.
    pub memory_bytes: Option<u64>,
    /// The hottest thermal zone, degrees Celsius.
    pub temperature_c: Option<f64>,
}

impl Vitals {
    /// Reads them now: a few small files of the kernel's.
    #[must_use]
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            load: load(&text("/proc/loadavg")),
            memory_bytes: memory(&text("/proc/self/status")),
            temperature_c: hottest(Path::new("/sys/class/thermal")),
        }
    }
}

fn load(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn hottest(zones: &Path) -> Option<f64> {
    let zones = fs::read_dir(zones).ok()?.flatten();
    zones
        .filter_map(|zone| fs::read_to_string(zone.path().join("temp")).ok())
        .filter_map(|millidegrees| millidegrees.trim().parse::<i32>().ok())
        .max()
        .map(|millidegrees| f64::from(millidegrees) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(load("0.75 0.60 0.50 1/234 5678\n"), Some(0.75));
        assert_eq!(memory("Name:\tx\nVmRSS:\t    2048 kB\nVmData:\t1 kB\n"), Some(2048 * 1024));
        assert_eq!((load(""), memory("VmRSS: many")), (None, None));
        let here = Vitals::read();
        assert!(here.load.is_some() && here.memory_bytes.is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn the_hottest_zone_counts() {
        let dir = tempfile::tempdir().unwrap();
        for (zone, temp) in [("thermal_zone0", "41000\n"), ("thermal_zone1", "55500\n"), ("x", "?")]
        {
            fs::create_dir(dir.path().join(zone)).unwrap();
            fs::write(dir.path().join(zone).join("temp"), temp).unwrap();
        }
        assert_eq!(hottest(dir.path()), Some(55.5));
        assert_eq!(hottest(&dir.path().join("none")), None);
    }
}
