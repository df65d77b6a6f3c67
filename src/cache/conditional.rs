//! Conditions: those that a client asks by, answered from what is stored, and those that the cache asks members by.
//!
//! RFC 9110, section 13; RFC 9111, section 4.3.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::freshness::date;

/// The fields that make a request conditional, and those of a part.
pub const CONDITIONS: [HeaderName; 5] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE, header::IF_RANGE];

/// The fields of a stored answer that stand in a 304 (RFC 9110, section 15.4.5), beside those of caching.
const IN_NOT_MODIFIED: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::SET_COOKIE,
    header::VARY,
];

/// Fields that describe the stored body, which a 304 does not change (RFC 9111, section 3.2), and its validator, which
/// the 304 confirms.
const NOT_FRESHENED: [HeaderName; 7] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
    header::ETAG,
    header::TRANSFER_ENCODING,
    header::AGE,
];

/// Whether the client has what is stored: it gets 304. `stored_at`: what the answer was generated at, for those that
/// have no Last-Modified.
pub fn is_not_modified(request: &HeaderMap, status: StatusCode, stored: &HeaderMap, received: SystemTime) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        return matches_any(request.get_all(header::IF_NONE_MATCH).iter(), stored.get(header::ETAG));
    }
    let Some(since) = date(request, &header::IF_MODIFIED_SINCE) else { return false };
    let modified = date(stored, &header::LAST_MODIFIED).or_else(|| date(stored, &header::DATE)).unwrap_or(received);
    modified <= since
}

/// Whether one of the entity tags is `etag`, weakly compared (RFC 9110, section 13.1.2).
fn matches_any<'a>(mut lines: impl Iterator<Item = &'a HeaderValue>, etag: Option<&HeaderValue>) -> bool {
    let etag = etag.map(|etag| opaque(etag.as_bytes().trim_ascii()));
    lines.any(|line| {
        let mut rest = line.as_bytes();
        if rest.trim_ascii() == b"*" {
            return true;
        }
        while let Some((tag, after)) = next_tag(rest) {
            if Some(opaque(tag)) == etag {
                return true;
            }
            rest = after;
        }
        false
    })
}

/// The first entity tag of a list, and what follows its comma. A comma inside quotes is part of the tag.
fn next_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
    let list = list.get(start..)?;
    let mut quoted = false;
    let end = list.iter().position(|&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    let (tag, rest) = list.split_at(end.unwrap_or(list.len()));
    Some((tag.trim_ascii(), rest))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether `if_range` names exactly what is stored (RFC 9110, section 13.1.5): a strong tag, or the very date.
pub fn if_range_holds(if_range: &HeaderValue, stored: &HeaderMap) -> bool {
    let value = if_range.as_bytes().trim_ascii();
    if value.starts_with(b"\"") {
        return stored.get(header::ETAG).is_some_and(|etag| etag.as_bytes().trim_ascii() == value);
    }
    if value.starts_with(b"W/") {
        return false;
    }
    // A date is a strong validator when it lies clearly before the answer (section 8.8.2.2).
    let (Some(modified), Some(sent)) = (date(stored, &header::LAST_MODIFIED), date(stored, &header::DATE)) else {
        return false;
    };
    let same = stored.get(header::LAST_MODIFIED).is_some_and(|stored| stored.as_bytes().trim_ascii() == value);
    same && sent.duration_since(modified).is_ok_and(|age| age.as_secs() >= 1)
}

/// The fields of a 304 for a client that has what is stored.
pub fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(IN_NOT_MODIFIED.len() + 4);
    for name in &IN_NOT_MODIFIED {
        for value in stored.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// The conditions by which the cache asks for what is newer than `stored`. They take the place of [`CONDITIONS`] that
/// the client sent: the cache answers those.
pub fn conditions(stored: &HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let pairs = [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
    pairs.into_iter().filter_map(|(stored_as, asked_as)| Some((asked_as, stored.get(stored_as)?.clone())))
}

/// The stored fields after a 304 with `newer` (RFC 9111, section 3.2).
pub fn freshened(stored: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let mut fields = stored.clone();
    // Its age was that of another answer.
    fields.remove(header::AGE);
    for name in newer.keys() {
        if *name != header::AGE && NOT_FRESHENED.contains(name) {
            continue;
        }
        fields.remove(name);
        for value in newer.get_all(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn unmodified(request: &[(&str, &str)], stored: &[(&str, &str)]) -> bool {
        let received = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        is_not_modified(&headers(request), StatusCode::OK, &headers(stored), received)
    }

    const OLD: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
    const OLD_TOO: &str = "Wednesday, 01-Jan-20 00:00:00 GMT";
    const NEW: &str = "Wed, 01 Jan 2025 00:00:00 GMT";

    #[test]
    fn tags_are_compared_weakly_and_one_of_them_is_enough() {
        for (list, etag, holds) in [
            ("\"a\"", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("\"x\", W/\"a\" , \"y\"", "\"a\"", true),
            ("\"x,\\\", \"a\"", "\"a\"", true),
            ("*", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("a", "\"a\"", false),
            ("\"x, \"a\"\"", "\"a\"", false),
        ] {
            assert_eq!(unmodified(&[("if-none-match", list)], &[("etag", etag)]), holds, "{list} {etag}");
        }
        assert!(!unmodified(&[("if-none-match", "\"a\"")], &[]));
        assert!(unmodified(&[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")], &[("etag", "\"a\"")]));
    }

    #[test]
    fn a_tag_comes_before_a_date() {
        let stored = [("etag", "\"a\""), ("last-modified", OLD)];
        assert!(!unmodified(&[("if-none-match", "\"b\""), ("if-modified-since", NEW)], &stored));
        assert!(unmodified(&[("if-none-match", "\"a\""), ("if-modified-since", "x")], &stored));
    }

    #[test]
    fn what_is_not_newer_than_the_date_is_not_modified() {
        assert!(unmodified(&[("if-modified-since", OLD)], &[("last-modified", OLD)]));
        assert!(unmodified(&[("if-modified-since", OLD_TOO)], &[("last-modified", OLD)]));
        assert!(unmodified(&[("if-modified-since", NEW)], &[("last-modified", OLD)]));
        assert!(!unmodified(&[("if-modified-since", OLD)], &[("last-modified", NEW)]));
        assert!(!unmodified(&[("if-modified-since", "yesterday")], &[("last-modified", OLD)]));
        assert!(
            unmodified(&[("if-modified-since", NEW)], &[]),
            "without a date of its own it is as old as its receipt"
        );
        assert!(!unmodified(&[("if-modified-since", OLD)], &[]));
    }

    #[test]
    fn a_part_is_of_exactly_what_is_stored() {
        let stored = headers(&[("etag", "\"a\""), ("last-modified", OLD), ("date", NEW)]);
        let holds = |value: &str| if_range_holds(&HeaderValue::from_str(value).unwrap(), &stored);
        assert!(holds("\"a\"") && holds(OLD));
        assert!(!holds("\"b\"") && !holds("W/\"a\"") && !holds(NEW) && !holds(""));
        let weak = headers(&[("etag", "W/\"a\""), ("last-modified", OLD), ("date", OLD)]);
        assert!(!if_range_holds(&HeaderValue::from_static("\"a\""), &weak));
        assert!(!if_range_holds(&HeaderValue::from_static(OLD), &weak));
    }

    #[test]
    fn a_304_brings_new_fields_but_nothing_of_the_body() {
        let stored = headers(&[("etag", "\"a\""), ("content-length", "5"), ("x", "1"), ("x", "2"), ("age", "9")]);
        let newer =
            headers(&[("etag", "\"b\""), ("content-length", "9"), ("x", "3"), ("y", "4"), ("content-md5", "z")]);
        let expected = headers(&[("etag", "\"a\""), ("content-length", "5"), ("x", "3"), ("y", "4")]);
        assert_eq!(freshened(&stored, &newer), expected);
    }

    #[test]
    fn the_cache_asks_by_what_is_stored() {
        let stored = headers(&[("etag", "\"a\""), ("last-modified", OLD), ("x", "y")]);
        let asked: HeaderMap = conditions(&stored).collect();
        assert_eq!(asked, headers(&[("if-none-match", "\"a\""), ("if-modified-since", OLD)]));
        assert_eq!(conditions(&headers(&[])).count(), 0);
    }
}
