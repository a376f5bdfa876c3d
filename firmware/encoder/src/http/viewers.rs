//! How many people watch over HLS: one simple rule, and no record of who they are.
//!
//! A player's first request, for the multivariant playlist, is answered with a random id in the
//! addresses of the media playlists; the player comes back with it every target duration. A viewer
//! is an id that asked for a media playlist within the last three target durations: who only looks
//! whether the room is there is none. A player that asks for a media playlist directly has no id: a hash of its address and `User-Agent`, keyed with a number that lives only
//! as long as this process, stands for it. Nothing is written anywhere, and an id that is not
//! renewed is forgotten. Clients of progressive streams are counted as connections, exactly.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

/// Ids kept at most; more viewers than this count as this many.
pub(super) const MAX_IDS: usize = 100_000;

/// A viewer for as long as it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ViewerId(pub(super) u64);

/// The viewers of one room. Pure: times are handed in.
#[derive(Debug, Default)]
pub(super) struct Viewers {
    last_seen: HashMap<ViewerId, Seen>,
}

#[derive(Debug)]
struct Seen {
    at: Duration,
    /// It has asked for a media playlist.
    plays: bool,
}

impl Viewers {
    /// Notes that `id` was handed out at `now`: it takes a place, and is no viewer yet.
    pub(super) fn invited(&mut self, id: ViewerId, now: Duration) {
        self.note(id, now, false);
    }

    /// Notes that `id` asked for a media playlist at `now`.
    pub(super) fn seen(&mut self, id: ViewerId, now: Duration) {
        self.note(id, now, true);
    }

    fn note(&mut self, id: ViewerId, now: Duration, plays: bool) {
        let full = self.last_seen.len() >= MAX_IDS;
        match self.last_seen.entry(id) {
            Entry::Occupied(mut seen) => {
                let seen = seen.get_mut();
                *seen = Seen { at: now, plays: seen.plays || plays };
            }
            Entry::Vacant(place) if !full => drop(place.insert(Seen { at: now, plays })),
            Entry::Vacant(_) => {}
        }
    }

    /// Forgets who has been away for longer than `keep`, and counts the others.
    pub(super) fn count(&mut self, now: Duration, keep: Duration) -> usize {
        self.places(now, keep);
        self.last_seen.values().filter(|seen| seen.plays).count()
    }

    /// The same with those who were only invited: a storm of them cannot pass the limit.
    pub(super) fn places(&mut self, now: Duration, keep: Duration) -> usize {
        self.last_seen.retain(|_, seen| now.saturating_sub(seen.at) <= keep);
        self.last_seen.len()
    }
}

/// Reads the id of a playlist's query, as [`with_id`] wrote it or as a player made it up: 8 to 32
/// letters and digits. Whatever else stands there counts as none.
pub(super) fn id_text(query: Option<&str>) -> Option<&str> {
    let id = query?.split('&').find_map(|pair| pair.strip_prefix("v="))?;
    let fits = (8..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then_some(id)
}

/// The multivariant playlist with `?v=id` at every address in it.
pub(super) fn with_id(playlist: &str, id: &str) -> String {
    let mut out = String::with_capacity(playlist.len() + playlist.lines().count() * (id.len() + 3));
    for line in playlist.lines() {
        if line.is_empty() || line.starts_with('#') {
            match line.split_once("URI=\"") {
                Some((before, rest)) if rest.contains('"') => {
                    let (uri, after) = rest.split_once('"').unwrap_or((rest, ""));
                    out.extend([before, "URI=\"", uri, "?v=", id, "\"", after]);
                }
                _ => out.push_str(line),
            }
        } else {
            out.extend([line, "?v=", id]);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEEP: Duration = Duration::from_secs(6);

    #[test]
    fn a_viewer_counts_once_until_it_stays_away() {
        let mut viewers = Viewers::default();
        for second in 0..10 {
            viewers.seen(ViewerId(1), Duration::from_secs(second));
        }
        viewers.seen(ViewerId(2), Duration::from_secs(5));
        assert_eq!(viewers.count(Duration::from_secs(9), KEEP), 2);
        assert_eq!(viewers.count(Duration::from_secs(12), KEEP), 1);
        assert_eq!(viewers.count(Duration::from_secs(16), KEEP), 0);
        assert_eq!(viewers.last_seen.len(), 0, "nothing is kept of those who left");
    }

    #[test]
    fn an_invitation_takes_a_place_and_is_no_viewer() {
        let mut viewers = Viewers::default();
        let at = Duration::from_secs(1);
        viewers.invited(ViewerId(1), at);
        assert_eq!((viewers.count(at, KEEP), viewers.places(at, KEEP)), (0, 1));
        viewers.seen(ViewerId(1), at);
        viewers.invited(ViewerId(1), at);
        assert_eq!((viewers.count(at, KEEP), viewers.places(at, KEEP)), (1, 1));
    }

    #[test]
    fn a_flood_of_ids_takes_bounded_memory_and_drops_no_one() {
        let mut viewers = Viewers::default();
        for id in 0..MAX_IDS as u64 + 500 {
            viewers.seen(ViewerId(id), Duration::ZERO);
        }
        viewers.seen(ViewerId(7), Duration::from_secs(20));
        assert_eq!(viewers.last_seen.len(), MAX_IDS);
        assert_eq!(viewers.count(Duration::from_secs(21), KEEP), 1);
    }

    #[test]
    fn ids_go_to_every_address_of_a_multivariant_playlist() {
        let playlist = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio/index.m3u8\",NAME=\"a\"\n\
                        #EXT-X-STREAM-INF:BANDWIDTH=1\nsource/index.m3u8\n";
        let marked = with_id(playlist, "abcdefgh");
        assert_eq!(
            marked,
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio/index.m3u8?v=abcdefgh\",NAME=\"a\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=1\nsource/index.m3u8?v=abcdefgh\n"
        );
    }

    #[test]
    fn only_plain_ids_are_taken() {
        assert_eq!(id_text(Some("v=abcd1234")), Some("abcd1234"));
        assert_eq!(id_text(Some("x=1&v=abcd1234&y=2")), Some("abcd1234"));
        for odd in ["", "v=", "v=short", "v=has%20space1", "v=\"quoted\"\"", "w=abcd1234"] {
            assert_eq!(id_text(Some(odd)), None, "{odd}");
        }
        assert_eq!(id_text(Some(&format!("v={}", "a".repeat(33)))), None);
        assert_eq!(id_text(None), None);
    }

    proptest! {
        #[test]
        fn what_with_id_writes_reads_back(id in "[A-Za-z0-9]{8,32}", name in "[a-z0-9]{1,12}") {
            let marked = with_id(&format!("#EXTM3U\n{name}/index.m3u8\n"), &id);
            let address = marked.lines().nth(1).unwrap_or_default();
            let query = address.split_once('?').map(|(_, query)| query);
            prop_assert_eq!(id_text(query), Some(id.as_str()));
        }

        #[test]
        fn the_count_is_the_number_of_ids_in_the_window(
            seen in proptest::collection::vec((0u64..20, 0u64..60), 0..100), now in 60u64..80
        ) {
            let mut viewers = Viewers::default();
            let mut sorted = seen;
            sorted.sort_by_key(|(_, at)| *at);
            for (id, at) in &sorted {
                viewers.seen(ViewerId(*id), Duration::from_secs(*at));
            }
            let expected: std::collections::BTreeSet<_> =
                sorted.iter().filter(|(_, at)| now - at <= KEEP.as_secs()).map(|(id, _)| id).collect();
            prop_assert_eq!(viewers.count(Duration::from_secs(now), KEEP), expected.len());
        }
    }
}
