//! Watches whether the time is known, and asks the encoder's or the broker's host when NTP is
//! silent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use protocol::{
    config::{Site, Url, site::Destination},
    mood::Mood,
    payload::EventKind,
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use watchdog::{
    backoff::{Backoff, jitter},
    board::Board,
    clock::SharedClock,
};

use super::{
    floor::{self, keep},
    https::{self, Server},
};
use crate::{image::Image, paths::Paths};

/// The clock on the board.
pub const COMPONENT: &str = "box.clock";

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// NTP may take so long before another is asked.
const NTP_FIRST: Duration = Duration::from_secs(20);
/// After a good answer; clocks of small boards drift by some seconds a day.
const AGAIN: Duration = Duration::from_secs(3600);
/// How often the time is kept for the next start.
const KEEP: Duration = Duration::from_secs(600);
/// What the network's delay and the header's whole seconds may amount to.
const NEAR: SignedDuration = SignedDuration::from_secs(3);

/// What to do with a time that was offered.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// The clock is right.
    Right,
    /// The clock is behind: set it.
    Set,
    /// The clock is ahead by so many seconds. It is not set back: segments and certificates go by
    /// it, and NTP knows how to do that gently.
    Ahead(i64),
}

fn weigh(clock: Timestamp, offered: Timestamp) -> Offer {
    let difference = offered.duration_since(clock);
    if difference > NEAR {
        Offer::Set
    } else if difference < -NEAR {
        Offer::Ahead(-difference.as_secs())
    } else {
        Offer::Right
    }
}

/// Keeps the time.
#[derive(Debug)]
pub struct Keeper {
    /// The box.
    pub paths: Paths,
    /// Its clock.
    pub clock: SharedClock,
    /// Where moods stand.
    pub board: Board,
    /// Who may be asked.
    pub servers: Vec<Server>,
}

/// Who may be asked for the time: the encoder if it speaks TLS, and the broker's host at the usual
/// port.
#[must_use]
pub fn servers(site: &Site) -> Vec<Server> {
    let read = |path: &std::path::PathBuf| std::fs::read(path).ok();
    let at = |host: &str, port: u16| format!("https://{host}:{port}/").parse::<Url>().ok();
    let mut servers = Vec::new();
    let (Destination::Ingest { url, ca, .. } | Destination::Rtmp { url, ca }) = &site.encoder;
    let port = match url.scheme() {
        "https" => url.port_or_known_default(),
        "rtmps" => Some(443),
        _ => None,
    };
    if let (Some(port), Some(host)) = (port, url.host_str()) {
        let ca = ca.as_ref().and_then(read);
        servers.extend(at(host, port).map(|url| Server { url, ca, only_ca: false }));
    }
    if let Some(mqtt) = site.mqtt.as_ref().filter(|mqtt| mqtt.tls())
        && let Some(host) = mqtt.url.host_str()
    {
        let ca = mqtt.ca.as_ref().and_then(read);
        let only_ca = ca.is_some();
        servers.extend(at(host, 443).map(|url| Server { url, ca, only_ca }));
    }
    servers
}

impl Keeper {
    /// Until cancelled; keeps the time at the end.
    pub async fn run(self, cancel: CancellationToken) {
        self.board.set(COMPONENT, Mood::Waking, "asking time servers");
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
        let mut ask_at = self.clock.monotonic() + NTP_FIRST;
        let mut keep_at = self.clock.monotonic() + KEEP;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let now = self.clock.monotonic();
            if now >= keep_at {
                keep_at = now + KEEP;
                self.keep();
            }
            if self.by_ntp() {
                self.board.set(COMPONENT, Mood::Happy, "the time comes from a time server");
                ask_at = now + NTP_FIRST;
                backoff.reset();
            } else if now >= ask_at {
                let asked = cancel.run_until_cancelled(self.ask()).await;
                ask_at = self.clock.monotonic()
                    + match asked {
                        Some(true) => AGAIN,
                        Some(false) => backoff.next(jitter()),
                        None => break,
                    };
            }
        }
        self.keep();
    }

    /// systemd-timesyncd leaves word when it has set the clock.
    fn by_ntp(&self) -> bool {
        self.paths.system("run/systemd/timesync/synchronized").exists()
    }

    fn keep(&self) {
        // Without its partition, /data is an empty folder of the read-only root.
        if let Err(error) = keep(&self.paths, self.clock.utc()) {
            tracing::debug!("the time cannot be kept for the next start: {error}");
        }
    }

    /// Asks one after the other; whether one told the time.
    async fn ask(&self) -> bool {
        let built = Image::read(&self.paths).map_or(0, |image| image.built);
        let floor = Timestamp::from_second(built).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut why =
            "there is no time server, and neither encoder nor broker speaks TLS".to_owned();
        for server in &self.servers {
            let asked_at = self.clock.monotonic();
            match https::date(server, floor).await {
                Ok(offered) => {
                    // The header was written about half-way through the exchange.
                    let taken = self.clock.monotonic().saturating_sub(asked_at) / 2;
                    return self.take(offered + taken, server.url.host_str().unwrap_or_default());
                }
                Err(error) => why = error.to_string(),
            }
        }
        self.board.set(COMPONENT, Mood::Hungry, format!("no time server answers; {why}"));
        false
    }

    fn take(&self, offered: Timestamp, host: &str) -> bool {
        let before = self.clock.utc();
        match weigh(before, offered) {
            Offer::Right => {
                let text = format!("no time server answers; {host} agrees with this clock");
                self.board.set(COMPONENT, Mood::Happy, text);
            }
            Offer::Ahead(seconds) => {
                let text = format!(
                    "this clock is {seconds} s ahead of {host}, and no time server answers: set \
                     time servers in site.toml"
                );
                self.board.set(COMPONENT, Mood::Sad, text);
            }
            Offer::Set => {
                if let Err(error) = floor::set(offered) {
                    self.board.set(
                        COMPONENT,
                        Mood::Sad,
                        format!("the clock cannot be set: {error}"),
                    );
                    return false;
                }
                let text = format!("no time server answers; the time was taken from {host}");
                self.board.event(
                    EventKind::Notice,
                    COMPONENT,
                    format!("the clock was set from {before} by the answer of {host}"),
                );
                self.board.set(COMPONENT, Mood::Happy, text);
                self.keep();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_clock_that_is_behind_is_set_and_one_that_is_ahead_is_told() {
        let at = |second: i64| Timestamp::from_second(1_763_000_000 + second).unwrap();
        assert_eq!(weigh(at(0), at(3)), Offer::Right);
        assert_eq!(weigh(at(0), at(-3)), Offer::Right);
        assert_eq!(weigh(at(0), at(4)), Offer::Set);
        assert_eq!(weigh(at(10), at(0)), Offer::Ahead(10));
        assert_eq!(weigh(Timestamp::UNIX_EPOCH, at(0)), Offer::Set);
    }

    #[test]
    fn who_speaks_tls_is_asked() {
        let of = |text: &str| {
            let site = protocol::config::site::load(text, Path::new("site.toml")).unwrap();
            let urls = servers(&site).into_iter().map(|server| server.url.to_string());
            urls.collect::<Vec<_>>()
        };
        let plain = "room = \"a\"\n[encoder]\nurl = \"http://e\"\ntoken = \"correct-horse\"\n";
        assert_eq!(of(plain), Vec::<String>::new());
        let both = "room = \"a\"\n[encoder]\nurl = \"https://e:8443/x\"\ntoken = \"correct-horse\"\n\
                    [mqtt]\nurl = \"mqtts://b:8883\"\n";
        assert_eq!(of(both), ["https://e:8443/", "https://b/"]);
        let rtmps = "room = \"a\"\n[encoder]\nurl = \"rtmps://r/app/key\"\n";
        assert_eq!(of(rtmps), ["https://r/"]);
    }
}
