//! What the process log says of requests to models that got no whole answer: one line in ten seconds for each provider, and for
//! those that were not asked because there was no room for a body. The
//! metrics and the access log have each of them; this is for who looks there first.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// The failures of one kind that are not told yet.
#[derive(Debug, Default)]
pub struct Unserved(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Unserved {
    /// One more. `Some`: it is to be told, with how many were not told since the last that was.
    pub fn happened(&self, now: Instant) -> Option<u64> {
        // Poison is no reason to stop: nothing is half-changed under this lock.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            state.untold = state.untold.saturating_add(1);
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn one_is_told_in_ten_seconds_and_the_next_says_how_many_were_not() {
        let (unserved, now) = (Unserved::default(), clock::now());
        assert_eq!(unserved.happened(now), Some(0));
        for _ in 0..3 {
            assert_eq!(unserved.happened(now + EVERY / 2), None);
        }
        assert_eq!(unserved.happened(now + EVERY), Some(3));
        assert_eq!(unserved.happened(now + EVERY * 2), Some(0));
    }
}
