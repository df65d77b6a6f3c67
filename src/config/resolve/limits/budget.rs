//! `tokens` and `cost` of a limit: so many, in a time that rolls or in a period of the calendar.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::super::Resolver;
use crate::config::limit::{Budget, Calendar, Period, Window};
use crate::config::problem::{Finding, KeyPath, nearest};
use crate::config::raw::{RawLimit, Text};
use crate::config::values::money::dollars;
use crate::config::values::{self, Wrong};

/// The most units of a budget.
const MOST_UNITS: u64 = 1_000_000_000_000_000;

/// The longest time that rolls.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// What the times of a budget are.
const TIMES: &str = "a time such as 15m or 30d, or a period of the calendar: day, week or month";

/// Tokens and money.
pub(super) type Budgets = (Option<Budget>, Option<Budget>);

/// `tokens` and `cost`, of a limit or of some whom it counts, by the calendar of `zone`.
pub(super) fn budgets(path: &KeyPath, raw: (&Text, &Text), zone: &TimeZone, resolver: &mut Resolver<'_>) -> Budgets {
    let tokens = resolver.get(&path.key("tokens"), raw.0, |text| budget(text, zone, tokens));
    let cost = resolver.get(&path.key("cost"), raw.1, |text| budget(text, zone, money));
    (tokens, cost)
}

/// `timezone`.
pub(super) fn timezone(path: &KeyPath, raw: &RawLimit, resolver: &mut Resolver<'_>) -> TimeZone {
    resolver.get(&path.key("timezone"), &raw.timezone, zone).unwrap_or(TimeZone::UTC)
}

/// Reports a time zone that none of `all` looks at.
pub(super) fn check_timezone(path: &KeyPath, raw: &RawLimit, all: &[&Option<Budget>], resolver: &mut Resolver<'_>) {
    let of_calendar = |budget: &&Option<Budget>| matches!(budget, Some(Budget { window: Window::Calendar(_), .. }));
    let doubtful = ["tokens", "cost", "overrides"].iter().any(|key| resolver.doubtful(&path.key(key)));
    if raw.timezone.is_some() && !all.iter().any(of_calendar) && !doubtful {
        let finding = Finding::key(&path.key("timezone"), "no budget of this limit follows the calendar");
        resolver.report(finding.expected("`tokens` or `cost` for a day, week or month such as 20.00/day"));
    }
}

/// `10000/15m`, `500.00/month`.
fn budget(text: &str, zone: &TimeZone, units: fn(&str) -> Result<u64, Wrong>) -> Result<Budget, Wrong> {
    let Some((amount, time)) = text.split_once('/') else {
        let wrong = Wrong::not(text, "a budget").expected(format!("an amount, `/` and {TIMES}"));
        return Err(match units(text) {
            Ok(_) => wrong.hint(format!("did you mean {text}/day, or {text}/1h?")),
            Err(_) => wrong,
        });
    };
    let units = units(amount.trim())?;
    if units == 0 {
        let wrong = Wrong::not(text, "a budget").expected("more than nothing");
        return Err(wrong.hint("a route that nobody may use is one with `respond: 403`"));
    }
    if units > MOST_UNITS {
        return Err(Wrong::new(format!("{} is too large", values::quote(amount.trim()))));
    }
    Ok(Budget { units, window: window(time.trim(), zone)? })
}

fn tokens(text: &str) -> Result<u64, Wrong> {
    values::number(text).map_err(|wrong| wrong.expected("a number of tokens such as 10000"))
}

fn money(text: &str) -> Result<u64, Wrong> {
    dollars(text).map_err(|wrong| wrong.expected("dollars such as 20.00, with 6 decimals at most"))
}

fn window(text: &str, zone: &TimeZone) -> Result<Window, Wrong> {
    let periods = [("day", Period::Day), ("week", Period::Week), ("month", Period::Month)];
    if let Some((_, period)) = periods.iter().find(|(word, _)| *word == text) {
        return Ok(Window::Calendar(Calendar { period: *period, zone: zone.clone() }));
    }
    let wrong = || Wrong::not(text, "a time of a budget").expected(TIMES);
    let written = match text {
        // `d` may be any day or the calendar's, `m` a minute or a month.
        "d" => return Err(wrong().hint("write 1d for any 24 hours, or day for those from midnight on")),
        "w" => return Err(wrong().hint("write 7d for any seven days, or week for those from Monday on")),
        "m" => return Err(wrong().hint("write 1m for a minute, or month for one of the calendar")),
        "s" | "h" => format!("1{text}"),
        _ => text.to_owned(),
    };
    let time = values::duration(&written).map_err(|_| match nearest(text, periods.map(|(word, _)| word)) {
        Some(near) => wrong().hint(format!("did you mean `{near}`?")),
        None => wrong(),
    })?;
    let second = Duration::from_secs(1);
    if !(second..=LONGEST).contains(&time) {
        return Err(Wrong::new(format!("{} is out of range", values::quote(text))).expected("1s to 366d"));
    }
    Ok(Window::Rolling(time))
}

fn zone(text: &str) -> Result<TimeZone, Wrong> {
    // A name alone: no offset and no path is one.
    TimeZone::get(text).map_err(|_| {
        let wrong = Wrong::not(text, "a time zone known on this machine").expected("one such as Europe/Berlin, or UTC");
        if jiff::tz::db().is_definitively_empty() { wrong.hint("there are none: install tzdata") } else { wrong }
    })
}
