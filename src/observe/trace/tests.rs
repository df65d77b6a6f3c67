use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const VALID: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

#[test]
fn a_valid_trace_is_continued_with_a_span_of_our_own() {
    let trace = Trace::from_headers(&headers("traceparent", &[VALID]));
    assert!(trace.inherited());
    assert_eq!(trace.trace_id().as_str(), "0af7651916cd43dd8448eb211c80319c");
    assert_ne!(trace.span_id().as_str(), "b7ad6b7169203331");
    let sent = trace.traceparent().to_string();
    assert_eq!(sent, format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", trace.span_id()));
}

#[test]
fn a_request_without_a_trace_starts_a_valid_one() {
    let trace = Trace::from_headers(&HeaderMap::new());
    assert!(!trace.inherited());
    let next = Trace::parse(trace.traceparent().as_bytes()).unwrap();
    assert_eq!(next.trace_id(), trace.trace_id());
}

#[test]
fn two_trace_headers_start_a_new_trace() {
    assert!(!Trace::from_headers(&headers("traceparent", &[VALID, VALID])).inherited());
}

#[test]
fn flags_that_are_not_defined_are_not_passed_on() {
    let trace = Trace::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe").unwrap();
    assert!(trace.traceparent().as_str().ends_with("-02"));
}

#[test]
fn what_the_specification_forbids_is_not_valid() {
    let forbidden: [&[u8]; 10] = [
        b"",
        b"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"00-00000000000000000000000000000000-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
        b"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    for value in forbidden {
        assert_eq!(Trace::parse(value), None, "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known_and_sent_as_version_00() {
    for value in [
        &b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..],
        b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-holds",
    ] {
        let trace = Trace::parse(value).unwrap();
        assert!(trace.traceparent().as_str().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    }
}

/// Every byte of a valid value replaced by every other byte: what is still accepted is still well-formed.
#[test]
fn no_single_wrong_byte_is_let_through() {
    let mut accepted = 0;
    for position in 0..VALID.len() {
        for byte in 0..=u8::MAX {
            let mut value = VALID.to_vec();
            value[position] = byte;
            let Some(trace) = Trace::parse(&value) else {
                continue;
            };
            accepted += 1;
            let in_place = if matches!(position, 2 | 35 | 52) { byte == b'-' } else { lower_hex(byte) };
            assert!(in_place, "byte {byte:#x} at {position}");
            assert_eq!(trace.trace_id().as_bytes(), &value[3..35]);
        }
    }
    // 52 digits with 16 values each, three hyphens; no single digit makes the version ff or an id zero.
    assert_eq!(accepted, 52 * 16 + 3);
}

#[test]
fn a_request_id_is_kept_when_it_is_harmless() {
    for id in
        ["a", "6f1c0a52-0e57-4b0c-9f0e-3f1f6f3f2f1a", "Root=1-67891233-abcdef012345678912345678", &"x".repeat(128)]
    {
        assert_eq!(RequestId::from_headers(&headers("x-request-id", &[id.as_bytes()]), 0).as_str(), id);
    }
}

#[test]
fn a_request_id_that_could_do_harm_is_replaced() {
    let long = "x".repeat(129);
    for id in ["", "a b", "a\"b", "a,b", "a;b", "<b>", "a'b", "a\\b", "a%0ab", "\u{fc}", &long] {
        assert_eq!(RequestId::parse(id.as_bytes()), None, "{id}");
    }
    assert_eq!(RequestId::from_headers(&headers("x-request-id", &[b"a", b"b"]), 0).as_bytes().len(), 32);
}

#[test]
fn new_request_ids_are_uuids_of_version_7_that_sort_by_time() {
    let (early, late) = (RequestId::generate(1_795_197_138_042), RequestId::generate(1_795_197_138_043));
    assert!(early.as_str() < late.as_str());
    assert_eq!(u64::from_str_radix(&early.as_str()[..12], 16).unwrap(), 1_795_197_138_042);
    assert_eq!(&early.as_str()[12..13], "7");
    assert!("89ab".contains(&early.as_str()[16..17]));
    assert_ne!(RequestId::generate(1), RequestId::generate(1));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic_and_never_leave_our_alphabet(value in proptest::collection::vec(any::<u8>(), 0..160)) {
        if let Some(id) = RequestId::parse(&value) {
            prop_assert_eq!(id.as_bytes(), &value[..]);
            prop_assert!(HeaderValue::from_bytes(id.as_bytes()).is_ok());
        }
        if let Some(trace) = Trace::parse(&value) {
            prop_assert!(Trace::parse(trace.traceparent().as_bytes()).is_some());
        }
    }

    #[test]
    fn any_valid_trace_goes_round(trace_id in "[0-9a-f]{31}[1-9a-f]", parent in "[1-9a-f][0-9a-f]{15}", sampled in any::<bool>()) {
        let value = format!("00-{trace_id}-{parent}-0{}", u8::from(sampled));
        let trace = Trace::parse(value.as_bytes()).unwrap();
        prop_assert_eq!(trace.trace_id().as_str(), &trace_id);
        let traceparent = trace.traceparent();
        prop_assert_eq!(&traceparent.as_str()[52..], &value[52..]);
    }
}
