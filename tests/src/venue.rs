//! A network of its own, for machines in namespaces: a bridge, and the operator beside it.
//!
//! ```text
//! operator ── bridge, 10.0.0.1 ─┬─ machine 2, 10.0.0.2
//!                               └─ machine 3, 10.0.0.3 …
//! ```
//! Nothing of it is seen outside: whoever wants to reach a machine runs in the operator's namespace.

use std::net::Ipv4Addr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::geteuid;

use crate::tool;

/// The name of the bridge.
pub const BRIDGE: &str = "br0";
/// The operator's own address, with the bits of its network.
const OPERATOR: &str = "10.0.0.1/16";

/// Namespaces need root; where they are not allowed, a test says so.
pub fn allowed() -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: a network or file systems of its own need root");
    }
    root
}

/// A network; it goes when it is dropped, and the machines in it have ended.
#[derive(Debug)]
pub struct Venue {
    name: String,
}

impl Venue {
    /// Makes one.
    ///
    /// # Panics
    /// When it cannot be made (root is needed, and iproute2).
    pub async fn open() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let venue = Self { name: format!("backrow-{}-{number}", std::process::id()) };
        let ns = venue.name.as_str();
        for line in [
            &["netns", "add", ns][..],
            &["-n", ns, "link", "set", "lo", "up"],
            &["-n", ns, "link", "add", BRIDGE, "type", "bridge"],
            &["-n", ns, "addr", "add", OPERATOR, "dev", BRIDGE],
            &["-n", ns, "link", "set", BRIDGE, "up"],
        ] {
            tool::run("ip", line).await;
        }
        venue
    }

    /// The address of its machine number `number`, from 0.
    ///
    /// # Panics
    /// When there are too many.
    pub fn address(number: usize) -> Ipv4Addr {
        let [high, low] = u16::try_from(number + 2).unwrap().to_be_bytes();
        Ipv4Addr::new(10, 0, high, low)
    }

    /// A shell's lines that plug in a machine, run in its namespace of network and mounts.
    pub fn plug(&self, number: usize) -> String {
        let (ns, link, address) = (&self.name, format!("m{number}"), Self::address(number));
        format!(
            "ip link set lo up\n\
             ip link add eth0 type veth peer name {link} netns {ns}\n\
             ip -n {ns} link set {link} master {BRIDGE} up\n\
             ip addr add {address}/16 dev eth0\n\
             ip link set eth0 up\n"
        )
    }

    /// Runs `program` as the operator, who reaches the machines.
    ///
    /// # Panics
    /// When it cannot be started or takes for ever.
    pub async fn operate(&self, program: &str, args: &[&str]) -> Output {
        let (ip, mut all) = self.as_operator(program);
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        tool::output(ip, &all).await
    }

    /// What runs `program` as the operator: another program, and arguments to put before its own.
    pub fn as_operator(&self, program: &str) -> (&'static str, Vec<String>) {
        ("ip", ["netns", "exec", &self.name, program].map(str::to_owned).to_vec())
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        // Nothing more can be done about a failure.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}
