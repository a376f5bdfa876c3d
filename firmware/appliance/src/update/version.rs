//! Versions, and which is the newer: by numbers, not by letters, so that 1.10 is newer than 1.9.
//!
//! `1.2.3-rc.1+build`: numbers with dots; after `-` what comes before the release; after `+` what
//! does not count. Two versions may differ in text and be the same: `1.2` and `1.2.0+x`.

use std::{cmp::Ordering, fmt, str::FromStr};

/// No version is longer.
const MAX_LEN: usize = 100;

/// A version.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    numbers: Vec<u64>,
    before: Vec<Part>,
}

/// A part of what stands after `-`; numbers come before words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version such as 1.2.3 or 1.3.0-rc1")]
pub struct NotAVersion(String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let text = text.trim();
        let not = || NotAVersion(text.chars().take(MAX_LEN).collect());
        if text.len() > MAX_LEN {
            return Err(not());
        }
        let counted = text.split_once('+').map_or(text, |(counted, _)| counted);
        let (release, before) = match counted.split_once('-') {
            Some((release, before)) => (release, before.split('.').collect()),
            None => (counted, Vec::new()),
        };
        let release = release.strip_prefix('v').unwrap_or(release);
        let mut numbers = release
            .split('.')
            .map(|n| number(n).ok_or_else(not))
            .collect::<Result<Vec<u64>, _>>()?;
        while numbers.last() == Some(&0) {
            numbers.pop();
        }
        let mut parts = Vec::new();
        for part in before {
            if part.is_empty() || !part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return Err(not());
            }
            split_words(part, &mut parts).ok_or_else(not)?;
        }
        Ok(Self { text: text.to_owned(), numbers, before: parts })
    }
}

fn number(digits: &str) -> Option<u64> {
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| good)
}

/// `rc10` is a word and a number, so that it comes after `rc9`.
fn split_words(part: &str, into: &mut Vec<Part>) -> Option<()> {
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, more) = rest.split_at_checked(end)?;
        into.push(if digits { Part::Number(number(run)?) } else { Part::Word(run.to_owned()) });
        rest = more;
    }
    Some(())
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                // The release itself comes after all that was before it.
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => self.before.cmp(&other.before),
            }
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn newer_is_by_numbers_and_a_release_comes_after_its_candidates() {
        let order = [
            "0.1",
            "0.1.1",
            "0.9.9",
            "0.10.0-dev",
            "0.10.0-rc.1",
            "0.10.0-rc9",
            "0.10.0-rc10",
            "v0.10.0",
            "1-1",
            "1-a",
            "1",
            "1.0.1",
            "2026.11.25",
        ];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for same in [("1.2", "1.2.0"), ("1.2.0+abc", "1.2"), ("v3", "3.0.0.0+x-y")] {
            assert_eq!(version(same.0), version(same.1));
        }
        for no in
            ["", "1..2", "1.x", "-1", "1.2-", "1.2-a..b", "1.2-ä", "99999999999999999999", "+1"]
        {
            assert!(no.parse::<Version>().is_err(), "{no:?}");
        }
        assert!("1".repeat(200).parse::<Version>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_version_or_not(text in any::<String>()) {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(&version, &version.to_string().parse::<Version>().unwrap());
            }
        }

        #[test]
        fn the_order_is_an_order(texts in proptest::collection::vec("[0-9]{1,3}(\\.[0-9]{1,2}){0,2}(-(rc|a)?[0-9a-c]{1,2})?", 3)) {
            let [a, b, c] = [0, 1, 2].map(|i| version(&texts[i]));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
