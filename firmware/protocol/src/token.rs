//! The secret a room's collector shows to the encoder.

use std::{fmt, str::FromStr};

use subtle::ConstantTimeEq;

/// Fewest characters in a token.
pub const MIN_LEN: usize = 8;
/// Most characters in a token.
pub const MAX_LEN: usize = 128;

/// A room's token. Printing it for debugging shows nothing of it; comparing it takes the same time
/// whatever is offered, so that an answer's delay tells nothing of it either.
#[derive(Clone)]
pub struct Token(String);

/// Why a text cannot be a token. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing was given.
    #[error("the token is empty")]
    Empty,
    /// Easily guessed.
    #[error("the token is too short: it has {0} of at least {MIN_LEN} characters")]
    TooShort(usize),
    /// More than [`MAX_LEN`].
    #[error("the token is too long: it has {0} of at most {MAX_LEN} characters")]
    TooLong(usize),
    /// It could not be sent in an HTTP header.
    #[error("the token has a space or a character outside ASCII")]
    BadCharacter,
}

impl Token {
    /// Whether what somebody offered is this token.
    #[must_use]
    pub fn matches(&self, offered: &str) -> bool {
        let same = padded(&self.0).ct_eq(&padded(offered));
        // Padding makes "a" and "a\0" alike, and cuts what is too long: the lengths decide those.
        let as_long = (self.0.len() as u64).ct_eq(&(offered.len() as u64));
        bool::from(same & as_long)
    }

    /// The token itself, to be put into a request.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

fn padded(text: &str) -> [u8; MAX_LEN] {
    let mut out = [0; MAX_LEN];
    for (to, from) in out.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    out
}

impl FromStr for Token {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let len = text.chars().count();
        if len == 0 {
            return Err(TokenError::Empty);
        }
        if !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(TokenError::BadCharacter);
        }
        match len {
            ..MIN_LEN => Err(TokenError::TooShort(len)),
            MIN_LEN..=MAX_LEN => Ok(Self(text.to_owned())),
            _ => Err(TokenError::TooLong(len)),
        }
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_very_same_text_matches() {
        let token: Token = "correct-horse".parse().unwrap();
        assert!(token.matches("correct-horse"));
        for wrong in ["", "correct-hors", "correct-horse\0", "correct-horsf", "correct-horse "] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
        let longest: Token = "x".repeat(MAX_LEN).parse().unwrap();
        assert!(!longest.matches(&"x".repeat(MAX_LEN + 1)));
    }

    #[test]
    fn says_what_is_wrong_without_quoting_it() {
        let why = |text: &str| text.parse::<Token>().unwrap_err().to_string();
        assert_eq!(why(""), "the token is empty");
        assert_eq!(why("short"), "the token is too short: it has 5 of at least 8 characters");
        assert_eq!(why("pass word 1"), "the token has a space or a character outside ASCII");
        assert_eq!(
            why(&"x".repeat(129)),
            "the token is too long: it has 129 of at most 128 characters"
        );
    }

    #[test]
    fn debugging_shows_nothing() {
        let token: Token = "correct-horse".parse().unwrap();
        assert_eq!(format!("{token:?}"), "Token(hidden)");
    }

    proptest! {
        #[test]
        fn matches_exactly_when_equal(a in "[!-~]{8,20}", b in any::<String>()) {
            let token: Token = a.parse().unwrap();
            prop_assert!(token.matches(&a));
            prop_assert_eq!(token.matches(&b), a == b);
        }
    }
}
