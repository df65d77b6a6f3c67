//! Which members take traffic: active checks, ejection of failing ones, drain, maintenance and ready.

#[path = "support/harness.rs"]
mod support;

use futures::future::join_all;
use support::ai::*;
use support::*;

const CHECK: &str = "health_check: { path: /actuator/health, interval: 100ms, timeout: 1s, fall: 3, rise: 3 }";

/// Whether none of the next requests goes to this member.
async fn is_out(gate: &Gateway, mock: &Mock) -> bool {
    Load::of(gate.address(), "/", 1, 6).await.upstream(mock.id()) == 0
}

/// Calls the control API for one member.
async fn set(gate: &Gateway, mock: &Mock, state: &str) {
    let answer = gate.control("POST", &format!("/control/pools/app/members/{}/{state}", mock.address())).await;
    assert_eq!(answer.status, 200, "{state}: {}", answer.text());
}

#[tokio::test]
async fn a_member_with_a_check_takes_nothing_before_its_first_good_one() {
    let a = upstream("a").await;
    a.set_healthy(false);
    let gate = gateway().pool_with("app", &[&a], CHECK).start().await;
    eventually(s(5), "checks arrive", async || a.health_checks() > 0).await;
    assert_eq!(gate.get("/").await.status, 503);
    assert_eq!(gate.get("/ready").await.status, 503);
    assert_eq!(gate.get("/health").await.status, 200, "the gateway itself is alive");
    assert_eq!(a.hits(), 0);
    a.set_healthy(true);
    eventually(s(5), "the member serves", async || gate.get("/").await.status == 200).await;
    assert_eq!(gate.get("/ready").await.status, 200);
}

#[tokio::test]
async fn the_first_good_check_is_enough_at_the_start() {
    let a = upstream("a").await;
    let slow = "health_check: { path: /actuator/health, interval: 60s, fall: 3, rise: 3 }";
    let gate = gateway().pool_with("app", &[&a], slow).start().await;
    eventually(s(5), "the member serves", async || gate.get("/").await.status == 200).await;
    assert_eq!(a.health_checks(), 1);
}

#[tokio::test]
async fn a_member_leaves_after_fall_bad_checks_and_returns_after_rise_good_ones() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], CHECK).start().await.ready().await;
    eventually(s(5), "b serves", async || !is_out(&gate, &b).await).await;
    for (healthy, what) in [(false, "fall"), (true, "rise")] {
        let before = b.health_checks();
        b.set_healthy(healthy);
        eventually(s(5), what, async || is_out(&gate, &b).await != healthy).await;
        let needed = b.health_checks() - before;
        assert!((3..=5).contains(&needed), "{what} took {needed} checks instead of 3");
    }
}

#[tokio::test]
async fn two_bad_checks_are_not_three() {
    let [a, b] = upstreams(["a", "b"]).await;
    let check = "health_check: { path: /actuator/health, interval: 300ms, timeout: 1s, fall: 3, rise: 2, jitter: 0% }";
    let gate = gateway().pool_with("app", &[&a, &b], check).start().await.ready().await;
    eventually(s(5), "b serves", async || !is_out(&gate, &b).await).await;
    let before = b.health_checks();
    b.set_healthy(false);
    eventually(s(5), "two bad checks", async || b.health_checks() >= before + 2).await;
    b.set_healthy(true);
    assert!(!is_out(&gate, &b).await, "out after two bad checks");
}

#[tokio::test]
async fn a_status_that_is_not_expected_counts_as_down() {
    let a = upstream("a").await;
    for (check, up) in [
        ("path: /status/404", false),
        ("path: /status/503", false),
        ("path: /status/301", false),
        ("path: /status/204", false),
        ("path: /status/204, expect_status: [200, 204]", true),
        ("path: /status/404, expect_status: [\"200-299\", 404]", true),
    ] {
        let gate =
            gateway().pool_with("app", &[&a], &format!("health_check: {{ {check}, interval: 50ms }}")).start().await;
        if up {
            gate.ready().await;
        } else {
            holds_for(ms(400), check, async || gate.get("/").await.status == 503).await;
        }
    }
}

#[tokio::test]
async fn a_check_may_ask_for_a_text_in_the_body() {
    let a = upstream("a").await;
    let check =
        |text: &str| format!("health_check: {{ path: /actuator/health, interval: 50ms, expect_body: '{text}' }}");
    gateway().pool_with("app", &[&a], &check("\"UP\"")).start().await.ready().await;
    let gate = gateway().pool_with("app", &[&a], &check("\"SIDEWAYS\"")).start().await;
    holds_for(ms(400), "a body without the text counts as down", async || gate.get("/").await.status == 503).await;
}

#[tokio::test]
async fn a_check_may_go_to_a_port_and_a_host_of_its_own() {
    let [a, probe] = upstreams(["a", "probe"]).await;
    let check = format!(
        "health_check: {{ path: /health, interval: 50ms, port: {}, host: probe.example.com }}",
        probe.address().port()
    );
    let gate = gateway().pool_with("app", &[&a], &check).start().await.ready().await;
    assert_eq!(gate.get("/").await.upstream(), "a");
    assert!(probe.health_checks() > 0 && a.health_checks() == 0);
    probe.set_healthy(false);
    eventually(s(5), "the member is out", async || gate.get("/").await.status == 503).await;
}

#[tokio::test]
async fn a_tcp_check_wants_a_connection_and_nothing_more() {
    let a = upstream("a").await;
    a.set_healthy(false);
    let gate = gateway()
        .pool_with("app", &[&a], "health_check: { kind: tcp, interval: 50ms, fall: 2, rise: 2 }")
        .start()
        .await
        .ready()
        .await;
    assert_eq!((gate.get("/").await.status, a.health_checks()), (200, 0));
    a.stop().await;
    eventually(s(5), "the member is out", async || gate.get("/").await.status == 503).await;
    revive(&a).await;
    eventually(s(5), "the member is back", async || gate.get("/").await.status == 200).await;
}

#[tokio::test]
async fn a_check_that_is_not_answered_in_time_is_a_bad_one() {
    let a = upstream("a").await;
    let check = "health_check: { path: /actuator/health, interval: 100ms, timeout: 200ms, fall: 2, rise: 1 }";
    let gate = gateway().pool_with("app", &[&a], check).start().await.ready().await;
    a.set_fault(Some(Fault::Stall));
    eventually(s(5), "the member is out", async || gate.get("/ready").await.status == 503).await;
    a.set_fault(None);
    eventually(s(5), "the member is back", async || gate.get("/ready").await.status == 200).await;
}

#[tokio::test]
async fn checks_do_not_come_from_clients_and_are_not_in_the_access_log() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], CHECK).start().await.ready().await;
    eventually(s(5), "more checks", async || a.health_checks() > 3).await;
    gate.get("/marker").await;
    let lines = gate.access_lines(1).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_member_that_fails_requests_is_ejected_and_comes_back() {
    let [a, b] = upstreams(["a", "b"]).await;
    let options = "outlier: { max_fails: 3, fail_timeout: 1s }, retry: { attempts: 1 }";
    let gate = gateway().pool_with("app", &[&a, &b], options).start().await;
    a.stop().await;
    let failing = Load::of(gate.address(), "/", 1, 40).await;
    assert_eq!(failing.status(502), 3, "three failures eject: {:?}", failing.statuses);
    assert_eq!(failing.upstream("b"), 37);
    revive(&a).await;
    eventually(s(5), "a serves again", async || gate.get("/").await.upstream() == "a").await;
    Load::of(gate.address(), "/", 1, 20).await.assert_all_ok();
}

#[tokio::test]
async fn a_second_ejection_lasts_longer_than_the_first() {
    let [a, b] = upstreams(["a", "b"]).await;
    let options = "outlier: { max_fails: 1, fail_timeout: 500ms }, retry: { attempts: 3 }";
    let gate = gateway().pool_with("app", &[&a, &b], options).start().await;
    let mut lengths = Vec::new();
    for _ in 0..2 {
        a.set_fault(Some(Fault::ResetBeforeHeaders));
        let hits = a.hits();
        eventually(s(5), "a fails a request", async || gate.get("/").await.status == 200 && a.hits() > hits).await;
        a.set_fault(None);
        let (ejected, hits) = (now(), a.hits());
        eventually(s(10), "a serves again", async || gate.get("/").await.status == 200 && a.hits() > hits).await;
        lengths.push(ejected.elapsed());
    }
    assert!(lengths[0] > ms(350) && lengths[1] > ms(800), "{lengths:?}");
}

#[tokio::test]
async fn when_too_few_are_left_all_that_are_not_hard_down_are_used() {
    let [a, b] = upstreams(["a", "b"]).await;
    let options = "outlier: { max_fails: 1, fail_timeout: 60s, max_ejected: 100% }, retry: { attempts: 1 }";
    let gate = gateway().pool_with("app", &[&a, &b], options).start().await;
    a.stop().await;
    b.stop().await;
    for _ in 0..6 {
        assert_eq!(gate.get("/").await.status, 502, "still tried, not given up");
    }
    revive(&a).await;
    revive(&b).await;
    let tally = Load::of(gate.address(), "/", 1, 20).await;
    assert!(tally.upstream("a") > 0 && tally.upstream("b") > 0, "{tally:?}");
}

#[tokio::test]
async fn no_more_than_the_allowed_share_is_ejected() {
    let mocks = upstreams(["a", "b", "c", "d"]).await;
    let options = "outlier: { max_fails: 1, fail_timeout: 60s, max_ejected: 25%, panic_threshold: 10% }, retry: { attempts: 4, on: [connect_failure, reset], budget: 100% }";
    let gate = gateway().pool_with("app", &[&mocks[0], &mocks[1], &mocks[2], &mocks[3]], options).start().await;
    mocks[0].set_fault(Some(Fault::ResetBeforeHeaders));
    mocks[1].set_fault(Some(Fault::ResetBeforeHeaders));
    Load::of(gate.address(), "/", 1, 30).await;
    let before = (mocks[0].hits(), mocks[1].hits());
    Load::of(gate.address(), "/", 1, 30).await;
    let still = [mocks[0].hits() > before.0, mocks[1].hits() > before.1];
    assert_eq!(still.iter().filter(|asked| **asked).count(), 1, "one of four is ejected, the other is still asked");
}

#[tokio::test]
async fn a_drained_member_finishes_what_it_has_and_gets_nothing_new() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a, &b]).start().await;
    let client = gate.client().clone();
    let slow = tokio::spawn(async move { join_all((0..6).map(|_| client.get("/slow?delay=1s"))).await });
    eventually(s(3), "slow requests at both", async || a.hits() >= 1 && a.hits() + b.hits() == 6).await;
    set(&gate, &a, "drain").await;
    let tally = Load::of(gate.address(), "/", 2, 20).await;
    tally.assert_all_ok();
    assert_eq!(tally.upstream("a"), 0);
    assert!(slow.await.unwrap().iter().all(|answer| answer.status == 200));
    set(&gate, &a, "ready").await;
    eventually(s(5), "a serves again", async || gate.get("/").await.upstream() == "a").await;
}

#[tokio::test]
async fn ctl_drains_and_readies_a_member_and_says_no_to_a_wrong_name() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a, &b]).start().await;
    let address = a.address().to_string();
    for state in ["drain", "maint"] {
        let exit = gate.ctl(&[state, "app", &address]).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        assert!(is_out(&gate, &a).await, "{state}");
        assert_eq!(gate.ctl(&["ready", "app", &address]).await.code, Some(0));
        eventually(s(5), "a serves again", async || !is_out(&gate, &a).await).await;
    }
    for wrong in [["drain", "nopool", &address], ["drain", "app", "10.9.9.9:1"]] {
        let exit = gate.ctl(&wrong).await;
        assert!(exit.code != Some(0) && !exit.stderr.is_empty(), "{wrong:?}: {exit:?}");
    }
}

#[tokio::test]
async fn a_pool_whose_members_are_all_in_maintenance_answers_503_and_is_not_ready() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    set(&gate, &a, "maint").await;
    assert_eq!(gate.get("/").await.status, 503);
    assert_eq!(gate.get("/ready").await.status, 503);
    assert_eq!(gate.admin().get("/ready").await.status, 503);
    set(&gate, &a, "ready").await;
    eventually(s(5), "ready again", async || gate.get("/ready").await.status == 200).await;
}

#[tokio::test]
async fn models_are_ready_while_one_of_their_providers_has_a_usable_member() {
    let [a, b, other] = upstreams(["a", "b", "other"]).await;
    let ai = ai()
        .openai("first", &a)
        .provider_as("gpu", "kind: openai_compatible, pool: gpu")
        .openai("third", &other)
        .model("m", &["first", "gpu"])
        .model("other", &["third"])
        .of_route("models: [m]");
    let gate = ai.build().pool("gpu", &[&b]).start().await;
    let drained = async |pool: &str, mock: &Mock, state: &str| {
        let exit = gate.ctl(&[state, pool, &mock.address().to_string()]).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
    };
    let told = async || {
        let actuator = gate.admin().get("/actuator/health").await;
        let body = actuator.json();
        assert_eq!(body["components"]["pools"]["status"], body["status"], "one truth: {body}");
        [gate.get("/ready").await.status, gate.admin().get("/ready").await.status, actuator.status]
    };
    assert_eq!(told().await, [200; 3]);
    drained("ai:first", &a, "drain").await;
    assert_eq!(told().await, [200; 3], "the pool stands in");
    drained("gpu", &b, "drain").await;
    assert_eq!(told().await, [503; 3], "nobody is left who has the route's model");
    let refused = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"), "{}", refused.text());
    drained("ai:first", &a, "ready").await;
    assert_eq!(told().await, [200; 3]);
}

#[tokio::test]
async fn a_provider_that_is_switched_off_keeps_nobody_from_being_ready() {
    let a = upstream("a").await;
    let ai = ai().provider_with("claude", "anthropic", &a, "keys: [\"${NO_SUCH_KEY:-}\"]").model("m", &["claude"]);
    let gate = ai.start().await;
    assert_eq!(gate.get("/ready").await.status, 200);
}

#[tokio::test]
async fn status_shows_every_member_and_its_state() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a, &b]).start().await;
    set(&gate, &b, "drain").await;
    let status = gate.control("GET", "/control/status").await.json().to_string();
    for mock in [&a, &b] {
        assert!(status.contains(&mock.address().to_string()), "{status}");
    }
    assert!(status.contains("drain"), "{status}");
    let shown = gate.ctl(&["status"]).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains(&b.address().to_string()), "{shown:?}");
}
