//! A room's name on the website.

use std::{fmt, str::FromStr};

/// Most characters of a group: the width of the website's column.
const MAX_LEN: usize = 10;

/// A room as a website calls it: 1 to 10 of `A-Z a-z 0-9 _`. The website makes the name of a
/// JavaScript variable of it, so that `-` cannot be in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(String);

/// Why a text cannot be a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Nothing was given.
    #[error("a group cannot be empty")]
    Empty,
    /// More than fit.
    #[error("a group has at most {MAX_LEN} characters, this has {0}")]
    TooLong(usize),
    /// A character outside the alphabet.
    #[error("a group has only letters A-Z a-z, digits and _, so {0:?} cannot be in it")]
    BadCharacter(char),
}

impl Group {
    /// The group as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Group {
    type Err = GroupError;
    fn from_str(text: &str) -> Result<Self, GroupError> {
        if text.is_empty() {
            return Err(GroupError::Empty);
        }
        if let Some(found) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_')) {
            return Err(GroupError::BadCharacter(found));
        }
        match text.len() {
            1..=MAX_LEN => Ok(Self(text.to_owned())),
            len => Err(GroupError::TooLong(len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_plain_characters_and_no_more() {
        assert_eq!("lca_hall_1".parse::<Group>().unwrap().to_string(), "lca_hall_1");
        let why = |text: &str| text.parse::<Group>().unwrap_err();
        assert_eq!(why(""), GroupError::Empty);
        assert_eq!(why("lca_hall_11"), GroupError::TooLong(11));
        assert_eq!(why("main-hall"), GroupError::BadCharacter('-'));
        assert_eq!(why("hällchen"), GroupError::BadCharacter('ä'));
    }
}
