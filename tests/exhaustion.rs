//! What runs out: descriptors, disk, places. The gateway says so, and goes on when there is room again.

#[path = "support/harness.rs"]
mod support;

use support::*;

#[tokio::test]
async fn it_survives_the_end_of_its_descriptors() {
    let a = upstream("a").await;
    let gate = gateway().open_files(80).pool("app", &[&a]).start().await;
    let mut held = Vec::new();
    for _ in 0..120 {
        held.push(gate.connect().await);
    }
    drop(held);
    eventually(s(10), "it serves again", async || {
        gate.ask("GET", "/").try_send().await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(gate.metric("sluicegate_panics_total").await, 0.0);
}

#[tokio::test]
async fn a_full_disk_under_the_access_log_stops_no_request() {
    let a = upstream("a").await;
    let gate = gateway().section("log", "{ access: { file: /dev/full } }").pool("app", &[&a]).start().await;
    Load::of(gate.address(), "/", 4, 500).await.assert_all_ok();
    let errors = async || gate.metric("sluicegate_log_write_errors_total").await > 0.0;
    eventually(s(5), "the lost lines are counted", errors).await;
}

#[tokio::test]
async fn an_access_log_that_cannot_be_opened_is_said_before_the_start() {
    let a = upstream("a").await;
    let log = "{ access: { file: /no/such/directory/access.log } }";
    let exit = gateway().section("log", log).pool("app", &[&a]).start_in_vain().await;
    assert_eq!(exit.code, Some(78), "{}", exit.stderr);
    assert!(exit.stderr.contains("/no/such/directory"), "{}", exit.stderr);
}

#[tokio::test]
async fn a_kept_connection_ends_after_its_number_of_requests() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ keepalive_requests: 5 }").pool("app", &[&a]).start().await;
    let tally = Load::of(gate.address(), "/", 1, 20).await;
    tally.assert_all_ok();
    assert_eq!(tally.connections, 4);
}

#[tokio::test]
async fn a_thousand_routes_are_matched_as_one() {
    let mut builder = gateway();
    for i in 0..1000 {
        builder = builder.route(&format!(
            "match: {{ path: /service-{i}/, host: h{}.example.com }}, respond: {{ body: \"{i}\" }}",
            i % 10
        ));
    }
    let gate = builder.start().await;
    for i in [0, 7, 500, 999] {
        let answer = gate
            .ask("GET", &format!("/service-{i}/x"))
            .header("host", &format!("h{}.example.com", i % 10))
            .send()
            .await;
        assert_eq!((answer.status, answer.text()), (200, i.to_string().as_str()));
    }
    assert_eq!(gate.ask("GET", "/service-1/").header("host", "h2.example.com").send().await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_cost_little() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    gate.get("/").await;
    let before = gate.memory();
    let mut held = Vec::new();
    for _ in 0..1000 {
        let mut connection = gate.connect().await;
        assert_eq!(connection.ask("GET /bytes/10 HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
        held.push(connection);
    }
    let each = gate.memory().saturating_sub(before) / 1000;
    assert!(each < 100_000, "{each} bytes for each idle connection");
    assert_eq!(gate.metric("sluicegate_connections").await, 1001.0);
}

#[tokio::test]
async fn the_admin_address_answers_when_the_listeners_are_full() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ max_connections: 2 }").pool("app", &[&a]).start().await;
    let _held = [gate.connect().await, gate.connect().await, gate.connect().await, gate.connect().await];
    for path in ["/health", "/metrics", "/control/status"] {
        assert_eq!(gate.admin().get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_backend_with_a_huge_header_block_is_passed_on_or_a_502() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "retry: { attempts: 1 }").start().await;
    for (size, fine) in [(60_000, true), (3 << 20, false)] {
        let client = gate.client().clone();
        let asked = tokio::spawn(async move { client.get("/").await });
        let mut connection = backend.accept().await;
        connection.head().await.expect("a request");
        let _ = connection
            .try_send(format!("HTTP/1.1 200 OK\r\nX-Big: {}\r\nContent-Length: 2\r\n\r\nok", "b".repeat(size)))
            .await;
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, if fine { 200 } else { 502 }, "{size}");
    }
}
