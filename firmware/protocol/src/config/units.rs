//! Sizes, bit rates and durations as people write them: `64MiB`, `1500k`, `2s`.

use std::{fmt, str::FromStr, time::Duration};

/// Why a text is not a number with a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No number at the beginning.
    #[error("it does not begin with a number")]
    NoNumber,
    /// The unit is missing.
    #[error("the unit is missing: one of {0}")]
    NoUnit(&'static str),
    /// Not one of the units.
    #[error("{found:?} is not a unit: use one of {known}")]
    BadUnit {
        /// The unit given.
        found: String,
        /// The units there are.
        known: &'static str,
    },
    /// More than fits.
    #[error("it is too large")]
    TooLarge,
}

/// `(unit, its size)` pairs; the number may have one decimal point.
fn parse(
    text: &str,
    units: &[(&str, u64)],
    known: &'static str,
    bare: Option<u64>,
) -> Result<u64, UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(UnitError::NoNumber);
    }
    let unit = unit.trim();
    let scale = if unit.is_empty() {
        bare.ok_or(UnitError::NoUnit(known))?
    } else {
        units
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, scale)| *scale)
            .ok_or_else(|| UnitError::BadUnit { found: unit.chars().take(16).collect(), known })?
    };
    let whole: u64 = whole.parse().map_err(|_| UnitError::TooLarge)?;
    // More than nine decimals are finer than any unit here.
    let fraction: String = fraction.chars().take(9).collect();
    let divisor = 10u64.pow(u32::try_from(fraction.len()).unwrap_or(9));
    let part = u128::from(fraction.parse::<u64>().map_err(|_| UnitError::TooLarge)?)
        * u128::from(scale)
        / u128::from(divisor);
    let part = u64::try_from(part).map_err(|_| UnitError::TooLarge)?;
    whole.checked_mul(scale).and_then(|w| w.checked_add(part)).ok_or(UnitError::TooLarge)
}

/// A number of bytes: `64MiB`, `1GiB`, `500kB`, or plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, SIZES, "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB", Some(1)).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let best = SIZES
            .iter()
            .filter(|(_, s)| self.0 >= *s && self.0.is_multiple_of(*s))
            .max_by_key(|(_, s)| s);
        match best {
            Some((unit, scale)) if *scale > 1 => write!(f, "{}{unit}", self.0 / scale),
            _ => write!(f, "{}B", self.0),
        }
    }
}

/// Bits per second: `1500k`, `1.5M`, or plain bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(pub u32);

const RATES: &[(&str, u64)] = &[
    ("k", 1000),
    ("M", 1_000_000),
    ("kbit", 1000),
    ("Mbit", 1_000_000),
    ("kbit/s", 1000),
    ("Mbit/s", 1_000_000),
    ("bit/s", 1),
];

impl FromStr for BitRate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bits = parse(text, RATES, "k, M, kbit/s, Mbit/s, bit/s", Some(1))?;
        u32::try_from(bits).map(Self).map_err(|_| UnitError::TooLarge)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1000 && self.0.is_multiple_of(1000) {
            write!(f, "{}k", self.0 / 1000)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// A length of time: `2s`, `500ms`, `1.5s`, `10m`, `1h`. Always with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const SPANS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, SPANS, "ms, s, m, h, d", None).map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms.is_multiple_of(1000) { write!(f, "{}s", ms / 1000) } else { write!(f, "{ms}ms") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        let size = |t: &str| t.parse::<ByteSize>().map(|s| s.0);
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("500kb"), Ok(500_000));
        assert_eq!(size("17"), Ok(17));
        let rate = |t: &str| t.parse::<BitRate>().map(|s| s.0);
        assert_eq!(rate("1500k"), Ok(1_500_000));
        assert_eq!(rate("1.5M"), Ok(1_500_000));
        assert_eq!(rate("96000"), Ok(96_000));
        let span = |t: &str| t.parse::<Span>().map(|s| s.0.as_millis());
        assert_eq!(span("2s"), Ok(2000));
        assert_eq!(span("0.25s"), Ok(250));
        assert_eq!(span("1h"), Ok(3_600_000));
    }

    #[test]
    fn says_what_is_wrong() {
        let why = |e: UnitError| e.to_string();
        assert_eq!(why("".parse::<Span>().unwrap_err()), "it does not begin with a number");
        assert_eq!(
            why("2".parse::<Span>().unwrap_err()),
            "the unit is missing: one of ms, s, m, h, d"
        );
        assert_eq!(
            why("5x".parse::<BitRate>().unwrap_err()),
            "\"x\" is not a unit: use one of k, M, kbit/s, Mbit/s, bit/s"
        );
        assert_eq!(
            why("1.2.3k".parse::<BitRate>().unwrap_err()),
            "it does not begin with a number"
        );
        assert_eq!(why("99999M".parse::<BitRate>().unwrap_err()), "it is too large");
        assert_eq!(why("99999999TB".parse::<ByteSize>().unwrap_err()), "it is too large");
        assert_eq!(why("-2s".parse::<Span>().unwrap_err()), "it does not begin with a number");
    }

    proptest! {
        #[test]
        fn shown_values_read_back(bytes in any::<u64>(), bits in any::<u32>(), ms in 0..u64::MAX / 2000) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
            prop_assert_eq!(BitRate(bits).to_string().parse(), Ok(BitRate(bits)));
            let span = Span(Duration::from_millis(ms));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[0-9.]{0,40}[a-zA-Z/]{0,8}") {
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<BitRate>();
            let _ = text.parse::<Span>();
        }
    }
}
