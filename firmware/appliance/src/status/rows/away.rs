//! Who is far away: the encoder and the dashboard.

use protocol::mood::Mood;

use super::super::facts::Facts;
use super::super::{Light, Row};
use super::{component, sentence};

const NETWORK_FIRST: &str = "Make the light of “Network” green first.";

pub(super) fn encoder(facts: &Facts, network_is_up: bool) -> Row {
    let row = |light, says: String| Row::new("encoder", "Encoder", light, says);
    let Some(collector) = &facts.collector else {
        return row(Light::Grey, "Not asked yet.".into());
    };
    let at = &collector.encoder;
    let Some(uplink) = component(facts, "uplink") else {
        return row(Light::Grey, "Not asked yet.".into());
    };
    match uplink.mood {
        Mood::Happy if collector.confirmed => {
            row(Light::Green, format!("The encoder takes what is sent ({at})."))
        }
        Mood::Happy | Mood::Waking | Mood::Sleeping => {
            row(Light::Grey, format!("Connecting to {at}."))
        }
        Mood::Hungry => row(Light::Amber, "There is nothing to send.".into())
            .todo("Make the light of “Picture” green."),
        Mood::Sad | Mood::Lost => {
            row(Light::Red, sentence(&uplink.reason)).todo(if network_is_up {
                "Ask whoever runs the encoder whether it is up, and whoever runs the network \
                 whether it lets the box out."
            } else {
                NETWORK_FIRST
            })
        }
    }
}

pub(super) fn dashboard(facts: &Facts, network_is_up: bool) -> Row {
    let row = |light, says: String| Row::new("dashboard", "Dashboard", light, says);
    if facts.collector.is_none() {
        return row(Light::Grey, "Not asked yet.".into());
    }
    let Some(broker) = component(facts, "mqtt") else {
        return row(Light::Grey, "No dashboard is set up for this box.".into());
    };
    match broker.mood {
        Mood::Happy => row(Light::Green, "The dashboard sees this box.".into()),
        Mood::Sleeping | Mood::Waking => row(Light::Grey, "Connecting to the dashboard.".into()),
        Mood::Hungry | Mood::Sad | Mood::Lost => {
            row(Light::Amber, sentence(&broker.reason)).todo(if network_is_up {
                "The stream goes on without it. Tell whoever runs the dashboard that this box \
                 does not get through to it."
            } else {
                NETWORK_FIRST
            })
        }
    }
}
