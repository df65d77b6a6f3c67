//! Any bytes as the fields in which providers say when to come again: a rest is never outside its bounds.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sluicegate::ai::reset::{LEAST, MOST, proactive, rest_of};

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n').take(16) {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let now = UNIX_EPOCH + Duration::from_secs(1_795_197_138);
    let (rest, spare) = (rest_of(&headers, now), proactive(&headers, now));
    assert!(rest.iter().chain(&spare).all(|rest| (LEAST..=MOST).contains(rest)));
    assert!(spare.is_none() || rest.is_some());
});
