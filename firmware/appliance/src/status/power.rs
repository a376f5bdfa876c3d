//! Power and heat, as the kernel shows them.

use std::fs;
use std::path::Path;

use super::facts::Power;
use crate::paths::Paths;

/// The firmware's own word on a Raspberry Pi.
const THROTTLED: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";

pub(super) fn read(paths: &Paths) -> Power {
    let mut power = match text(&paths.system(THROTTLED)).as_deref().and_then(flags) {
        Some(power) => power,
        None => Power { low_now: voltage_alarm(paths), ..Power::default() },
    };
    (power.mains, power.battery) = supplies(&paths.system("sys/class/power_supply"));
    power.temperature = hottest(&paths.system("sys/class/thermal"));
    power
}

/// The bits of `get_throttled`: what is so now, and 16 bits higher what was so since the start.
fn flags(hex: &str) -> Option<Power> {
    let hex = hex.trim();
    let bits = u32::from_str_radix(hex.strip_prefix("0x").unwrap_or(hex), 16).ok()?;
    let has = |bit: u32| bits & (1 << bit) != 0;
    Some(Power {
        low_now: has(0),
        low_before: has(16),
        // Frequency capped, throttled, or at the soft limit of temperature.
        throttled: has(1) || has(2) || has(3),
        ..Power::default()
    })
}

/// The same from the `rpi_volt` driver, where the firmware's file is not there.
fn voltage_alarm(paths: &Paths) -> bool {
    children(&paths.system("sys/class/hwmon")).any(|monitor| {
        text(&monitor.join("name")).is_some_and(|name| name.trim() == "rpi_volt")
            && text(&monitor.join("in0_lcrit_alarm")).is_some_and(|alarm| alarm.trim() == "1")
    })
}

/// Mains and battery of a machine that has a battery; a mouse's does not count.
fn supplies(dir: &Path) -> (Option<bool>, Option<u8>) {
    let (mut mains, mut battery) = (None, None);
    for supply in children(dir) {
        let says = |name: &str| text(&supply.join(name)).unwrap_or_default().trim().to_owned();
        match says("type").as_str() {
            "Mains" => mains = Some(mains.unwrap_or(false) || says("online") == "1"),
            "Battery" if says("scope") != "Device" => battery = says("capacity").parse().ok(),
            _ => {}
        }
    }
    // A mains adapter that says "no" on a machine without battery cannot be right.
    if battery.is_some() { (mains, battery) } else { (None, None) }
}

fn hottest(zones: &Path) -> Option<f64> {
    let zones = children(zones).filter_map(|zone| text(&zone.join("temp")));
    let hottest = zones.filter_map(|temp| temp.trim().parse::<i32>().ok()).max()?;
    // Some firmware gives nonsense where there is no sensor.
    (1000..150_000).contains(&hottest).then(|| f64::from(hottest) / 1000.0)
}

fn children(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(paths: &Paths, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = paths.system(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn a_pi_says_what_is_and_what_was() {
        let weak = flags("50005\n").unwrap();
        assert!(weak.low_now && weak.low_before && weak.throttled);
        let was = flags("0x50000").unwrap();
        assert!(!was.low_now && was.low_before && !was.throttled);
        assert_eq!(flags("0"), Some(Power::default()));
        assert_eq!(flags("?"), None);
    }

    #[test]
    fn a_machine_without_sensors_is_not_ill() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&Paths::under(dir.path())), Power::default());
    }

    #[test]
    fn a_laptop_on_its_battery_and_a_warm_zone() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        put(
            &paths,
            &[
                ("sys/class/power_supply/AC/type", "Mains\n"),
                ("sys/class/power_supply/AC/online", "0\n"),
                ("sys/class/thermal/thermal_zone0/temp", "45000\n"),
                ("sys/class/thermal/thermal_zone1/temp", "81500\n"),
            ],
        );
        assert_eq!(read(&paths).mains, None, "it runs, so there is power");
        put(
            &paths,
            &[
                ("sys/class/power_supply/BAT0/type", "Battery\n"),
                ("sys/class/power_supply/BAT0/capacity", "63\n"),
                ("sys/class/power_supply/mouse/type", "Battery\n"),
                ("sys/class/power_supply/mouse/scope", "Device\n"),
                ("sys/class/power_supply/mouse/capacity", "5\n"),
            ],
        );
        let power = read(&paths);
        assert_eq!(
            (power.mains, power.battery, power.temperature),
            (Some(false), Some(63), Some(81.5))
        );
    }

    #[test]
    fn the_voltage_driver_counts_where_there_is_no_firmware_file() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        put(
            &paths,
            &[
                ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
            ],
        );
        assert!(read(&paths).low_now);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            let _ = flags(&text);
        }
    }
}
