//! How the box is while settings are on trial: what `backrow push` would hear of it, as it is seen
//! from within.

use std::{collections::BTreeMap, time::Duration};

use protocol::{
    mood::Mood,
    names::Revision,
    payload::Lifecycle,
    status::{CollectorStatus, FILE},
    trial::{Said, Worry},
};
use watchdog::board::Board;

use crate::{daemon::MQTT, kept, paths::Paths};

/// A status that has not changed for so long is none: the collector writes each second.
const STALE: Duration = Duration::from_secs(15);

/// The collector's status over time.
#[derive(Debug, Default)]
pub struct Collector {
    last: Option<(CollectorStatus, Duration)>,
}

impl Collector {
    /// The status, if the collector still writes it.
    pub fn look(&mut self, paths: &Paths, now: Duration) -> Option<&CollectorStatus> {
        let status = kept::read_json::<CollectorStatus>(&paths.collector().join(FILE))?;
        let since = match &self.last {
            Some((last, since)) if *last == status => *since,
            _ => now,
        };
        self.last = Some((status, since));
        let (status, since) = self.last.as_ref()?;
        (now.saturating_sub(*since) < STALE).then_some(status)
    }
}

/// Which components worry, and why: the collector's, and the box's own. Whether the broker is
/// reached, [`said`] tells.
#[must_use]
pub fn worries(status: Option<&CollectorStatus>, board: &Board) -> BTreeMap<String, Worry> {
    let collectors = status.into_iter().flat_map(|status| status.components.clone());
    let collectors = collectors.map(|(name, it)| (name, it.mood, it.reason));
    let own = board.snapshot().into_iter().filter(|(name, _)| name != MQTT);
    let own = own.map(|(name, it)| (name, it.mood, it.reason));
    let worry = |(name, mood, why)| Some((name, Worry::new(mood, why)?));
    collectors.chain(own).filter_map(worry).collect()
}

/// What can be said of the box, and what keeps it from being judged at all. `before` is the
/// collector's session of before the settings were changed.
#[must_use]
pub fn said(
    status: Option<&CollectorStatus>,
    board: &Board,
    revision: Option<&Revision>,
    before: &str,
) -> (Said, Option<String>) {
    let connection = board.get(MQTT);
    let connected = connection.as_ref().is_some_and(|it| it.mood == Mood::Happy);
    let fresh = status.filter(|status| status.session != before);
    let trouble = match (connected, fresh) {
        (false, _) => Some(connection.map_or_else(
            || "the broker is not reached".to_owned(),
            |connection| connection.reason,
        )),
        (_, None) => Some("the collector does not say how it is".to_owned()),
        _ => None,
    };
    let worries = worries(fresh, board);
    let worst = fresh.and_then(|it| it.components.values().map(|component| component.mood).max());
    let sad = worries.values().any(|worry| worry.mood >= Mood::Sad);
    let alert = if sad { Lifecycle::Alert } else { Lifecycle::Ready };
    let said = Said {
        state: Some(if connected { alert } else { Lifecycle::Lost }),
        birth: fresh.map(|status| (status.at, revision.map(Revision::to_string))),
        mood: worst,
        version: None,
        worries,
    };
    (said, trouble)
}

#[cfg(test)]
mod tests {
    use protocol::trial::{Trial, Verdict};
    use watchdog::clock;

    use super::*;

    fn status(session: &str, uplink: Mood) -> CollectorStatus {
        let text = format!(
            r#"{{"v":1,"at":"2026-02-03T04:05:06Z","room":"hall","device":"box-7","session":"{session}",
            "components":{{"uplink":{{"mood":"{uplink}","since":"2026-02-03T04:05:06Z","reason":"refused"}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_box_is_well_with_a_broker_and_a_new_collector_that_does_not_worry() {
        let board = Board::new(clock::system());
        let revision: Revision = "2".parse().unwrap();
        let judge = |board: &Board, status: Option<&CollectorStatus>| {
            let (said, trouble) = said(status, board, Some(&revision), "old");
            let second = Duration::from_secs(1);
            let mut trial = Trial::new("2", Vec::new(), second, second, Duration::ZERO);
            trial.look(&said, Duration::ZERO);
            (trial.look(&said, second), trouble)
        };
        let good = status("new", Mood::Hungry);
        let (verdict, trouble) = judge(&board, Some(&good));
        assert!(matches!(verdict, Verdict::Unwell(_)) && trouble.is_some());
        board.set(MQTT, Mood::Sad, "the broker refused the connection");
        let (_, trouble) = judge(&board, Some(&good));
        assert_eq!(trouble.as_deref(), Some("the broker refused the connection"));
        board.set(MQTT, Mood::Happy, "connected");
        assert_eq!(judge(&board, Some(&good)), (Verdict::Well, None));
        // The old collector, none, or one that worries.
        for bad in [Some(status("old", Mood::Happy)), None, Some(status("new", Mood::Waking))] {
            assert!(matches!(judge(&board, bad.as_ref()).0, Verdict::Unwell(_)), "{bad:?}");
        }
        let (verdict, _) = judge(&board, Some(&status("new", Mood::Sad)));
        assert_eq!(verdict, Verdict::Unwell("uplink: refused".into()));
        board.set("box.network", Mood::Sad, "went back to DHCP");
        let (verdict, _) = judge(&board, Some(&good));
        assert_eq!(verdict, Verdict::Unwell("box.network: went back to DHCP".into()));
    }

    #[test]
    fn a_status_that_stands_still_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        let mut collector = Collector::default();
        assert_eq!(collector.look(&paths, Duration::ZERO), None);
        kept::write_json(&paths.collector().join(FILE), &status("a", Mood::Happy)).unwrap();
        assert!(collector.look(&paths, Duration::from_secs(1)).is_some());
        assert!(collector.look(&paths, Duration::from_secs(15)).is_some());
        assert!(collector.look(&paths, Duration::from_secs(16)).is_none());
        kept::write_json(&paths.collector().join(FILE), &status("b", Mood::Happy)).unwrap();
        assert!(collector.look(&paths, Duration::from_secs(17)).is_some());
    }
}
