//! MQTT topics: `backrow/{device}/…`, built and taken apart in one place.
//!
//! A broker's rule `pattern readwrite backrow/%u/#` keeps each device to its own branch.

use std::str::FromStr;

use crate::names::{DeviceName, NameError};

/// The first level of every topic.
pub const ROOT: &str = "backrow";

/// What is under a device's branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Retained; Homie's life-cycle words, with `lost` as last will.
    State,
    /// Retained: what the device is.
    Birth,
    /// Numbers, every 5 s.
    Health,
    /// Retained: one component's mood.
    Component(ComponentName),
    /// Something happened.
    Event,
    /// A small JPEG.
    Preview,
    /// Configuration pushed to the device.
    Config,
    /// Retained: what the device made of that.
    ConfigState,
    /// An order to the device.
    Command,
    /// The device's answer to one.
    CommandAck,
}

/// A component's name as topic levels: `capture`, or `demo/480p`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentName(String);

impl ComponentName {
    /// The nearest name that is safe in a topic: other characters become `-`, empty levels go.
    #[must_use]
    pub fn made_safe(text: &str) -> Self {
        let safe: String =
            text.chars().map(|c| if level_char(c) || c == '/' { c } else { '-' }).collect();
        let levels: Vec<&str> = safe.split('/').filter(|level| !level.is_empty()).collect();
        Self(if levels.is_empty() { "unnamed".to_owned() } else { levels.join("/") })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn level_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

impl FromStr for ComponentName {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        let good = text.split('/').all(|level| !level.is_empty() && level.chars().all(level_char));
        if good { Ok(Self(text.to_owned())) } else { Err(TopicError::Component(text.to_owned())) }
    }
}

/// Why a text is not one of our topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// It does not begin with `backrow/{device}/`.
    #[error("topic {0:?} is not below backrow/{{device}}/")]
    Foreign(String),
    /// The device's level is not a name.
    #[error("topic {topic:?}: {source}")]
    Device {
        /// The topic.
        topic: String,
        /// What is wrong with the device's name.
        source: NameError,
    },
    /// No such thing below a device.
    #[error("topic {0:?} ends in nothing known")]
    Unknown(String),
    /// Not a component's name.
    #[error("{0:?} is not a component's name (letters, digits, . - _, levels parted by /)")]
    Component(String),
}

impl Topic {
    /// The whole topic for a device.
    #[must_use]
    pub fn of(&self, device: &DeviceName) -> String {
        let leaf = match self {
            Self::State => "state",
            Self::Birth => "birth",
            Self::Health => "health",
            Self::Component(name) => return format!("{ROOT}/{device}/component/{}", name.0),
            Self::Event => "event",
            Self::Preview => "preview",
            Self::Config => "config",
            Self::ConfigState => "config/state",
            Self::Command => "command",
            Self::CommandAck => "command/ack",
        };
        format!("{ROOT}/{device}/{leaf}")
    }

    /// Takes a topic apart.
    ///
    /// # Errors
    /// [`TopicError`] when it is not one of ours.
    pub fn parse(topic: &str) -> Result<(DeviceName, Self), TopicError> {
        let foreign = || TopicError::Foreign(topic.to_owned());
        let below =
            topic.strip_prefix(ROOT).and_then(|t| t.strip_prefix('/')).ok_or_else(foreign)?;
        let (device, leaf) = below.split_once('/').ok_or_else(foreign)?;
        let device = device
            .parse()
            .map_err(|source| TopicError::Device { topic: topic.to_owned(), source })?;
        let what = match leaf {
            "state" => Self::State,
            "birth" => Self::Birth,
            "health" => Self::Health,
            "event" => Self::Event,
            "preview" => Self::Preview,
            "config" => Self::Config,
            "config/state" => Self::ConfigState,
            "command" => Self::Command,
            "command/ack" => Self::CommandAck,
            _ => match leaf.strip_prefix("component/") {
                Some(name) => Self::Component(name.parse()?),
                None => return Err(TopicError::Unknown(topic.to_owned())),
            },
        };
        Ok((device, what))
    }

    /// The filter for all that one device says.
    #[must_use]
    pub fn filter(device: &DeviceName) -> String {
        format!("{ROOT}/{device}/#")
    }

    /// Whether the broker keeps the last message for whoever subscribes later.
    #[must_use]
    pub fn retained(&self) -> bool {
        matches!(
            self,
            Self::State | Self::Birth | Self::Component(_) | Self::Config | Self::ConfigState
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_topic() -> impl Strategy<Value = Topic> {
        prop_oneof![
            Just(Topic::State),
            Just(Topic::Birth),
            Just(Topic::Health),
            any::<String>().prop_map(|name| Topic::Component(ComponentName::made_safe(&name))),
            Just(Topic::Event),
            Just(Topic::Preview),
            Just(Topic::Config),
            Just(Topic::ConfigState),
            Just(Topic::Command),
            Just(Topic::CommandAck),
        ]
    }

    proptest! {
        #[test]
        fn topics_round_trip(device in "[A-Za-z0-9_-]{1,64}", topic in any_topic()) {
            let device: DeviceName = device.parse().unwrap();
            let text = topic.of(&device);
            prop_assert!(!text.contains(['+', '#', '\0']));
            prop_assert_eq!(Topic::parse(&text).unwrap(), (device, topic));
        }

        #[test]
        fn any_text_is_a_topic_or_an_error(text in any::<String>()) {
            if let Ok((device, topic)) = Topic::parse(&text) {
                prop_assert_eq!(topic.of(&device), text);
            }
        }
    }

    #[test]
    fn says_why_a_topic_is_not_ours() {
        let why = |text: &str| Topic::parse(text).unwrap_err().to_string();
        assert_eq!(
            why("other/box/state"),
            "topic \"other/box/state\" is not below backrow/{device}/"
        );
        assert_eq!(why("backrow/box"), "topic \"backrow/box\" is not below backrow/{device}/");
        assert_eq!(
            why("backrow/a b/state"),
            "topic \"backrow/a b/state\": a device name has only letters A-Z a-z, digits, - and _, \
             so ' ' cannot be in it"
        );
        assert_eq!(why("backrow/box/stat"), "topic \"backrow/box/stat\" ends in nothing known");
        assert!(why("backrow/box/component/a//b").contains("is not a component's name"));
    }
}
