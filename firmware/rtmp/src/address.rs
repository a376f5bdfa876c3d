//! Which room and which token a publisher means.

use thiserror::Error;

/// How to publish, for error texts and help.
pub const USAGE: &str = "publish to rtmp://HOST/live/ROOM?token=TOKEN or rtmp://HOST/ROOM/TOKEN \
                         (OBS: server rtmp://HOST/live, stream key ROOM?token=TOKEN)";

/// A room and, if it was given, its token. Neither is checked against anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The room's name as it was sent.
    pub room: String,
    /// The token as it was sent.
    pub token: Option<String>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "<hidden>");
        f.debug_struct("Address").field("room", &self.room).field("token", &token).finish()
    }
}

/// An address that names no room.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the address names no room; {USAGE}")]
pub struct AddressError;

impl Address {
    /// From `connect`'s app and `publish`'s stream name, which clients split in different places:
    /// `live` + `ROOM?token=TOKEN`, `live?token=TOKEN` + `ROOM`, `ROOM` + `TOKEN`,
    /// `live/ROOM` + `TOKEN`. A token in a query may be percent-encoded.
    pub fn parse(app: &str, name: &str) -> Result<Self, AddressError> {
        let (app, app_query) = split_query(app);
        let (name, name_query) = split_query(name);
        let mut path: Vec<&str> =
            app.split('/').chain(name.split('/')).filter(|part| !part.is_empty()).collect();
        // `_definst_` is what some clients put for an app without an instance.
        path.retain(|part| *part != "_definst_");
        let token = query_token(name_query).or_else(|| query_token(app_query));
        let address = match (path.as_slice(), token) {
            ([.., room], Some(token)) => Self { room: (*room).to_owned(), token: Some(token) },
            (["live"], None) | ([], _) => return Err(AddressError),
            (["live", room] | [room], None) => Self { room: (*room).to_owned(), token: None },
            (["live", room, token] | [room, token], None) => {
                Self { room: (*room).to_owned(), token: Some((*token).to_owned()) }
            }
            _ => return Err(AddressError),
        };
        Ok(address)
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn query_token(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(percent_decode)
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut ahead = bytes.clone();
            let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            if let (Some(high), Some(low)) = (hex(ahead.next()), hex(ahead.next())) {
                out.push((high << 4 | low) as u8);
                bytes = ahead;
                continue;
            }
        }
        out.push(byte);
    }
    // Not valid UTF-8 once decoded: then it was not encoded, and is meant as it stands.
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_as_clients_split_them() {
        let yes = |app, name, room: &str, token: Option<&str>| {
            let want = Address { room: room.into(), token: token.map(Into::into) };
            assert_eq!(Address::parse(app, name), Ok(want), "{app} + {name}");
        };
        yes("live", "demo?token=s3cret", "demo", Some("s3cret"));
        yes("live/", "demo?token=s3cret", "demo", Some("s3cret"));
        yes("live?token=s3cret", "demo", "demo", Some("s3cret"));
        yes("live", "demo?a=b&token=s%2F3+", "demo", Some("s/3+"));
        yes("live", "demo?token=100%", "demo", Some("100%"));
        yes("demo", "s3cret", "demo", Some("s3cret"));
        yes("live/demo", "s3cret", "demo", Some("s3cret"));
        yes("demo?token=s3cret", "", "demo", Some("s3cret"));
        yes("live/_definst_", "demo?token=x", "demo", Some("x"));
        yes("live", "demo", "demo", None);
        yes("demo", "", "demo", None);
        for (app, name) in [("", ""), ("live", ""), ("live", "?token=x"), ("a/b/c", "d")] {
            let got = Address::parse(app, name);
            // With a token the last part of the path is the room, whatever it is.
            if name.is_empty() || !name.contains("token") {
                assert_eq!(got, Err(AddressError), "{app} + {name}");
            }
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let address = Address::parse("live", "demo?token=s3cret").unwrap();
        assert!(!format!("{address:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(app in ".{0,40}", name in ".{0,40}") {
            let _ = Address::parse(&app, &name);
        }
    }
}
