//! How requests spread over the members of a pool.

#[path = "support/harness.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use support::*;

/// Which mock serves each of `count` clients, told apart by X-Forwarded-For.
async fn by_client(gate: &Gateway, count: usize) -> BTreeMap<String, String> {
    let mut served = BTreeMap::new();
    for i in 0..count {
        let client = format!("198.51.{}.{}", i / 200, i % 200 + 1);
        let answer = gate.ask("GET", "/").header("x-forwarded-for", &client).send().await;
        assert_eq!(answer.status, 200);
        served.insert(client, answer.upstream().to_owned());
    }
    served
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let gate = gateway().pool_with("app", &[&a, &b, &c], "balance: round_robin").start().await;
    for _ in 0..30 {
        let mut turn = BTreeSet::new();
        for _ in 0..3 {
            turn.insert(gate.get("/").await.upstream().to_owned());
        }
        assert_eq!(turn.len(), 3, "every three requests go to three members");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_of_nine_to_one_hold_within_three_percent() {
    let [a, b] = upstreams(["a", "b"]).await;
    // least_requests looks at requests in flight: nine to one shows when there are many more of them than members.
    for (balance, workers) in [("round_robin", 10), ("random", 10), ("least_requests", 100)] {
        let members = [
            format!("{{ address: {}, weight: 9 }}", a.address()),
            format!("{{ address: {}, weight: 1 }}", b.address()),
        ];
        let gate = gateway().members("app", &members, &format!("balance: {balance}")).start().await;
        let tally = Load::of(gate.address(), "/slow?delay=5ms", workers, 3000).await;
        tally.assert_all_ok();
        let share = tally.upstream("a") as f64 / 3000.0;
        assert!((0.87..=0.93).contains(&share), "{balance}: {share}");
    }
}

#[tokio::test]
async fn heavy_members_are_not_asked_in_bursts() {
    let [a, b] = upstreams(["a", "b"]).await;
    let members =
        [format!("{{ address: {}, weight: 3 }}", a.address()), format!("{{ address: {}, weight: 3 }}", b.address())];
    let gate = gateway().members("app", &members, "").start().await;
    let first = gate.get("/").await.upstream().to_owned();
    assert_ne!(gate.get("/").await.upstream(), first, "smooth: equal weights take turns one by one");
}

#[tokio::test]
async fn a_member_of_weight_zero_takes_nothing() {
    let [a, b] = upstreams(["a", "b"]).await;
    let members = [format!("{{ address: {}, weight: 0 }}", a.address()), b.address().to_string()];
    let gate = gateway().members("app", &members, "").start().await;
    Load::of(gate.address(), "/", 2, 50).await.assert_all_ok();
    assert_eq!((a.hits(), b.hits()), (0, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn least_requests_and_peak_ewma_favour_the_fast_members() {
    for balance in ["least_requests", "peak_ewma"] {
        let [a, b] = upstreams(["a", "b"]).await;
        let slow = Mock::builder("slow").latency(ms(100)).start().await;
        let gate = gateway().pool_with("app", &[&slow, &a, &b], &format!("balance: {balance}")).start().await;
        let tally = Load::of(gate.address(), "/slow?delay=5ms", 12, 1000).await;
        tally.assert_all_ok();
        assert!(tally.upstream("slow") < 150, "{balance}: {:?}", tally.upstreams);
        assert!(tally.upstream("a").abs_diff(tally.upstream("b")) < 300, "{balance}: {:?}", tally.upstreams);
    }
}

#[tokio::test]
async fn least_tokens_keeps_small_requests_off_the_member_that_has_a_large_one() {
    const TOKENS: &str = "sluicegate_member_outstanding_tokens";
    let [a, b, other] = upstreams(["a", "b", "other"]).await;
    let gate = gateway()
        .pool_with("models", &[&a, &b], "balance: least_tokens")
        .pool("other", &[&other])
        .route("match: { path: /other/ }, pool: other")
        .route("match: { path: / }, pool: models")
        .start()
        .await;
    let mut large = gate.connect().await;
    large.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 40000\r\n\r\n{").await;
    eventually(s(5), "one member has the large request", async || gate.metric(TOKENS).await == 10_000.0).await;
    let small = join_all((0..20).map(|_| gate.get("/slow?delay=100ms"))).await;
    let shown = gate.ctl(&["status"]).await.stdout;
    large.send(vec![b' '; 39_999]).await;
    let busy = large.answer().await.header("x-upstream").to_owned();
    assert!(small.iter().all(|answer| answer.upstream() != busy), "a small request waits behind the large one");
    assert!(shown.contains("1 (10000 tokens)"), "{shown}");
    gate.get("/other/").await;
    eventually(s(5), "nothing is outstanding", async || gate.metric(TOKENS).await == 0.0).await;
    let pools = gate.metrics().await.values(TOKENS, "pool");
    assert_eq!(pools, ["models", "models"], "members of pools that count no tokens have no such number");
}

#[tokio::test]
async fn ip_hash_keeps_a_client_on_its_member() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let gate = gateway()
        .section("server", "{ trusted_proxies: [127.0.0.0/8] }")
        .pool_with("app", &[&a, &b, &c], "balance: ip_hash")
        .start()
        .await;
    let first = by_client(&gate, 150).await;
    assert_eq!(first, by_client(&gate, 150).await);
    for mock in [&a, &b, &c] {
        let clients = first.values().filter(|id| *id == mock.id()).count();
        assert!((25..=85).contains(&clients), "{} has {clients} of 150 clients", mock.id());
    }
}

#[tokio::test]
async fn ip_hash_moves_only_the_clients_of_a_member_that_leaves() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let gate = gateway()
        .section("server", "{ trusted_proxies: [127.0.0.0/8] }")
        .pool_with("app", &[&a, &b, &c], "balance: ip_hash")
        .start()
        .await;
    let before = by_client(&gate, 150).await;
    let left = gate.control("POST", &format!("/control/pools/app/members/{}/maint", c.address())).await;
    assert_eq!(left.status, 200, "{}", left.text());
    let after = by_client(&gate, 150).await;
    let moved: Vec<_> = before.iter().filter(|(client, id)| after[*client] != **id).collect();
    assert!(moved.iter().all(|(_, id)| *id == "c"), "clients of others moved: {moved:?}");
    assert!(after.values().all(|id| id != "c"));
}

#[tokio::test]
async fn header_hash_keeps_a_key_on_its_member_and_spreads_requests_without_it() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], "balance: header_hash(x-session)").start().await;
    let mut owners = BTreeMap::new();
    for i in (0..40).chain(0..40) {
        let session = format!("session-{i}");
        let answer = gate.ask("GET", "/").header("x-session", &session).send().await;
        let owner = owners.entry(session).or_insert_with(|| answer.upstream().to_owned()).clone();
        assert_eq!(owner, answer.upstream());
    }
    assert_eq!(owners.into_values().collect::<BTreeSet<_>>().len(), 2, "both members own keys");
    let without: Vec<String> =
        join_all((0..10).map(|_| gate.get("/"))).await.iter().map(|answer| answer.upstream().into()).collect();
    assert_eq!(without.into_iter().collect::<BTreeSet<_>>().len(), 2, "round robin without the header");
}

#[tokio::test]
async fn consistent_hash_keeps_a_path_on_its_member() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let gate = gateway().pool_with("app", &[&a, &b, &c], "balance: consistent_hash").start().await;
    let mut owners = BTreeMap::new();
    for i in (0..60).chain(0..60) {
        let answer = gate.get(&format!("/item/{i}")).await;
        let owner = owners.entry(i).or_insert_with(|| answer.upstream().to_owned()).clone();
        assert_eq!(owner, answer.upstream(), "/item/{i}");
    }
    assert_eq!(owners.into_values().collect::<BTreeSet<_>>().len(), 3);
}

#[tokio::test]
async fn a_backup_serves_only_when_no_other_member_can() {
    let [a, b, spare] = upstreams(["a", "b", "spare"]).await;
    let members =
        [a.address().to_string(), b.address().to_string(), format!("{{ address: {}, backup: true }}", spare.address())];
    let gate = gateway()
        .members("app", &members, "health_check: { path: /health, interval: 50ms, fall: 2, rise: 2 }")
        .start()
        .await
        .ready()
        .await;
    Load::of(gate.address(), "/", 2, 40).await.assert_all_ok();
    assert_eq!(spare.hits(), 0);
    a.set_healthy(false);
    b.set_healthy(false);
    eventually(s(5), "the backup serves", async || gate.get("/").await.upstream() == "spare").await;
    a.set_healthy(true);
    eventually(s(5), "the members serve again", async || gate.get("/").await.upstream() == "a").await;
}

#[tokio::test]
async fn a_full_member_hands_over_and_a_full_pool_says_when_to_come_back() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], "max_requests_per_member: 2").start().await;
    let client = gate.client().clone();
    let slow = tokio::spawn(async move { join_all((0..4).map(|_| client.get("/slow?delay=2s"))).await });
    eventually(s(2), "both members are full", async || a.hits() == 2 && b.hits() == 2).await;
    let refused = gate.get("/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "Retry-After: {:?}", refused.header("retry-after"));
    assert!(slow.await.unwrap().iter().all(|answer| answer.status == 200));
    assert_eq!(gate.get("/").await.status, 200, "the places are free again");
}

#[tokio::test]
async fn a_route_may_balance_in_its_own_way() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway()
        .pool_with("app", &[&a, &b], "balance: round_robin")
        .route("match: { path: /sticky/ }, pool: app, balance: ip_hash")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    let mut sticky = BTreeSet::new();
    for _ in 0..10 {
        sticky.insert(gate.get("/sticky/").await.upstream().to_owned());
        gate.get("/").await;
    }
    assert_eq!(sticky.len(), 1);
    assert!(a.hits() >= 5 && b.hits() >= 5);
}

#[tokio::test]
async fn a_member_that_comes_back_starts_slowly() {
    let [a, b] = upstreams(["a", "b"]).await;
    let options = "slow_start: 4s, health_check: { path: /health, interval: 50ms, fall: 2, rise: 2 }";
    let gate = gateway().pool_with("app", &[&a, &b], options).start().await.ready().await;
    b.set_healthy(false);
    eventually(s(5), "b is out", async || {
        gate.get("/").await.upstream() == "a" && gate.get("/").await.upstream() == "a"
    })
    .await;
    b.set_healthy(true);
    eventually(s(5), "b is back", async || gate.get("/").await.upstream() == "b").await;
    let early = Load::of(gate.address(), "/", 1, 50).await;
    assert!(early.upstream("b") < 20, "b has an equal share at once: {:?}", early.upstreams);
    eventually(s(10), "b has its whole share", async || Load::of(gate.address(), "/", 1, 20).await.upstream("b") >= 9)
        .await;
}
