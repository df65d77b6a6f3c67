use std::collections::VecDeque;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::circuit::BUCKETS;
use super::*;
use crate::observe::Identity;

const SETTINGS: Settings =
    Settings { error_percent: 50, window: Duration::from_secs(10), min_requests: 10, reset: Duration::from_secs(30) };
const SECOND: Duration = Duration::from_secs(1);

fn breakers() -> Breakers {
    Breakers::new(Arc::new(Metrics::new(&Identity { instance_id: "gw-1".into(), version: "0".into() })))
}

fn provider() -> Arc<str> {
    "openai".into()
}

/// Whether a request may go at `now`; it says nothing.
fn is_let_through(circuit: &mut Circuit, now: Instant) -> bool {
    circuit.admit(&SETTINGS, now).map(|pass| circuit.release(pass)).is_ok()
}

fn send(circuit: &mut Circuit, good: bool, now: Instant) -> Option<Change> {
    let pass = circuit.admit(&SETTINGS, now).unwrap();
    circuit.report(&SETTINGS, pass, good, now)
}

fn opened(now: Instant) -> Circuit {
    let mut circuit = Circuit::new(now);
    for _ in 0..10 {
        send(&mut circuit, false, now);
    }
    assert_eq!(circuit.state(now), BreakerState::Open);
    circuit
}

#[test]
fn half_of_ten_requests_failing_opens_it() {
    let (mut circuit, now) = (Circuit::new(clock::now()), clock::now());
    for n in 0..9 {
        assert_eq!(send(&mut circuit, n % 2 == 1, now), None);
    }
    assert_eq!(send(&mut circuit, true, now), Some(Change::Opened { failed: 5, requests: 10 }));
    assert_eq!(circuit.admit(&SETTINGS, now), Err(Some(SETTINGS.reset)));
    assert_eq!(circuit.admit(&SETTINGS, now + 29 * SECOND), Err(Some(SECOND)));
}

#[test]
fn fewer_failures_than_the_share_leave_it_closed() {
    let (mut circuit, now) = (Circuit::new(clock::now()), clock::now());
    for n in 0..1_000 {
        assert_eq!(send(&mut circuit, n % 3 != 0, now), None);
    }
}

#[test]
fn failures_older_than_the_window_count_no_more() {
    let (mut circuit, now) = (Circuit::new(clock::now()), clock::now());
    for _ in 0..9 {
        send(&mut circuit, false, now);
    }
    assert_eq!(send(&mut circuit, false, now + 10 * SECOND), None);
    for _ in 0..8 {
        assert_eq!(send(&mut circuit, false, now + 19 * SECOND), None);
    }
    assert!(send(&mut circuit, false, now + 19 * SECOND).is_some());
}

#[test]
fn a_good_probe_closes_it_with_nothing_counted() {
    let now = clock::now();
    let (mut circuit, after) = (opened(now), now + SETTINGS.reset);
    assert_eq!(circuit.state(after), BreakerState::HalfOpen);
    let probe = circuit.admit(&SETTINGS, after).unwrap();
    assert!(probe.probe);
    assert_eq!(circuit.admit(&SETTINGS, after), Err(None), "one at a time");
    assert_eq!(circuit.report(&SETTINGS, probe, true, after), Some(Change::Closed));
    assert_eq!((circuit.state(after), circuit.is_idle(after)), (BreakerState::Closed, true));
    assert!(is_let_through(&mut circuit, after));
}

#[test]
fn what_was_counted_before_it_opened_does_not_open_it_again() {
    // The window is longer than the breaker is open.
    let settings = Settings { window: 300 * SECOND, ..SETTINGS };
    let now = clock::now();
    let mut circuit = Circuit::new(now);
    for _ in 0..10 {
        let pass = circuit.admit(&settings, now).unwrap();
        circuit.report(&settings, pass, false, now);
    }
    let after = now + settings.reset;
    for good in [true, false] {
        let pass = circuit.admit(&settings, after).unwrap();
        circuit.report(&settings, pass, good, after);
    }
    assert_eq!(circuit.state(after), BreakerState::Closed, "one failure since");
}

#[test]
fn it_may_be_forgotten_as_soon_as_the_window_is_over() {
    let (mut circuit, now) = (Circuit::new(clock::now()), clock::now());
    send(&mut circuit, false, now);
    assert!(!circuit.is_idle(now + Duration::from_millis(9_900)));
    assert!(circuit.is_idle(now + 10 * SECOND));
}

#[test]
fn a_probe_that_fails_opens_it_for_as_long_again() {
    let now = clock::now();
    let (mut circuit, after) = (opened(now), now + SETTINGS.reset);
    assert_eq!(send(&mut circuit, false, after), Some(Change::Reopened));
    assert_eq!(circuit.admit(&SETTINGS, after), Err(Some(SETTINGS.reset)));
}

#[test]
fn a_probe_that_says_nothing_lets_the_next_one_go() {
    let now = clock::now();
    let (mut circuit, after) = (opened(now), now + SETTINGS.reset);
    assert!(is_let_through(&mut circuit, after));
    assert!(is_let_through(&mut circuit, after));
    assert_eq!(circuit.state(after), BreakerState::HalfOpen);
}

#[test]
fn what_a_request_of_before_says_counts_for_nothing() {
    let now = clock::now();
    let mut circuit = Circuit::new(now);
    let late = circuit.admit(&SETTINGS, now).unwrap();
    for _ in 0..10 {
        send(&mut circuit, false, now);
    }
    assert_eq!(circuit.report(&SETTINGS, late, true, now), None);
    let after = now + SETTINGS.reset;
    let probe = circuit.admit(&SETTINGS, after).unwrap();
    assert_eq!(circuit.report(&SETTINGS, late, true, after), None);
    assert_eq!(circuit.admit(&SETTINGS, after), Err(None), "the probe is still out");
    assert_eq!(circuit.report(&SETTINGS, probe, true, after), Some(Change::Closed));
    for _ in 0..20 {
        assert_eq!(circuit.report(&SETTINGS, late, false, after), None);
    }
    assert!(circuit.is_idle(after));
}

#[test]
fn of_many_threads_one_gets_the_probe() {
    let breakers = breakers();
    let (provider, now) = (provider(), clock::now());
    let admit = |now| breakers.admit(Some(&SETTINGS), &provider, "key-1", "gpt-4", now);
    for round in 0_u32..50 {
        let begin = now + 40 * SECOND * round;
        if round == 0 {
            (0..10).for_each(|_| admit(begin).unwrap().failed());
        }
        let after = begin + 31 * SECOND;
        let (passed, all_asked) = (AtomicUsize::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let trial = admit(after);
                    all_asked.wait();
                    if let Ok(trial) = trial {
                        assert!(trial.is_probe());
                        trial.failed();
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 1);
    }
}

#[test]
fn a_dropped_trial_gives_its_place_back() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    let admit = |now| breakers.admit(Some(&SETTINGS), &provider, "", "gpt-4", now);
    (0..10).for_each(|_| admit(now).unwrap().failed());
    let open = admit(now).err().unwrap();
    assert!(open.retry_in > 29 * SECOND && open.retry_in <= SETTINGS.reset + SECOND, "{open:?}");
    let after = now + 31 * SECOND;
    let probe = admit(after).unwrap();
    assert_eq!(admit(after).err(), Some(Open { retry_in: WHILE_PROBING }));
    drop(probe);
    admit(after).unwrap().succeeded();
    assert!(!admit(after).unwrap().is_probe());
}

#[test]
fn each_provider_key_and_model_has_a_breaker_of_its_own() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    (0..10).for_each(|_| breakers.admit(Some(&SETTINGS), &provider, "key-1", "gpt-4", now).unwrap().failed());
    for (other, key, model) in [("openai", "key-1", "gpt-5"), ("openai", "key-2", "gpt-4"), ("azure", "key-1", "gpt-4")]
    {
        assert!(breakers.admit(Some(&SETTINGS), &other.into(), key, model, now).is_ok());
    }
    assert!(breakers.admit(Some(&SETTINGS), &provider, "key-1", "gpt-4", now).is_err());
    assert!(breakers.admit(None, &provider, "key-1", "gpt-4", now).is_ok(), "without settings there is no breaker");
}

#[test]
fn new_settings_hold_from_the_next_request_on_and_the_state_stays() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    (0..10).for_each(|_| breakers.admit(Some(&SETTINGS), &provider, "k", "m", now).unwrap().failed());
    let changed = Settings { window: SECOND, min_requests: 1, ..SETTINGS };
    assert!(breakers.admit(Some(&changed), &provider, "k", "m", now).is_err());
    breakers.admit(Some(&changed), &provider, "k", "another", now).unwrap().failed();
    assert!(breakers.admit(Some(&changed), &provider, "k", "another", now).is_err());
}

#[test]
fn at_the_bound_what_is_idle_makes_room_and_else_a_new_target_is_not_watched() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    let fail = |key: &str, now| breakers.admit(Some(&SETTINGS), &provider, key, "m", now).unwrap().failed();
    for n in 0..MOST {
        fail(&format!("key-{n}"), now);
    }
    let known = || read(&breakers.known.breakers).len();
    for _ in 0..20 {
        fail("one more", now);
    }
    assert_eq!(known(), MOST, "all are in use");
    assert!(breakers.admit(Some(&SETTINGS), &provider, "one more", "m", now).is_ok(), "not watched");
    // Failures are counted when they are told, however long this machine took for all of them.
    let later = clock::now() + 60 * SECOND;
    fail("one more", later);
    assert_eq!(known(), 1, "nothing was counted in the others lately");
}

#[test]
fn of_models_that_clients_make_up_few_have_breakers_of_their_own_and_the_rest_share_one() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    let fail = |model: &str, now| {
        if let Ok(trial) = breakers.admit(Some(&SETTINGS), &provider, "k", model, now) {
            trial.failed();
        }
    };
    for model in 0..MOST_UNNAMED + 10 {
        (0..10).for_each(|_| fail(&format!("made-up-{model}"), now));
    }
    let shown = |now| breakers.samples(now).into_iter().map(|sample| sample.model.to_string()).collect::<Vec<_>>();
    let of_all = shown(now);
    assert_eq!(
        (of_all.len(), of_all.iter().filter(|name| *name == "other").count()),
        (MOST_UNNAMED + 1, 1),
        "{of_all:?}"
    );
    let is_open = |model: &str| breakers.admit(Some(&SETTINGS), &provider, "k", model, now).is_err();
    assert!(is_open("made-up-0") && is_open("another one"), "the rest is left alone together");
    let other = breakers.admit(Some(&SETTINGS), &provider, "another key", "another one", now);
    assert!(other.is_ok(), "of each key");
}

#[test]
fn models_that_clients_made_up_long_ago_make_room_for_others() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    let admit = |model: &str, now| breakers.admit(Some(&SETTINGS), &provider, "k", model, now).unwrap();
    (0..MOST_UNNAMED).for_each(|n| admit(&format!("good-{n}"), now).succeeded());
    let later = now + 11 * SECOND;
    (0..10).for_each(|_| admit("new", later).failed());
    let shown: Vec<_> = breakers.samples(later).into_iter().map(|sample| sample.model).collect();
    assert_eq!(shown, ["new".into()]);
}

#[test]
fn breakers_of_what_is_configured_no_more_are_forgotten() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    breakers.admit(Some(&SETTINGS), &provider, "k", "m", now).unwrap().failed();
    breakers.retain(None);
    assert_eq!(breakers.samples(now), []);
}

#[test]
fn only_breakers_with_something_to_say_are_shown() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    drop(breakers.admit(Some(&SETTINGS), &provider, "k", "idle", now));
    (0..10).for_each(|_| breakers.admit(Some(&SETTINGS), &provider, "k", "bad", now).unwrap().failed());
    let shown = |now| breakers.samples(now).into_iter().map(|sample| (sample.model, sample.state)).collect::<Vec<_>>();
    assert_eq!(shown(now), [("bad".into(), BreakerState::Open)]);
    assert_eq!(shown(now + 31 * SECOND), [("bad".into(), BreakerState::HalfOpen)]);
}

#[test]
fn one_that_has_recovered_is_shown_as_closed_for_the_time_of_its_window() {
    let (breakers, provider, now) = (breakers(), provider(), clock::now());
    let admit = |now| breakers.admit(Some(&SETTINGS), &provider, "k", "m", now).unwrap();
    (0..10).for_each(|_| admit(now).failed());
    admit(now + 31 * SECOND).succeeded();
    let shown = |now| breakers.samples(now).into_iter().map(|sample| sample.state).collect::<Vec<_>>();
    let recovered = clock::now();
    assert_eq!(shown(recovered), [BreakerState::Closed]);
    assert_eq!(shown(recovered + SETTINGS.window), []);
}

/// The rules again, as plainly as they can be said: every request is remembered.
struct Reference {
    counted: VecDeque<(u64, bool)>,
    phase: Model,
    generation: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Model {
    Closed,
    Open(u64),
    HalfOpen(bool),
}

impl Reference {
    /// Some: let through, as a probe or not. `now` in tenths of a second.
    fn admit(&mut self, now: u64) -> Option<(usize, bool)> {
        match self.phase {
            Model::Closed => return Some((self.generation, false)),
            Model::Open(until) if now < until => return None,
            Model::HalfOpen(true) => return None,
            Model::Open(_) => self.generation += 1,
            Model::HalfOpen(false) => {}
        }
        self.phase = Model::HalfOpen(true);
        Some((self.generation, true))
    }

    fn report(&mut self, (generation, _): (usize, bool), good: bool, now: u64) {
        if generation != self.generation {
            return;
        }
        let open = Model::Open(now + 300);
        match self.phase {
            Model::Closed => {
                self.counted.push_back((now / 10, good));
                let lately = |(bucket, _): &&(u64, bool)| now / 10 - bucket < BUCKETS as u64;
                let requests = self.counted.iter().filter(lately).count();
                let failed = self.counted.iter().filter(lately).filter(|(_, good)| !good).count();
                if requests >= 10 && failed * 2 >= requests {
                    (self.phase, self.generation) = (open, self.generation + 1);
                }
            }
            Model::HalfOpen(_) => {
                self.counted.clear();
                (self.phase, self.generation) = (if good { Model::Closed } else { open }, self.generation + 1);
            }
            Model::Open(_) => unreachable!("nothing is let through while it is open"),
        }
    }

    fn release(&mut self, (generation, probe): (usize, bool)) {
        if probe && generation == self.generation && self.phase == Model::HalfOpen(true) {
            self.phase = Model::HalfOpen(false);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    /// The request that was let through this long ago.
    Report(usize, bool),
    Release(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Admit),
        4 => (0..4_usize, prop::bool::weighted(0.4)).prop_map(|(at, good)| Step::Report(at, good)),
        1 => (0..4_usize).prop_map(Step::Release),
        1 => prop_oneof![0..30_u64, Just(10), Just(100), Just(300), 250..350_u64].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn it_does_what_the_rules_say(steps in proptest::collection::vec(step(), 0..200)) {
        let begin = clock::now();
        let at = |tenths: u64| begin + Duration::from_millis(tenths * 100);
        let (mut circuit, mut now) = (Circuit::new(begin), 0);
        let mut reference = Reference { counted: VecDeque::new(), phase: Model::Closed, generation: 0 };
        let mut out = Vec::new();
        for step in steps {
            match step {
                Step::Admit => {
                    let (pass, expected) = (circuit.admit(&SETTINGS, at(now)), reference.admit(now));
                    prop_assert_eq!(pass.ok().map(|pass| pass.probe), expected.map(|(_, probe)| probe));
                    out.extend(pass.ok().zip(expected));
                }
                Step::Report(which, good) if which < out.len() => {
                    let (pass, expected) = out.swap_remove(which);
                    circuit.report(&SETTINGS, pass, good, at(now));
                    reference.report(expected, good, now);
                }
                Step::Release(which) if which < out.len() => {
                    let (pass, expected) = out.swap_remove(which);
                    circuit.release(pass);
                    reference.release(expected);
                }
                Step::Report(..) | Step::Release(_) => {}
                Step::Wait(tenths) => now += tenths,
            }
            let expected = match reference.phase {
                Model::Closed => BreakerState::Closed,
                Model::Open(until) if now < until => BreakerState::Open,
                _ => BreakerState::HalfOpen,
            };
            prop_assert_eq!(circuit.state(at(now)), expected);
        }
    }
}
