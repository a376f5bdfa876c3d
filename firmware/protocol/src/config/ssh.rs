//! Public keys of who may log in to a box, one line each, as in `authorized_keys`.

use std::{fmt, str::FromStr};

use toml::de::DeValue;

use super::values::{Expected, Value, Wrong};

/// The kinds of keys there are.
const KINDS: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A public key: its kind, the key itself, and perhaps whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey(String);

impl SshKey {
    /// The line for `authorized_keys`.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.0
    }

    /// Whose it is, or what kind when it does not say.
    #[must_use]
    pub fn owner(&self) -> &str {
        let mut parts = self.0.splitn(3, ' ');
        let kind = parts.next().unwrap_or_default();
        parts.nth(1).filter(|owner| !owner.is_empty()).unwrap_or(kind)
    }
}

impl FromStr for SshKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains("PRIVATE KEY") {
            return Err("this is a private key, which nobody else may have; give the line of the \
                        file that ends in .pub"
                .to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("it is not one line of plain text".to_owned());
        }
        let mut parts = text.split_whitespace();
        let (kind, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if !KINDS.contains(&kind) {
            let kinds = "ssh-ed25519, ecdsa-sha2-nistp256 or ssh-rsa";
            return Err(format!("it does not begin with the kind of key, such as {kinds}"));
        }
        // The key repeats its kind: so a line that was cut or mistyped at its beginning is seen.
        let key = base64(body).filter(|key| {
            let (length, rest) = key.split_at_checked(4).unwrap_or((&[], &[]));
            let length = <[u8; 4]>::try_from(length).map(u32::from_be_bytes).unwrap_or(u32::MAX);
            usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .is_some_and(|(own, rest)| own == kind.as_bytes() && whole(rest))
        });
        if key.is_none() {
            return Err("the key itself is damaged: copy the whole line anew".to_owned());
        }
        let owner = parts.collect::<Vec<_>>().join(" ");
        Ok(Self(format!("{kind} {body} {owner}").trim_end().to_owned()))
    }
}

/// Whether what follows the kind is one or more whole fields.
fn whole(mut rest: &[u8]) -> bool {
    if rest.is_empty() {
        return false;
    }
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((_, more)) = more.split_at_checked(length) else { return false };
        rest = more;
    }
    rest.is_empty()
}

/// Standard base64 with its padding; `None` when it is not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let (mut out, mut bits, mut have) = (Vec::with_capacity(text.len()), 0u32, 0u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push(u8::try_from((bits >> have) & 0xFF).ok()?);
        }
    }
    Some(out)
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for SshKey {
    fn expected() -> Expected {
        Expected::new("a public SSH key", "\"ssh-ed25519 AAAA… name\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match value {
            // Not quoted: it may be a private key.
            DeValue::String(text) => text.parse().map_err(Wrong::Secret),
            _ => Err(Wrong::Type),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVpZ2h0LWJ5dGVzLWZvdXItdGltZXMtb3Zlci4uLi54";

    #[test]
    fn a_key_is_one_whole_line() {
        let key: SshKey = format!("  {KEY}  ada @ home \r\n").parse().unwrap();
        assert_eq!(key.line(), format!("{KEY} ada @ home"));
        assert_eq!(key.owner(), "ada @ home");
        assert_eq!(KEY.parse::<SshKey>().unwrap().owner(), "ssh-ed25519");
    }

    #[test]
    fn says_what_is_wrong_with_a_key() {
        let why = |text: &str| text.parse::<SshKey>().unwrap_err();
        assert!(why("-----BEGIN OPENSSH PRIVATE KEY-----").contains("ends in .pub"));
        assert!(why("no-pty ssh-ed25519 AAAA").contains("does not begin with the kind"));
        let damaged = "the key itself is damaged: copy the whole line anew";
        assert_eq!(why("ssh-ed25519"), damaged);
        assert_eq!(why(&KEY[..KEY.len() - 4]), damaged);
        assert_eq!(why(&KEY.replace("ssh-ed25519", "ssh-rsa")), damaged);
        assert_eq!(why(&format!("{KEY}=")), damaged);
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_not(text in any::<String>(), tail in "[A-Za-z0-9+/=]{0,80}") {
            let _ = text.parse::<SshKey>();
            if let Ok(key) = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{tail} x").parse::<SshKey>() {
                let again = key.line().parse::<SshKey>();
                prop_assert_eq!(again, Ok(key));
            }
        }
    }
}
