//! What a configuration value must look like, by its type.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use toml::de::DeValue;
use url::Url;

use super::{
    diagnose::{nearest, shown},
    secret::Secret,
    units::{BitRate, ByteSize, Span},
};
use crate::{
    names::{DeviceName, RenditionName, Revision, RoomName},
    register::Group,
    token::{self, Token},
};

/// What a kind of value is, in words, and an example as TOML.
pub(super) struct Expected {
    pub(super) what: String,
    pub(super) example: String,
}

impl Expected {
    pub(super) fn new(what: impl Into<String>, example: impl Into<String>) -> Self {
        Self { what: what.into(), example: example.into() }
    }
}

/// A value that can be read from TOML.
pub(super) trait Value: Sized {
    /// What it must look like.
    fn expected() -> Expected;
    /// Reads it.
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong>;
}

/// What is wrong with a value.
pub(super) enum Wrong {
    /// Another TOML type.
    Type,
    /// The right type; the text says why not.
    Because(String),
    /// Not one of the allowed words; with the nearest of them.
    NotOneOf(Option<String>),
    /// Like `Because`, but the value is secret.
    Secret(String),
}

impl Wrong {
    pub(super) fn sentence(
        &self,
        key: &str,
        place: &str,
        value: &DeValue<'_>,
        expected: &Expected,
    ) -> String {
        let Expected { what, example } = expected;
        let quoted = match value {
            DeValue::String(text) => format!("\"{}\"", shown(text)),
            DeValue::Integer(number) => shown(&number.to_string()),
            other => name_of(other).to_owned(),
        };
        match self {
            Self::Type => format!(
                "`{key}` {place} is {}; it must be {what}, for example: {key} = {example}",
                name_of(value)
            ),
            Self::Because(why) => format!(
                "`{key}` {place} is {quoted}: {why}; it must be {what}, for example: {key} = {example}"
            ),
            Self::NotOneOf(near) => {
                let mean =
                    near.as_ref().map(|n| format!("; did you mean \"{n}\"?")).unwrap_or_default();
                format!("`{key}` {place} is {quoted}; it must be {what}{mean}")
            }
            Self::Secret(why) => {
                format!("`{key}` {place}: {why}; it must be {what}, for example: {key} = {example}")
            }
        }
    }
}

/// A TOML type in words.
pub(super) fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    match value {
        DeValue::String(text) => Ok(text),
        _ => Err(Wrong::Type),
    }
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(value: &DeValue<'_>) -> Result<T, Wrong> {
    text(value)?.parse().map_err(|error: T::Err| Wrong::Because(error.to_string()))
}

/// A whole number as an `i128`, which holds every one that can be meant.
fn whole(value: &DeValue<'_>) -> Option<i128> {
    match value {
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

macro_rules! from_text {
    ($type:ty, $what:expr, $example:expr) => {
        impl Value for $type {
            fn expected() -> Expected {
                Expected::new($what, $example)
            }
            fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
                parsed(value)
            }
        }
    };
}

from_text!(RoomName, "a name", "\"main-hall\"");
from_text!(DeviceName, "a name", "\"box-7\"");
from_text!(Revision, "a name", "\"3f2a91c07b54\"");
from_text!(RenditionName, "a name", "\"480p\"");
from_text!(Span, "a length of time", "\"2s\"");
from_text!(Group, "the room's name on the website", "\"main_hall\"");

impl Value for Token {
    fn expected() -> Expected {
        Expected::new(
            format!("the room's token, at least {} characters", token::MIN_LEN),
            "\"correct-horse-battery\"",
        )
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        text(value)?.parse().map_err(|error: token::TokenError| Wrong::Secret(error.to_string()))
    }
}

impl Value for Secret {
    fn expected() -> Expected {
        Expected::new("a secret", "\"correct-horse-battery\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match text(value)? {
            "" => Err(Wrong::Secret("it is empty".to_owned())),
            text => Ok(Self::new(text)),
        }
    }
}

/// A text that is not empty.
pub(super) struct Text(pub(super) String);

impl Value for Text {
    fn expected() -> Expected {
        Expected::new("a text", "\"…\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match text(value)? {
            "" => Err(Wrong::Because("it is empty".to_owned())),
            text => Ok(Self(text.to_owned())),
        }
    }
}

impl Value for PathBuf {
    fn expected() -> Expected {
        Expected::new("a path (one that does not begin with / starts at this file)", "\"ca.pem\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match text(value)? {
            "" => Err(Wrong::Because("it is empty".to_owned())),
            text if text.contains('\0') => Err(Wrong::Because("it has a NUL in it".to_owned())),
            text => Ok(Self::from(text)),
        }
    }
}

impl Value for SocketAddr {
    fn expected() -> Expected {
        Expected::new(
            "an address and a port to listen on (port 0: any free one)",
            "\"0.0.0.0:8080\"",
        )
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = text(value)?;
        text.parse().map_err(|_| {
            let why = match text.rsplit_once(':') {
                None => "the port is missing",
                Some((_, port)) if port.parse::<u16>().is_err() => "the port is not 0 to 65535",
                Some(_) => "before the port there must be an IP address",
            };
            Wrong::Because(why.to_owned())
        })
    }
}

impl Value for BitRate {
    fn expected() -> Expected {
        Expected::new("a bit rate from 8k to 100M", "\"1500k\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let rate = match whole(value) {
            Some(bits) => Self(u32::try_from(bits.max(0)).unwrap_or(u32::MAX)),
            None => parsed(value)?,
        };
        match rate.0 {
            0..8_000 => Err(Wrong::Because("it is too small".to_owned())),
            8_000..=100_000_000 => Ok(rate),
            _ => Err(Wrong::Because("it is too large".to_owned())),
        }
    }
}

impl Value for ByteSize {
    fn expected() -> Expected {
        Expected::new("a size", "\"64MiB\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match whole(value) {
            Some(bytes) => u64::try_from(bytes)
                .map(Self)
                .map_err(|_| Wrong::Because("it is out of range".to_owned())),
            None => parsed(value),
        }
    }
}

impl Value for bool {
    fn expected() -> Expected {
        Expected::new("true or false", "true")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(Wrong::Type),
        }
    }
}

/// A whole number within bounds.
pub(super) struct Int<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> Value for Int<MIN, MAX> {
    fn expected() -> Expected {
        Expected::new(
            format!("a whole number from {MIN} to {MAX}"),
            example_between(MIN, MAX).to_string(),
        )
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let number = match value {
            DeValue::Integer(_) => whole(value),
            _ => return Err(Wrong::Type),
        };
        match number.map(u32::try_from) {
            Some(Ok(number)) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            Some(Ok(number)) if number > MAX => Err(Wrong::Because("it is too large".to_owned())),
            Some(_) => Err(Wrong::Because("it is out of range".to_owned())),
            None => Err(Wrong::Because("it is too large".to_owned())),
        }
    }
}

/// A usual value between the bounds, for an example.
fn example_between(min: u32, max: u32) -> u32 {
    [25, 8, 720].into_iter().find(|n| (min..=max).contains(n)).unwrap_or(min)
}

/// One of a few words.
pub(super) trait Choice: Copy + Sized + 'static {
    /// Each word and what it means.
    const ALL: &'static [(&'static str, Self)];
    /// Words that are accepted and not advertised.
    const HIDDEN: &'static [(&'static str, Self)] = &[];
}

impl<C: Choice> Value for C {
    fn expected() -> Expected {
        let words: Vec<String> = C::ALL.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let example = words.first().cloned().unwrap_or_default();
        Expected::new(format!("one of {}", words.join(", ")), example)
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let text = text(value)?;
        let choice = C::ALL.iter().chain(C::HIDDEN).find(|(word, _)| *word == text);
        choice.map(|(_, choice)| *choice).ok_or_else(|| {
            Wrong::NotOneOf(nearest(text, C::ALL.iter().map(|(word, _)| *word)).map(str::to_owned))
        })
    }
}

/// A value, or `"off"`.
pub(super) struct OrOff<V>(pub(super) Option<V>);

impl<V: Value> Value for OrOff<V> {
    fn expected() -> Expected {
        let of = V::expected();
        Expected::new(format!("{} or \"off\"", of.what), of.example)
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        match value {
            DeValue::String(text) if text == "off" => Ok(Self(None)),
            _ => V::read(value).map(|value| Self(Some(value))),
        }
    }
}

/// An address with one of the schemes of `S`.
pub(super) struct Address<S>(pub(super) Url, pub(super) std::marker::PhantomData<S>);

/// Which schemes an address may have.
pub(super) trait Schemes {
    /// The schemes.
    const ALLOWED: &'static [&'static str];
    /// An example, as TOML.
    const EXAMPLE: &'static str;
}

impl<S: Schemes> Value for Address<S> {
    fn expected() -> Expected {
        let schemes: Vec<String> = S::ALLOWED.iter().map(|s| format!("{s}://")).collect();
        Expected::new(format!("an address that begins with {}", schemes.join(" or ")), S::EXAMPLE)
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        // An address may carry a password or a stream key, so an error does not quote it.
        let because = |why: &str| Wrong::Secret(why.to_owned());
        let text = text(value)?;
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(because("there is a space in it"));
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                return Err(because("the scheme is missing"));
            }
            Err(error) => return Err(Wrong::Secret(error.to_string())),
        };
        if !S::ALLOWED.contains(&url.scheme()) {
            // `broker:1883` reads as an address with the scheme "broker".
            return Err(Wrong::Secret(match text.contains("://") {
                true => format!("{}:// is not a scheme for it", shown(url.scheme())),
                false => "the scheme is missing".to_owned(),
            }));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(because("the host is missing"));
        }
        Ok(Self(url, std::marker::PhantomData))
    }
}
