//! Moments, and when something ends.

use std::time::SystemTime;

use jiff::Timestamp;

use super::{Wrong, duration};

/// A moment with its time zone (RFC 3339).
pub(in crate::config) fn moment(text: &str) -> Result<SystemTime, Wrong> {
    let wrong = || Wrong::not(text, "a moment").expected("one with its time zone such as 2027-12-31T23:59:59Z");
    text.parse::<Timestamp>().map(SystemTime::from).map_err(|_| {
        let zoned = format!("{text}Z");
        let midnight = format!("{text}T00:00:00Z");
        match [zoned, midnight].into_iter().find(|text| text.parse::<Timestamp>().is_ok()) {
            Some(near) => wrong().hint(format!("did you mean {near}?")),
            None => wrong(),
        }
    })
}

/// When something made at `now` ends: at a moment, after an age such as `90d`, or `never`, which is `None`.
///
/// # Errors
/// What `text` is not, for a reader.
pub fn parse_expiry(text: &str, now: SystemTime) -> Result<Option<SystemTime>, String> {
    if text == "never" {
        return Ok(None);
    }
    if let Ok(age) = duration(text) {
        return now.checked_add(age).map(Some).ok_or_else(|| "this is too far away".to_owned());
    }
    moment(text).map(Some).map_err(|wrong| {
        let hint = wrong.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("expected a time such as 2027-12-31T23:59:59Z, an age such as 90d, or never{hint}")
    })
}
