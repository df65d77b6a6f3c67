//! Any bytes as a traceparent and as a request id: what is taken over is safe to send and to log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::observe::trace::{RequestId, Trace};

fuzz_target!(|bytes: &[u8]| {
    if let Some(id) = RequestId::parse(bytes) {
        assert_eq!(id.as_str().as_bytes(), bytes);
        assert!(bytes.len() <= 128 && bytes.iter().all(u8::is_ascii_graphic));
    }
    if let Some(trace) = Trace::parse(bytes) {
        let again = Trace::parse(trace.traceparent().as_bytes());
        assert_eq!(again.as_ref().map(Trace::trace_id), Some(trace.trace_id()));
    }
});
