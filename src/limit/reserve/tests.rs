use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::HeaderMap;

use super::*;
use crate::auth::{Caller, CallerKind, Permissions};
use crate::config::limit::{Budget, Limit, LimitKey, LimitRate, Window};
use crate::limit::Limits;
use crate::observe::Identity;
use crate::observe::metrics::{BudgetGauges, LimitGauges, Metrics};

type Fields = Vec<(HeaderName, HeaderValue)>;

fn metrics() -> Metrics {
    Metrics::new(&Identity { instance_id: "gw-1".into(), version: "0.1.0".into() })
}

/// So many in a quarter of an hour: in the time of a test, next to nothing comes back.
fn quarter(units: u64) -> Option<Budget> {
    Some(Budget { units, window: Window::Rolling(Duration::from_secs(900)) })
}

fn limit(name: &str, key: LimitKey, tokens: u64) -> Limit {
    Limit {
        name: name.into(),
        key,
        rate: None,
        concurrency: None,
        tokens: quarter(tokens),
        cost: None,
        enforced: true,
        headers: true,
        max_entries: 1_000,
        overrides: Vec::new(),
    }
}

struct Gate {
    all: Limits,
    metrics: Metrics,
    route: RouteLimits,
    now: Instant,
}

fn gate(limits: Vec<Limit>) -> Gate {
    let (all, metrics) = (Limits::default(), metrics());
    let limiters = limits.into_iter().map(|limit| all.limiter(&Arc::new(limit), &metrics)).collect();
    let route = RouteLimits::new(&"r".into(), limiters, &metrics).unwrap();
    Gate { all, metrics, route, now: clock::now() }
}

impl Gate {
    fn ask(&self, caller: &str, model: &str, estimate: Estimate, fields: &mut Fields) -> Result<Reserved, Refusal> {
        let caller = Caller::new(CallerKind::ApiKey, caller.into(), Permissions::default());
        let (client, headers) = (IpAddr::from([10, 0, 0, 1]), HeaderMap::new());
        let asked = Asked { client, caller: Some(&caller), model: Some(model), headers: &headers };
        self.route.reserve(&asked, estimate, self.now, fields, None).map_err(|refused| refused.why)
    }

    fn tokens(&self, caller: &str, tokens: u64) -> Result<Reserved, Refusal> {
        self.ask(caller, "gpt", Estimate { tokens, cost: 0 }, &mut Vec::new())
    }

    /// Tokens that are left for `caller` in the first budget.
    fn left(&self, caller: &str) -> u64 {
        let mut fields = Vec::new();
        drop(self.ask(caller, "gpt", Estimate::default(), &mut fields));
        field(&fields, "x-ratelimit-remaining-tokens").parse().unwrap()
    }

    fn gauges(&self) -> &LimitGauges {
        self.route.budgets[0].1.state.gauges()
    }

    /// That nothing is set aside, and every unit that was is accounted for.
    fn is_at_rest(&self) {
        let numbers: &BudgetGauges = &self.gauges().tokens;
        let now = |number: &AtomicU64| number.load(Ordering::Relaxed);
        assert_eq!((now(&numbers.pending), now(&numbers.open)), (0, 0));
        assert!(now(&numbers.reserved) <= now(&numbers.settled) + now(&numbers.released));
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.to_str().unwrap())
}

fn tokens(tokens: u64) -> Spent {
    Spent { tokens, cost: 0 }
}

#[test]
fn a_reservation_is_settled_for_what_was_used() {
    let gate = gate(vec![limit("a", LimitKey::ApiKey, 100)]);
    gate.tokens("one", 40).unwrap().settle(tokens(30));
    assert_eq!(gate.left("one"), 70, "ten were given back");
    gate.tokens("one", 10).unwrap().settle_at_least(tokens(5));
    assert_eq!(gate.left("one"), 60, "none was");
    drop(gate.tokens("one", 60).unwrap());
    assert_eq!(gate.left("one"), 60, "the work was never done");
    let large = gate.tokens("one", 60).unwrap();
    assert_eq!(gate.tokens("one", 1).err(), Some(Refusal::Tokens { seconds: 1 }), "it may give back at any moment");
    large.settle(tokens(80));
    assert_eq!(gate.tokens("one", 1).err(), Some(Refusal::Tokens { seconds: 189 }), "twenty in debt");
    assert_eq!(gate.left("two"), 100);
    gate.is_at_rest();
}

#[test]
fn six_thousand_of_ten_thousand_pass_once() {
    let gate = gate(vec![limit("a", LimitKey::ApiKey, 10_000)]);
    gate.tokens("one", 6_000).unwrap().settle(tokens(6_000));
    let mut fields = Vec::new();
    let refused = gate.ask("one", "gpt", Estimate { tokens: 6_000, cost: 0 }, &mut fields);
    assert_eq!(refused.err(), Some(Refusal::Tokens { seconds: 180 }));
    assert_eq!(field(&fields, "x-ratelimit-limit-tokens"), "10000");
    assert_eq!(field(&fields, "x-ratelimit-remaining-tokens"), "4000");
    assert_eq!(field(&fields, "x-ratelimit-reset-tokens"), "9m0s");
    assert_eq!(field(&fields, "ratelimit"), "\"a\";r=4000;t=540");
}

#[test]
fn tokens_and_money_of_several_limits_are_set_aside_together_or_not_at_all() {
    let mut money = limit("money", LimitKey::ApiKey, 1);
    (money.tokens, money.cost) = (None, quarter(1_000));
    let gate = gate(vec![limit("all", LimitKey::Global, 500), limit("each", LimitKey::ApiKey, 300), money]);
    let ask = |tokens, cost| gate.ask("one", "gpt", Estimate { tokens, cost }, &mut Vec::new());
    ask(200, 700).unwrap().settle(Spent { tokens: 200, cost: 700 });
    assert_eq!(ask(50, 400).err(), Some(Refusal::Cost { seconds: 90 }));
    assert_eq!(ask(200, 400).err(), Some(Refusal::Tokens { seconds: 300 }), "the longer wait of two is told");
    let mut fields = Vec::new();
    assert!(gate.ask("one", "gpt", Estimate { tokens: 50, cost: 400 }, &mut fields).is_err());
    assert_eq!(field(&fields, "ratelimit"), "\"all\";r=300;t=360, \"each\";r=100;t=600, \"money\";r=300;t=630");
    assert_eq!(field(&fields, "x-ratelimit-remaining-tokens"), "100", "the tightest speaks");
    drop(ask(100, 300).unwrap());
    gate.is_at_rest();
}

#[test]
fn what_costs_nothing_passes_when_the_money_is_gone() {
    let mut money = limit("money", LimitKey::ApiKey, 1);
    (money.tokens, money.cost) = (None, quarter(1_000));
    let gate = gate(vec![money]);
    gate.ask("one", "gpt", Estimate { tokens: 5, cost: 9 }, &mut Vec::new())
        .unwrap()
        .settle(Spent { tokens: 5, cost: 2_000 });
    assert!(gate.ask("one", "own", Estimate { tokens: 5, cost: 0 }, &mut Vec::new()).is_ok());
    assert!(gate.ask("one", "gpt", Estimate { tokens: 5, cost: 1 }, &mut Vec::new()).is_err());
}

#[test]
fn an_estimate_above_the_whole_budget_passes_when_nothing_is_used() {
    let gate = gate(vec![limit("a", LimitKey::ApiKey, 100)]);
    let held = gate.tokens("one", 5_000).unwrap();
    assert_eq!(gate.left("one"), 0);
    assert!(held.remaining_allows(tokens(100)) && !held.remaining_allows(tokens(101)));
    held.settle(tokens(40));
    assert!(gate.tokens("one", 5_000).is_err());
    assert!(gate.tokens("one", 60).is_ok());
}

#[test]
fn a_stream_goes_on_for_as_long_as_there_is_more_for_it_and_others_find_less() {
    let gate = gate(vec![limit("a", LimitKey::Global, 1_000)]);
    let (one, two) = (gate.tokens("one", 100).unwrap(), gate.tokens("two", 100).unwrap());
    let mut used = [0, 0];
    let mut goes = [true, true];
    while goes.iter().any(|goes| *goes) {
        for (which, stream) in [&one, &two].into_iter().enumerate() {
            if goes[which] && stream.remaining_allows(tokens(used[which] + 7)) {
                used[which] += 7;
            } else {
                goes[which] = false;
            }
        }
    }
    assert!((987..=1_000).contains(&(used[0] + used[1])), "{used:?}");
    assert!(gate.left("one") < 7, "what is set aside is gone for others");
    one.settle(tokens(used[0]));
    two.settle(tokens(used[1]));
    assert_eq!(gate.left("one"), 1_000 - used[0] - used[1]);
    gate.is_at_rest();
}

#[test]
fn a_limit_that_only_counts_refuses_none_and_cuts_none() {
    let mut shadow = limit("a", LimitKey::ApiKey, 100);
    shadow.enforced = false;
    let gate = gate(vec![shadow]);
    let mut fields = Vec::new();
    let first = gate.ask("one", "gpt", Estimate { tokens: 80, cost: 0 }, &mut fields).unwrap();
    assert!(fields.is_empty(), "nobody is told of it");
    assert!(first.remaining_allows(tokens(5_000)));
    let second = gate.tokens("one", 80).unwrap();
    first.settle(tokens(80));
    // It counts what it would have let pass, as if it had refused the others.
    second.settle(tokens(80));
    assert_eq!(gate.gauges().tokens.settled.load(Ordering::Relaxed), 80);
    gate.is_at_rest();
}

#[test]
fn a_limit_that_only_counts_counts_what_one_that_refuses_would() {
    let settled = |limit: &Limit, cuts: bool| {
        let gate = gate(vec![limit.clone()]);
        let asked = Asked { client: [10, 0, 0, 1].into(), caller: None, model: None, headers: &HeaderMap::new() };
        for used in [60, 30, 400, 20, 5] {
            let Ok(mut permits) = gate.route.take(&asked, gate.now, &mut Vec::new()) else { continue };
            let estimate = Estimate { tokens: 25, cost: 40 };
            let reserved = gate.route.reserve(&asked, estimate, gate.now, &mut Vec::new(), Some(&mut permits));
            let Ok(reserved) = reserved else { continue };
            let seen = (1..=used).find(|seen| cuts && !reserved.remaining_allows(Spent { tokens: *seen, cost: *seen }));
            let used = seen.unwrap_or(used);
            reserved.settle(Spent { tokens: used, cost: used });
        }
        gate.is_at_rest();
        let numbers = [&gate.gauges().tokens, &gate.gauges().cost];
        numbers.map(|numbers| numbers.settled.load(Ordering::Relaxed))
    };
    let mut both = limit("a", LimitKey::Global, 200);
    both.cost = quarter(120);
    let mut often = both.clone();
    often.rate = Some(LimitRate { count: 2, period: Duration::from_secs(900), burst: 2 });
    for (what, limit, expected) in [
        ("tokens alone", limit("t", LimitKey::Global, 200), [490, 0]),
        ("tokens and money", both, [90, 90]),
        ("and a rate", often, [90, 90]),
    ] {
        for cuts in [false, true] {
            let enforced = settled(&limit, cuts);
            let shadow = settled(&Limit { enforced: false, ..limit.clone() }, cuts);
            assert_eq!(shadow, enforced, "{what}, streams are cut: {cuts}");
            if !cuts {
                assert_eq!(enforced, expected, "{what}");
            }
        }
    }
}

#[test]
fn what_is_refused_is_missing_in_no_other_budget_that_is_told_whatever_their_names() {
    for name in ["a", "z"] {
        let gate = gate(vec![limit(name, LimitKey::ApiKey, 20), limit("m", LimitKey::Route, 100_000)]);
        let mut fields = Vec::new();
        gate.tokens("one", 10).unwrap().settle(tokens(10));
        let estimate = Estimate { tokens: 50_000, cost: 0 };
        assert!(gate.ask("one", "gpt", estimate, &mut fields).is_err());
        let state = field(&fields, "ratelimit");
        assert!(state.contains("\"m\";r=99990;"), "{name}: {state}");
        assert!(state.contains(&format!("\"{name}\";r=10;")), "{name}: {state}");
    }
}

#[test]
fn what_tokens_refuse_is_counted_once_and_given_back_to_the_rates() {
    let mut both = limit("a", LimitKey::Global, 100);
    both.rate = Some(LimitRate { count: 2, period: Duration::from_secs(900), burst: 2 });
    let mut often = limit("b", LimitKey::Global, 1);
    (often.rate, often.tokens) = (both.rate, None);
    let gate = gate(vec![both, often]);
    let asked = Asked { client: [10, 0, 0, 1].into(), caller: None, model: None, headers: &HeaderMap::new() };
    let ask = |tokens| {
        let mut permits = gate.route.take(&asked, clock::now(), &mut Vec::new()).map_err(|refused| refused.why)?;
        let estimate = Estimate { tokens, cost: 0 };
        let reserved = gate.route.reserve(&asked, estimate, clock::now(), &mut Vec::new(), Some(&mut permits));
        reserved.map_err(|refused| refused.why)
    };
    ask(60).unwrap().settle(tokens(60));
    for _ in 0..5 {
        assert!(matches!(ask(60).err(), Some(Refusal::Tokens { .. })), "and never the rate");
    }
    ask(10).unwrap().settle(tokens(10));
    assert!(matches!(ask(10).err(), Some(Refusal::Rate { .. })));
    let shown = String::from_utf8(gate.metrics.render(&[], &[])).unwrap();
    for (limit, outcome, count) in
        [("a", "passed", 2), ("a", "tokens", 5), ("a", "rate", 1), ("b", "passed", 7), ("b", "rate", 1)]
    {
        let series = format!("sluicegate_limit_requests_total{{limit=\"{limit}\",route=\"r\",outcome=\"{outcome}\",");
        let line = shown.lines().find(|line| line.starts_with(&series)).unwrap_or_default();
        assert!(line.ends_with(&format!(" {count}")), "{count}: {line}");
    }
}

#[test]
fn a_limit_by_model_is_asked_when_the_model_is_known_for_its_rate_too() {
    let mut by_model = limit("m", LimitKey::Model, 100);
    by_model.rate = Some(LimitRate { count: 2, period: Duration::from_secs(60), burst: 2 });
    by_model.concurrency = Some(1);
    let gate = gate(vec![limit("all", LimitKey::Global, 1_000), by_model]);
    let ask = |model, fields: &mut Fields| gate.ask("one", model, Estimate { tokens: 10, cost: 0 }, fields);
    let mut fields = Vec::new();
    let first = ask("a", &mut fields).unwrap();
    assert_eq!(field(&fields, "ratelimit"), "\"all\";r=990;t=9, \"m-tokens\";r=90;t=90, \"m\";r=1;t=30");
    assert_eq!(field(&fields, "x-ratelimit-remaining-requests"), "1");
    assert_eq!(ask("a", &mut Vec::new()).err(), Some(Refusal::Concurrency));
    assert!(ask("b", &mut Vec::new()).is_ok());
    first.settle(tokens(10));
    drop(ask("a", &mut Vec::new()).unwrap());
    assert_eq!(ask("a", &mut Vec::new()).err(), Some(Refusal::Rate { seconds: 30 }));
}

#[test]
fn what_a_budget_refuses_takes_nothing_of_a_rate_by_model() {
    let mut by_model = limit("m", LimitKey::Model, 100);
    (by_model.rate, by_model.tokens) = (Some(LimitRate { count: 1, period: Duration::from_secs(60), burst: 1 }), None);
    let mut gate = gate(vec![limit("a", LimitKey::Global, 100), by_model]);
    gate.ask("one", "b", Estimate { tokens: 60, cost: 0 }, &mut Vec::new()).unwrap().settle(tokens(60));
    let mut ask = |tokens| {
        gate.now = clock::now();
        gate.ask("one", "a", Estimate { tokens, cost: 0 }, &mut Vec::new())
    };
    assert!(matches!(ask(50).err(), Some(Refusal::Tokens { .. })));
    assert!(ask(40).is_ok(), "the one request of the minute is still there");
    assert!(matches!(ask(40).err(), Some(Refusal::Rate { .. })));
}

#[test]
fn the_policy_names_every_budget_with_its_unit_and_window() {
    let mut all = limit("all", LimitKey::Global, 10_000);
    all.rate = Some(LimitRate { count: 5, period: Duration::from_secs(1), burst: 5 });
    let zone = jiff::tz::TimeZone::UTC;
    let month = Window::Calendar(crate::config::limit::Calendar { period: crate::config::limit::Period::Month, zone });
    all.cost = Some(Budget { units: 500_000_000, window: month });
    let gate = gate(vec![all]);
    let asked = Asked { client: IpAddr::from([10, 0, 0, 1]), caller: None, model: None, headers: &HeaderMap::new() };
    let mut fields = Vec::new();
    drop(gate.route.take(&asked, gate.now, &mut fields));
    assert_eq!(
        field(&fields, "ratelimit-policy"),
        "\"all\";q=5;w=1, \"all-tokens\";q=10000;w=900;qu=\"tokens\", \"all-cost\";q=500000000;qu=\"microdollars\""
    );
    assert_eq!(field(&fields, "ratelimit"), "\"all\";r=4;t=1");
    drop(gate.route.reserve(&asked, Estimate { tokens: 100, cost: 5 }, gate.now, &mut fields, None));
    let told = field(&fields, "ratelimit");
    assert!(told.starts_with("\"all\";r=4;t=1, \"all-tokens\";r=9900;t=9, \"all-cost\";r=499999995;t="), "{told}");
    let names = fields.iter().map(|(name, _)| name).collect::<std::collections::HashSet<_>>();
    assert_eq!(names.len(), fields.len(), "each field once");
}

#[test]
fn a_reload_keeps_what_was_used_and_what_is_set_aside_and_brings_the_new_budget() {
    let gate = gate(vec![limit("a", LimitKey::ApiKey, 100)]);
    gate.tokens("one", 30).unwrap().settle(tokens(30));
    let before = gate.tokens("one", 50).unwrap();
    let (mut larger, key) = (limit("a", LimitKey::ApiKey, 1_000), "one");
    larger.max_entries = 64_000;
    let limiter = gate.all.limiter(&Arc::new(larger), &gate.metrics);
    let after = Gate { route: RouteLimits::new(&"r".into(), vec![limiter], &gate.metrics).unwrap(), ..gate };
    assert_eq!(after.left(key), 920);
    before.settle(tokens(10));
    assert_eq!(after.left(key), 960);
    after.is_at_rest();
}

#[test]
fn a_budget_that_a_reload_takes_away_is_still_settled() {
    let mut both = limit("a", LimitKey::ApiKey, 100);
    both.cost = quarter(100);
    let gate = gate(vec![both.clone()]);
    let before = gate.ask("one", "gpt", Estimate { tokens: 50, cost: 50 }, &mut Vec::new()).unwrap();
    both.cost = None;
    let limiter = gate.all.limiter(&Arc::new(both), &gate.metrics);
    let after = Gate { route: RouteLimits::new(&"r".into(), vec![limiter], &gate.metrics).unwrap(), ..gate };
    assert!(after.ask("one", "gpt", Estimate { tokens: 50, cost: 500 }, &mut Vec::new()).is_ok());
    before.settle(Spent { tokens: 50, cost: 50 });
    assert_eq!(after.gauges().cost.pending.load(Ordering::Relaxed), 0);
}

#[test]
fn fifty_streams_at_once_never_use_more_than_the_limit() {
    for _ in 0..20 {
        let gate = gate(vec![limit("a", LimitKey::Global, 10_000), limit("b", LimitKey::ApiKey, 9_000)]);
        let (settled, refused) = (AtomicU64::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for stream in 0..50_u64 {
                let (gate, settled, refused) = (&gate, &settled, &refused);
                scope.spawn(move || {
                    let caller = format!("key-{}", stream % 3);
                    for round in 0..100 {
                        let estimate = 10 + (stream * 7 + round) % 90;
                        let Ok(held) = gate.tokens(&caller, estimate) else {
                            refused.fetch_add(1, Ordering::Relaxed);
                            continue;
                        };
                        std::thread::yield_now();
                        let used = if stream % 5 == 0 { 0 } else { estimate * (stream % 4) / 3 };
                        settled.fetch_add(used.min(estimate), Ordering::Relaxed);
                        match stream % 5 {
                            0 => drop(held),
                            _ => held.settle(tokens(used.min(estimate))),
                        }
                    }
                });
            }
        });
        let (settled, elapsed) = (settled.into_inner(), gate.now.elapsed());
        let back = elapsed.as_nanos() * 10_000 / Duration::from_secs(900).as_nanos();
        assert!(u128::from(settled) <= 10_000 + back, "{settled} settled");
        let refused = refused.into_inner();
        assert!(settled > 5_000 && refused > 100, "the limit was under pressure: {settled} settled, {refused} refused");
        gate.is_at_rest();
        assert!(gate.left("another") <= 10_000 - settled + u64::try_from(back).unwrap());
    }
}

#[test]
fn more_keys_under_way_than_there_is_room_for_are_refused_and_nobody_is_forgotten() {
    let gate = gate(vec![limit("a", LimitKey::ApiKey, 100)]);
    let mut held = Vec::new();
    let mut refused = 0;
    for caller in 0..1_500 {
        match gate.tokens(&caller.to_string(), 60) {
            Ok(reserved) => held.push((caller, reserved)),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Tokens { seconds: 1 });
                refused += 1;
            }
        }
    }
    assert!(held.len() <= 1_024 && held.len() > 700 && refused > 0, "{} held, {refused} refused", held.len());
    for (caller, _) in &held {
        assert_eq!(gate.left(&caller.to_string()), 40);
    }
    held.clear();
    gate.is_at_rest();
    assert!(gate.tokens("1499", 60).is_ok());
}

#[test]
fn the_fullest_accounts_are_listed_by_the_names_that_are_known_and_the_rest_is_counted() {
    let gate = gate(vec![limit("a", LimitKey::ApiKey, 100)]);
    for (caller, used) in [("one", 10), ("two", 150), ("three", 30), ("four", 5)] {
        gate.tokens(caller, 1).unwrap().settle(tokens(used));
    }
    drop(gate.tokens("nothing", 1).unwrap());
    let limiter = &gate.route.budgets[0].1;
    let names = ["two", "nobody", "one"].map(str::to_owned);
    let fullest = limiter.fullest(3, names.into_iter(), gate.now);
    let told: Vec<_> = fullest.accounts.iter().map(|(who, of)| (who.as_deref(), of[0].used, of[0].remaining)).collect();
    assert_eq!(told, [(Some("two"), 150, 0), (None, 30, 70), (Some("one"), 10, 90)]);
    assert_eq!(fullest.more, 1);
    assert!(limiter.has_account_of("three") && !limiter.has_account_of("nobody"));
}
