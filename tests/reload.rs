//! A new configuration takes the old one's place in one step, or not at all.

#[path = "support/harness.rs"]
mod support;

use support::*;

const CHECK: &str = "health_check: { path: /actuator/health, interval: 60s, fall: 3, rise: 2 }";

/// Reloads that the gateway has counted.
async fn reloads(gate: &Gateway, result: &str) -> f64 {
    gate.metric(&format!("sluicegate_reloads_total{{result=\"{result}\"}}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_hups_under_load_fail_no_request() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a, &b]).start().await;
    let load = load(gate.address(), "/", 4);
    let before = reloads(&gate, "success").await;
    for hup in 1..=100 {
        gate.signal(Signal::HUP);
        eventually(s(5), "the reload is counted", async || reloads(&gate, "success").await >= before + f64::from(hup))
            .await;
    }
    let tally = load.stop().await;
    tally.assert_all_ok();
    assert_eq!(tally.connections, 4, "no connection is closed by a reload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_broken_configurations_under_load_fail_no_request() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let load = load(gate.address(), "/", 4);
    let good = gate.config();
    let broken = ["routes: [", "routes:\n  - { match: { path: / }, pool: nowhere }\n", "", "nonsense: 1\n", "\u{0}"];
    for text in broken.iter().cycle().take(100) {
        gate.rewrite_config(|_| (*text).to_owned());
        assert_ne!(gate.reload().await.status, 200, "{text:?}");
    }
    gate.rewrite_config(|_| good);
    assert_eq!(gate.reload().await.status, 200);
    load.stop().await.assert_all_ok();
    assert_eq!(reloads(&gate, "failure").await, 100.0);
}

#[tokio::test]
async fn a_refused_reload_says_why_everywhere_and_the_old_configuration_serves() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.rewrite_config(|text| text.replace("pool: app", "pool: ap"));
    let refused = gate.reload().await;
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    for word in ["ap", "app", "sluicegate.yaml:"] {
        assert!(refused.text().contains(word), "{word} is not in {}", refused.text());
    }
    gate.says("sluicegate.yaml:").await;
    let exit = gate.ctl(&["reload"]).await;
    assert!(exit.code != Some(0) && format!("{exit:?}").contains("sluicegate.yaml:"), "{exit:?}");
    assert_eq!(reloads(&gate, "failure").await, 2.0);
    assert_eq!(gate.metric("sluicegate_config_last_reload_success").await, 0.0);
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_good_reload_ends_the_alarm_of_a_refused_one() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let good = gate.config();
    gate.rewrite_config(|_| "routes: [".into());
    gate.reload().await;
    gate.rewrite_config(|_| good);
    let exit = gate.ctl(&["reload"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(gate.metric("sluicegate_config_last_reload_success").await, 1.0);
}

#[tokio::test]
async fn a_file_that_is_gone_is_a_refused_reload() {
    let a = upstream("a").await;
    let mut gate = gateway().pool("app", &[&a]).start().await;
    std::fs::remove_file(gate.config_file()).unwrap();
    assert_ne!(gate.reload().await.status, 200);
    gate.signal(Signal::HUP);
    eventually(s(5), "both are counted", async || reloads(&gate, "failure").await >= 2.0).await;
    assert!(gate.runs());
    assert_eq!(gate.get("/").await.status, 200);
    std::fs::write(gate.config_file(), "").unwrap();
}

#[tokio::test]
async fn routes_change() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route("match: { path: /old/ }, pool: app").start().await;
    assert_eq!((gate.get("/old/").await.status, gate.get("/new/").await.status), (200, 404));
    gate.reload_with("path: /old/", "path: /new/").await;
    assert_eq!((gate.get("/old/").await.status, gate.get("/new/").await.status), (404, 200));
}

#[tokio::test]
async fn members_change() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a]).start().await;
    assert_eq!(gate.get("/").await.upstream(), "a");
    gate.reload_with(&a.address().to_string(), &b.address().to_string()).await;
    for _ in 0..5 {
        assert_eq!(gate.get("/").await.upstream(), "b");
    }
}

#[tokio::test]
async fn header_rules_timeouts_and_limits_change() {
    let a = upstream("a").await;
    let gate = gateway()
        .section("server", "{ max_body: 10KiB }")
        .pool_with("app", &[&a], "timeouts: { first_byte: 10s }")
        .route("match: { path: / }, pool: app, headers: { response: { set: { x-generation: one } } }")
        .start()
        .await;
    assert_eq!(gate.get("/").await.header("x-generation"), "one");
    gate.reload_with("x-generation: one", "x-generation: two").await;
    assert_eq!(gate.get("/").await.header("x-generation"), "two");
    gate.reload_with("first_byte: 10s", "first_byte: 200ms").await;
    assert_eq!(gate.get("/slow?delay=1s").await.status, 504);
    gate.reload_with("max_body: 10KiB", "max_body: 1KiB").await;
    assert_eq!(gate.post("/", vec![0; 5000]).await.status, 413);
}

#[tokio::test]
async fn the_log_level_changes() {
    let gate = gateway().section("log", "{ level: error }").members("dead", &[free_address()], "").start().await;
    assert_eq!(gate.get("/").await.status, 502);
    assert!(!gate.stderr().contains("DEBUG"), "{}", gate.stderr());
    gate.reload_with("level: error", "level: debug").await;
    assert_eq!(gate.get("/").await.status, 502);
    gate.says("DEBUG").await;
}

#[tokio::test]
async fn a_listener_that_changed_needs_a_restart_and_that_is_said() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.rewrite_config(|text| text.replacen(&gate.address().to_string(), &gate.second_address().to_string(), 1));
    let answer = gate.reload().await;
    assert!(answer.text().contains("restart"), "{} {}", answer.status, answer.text());
    gate.says("restart").await;
    assert_eq!(gate.get("/").await.status, 200, "the old listener serves");
}

#[tokio::test]
async fn a_request_lives_in_the_configuration_it_began_in() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut stream = gate.ask("GET", "/sse?events=10&interval=100ms").stream().await;
    stream.piece().await;
    gate.reload_with(&a.address().to_string(), &b.address().to_string()).await;
    assert_eq!(gate.get("/").await.upstream(), "b");
    let mut events = 1;
    while stream.piece().await.is_some() {
        events += 1;
    }
    assert_eq!(events, 10);
}

#[tokio::test]
async fn members_that_remain_keep_their_health() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway()
        .pool_with("app", &[&a], CHECK)
        .route("name: one, match: { path: / }, pool: app")
        .start()
        .await
        .ready()
        .await;
    gate.reload_with("name: one", "name: two").await;
    assert_eq!(gate.get("/").await.status, 200, "no second first check is waited for");
    let more = format!("\"{}\", \"{}\"", a.address(), b.address());
    gate.reload_with(&format!("\"{}\"", a.address()), &more).await;
    assert_eq!(gate.get("/").await.status, 200);
    eventually(s(5), "the new member serves", async || gate.get("/").await.upstream() == "b").await;
}

#[tokio::test]
async fn a_member_that_is_down_stays_down_and_a_new_one_waits_for_its_first_check() {
    let [a, b] = upstreams(["a", "b"]).await;
    b.set_healthy(false);
    let gate = gateway().pool_with("app", &[&a], CHECK).start().await.ready().await;
    let more = format!("\"{}\", \"{}\"", a.address(), b.address());
    gate.reload_with(&format!("\"{}\"", a.address()), &more).await;
    Load::of(gate.address(), "/", 2, 30).await.assert_all_ok();
    gate.signal(Signal::HUP);
    Load::of(gate.address(), "/", 2, 30).await.assert_all_ok();
    assert_eq!(b.hits(), 0);
}

#[tokio::test]
async fn an_ejection_and_a_drain_survive() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let options = "outlier: { max_fails: 1, fail_timeout: 60s, panic_threshold: 10% }, retry: { attempts: 3 }";
    let gate = gateway()
        .pool_with("app", &[&a, &b, &c], options)
        .route("name: one, match: { path: / }, pool: app")
        .start()
        .await;
    a.set_fault(Some(Fault::ResetBeforeHeaders));
    Load::of(gate.address(), "/", 1, 10).await.assert_all_ok();
    a.set_fault(None);
    assert_eq!(gate.ctl(&["drain", "app", &b.address().to_string()]).await.code, Some(0));
    let before = (a.hits(), b.hits());
    gate.reload_with("name: one", "name: two").await;
    let tally = Load::of(gate.address(), "/", 1, 30).await;
    tally.assert_all_ok();
    assert_eq!((a.hits(), b.hits()), before, "only c serves: {:?}", tally.upstreams);
}

#[tokio::test]
async fn requests_in_flight_still_count_after_a_reload() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool_with("app", &[&a], "max_requests_per_member: 1")
        .route("name: one, match: { path: / }, pool: app")
        .start()
        .await;
    let client = gate.client().clone();
    let slow = tokio::spawn(async move { client.get("/slow?delay=1s").await });
    eventually(s(2), "the member is full", async || a.hits() == 1).await;
    gate.reload_with("name: one", "name: two").await;
    assert_eq!(gate.get("/").await.status, 503, "still full");
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn reloads_at_the_same_time_do_not_disturb_each_other() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let answers = futures::future::join_all((0..20).map(|_| gate.reload())).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "done, or told to wait: {statuses:?}");
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn memory_does_not_grow_with_reloads() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], CHECK).start().await.ready().await;
    for _ in 0..30 {
        gate.reload().await;
    }
    let before = gate.memory();
    for _ in 0..150 {
        gate.reload().await;
    }
    let grown = gate.memory().saturating_sub(before);
    assert!(grown < 4 << 20, "150 reloads cost {grown} bytes");
}

#[tokio::test]
async fn a_pool_that_is_removed_finishes_its_requests_and_leaves_the_metrics() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway()
        .pool("app", &[&a])
        .pool_with("extra", &[&b], "health_check: { path: /health, interval: 50ms }")
        .route("match: { path: / }, pool: app")
        .route("match: { path: /extra/ }, pool: extra")
        .start()
        .await
        .ready()
        .await;
    let client = gate.client().clone();
    let slow = tokio::spawn(async move { client.ask("GET", "/extra/").header("x-mock-delay", "700ms").send().await });
    eventually(s(2), "the backend has it", async || b.hits() == 1).await;
    gate.rewrite_config(|text| {
        text.lines().filter(|line| !line.contains("extra")).fold(String::new(), |all, line| all + line + "\n")
    });
    assert_eq!(gate.reload().await.status, 200);
    assert_eq!(gate.get("/extra/").await.upstream(), "a");
    assert_eq!(slow.await.unwrap().upstream(), "b");
    let checks = b.health_checks();
    holds_for(ms(400), "no more checks", async || b.health_checks() <= checks + 1).await;
    assert!(!gate.metrics().await.text().contains(&b.address().to_string()), "a member that is gone has no series");
}

#[tokio::test]
async fn a_websocket_lives_through_reloads() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut socket = WebSocket::open(gate.address(), "/ws").await.expect("an upgrade");
    for round in 0..5 {
        assert_eq!(gate.reload().await.status, 200);
        socket.send(&format!("round {round}")).await;
        assert_eq!(socket.receive().await, Some(format!("round {round}")));
    }
    socket.close().await;
}
