use proptest::prelude::*;
use protocol::{
    mood::Mood,
    payload::{EventKind, Role, VERSION},
};

use super::*;

fn at() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

fn outbox() -> Outbox {
    let birth = Birth {
        v: VERSION,
        device: "box-7".parse().unwrap(),
        role: Role::Collector,
        version: "0.1.0".to_owned(),
        started: at(),
        rooms: vec!["demo".parse().unwrap()],
        revision: Some("3f2a91c07b54".parse().unwrap()),
    };
    Outbox::new(birth.device.clone(), Some(birth), None)
}

fn event(seq: u64) -> Event {
    let (component, message) = ("a".to_owned(), "m".to_owned());
    Event { v: VERSION, seq, at: at(), kind: EventKind::Notice, component, message }
}

fn health(uptime_s: u64) -> Health {
    Health {
        v: VERSION,
        at: at(),
        mood: Mood::Happy,
        uptime_s,
        load: None,
        memory_bytes: None,
        temperature_c: None,
        events_dropped: 0,
        more: serde_json::Map::new(),
    }
}

fn moods(all: &[(&str, Mood)]) -> BTreeMap<ComponentName, ComponentState> {
    let state = |mood| ComponentState {
        v: VERSION,
        mood,
        since: at(),
        reason: "because".to_owned(),
        restarts: 0,
    };
    all.iter().map(|(name, mood)| (ComponentName::made_safe(name), state(*mood))).collect()
}

/// Tells everything there is to tell.
fn drain(outbox: &mut Outbox) -> Vec<Item> {
    let mut told = Vec::new();
    while let Some(item) = outbox.next() {
        outbox.told(&item);
        told.push(item);
        assert!(told.len() < 10_000, "no end");
    }
    told
}

fn topics(outbox: &Outbox, items: &[Item]) -> Vec<String> {
    items.iter().map(|item| outbox.message(item).topic.replace("backrow/box-7/", "")).collect()
}

#[test]
fn a_connection_begins_with_who_we_are_and_how_all_is() {
    let mut outbox = outbox();
    outbox.set_components(moods(&[("capture", Mood::Happy), ("uplink", Mood::Waking)]));
    outbox.push_event(event(1));
    outbox.set_health(health(5));
    outbox.set_preview(Bytes::from_static(b"jpeg"));
    outbox.connected();
    let told = drain(&mut outbox);
    assert_eq!(
        topics(&outbox, &told),
        [
            "state",
            "birth",
            "component/capture",
            "component/uplink",
            "state",
            "event",
            "health",
            "preview"
        ]
    );
    assert_eq!(
        (&told[0], &told[4]),
        (&Item::State(Lifecycle::Init), &Item::State(Lifecycle::Ready))
    );
    let retained: Vec<bool> = told.iter().map(|i| outbox.message(i).retain).collect();
    assert_eq!(retained, [true, true, true, true, true, false, false, false]);
    let surely: Vec<bool> = told.iter().map(|i| outbox.message(i).surely).collect();
    assert_eq!(surely, [true, true, true, true, true, true, false, false]);

    // The next connection: the gauges again, what happened not again.
    outbox.connected();
    let told = drain(&mut outbox);
    let expected = ["state", "birth", "component/capture", "component/uplink", "state"];
    assert_eq!(topics(&outbox, &told), expected);
}

#[test]
fn home_assistant_is_told_once_for_each_connection() {
    let discovery = Discovery {
        topic: "homeassistant/device/box-7/box/config".to_owned(),
        payload: Bytes::from_static(b"{}"),
    };
    let mut outbox = Outbox::new("box-7".parse().unwrap(), None, Some(discovery));
    outbox.set_components(moods(&[("box.update", Mood::Happy)]));
    for _ in 0..2 {
        outbox.connected();
        let told = drain(&mut outbox);
        let expected = ["homeassistant/device/box-7/box/config", "component/box.update"];
        assert_eq!(topics(&outbox, &told), expected);
        assert!(outbox.message(&told[0]).retain && outbox.message(&told[0]).surely);
    }
    // A broker that ends the connection over it is not asked for ever.
    for expected in [Some(Item::Discovery), Some(Item::Discovery), None] {
        outbox.connected();
        let next = outbox.next().filter(|item| *item == Item::Discovery);
        assert_eq!(next, expected);
        outbox.cut_off(&Item::Discovery);
    }
}

#[test]
fn only_what_changed_is_told_again() {
    let mut outbox = outbox();
    outbox.set_components(moods(&[("capture", Mood::Happy), ("uplink", Mood::Happy)]));
    drain(&mut outbox);
    outbox.set_components(moods(&[("capture", Mood::Sad), ("uplink", Mood::Happy)]));
    outbox.set_state(Lifecycle::Alert);
    let told = drain(&mut outbox);
    assert_eq!(topics(&outbox, &told), ["component/capture", "state"]);
    assert_eq!(told[1], Item::State(Lifecycle::Alert));
}

#[test]
fn a_gauge_that_changes_under_way_is_told_with_its_newest_value_only() {
    let mut outbox = outbox();
    drain(&mut outbox);
    outbox.set_health(health(5));
    let under_way = outbox.next().unwrap();
    outbox.set_health(health(10));
    outbox.set_health(health(15));
    outbox.told(&under_way);
    assert_eq!(drain(&mut outbox), [Item::Health(health(15))]);

    outbox.set_components(moods(&[("capture", Mood::Waking)]));
    let under_way = outbox.next().unwrap();
    outbox.set_components(moods(&[("capture", Mood::Happy)]));
    outbox.told(&under_way);
    let newest = moods(&[("capture", Mood::Happy)]).pop_first().unwrap();
    assert_eq!(drain(&mut outbox), [Item::Component(newest.0, newest.1)]);
}

#[test]
fn a_component_that_goes_has_its_retained_message_removed() {
    let mut outbox = outbox();
    outbox.set_components(moods(&[("demo/480p", Mood::Happy)]));
    drain(&mut outbox);
    outbox.set_components(moods(&[]));
    let told = drain(&mut outbox);
    let message = outbox.message(&told[0]);
    assert_eq!(message.topic, "backrow/box-7/component/demo/480p");
    assert!(message.payload.is_empty() && message.retain && message.surely);
    outbox.connected();
    let told = drain(&mut outbox);
    assert_eq!(topics(&outbox, &told), ["state", "birth", "state"]);
}

#[test]
fn when_there_are_too_many_events_the_oldest_go_and_are_counted() {
    let mut outbox = outbox();
    drain(&mut outbox);
    let under_way = {
        outbox.push_event(event(1));
        outbox.next().unwrap()
    };
    let most = u64::try_from(MAX_EVENTS).unwrap();
    for seq in 2..=most + 10 {
        outbox.push_event(event(seq));
    }
    assert_eq!(outbox.dropped(), 10);
    // The one under way was among the dropped: its confirmation takes no other away.
    outbox.told(&under_way);
    let seqs: Vec<u64> = drain(&mut outbox)
        .into_iter()
        .filter_map(|item| if let Item::Event(event) = item { Some(event.seq) } else { None })
        .collect();
    assert_eq!(seqs, (11..=most + 10).collect::<Vec<_>>());
}

/// What may happen to an outbox.
#[derive(Debug, Clone)]
enum Step {
    Connected,
    Mood(u8, bool),
    Health,
    Preview,
    Event,
    /// The item under way got there.
    Told,
    /// It is handed over.
    Next,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Connected),
        3 => (0u8..4, any::<bool>()).prop_map(|(name, happy)| Step::Mood(name, happy)),
        2 => Just(Step::Health),
        1 => Just(Step::Preview),
        8 => Just(Step::Event),
        6 => Just(Step::Next),
        6 => Just(Step::Told),
    ];
    prop::collection::vec(step, 0..1500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Events are told in order, none twice, and each is told, kept or counted as dropped; in the
    /// end the broker knows the newest mood of everything.
    #[test]
    fn nothing_is_lost_in_silence(steps in steps()) {
        let mut outbox = outbox();
        let (mut seq, mut uptime) = (0, 0);
        let mut under_way: Option<Item> = None;
        let mut told_events: Vec<u64> = Vec::new();
        let mut wanted = BTreeMap::new();
        let mut known = BTreeMap::new();
        let learn = |item: &Item, known: &mut BTreeMap<ComponentName, ComponentState>, events: &mut Vec<u64>| {
            match item {
                Item::Component(name, state) => { known.insert(name.clone(), state.clone()); }
                Item::Event(event) => events.push(event.seq),
                _ => {}
            }
        };
        for step in steps {
            match step {
                Step::Connected => { outbox.connected(); under_way = None; known.clear(); }
                Step::Mood(name, happy) => {
                    let mood = if happy { Mood::Happy } else { Mood::Sad };
                    wanted.extend(moods(&[(&format!("c{name}"), mood)]));
                    outbox.set_components(wanted.clone());
                }
                Step::Health => { uptime += 5; outbox.set_health(health(uptime)); }
                Step::Preview => outbox.set_preview(Bytes::from(vec![0; 10])),
                Step::Event => { seq += 1; outbox.push_event(event(seq)); }
                Step::Next => under_way = under_way.or_else(|| outbox.next()),
                Step::Told => if let Some(item) = under_way.take() {
                    learn(&item, &mut known, &mut told_events);
                    outbox.told(&item);
                },
            }
        }
        for item in drain(&mut outbox) {
            learn(&item, &mut known, &mut told_events);
        }
        prop_assert!(told_events.is_sorted_by(|a, b| a < b), "{told_events:?}");
        // One that was dropped while under way counts as dropped though it got there.
        let told = u64::try_from(told_events.len()).unwrap();
        prop_assert!(told + outbox.dropped() >= seq);
        prop_assert!(told <= seq);
        prop_assert_eq!(known, wanted);
    }
}

#[test]
fn a_companion_tells_components_answers_and_events_and_nothing_else() {
    let mut outbox = Outbox::new("box-7".parse().unwrap(), None, None);
    outbox.connected();
    outbox.set_health(health(1));
    outbox.set_state(Lifecycle::Alert);
    assert_eq!(outbox.next(), None);
    outbox.push_event(event(1));
    for i in 0..MAX_ANSWERS + 1 {
        let state = protocol::command::AckState::Done;
        outbox.push_answer(Ack::new(None, state, i.to_string()));
    }
    let mut told = Vec::new();
    while let Some(item) = outbox.next() {
        let message = outbox.message(&item);
        told.push((message.topic, message.retain, message.surely));
        outbox.told(&item);
    }
    assert_eq!(told.len(), MAX_ANSWERS + 1, "the oldest answer went");
    assert_eq!(told[0], ("backrow/box-7/command/ack".to_owned(), false, true));
    assert_eq!(told[MAX_ANSWERS].0, "backrow/box-7/event");
}

#[test]
fn what_became_of_a_revision_is_kept_by_the_broker_and_told_anew_to_a_new_one() {
    use protocol::push::{ConfigState, Standing};

    let mut outbox = Outbox::new("box-7".parse().unwrap(), None, None);
    let state = |standing| ConfigState::new(at(), standing, "because");
    outbox.set_config(state(Standing::Trial));
    outbox.set_config(state(Standing::Applied));
    let item = Item::Config(state(Standing::Applied));
    let message = outbox.message(&item);
    assert_eq!(message.topic, "backrow/box-7/config/state");
    assert!(message.retain && message.surely);
    assert_eq!(drain(&mut outbox), std::slice::from_ref(&item));
    outbox.set_config(state(Standing::Applied));
    assert_eq!(drain(&mut outbox), []);
    outbox.connected();
    // What replaced it on the way is told, too.
    assert_eq!(outbox.next(), Some(item.clone()));
    outbox.set_config(state(Standing::Refused));
    outbox.told(&item);
    assert_eq!(drain(&mut outbox), [Item::Config(state(Standing::Refused))]);
}
