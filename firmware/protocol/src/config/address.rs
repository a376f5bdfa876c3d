//! Addresses in a network: of the box itself, of servers, and host names.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use toml::de::DeValue;

use super::values::{Expected, Value, Wrong};

/// An address and how many of its leading bits are the network's: `192.0.2.10/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address of the box.
    pub address: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
}

impl Cidr {
    /// Whether another address is in the same network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                self.network_bits(other) == self.network_bits(self.address)
            }
            _ => false,
        }
    }

    fn network_bits(&self, address: IpAddr) -> u128 {
        let (bits, width) = bits(address);
        let host = width.saturating_sub(u32::from(self.prefix));
        bits.checked_shr(host).unwrap_or(0)
    }
}

/// An address as a number, and how wide it is.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((address, prefix)) = text.split_once('/') else {
            return Err("after the address there must be / and the bits of the network".to_owned());
        };
        let address: IpAddr =
            address.parse().map_err(|_| "before the / there must be an IP address".to_owned())?;
        let (bits, width) = bits(address);
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|prefix| (1..=width).contains(&u32::from(*prefix)))
            .ok_or_else(|| {
                format!(
                    "after the / there must be a number from 1 to {width}, often {}",
                    width * 3 / 4
                )
            })?;
        let special = address.is_loopback() || address.is_multicast() || address.is_unspecified();
        if special || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err("no machine can have this address".to_owned());
        }
        // Point-to-point networks use both of their addresses.
        let host = width - u32::from(prefix);
        if address.is_ipv4() && host > 1 {
            let all = (1u128 << host) - 1;
            match bits & all {
                0 => return Err("this is the network itself, not a machine in it".to_owned()),
                own if own == all => {
                    return Err("this is the network's broadcast address".to_owned());
                }
                _ => {}
            }
        }
        Ok(Self { address, prefix })
    }
}

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    match value {
        DeValue::String(text) => Ok(text),
        _ => Err(Wrong::Type),
    }
}

impl Value for Cidr {
    fn expected() -> Expected {
        Expected::new("the box's own address and the bits of its network", "\"192.0.2.10/24\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        text(value)?.parse().map_err(Wrong::Because)
    }
}

impl Value for IpAddr {
    fn expected() -> Expected {
        Expected::new("an IP address", "\"192.0.2.1\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        let address: Self = text(value)?
            .parse()
            .map_err(|_| Wrong::Because("it is not an IP address".to_owned()))?;
        match address.is_unspecified() || address.is_multicast() {
            true => Err(Wrong::Because("no machine has this address".to_owned())),
            false => Ok(address),
        }
    }
}

/// A server's name or its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(String);

impl Host {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.len() <= 253 && text.split('.').all(label) {
            true => Ok(Self(text.to_owned())),
            false => Err("it is neither a host name nor an IP address".to_owned()),
        }
    }
}

impl Value for Host {
    fn expected() -> Expected {
        Expected::new("a server's name or address", "\"ntp.example.org\"")
    }
    fn read(value: &DeValue<'_>) -> Result<Self, Wrong> {
        text(value)?.parse().map_err(Wrong::Because)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_one_a_machine_can_have() {
        let why = |text: &str| text.parse::<Cidr>().unwrap_err();
        assert_eq!(
            why("192.0.2.10"),
            "after the address there must be / and the bits of the network"
        );
        assert_eq!(why("192.0.2/24"), "before the / there must be an IP address");
        assert_eq!(
            why("192.0.2.10/33"),
            "after the / there must be a number from 1 to 32, often 24"
        );
        assert_eq!(why("192.0.2.0/24"), "this is the network itself, not a machine in it");
        assert_eq!(why("192.0.2.255/24"), "this is the network's broadcast address");
        for nobody in ["127.0.0.1/8", "224.0.0.1/4", "0.0.0.0/8", "::1/64", "ff02::1/64"] {
            assert_eq!(why(nobody), "no machine can have this address", "{nobody}");
        }
        for good in ["192.0.2.10/24", "10.0.0.0/31", "10.0.0.1/32", "2001:db8::10/64"] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn knows_its_network() {
        let cidr: Cidr = "192.0.2.10/24".parse().unwrap();
        assert!(cidr.contains("192.0.2.1".parse().unwrap()));
        assert!(!cidr.contains("192.0.3.1".parse().unwrap()));
        assert!(!cidr.contains("2001:db8::1".parse().unwrap()));
        let cidr: Cidr = "2001:db8::10/128".parse().unwrap();
        assert!(!cidr.contains("2001:db8::11".parse().unwrap()));
    }

    #[test]
    fn a_server_has_a_name_or_an_address() {
        for good in ["ntp.example.org", "pool", "192.0.2.1", "2001:db8::1", "a_b.c-d"] {
            assert!(good.parse::<Host>().is_ok(), "{good}");
        }
        for bad in ["", "ntp..org", "-a", "a b", "a\nNTP=b", "https://a", "a:123"] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_not(text in any::<String>(), a in any::<u32>(), p in any::<u8>()) {
            let _ = (text.parse::<Cidr>(), text.parse::<Host>());
            if let Ok(cidr) = format!("{}/{p}", Ipv4Addr::from(a)).parse::<Cidr>() {
                prop_assert!(cidr.contains(cidr.address));
                prop_assert_eq!(cidr.to_string().parse::<Cidr>(), Ok(cidr));
            }
        }
    }
}
