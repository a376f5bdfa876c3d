//! The mood of a component: the original system's words, kept because operators know them.

use serde::{Deserialize, Serialize};

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    /// Not meant to run now.
    Sleeping,
    /// It works.
    Happy,
    /// Starting; nothing is known yet.
    Waking,
    /// It works, but what it lives on is not coming. Not its fault: it is never restarted for it.
    Hungry,
    /// It failed.
    Sad,
    /// It gives no answer.
    Lost,
}

impl Mood {
    /// Every mood, from the least to the most worrying (the order of `Ord`).
    pub const ALL: [Self; 6] =
        [Self::Sleeping, Self::Happy, Self::Waking, Self::Hungry, Self::Sad, Self::Lost];

    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sleeping => "sleeping",
            Self::Happy => "happy",
            Self::Waking => "waking",
            Self::Hungry => "hungry",
            Self::Sad => "sad",
            Self::Lost => "lost",
        }
    }
}

impl std::fmt::Display for Mood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_json_and_in_text_agree_and_the_order_is_by_worry() {
        for mood in Mood::ALL {
            assert_eq!(serde_json::to_string(&mood).unwrap(), format!("\"{mood}\""));
        }
        assert!(Mood::ALL.is_sorted());
    }
}
