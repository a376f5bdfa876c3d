use proptest::prelude::*;

use super::*;

fn network(name: &str) -> Network {
    Network { interface: Some(name.to_owned()), ..Network::default() }
}

/// Looks each second, for so long; the actions with their seconds.
fn watch(
    guard: &mut Guard,
    from: u64,
    seconds: u64,
    link: bool,
    reaches: Option<Which>,
) -> Vec<(u64, Action)> {
    (from..from + seconds)
        .filter_map(|second| {
            let reached = reaches == Some(guard.in_force());
            let action = guard.look(Duration::from_secs(second), link, reached)?;
            Some((second, action))
        })
        .collect()
}

#[test]
fn new_settings_that_reach_are_kept() {
    let situation = Situation::at_boot(Some(&network("b")), Some(&network("a")), None);
    assert_eq!((situation.in_force, situation.word()), (Which::Wanted, "new"));
    let mut guard = Guard::new(&situation);
    assert_eq!(watch(&mut guard, 0, 60, true, None), []);
    let kept = watch(&mut guard, 60, 600, true, Some(Which::Wanted));
    assert_eq!(kept, [(60, Action::Keep(Which::Wanted))]);
    assert!(guard.settled());
    assert_eq!(watch(&mut guard, 700, 9000, true, None), [], "what worked once is left alone");
}

#[test]
fn new_settings_that_do_not_reach_go_back_after_two_minutes_of_link() {
    let situation = Situation::at_boot(Some(&network("b")), Some(&network("a")), None);
    let mut guard = Guard::new(&situation);
    assert_eq!(watch(&mut guard, 0, 1000, false, None), [], "no cable is no one's fault");
    let actions = watch(&mut guard, 1000, 300, true, Some(Which::Fallback));
    assert_eq!(
        actions,
        [(1119, Action::Use(Which::Fallback)), (1120, Action::Keep(Which::Fallback))]
    );
}

#[test]
fn when_neither_reaches_they_take_longer_and_longer_turns() {
    let situation = Situation::at_boot(Some(&network("b")), Some(&network("a")), None);
    let mut guard = Guard::new(&situation);
    let actions = watch(&mut guard, 0, 8000, true, None);
    let seconds: Vec<u64> = actions.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds, [120, 420, 1020, 2220, 4020, 5820, 7620]);
    let found = watch(&mut guard, 8000, 9000, true, Some(Which::Wanted));
    assert_eq!(found.last().map(|(_, action)| *action), Some(Action::Keep(Which::Wanted)));
}

#[test]
fn first_settings_take_turns_with_dhcp() {
    let situation = Situation::at_boot(Some(&network("b")), None, None);
    assert_eq!(situation.settings(Which::Fallback), Network::default());
    assert_eq!((situation.good, situation.settled, situation.word()), (false, false, "new"));
    let mut guard = Guard::new(&situation);
    assert_eq!(watch(&mut guard, 0, 130, true, None), [(120, Action::Use(Which::Fallback))]);
    let dhcp = Situation::at_boot(Some(&Network::default()), None, None);
    assert_eq!(dhcp.word(), "default");
    let mut guard = Guard::new(&dhcp);
    assert_eq!(watch(&mut guard, 0, 9000, true, None), [], "there is nothing else to try");
    let reached = watch(&mut guard, 9000, 2, true, Some(Which::Wanted));
    assert_eq!(reached, [(9000, Action::Keep(Which::Wanted))]);
}

#[test]
fn a_boot_knows_what_was_good_and_what_failed() {
    let (a, b, c) = (network("a"), network("b"), network("c"));
    let good = Situation::at_boot(Some(&a), Some(&a), None);
    assert_eq!((good.settled, good.word()), (true, "kept"));
    let failed = Situation::at_boot(Some(&b), Some(&a), Some(&b));
    assert_eq!((failed.in_force, failed.settled), (Which::Fallback, false));
    assert_eq!((failed.settings(failed.in_force), failed.word()), (a.clone(), "kept"));
    let edited = Situation::at_boot(Some(&c), Some(&a), Some(&b));
    assert_eq!(edited.in_force, Which::Wanted);
    let none = Situation::at_boot(None, None, None);
    assert_eq!((none.settings(none.in_force), none.word()), (Network::default(), "default"));
    let damaged = Situation { wanted: "[network".to_owned(), ..good };
    assert_eq!(damaged.settings(Which::Wanted), Network::default());
}

proptest! {
    /// The world: which settings work changes, cables come and go, the power fails. Once it stays
    /// still with a link and one of the two works, the box is soon settled on one that works.
    #[test]
    fn the_box_never_stays_without_a_network_that_works(
        turmoil in prop::collection::vec((1u64..4000, any::<bool>(), any::<bool>(), any::<bool>()), 0..12),
        wanted_works: bool,
        first_ever: bool,
    ) {
        let (a, b) = (network("a"), network("b"));
        let good = (!first_ever).then_some(&a);
        let mut refused: Option<Network> = None;
        let mut situation = Situation::at_boot(Some(&b), good, None);
        let mut guard = Guard::new(&situation);
        let mut now = 0;
        for (seconds, link, restart, _) in turmoil {
            for (_, action) in watch(&mut guard, now, seconds, link, None) {
                if action == Action::Use(Which::Fallback) {
                    refused = Some(b.clone());
                }
            }
            now += seconds;
            if restart {
                situation = Situation::at_boot(Some(&b), good, refused.as_ref());
                guard = Guard::new(&situation);
                now = 0;
            }
            let in_force = situation.settings(guard.in_force());
            prop_assert!(in_force == a || in_force == b || in_force == Network::default());
        }
        let works = if wanted_works { Which::Wanted } else { Which::Fallback };
        let longest = LONGEST.as_secs() + 2;
        let actions = watch(&mut guard, now, longest, true, Some(works));
        prop_assert_eq!(actions.last().map(|(_, action)| *action), Some(Action::Keep(works)));
        prop_assert!(guard.settled());
    }

    #[test]
    fn any_file_gives_a_situation_with_a_network(text in any::<String>()) {
        let situation =
            Situation { wanted: text, ..Situation::at_boot(None, None, None) };
        let _ = situation.settings(Which::Wanted).to_toml();
    }
}
