//! Passive health: when the failures of real requests eject a member, and for how long.
//!
//! A pure state machine: it is told the time and remembers. Who may be ejected beside others is the pool's matter.
//!
//! - The window slides: `max_fails` failures, of which the oldest is at most `fail_timeout` old, eject (A1.14).
//! - The n-th ejection in a row lasts n times `fail_timeout`, at most `max_ejection`.
//! - A member that comes back is on probation for as long as it was out: one failure ejects it again, for longer.
//!   After a probation without failure, the row begins anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config;

/// The longest ejection, whatever the configuration says: a bound that keeps the clock's arithmetic safe.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// Failures remembered at most, whatever `max_fails` says.
const MAX_REMEMBERED: usize = 1000;

/// What one member's failures were.
#[derive(Debug, Default)]
pub struct Outlier {
    /// The last failures, oldest first; at most `max_fails`.
    failures: VecDeque<Instant>,
    /// Ejections in a row.
    in_a_row: u32,
    /// The last ejection: when it ends, and how long it is.
    last: Option<(Instant, Duration)>,
}

impl Outlier {
    /// Takes in a failure. True: the member is due for ejection. The caller then calls [`Self::eject`], or leaves it
    /// when too many are out already; the next failure asks again.
    pub fn failed(&mut self, settings: &config::Outlier, now: Instant) -> bool {
        if let Some((until, length)) = self.last {
            if now < until {
                return false; // Still out: requests of panic mode, or of before the ejection.
            }
            if now.duration_since(until) <= length {
                return true;
            }
            (self.in_a_row, self.last) = (0, None);
        }
        let keep = usize::try_from(settings.max_fails).map_or(MAX_REMEMBERED, |n| n.clamp(1, MAX_REMEMBERED));
        self.failures.push_back(now);
        while self.failures.len() > keep {
            self.failures.pop_front();
        }
        self.failures.len() == keep
            && self.failures.front().is_some_and(|oldest| now.duration_since(*oldest) <= settings.fail_timeout)
    }

    /// Begins an ejection; returns its length.
    pub fn eject(&mut self, settings: &config::Outlier, now: Instant) -> Duration {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let length = settings.fail_timeout.saturating_mul(self.in_a_row).min(settings.max_ejection).min(LONGEST);
        self.failures.clear();
        self.last = Some((now + length, length));
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SETTINGS: config::Outlier = config::Outlier {
        max_fails: 3,
        fail_timeout: Duration::from_secs(30),
        max_ejection: Duration::from_secs(75),
        max_ejected_percent: 50,
        panic_percent: 50,
    };

    /// Feeds failures at these seconds; for each the ejection it leads to, in seconds, or 0.
    fn feed(outlier: &mut Outlier, start: Instant, failures: &[u64]) -> Vec<u64> {
        let one = |second: &u64| {
            let now = start + Duration::from_secs(*second);
            if outlier.failed(&SETTINGS, now) { outlier.eject(&SETTINGS, now).as_secs() } else { 0 }
        };
        failures.iter().map(one).collect()
    }

    #[test]
    fn the_third_failure_within_the_window_ejects() {
        assert_eq!(feed(&mut Outlier::default(), clock::now(), &[0, 10, 30]), [0, 0, 30]);
    }

    #[test]
    fn the_window_slides() {
        assert_eq!(feed(&mut Outlier::default(), clock::now(), &[0, 20, 31, 49]), [0, 0, 0, 30]);
    }

    #[test]
    fn failures_during_an_ejection_say_nothing_new() {
        assert_eq!(feed(&mut Outlier::default(), clock::now(), &[0, 0, 0, 1, 29]), [0, 0, 30, 0, 0]);
    }

    #[test]
    fn one_failure_on_probation_ejects_for_longer_up_to_the_maximum() {
        // Out 0-30, 31-91, 92-167, 168-243.
        assert_eq!(feed(&mut Outlier::default(), clock::now(), &[0, 0, 0, 31, 92, 168]), [0, 0, 30, 60, 75, 75]);
    }

    #[test]
    fn a_probation_without_failure_begins_the_row_anew() {
        // Out 0-30, on probation until 60: 61 is the first of three failures again.
        assert_eq!(feed(&mut Outlier::default(), clock::now(), &[0, 0, 0, 61, 61, 61]), [0, 0, 30, 0, 0, 30]);
        assert_eq!(feed(&mut Outlier::default(), clock::now(), &[0, 0, 0, 60, 181]), [0, 0, 30, 60, 0]);
    }

    #[test]
    fn a_member_that_the_pool_could_not_spare_is_asked_for_again() {
        let (mut outlier, now) = (Outlier::default(), clock::now());
        let due = [(); 5].map(|()| outlier.failed(&SETTINGS, now));
        assert_eq!(due, [false, false, true, true, true]);
    }
}
