//! What providers say in headers: their limits, what is left of them, when they reset, and who answered.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};

use super::Scene;
use super::door::{Door, Scheme, Shape};
use super::error::{Kind, Manner, Trouble};
use crate::mock::answer::Answer;
use crate::mock::faults::Flavour;

const OPENAI: &[(&str, &str)] = &[
    ("openai-organization", "org-mock"),
    ("openai-processing-ms", "5"),
    ("openai-version", "2020-10-01"),
    ("x-ratelimit-limit-requests", "500"),
    ("x-ratelimit-limit-tokens", "30000"),
    ("x-ratelimit-remaining-requests", "499"),
    ("x-ratelimit-remaining-tokens", "29990"),
    ("x-ratelimit-reset-requests", "120ms"),
    ("x-ratelimit-reset-tokens", "20ms"),
];
const AZURE: &[(&str, &str)] = &[
    ("x-ms-region", "Nowhere"),
    ("x-ratelimit-remaining-requests", "499"),
    ("x-ratelimit-remaining-tokens", "29990"),
    ("x-ratelimit-limit-requests", "500"),
    ("x-ratelimit-limit-tokens", "30000"),
];
const ANTHROPIC: &[(&str, &str)] = &[
    ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
    ("anthropic-ratelimit-requests-limit", "500"),
    ("anthropic-ratelimit-requests-remaining", "499"),
    ("anthropic-ratelimit-tokens-limit", "30000"),
    ("anthropic-ratelimit-tokens-remaining", "29990"),
];

/// Adds what the provider says with every answer, but for what the answer says itself.
pub(super) fn describe(door: &Door, scene: &Scene, key: &str, answer: &mut Answer) {
    let headers = answer.headers_mut();
    let (name, prefix, standing) = match (door.shape, scene.orders.flavour) {
        (Shape::OpenAi, Flavour::OpenAi) => ("x-request-id", "req_mock", OPENAI),
        (Shape::OpenAi, _) => ("x-request-id", "mock-", &[][..]),
        (Shape::Azure, _) => ("apim-request-id", "mock-", AZURE),
        (Shape::Anthropic, _) => ("request-id", "req_mock", ANTHROPIC),
        (Shape::Gemini, _) => ("server-timing", "gfet4t7; dur=", &[][..]),
    };
    put(headers, name, &format!("{prefix}{}", scene.number));
    for (name, value) in standing {
        let name = HeaderName::from_static(name);
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if door.shape == Shape::Anthropic {
        for name in ["anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-reset"] {
            headers.entry(name).or_insert_with(|| moment(Duration::from_secs(60)));
        }
    }
    if scene.orders.leak {
        leak(door, key, headers);
    }
}

/// Headers that nobody outside should see: the key that was used, and a cookie.
fn leak(door: &Door, key: &str, headers: &mut HeaderMap) {
    put(headers, "set-cookie", "__cf_bm=secret-of-the-provider; path=/; HttpOnly");
    match door.scheme {
        Scheme::Bearer | Scheme::Flow => put(headers, "authorization", &format!("Bearer {key}")),
        Scheme::Anthropic => put(headers, "x-api-key", key),
        Scheme::Azure => put(headers, "api-key", key),
        Scheme::Google => put(headers, "x-goog-api-key", key),
    }
}

/// When the caller may come again, as the provider says it.
pub(super) fn of_trouble(trouble: &Trouble, manner: Manner, headers: &mut HeaderMap) {
    if trouble.kind == Kind::Quota && manner.shape == Shape::OpenAi {
        put(headers, "x-should-retry", "false");
    }
    let Some(reset) = trouble.reset else {
        return;
    };
    let limited = trouble.kind == Kind::Limited;
    // JAiRouter and Google's API say nothing of it in headers; Google says it in the body.
    if manner.shape == Shape::Gemini || matches!(manner.flavour, Flavour::JaiRouter) {
        return;
    }
    put(headers, "retry-after", &seconds(reset).to_string());
    match manner.shape {
        Shape::OpenAi if limited && manner.flavour == Flavour::OpenAi => {
            put(headers, "retry-after-ms", &reset.as_millis().to_string());
            put(headers, "x-ratelimit-remaining-requests", "0");
            put(headers, "x-ratelimit-reset-requests", &go_duration(reset));
        }
        Shape::Azure if limited => {
            put(headers, "retry-after-ms", &reset.as_millis().to_string());
            put(headers, "x-ratelimit-remaining-requests", "0");
            put(headers, "x-ratelimit-reset-requests", &seconds(reset).to_string());
        }
        Shape::Anthropic if limited => {
            put(headers, "anthropic-ratelimit-requests-remaining", "0");
            headers.insert("anthropic-ratelimit-requests-reset", moment(reset));
            headers.insert("anthropic-ratelimit-tokens-reset", moment(reset));
        }
        _ => {}
    }
}

/// The moment after this time, rounded up to seconds, as RFC 3339 writes it.
fn moment(after: Duration) -> HeaderValue {
    let after = after + Duration::from_millis(999);
    let at = SignedDuration::try_from(after).ok().and_then(|after| Timestamp::now().checked_add(after).ok());
    let text = at.map_or_else(String::new, |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A duration as OpenAI writes it, rounded up to milliseconds: `1s`, `6m0s`, `1h0m0s`, `8.64s`, `120ms`.
pub(super) fn go_duration(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let fraction = format!("{}.{:03}", millis / 1000 % 60, millis % 1000);
    let rest = fraction.trim_end_matches('0').trim_end_matches('.');
    let rest = if rest.is_empty() { "0" } else { rest };
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_openai_does() {
        let written = |ms| go_duration(Duration::from_millis(ms));
        assert_eq!(
            [120, 1000, 8640, 10_000, 359_999, 360_000, 3_600_000, 61_500].map(written),
            ["120ms", "1s", "8.64s", "10s", "5m59.999s", "6m0s", "1h0m0s", "1m1.5s"]
        );
        assert_eq!(go_duration(Duration::from_nanos(59_999_999_999)), "1m0s");
        assert_eq!(seconds(Duration::from_millis(1001)), 2);
    }
}
