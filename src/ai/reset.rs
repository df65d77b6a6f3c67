//! When a provider may be asked again: the fields of its answer -> how long to wait.
//!
//! Read are, each in milliseconds, seconds, as a length of time (`6m0s`) or as a date, whichever its providers write:
//!
//! - `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after`: what the provider says of this very request;
//! - `x-ratelimit-reset-*` beside `x-ratelimit-remaining-*` (OpenAI and those like it), `anthropic-ratelimit-*-reset` beside
//!   `-remaining`: when a window begins anew, and what is left of it.
//!
//! The first kind goes before the second. Of several windows those count that have nothing left, and of these the one that
//! ends last; when none says so, the one that ends first: a rest that is too short costs one more 429, one that is too long
//! costs a good key.
//!
//! What cannot be read is as if it was not there. Bodies are not read: Gemini says it there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};

/// The shortest rest: what is told as less than a second is rounded up.
pub const LEAST: Duration = Duration::from_secs(1);
/// The longest rest, whatever the provider says.
pub const MOST: Duration = Duration::from_secs(3600);

/// Numbers from here on are dates in seconds since the epoch, not lengths of time.
const DATES_FROM: f64 = 1e9;
/// Numbers from here on are dates in milliseconds.
const MILLIS_FROM: f64 = DATES_FROM * 1e3;
/// No value that means anything is longer.
const LONGEST_VALUE: usize = 64;

/// One window of a provider's limits.
struct Window {
    /// Until it begins anew.
    rest: Duration,
    /// Whether nothing is left of it.
    exhausted: bool,
}

/// How long the provider wants to be left alone, by an answer that says it was asked too often (429): from [`LEAST`] to [`MOST`]. `None`
/// when it does not say. `now` is the time of the wall clock.
pub fn rest_of(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let said = retry_after(headers, now).or_else(|| {
        let exhausted = windows(headers, now).filter(|window| window.exhausted).map(|window| window.rest).max();
        exhausted.or_else(|| windows(headers, now).map(|window| window.rest).min())
    });
    said.map(bounded)
}

/// The same by what is said of this very request alone. Windows of rates say nothing of a quota that is used up, nor of a
/// provider that is down.
pub fn wait_of(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    retry_after(headers, now).map(bounded)
}

/// How long to wait, as Gemini says it in the body of an error (`"retryDelay": "17s"`).
pub fn rest_in(body: &[u8]) -> Option<Duration> {
    const FIELD: &[u8] = b"\"retryDelay\"";
    let at = memchr::memmem::find(body, FIELD)? + FIELD.len();
    let rest = body.get(at..)?;
    let text = rest.split(|&byte| byte == b'"').nth(1)?;
    let seconds = std::str::from_utf8(text).ok()?.strip_suffix('s')?;
    let seconds: f64 = seconds.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(MOST.as_secs_f64())).max(LEAST))
}

/// How long a key has nothing left, by an answer that was good: until the windows that are used up begin anew. From [`LEAST`]
/// to [`MOST`]; `None` when something is left, or the provider does not say.
pub fn proactive(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    windows(headers, now).filter(|window| window.exhausted).map(|window| window.rest).max().map(bounded)
}

fn bounded(rest: Duration) -> Duration {
    rest.clamp(LEAST, MOST)
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let millis = |name: &str| text(headers.get(name)?).and_then(decimal).map(|millis| seconds(millis / 1000.0));
    millis("retry-after-ms").or_else(|| millis("x-ms-retry-after-ms")).or_else(|| {
        let value = text(headers.get("retry-after")?)?;
        // RFC 9110 section 10.2.3: seconds or a date.
        number(value, now).or_else(|| Some(until(httpdate::parse_http_date(value).ok()?, now)))
    })
}

fn windows(headers: &HeaderMap, now: SystemTime) -> impl Iterator<Item = Window> {
    headers.iter().filter_map(move |(name, value)| {
        let name = name.as_str();
        let (rest, left) = if let Some(what) = name.strip_prefix("x-ratelimit-reset") {
            (span(text(value)?, now)?, left(headers, &["x-ratelimit-remaining", what]))
        } else {
            let what = name.strip_prefix("anthropic-ratelimit-")?.strip_suffix("-reset")?;
            (span(text(value)?, now)?, left(headers, &["anthropic-ratelimit-", what, "-remaining"]))
        };
        Some(Window { rest, exhausted: left.is_some_and(|left| left <= 0.0) })
    })
}

/// What is left, by the field whose name is made of `parts`.
fn left(headers: &HeaderMap, parts: &[&str]) -> Option<f64> {
    let mut name = [0; LONGEST_VALUE];
    let mut end = 0;
    for part in parts {
        name.get_mut(end..end + part.len())?.copy_from_slice(part.as_bytes());
        end += part.len();
    }
    let name = std::str::from_utf8(name.get(..end)?).ok()?;
    decimal(text(headers.get(name)?)?)
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim).filter(|text| text.len() <= LONGEST_VALUE)
}

/// A length of time or a date, as providers write them: `1s`, `6m0s`, `120ms`, `2`, `0.5`, seconds or milliseconds since the
/// epoch, RFC 3339.
fn span(value: &str, now: SystemTime) -> Option<Duration> {
    let date = || Some(until(value.parse::<jiff::Timestamp>().ok()?.into(), now));
    number(value, now).or_else(|| units(value)).or_else(date)
}

/// Seconds, or a date as a number.
fn number(value: &str, now: SystemTime) -> Option<Duration> {
    let number = decimal(value)?;
    if number < DATES_FROM {
        return Some(seconds(number));
    }
    let since_epoch = seconds(if number < MILLIS_FROM { number } else { number / 1000.0 });
    Some(UNIX_EPOCH.checked_add(since_epoch).map_or(MOST, |date| until(date, now)))
}

/// `1h2m3.5s`, `120ms`: units in falling order, each at most once.
fn units(value: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 5] = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001)];
    let (mut rest, mut allowed, mut total) = (value, &UNITS[..], 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (count, tail) = rest.split_at(digits);
        let end = tail.find(|letter: char| !letter.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let place = allowed.iter().position(|(name, _)| *name == unit)?;
        let (_, length) = allowed.get(place)?;
        total += decimal(count)? * length;
        allowed = allowed.get(place + 1..)?;
        rest = tail;
    }
    (!value.is_empty()).then(|| seconds(total))
}

/// A decimal number that is not negative, without sign, exponent or words.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

/// A date that is past is now.
fn until(date: SystemTime, now: SystemTime) -> Duration {
    date.duration_since(now).unwrap_or_default()
}

/// Of something finite and not negative; what no `Duration` can hold is the longest one.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
