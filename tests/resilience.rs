//! The main job: a backend dies under load and returns, and no client notices.

#[path = "support/harness.rs"]
mod support;

use support::*;

const CHECKED: &str = "health_check: { path: /actuator/health, interval: 100ms, fall: 3, rise: 2 }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_killed_and_returns_during_20_000_requests_and_no_client_sees_it() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let gate = gateway().pool_with("app", &[&a, &b, &c], CHECKED).start().await.ready().await;
    let load = load_of(gate.address(), "/", 8, 20_000);
    load.answers(3000).await;
    b.stop().await;
    load.answers(5000).await;
    let (hits, checks) = (b.hits(), b.health_checks());
    revive(&b).await;
    eventually(s(10), "traffic returns to it", async || b.hits() > hits).await;
    assert!(b.health_checks() - checks >= 2, "after its good checks");
    load.answers(1000).await;
    c.set_healthy(false);
    eventually(s(10), "the unhealthy one is left alone", async || {
        let hits = c.hits();
        load.answers(300).await;
        c.hits() == hits
    })
    .await;
    c.set_healthy(true);
    let hits = c.hits();
    eventually(s(10), "traffic returns to it too", async || c.hits() > hits).await;
    let tally = load.finished().await;
    tally.assert_all_ok();
    assert_eq!(tally.total(), 20_000);
    assert!(gate.metric("sluicegate_retries_total").await > 0.0, "the kill was felt, but not by clients");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_checks_a_killed_backend_is_not_felt_either() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let gate = gateway().pool("app", &[&a, &b, &c]).start().await;
    let load = load(gate.address(), "/", 8);
    for mock in [&a, &b, &c] {
        load.answers(500).await;
        mock.stop().await;
        load.answers(500).await;
        revive(mock).await;
    }
    load.answers(500).await;
    load.stop().await.assert_all_ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrk_sees_no_error_while_a_backend_is_killed() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let gate = gateway().pool_with("app", &[&a, &b, &c], CHECKED).start().await.ready().await;
    let url = gate.url("/");
    let run = tokio::spawn(async move { wrk(&url, s(4)).await });
    eventually(s(5), "load arrives", async || b.hits() > 100).await;
    b.stop().await;
    let hits = a.hits();
    eventually(s(5), "the others serve", async || a.hits() > hits + 200).await;
    revive(&b).await;
    let (report, clean) = run.await.unwrap();
    assert!(clean, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_backend_slows_its_own_requests_only() {
    let [a, slow] = upstreams(["a", "slow"]).await;
    let gate = gateway()
        .pool("app", &[&a])
        .pool("slow", &[&slow])
        .route("match: { path: /slow/ }, pool: slow")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    slow.set_fault(Some(Fault::Stall));
    let stuck = load(gate.address(), "/slow/", 64);
    eventually(s(5), "64 are stuck", async || slow.hits() == 64).await;
    let tally = Load::of(gate.address(), "/", 4, 500).await;
    tally.assert_all_ok();
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_flat_over_many_requests() {
    let a = Mock::builder("a").record(false).start().await;
    let gate = gateway().pool("app", &[&a]).start().await;
    Load::of(gate.address(), "/", 8, 4000).await.assert_all_ok();
    let before = gate.memory();
    Load::of(gate.address(), "/", 8, 10_000).await.assert_all_ok();
    let grown = gate.memory().saturating_sub(before);
    assert!(grown < 2 << 20, "10,000 requests cost {grown} bytes");
}
