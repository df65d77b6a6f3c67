use std::sync::atomic::AtomicBool;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

fn bucket(full_at: &AtomicU64, increment: u64, burst: u64) -> Bucket<'_> {
    Bucket { full_at, increment, burst }
}

/// A bucket as it is usually told: units and the time in fractions of one, filled at every look.
struct Model {
    increment: u64,
    burst: u64,
    /// Nanoseconds' worth of units.
    held: i128,
    at: u64,
}

impl Model {
    fn pass(&mut self, now: u64) {
        let capacity = i128::from(self.burst) * i128::from(self.increment);
        self.held = (self.held + i128::from(now - self.at)).min(capacity);
        self.at = now;
    }

    fn add(&mut self, units: i128) {
        let capacity = i128::from(self.burst) * i128::from(self.increment);
        self.held = (self.held + units * i128::from(self.increment)).min(capacity);
    }

    fn take(&mut self, cost: u64) -> bool {
        let enough = self.held >= i128::from(cost) * i128::from(self.increment);
        if enough {
            self.add(-i128::from(cost));
        }
        enough
    }
}

#[derive(Debug, Clone)]
enum Step {
    Take(u64),
    Ask(u64),
    Refund(u64),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let cost = 0..12_u64;
    let step = prop_oneof![
        4 => cost.clone().prop_map(Step::Take),
        1 => cost.clone().prop_map(Step::Ask),
        1 => cost.prop_map(Step::Refund),
    ];
    proptest::collection::vec((0..3_000_u64, step), 0..200)
}

proptest! {
    #[test]
    fn a_bucket_is_what_its_model_is(increment in 1..1_500_u64, burst in 1..10_u64, steps in steps()) {
        let word = AtomicU64::new(0);
        let bucket = bucket(&word, increment, burst);
        let full = i128::from(burst) * i128::from(increment);
        let mut model = Model { increment, burst, held: full, at: 0 };
        let mut now = 1_000_000;
        for (pause, step) in steps {
            now += pause;
            model.pass(now);
            match step {
                Step::Take(cost) => prop_assert_eq!(bucket.take(now, cost).is_ok(), model.take(cost)),
                Step::Ask(cost) => {
                    let enough = model.held >= i128::from(cost) * i128::from(increment);
                    prop_assert_eq!(bucket.ask(now, cost).is_ok(), enough);
                }
                Step::Refund(cost) => {
                    // As if it was taken at this moment.
                    bucket.refund(now, now, cost);
                    model.add(i128::from(cost));
                }
            }
            let level = bucket.level(now);
            prop_assert_eq!(i128::from(level.remaining), model.held.max(0) / i128::from(increment));
            prop_assert_eq!(i128::from(level.full_in), full - model.held);
        }
    }

    #[test]
    fn who_comes_back_when_told_is_let_in_and_not_a_moment_earlier(
        increment in 1..5_000_u64, burst in 1..20_u64, taken in 0..40_u64, cost in 1..25_u64,
    ) {
        let now = 1_000_000;
        let word = AtomicU64::new(now + taken * increment);
        let bucket = bucket(&word, increment, burst);
        if let Err(Empty { wait, .. }) = bucket.ask(now, cost) {
            match wait {
                None => prop_assert!(cost > burst),
                Some(wait) => {
                    prop_assert!(wait > 0 && bucket.ask(now + wait - 1, cost).is_err());
                    prop_assert!(bucket.take(now + wait, cost).is_ok());
                }
            }
        }
        let level = bucket.level(now);
        if level.next_in > 0 {
            prop_assert_eq!(bucket.level(now + level.next_in - 1).remaining, level.remaining);
            prop_assert_eq!(bucket.level(now + level.next_in).remaining, level.remaining + 1);
        }
    }

    #[test]
    fn nothing_overflows(full_at: u64, now: u64, increment in 1_u64.., burst in 1_u64.., cost: u64) {
        let word = AtomicU64::new(full_at);
        let bucket = bucket(&word, increment, burst);
        let _ = (bucket.ask(now, cost), bucket.take(now, cost), bucket.level(now));
        bucket.refund(now, full_at, cost);
    }

    #[test]
    fn those_who_give_back_leave_no_more_than_if_they_had_never_taken(
        increment in 1..1_500_u64, burst in 1..10_u64,
        steps in proptest::collection::vec((prop_oneof![Just(0), 0..3_000_u64], 0..12_u64, 0..5_u8), 0..200),
    ) {
        let word = AtomicU64::new(0);
        let bucket = bucket(&word, increment, burst);
        let mut now = 1_000_000;
        let (mut kept, mut open) = (Vec::<(u64, u64)>::new(), Vec::<(u64, u64)>::new());
        for (pause, cost, step) in steps {
            now += pause;
            if step < 4 {
                if bucket.take(now, cost).is_ok() {
                    if step == 0 { kept.push((now, cost)) } else { open.push((now, cost)) }
                }
            } else if !open.is_empty() {
                let (taken, cost) = open.swap_remove(usize::try_from(cost).unwrap() % open.len());
                bucket.refund(now, taken, cost);
            }
            // The bucket that only those saw who have not given back, in the order in which they took.
            let mut without: Vec<_> = kept.iter().chain(&open).copied().collect();
            without.sort_by_key(|(at, _)| *at);
            let full_at = without.iter().fold(0, |full_at: u64, (at, cost)| full_at.max(*at) + cost * increment);
            prop_assert!(bucket.level(now).full_in >= full_at.saturating_sub(now));
        }
    }
}

#[test]
fn a_bucket_with_less_than_nothing_after_its_burst_was_lowered_pays_that_first() {
    let (word, now) = (AtomicU64::new(1_080), 1_000);
    let bucket = bucket(&word, 10, 5);
    assert_eq!(bucket.level(now), Level { remaining: 0, burst: 5, next_in: 40, full_in: 80 });
    assert_eq!(bucket.take(now, 1).unwrap_err().wait, Some(40));
    assert!(bucket.take(now + 39, 1).is_err());
    assert_eq!(bucket.take(now + 40, 1).map(|level| level.remaining), Ok(0));
}

#[test]
fn a_refund_never_fills_beyond_the_burst() {
    let (word, now) = (AtomicU64::new(0), 1_000);
    let bucket = bucket(&word, 10, 5);
    bucket.take(now, 2).unwrap();
    bucket.refund(now, now, 50);
    assert!(bucket.take(now, 6).is_err());
    assert!(bucket.take(now, 5).is_ok());
    assert!(bucket.take(now, 1).is_err());
}

#[test]
fn what_time_gave_back_is_not_given_back_once_more() {
    let (word, now) = (AtomicU64::new(0), 1_000);
    let bucket = bucket(&word, 10, 100);
    bucket.take(now, 50).unwrap();
    bucket.take(now, 50).unwrap();
    bucket.refund(now, now, 50);
    // Full again by now; another takes it all.
    let later = now + 600;
    bucket.take(later, 100).unwrap();
    bucket.refund(later, now, 50);
    assert_eq!(bucket.level(later).remaining, 0);
}

#[test]
fn threads_share_a_burst_to_the_last_unit() {
    for _ in 0..50 {
        let word = AtomicU64::new(0);
        let took = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let bucket = bucket(&word, 1_000_000, 1_000);
                    while bucket.take(5, 3).is_ok() {
                        took.fetch_add(3, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(took.into_inner(), 999);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures with the real clock")]
fn threads_with_refunds_and_a_running_clock_never_exceed_rate_and_burst() {
    let (word, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (took, increment, burst) = (AtomicU64::new(0), 20_000, 5_000);
    let epoch = Instant::now();
    let clock = || u64::try_from(epoch.elapsed().as_nanos()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (word, stop, took) = (&word, &stop, &took);
            scope.spawn(move || {
                let bucket = bucket(word, increment, burst);
                for n in thread.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let now = clock();
                    if bucket.take(now, 1).is_ok() {
                        // Every third is given back at once, as when another limit refused.
                        if n % 3 == 0 {
                            bucket.refund(clock(), now, 1);
                        } else {
                            took.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        while clock() < 200_000_000 {
            std::hint::spin_loop();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let most = burst + clock() / increment;
    let took = took.into_inner();
    assert!(took <= most, "{took} of {most}");
    assert!(took > most / 2, "{took} of {most}");
}
