//! Any bytes as Range, If-None-Match, If-Range and Vary: a part lies inside the body, and nothing else breaks.

#![no_main]

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use sluicegate::cache::range::{Part, part};
use sluicegate::cache::{conditional, vary};

fuzz_target!(|input: (u64, Vec<u8>, Vec<u8>, Vec<u8>)| {
    let (length, range, tags, etag) = input;
    let mut request = HeaderMap::new();
    let mut stored = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(&range) {
        request.insert(header::RANGE, value);
    }
    if let Ok(value) = HeaderValue::from_bytes(&tags) {
        request.insert(header::IF_NONE_MATCH, value.clone());
        assert!(!conditional::if_range_holds(&value, &HeaderMap::new()));
        stored.insert(header::VARY, value);
    }
    if let Ok(value) = HeaderValue::from_bytes(&etag) {
        stored.insert(header::ETAG, value);
    }
    if let Part::Bytes { first, last } = part(&request, length) {
        assert!(first <= last && last < length);
    }
    let _ = conditional::is_not_modified(&request, StatusCode::OK, &stored, UNIX_EPOCH);
    let mut form = Vec::new();
    for name in vary::names(&stored).unwrap_or_default() {
        vary::append_value(&mut form, &name, &request);
    }
});
