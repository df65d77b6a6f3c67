//! Periods of the calendar: a moment of the wall clock -> the period that it lies in.
//!
//! A period is asked for with every request and changes once a day, so the last one is remembered.

use std::sync::{Mutex, PoisonError};

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::limit::{Calendar, Period};

/// From a border to the next, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub start: u64,
    /// The first moment of the next one.
    pub end: u64,
}

/// The periods of one calendar.
#[derive(Debug)]
pub struct Periods {
    calendar: Calendar,
    last: Mutex<Span>,
}

impl PartialEq for Periods {
    fn eq(&self, other: &Self) -> bool {
        self.calendar == other.calendar
    }
}

impl Periods {
    /// Those of `calendar`.
    pub fn new(calendar: Calendar) -> Self {
        Self { calendar, last: Mutex::new(Span { start: 0, end: 0 }) }
    }

    /// The period that holds `wall`, in milliseconds since the epoch.
    pub fn at(&self, wall: u64) -> Span {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !(last.start..last.end).contains(&wall) {
            *last = find(&self.calendar, wall);
        }
        *last
    }
}

/// The period of `calendar` that holds `wall`. A moment that no calendar knows is a period of its own.
fn find(calendar: &Calendar, wall: u64) -> Span {
    span(calendar, wall).unwrap_or_else(|| Span { start: wall, end: wall.saturating_add(1) })
}

fn span(calendar: &Calendar, wall: u64) -> Option<Span> {
    let moment = Timestamp::from_millisecond(i64::try_from(wall).ok()?).ok()?;
    let today = calendar.zone.to_datetime(moment).date();
    let (first, next) = match calendar.period {
        Period::Day => (today, today.checked_add(1.day()).ok()?),
        Period::Week => {
            let monday = today.checked_sub(i64::from(today.weekday().since(Weekday::Monday)).days()).ok()?;
            (monday, monday.checked_add(7.days()).ok()?)
        }
        Period::Month => {
            let first = today.first_of_month();
            (first, first.checked_add(1.month()).ok()?)
        }
    };
    Some(Span { start: midnight(first, &calendar.zone)?, end: midnight(next, &calendar.zone)? })
}

/// When `date` begins: midnight, or the first moment after it where that is skipped.
fn midnight(date: Date, zone: &TimeZone) -> Option<u64> {
    let begun = date.to_zoned(zone.clone()).ok()?;
    Some(u64::try_from(begun.timestamp().as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn periods(period: Period, zone: TimeZone) -> Periods {
        Periods::new(Calendar { period, zone })
    }

    fn millis(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    fn span(from: &str, to: &str) -> Span {
        Span { start: millis(from), end: millis(to) }
    }

    #[test]
    fn a_moment_lies_in_its_day_its_week_from_monday_and_its_month() {
        // A Sunday.
        let moment = millis("2026-03-01T00:00:00Z");
        let at = |period| periods(period, TimeZone::UTC).at(moment);
        assert_eq!(at(Period::Day), span("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"));
        assert_eq!(at(Period::Week), span("2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z"));
        assert_eq!(at(Period::Month), span("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"));
    }

    #[test]
    fn a_border_belongs_to_what_begins_there_however_the_clock_moves() {
        let days = periods(Period::Day, TimeZone::UTC);
        let border = millis("2026-03-02T00:00:00Z");
        for (moment, start) in [(border - 1, border - 86_400_000), (border, border), (border - 1, border - 86_400_000)]
        {
            assert_eq!(days.at(moment).start, start);
        }
    }

    #[test]
    fn days_elsewhere_have_23_and_25_hours_when_clocks_change() {
        let Ok(berlin) = TimeZone::get("Europe/Berlin") else {
            println!("this machine has no time zones");
            return;
        };
        let days = periods(Period::Day, berlin.clone());
        assert_eq!(days.at(millis("2026-03-29T10:00:00Z")), span("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"));
        assert_eq!(days.at(millis("2026-10-25T10:00:00Z")), span("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"));
        let months = periods(Period::Month, berlin);
        assert_eq!(months.at(millis("2026-06-30T22:30:00Z")).start, millis("2026-06-30T22:00:00Z"));
    }

    #[test]
    fn a_clock_far_off_does_no_harm() {
        for period in [Period::Day, Period::Week, Period::Month] {
            for wall in [0, 1, u64::MAX, i64::MAX.unsigned_abs(), millis("9999-12-30T12:00:00Z")] {
                let span = periods(period, TimeZone::UTC).at(wall);
                assert!(span.start <= wall && wall <= span.end, "{period:?} {wall}");
            }
        }
    }
}
