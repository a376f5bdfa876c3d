//! The board's own lights, where it has some: steady when all is well, blinking when somebody should
//! come and look, flickering when the box is looked for. The kernel does the blinking.
//!
//! Only lights that are for this are touched: a Raspberry Pi's ACT, and its PWR while the box is
//! looked for (it is the firmware's own sign of low voltage otherwise).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Light, Picture};
use crate::paths::Paths;

/// What a light does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// All is well.
    Steady,
    /// Somebody should look at the page.
    Blink,
    /// Here I am.
    Flicker,
}

/// What the light shows.
#[must_use]
pub fn pattern(light: Light, identify: bool) -> Pattern {
    match (identify, light) {
        (true, _) => Pattern::Flicker,
        (false, Light::Red) => Pattern::Blink,
        (false, Light::Grey | Light::Green | Light::Amber) => Pattern::Steady,
    }
}

/// What is written to a light's files, in this order.
fn writes(pattern: Pattern) -> &'static [(&'static str, &'static str)] {
    match pattern {
        Pattern::Steady => &[("trigger", "none"), ("brightness", "255")],
        Pattern::Blink => &[("trigger", "timer"), ("delay_on", "500"), ("delay_off", "500")],
        Pattern::Flicker => &[("trigger", "timer"), ("delay_on", "60"), ("delay_off", "90")],
    }
}

/// Shows until cancelled; returns at once on a board without such lights.
pub async fn run(
    paths: &Paths,
    mut picture: watch::Receiver<Arc<Picture>>,
    mut identify: watch::Receiver<bool>,
    cancel: CancellationToken,
) {
    let leds = paths.system("sys/class/leds");
    let find = |names: [&str; 2]| names.map(|it| leds.join(it)).into_iter().find(|it| it.exists());
    let (act, pwr) = (find(["ACT", "led0"]), find(["PWR", "led1"]));
    if act.is_none() && pwr.is_none() {
        return;
    }
    let mut shown = None;
    loop {
        let wanted = *identify.borrow_and_update();
        let now = pattern(picture.borrow_and_update().light, wanted);
        if shown != Some(now) {
            show(act.as_ref(), writes(now));
            let was_looked_for = shown == Some(Pattern::Flicker);
            if now == Pattern::Flicker {
                show(pwr.as_ref(), writes(now));
            } else if was_looked_for {
                show(pwr.as_ref(), &[("trigger", "default-on")]);
            }
            shown = Some(now);
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            Ok(()) = picture.changed() => {}
            Ok(()) = identify.changed() => {}
            else => return,
        }
    }
}

fn show(led: Option<&PathBuf>, writes: &[(&str, &str)]) {
    let Some(led) = led else { return };
    if let Err(error) = write_all(led, writes) {
        tracing::debug!("the light {} cannot be set: {error}", led.display());
    }
}

fn write_all(led: &Path, writes: &[(&str, &str)]) -> io::Result<()> {
    writes.iter().try_for_each(|(file, value)| fs::write(led.join(file), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_for_the_box_comes_first_and_amber_calls_nobody() {
        assert_eq!(pattern(Light::Red, true), Pattern::Flicker);
        assert_eq!(pattern(Light::Red, false), Pattern::Blink);
        for light in [Light::Grey, Light::Green, Light::Amber] {
            assert_eq!(pattern(light, false), Pattern::Steady);
        }
    }

    #[test]
    fn the_kernel_is_told_the_trigger_before_its_times() {
        let dir = tempfile::tempdir().unwrap();
        for pattern in [Pattern::Blink, Pattern::Flicker, Pattern::Steady] {
            assert_eq!(writes(pattern)[0].0, "trigger");
            write_all(dir.path(), writes(pattern)).unwrap();
        }
        assert_eq!(fs::read_to_string(dir.path().join("trigger")).unwrap(), "none");
    }
}
