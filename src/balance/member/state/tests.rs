//! The edges of health, the admin state and slow start.

use super::*;
use crate::clock;

/// Feeds good (`+`) and failed (`-`) checks with fall 3 and rise 2; the health after each.
fn feed(state: &MemberState, checks: &str) -> Vec<&'static str> {
    let one = |check| {
        let error = (check == '-').then(|| "status 503".to_owned());
        state.record_check(CheckResult { at: clock::now(), duration: Duration::ZERO, error }, 2, 3);
        state.health().as_str()
    };
    checks.chars().map(one).collect()
}

#[test]
fn a_member_goes_down_after_fall_failures_in_a_row_and_up_after_rise_good_ones() {
    let state = MemberState::new(true, clock::now());
    assert_eq!(feed(&state, "+"), ["up"]);
    assert_eq!(feed(&state, "--+--"), ["up"; 5], "not in a row");
    assert_eq!(feed(&state, "-"), ["down"]);
    assert_eq!(feed(&state, "+-+"), ["down"; 3], "not in a row");
    assert_eq!(feed(&state, "+"), ["up"]);
    assert_eq!(state.checks(), (5, 6));
    assert_eq!(state.health_changes(), 3);
}

#[test]
fn a_new_member_is_up_with_its_first_good_check_even_when_earlier_ones_failed() {
    let state = MemberState::new(true, clock::now());
    assert!(!state.is_in());
    assert_eq!(feed(&state, "--+"), ["checking", "checking", "up"]);
    assert!(state.is_in());
}

#[test]
fn a_new_member_that_never_was_up_goes_down_and_then_needs_rise() {
    let state = MemberState::new(true, clock::now());
    assert_eq!(feed(&state, "---+-++"), ["checking", "checking", "down", "down", "down", "down", "up"]);
}

#[test]
fn an_unchecked_member_is_usable_until_it_fails() {
    let state = MemberState::new(false, clock::now());
    assert!(state.is_in());
    assert_eq!(feed(&state, "--"), ["unchecked"; 2]);
    assert!(state.is_in());
    assert_eq!(feed(&state, "-"), ["down"]);
    state.reset_checks();
    assert!(state.is_in() && state.last_check().is_none());
    assert_eq!(feed(&state, "+"), ["up"]);
}

#[test]
fn after_maintenance_a_checked_member_is_back_with_rise_good_checks() {
    let state = MemberState::new(true, clock::now());
    feed(&state, "+");
    assert_eq!(state.set_admin(AdminState::Maint, clock::now()), AdminState::Ready);
    state.set_admin(AdminState::Ready, clock::now());
    assert_eq!(feed(&state, "++"), ["down", "up"]);
    state.set_admin(AdminState::Drain, clock::now());
    assert!(!state.is_in());
    state.set_admin(AdminState::Ready, clock::now());
    assert!(state.is_in(), "checks went on while it drained");
}

#[test]
fn after_maintenance_an_unchecked_member_is_back_at_once() {
    let state = MemberState::new(false, clock::now());
    state.set_admin(AdminState::Maint, clock::now());
    assert!(!state.is_in());
    state.set_admin(AdminState::Ready, clock::now());
    assert!(state.is_in());
}

#[test]
fn slow_start_follows_a_return_and_not_the_first_start() {
    let start = clock::now();
    let state = MemberState::new(true, start);
    let length = Duration::from_secs(60);
    let ramp = |at: Instant| state.ramp(length, || at);
    feed(&state, "+");
    assert_eq!(ramp(clock::now()), 1000);
    feed(&state, "---++");
    let back = state.last_check().unwrap().at;
    assert_eq!(ramp(back), 100);
    assert_eq!(ramp(back + length / 2), 550);
    assert_eq!(ramp(back + length), 1000);
    assert_eq!(ramp(back + length * 2), 1000);
    assert_eq!(state.ramp(Duration::ZERO, || back), 1000);
}

#[test]
fn an_ejection_ends_once() {
    let start = clock::now();
    let state = MemberState::new(false, start);
    state.eject(Duration::from_secs(30), start);
    assert_eq!(state.ejected_for(start + Duration::from_secs(10)), Some(Duration::from_secs(20)));
    assert!(!state.end_ejection(start + Duration::from_secs(29)));
    assert!(state.end_ejection(start + Duration::from_secs(30)));
    assert!(!state.end_ejection(start + Duration::from_secs(30)), "one caller logs it");
    assert_eq!(state.ejected_for(start + Duration::from_secs(31)), None);
}

#[test]
fn reservations_stop_at_the_limit() {
    let state = MemberState::new(false, clock::now());
    assert_eq!([2; 3].map(|limit| state.reserve(limit)), [true, true, false]);
    state.release();
    assert!(state.reserve(2));
    assert_eq!((state.in_flight(), state.requests()), (2, 3));
}

#[test]
fn the_times_of_answers_and_of_checks_add_up() {
    let state = MemberState::new(true, clock::now());
    for millis in [3, 40] {
        let duration = Duration::from_millis(millis);
        state.count_success(duration * 2);
        state.record_check(CheckResult { at: clock::now(), duration, error: None }, 1, 1);
    }
    assert_eq!((state.answer_time(), state.check_time()), (Duration::from_millis(86), Duration::from_millis(43)));
}
