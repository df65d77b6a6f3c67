//! How often and how many at once: what a limit lets through, what it says, and what it never lets happen.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use support::*;
use tokio::task::JoinSet;

/// A hundred a day: in the time of a test, what is taken does not come back.
const SLOW: &str = "{ a: { key: client_ip, rate: 100/d, burst: 3 } }";
const TRUSTING: &str = "{ trusted_proxies: [127.0.0.0/8] }";

/// A gateway that answers by itself, under the limit `a` of `limits`.
fn limited(limits: &str) -> Builder {
    gateway().section("limits", limits).route("match: /, respond: 200, limits: [a]")
}

/// GETs as client `address`, which a trusted proxy names.
async fn get_as(gate: &Gateway, address: &str) -> Answer {
    gate.ask("GET", "/").header("x-forwarded-for", address).send().await
}

/// The statuses of `count` GETs, one after the other.
async fn statuses(gate: &Gateway, path: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(gate.get(path).await.status);
    }
    statuses
}

#[tokio::test]
async fn what_is_over_the_limit_gets_429_and_when_to_come_again() {
    let gate = limited(SLOW).start().await;
    assert_eq!(statuses(&gate, "/", 4).await, [200, 200, 200, 429]);
    let refused = gate.get("/").await;
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((800..=864).contains(&wait), "one of a hundred a day comes back in 864 seconds: {wait}");
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(error["type"], "rate_limit_error");
    assert!(error["details"]["retry_after"].as_u64().unwrap().abs_diff(wait) <= 1, "{error}");
    assert_eq!(refused.header("content-type"), "application/json");
    assert_eq!(refused.header("cache-control"), "no-store");
}

#[tokio::test]
async fn answers_tell_what_is_left_whether_they_are_good_or_not() {
    let gate = limited("{ a: { key: client_ip, rate: 2/m, burst: 2 } }").start().await;
    let [first, _, refused] = [gate.get("/").await, gate.get("/").await, gate.get("/").await];
    for answer in [&first, &refused] {
        assert_eq!(answer.header("ratelimit-policy"), "\"a\";q=2;w=60");
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "2");
    }
    assert_eq!((first.status, refused.status), (200, 429));
    assert_eq!(first.header("ratelimit"), "\"a\";r=1;t=30");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    assert_eq!(first.header("x-ratelimit-reset"), "30");
    assert_eq!(first.header("x-ratelimit-reset-requests"), "30s");
    assert_eq!(refused.header("ratelimit"), "\"a\";r=0;t=30");
    assert_eq!(refused.header("retry-after"), "30");
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), "0");
    assert_eq!(refused.header("x-ratelimit-reset-requests"), "1m0s");
}

#[tokio::test]
async fn the_tightest_of_several_limits_speaks_in_the_fields_that_know_only_one() {
    let limits = "{ wide: { key: global, rate: 60/m }, tight: { key: client_ip, rate: 6/m }, quiet: { key: route, rate: 1/s, headers: false } }";
    let gate =
        gateway().section("limits", limits).route("match: /, respond: 204, limits: [wide, tight, quiet]").start().await;
    let answer = gate.get("/").await;
    assert_eq!(answer.header("ratelimit-policy"), "\"tight\";q=6;w=60, \"wide\";q=60;w=60");
    assert_eq!(answer.header("ratelimit"), "\"tight\";r=5;t=10, \"wide\";r=59;t=1");
    assert_eq!(answer.header("x-ratelimit-limit-requests"), "6");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "5");
}

#[tokio::test]
async fn a_members_own_word_on_limits_gives_way_and_head_and_http2_are_told_too() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool("app", &[&a])
        .listener("address: \"{listen}\", http2: true")
        .section("limits", SLOW)
        .route("match: /, pool: app, limits: a")
        .start()
        .await;
    let head = gate.ask("HEAD", "/").send().await;
    assert_eq!((head.status, head.header("x-ratelimit-remaining-requests")), (200, "2"));
    assert_eq!(head.upstream(), "a");
    let http2 = Client::h2c(gate.address());
    assert_eq!(http2.get("/").await.header("x-ratelimit-remaining-requests"), "1");
    assert_eq!(http2.get("/").await.header("x-ratelimit-remaining-requests"), "0");
    let refused = http2.get("/").await;
    assert_eq!((refused.status, refused.version), (429, reqwest::Version::HTTP_2));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), "0");
    let head = gate.ask("HEAD", "/").send().await;
    assert_eq!((head.status, head.body.len()), (429, 0));
    assert_eq!(a.requests().len(), 3, "what is refused reaches no member");
}

/// Hammers `gate` with GETs as `client` by `workers` connections for `span`: how many passed, how many did not, and
/// how long it took from the first to the last.
async fn hammer(gate: &Gateway, client: &str, workers: usize, span: Duration) -> (u64, u64, Duration) {
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
    let (passed, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut connections = Vec::new();
    for _ in 0..workers {
        connections.push(gate.connect().await);
    }
    let started = now();
    let mut set = JoinSet::new();
    for mut connection in connections {
        let (request, passed, refused) = (request.clone(), Arc::clone(&passed), Arc::clone(&refused));
        set.spawn(async move {
            while started.elapsed() < span {
                match connection.ask(&request).await.status {
                    200 => passed.fetch_add(1, Ordering::Relaxed),
                    429 => refused.fetch_add(1, Ordering::Relaxed),
                    other => panic!("status {other}"),
                };
            }
        });
    }
    while let Some(done) = set.join_next().await {
        done.unwrap();
    }
    (passed.load(Ordering::Relaxed), refused.load(Ordering::Relaxed), started.elapsed())
}

/// Seconds that the hammering lasts: `SLUICEGATE_HAMMER_SECONDS`, else 3.
fn hammer_seconds() -> u64 {
    std::env::var("SLUICEGATE_HAMMER_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_connections_on_one_key_get_what_the_limit_says_and_never_more() {
    let limits = "{ a: { key: client_ip, rate: 100/s, burst: 200 } }";
    let gate = limited(limits).section("server", TRUSTING).start().await;
    let (passed, refused, took) = hammer(&gate, "203.0.113.1", 64, s(hammer_seconds())).await;
    let most = 200.0 + 100.0 * took.as_secs_f64();
    println!("{passed} of at most {most:.1} in {took:?}, {refused} refused");
    assert!(passed as f64 <= most, "{passed} passed, {most} at most");
    // Nothing is lost but at the edges: on a busy machine a connection is a while without a request.
    assert!(passed as f64 >= most * 0.99 - 8.0, "{passed} passed, of {most} that might have");
    assert!(refused > passed, "the limit was under pressure: {refused} refused");
    let other = get_as(&gate, "203.0.113.2").await;
    assert_eq!((other.status, other.header("x-ratelimit-remaining-requests")), (200, "199"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_admitted_to_the_last_request_and_not_one_more() {
    let limits = "{ a: { key: global, rate: 100/d, burst: 500 } }";
    let gate = limited(limits).start().await;
    let tally = Load::of(gate.address(), "/", 32, 2_000).await;
    assert_eq!((tally.status(200), tally.status(429)), (500, 1_500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_in_shadow_mode_counts_the_same_and_refuses_none() {
    let limits = "{ a: { key: global, rate: 100/d, burst: 50, mode: shadow } }";
    let gate = limited(limits).start().await;
    let tally = Load::of(gate.address(), "/", 16, 200).await;
    assert_eq!(tally.status(200), 200);
    assert_eq!(gate.get("/").await.header("ratelimit"), "", "nobody is told of it");
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum("sluicegate_limit_requests_total{limit=\"a\",outcome=\"passed\"}"), 50.0);
    assert_eq!(metrics.sum("sluicegate_limit_requests_total{limit=\"a\",outcome=\"shadow_rate\"}"), 151.0);
    assert_eq!(metrics.sum("jairouter_ratelimit_requests_total{scope=\"a\"}"), 201.0);
    assert_eq!(metrics.sum("jairouter_ratelimit_rejected_total{scope=\"a\"}"), 0.0);
}

#[tokio::test]
async fn every_refusal_is_counted_by_route_and_limit() {
    let gate = limited(SLOW).start().await;
    statuses(&gate, "/", 5).await;
    let metrics = gate.metrics().await;
    let labels = "{service=\"route-1\",scope=\"a\"}";
    assert_eq!(metrics.sum(&format!("jairouter_ratelimit_requests_total{labels}")), 5.0);
    assert_eq!(metrics.sum(&format!("jairouter_ratelimit_rejected_total{labels}")), 2.0);
    for (result, count) in [("allowed", 3.0), ("rejected", 2.0)] {
        let name = format!("jairouter_rate_limit_events_total{{service=\"route-1\",result=\"{result}\"}}");
        assert_eq!(metrics.sum(&name), count, "{result}");
    }
    assert_eq!(metrics.sum("sluicegate_limit_requests_total{outcome=\"rate\"}"), 2.0);
    assert_eq!(metrics.sum("sluicegate_limit_entries{limit=\"a\"}"), 1.0);
    let line = gate.access_log(5).await.pop().unwrap();
    assert_eq!((line["status"].as_u64(), line["termination"].as_str()), (Some(429), Some("rejected")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_one_limit_refuses_takes_nothing_from_the_others() {
    let limits = "{ a: { key: client_ip, rate: 100/d, burst: 5 }, b: { key: global, rate: 100/d, burst: 20 } }";
    let gate = gateway()
        .section("limits", limits)
        .section("server", TRUSTING)
        .route("match: /, respond: 200, limits: [a, b]")
        .start()
        .await;
    let (passed, refused, _) = hammer(&gate, "203.0.113.1", 8, ms(300)).await;
    assert_eq!(passed, 5);
    assert!(refused > 15, "{refused} refused");
    // Not one of those refused has taken from b: fifteen are left for others.
    let mut others = 0;
    for client in 10..40 {
        others += u32::from(get_as(&gate, &format!("203.0.113.{client}")).await.status == 200);
    }
    assert_eq!(others, 15);
    // And b's refusals have taken nothing from the clients' own buckets.
    gate.reload_with("burst: 20", "burst: 60").await;
    let after = get_as(&gate, "203.0.113.39").await;
    assert_eq!(after.status, 200);
    assert!(after.header("ratelimit").starts_with("\"a\";r=4;"), "{}", after.header("ratelimit"));
}

#[tokio::test]
async fn routes_share_a_limit_of_one_name_unless_it_counts_by_route() {
    let both = |key: &str| {
        gateway()
            .section("limits", &format!("{{ a: {{ key: {key}, rate: 100/d, burst: 2 }} }}"))
            .route("match: /x, respond: 200, limits: a")
            .route("match: /y, redirect: \"https://example.com/\", limits: [a]")
            .route("match: /free, respond: 200")
    };
    let shared = both("client_ip").start().await;
    assert_eq!(statuses(&shared, "/x", 2).await, [200, 200]);
    assert_eq!(statuses(&shared, "/y", 1).await, [429]);
    let free = shared.get("/free").await;
    assert_eq!((free.status, free.header("ratelimit-policy")), (200, ""));
    let apart = both("route").start().await;
    assert_eq!(statuses(&apart, "/x", 3).await, [200, 200, 429]);
    assert_eq!(statuses(&apart, "/y", 3).await, [308, 308, 429]);
}

#[tokio::test]
async fn a_forged_forwarding_header_does_not_escape_a_limit() {
    let gate = limited(SLOW).start().await;
    let mut last = 0;
    for client in 1..=5 {
        last = get_as(&gate, &format!("203.0.113.{client}")).await.status;
    }
    assert_eq!(last, 429, "the peer is not trusted: it is the client, whatever it says");
    let gate = limited(SLOW).section("server", TRUSTING).start().await;
    for forged in 1..=5 {
        let chain = format!("198.51.100.{forged}, 203.0.113.9");
        last = gate.ask("GET", "/").header("x-forwarded-for", &chain).send().await.status;
    }
    assert_eq!(last, 429, "what stands left of the client is nobody's word");
}

#[tokio::test]
async fn an_ipv6_client_is_its_whole_network() {
    let gate = limited(SLOW).section("server", TRUSTING).start().await;
    let mut last = 0;
    for host in 1..=4 {
        last = get_as(&gate, &format!("2001:db8:1:2::{host}")).await.status;
    }
    assert_eq!(last, 429);
    assert_eq!(get_as(&gate, "2001:db8:1:3::1").await.status, 200, "the next network is another client");
    for _ in 0..3 {
        get_as(&gate, "203.0.113.1").await;
    }
    assert_eq!(get_as(&gate, "::ffff:203.0.113.1").await.status, 429, "an IPv4 address however it is written");
    assert_eq!(get_as(&gate, "203.0.113.2").await.status, 200);
}

#[tokio::test]
async fn requests_without_the_header_share_one_bucket() {
    let limits = "{ a: { key: header(x-tenant), rate: 100/d, burst: 2 } }";
    let gate = limited(limits).start().await;
    assert_eq!(statuses(&gate, "/", 3).await, [200, 200, 429]);
    let tenant = gate.ask("GET", "/").header("x-tenant", "blue").send().await;
    assert_eq!(tenant.status, 200);
    gate.says("a client may send any `x-tenant` it likes").await;
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_a_place_is_free_when_one_ends() {
    let a = raw_upstream().await;
    let gate = gateway()
        .members("app", &[a.address()], "")
        .section("limits", "{ a: { key: client_ip, concurrency: 2 } }")
        .route("match: /, pool: app, limits: a")
        .start()
        .await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut one, mut two) = (gate.connect().await, gate.connect().await);
    one.send(request).await;
    let mut member_one = a.accept().await;
    member_one.head().await.unwrap();
    two.send(request).await;
    let mut member_two = a.accept().await;
    member_two.head().await.unwrap();
    assert_eq!(gate.metric("sluicegate_limit_in_flight").await, 2.0);
    let refused = gate.get("/").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.json()["error"]["code"], "CONCURRENCY_LIMIT_EXCEEDED");
    assert_eq!(refused.header("ratelimit-policy"), "\"a\";q=2;qu=\"concurrent-requests\"");
    // One is answered, the other's client leaves.
    member_one.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(one.answer().await.status, 204);
    drop(two);
    eventually(s(5), "both places are free", async || gate.metric("sluicegate_limit_in_flight").await == 0.0).await;
    assert_eq!(gate.metric("jairouter_ratelimit_rejected_total{scope=\"a\"}").await, 1.0);
}

#[tokio::test]
async fn a_reload_keeps_what_was_taken_and_brings_the_new_rate() {
    let gate = limited("{ a: { key: client_ip, rate: 100/d, burst: 4 } }").start().await;
    assert_eq!(statuses(&gate, "/", 3).await, [200, 200, 200]);
    gate.reload_with("100/d, burst: 4", "100/h, burst: 4").await;
    let answer = gate.get("/").await;
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "0", "three were taken before");
    let refused = gate.get("/").await;
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!(refused.status == 429 && (30..=36).contains(&wait), "by the new rate: {wait}");
    gate.reload_with("burst: 4", "burst: 6").await;
    assert_eq!(statuses(&gate, "/", 3).await, [200, 200, 429], "two more fit");
    gate.reload_with("key: client_ip", "key: global").await;
    assert_eq!(gate.get("/").await.status, 200, "another key is another limit");
}

#[tokio::test]
async fn a_limit_that_is_gone_leaves_no_memory_and_comes_back_full() {
    let gate = limited(SLOW).start().await;
    assert_eq!(statuses(&gate, "/", 4).await, [200, 200, 200, 429]);
    let whole = gate.config();
    gate.rewrite_config(|text| text.replace(&format!("limits: {SLOW}\n"), "").replace(", limits: [a]", ""));
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!(statuses(&gate, "/", 4).await, [200; 4]);
    eventually(s(5), "its gauges are gone", async || !gate.metrics().await.has("sluicegate_limit_entries")).await;
    gate.rewrite_config(|_| whole);
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!(gate.get("/").await.status, 200);
}

/// One GET of each of `count` clients, by four connections: how many were refused.
async fn one_request_each(gate: &Gateway, count: u32) -> u32 {
    let mut set = JoinSet::new();
    for part in 0..4 {
        let mut connection = gate.connect().await;
        set.spawn(async move {
            let mut refused = 0;
            for n in (part..count).step_by(4) {
                let client = std::net::Ipv4Addr::from(0x0a00_0000 + n);
                let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\n\r\n");
                refused += u32::from(connection.ask(&request).await.status != 200);
            }
            refused
        });
    }
    set.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_cost_a_stated_maximum_of_memory() {
    let limits = "{ a: { key: client_ip, rate: 1/d, max_entries: 1000 } }";
    let gate = limited(limits).section("server", TRUSTING).start().await;
    assert_eq!(one_request_each(&gate, 4_000).await, 0, "each asks for the first time");
    let metrics = gate.metrics().await;
    assert!(metrics.sum("sluicegate_limit_bytes") <= 16.0 * 1024.0);
    let (entries, evictions) =
        (metrics.sum("sluicegate_limit_entries"), metrics.sum("sluicegate_limit_evictions_total"));
    assert!(entries <= 1024.0 && entries > 900.0, "{entries}");
    assert_eq!(entries + evictions, 4_000.0, "all keys were busy: each has an entry, or took one's place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn a_million_clients_cost_sixteen_mebibytes_at_most() {
    let limits = "{ a: { key: client_ip, rate: 1/d } }";
    let gate = limited(limits).section("log", "{ level: warn }").section("server", TRUSTING).start().await;
    one_request_each(&gate, 100).await;
    let before = gate.memory();
    assert_eq!(one_request_each(&gate, 1_000_000).await, 100, "only those that came before");
    let (after, metrics) = (gate.memory(), gate.metrics().await);
    let (bytes, evictions) = (metrics.sum("sluicegate_limit_bytes"), metrics.sum("sluicegate_limit_evictions_total"));
    println!("resident {before} before, {after} after; {bytes} bytes of tables, {evictions} evictions");
    assert!(bytes <= f64::from(16 << 20));
    assert!(after - before <= 24 << 20, "{before} before, {after} after");
}

/// A gateway with a key, under a limit by address and one by caller.
async fn guarded() -> Gateway {
    gateway()
        .section("auth", "{ api_keys: { keys: [{ id: reader, secret: a-secret-of-the-reader-1, permissions: [read] }] } }")
        .section(
            "limits",
            "{ a: { key: client_ip, rate: 100/d, burst: 3 }, b: { key: global, rate: 100/d, burst: 3, headers: false } }",
        )
        .section("server", TRUSTING)
        .route("match: /, respond: 200, limits: [a, b]")
        .start()
        .await
}

/// The status of a request by `address` with `key`.
async fn login(gate: &Gateway, method: &str, address: &str, key: &str) -> Answer {
    gate.ask(method, "/").header("x-forwarded-for", address).header("x-api-key", key).send().await
}

#[tokio::test]
async fn who_guesses_keys_is_slowed_down_by_address_and_then_learns_nothing_by_the_right_one() {
    let gate = guarded().await;
    for left in ["2", "1", "0"] {
        let refused = login(&gate, "GET", "203.0.113.7", "a-guess").await;
        assert_eq!((refused.status, refused.header("x-ratelimit-remaining-requests")), (401, left));
    }
    let limited = login(&gate, "GET", "203.0.113.7", "another-guess").await;
    assert_eq!((limited.status, !limited.header("retry-after").is_empty()), (429, true));
    assert_eq!(limited.header("www-authenticate"), "", "it is not worth to come again with another key");
    let right = login(&gate, "GET", "203.0.113.7", "a-secret-of-the-reader-1").await;
    assert_eq!(right.status, 429, "a right guess looks like a wrong one");
    let elsewhere = login(&gate, "GET", "203.0.113.8", "a-secret-of-the-reader-1").await;
    assert_eq!(elsewhere.status, 200, "strangers have used up nothing of the limits that are for callers");
}

#[tokio::test]
async fn what_a_caller_may_not_do_counts_under_its_limits_too() {
    let gate = guarded().await;
    for _ in 0..3 {
        let denied = login(&gate, "POST", "203.0.113.7", "a-secret-of-the-reader-1").await;
        assert_eq!(denied.status, 403);
    }
    assert_eq!(login(&gate, "POST", "203.0.113.7", "a-secret-of-the-reader-1").await.status, 429);
    assert_eq!(
        login(&gate, "GET", "203.0.113.9", "a-secret-of-the-reader-1").await.status,
        429,
        "the one of all callers"
    );
}
