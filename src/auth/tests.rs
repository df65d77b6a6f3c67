use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::*;
use crate::config::auth::{ApiKey, ApiKeys, KeySecret};
use crate::observe::Identity;
use crate::observe::metrics::Metrics;
use crate::observe::metrics::auth::REASONS;

/// The time of these tests, in seconds.
const NOW: u64 = 1_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn key(id: &str, secrets: &[(&str, Option<u64>)]) -> ApiKey {
    let secret =
        |(text, until): &(&str, Option<u64>)| KeySecret { digest: Sha256::digest(text).into(), until: until.map(at) };
    ApiKey {
        id: id.into(),
        description: None,
        permissions: Permissions::parse(["read"]).unwrap(),
        enabled: true,
        expires_at: None,
        secrets: secrets.iter().map(secret).collect(),
        metadata: Arc::default(),
    }
}

fn authenticator(keys: Vec<ApiKey>) -> Authenticator {
    by_headers(&["x-api-key"], keys)
}

fn by_headers(names: &[&'static str], keys: Vec<ApiKey>) -> Authenticator {
    let headers = names.iter().map(|name| HeaderName::from_static(name)).collect();
    let api_keys = Some(ApiKeys { headers, keys });
    Authenticator::new(&Auth { api_keys, ..Auth::default() }, &tokens())
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Who `fields` speak for at second `now`: an id, or why nobody.
fn who(keys: &Authenticator, fields: &[(&'static str, &str)], now: u64) -> String {
    let found = keys.authenticate(&headers(fields), at(now));
    found.map_or_else(|refused| refused.why.as_str().to_owned(), |caller| caller.id.to_string())
}

/// Nothing fetched, nothing revoked.
fn tokens() -> Arc<Tokens> {
    let identity = Identity { instance_id: "a".to_owned(), version: "0".to_owned() };
    Arc::new(Tokens::new(None, &Arc::new(Metrics::new(&identity))))
}

#[test]
fn a_secret_counts_until_its_last_moment_and_not_longer() {
    let keys = authenticator(vec![
        key("plain", &[("p", None)]),
        key("moved", &[("new", None), ("old", Some(NOW))]),
        ApiKey { expires_at: Some(at(NOW)), ..key("timed", &[("t", None), ("t-old", Some(NOW + 9))]) },
        ApiKey { enabled: false, expires_at: Some(at(NOW)), ..key("off", &[("o", None)]) },
        key("empty", &[]),
    ]);
    for (secret, before, after) in [
        ("p", "plain", "plain"),
        ("new", "moved", "moved"),
        ("old", "moved", "expired"),
        ("t", "timed", "expired"),
        ("t-old", "timed", "expired"),
        ("o", "disabled", "disabled"),
        ("", "missing", "missing"),
        ("x", "unknown", "unknown"),
    ] {
        let field = [("x-api-key", secret)];
        assert_eq!(
            (who(&keys, &field, NOW - 1).as_str(), who(&keys, &field, NOW).as_str()),
            (before, after),
            "{secret}"
        );
    }
}

#[test]
fn of_several_credentials_the_field_of_keys_wins_and_what_is_unclear_is_refused() {
    let keys = authenticator(vec![key("a", &[("sa", None)]), key("b", &[("sb", None)])]);
    for (fields, expected) in [
        (&[("x-api-key", "sa"), ("authorization", "Bearer sb")][..], "a"),
        (&[("x-api-key", "sa"), ("authorization", "Bearer of.someone.else")], "a"),
        (&[("x-api-key", "wrong"), ("authorization", "Bearer sb")], "unknown"),
        (&[("x-api-key", ""), ("authorization", "Bearer sb")], "b"),
        (&[("x-api-key", "  sa\t")], "a"),
        (&[("x-api-key", "sa"), ("x-api-key", "sb")], "malformed"),
        (&[("x-api-key", "sa"), ("x-api-key", "sa")], "malformed"),
        (&[("x-api-key", ""), ("x-api-key", "sa")], "malformed"),
        (&[("authorization", "Bearer sa"), ("authorization", "Bearer sa")], "malformed"),
        (&[("authorization", "Bearer sa"), ("authorization", "Basic eA==")], "malformed"),
        (&[("authorization", "Bearer sa, Bearer sb")], "unknown"),
        (&[("authorization", "BEARER\tsa")], "a"),
        (&[("authorization", "Digest sa")], "missing"),
        (&[("authorization", "Bearer ")], "missing"),
        (&[], "missing"),
    ] {
        assert_eq!(who(&keys, fields, NOW), expected, "{fields:?}");
    }
}

#[test]
fn a_refusal_tells_whose_key_it_was_when_it_was_anybodys() {
    let keys = authenticator(vec![
        key("moved", &[("new", None), ("old", Some(NOW))]),
        ApiKey { expires_at: Some(at(NOW)), ..key("timed", &[("t", None)]) },
        ApiKey { enabled: false, ..key("off", &[("o", None)]) },
    ]);
    for (secret, whose) in [("old", Some("moved")), ("t", Some("timed")), ("o", Some("off")), ("x", None), ("", None)] {
        let refused = keys.authenticate(&headers(&[("x-api-key", secret)]), at(NOW)).expect_err("it is no good");
        assert_eq!(refused.key.as_deref(), whose, "{secret}");
    }
}

#[test]
fn where_several_fields_bring_keys_each_does_and_different_ones_at_once_are_refused() {
    let keys = by_headers(&["x-api-key", "api-key"], vec![key("a", &[("sa", None)]), key("b", &[("sb", None)])]);
    for (fields, expected) in [
        (&[("x-api-key", "sa")][..], "a"),
        (&[("api-key", "sb")], "b"),
        (&[("x-api-key", ""), ("api-key", "sb")], "b"),
        (&[("x-api-key", "sa"), ("api-key", " sa")], "a"),
        (&[("x-api-key", "sa"), ("api-key", "sb")], "malformed"),
        (&[("x-api-key", "sa"), ("api-key", "other")], "malformed"),
        (&[("x-api-key", "sa"), ("api-key", "sa"), ("api-key", "sa")], "malformed"),
        (&[("api-key", "sb"), ("authorization", "Bearer sa")], "b"),
    ] {
        assert_eq!(who(&keys, fields, NOW), expected, "{fields:?}");
    }
    let hidden = |fields: &[(&'static str, &str)], asked: bool| {
        let headers = headers(fields);
        let caller = if asked { keys.authenticate(&headers, at(NOW)).ok() } else { None };
        let hidden = keys.hidden(&headers, caller.as_deref());
        keys.names(hidden).filter(|name| headers.contains_key(*name)).map(|name| name.to_string()).collect::<Vec<_>>()
    };
    let both = [("x-api-key", "sa"), ("api-key", "sa")];
    assert_eq!(hidden(&both, true), ["x-api-key", "api-key"]);
    assert_eq!(hidden(&both, false), ["x-api-key", "api-key"]);
    let one = [("x-api-key", "of-the-member"), ("api-key", "sb")];
    assert_eq!(hidden(&one, false), ["api-key"], "where nobody is asked for, the other is the member's own");
}

#[test]
fn keys_bring_nobody_in_where_only_tokens_do() {
    let keys = authenticator(vec![key("a", &[("sa", None)])]);
    let only_tokens = Accepts { api_keys: false, jwt: true };
    let found = keys.authenticate_by(&headers(&[("x-api-key", "sa")]), only_tokens, at(NOW));
    assert_eq!(found.err(), Some(Denied::Missing.into()));
    let nobody = Authenticator::new(&Auth::default(), &tokens());
    assert_eq!(who(&nobody, &[("x-api-key", "sa")], NOW), "missing");
}

#[test]
fn a_secret_of_any_bytes_and_length_is_only_ever_unknown() {
    let keys = authenticator(vec![key("a", &[("sa", None)])]);
    let mut fields = HeaderMap::new();
    fields.insert("x-api-key", HeaderValue::from_bytes(&[0xff, 0x80, b's']).unwrap());
    assert_eq!(keys.authenticate(&fields, at(NOW)).err(), Some(Denied::Unknown.into()));
    let long = "s".repeat(60_000);
    assert_eq!(who(&keys, &[("x-api-key", &long)], NOW), "unknown");
}

#[test]
fn what_is_hidden_from_members_is_every_secret_of_ours_and_nothing_else() {
    let keys = authenticator(vec![key("a", &[("sa", None)]), ApiKey { enabled: false, ..key("off", &[("so", None)]) }]);
    let hidden = |fields: &[(&'static str, &str)], asked: bool| {
        let headers = headers(fields);
        let caller = if asked { keys.authenticate(&headers, at(NOW)).ok() } else { None };
        let hidden = keys.hidden(&headers, caller.as_deref());
        keys.names(hidden).filter(|name| headers.contains_key(*name)).map(|name| name.to_string()).collect::<Vec<_>>()
    };
    for (fields, asked, not_asked) in [
        (&[("x-api-key", "sa")][..], &["x-api-key"][..], &["x-api-key"][..]),
        (&[("authorization", "Bearer sa")], &["authorization"], &["authorization"]),
        (&[("x-api-key", "sa"), ("authorization", "Bearer other")], &["x-api-key"], &["x-api-key"]),
        (
            &[("x-api-key", "sa"), ("authorization", "bearer so")],
            &["x-api-key", "authorization"],
            &["x-api-key", "authorization"],
        ),
        (&[("x-api-key", ""), ("authorization", "Bearer sa")], &["x-api-key", "authorization"], &["authorization"]),
        (&[("x-api-key", "other"), ("x-api-key", "so")], &["x-api-key"], &["x-api-key"]),
        (&[("x-api-key", "other"), ("authorization", "Basic sa")], &[], &[]),
    ] {
        assert_eq!(hidden(fields, true), asked, "{fields:?}, asked");
        assert_eq!(hidden(fields, false), not_asked, "{fields:?}, not asked");
    }
}

#[test]
fn every_reason_is_counted_under_its_word() {
    assert_eq!(Denied::ALL.map(Denied::as_str), REASONS);
    for (number, denied) in Denied::ALL.into_iter().enumerate() {
        assert_eq!(denied as usize, number);
    }
}
