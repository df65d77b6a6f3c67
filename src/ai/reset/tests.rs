use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// 2026-11-20T17:52:18Z.
const NOW: u64 = 1_795_197_138;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn rest(fields: &[(&str, &str)]) -> Option<u128> {
    rest_of(&headers(fields), now()).map(|rest| rest.as_millis())
}

#[test]
fn what_the_provider_says_of_the_request_is_read_in_every_form() {
    for (name, value, millis) in [
        ("retry-after", "2", 2_000),
        ("retry-after", " 30 ", 30_000),
        ("retry-after", "1.5", 1_500),
        ("retry-after", "Fri, 20 Nov 2026 17:52:48 GMT", 30_000),
        ("retry-after", "Friday, 20-Nov-26 17:52:48 GMT", 30_000),
        ("retry-after", "1795197168", 30_000),
        ("retry-after-ms", "2500", 2_500),
        ("x-ms-retry-after-ms", "12000", 12_000),
    ] {
        assert_eq!(rest(&[(name, value)]), Some(millis), "{name}: {value}");
    }
}

#[test]
fn windows_are_read_in_every_form() {
    for (value, millis) in [
        ("1s", 1_000),
        ("6m0s", 360_000),
        ("1200ms", 1_200),
        ("2m59.56s", 179_560),
        ("1h0m1s", 3_600_000),
        ("7.66s", 7_660),
        ("10", 10_000),
        ("1.25", 1_250),
        ("1795197148", 10_000),
        ("1795197148500", 10_500),
        ("2026-11-20T17:52:28Z", 10_000),
        ("2026-11-20T18:52:28.5+01:00", 10_500),
    ] {
        assert_eq!(rest(&[("x-ratelimit-reset-tokens", value)]), Some(millis), "{value}");
    }
    assert_eq!(rest(&[("anthropic-ratelimit-input-tokens-reset", "2026-11-20T17:53:18Z")]), Some(60_000));
    assert_eq!(rest(&[("x-ratelimit-reset", "5")]), Some(5_000));
}

#[test]
fn what_means_nothing_is_as_if_it_was_not_there() {
    for value in
        ["", "soon", "-5", "+5", "1e3", "inf", "NaN", "5s5s", "5ms3s", "1.2.3", "0x10", "5 s", "s", "5sm", "1d2", "٣"]
    {
        let field = [(
            HeaderName::from_static("x-ratelimit-reset-requests"),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        )];
        let fields: HeaderMap = field.into_iter().collect();
        assert_eq!(rest_of(&fields, now()), None, "{value}");
    }
    assert_eq!(rest(&[("retry-after", &"1".repeat(65))]), None);
    assert_eq!(rest(&[("retry-after", "never"), ("x-ratelimit-reset-tokens", "9s")]), Some(9_000));
    assert_eq!(rest(&[("x-ratelimit-remaining-requests", "0"), ("anthropic-ratelimit-tokens-limit", "9")]), None);
}

#[test]
fn every_rest_is_between_a_second_and_an_hour() {
    for (value, millis) in [
        ("0", 1_000),
        ("0.2", 1_000),
        ("Fri, 20 Nov 2020 17:52:48 GMT", 1_000),
        ("3601", 3_600_000),
        ("999999999", 3_600_000),
        ("99999999999999999999999999", 3_600_000),
    ] {
        assert_eq!(rest(&[("retry-after", value)]), Some(millis), "{value}");
    }
}

#[test]
fn what_is_said_of_this_request_goes_before_the_windows() {
    let window = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6m0s")];
    assert_eq!(rest(&[window[0], window[1], ("retry-after", "7")]), Some(7_000));
    assert_eq!(rest(&[window[0], window[1], ("retry-after", "7"), ("retry-after-ms", "6500")]), Some(6_500));
}

#[test]
fn of_several_windows_the_one_that_is_used_up_counts() {
    let fields = [
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "90s"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "20s"),
    ];
    assert_eq!(rest(&fields), Some(20_000));
    assert_eq!(proactive(&headers(&fields), now()), Some(Duration::from_secs(20)));
    let fields = [
        ("anthropic-ratelimit-requests-remaining", "0"),
        ("anthropic-ratelimit-requests-reset", "2026-11-20T17:52:28Z"),
        ("anthropic-ratelimit-output-tokens-remaining", "0"),
        ("anthropic-ratelimit-output-tokens-reset", "2026-11-20T17:52:48Z"),
        ("anthropic-ratelimit-tokens-reset", "2026-11-20T17:59:48Z"),
    ];
    assert_eq!(rest(&fields), Some(30_000), "both must be over");
}

#[test]
fn when_no_window_says_that_it_is_used_up_the_first_to_end_counts() {
    let fields = [("x-ratelimit-reset-requests", "90s"), ("x-ratelimit-reset-tokens", "20s")];
    assert_eq!(rest(&fields), Some(20_000));
    assert_eq!(proactive(&headers(&fields), now()), None);
}

#[test]
fn a_good_answer_with_something_left_asks_for_no_rest() {
    let fields = [("x-ratelimit-remaining-requests", "1"), ("x-ratelimit-reset-requests", "90s"), ("retry-after", "9")];
    assert_eq!(proactive(&headers(&fields), now()), None);
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("retry-after".to_owned()),
        Just("retry-after-ms".to_owned()),
        Just("x-ms-retry-after-ms".to_owned()),
        "x-ratelimit-(reset|remaining)(-requests|-tokens|-[a-z-]{0,80})?",
        "anthropic-ratelimit-(requests|tokens|[a-z-]{0,80})-(reset|remaining)",
    ]
}

fn values() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        "[0-9.]{0,12}(d|h|m|s|ms)([0-9.]{0,6}(m|s|ms))?".prop_map(String::into_bytes),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z".prop_map(String::into_bytes),
        "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever a provider sends, a rest is within its bounds, and nothing panics.
    #[test]
    fn any_fields_give_a_rest_within_its_bounds(fields in proptest::collection::vec((names(), values()), 0..6), now in any::<u32>()) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        let now = UNIX_EPOCH + Duration::from_secs(now.into());
        for rest in [rest_of(&headers, now), proactive(&headers, now)].into_iter().flatten() {
            prop_assert!((LEAST..=MOST).contains(&rest), "{rest:?}");
        }
        prop_assert!(proactive(&headers, now).is_none() || rest_of(&headers, now).is_some());
    }

    /// A length of time is read back, however it is written.
    #[test]
    fn lengths_of_time_are_read_as_they_were_written(minutes in 0..59_u64, seconds in 0..59_u64, millis in 0..999_u64) {
        let total = minutes * 60_000 + seconds * 1_000 + millis;
        let text = format!("{minutes}m{seconds}s{millis}ms");
        let read = units(&text).unwrap();
        prop_assert!(read.abs_diff(Duration::from_millis(total)) < Duration::from_micros(1), "{text}: {read:?}");
    }
}
