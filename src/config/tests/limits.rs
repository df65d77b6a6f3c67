//! `limits`: what they mean, and what is refused.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::*;
use crate::config::limit::{Budget, Calendar, LimitKey, LimitRate, Period, Window};

/// A file whose route names the limit `a`, which is this.
fn limited(limit: &str) -> String {
    with_route("limits: a") + &format!("limits: {{ a: {limit} }}\n")
}

fn one(limit: &str) -> Limit {
    config(&limited(limit)).limits[0].as_ref().clone()
}

fn rate(count: u64, period: Duration, burst: u64) -> Option<LimitRate> {
    Some(LimitRate { count, period, burst })
}

#[test]
fn a_limit_says_how_often_and_how_many() {
    let second = Duration::from_secs(1);
    let limit = one("{ key: client_ip, rate: 100/s, burst: 200 }");
    assert_eq!(limit.key, LimitKey::ClientIp { ipv6_prefix: 64 });
    assert_eq!(limit.rate, rate(100, second, 200));
    assert_eq!((limit.concurrency, limit.enforced, limit.headers, limit.max_entries), (None, true, true, 1_000_000));
    assert_eq!(one("{ key: global, rate: 10000/15m }").rate, rate(10_000, 900 * second, 10_000));
    assert_eq!(one("{ key: route, rate: \"5 / h\" }").rate, rate(5, 3600 * second, 5));
    let limit =
        one("{ key: client_ip, concurrency: 7, ipv6_prefix: 56, mode: shadow, headers: false, max_entries: 5000 }");
    assert_eq!(limit.key, LimitKey::ClientIp { ipv6_prefix: 56 });
    assert_eq!((limit.concurrency, limit.rate), (Some(7), None));
    assert_eq!((limit.enforced, limit.headers, limit.max_entries), (false, false, 5_000));
}

/// The limit `a` of a file in which no route names it.
fn unused(limit: &str) -> Limit {
    load_text(&with(&format!("limits: {{ a: {limit} }}\n"))).unwrap().config.limits[0].as_ref().clone()
}

#[test]
fn a_budget_rolls_or_follows_the_calendar_and_money_is_exact() {
    let rolling = |units, seconds| {
        let window = Window::Rolling(Duration::from_secs(seconds));
        Some(Budget { units, window })
    };
    let limit = unused("{ key: api_key, tokens: 10000/15m, cost: 20.00/1d }");
    assert_eq!((limit.tokens, limit.cost), (rolling(10_000, 900), rolling(20_000_000, 86_400)));
    let limit = unused("{ key: model, rate: 5/s, concurrent: 50, tokens: 5 / 1h30m, cost: 0.000001/366d }");
    assert_eq!((limit.key, limit.concurrency), (LimitKey::Model, Some(50)));
    assert_eq!((limit.tokens, limit.cost), (rolling(5, 5_400), rolling(1, 366 * 86_400)));
    assert_eq!(unused("{ key: route, tokens: 100/h, cost: 1.5/s }").tokens, rolling(100, 3_600));
    let at_borders = |units, period, zone: &TimeZone| {
        let window = Window::Calendar(Calendar { period, zone: zone.clone() });
        Some(Budget { units, window })
    };
    let limit = unused("{ key: global, tokens: 1000000/day, cost: 500.00/month, mode: shadow, headers: false }");
    assert_eq!(limit.tokens, at_borders(1_000_000, Period::Day, &TimeZone::UTC));
    assert_eq!(limit.cost, at_borders(500_000_000, Period::Month, &TimeZone::UTC));
    assert_eq!((limit.enforced, limit.headers), (false, false));
    if let Ok(berlin) = TimeZone::get("Europe/Berlin") {
        let limit = unused("{ key: client_ip, cost: 1/week, timezone: Europe/Berlin, max_entries: 5000 }");
        assert_eq!(limit.cost, at_borders(1_000_000, Period::Week, &berlin));
        assert_eq!(limit.max_entries, 5_000);
    }
}

#[test]
fn what_counts_tokens_money_or_models_is_for_routes_with_ai() {
    let of = |limit: &str| {
        let ai = "ai: { providers: { openai: { kind: openai, keys: [sk-proj-7f2b4936a8e1c7d05b9f] } } }\n";
        let routes = "routes: { match: /v1/, ai: true, limits: a }\n";
        format!("listen: 127.0.0.1:80\n{ai}{routes}limits: {{ a: {limit} }}\n")
    };
    for limit in
        ["{ key: model, rate: 5/s }", "{ key: global, tokens: 5/day }", "{ key: route, cost: 1/1h, rate: 5/s }"]
    {
        assert!(config(&of(limit)).limits[0].is_for_ai(), "{limit}");
        assert!(told(&refused(&limited(limit)))[0].contains("only a route with `ai` knows of"), "{limit}");
    }
}

#[test]
fn other_numbers_may_hold_for_some() {
    let limit = unused(
        "{ key: metadata(team), rate: 10/s, burst: 20, concurrent: 5, cost: 10.00/1d, timezone: UTC, \
         overrides: { search: { rate: 50/s, cost: 100.00/month }, \"b c\": { burst: 40 } } }",
    );
    assert_eq!(limit.key, LimitKey::Metadata("team".into()));
    let [(search, first), (other, second)] = limit.overrides.as_slice() else { panic!("{limit:?}") };
    assert_eq!((&**search, &**other), ("search", "b c"));
    let second_of = Duration::from_secs(1);
    assert_eq!((first.rate, first.concurrency), (rate(50, second_of, 50), Some(5)));
    let month = Window::Calendar(Calendar { period: Period::Month, zone: TimeZone::UTC });
    assert_eq!(first.cost, Some(Budget { units: 100_000_000, window: month }));
    assert_eq!((second.rate, &second.cost), (rate(10, second_of, 40), &limit.cost));
    let by_caller =
        unused("{ key: api_key, rate: 1/s, overrides: { \"key:a\": { rate: 5/s }, \"token:b\": { rate: 6/s } } }");
    let names: Vec<&str> = by_caller.overrides.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "token:b"]);
}

#[test]
fn an_increment_is_never_shorter_than_the_rate_has_it() {
    let every = |text: &str| one(&format!("{{ key: global, rate: {text} }}")).rate.unwrap().increment();
    assert_eq!(every("100/s"), 10_000_000);
    assert_eq!(every("3/s"), 333_333_334);
    assert_eq!(every("1000000/s"), 1_000);
    assert_eq!(every("1/7d"), 7 * 86_400 * 1_000_000_000);
}

#[test]
fn routes_name_limits_in_any_order() {
    let limits = "limits: { z: { key: route, rate: 1/s }, b: { key: global, rate: 1/s } }\n";
    let config = config(&(with_route("limits: [z, b]") + limits));
    let names: Vec<&str> = config.routes[0].limits.iter().map(|index| &*config.limits[*index].name).collect();
    assert_eq!(names, ["z", "b"]);
}

#[test]
fn what_is_wrong_with_limits_is_told() {
    let many = (0..9).map(|n| format!("l{n}: {{ key: global, rate: 1/s }}")).collect::<Vec<_>>().join(", ");
    let names = (0..9).map(|n| format!("l{n}")).collect::<Vec<_>>().join(", ");
    let files = [
        ("nothing", limited("{ key: global }")),
        ("no key", limited("{ rate: 1/s }")),
        ("a key that is none", limited("{ key: client-ip, rate: 1/s }")),
        ("a header without its name", limited("{ key: header, rate: 1/s }")),
        ("a number alone", limited("{ key: global, rate: 100 }")),
        ("a rate of nothing", limited("{ key: global, rate: 0/s }")),
        ("a rate per what", limited("{ key: global, rate: 5/fortnight }")),
        ("a rate too long", limited("{ key: global, rate: 5/8d }")),
        ("a rate too high", limited("{ key: global, rate: 2000000/s }")),
        ("a burst of nothing", limited("{ key: global, rate: 1/s, burst: 0 }")),
        ("a burst without a rate", limited("{ key: global, concurrency: 1, burst: 5 }")),
        ("a burst of tokens", limited("{ key: global, tokens: 5/1h, burst: 5 }")),
        ("concurrency twice", limited("{ key: global, concurrency: 1, concurrent: 2 }")),
        ("tokens without a time", limited("{ key: global, tokens: 10000 }")),
        ("tokens in parts", limited("{ key: global, tokens: 1.5/1h }")),
        ("no tokens", limited("{ key: global, tokens: 0/1h }")),
        ("too many tokens", limited("{ key: global, tokens: 1000000000000001/1h }")),
        ("money with a sign", limited("{ key: global, cost: $5/day }")),
        ("money in parts of a millionth", limited("{ key: global, cost: 0.0000001/day }")),
        ("no money", limited("{ key: global, cost: 0.00/day }")),
        ("a day of either kind", limited("{ key: global, cost: 5/d }")),
        ("a minute or a month", limited("{ key: global, cost: 5/m }")),
        ("a period that is none", limited("{ key: global, tokens: 5/dai }")),
        ("a year", limited("{ key: global, tokens: 5/367d }")),
        ("no time at all", limited("{ key: global, tokens: 5/200ms }")),
        ("a zone that is none", limited("{ key: global, tokens: 5/day, timezone: Mars/Olympus }")),
        ("a zone of nothing", limited("{ key: global, tokens: 5/1d, timezone: UTC }")),
        ("tokens of no model", limited("{ key: global, tokens: 5/1h }")),
        ("models of no model", limited("{ key: model, rate: 5/s }")),
        ("a burst of years", limited("{ key: global, rate: 1/d, burst: 400 }")),
        ("a mode that is none", limited("{ key: global, rate: 1/s, mode: shaddow }")),
        ("a prefix of no address", limited("{ key: route, rate: 1/s, ipv6_prefix: 64 }")),
        ("a prefix too short", limited("{ key: client_ip, rate: 1/s, ipv6_prefix: 8 }")),
        ("entries of one bucket", limited("{ key: global, rate: 1/s, max_entries: 5000 }")),
        ("too few entries", limited("{ key: client_ip, rate: 1/s, max_entries: 10 }")),
        ("an unknown key", limited("{ key: global, rate: 1/s, brust: 5 }")),
        ("no such limit", with_route("limits: per-clint") + "limits: { per-client: { key: global, rate: 1/s } }\n"),
        ("no limits at all", with_route("limits: [a]")),
        ("twice", with_route("limits: [a, a]") + "limits: { a: { key: global, rate: 1/s } }\n"),
        ("too many", with_route(&format!("limits: [{names}]")) + &format!("limits: {{ {many} }}\n")),
        ("entries of one account", limited("{ key: route, tokens: 5/day, max_entries: 5000 }")),
        ("no caller", limited("{ key: api_key, rate: 1/s }")),
        ("a strange name", with_route("limits: \"a b\"") + "limits: { \"a b\": { key: global, rate: 1/s } }\n"),
    ];
    let one = |(what, text): &(&str, String)| format!("--- {what}\n{}\n", refused(text));
    snapshot("refused_limits", &files.iter().map(one).collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_wrong_with_metadata_and_overrides_is_told() {
    let files = [
        ("metadata of what", limited("{ key: metadata, rate: 1/s }")),
        ("metadata of nothing", limited("{ key: metadata( ), rate: 1/s }")),
        ("metadata of no caller", limited("{ key: metadata(team), rate: 1/s }")),
        ("others of nobody", limited("{ key: client_ip, rate: 1/s, overrides: {} }")),
        ("others of all", limited("{ key: global, rate: 1/s, overrides: { a: { rate: 5/s } } }")),
        ("no other number", limited("{ key: client_ip, rate: 1/s, overrides: { 10.0.0.1: {} } }")),
        ("no address", limited("{ key: client_ip, rate: 1/s, overrides: { 10.0.0.0/8: { rate: 5/s } } }")),
        (
            "what the limit has not",
            limited("{ key: client_ip, concurrent: 1, overrides: { 10.0.0.1: { rate: 5/s, burst: 2, cost: 5/day } } }"),
        ),
        ("a wrong number for some", limited("{ key: client_ip, rate: 1/s, overrides: { 10.0.0.1: { rate: fast } } }")),
        (
            "what is no number",
            limited("{ key: client_ip, rate: 1/s, overrides: { 10.0.0.1: { rate: 5/s, mode: shadow } } }"),
        ),
        (
            "one twice",
            limited("{ key: api_key, rate: 1/s, overrides: { a: { rate: 5/s }, \"key:a\": { rate: 6/s } } }"),
        ),
        (
            "a zone of no other",
            limited("{ key: client_ip, rate: 1/s, timezone: UTC, overrides: { 10.0.0.1: { rate: 5/s } } }"),
        ),
    ];
    let one = |(what, text): &(&str, String)| format!("--- {what}\n{}\n", refused(text));
    snapshot("refused_overrides", &files.iter().map(one).collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_worth_a_look_is_told() {
    let warnings = |text: &str| load_text(text).unwrap().warnings.iter().map(|w| w.message.clone()).collect::<Vec<_>>();
    assert_eq!(
        warnings(&limited("{ key: header(x-tenant), rate: 1/s }")),
        ["a client may send any `x-tenant` it likes"]
    );
    assert_eq!(warnings(&with("limits: { a: { key: global, rate: 1/s } }\n")), ["no route uses this limit"]);
    let key = "{ id: search-1, secret: sk-sg-9Lr4wB6cU3-7f2b4936a8e1, permissions: read, expires_at: 2098-01-01T00:00:00Z, metadata: { team: search } }";
    let of_callers = |limit: &str| {
        let auth = format!("auth: {{ api_keys: {{ keys: [{key}] }} }}\n");
        with_route("limits: a\nauth: required") + &auth + &format!("limits: {{ a: {limit} }}\n")
    };
    let some = |key: &str, who: &str| {
        of_callers(&format!("{{ key: {key}, rate: 1/s, overrides: {{ {who}: {{ rate: 5/s }} }} }}"))
    };
    assert_eq!(warnings(&some("api_key", "search-1")), [""; 0]);
    assert_eq!(warnings(&some("api_key", "search-2")), ["this is not an API key"]);
    assert_eq!(warnings(&some("api_key", "\"token:search-2\"")), [""; 0]);
    assert_eq!(warnings(&some("metadata(team)", "search")), [""; 0]);
    assert_eq!(warnings(&some("metadata(team)", "serach")), ["this is not what the metadata of an API key says"]);
    assert_eq!(
        warnings(&of_callers("{ key: metadata(group), rate: 1/s }")),
        ["no API key has `group` in its metadata: all callers count together"]
    );
    assert_eq!(warnings(&some("route", "nowhere")), ["this is not a route"]);
}

#[test]
fn keys_that_lack_what_a_limit_counts_by_are_warned_of_where_they_may_come_in() {
    let key = |id: &str, more: &str| {
        format!("{{ id: {id}, secret: sk-sg-{id}-9Lr4wB6cU3-7f2b4936a8e1, expires_at: 2098-01-01T00:00:00Z, {more} }}")
    };
    let of = |keys: &[String], route: &str| {
        let auth = format!("auth: {{ api_keys: {{ keys: [{}] }} }}\n", keys.join(", "));
        let route = format!("limits: teams\n{route}");
        let limits = "limits: { teams: { key: metadata(team), rate: 1/s } }\n";
        load_text(&(with_route(&route) + &auth + limits)).unwrap().warnings
    };
    let known = key("a", "permissions: [read], metadata: { team: search }");
    let lacks = |id: &str| key(id, "permissions: [read]");
    let warnings = of(&[known.clone(), lacks("b")], "");
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    let message = "1 API key has no `team` in its metadata, and counts together with all callers without one: `b`";
    assert_eq!((warning.key.as_str(), warning.message.as_str()), ("limits.teams.key", message));
    assert!(warning.to_string().contains("give each key its own: metadata: { team: ... }"), "{warning}");

    let many: Vec<String> = [known].into_iter().chain(["b", "c", "d", "e", "f"].map(lacks)).collect();
    let message = "5 API keys have no `team` in their metadata, and count together: `b`, `c`, `d` and 2 more";
    assert_eq!(of(&many, "").iter().map(|warning| &*warning.message).collect::<Vec<_>>(), [message]);

    for (lacking, route) in [
        (key("b", "permissions: [read], enabled: false"), ""),
        (key("b", "permissions: [read]"), "permission: admin"),
        (key("b", "permissions: [\"chat:*\"]"), "permission: \"tts:use\""),
    ] {
        let known = key("a", "permissions: [admin], metadata: { team: search }");
        assert_eq!(of(&[known, lacking.clone()], route), [], "it does not come in: {lacking} {route}");
    }
}

#[test]
fn what_a_limit_counts_by_is_no_secret_and_is_shown() {
    let told = |key: &str| {
        let text = limited(&format!("{{ key: {key}, rate: 5/s }}"));
        load_text(&text).unwrap_err().to_string()
    };
    for key in ["api_key+model", "metadata.team", "organisation_id"] {
        let problem = told(key);
        assert!(problem.contains(&format!("`{key}` is not what a limit counts by")), "{problem}");
        assert!(problem.contains(&format!("key: {key}")), "{problem}");
    }
    for key in ["sk-proj-9Lr4wB6cU3", "9Lr4wB6cU39Lr4wB6cU39Lr4wB6cU39Lr4wB6cU3"] {
        assert!(!told(key).contains("9Lr4wB6cU3"), "a provider may have come there: {}", told(key));
    }
}
