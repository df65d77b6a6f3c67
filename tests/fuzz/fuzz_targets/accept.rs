//! Any bytes as an Accept header: a quality is at most 1000, and letter case has no meaning.

#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use sluicegate::proxy::rejection::accept::{prefers_html, quality};

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let html = quality(&value, "text", "html");
    assert!(html <= 1000);
    assert_eq!(html, quality(&value, "TEXT", "Html"));
    assert_eq!(prefers_html(&value), html > quality(&value, "application", "json"));
});
