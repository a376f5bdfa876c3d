//! Where a client publishes to: `rtmp://host[:port]/app/key`.

use std::str::FromStr;

use thiserror::Error;

/// An RTMP server and what to publish there. `Debug` and `Display` do not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// `rtmps://`: the connection is to be wrapped in TLS.
    pub tls: bool,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port; 1935 for rtmp and 443 for rtmps if not given.
    pub port: u16,
    /// The application: the path without its last part.
    pub app: String,
    /// The stream key: the last part of the path, with the query.
    pub key: String,
}

/// Why an address cannot be published to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DestinationError {
    /// Another scheme, or none.
    #[error("an RTMP address begins with rtmp:// or rtmps://")]
    Scheme,
    /// No host.
    #[error("the RTMP address names no host")]
    Host,
    /// Not a port number.
    #[error("`{0}` is not a port number")]
    Port(String),
    /// The path lacks its application or its key.
    #[error("the RTMP address needs an application and a stream key: rtmp://HOST/APP/KEY")]
    Path,
    /// User and password before the host.
    #[error("an RTMP address with a user and password is not supported: put the key in the path")]
    User,
    /// Spaces, line ends and the like.
    #[error("the RTMP address has a blank or control character in it")]
    Blank,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(DestinationError::Blank);
        }
        let (tls, rest) = match (text.strip_prefix("rtmp://"), text.strip_prefix("rtmps://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(DestinationError::Scheme),
        };
        let (authority, path) = rest.split_once('/').ok_or(DestinationError::Path)?;
        if authority.contains('@') {
            return Err(DestinationError::User);
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(DestinationError::Host);
        }
        let port = match port {
            None => 1935 - u16::from(tls) * (1935 - 443),
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(DestinationError::Port(port.to_owned())),
            },
        };
        let (before_query, query) = match path.find('?') {
            Some(at) => path.split_at(at),
            None => (path, ""),
        };
        let (app, key) = before_query.rsplit_once('/').ok_or(DestinationError::Path)?;
        if app.is_empty() || (key.is_empty() && query.is_empty()) {
            return Err(DestinationError::Path);
        }
        let (host, app, key) = (host.to_owned(), app.to_owned(), format!("{key}{query}"));
        Ok(Self { tls, host, port, app, key })
    }
}

impl Destination {
    /// `connect`'s `tcUrl`: the address without its key (RTMP 7.2.1.1).
    pub fn tc_url(&self) -> String {
        let scheme = if self.tls { "rtmps" } else { "rtmp" };
        let host = &self.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("{scheme}://{host}:{}/{}", self.port, self.app)
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/…", self.tc_url())
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Destination({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parse = |text: &str| text.parse::<Destination>().unwrap();
        let got = parse("rtmp://a.example.org/live2/abcd-efgh?backup=1");
        assert_eq!((got.tls, got.port, &*got.host), (false, 1935, "a.example.org"));
        assert_eq!((&*got.app, &*got.key), ("live2", "abcd-efgh?backup=1"));
        assert_eq!(got.tc_url(), "rtmp://a.example.org:1935/live2");
        let got = parse("rtmps://[::1]:8443/app/instance/key");
        assert_eq!((got.tls, got.port, &*got.host), (true, 8443, "::1"));
        assert_eq!((&*got.app, &*got.key), ("app/instance", "key"));
        assert_eq!(got.tc_url(), "rtmps://[::1]:8443/app/instance");
        assert_eq!(parse("rtmps://h/a/k").port, 443);
        assert_eq!(format!("{:?}", parse("rtmp://h/a/k3y")), "Destination(rtmp://h:1935/a/…)");
    }

    #[test]
    fn each_mistake_is_named() {
        let error = |text: &str| text.parse::<Destination>().unwrap_err().to_string();
        assert_eq!(error("http://h/a/k"), "an RTMP address begins with rtmp:// or rtmps://");
        assert_eq!(error("rtmp:///a/k"), "the RTMP address names no host");
        assert_eq!(error("rtmp://h:99999/a/k"), "`99999` is not a port number");
        assert_eq!(error("rtmp://h:0/a/k"), "`0` is not a port number");
        let path = "the RTMP address needs an application and a stream key: rtmp://HOST/APP/KEY";
        for text in ["rtmp://h", "rtmp://h/", "rtmp://h/app", "rtmp://h/app/", "rtmp://h//key"] {
            assert_eq!(error(text), path, "{text}");
        }
        assert!(error("rtmp://u:p@h/a/k").contains("user and password"));
        assert!(error("rtmp://h/a/k y").contains("blank"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "rtmps?://.{0,60}") {
            let _ = text.parse::<Destination>();
        }
    }
}
