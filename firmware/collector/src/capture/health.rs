//! Is there something to see and to hear? Pure: samples and times in, conditions out.
//!
//! Each condition has hysteresis, so that one dark frame or one cough changes nothing:
//!
//! ```text
//!            seen for `enter`
//!   off ───────────────────────▶ on
//!    ▲                            │
//!    └────────────────────────────┘
//!           not seen for `leave`
//! ```
//!
//! A frozen picture is a remark and no fault: a slide stays for minutes.

use std::time::Duration;

use super::report::Level;

/// Mean luma at or under which a picture may be black (video black is 16).
pub const BLACK_MEAN: f64 = 24.0;
/// Luma from which a sample counts as lit; a black picture has almost none.
pub const LIT: u8 = 48;
/// Mean change of luma per sample under which two pictures are the same.
pub const STILL: f64 = 0.35;
/// Peak, in dB below full scale, under which sound is silent.
pub const SILENT_DB: f64 = -60.0;

/// A condition with hysteresis.
#[derive(Debug, Clone)]
pub struct Hysteresis {
    enter: Duration,
    leave: Duration,
    on: bool,
    /// When what was seen first contradicted `on`.
    contrary: Option<Duration>,
}

impl Hysteresis {
    /// Off; on after being seen for `enter`, off again after not being seen for `leave`.
    pub fn new(enter: Duration, leave: Duration) -> Self {
        Self { enter, leave, on: false, contrary: None }
    }

    /// Takes what is seen at `now`; true when the condition has just changed.
    pub fn see(&mut self, seen: bool, now: Duration) -> bool {
        if seen == self.on {
            self.contrary = None;
            return false;
        }
        let began = *self.contrary.get_or_insert(now);
        let needed = if seen { self.enter } else { self.leave };
        if now.saturating_sub(began) < needed {
            return false;
        }
        self.on = seen;
        self.contrary = None;
        true
    }

    /// Whether it holds.
    pub fn on(&self) -> bool {
        self.on
    }
}

/// Black and frozen, from a grid of luma samples of each looked-at picture.
#[derive(Debug)]
pub struct Picture {
    last: Vec<u8>,
    /// The picture is black.
    pub black: Hysteresis,
    /// The picture does not change.
    pub frozen: Hysteresis,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            last: Vec::new(),
            black: Hysteresis::new(Duration::from_secs(2), Duration::from_millis(500)),
            frozen: Hysteresis::new(Duration::from_secs(10), Duration::from_millis(500)),
        }
    }
}

impl Picture {
    /// Takes the samples of one picture at `now`; true when a condition has changed.
    pub fn see(&mut self, samples: &[u8], now: Duration) -> bool {
        if samples.is_empty() {
            return false;
        }
        let count = samples.len() as f64;
        let mean = samples.iter().map(|&luma| f64::from(luma)).sum::<f64>() / count;
        let lit = samples.iter().filter(|&&luma| luma >= LIT).count();
        let black = mean <= BLACK_MEAN && lit * 200 < samples.len();
        let same_size = self.last.len() == samples.len();
        let change = self.last.iter().zip(samples).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let still = same_size && change.sum::<f64>() / count < STILL;
        self.last.clear();
        self.last.extend_from_slice(samples);
        let changed_black = self.black.see(black, now);
        self.frozen.see(still, now) || changed_black
    }
}

/// Level and silence of sound of two channels.
#[derive(Debug)]
pub struct Sound {
    /// Since the levels were last taken.
    long: Window,
    /// Since the meter last moved; not yet in `long`.
    short: Window,
    /// The sound is silent.
    pub silent: Hysteresis,
}

/// What was heard for a while.
#[derive(Debug, Default)]
struct Window {
    peak: [u16; 2],
    squares: [f64; 2],
    frames: u64,
}

impl Window {
    fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.peak.iter_mut().zip(other.peak) {
            *ours = (*ours).max(theirs);
        }
        for (ours, theirs) in self.squares.iter_mut().zip(other.squares) {
            *ours += theirs;
        }
        self.frames += other.frames;
    }

    fn levels(&self) -> Vec<Level> {
        let frames = self.frames.max(1) as f64;
        let levels = self.peak.iter().zip(&self.squares).map(|(peak, squares)| Level {
            peak_db: decibel(f64::from(*peak) / FULL_SCALE),
            rms_db: decibel((squares / frames).sqrt() / FULL_SCALE),
        });
        levels.collect()
    }
}

impl Default for Sound {
    fn default() -> Self {
        Self {
            long: Window::default(),
            short: Window::default(),
            silent: Hysteresis::new(Duration::from_secs(5), Duration::from_millis(200)),
        }
    }
}

impl Sound {
    /// Takes interleaved samples of left and right at `now`; true when `silent` has changed.
    pub fn see(&mut self, samples: impl Iterator<Item = [i16; 2]>, now: Duration) -> bool {
        let mut loudest = 0;
        let heard = &mut self.short;
        for frame in samples {
            heard.frames += 1;
            for (channel, value) in frame.into_iter().enumerate() {
                if let (Some(peak), Some(squares)) =
                    (heard.peak.get_mut(channel), heard.squares.get_mut(channel))
                {
                    *peak = (*peak).max(value.unsigned_abs());
                    *squares += f64::from(value) * f64::from(value);
                }
                loudest = loudest.max(value.unsigned_abs());
            }
        }
        self.silent.see(decibel(f64::from(loudest) / FULL_SCALE) < SILENT_DB, now)
    }

    /// Levels since the last call.
    pub fn take_levels(&mut self) -> Vec<Level> {
        self.long.add(&std::mem::take(&mut self.short));
        std::mem::take(&mut self.long).levels()
    }

    /// Levels since the last call of this or of [`take_levels`](Self::take_levels), which will have
    /// them too.
    pub fn take_meter(&mut self) -> Vec<Level> {
        let heard = std::mem::take(&mut self.short);
        let levels = heard.levels();
        self.long.add(&heard);
        levels
    }
}

const FULL_SCALE: f64 = 32768.0;

/// Decibel of a share of full scale, to a tenth, not under −100.
fn decibel(share: f64) -> f64 {
    ((20.0 * share.max(1e-5).log10()).clamp(-100.0, 0.0) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_black_picture_is_noticed_after_two_seconds_and_a_lit_one_soon() {
        let mut picture = Picture::default();
        let black = vec![17_u8; 1000];
        for step in 0..10 {
            assert!(!picture.see(&black, ms(step * 200)));
        }
        assert!(picture.see(&black, ms(2000)));
        assert!(picture.black.on());
        let lit: Vec<u8> = (0..1000_u32).map(|n| (n % 200) as u8).collect();
        picture.see(&lit, ms(2200));
        assert!(picture.black.on(), "one lit picture is not enough");
        picture.see(&lit, ms(2700));
        assert!(!picture.black.on());
    }

    #[test]
    fn a_dark_slide_with_a_little_text_is_not_black() {
        let mut picture = Picture::default();
        let mut slide = vec![16_u8; 1000];
        slide.iter_mut().take(10).for_each(|luma| *luma = 235);
        for step in 0..50 {
            picture.see(&slide, ms(step * 200));
        }
        assert!(!picture.black.on());
    }

    #[test]
    fn a_still_picture_freezes_and_camera_noise_does_not() {
        let mut picture = Picture::default();
        let still = vec![90_u8; 1000];
        for step in 0..=51 {
            picture.see(&still, ms(step * 200));
        }
        assert!(picture.frozen.on());
        let mut noisy = Picture::default();
        for step in 0..60_u64 {
            let frame: Vec<u8> =
                (0..1000_u64).map(|n| 90 + ((n * 7 + step * 3) % 4) as u8).collect();
            noisy.see(&frame, ms(step * 200));
        }
        assert!(!noisy.frozen.on());
    }

    #[test]
    fn levels_of_a_sine_and_of_one_dead_channel() {
        let mut sound = Sound::default();
        let tone = (0..48_000).map(|n| {
            let value = (f64::from(n) * 440.0 / 48_000.0 * std::f64::consts::TAU).sin() * 16384.0;
            [value as i16, 0]
        });
        sound.see(tone, ms(0));
        let levels = sound.take_levels();
        assert_eq!(levels.len(), 2);
        assert!((levels[0].peak_db + 6.0).abs() < 0.2, "{levels:?}");
        assert!((levels[0].rms_db + 9.0).abs() < 0.2, "{levels:?}");
        assert_eq!(levels[1], Level { peak_db: -100.0, rms_db: -100.0 });
        assert!(!sound.silent.on());
    }

    #[test]
    fn the_meter_takes_nothing_from_the_second() {
        let mut sound = Sound::default();
        sound.see(std::iter::repeat_n([16384, 0], 480), ms(0));
        assert!((sound.take_meter()[0].peak_db + 6.0).abs() < 0.1);
        sound.see(std::iter::repeat_n([0, 3277], 480), ms(10));
        let meter = sound.take_meter();
        assert_eq!(meter[0].peak_db, -100.0);
        assert!((meter[1].peak_db + 20.0).abs() < 0.1, "{meter:?}");
        let second = sound.take_levels();
        assert!((second[0].peak_db + 6.0).abs() < 0.1, "{second:?}");
        assert!((second[0].rms_db + 9.0).abs() < 0.1, "{second:?}");
        assert_eq!(sound.take_levels()[0].peak_db, -100.0);
    }

    #[test]
    fn silence_is_noticed_after_five_seconds_and_a_word_ends_it() {
        let mut sound = Sound::default();
        for step in 0..=50 {
            sound.see(std::iter::repeat_n([3, -3], 480), ms(step * 100));
        }
        assert!(sound.silent.on());
        sound.see(std::iter::repeat_n([4000, 0], 480), ms(5100));
        sound.see(std::iter::repeat_n([4000, 0], 480), ms(5300));
        assert!(!sound.silent.on());
    }

    proptest! {
        #[test]
        fn the_condition_never_changes_before_its_time(
            seen in prop::collection::vec(any::<bool>(), 1..200),
            enter in 1_u64..2000, leave in 1_u64..2000,
        ) {
            let mut condition = Hysteresis::new(ms(enter), ms(leave));
            let mut run = 0_u64;
            let mut last = None;
            for (step, seen) in seen.into_iter().enumerate() {
                run = if last == Some(seen) { run + 100 } else { 0 };
                last = Some(seen);
                let was = condition.on();
                if condition.see(seen, ms(step as u64 * 100)) {
                    prop_assert_ne!(was, condition.on());
                    let needed = if seen { enter } else { leave };
                    prop_assert!(run >= needed);
                }
            }
        }

        #[test]
        fn levels_stay_in_range(samples in prop::collection::vec(any::<[i16; 2]>(), 0..500)) {
            let mut sound = Sound::default();
            sound.see(samples.into_iter(), ms(0));
            for level in sound.take_levels() {
                prop_assert!((-100.0..=0.0).contains(&level.peak_db));
                prop_assert!((-100.0..=0.0).contains(&level.rms_db));
                prop_assert!(level.rms_db <= level.peak_db + 0.1);
            }
        }
    }
}
