//! The network, as the kernel shows it: links, addresses, the way out. Pure, but for the reading.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::facts::{Link, LinkKind, Network};
use crate::paths::Paths;

/// The flag of a route that goes through a gateway.
const VIA_GATEWAY: u32 = 0x2;

pub(super) fn read(paths: &Paths) -> Network {
    let text = |path: &str| fs::read_to_string(paths.system(path)).unwrap_or_default();
    let routes = routes(&text("proc/net/route"));
    let addresses = local_addresses(&text("proc/net/fib_trie"));
    let wider = global_addresses(&text("proc/net/if_inet6"));
    let signals = signals(&text("proc/net/wireless"));
    let mut links = links(paths);
    let leases: Vec<_> = links.iter().map(|link| lease(paths, &link.name)).collect();
    for address in addresses {
        // Where cable and Wi-Fi lead to one network, the routes alone do not tell.
        let at = leases.iter().position(|lease| *lease == Some(address)).or_else(|| {
            let name = device_of(address, &routes)?;
            links.iter().position(|link| link.name == name)
        });
        if let Some(link) = at.and_then(|at| links.get_mut(at)) {
            link.addresses.push(address.to_string());
        }
    }
    for (name, address) in wider {
        if let Some(link) = links.iter_mut().find(|link| link.name == name) {
            link.addresses.push(address.to_string());
        }
    }
    for link in &mut links {
        link.signal = signals.iter().find(|(name, _)| *name == link.name).map(|(_, dbm)| *dbm);
    }
    let gateway = routes.iter().find(|route| route.is_default()).map(|it| it.gateway.to_string());
    let gateway = gateway.or_else(|| gateway6(&text("proc/net/ipv6_route")));
    Network { links, gateway }
}

/// Devices of hardware: not the loopback, and nothing that software made.
fn links(paths: &Paths) -> Vec<Link> {
    let entries = fs::read_dir(paths.system("sys/class/net")).into_iter().flatten().flatten();
    let mut links: Vec<Link> = entries
        .filter(|entry| entry.path().join("device").exists())
        .map(|entry| {
            let path = entry.path();
            let wireless = path.join("wireless").exists() || path.join("phy80211").exists();
            // Reading fails while the device is down.
            let carrier = fs::read_to_string(path.join("carrier"));
            Link {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind: if wireless { LinkKind::Wireless } else { LinkKind::Wired },
                carrier: carrier.is_ok_and(|carrier| carrier.trim() == "1"),
                addresses: Vec::new(),
                signal: None,
            }
        })
        .collect();
    links.sort_by(|a, b| a.name.cmp(&b.name));
    links
}

/// The address that a link has by DHCP, as systemd-networkd notes it.
fn lease(paths: &Paths, name: &str) -> Option<Ipv4Addr> {
    let read = |path: String| fs::read_to_string(paths.system(&path)).ok();
    let index = read(format!("sys/class/net/{name}/ifindex"))?;
    let text = read(format!("run/systemd/netif/leases/{}", index.trim()))?;
    text.lines().find_map(|line| line.strip_prefix("ADDRESS=")?.trim().parse().ok())
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Route {
    device: String,
    destination: u32,
    mask: u32,
    gateway: Ipv4Addr,
    flags: u32,
}

impl Route {
    fn is_default(&self) -> bool {
        self.destination == 0 && self.mask == 0 && self.flags & VIA_GATEWAY != 0
    }
}

/// `/proc/net/route`: numbers in hexadecimal, as they lie in memory.
fn routes(text: &str) -> Vec<Route> {
    let number = |text: Option<&&str>| u32::from_str_radix(text?, 16).ok();
    let routes = text.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        Some(Route {
            device: (*columns.first()?).to_owned(),
            destination: number(columns.get(1))?,
            gateway: Ipv4Addr::from(number(columns.get(2))?.to_ne_bytes()),
            flags: number(columns.get(3))?,
            mask: number(columns.get(7))?,
        })
    });
    routes.collect()
}

fn device_of(address: Ipv4Addr, routes: &[Route]) -> Option<&str> {
    let address = u32::from_ne_bytes(address.octets());
    let direct = routes.iter().filter(|route| route.flags & VIA_GATEWAY == 0 && route.mask != 0);
    let direct = direct.filter(|route| address & route.mask == route.destination);
    // Of several that are equally narrow the first is used.
    direct.rev().max_by_key(|route| route.mask.count_ones()).map(|route| route.device.as_str())
}

/// `/proc/net/fib_trie`: a leaf's address, and under it `/32 host LOCAL` when it is ours.
fn local_addresses(text: &str) -> Vec<Ipv4Addr> {
    let mut leaf = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(address) = line.trim_start().strip_prefix("|-- ") {
            leaf = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL"
            && let Some(address) = leaf.take()
            && !address.is_loopback()
            && !address.is_link_local()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// `/proc/net/if_inet6`: addresses of global scope.
fn global_addresses(text: &str) -> Vec<(String, Ipv6Addr)> {
    let found = text.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(columns.first()?, 16).ok()?;
        let global = *columns.get(3)? == "00";
        global.then(|| ((*columns.get(5).unwrap_or(&"")).to_owned(), Ipv6Addr::from(address)))
    });
    found.collect()
}

/// The default route of `/proc/net/ipv6_route`.
fn gateway6(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| u128::from_str_radix(columns.get(at)?, 16).ok();
        let gateway = number(4)?;
        let is_default = number(0)? == 0 && *columns.get(1)? == "00" && gateway != 0;
        is_default.then(|| Ipv6Addr::from(gateway).to_string())
    })
}

/// `/proc/net/wireless`: the level in dBm.
fn signals(text: &str) -> Vec<(String, i32)> {
    let found = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let level = rest.split_whitespace().nth(2)?.trim_end_matches('.').parse().ok()?;
        Some((name.trim().to_owned(), level))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t1024\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t1024\t00FFFFFF\t0\t0\t0
";
    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
     |-- 192.168.1.0
        /24 link UNICAST
     |-- 192.168.1.57
        /32 host LOCAL
     |-- 169.254.3.4
        /32 host LOCAL
     |-- 192.168.1.255
        /32 link BROADCAST
Local:
     |-- 192.168.1.57
        /32 host LOCAL
";
    const INET6: &str = "\
fe80000000000000021122fffe334455 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
";

    fn kernel(dir: &std::path::Path) -> Paths {
        for (path, content) in [
            ("sys/class/net/lo/carrier", "1\n"),
            ("sys/class/net/docker0/carrier", "1\n"),
            ("sys/class/net/eth0/device/vendor", "0x1\n"),
            ("sys/class/net/eth0/carrier", "1\n"),
            ("sys/class/net/wlan0/device/vendor", "0x1\n"),
            ("sys/class/net/wlan0/phy80211/index", "0\n"),
            ("proc/net/route", ROUTE),
            ("proc/net/fib_trie", TRIE),
            ("proc/net/if_inet6", INET6),
            ("proc/net/wireless", "head | er\n wlan0: 0000   54.  -56.  -256        0\n"),
        ] {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Paths::under(dir)
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn links_of_hardware_with_their_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let network = read(&kernel(dir.path()));
        assert_eq!(network.gateway.as_deref(), Some("192.168.1.1"));
        let [eth, wlan] = network.links.as_slice() else { panic!("{network:?}") };
        assert_eq!(eth.addresses, ["192.168.1.57", "2001:db8::7"]);
        assert!(eth.carrier && eth.kind == LinkKind::Wired);
        assert!(!wlan.carrier && wlan.kind == LinkKind::Wireless && wlan.addresses.is_empty());
        assert_eq!(wlan.signal, Some(-56));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn cable_and_wifi_in_one_network_have_each_its_own_address() {
        let dir = tempfile::tempdir().unwrap();
        let paths = kernel(dir.path());
        let write = |path: &str, content: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        // The cable's route has the lower metric, so it comes first.
        let second = ROUTE.lines().skip(1).map(|line| line.replace("eth0", "wlan0") + "\n");
        write("proc/net/route", &(ROUTE.to_owned() + &second.collect::<String>()));
        write(
            "proc/net/fib_trie",
            &TRIE.replace(
                "192.168.1.255\n        /32 link BROADCAST",
                "192.168.1.58\n        /32 host LOCAL",
            ),
        );
        let addresses = || {
            let links = read(&paths).links;
            links.into_iter().map(|link| link.addresses).collect::<Vec<_>>()
        };
        let all = ["192.168.1.57", "192.168.1.58", "2001:db8::7"];
        assert_eq!(addresses(), [&all[..], &[]]);
        write("sys/class/net/wlan0/ifindex", "3\n");
        write("run/systemd/netif/leases/3", "# private\nADDRESS=192.168.1.57\n");
        assert_eq!(addresses(), [&["192.168.1.58", "2001:db8::7"][..], &["192.168.1.57"]]);
    }

    #[test]
    fn a_machine_without_any_network() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&Paths::under(dir.path())), Network::default());
    }

    #[test]
    fn the_way_out_by_ipv6_alone() {
        let line = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                    fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0";
        assert_eq!(gateway6(line).as_deref(), Some("fe80::1"));
        assert_eq!(gateway6(""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            let _ = (routes(&text), local_addresses(&text), global_addresses(&text));
            let _ = (gateway6(&text), signals(&text));
        }

        #[test]
        fn any_columns_are_read(words in prop::collection::vec("[0-9a-fA-F:.|/-]{0,33}", 0..40)) {
            let text = words.join(" ") + "\n" + &words.join("\t");
            let _ = (routes(&text), global_addresses(&text), gateway6(&text), signals(&text));
        }
    }
}
