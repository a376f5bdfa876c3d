//! What an encoder tells a website of the original system, and what the website answers: the
//! tracker's end point `/tracker/endpoint/register` of timvideos/streaming-system
//! (`website/tracker/views.py`, `models.py`).
//!
//! One `POST` for each room, about every 30 s, as `application/x-www-form-urlencoded`:
//!
//! | field | what |
//! |---|---|
//! | `secret` | the website's secret |
//! | `group` | the room, as the website calls it: [`Group`] |
//! | `data` | a JSON object of whole numbers: [`Report`]; a field that is not known is refused |
//!
//! The answer is a text, with status 200 whatever it says: [`Answer`]. The website sends viewers
//! to the address that the request came from, if it came within the last [`FORGETS`].

mod answer;
mod group;
mod report;

use std::time::Duration;

pub use answer::{ANSWER_BYTES, Answer};
pub use group::{Group, GroupError};
pub use report::{Format, Load, Report};

/// The body's media type.
pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";

/// How long a website sends viewers to an encoder after the last report that it took.
pub const FORGETS: Duration = Duration::from_secs(60);

/// What stands for a secret that is not to be seen.
pub const STRUCK_OUT: &str = "*****";

/// The request's body.
#[must_use]
pub fn form(secret: &str, group: &Group, report: &Report) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("secret", secret)
        .append_pair("group", group.as_str())
        .append_pair("data", &report.to_json())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_body_is_the_three_fields_in_form_encoding() {
        let group = "hall_1".parse().unwrap();
        let body = form("a&b=c d%", &group, &Report::default());
        assert!(body.starts_with("secret=a%26b%3Dc+d%25&group=hall_1&data=%7B%22"), "{body}");
        assert!(body.ends_with("%7D"), "{body}");
    }

    proptest! {
        #[test]
        fn every_secret_arrives_as_it_is(secret in any::<String>()) {
            let group = "g".parse().unwrap();
            let body = form(&secret, &group, &Report::default());
            prop_assert!(body.is_ascii());
            let fields: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            prop_assert_eq!(fields.len(), 3);
            prop_assert_eq!(&fields[0], &("secret".to_owned(), secret));
        }
    }
}
