//! Any bytes as the fields that steer a cache: what says no-store or private is never stored, and a lifetime is never
//! longer than the largest number of seconds there is.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use sluicegate::cache::control::{Directives, RequestControl, ResponseControl};
use sluicegate::cache::{Answered, Freshness};
use sluicegate::config::cache::CacheRules;

/// The fields, by the first byte of a line.
const NAMES: [&str; 10] = [
    "cache-control",
    "cdn-cache-control",
    "surrogate-control",
    "expires",
    "date",
    "last-modified",
    "age",
    "vary",
    "pragma",
    "etag",
];

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n').take(16) {
        let Some((&which, value)) = line.split_first() else { continue };
        let name = NAMES[usize::from(which) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    for value in headers.get_all("cache-control") {
        assert!(Directives::new(value.as_bytes()).all(|directive| !directive.name.is_empty()));
    }
    let _ = RequestControl::of(&headers);
    let control = ResponseControl::of(&headers);
    for status in [200, 203, 404, 500, 599] {
        let answered = Answered {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            authorized: false,
            received: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            delay: Duration::ZERO,
        };
        if let Ok(freshness) = Freshness::of(&answered, &CacheRules::default()) {
            assert!(!control.private && (!control.no_store || control.must_understand));
            assert!(!control.no_cache || freshness.lifetime.is_zero());
            assert!(freshness.lifetime < Duration::from_secs(400 * 366 * 24 * 3600 * 25));
        }
    }
});
