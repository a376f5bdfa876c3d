use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

/// A policy, its clock, and all that it said.
struct World {
    policy: Policy,
    now: Duration,
}

impl World {
    fn new() -> Self {
        Self { policy: Policy::new("capture", Limits::default()), now: Duration::ZERO }
    }

    /// One whose worker runs happily.
    fn happy() -> Self {
        let mut world = Self::new();
        assert_eq!(world.tick(), [mood(Mood::Waking, "starting"), Output::Start]);
        assert_eq!(world.step(Input::Started), []);
        assert_eq!(world.step(Input::Progress), [mood(Mood::Happy, "working")]);
        world
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.policy.step(input, self.now)
    }

    fn tick(&mut self) -> Vec<Output> {
        self.step(Input::Tick)
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// The worker works for so long, making something every 100 ms.
    fn works_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += 100 * MS;
            assert_eq!(self.step(Input::Progress), []);
            assert_eq!(self.tick(), []);
        }
    }

    /// The worker dies; returns how long the policy waits before it starts another.
    fn dies(&mut self) -> Duration {
        let out = self.step(exited());
        let Some(Output::Restart { at, .. }) = out.last() else { panic!("{out:?}") };
        let at = *at;
        let waited = at - self.now;
        if !waited.is_zero() {
            self.now = at - MS;
            assert_eq!(self.tick(), [], "too early");
        }
        self.now = at;
        let out = self.tick();
        assert_eq!(out.last(), Some(&Output::Start));
        assert_eq!(self.step(Input::Started), []);
        waited
    }
}

fn mood(mood: Mood, reason: &str) -> Output {
    Output::Mood(mood, reason.to_owned())
}

fn exited() -> Input {
    Input::Exited("was killed by signal 9".to_owned())
}

#[test]
fn a_death_is_told_and_the_first_restart_comes_at_once() {
    let mut world = World::happy();
    let reason = "the capture worker was killed by signal 9; starting it again";
    assert_eq!(
        world.step(exited()),
        [
            mood(Mood::Sad, reason),
            Output::Restart { at: Duration::ZERO, reason: reason.to_owned() }
        ]
    );
    assert_eq!(
        world.tick(),
        [
            mood(Mood::Waking, "starting again; before, the capture worker was killed by signal 9"),
            Output::Start
        ]
    );
}

#[test]
fn its_own_last_words_are_the_better_reason() {
    let mut world = World::happy();
    assert_eq!(world.step(Input::Fault("/dev/video0 was unplugged".into())), []);
    let out = world.step(exited());
    assert_eq!(out[0], mood(Mood::Sad, "/dev/video0 was unplugged; starting it again"));
    // They are not held against the next process.
    world.tick();
    world.step(Input::Started);
    let out = world.step(exited());
    assert_eq!(
        out[0],
        mood(Mood::Sad, "the capture worker was killed by signal 9; starting it again in 1 s")
    );
}

#[test]
fn last_words_explain_a_hang_and_not_what_comes_much_later() {
    let mut world = World::happy();
    world.step(Input::Fault("the grabber does not answer".into()));
    let out = world.after(5 * S).tick();
    assert_eq!(out[0], mood(Mood::Sad, "the grabber does not answer; killing it"));

    let mut world = World::happy();
    world.step(Input::Fault("one frame was broken".into()));
    world.works_for(11 * S);
    let out = world.step(exited());
    let reason = "the capture worker was killed by signal 9; starting it again";
    assert_eq!(out[0], mood(Mood::Sad, reason));
}

#[test]
fn each_restart_waits_longer_until_it_works_again() {
    let mut world = World::happy();
    let waits: Vec<u64> = (0..8).map(|_| world.dies().as_secs()).collect();
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30]);
    world.step(Input::Progress);
    world.works_for(29 * S);
    assert_eq!(world.dies(), 30 * S, "29 s are not enough");
    world.step(Input::Progress);
    world.works_for(30 * S);
    assert_eq!(world.dies(), Duration::ZERO, "30 s are");
}

#[test]
fn no_progress_is_a_reason_to_kill() {
    let mut world = World::happy();
    assert_eq!(world.policy.deadline(), Some(5 * S));
    assert_eq!(world.after(5 * S - MS).tick(), []);
    assert_eq!(
        world.after(MS).tick(),
        [mood(Mood::Sad, "no frame for 5 s; killing it"), Output::Kill]
    );
    assert_eq!(world.after(S).tick(), [], "once is enough");
    assert_eq!(world.step(Input::Progress), [], "too late");
    let out = world.step(exited());
    assert_eq!(out[0], mood(Mood::Sad, "no frame for 5 s; starting it again"));
}

#[test]
fn a_start_has_a_deadline() {
    let mut world = World::new();
    world.tick();
    world.step(Input::Started);
    assert_eq!(world.after(10 * S - MS).tick(), []);
    assert_eq!(
        world.after(MS).tick(),
        [mood(Mood::Sad, "not ready 10 s after its start; killing it"), Output::Kill]
    );
}

#[test]
fn a_machine_that_is_slow_is_given_more_time_with_each_start_up_to_a_minute() {
    let mut world = World::new();
    world.tick();
    world.step(Input::Started);
    for limit in [10, 20, 40, 60, 60, 60] {
        assert_eq!(world.after(limit * S - MS).tick(), []);
        let reason = format!("not ready {limit} s after its start; killing it");
        assert_eq!(world.after(MS).tick(), [mood(Mood::Sad, &reason), Output::Kill]);
        world.dies();
    }
    world.step(Input::Ready);
    world.works_for(30 * S);
    world.dies();
    assert_eq!(world.after(10 * S - MS).tick(), []);
    assert_eq!(world.after(11 * S).tick().last(), Some(&Output::Kill), "20 s again");
}

#[test]
fn a_hungry_worker_is_left_alone() {
    let mut world = World::happy();
    assert_eq!(world.step(Input::Hungry("no signal".into())), [mood(Mood::Hungry, "no signal")]);
    assert_eq!(world.policy.deadline(), None);
    assert_eq!(world.after(3600 * S).tick(), []);
    assert_eq!(world.step(Input::Progress), [], "still hungry, whatever it makes of nothing");
    assert_eq!(world.step(Input::Fed), [mood(Mood::Happy, "working again: its input is back")]);
    assert_eq!(world.after(5 * S - MS).tick(), [], "its clock began when it was fed");
    assert_eq!(world.after(MS).tick().last(), Some(&Output::Kill));
}

#[test]
fn a_worker_that_starts_without_input_is_left_alone_too() {
    let mut world = World::new();
    world.tick();
    world.step(Input::Started);
    assert_eq!(world.step(Input::Hungry(String::new())), [mood(Mood::Hungry, "no input")]);
    assert_eq!(world.after(3600 * S).tick(), []);
    assert_eq!(world.step(Input::Ready), []);
    assert_eq!(world.step(Input::Fed), [mood(Mood::Happy, "working again: its input is back")]);
}

#[test]
fn a_worker_that_cannot_be_killed_is_lost_and_never_doubled() {
    let mut world = World::happy();
    world.after(5 * S).tick();
    assert_eq!(world.after(5 * S - MS).tick(), []);
    let out = world.after(MS).tick();
    assert!(matches!(&out[..], [Output::Mood(Mood::Lost, reason)]
        if reason.starts_with("the capture worker was killed and does not go")));
    assert_eq!(world.after(3600 * S).tick(), []);
    let out = world.step(exited());
    assert_eq!(out[0], mood(Mood::Sad, "no frame for 5 s; starting it again"));
}

#[test]
fn what_cannot_be_started_is_tried_again() {
    let mut world = World::new();
    world.tick();
    let out = world.step(Input::CannotStart("/x: no such file".into()));
    assert_eq!(
        out[0],
        mood(
            Mood::Sad,
            "the capture worker cannot be started: /x: no such file; starting it again"
        )
    );
    assert_eq!(world.tick().last(), Some(&Output::Start));
    let out = world.step(Input::CannotStart("/x: no such file".into()));
    assert!(matches!(&out[1], Output::Restart { at, .. } if *at == S));
}

#[test]
fn a_reader_that_gives_up_has_the_worker_killed() {
    let mut world = World::happy();
    assert_eq!(
        world.step(Input::Abandoned),
        [
            mood(Mood::Sad, "the capture worker closed its output or sent nonsense; killing it"),
            Output::Kill
        ]
    );
}

#[test]
fn stop_kills_and_nothing_starts_again() {
    let mut world = World::happy();
    assert_eq!(world.step(Input::Stop), [Output::Kill]);
    assert_eq!(world.step(Input::Progress), []);
    assert!(!world.policy.is_stopped());
    assert_eq!(world.step(exited()), [mood(Mood::Sleeping, "stopped on purpose")]);
    assert!(world.policy.is_stopped());
    assert_eq!(world.after(3600 * S).tick(), []);

    let mut waiting = World::new();
    assert_eq!(waiting.step(Input::Stop), [mood(Mood::Sleeping, "stopped on purpose")]);
    let mut spawning = World::new();
    spawning.tick();
    assert_eq!(spawning.step(Input::Stop), []);
    assert_eq!(spawning.step(Input::Started), [Output::Kill]);
    assert_eq!(spawning.step(exited()), [mood(Mood::Sleeping, "stopped on purpose")]);
}

fn any_input() -> impl Strategy<Value = Input> {
    let text = || prop_oneof![Just(String::new()), Just(" ".to_owned()), Just("why".to_owned())];
    prop_oneof![
        1 => Just(Input::Started),
        1 => text().prop_map(Input::CannotStart),
        2 => Just(Input::Ready),
        4 => Just(Input::Progress),
        2 => text().prop_map(Input::Hungry),
        2 => Just(Input::Fed),
        1 => text().prop_map(Input::Fault),
        1 => Just(Input::Abandoned),
        2 => text().prop_map(Input::Exited),
        6 => Just(Input::Tick),
    ]
}

proptest! {
    /// Whatever happens in whatever order: never two processes, a reason for every mood, nobody
    /// killed for being hungry, restarts never later than the cap and never too early.
    #[test]
    fn promises_hold(
        steps in prop::collection::vec((any_input(), 0u64..8000), 0..200),
        stop_at in prop::option::of(0usize..200),
    ) {
        let limits = Limits::default();
        let mut policy = Policy::new("x", limits.clone());
        let mut now = Duration::ZERO;
        let (mut starting, mut running, mut hungry, mut killed) = (false, false, false, false);
        let mut stopped = false;
        let mut may_start_at = Duration::ZERO;
        let mut waits: Vec<Duration> = Vec::new();
        for (i, (input, ms)) in steps.into_iter().enumerate() {
            now += Duration::from_millis(ms);
            let input = if stop_at == Some(i) { Input::Stop } else { input };
            // The world keeps to its part: what is not there neither speaks nor dies.
            match &input {
                Input::Started if !starting => continue,
                Input::CannotStart(_) if !starting => continue,
                Input::Ready | Input::Progress | Input::Hungry(_) | Input::Fed | Input::Fault(_)
                | Input::Abandoned | Input::Exited(_) if !running => continue,
                Input::Started => { starting = false; running = true; hungry = false; killed = false; }
                Input::CannotStart(_) => starting = false,
                Input::Hungry(_) => hungry = true,
                Input::Fed => hungry = false,
                Input::Exited(_) => running = false,
                Input::Stop => stopped = true,
                _ => {}
            }
            let deliberate = matches!(input, Input::Stop | Input::Abandoned | Input::Started);
            for output in policy.step(input, now) {
                match output {
                    Output::Start => {
                        prop_assert!(!running && !starting, "two processes");
                        prop_assert!(!stopped, "started after the stop");
                        prop_assert!(now >= may_start_at, "too early");
                        starting = true;
                    }
                    Output::Kill => {
                        prop_assert!(running, "nothing to kill");
                        prop_assert!(deliberate || !hungry, "killed for being hungry");
                        prop_assert!(!killed || stopped, "killed twice");
                        killed = true;
                    }
                    Output::Restart { at, reason } => {
                        prop_assert!(!reason.trim().is_empty());
                        prop_assert!(at >= now && at - now <= limits.backoff_cap);
                        may_start_at = at;
                        waits.push(at - now);
                    }
                    Output::Mood(_, reason) => prop_assert!(!reason.trim().is_empty()),
                }
            }
            if let Some(deadline) = policy.deadline()
                && deadline <= now
                && !starting
            {
                // A deadline that has passed leads somewhere: the runner does not spin.
                let mut again = policy.clone();
                let out = again.step(Input::Tick, now);
                prop_assert!(!out.is_empty(), "{:?}", policy);
            }
        }
        // Each wait is none, the first, twice the one before, or the cap.
        let mut before: Option<Duration> = None;
        for wait in waits {
            let grows = match before {
                None | Some(Duration::ZERO) => limits.backoff,
                Some(before) => (before * 2).min(limits.backoff_cap),
            };
            prop_assert!(wait.is_zero() || wait == grows, "{wait:?} after {before:?}");
            before = Some(wait);
        }
    }
}
