//! Timestamps as text. A thread formats a second once and then only the milliseconds.

use std::cell::RefCell;

use jiff::Timestamp;

/// The text of one second, kept per thread.
struct Cached {
    second: u64,
    rfc3339: String,
    clf: String,
}

thread_local! {
    static CACHE: RefCell<Cached> =
        const { RefCell::new(Cached { second: u64::MAX, rfc3339: String::new(), clf: String::new() }) };
}

/// Appends `millis` since the epoch as `2026-11-20T17:52:18.042Z`.
pub(super) fn rfc3339(buf: &mut Vec<u8>, millis: u64) {
    with_second(millis / 1000, |cached| buf.extend_from_slice(cached.rfc3339.as_bytes()));
    let ms = u32::try_from(millis % 1000).unwrap_or(0);
    let digit = |n: u32| b'0' + u8::try_from(n % 10).unwrap_or(0);
    buf.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
}

/// Appends `millis` since the epoch as `20/Nov/2026:17:52:18 +0000`, the shape of the common log format.
pub(super) fn clf(buf: &mut Vec<u8>, millis: u64) {
    with_second(millis / 1000, |cached| buf.extend_from_slice(cached.clf.as_bytes()));
}

fn with_second(second: u64, use_it: impl FnOnce(&Cached)) {
    CACHE.with_borrow_mut(|cached| {
        if cached.second != second {
            let time =
                i64::try_from(second).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX);
            *cached = Cached {
                second,
                rfc3339: time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                clf: time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            };
        }
        use_it(cached);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: fn(&mut Vec<u8>, u64), millis: u64) -> String {
        let mut buf = Vec::new();
        write(&mut buf, millis);
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn a_moment_is_written_in_utc_with_milliseconds() {
        assert_eq!(text(rfc3339, 1_795_197_138_042), "2026-11-20T17:52:18.042Z");
        assert_eq!(text(rfc3339, 1_795_197_138_999), "2026-11-20T17:52:18.999Z");
        assert_eq!(text(rfc3339, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(rfc3339, 951_782_400_001), "2000-02-29T00:00:00.001Z");
    }

    #[test]
    fn the_common_log_shape_has_the_month_by_name() {
        assert_eq!(text(clf, 1_795_197_138_042), "20/Nov/2026:17:52:18 +0000");
    }

    #[test]
    fn a_later_second_is_not_served_from_the_cache() {
        assert_eq!(text(rfc3339, 1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!(text(rfc3339, 2_000), "1970-01-01T00:00:02.000Z");
    }

    #[test]
    fn a_moment_beyond_the_calendar_does_not_panic() {
        assert!(text(rfc3339, u64::MAX).ends_with('Z'));
    }
}
