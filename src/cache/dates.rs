//! Dates of HTTP, as a cache reads them.
//!
//! The three forms of RFC 9110, section 5.6.7, in any case (RFC 9111, section 4.2); every other form, and every zone but
//! GMT, is no date. The name of the day must be one, but not the right one: nothing is counted by it, and who is wrong
//! about it still means the rest.

use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The moment that `text` names, when it is a date of HTTP.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim_matches([' ', '\t']);
    let civil = match text.split_once(", ") {
        Some((day, rest)) if one_of(&DAYS, day).is_some() => fixdate(rest),
        Some((day, rest)) if one_of(&LONG_DAYS, day).is_some() => rfc850(rest),
        Some(_) => None,
        None => asctime(text),
    }?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().into())
}

/// `06 Nov 1994 08:49:37 GMT`
fn fixdate(text: &str) -> Option<DateTime> {
    let [day, month, year, time, zone] = parts(text, ' ')?;
    gmt(zone)?;
    at(i16::try_from(digits(year, 4)?).ok()?, month, digits(day, 2)?, time)
}

/// `06-Nov-94 08:49:37 GMT`
fn rfc850(text: &str) -> Option<DateTime> {
    let [date, time, zone] = parts(text, ' ')?;
    let [day, month, year] = parts(date, '-')?;
    gmt(zone)?;
    at(century(digits(year, 2)?)?, month, digits(day, 2)?, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<DateTime> {
    let (day_name, rest) = text.split_once(' ')?;
    one_of(&DAYS, day_name)?;
    let (month, rest) = rest.split_once(' ')?;
    // The day fills two places: its first one may be a blank.
    let (day, rest) = rest.split_at_checked(2)?;
    let day = day.strip_prefix(' ').map_or_else(|| digits(day, 2), |day| digits(day, 1))?;
    let [time, year] = parts(rest.strip_prefix(' ')?, ' ')?;
    at(i16::try_from(digits(year, 4)?).ok()?, month, day, time)
}

/// A year of two digits is the one in the past when it would lie more than 50 years ahead.
fn century(year: u16) -> Option<i16> {
    let now = jiff::Timestamp::try_from(clock::wall()).ok()?.to_zoned(TimeZone::UTC).year();
    let year = now - now % 100 + i16::try_from(year).ok()?;
    Some(if year > now + 50 { year - 100 } else { year })
}

fn at(year: i16, month: &str, day: u16, time: &str) -> Option<DateTime> {
    let month = i8::try_from(one_of(&MONTHS, month)? + 1).ok()?;
    let [hour, minute, second] = parts(time, ':')?;
    let two = |text| i8::try_from(digits(text, 2)?).ok();
    // A leap second is the one before it.
    let second = two(second).map(|second| if second == 60 { 59 } else { second })?;
    DateTime::new(year, month, i8::try_from(day).ok()?, two(hour)?, two(minute)?, second, 0).ok()
}

fn gmt(zone: &str) -> Option<()> {
    zone.eq_ignore_ascii_case("GMT").then_some(())
}

fn one_of(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| known.eq_ignore_ascii_case(name))
}

/// Exactly `N` parts.
fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    let mut parts = text.split(separator);
    let mut found = [""; N];
    for part in &mut found {
        *part = parts.next()?;
    }
    parts.next().is_none().then_some(found)
}

/// Exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn seconds(text: &str) -> Option<u64> {
        parse(text).map(|date| date.duration_since(UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn the_three_forms_of_the_standard_name_one_moment() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT\t",
        ] {
            assert_eq!(seconds(text), Some(784_111_777), "{text}");
        }
        assert_eq!(seconds("Sun Nov 16 08:49:37 1994"), Some(784_111_777 + 10 * 86_400));
    }

    #[test]
    fn case_and_a_wrong_day_of_the_week_do_not_matter() {
        let expected = seconds("Thu, 18 Aug 2050 02:01:18 GMT");
        assert!(expected.is_some());
        for text in [
            "THU, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 AUG 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 gMT",
            "Mon, 18 Aug 2050 02:01:18 GMT",
            "Thursday, 18-Aug-50 02:01:18 GMT",
            "Mon Aug 18 02:01:18 2050",
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_date() {
        for text in [
            "",
            "0",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18 +0000",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Thu, +8 Aug 2050 02:01:18 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
            "Thursday, 18-Aug-2050 02:01:18 GMT",
            "Thu Aug 8 02:01:18 2050",
            "Thu Aug  8 02:01:18 2050 GMT",
            "Thu Aug \u{e9} 02:01:18 2050",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_year_of_two_digits_lies_at_most_fifty_years_ahead() {
        let fifty_years = Duration::from_secs(51 * 366 * 86_400);
        for year in 0..100 {
            let date = parse(&format!("Monday, 01-Jan-{year:02} 00:00:00 GMT")).unwrap();
            assert!(date < clock::wall() + fifty_years, "{year}");
            assert!(date + fifty_years > clock::wall(), "{year}");
        }
    }

    #[test]
    fn a_leap_second_is_part_of_its_minute() {
        assert_eq!(seconds("Sat, 31 Dec 2016 23:59:60 GMT"), seconds("Sat, 31 Dec 2016 23:59:59 GMT"));
    }
}
