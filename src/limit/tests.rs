use std::time::Duration;

use super::*;
use crate::auth::{CallerKind, Permissions};
use crate::config::limit::LimitRate;
use crate::observe::Identity as Who;

fn metrics() -> Metrics {
    Metrics::new(&Who { instance_id: "gw-1".into(), version: "0.1.0".into() })
}

fn limit(name: &str, key: LimitKey, burst: u64) -> Limit {
    let rate = Some(LimitRate { count: 1, period: Duration::from_secs(60), burst });
    Limit {
        name: name.into(),
        key,
        rate,
        concurrency: None,
        tokens: None,
        cost: None,
        enforced: true,
        headers: true,
        max_entries: 1_000,
        overrides: Vec::new(),
    }
}

fn route(limits: Vec<Limit>) -> RouteLimits {
    let (all, metrics) = (Limits::default(), metrics());
    let limiters = limits.into_iter().map(|limit| all.limiter(&Arc::new(limit), &metrics)).collect();
    RouteLimits::new(&"r".into(), limiters, &metrics).unwrap()
}

/// Asks as a client, with the id of a caller and a field `x-tenant`, when these are not empty.
fn take(limits: &RouteLimits, client: &str, caller: &str, tenant: &str) -> Result<Permits, Refusal> {
    let mut headers = HeaderMap::new();
    if !tenant.is_empty() {
        headers.insert("x-tenant", HeaderValue::from_str(tenant).unwrap());
    }
    let known = |id: &str| Caller::new(CallerKind::ApiKey, id.into(), Permissions::default());
    let caller = (!caller.is_empty()).then(|| known(caller));
    let asked = Asked { client: client.parse().unwrap(), caller: caller.as_ref(), model: None, headers: &headers };
    limits.take(&asked, clock::now(), &mut Vec::new()).map_err(|refused| refused.why)
}

#[test]
fn a_callers_limit_follows_it_over_addresses() {
    let limits = route(vec![limit("a", LimitKey::ApiKey, 1)]);
    assert!(take(&limits, "10.0.0.1", "one", "").is_ok());
    assert!(take(&limits, "10.0.0.2", "one", "").is_err());
    assert!(take(&limits, "10.0.0.2", "two", "").is_ok());
    assert!(take(&limits, "10.0.0.1", "", "").is_ok());
    assert!(take(&limits, "10.0.0.9", "", "").is_err(), "who is not known is one caller");
}

#[test]
fn the_prefix_of_ipv6_is_as_configured() {
    let limits = route(vec![limit("a", LimitKey::ClientIp { ipv6_prefix: 128 }, 1)]);
    assert!(take(&limits, "2001:db8::1", "", "").is_ok());
    assert!(take(&limits, "2001:db8::2", "", "").is_ok());
    assert!(take(&limits, "2001:db8::2", "", "").is_err());
    let limits = route(vec![limit("a", LimitKey::ClientIp { ipv6_prefix: 48 }, 1)]);
    assert!(take(&limits, "2001:db8:1:1::1", "", "").is_ok());
    assert!(take(&limits, "2001:db8:1:2::1", "", "").is_err());
}

#[test]
fn headers_tell_clients_apart_by_their_whole_value() {
    let limits = route(vec![limit("a", LimitKey::Header(HeaderName::from_static("x-tenant")), 1)]);
    for tenant in ["blue", "blu", "blue2", ""] {
        assert!(take(&limits, "10.0.0.1", "", tenant).is_ok(), "{tenant:?}");
        assert!(take(&limits, "10.0.0.2", "", tenant).is_err(), "{tenant:?}");
    }
}

#[test]
fn a_refusal_by_concurrency_takes_nothing_from_a_rate_and_the_other_way_round() {
    let mut both = limit("a", LimitKey::Global, 2);
    both.concurrency = Some(1);
    let limits = route(vec![both, limit("b", LimitKey::Global, 9)]);
    let first = take(&limits, "10.0.0.1", "", "").unwrap();
    assert_eq!(take(&limits, "10.0.0.1", "", "").err(), Some(Refusal::Concurrency));
    drop(first);
    drop(take(&limits, "10.0.0.1", "", "").unwrap());
    assert!(matches!(take(&limits, "10.0.0.1", "", "").err(), Some(Refusal::Rate { seconds: 58..=60 })));
    assert!(limits.early.iter().all(|(_, limiter)| { limiter.state.has_place(limiter.state.key(()), 1) }));
}

#[test]
fn threads_that_race_for_several_limits_leave_nothing_behind() {
    let limits = route(vec![limit("a", LimitKey::Global, 300), limit("b", LimitKey::Route, 200), {
        let mut shadow = limit("c", LimitKey::Global, 100);
        shadow.enforced = false;
        shadow
    }]);
    let passed = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    if take(&limits, "10.0.0.1", "", "").is_ok() {
                        passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 200);
    let asked = Asked { client: IpAddr::from([10, 0, 0, 1]), caller: None, model: None, headers: &HeaderMap::new() };
    let mut fields = Vec::new();
    assert!(limits.take(&asked, clock::now(), &mut fields).is_err());
    let told = fields.iter().find(|(name, _)| name == "ratelimit").unwrap().1.to_str().unwrap();
    assert!(told.starts_with("\"a\";r=100;"), "what b refused, a was given back: {told}");
}

#[test]
fn a_limit_is_the_same_after_a_reload_and_forgotten_when_nobody_has_it() {
    let (all, metrics) = (Limits::default(), metrics());
    let a = Arc::new(limit("a", LimitKey::Global, 5));
    let first = all.limiter(&a, &metrics);
    let again = all.limiter(&Arc::new(limit("a", LimitKey::Global, 9)), &metrics);
    assert!(Arc::ptr_eq(&first.state, &again.state));
    let other = all.limiter(&Arc::new(limit("a", LimitKey::Route, 5)), &metrics);
    assert!(!Arc::ptr_eq(&first.state, &other.state));
    drop((first, again));
    all.retain(&[], &[other]);
    assert_eq!(all.states.lock().unwrap().len(), 1);
}

#[test]
#[ignore = "a measurement: run it alone, in an optimised build"]
#[expect(clippy::disallowed_methods, reason = "a test measures with the real clock")]
fn what_one_limit_costs() {
    let limits = route(vec![limit("a", LimitKey::ClientIp { ipv6_prefix: 64 }, u64::from(u32::MAX) / 60)]);
    let (headers, mut fields) = (HeaderMap::new(), Vec::with_capacity(8));
    let mut quiet = limit("a", LimitKey::ClientIp { ipv6_prefix: 64 }, u64::from(u32::MAX) / 60);
    quiet.headers = false;
    let quiet = route(vec![quiet]);
    for (what, limits) in [("told", &limits), ("not told", &quiet)] {
        let rounds = 1_000_000_u32;
        let started = Instant::now();
        for n in 0..rounds {
            let asked = Asked {
                client: IpAddr::from((n % 10_000).to_be_bytes()),
                caller: None,
                model: None,
                headers: &headers,
            };
            let _permits = limits.take(&asked, clock::now(), &mut fields).unwrap();
            fields.clear();
        }
        println!("{what}: {:?} a request", started.elapsed() / rounds);
    }
}

/// The limit with another burst and another bound in flight for some.
fn with_overrides(mut of: Limit, some: &[(&str, u64, Option<u32>)]) -> Limit {
    let other = |(who, burst, concurrency): &(&str, u64, Option<u32>)| {
        let mut other = Limit { concurrency: concurrency.or(of.concurrency), ..of.clone() };
        other.rate.as_mut().unwrap().burst = *burst;
        ((*who).into(), Arc::new(other))
    };
    of.overrides = some.iter().map(other).collect();
    of
}

#[test]
fn other_numbers_hold_for_those_who_are_named() {
    let mut of = limit("a", LimitKey::ApiKey, 1);
    of.concurrency = Some(1);
    let limits = route(vec![with_overrides(of, &[("big", 3, Some(2)), ("token:big", 2, None)])]);
    let first = take(&limits, "10.0.0.1", "big", "").unwrap();
    let second = take(&limits, "10.0.0.1", "big", "").unwrap();
    assert_eq!(take(&limits, "10.0.0.1", "big", "").err(), Some(Refusal::Concurrency));
    drop((first, second));
    assert!(take(&limits, "10.0.0.1", "big", "").is_ok());
    assert!(matches!(take(&limits, "10.0.0.1", "big", "").err(), Some(Refusal::Rate { .. })));
    assert!(take(&limits, "10.0.0.1", "small", "").is_ok());
    assert!(matches!(take(&limits, "10.0.0.1", "small", "").err(), Some(Refusal::Rate { .. })));
}

#[test]
fn who_gets_other_numbers_is_told_of_these() {
    let limits = route(vec![with_overrides(limit("a", LimitKey::ApiKey, 1), &[("big", 3, None)])]);
    let headers = HeaderMap::new();
    let policy = |id: &str| {
        let caller = Caller::new(CallerKind::ApiKey, id.into(), Permissions::default());
        let client = "10.0.0.1".parse().unwrap();
        let asked = Asked { client, caller: Some(&caller), model: None, headers: &headers };
        let mut told = Vec::new();
        limits.take(&asked, clock::now(), &mut told).unwrap();
        let value = |name: &str| told.iter().find(|(known, _)| known == name).unwrap().1.to_str().unwrap().to_owned();
        (value("ratelimit-policy"), value("x-ratelimit-limit-requests"))
    };
    assert_eq!(policy("big"), ("\"a\";q=3;w=180".to_owned(), "3".to_owned()));
    assert_eq!(policy("small"), ("\"a\";q=1;w=60".to_owned(), "1".to_owned()));
}

#[test]
fn callers_with_the_same_metadata_share_a_limit_and_those_without_share_another() {
    let limits = route(vec![limit("a", LimitKey::Metadata("team".into()), 1)]);
    let headers = HeaderMap::new();
    let take = |id: &str, team: &str| {
        let mut caller = Caller::new(CallerKind::ApiKey, id.into(), Permissions::default());
        if !team.is_empty() {
            caller.metadata = Arc::new([("other".into(), "x".into()), ("team".into(), team.into())]);
        }
        let client = "10.0.0.1".parse().unwrap();
        let asked = Asked { client, caller: Some(&caller), model: None, headers: &headers };
        limits.take(&asked, clock::now(), &mut Vec::new()).is_ok()
    };
    assert_eq!([take("one", "blue"), take("two", "blue"), take("three", "red")], [true, false, true]);
    assert_eq!([take("four", ""), take("five", "")], [true, false]);
}
