//! The log: to the journal when systemd reads this program's stderr, else to stderr.
//!
//! `RUST_LOG` chooses what is logged, as in `RUST_LOG=debug,rustls=warn`; by default `info`.

use std::{io::IsTerminal, io::stderr};

use rustix::fs::fstat;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging under a name, such as `collector`. A second call changes nothing.
pub fn init(identifier: &str) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let parsed = wanted.as_deref().map(str::parse::<EnvFilter>);
    let (filter, complaint) = match parsed {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new("info"), Some(error.to_string())),
        None => (EnvFilter::new("info"), None),
    };
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let journal = is_journal(stream.as_deref()).then(tracing_journald::layer).and_then(Result::ok);
    let output = match journal {
        // The journal adds the time and shows the level by itself.
        Some(journal) => journal.with_syslog_identifier(identifier.to_owned()).boxed(),
        None => tracing_subscriber::fmt::layer()
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal())
            .with_target(false)
            .boxed(),
    };
    if tracing_subscriber::registry().with(output.with_filter(filter)).try_init().is_err() {
        return;
    }
    if let Some(complaint) = complaint {
        tracing::warn!("RUST_LOG is not understood ({complaint}); logging at level info");
    }
}

/// Whether our stderr is the journal's stream: its device and inode stand in `JOURNAL_STREAM`
/// (systemd.exec(5)). The variable alone is not enough, since children inherit it.
fn is_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|text| text.split_once(':')) else { return false };
    let Ok(ours) = fstat(stderr()) else { return false };
    device.parse() == Ok(ours.st_dev) && inode.parse() == Ok(ours.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_by_device_and_inode() {
        let ours = fstat(stderr()).unwrap();
        assert!(is_journal(Some(&format!("{}:{}", ours.st_dev, ours.st_ino))));
        assert!(!is_journal(Some(&format!("{}:{}", ours.st_dev, ours.st_ino + 1))));
        for wrong in [None, Some(""), Some("1"), Some("a:b")] {
            assert!(!is_journal(wrong), "{wrong:?}");
        }
    }
}
