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
        let keep = usize::try_from(settings.max_fails)
            .map_or(MAX_REMEMBERED, |n| n.clamp(1, MAX_REMEMBERED));
        self.failures.push_back(now);
        while self.failures.len() > keep {
            self.failures.pop_front();
        }
        self.failures.len() == keep
            && self
                .failures
                .front()
                .is_some_and(|oldest| now.duration_since(*oldest) <= settings.fail_timeout)
    }

    /// Begins an ejection; returns its length.
    pub fn eject(&mut self, settings: &config::Outlier, now: Instant) -> Duration {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let length = settings
            .fail_timeout
            .saturating_mul(self.in_a_row)
            .min(settings.max_ejection);
        self.failures.clear();
        self.last = Some((now + length, length));
        length
    }
}
