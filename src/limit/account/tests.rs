use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::config::limit::{Calendar, Period};

/// 2026-03-01T00:00:00Z, a Sunday.
const MARCH: u64 = 1_772_323_200_000;
const DAY: u64 = 86_400_000;
const SECOND: u64 = 1_000_000_000;

fn rolling(units: u64, nanos: u64) -> Rule {
    Rule::new(&Budget { units, window: Window::Rolling(Duration::from_nanos(nanos)) })
}

fn by(period: Period, units: u64) -> Rule {
    Rule::new(&Budget { units, window: Window::Calendar(Calendar { period, zone: TimeZone::UTC }) })
}

fn after(nanos: u64) -> Moment {
    Moment { nanos, wall: MARCH + nanos / 1_000_000 }
}

fn on(wall: u64) -> Moment {
    Moment { nanos: 0, wall }
}

/// An account as it is usually told: a level in fractions of a unit that time fills up, and what is set aside of it.
struct Model {
    units: i128,
    nanos: i128,
    /// Units times nanoseconds; below zero in debt.
    level: i128,
    at: u64,
    held: Vec<u64>,
}

impl Model {
    fn pass(&mut self, now: u64) {
        let back = i128::from(now - self.at) * self.units;
        self.level = (self.level + back).min(self.units * self.nanos);
        self.at = now;
    }

    fn free(&self) -> i128 {
        self.level - self.held.iter().map(|held| i128::from(*held)).sum::<i128>() * self.nanos
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u64),
    /// Which of those open, and what it used in percent of what it had set aside.
    Settle(usize, u64),
}

fn steps(most_percent: u64) -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        3 => (0..130_u64).prop_map(Step::Reserve),
        2 => (any::<usize>(), 0..=most_percent).prop_map(|(which, percent)| Step::Settle(which, percent)),
    ];
    proptest::collection::vec((prop_oneof![Just(0), 0..50_u64, 0..3_000_u64], step), 0..120)
}

proptest! {
    #[test]
    fn an_account_is_what_its_model_is(units in 1..100_u64, nanos in 1..5_000_u64, steps in steps(200)) {
        let rule = rolling(units, nanos);
        let mut account = Account::default();
        let (units, nanos) = (i128::from(units), i128::from(nanos));
        let mut model = Model { units, nanos, level: units * nanos, at: 0, held: Vec::new() };
        let mut now = 0;
        for (pause, step) in steps {
            now += pause;
            model.pass(now);
            match step {
                Step::Reserve(estimate) => {
                    let cost = i128::from(estimate).min(units);
                    let fits = cost == 0 || model.free() >= cost * nanos;
                    let reserved = account.reserve(&rule, after(now), estimate);
                    prop_assert_eq!(reserved.is_ok(), fits);
                    if let Err(lack) = reserved {
                        // Who comes back when told finds room beside what was used, and not a moment earlier.
                        let used = units * nanos - model.level;
                        let over = used + cost * nanos - units * nanos;
                        prop_assert_eq!(i128::from(lack.wait), (over.max(0) + units - 1) / units);
                    }
                    model.held.extend(reserved.ok());
                }
                Step::Settle(_, _) if model.held.is_empty() => {}
                Step::Settle(which, percent) => {
                    let held = model.held.swap_remove(which % model.held.len());
                    let used = held * percent / 100;
                    account.settle(&rule, after(now), held, used);
                    model.level -= i128::from(used) * nanos;
                }
            }
            let standing = account.look(&rule, after(now));
            prop_assert_eq!(i128::from(standing.remaining), model.free().max(0) / nanos);
            prop_assert_eq!(i128::from(standing.full_in), (units * nanos - model.free() + units - 1) / units);
        }
    }

    #[test]
    fn what_is_settled_between_any_two_moments_is_the_budget_and_what_came_back_at_most(
        units in 1..100_u64, nanos in 1..5_000_u64, steps in steps(100),
    ) {
        let rule = rolling(units, nanos);
        let (mut account, mut open, mut settled) = (Account::default(), Vec::new(), Vec::new());
        let mut now = 0;
        for (pause, step) in steps {
            now += pause;
            match step {
                Step::Reserve(estimate) => open.extend(account.reserve(&rule, after(now), estimate).ok()),
                Step::Settle(_, _) if open.is_empty() => {}
                Step::Settle(which, percent) => {
                    let held = open.swap_remove(which % open.len());
                    account.settle(&rule, after(now), held, held * percent / 100);
                    settled.push((now, held * percent / 100));
                }
            }
        }
        for from in 0..settled.len() {
            let mut sum = 0;
            for (at, used) in &settled[from..] {
                sum += used;
                let back = u128::from(at - settled[from].0) * u128::from(units) / u128::from(nanos);
                prop_assert!(u128::from(sum) <= u128::from(units) + back);
            }
        }
    }

    #[test]
    fn nothing_overflows(
        units: u64, nanos: u64, spent: u64, part: u64, at: u64, pending: u64, now: u64, wall: u64, cost: u64, used: u64,
    ) {
        let day = Calendar { period: Period::Day, zone: TimeZone::UTC };
        let window = if nanos % 2 == 0 { Window::Rolling(Duration::from_nanos(nanos)) } else { Window::Calendar(day) };
        let (rule, other) = (Rule::new(&Budget { units, window }), by(Period::Month, 5));
        let moment = Moment { nanos: now, wall };
        let mut account = Account { spent, part, at, pending };
        let _ = (account.look(&rule, moment), account.reserve(&rule, moment, cost), account.save(&rule, moment));
        account.settle(&rule, moment, cost, used);
        account.rescale(&Arc::new(rule), &Arc::new(other), moment);
        let _ = Account::restored(&Saved { spent, pending, at }, false, &by(Period::Week, 5), moment);
    }
}

#[test]
fn ten_thousand_in_a_quarter_of_an_hour_are_that() {
    let rule = rolling(10_000, 900 * SECOND);
    let mut account = Account::default();
    let held = account.reserve(&rule, after(0), 6_000).unwrap();
    let lack = account.reserve(&rule, after(0), 6_000).unwrap_err();
    assert_eq!(lack.standing, Standing { remaining: 4_000, used: 6_000, units: 10_000, full_in: 540 * SECOND });
    assert_eq!(lack.wait, 0, "the first may give all of it back at any moment");
    account.settle(&rule, after(10 * SECOND), held, 6_000);
    let lack = account.reserve(&rule, after(10 * SECOND), 6_000).unwrap_err();
    assert_eq!(lack.wait, 180 * SECOND, "two thousand have to come back");
    assert!(account.reserve(&rule, after(190 * SECOND - 1), 6_000).is_err());
    assert_eq!(account.reserve(&rule, after(190 * SECOND), 6_000), Ok(6_000));
}

#[test]
fn who_asks_for_more_than_the_budget_gets_it_when_nothing_is_used_and_pays_the_rest_afterwards() {
    let rule = rolling(100, 100 * SECOND);
    let mut account = Account::default();
    let held = account.reserve(&rule, after(0), 250).unwrap();
    assert_eq!(held, 100);
    account.settle(&rule, after(0), held, 250);
    assert_eq!(account.reserve(&rule, after(0), 1).unwrap_err().wait, 151 * SECOND);
    assert!(account.reserve(&rule, after(150 * SECOND), 1).is_err());
    assert_eq!(account.reserve(&rule, after(151 * SECOND), 1), Ok(1));
    assert_eq!(account.reserve(&rule, after(151 * SECOND), 0), Ok(0), "what costs nothing passes");
    account.settle(&rule, after(151 * SECOND), 1, 0);
    assert!(account.reserve(&rule, after(200 * SECOND), 250).is_err());
    assert_eq!(account.reserve(&rule, after(250 * SECOND), 250), Ok(100), "all of it has come back");
}

#[test]
fn a_calendar_budget_comes_back_at_the_border_all_at_once() {
    let rule = by(Period::Day, 100);
    let mut account = Account::default();
    let held = account.reserve(&rule, on(MARCH + DAY - 5_000), 100).unwrap();
    account.settle(&rule, on(MARCH + DAY - 4_000), held, 100);
    let lack = account.reserve(&rule, on(MARCH + DAY - 1_500), 1).unwrap_err();
    assert_eq!((lack.wait, lack.standing.full_in), (1_500_000_000, 1_500_000_000));
    assert_eq!(account.reserve(&rule, on(MARCH + DAY), 100), Ok(100));
}

#[test]
fn what_is_under_way_at_the_border_counts_in_the_period_in_which_it_ends() {
    let rule = by(Period::Month, 100);
    let mut account = Account::default();
    let held = account.reserve(&rule, on(MARCH - 1_000), 60).unwrap();
    assert_eq!(account.look(&rule, on(MARCH)).remaining, 40);
    account.settle(&rule, on(MARCH + 1_000), held, 50);
    assert_eq!(account.look(&rule, on(MARCH + 1_000)).remaining, 50);
}

#[test]
fn a_clock_set_back_over_a_border_gives_nothing_back_and_neither_does_its_return() {
    let rule = by(Period::Day, 100);
    let mut account = Account::default();
    account.settle(&rule, on(MARCH + 5_000), 0, 70);
    for wall in [MARCH - 2_000, MARCH + 1_000, MARCH - DAY / 2, MARCH - DAY / 2 + 1_000] {
        assert_eq!(account.look(&rule, on(wall)).remaining, 30, "{wall}");
        account.settle(&rule, on(wall), 0, 0);
    }
    // Half a day back was no slip: the account lives in that day now.
    assert_eq!(account.look(&rule, on(MARCH)).remaining, 100);
}

#[test]
fn a_clock_that_was_far_ahead_blocks_nobody_for_years() {
    let rule = by(Period::Month, 100);
    let mut account = Account::default();
    account.settle(&rule, on(MARCH + 20_000 * DAY), 0, 70);
    account.settle(&rule, on(MARCH), 0, 10);
    assert_eq!(account.look(&rule, on(MARCH)).remaining, 20);
    assert_eq!(account.look(&rule, on(MARCH + 31 * DAY)).remaining, 100);
}

#[test]
fn a_clock_that_is_not_set_yet_begins_no_period() {
    let rule = by(Period::Day, 100);
    let saved = Saved { spent: 90, pending: 0, at: MARCH + 1_000 };
    let mut account = Account::restored(&saved, false, &rule, on(1_000));
    account.settle(&rule, on(2_000), 0, 5);
    assert_eq!(account.look(&rule, on(MARCH + 2_000)).remaining, 5);
}

#[test]
fn what_was_set_aside_and_never_settled_counts_as_used_after_a_restart() {
    let rule = rolling(100, 100 * SECOND);
    let saved = Saved { spent: 30, pending: 50, at: MARCH - 10_000 };
    let restored = |wall| Account::restored(&saved, false, &rule, Moment { nanos: 1 << 60, wall });
    let look = |wall| restored(wall).look(&rule, Moment { nanos: 1 << 60, wall }).remaining;
    assert_eq!(look(MARCH - 10_000), 20);
    assert_eq!(look(MARCH), 30, "ten have come back in ten seconds");
    assert_eq!(look(MARCH - 3_600_000), 20, "a clock set back gives nothing back");
    assert_eq!(look(MARCH + DAY), 100);
}

#[test]
fn what_is_kept_is_what_is_read() {
    let rule = rolling(7, SECOND);
    let mut account = Account::default();
    account.settle(&rule, after(0), 0, 5);
    let later = after(SECOND / 2);
    let saved = account.save(&rule, later);
    assert_eq!(saved, Saved { spent: 2, pending: 0, at: later.wall }, "one and a half is kept as two");
    assert_eq!(Account::restored(&saved, false, &rule, later).look(&rule, later).remaining, 5);
}

#[test]
fn a_changed_budget_keeps_what_was_used() {
    let change = |before: Rule, now: Rule, account: &mut Account, moment| {
        account.rescale(&Arc::new(before), &Arc::new(now), moment);
    };
    let mut account = Account::default();
    account.settle(&rolling(100, 100 * SECOND), after(0), 0, 80);
    change(rolling(100, 100 * SECOND), rolling(1_000, 10 * SECOND), &mut account, after(30 * SECOND));
    assert_eq!(account.look(&rolling(1_000, 10 * SECOND), after(30 * SECOND)).remaining, 950);
    change(rolling(1_000, 10 * SECOND), by(Period::Day, 60), &mut account, after(30 * SECOND));
    assert_eq!(account.look(&by(Period::Day, 60), after(30 * SECOND)).remaining, 10);
    change(by(Period::Day, 60), by(Period::Month, 70), &mut account, after(31 * SECOND));
    assert_eq!(account.look(&by(Period::Month, 70), after(31 * SECOND)).remaining, 20);
    change(by(Period::Month, 70), rolling(100, 100 * SECOND), &mut account, after(40 * SECOND));
    assert_eq!(account.look(&rolling(100, 100 * SECOND), after(41 * SECOND)).remaining, 51);
}
