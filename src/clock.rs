//! The clock: the only caller of `Instant::now` and `SystemTime::now`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A monotonic moment.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the epoch by the wall clock; 0 before it.
pub fn wall_millis() -> u64 {
    wall().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
