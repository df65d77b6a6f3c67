//! Nothing waits forever: every side of a connection has a limit of its own.

#[path = "support/harness.rs"]
mod support;

use std::time::Duration;

use support::*;

const ONCE: &str = "retry: { attempts: 1 }";

/// Checks that something took about as long as its limit: not less, and not much more on a busy machine.
fn about(elapsed: Duration, limit: Duration) {
    assert!(elapsed >= limit.mul_f64(0.8) && elapsed < limit + s(2), "took {elapsed:?} where {limit:?} is the limit");
}

#[tokio::test]
async fn a_backend_that_takes_no_connection_is_given_up_after_connect() {
    let hole = blackhole();
    let gate =
        gateway().members("app", &[hole.address()], &format!("timeouts: {{ connect: 400ms }}, {ONCE}")).start().await;
    let answer = gate.get("/").await;
    assert!([502, 504].contains(&answer.status), "{}", answer.status);
    about(answer.elapsed, ms(400));
}

#[tokio::test]
async fn a_connect_that_times_out_goes_to_another_member() {
    let (hole, b) = (blackhole(), upstream("b").await);
    let members = [hole.address(), b.address()];
    let gate = gateway()
        .members(
            "app",
            &members,
            "timeouts: { connect: 200ms }, retry: { attempts: 2, on: [connect_failure], budget: 100% }",
        )
        .start()
        .await;
    for _ in 0..4 {
        assert_eq!(gate.post("/", "x").await.upstream(), "b");
    }
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_given_up_after_first_byte() {
    let a = upstream("a").await;
    a.set_fault(Some(Fault::Stall));
    let gate = gateway().pool_with("app", &[&a], &format!("timeouts: {{ first_byte: 400ms }}, {ONCE}")).start().await;
    let answer = gate.get("/").await;
    assert_eq!(answer.status, 504);
    about(answer.elapsed, ms(400));
}

#[tokio::test]
async fn a_backend_that_drips_its_header_is_given_up_all_the_same() {
    let backend = raw_upstream().await;
    let gate = gateway()
        .members("app", &[backend.address()], &format!("timeouts: {{ first_byte: 700ms }}, {ONCE}"))
        .section("caches", "{ web: {} }")
        .route("match: /cached/, pool: app, cache: web")
        .route("match: /, pool: app")
        .start()
        .await;
    for path in ["/", "/cached/"] {
        let drip = async {
            let mut member = backend.accept().await;
            member.head().await.expect("a request");
            member.send("HTTP/1.1 200 OK\r\n").await;
            while member.try_send("X-Drip: 1\r\n").await.is_ok() && !member.closed_within(ms(100)).await {}
        };
        let (answer, ()) = within(s(10), "an end", async { tokio::join!(gate.get(path), drip) }).await;
        assert_eq!(answer.status, 504, "{path}");
        about(answer.elapsed, ms(700));
    }
}

#[tokio::test]
async fn a_slow_upload_does_not_count_towards_first_byte() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], &format!("timeouts: {{ first_byte: 300ms }}, {ONCE}")).start().await;
    let mut connection = gate.connect().await;
    connection.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n").await;
    connection.drip(&["s", "l", "o", "w", "l", "y"], ms(150)).await;
    assert_eq!(connection.answer().await.status, 200);
    assert_eq!(last_seen(&a).body, "slowly");
}

#[tokio::test]
async fn a_backend_that_stops_in_the_middle_is_given_up_after_idle() {
    let a = upstream("a").await;
    a.set_fault(Some(Fault::StallMidBody));
    let gate = gateway().pool_with("app", &[&a], &format!("timeouts: {{ idle: 400ms }}, {ONCE}")).start().await;
    let started = now();
    let outcome = gate.ask("GET", "/bytes/100000").try_send().await;
    assert!(outcome.is_err(), "half an answer looks whole");
    about(started.elapsed(), ms(400));
}

#[tokio::test]
async fn a_stream_with_long_pauses_is_not_cut_by_first_byte() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], "timeouts: { first_byte: 300ms, idle: 10s }").start().await;
    let answer = gate.get("/sse?events=3&interval=700ms").await;
    assert_eq!(answer.text().matches("data:").count(), 3);
}

#[tokio::test]
async fn a_route_may_have_timeouts_of_its_own() {
    let a = upstream("a").await;
    a.set_latency(ms(600));
    let gate = gateway()
        .pool_with("app", &[&a], &format!("timeouts: {{ first_byte: 200ms }}, {ONCE}"))
        .route("match: { path: /patient/ }, pool: app, timeouts: { first_byte: 5s }")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    assert_eq!(gate.get("/").await.status, 504);
    assert_eq!(gate.get("/patient/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_header_is_cut() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ timeouts: { header: 500ms } }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let started = now();
    connection.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow").await;
    assert!(connection.closed_within(s(3)).await, "still open");
    about(started.elapsed(), ms(500));
}

#[tokio::test]
async fn a_client_that_drips_its_header_is_cut_all_the_same() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ timeouts: { header: 700ms } }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send("GET / HTTP/1.1\r\nHost: x\r\n").await;
    let started = now();
    let mut open = true;
    while open && started.elapsed() < s(4) {
        open = connection.try_send("X-Drip: 1\r\n").await.is_ok() && !connection.closed_within(ms(100)).await;
    }
    assert!(!open, "slowloris is still connected");
    about(started.elapsed(), ms(700));
    assert_eq!((a.hits(), gate.get("/").await.status), (0, 200));
}

#[tokio::test]
async fn a_client_that_sends_nothing_at_all_is_cut() {
    let a = upstream("a").await;
    let gate = gateway()
        .section("server", "{ timeouts: { header: 500ms, keepalive: 500ms } }")
        .pool("app", &[&a])
        .start()
        .await;
    let mut connection = gate.connect().await;
    assert!(connection.closed_within(s(3)).await, "a silent connection stays open");
}

#[tokio::test]
async fn a_client_that_stops_in_its_body_is_cut() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ timeouts: { client_idle: 500ms } }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let started = now();
    connection.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbeginning").await;
    assert!(connection.closed_within(s(4)).await, "still open");
    about(started.elapsed(), ms(500));
    eventually(s(3), "the backend is let go", async || a.connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ timeouts: { client_idle: 500ms } }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send("GET /bytes/200000000 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually(s(6), "the backend is let go", async || a.cancelled() == 1).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_keepalive_and_not_before() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ timeouts: { keepalive: 800ms } }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 200);
    let started = now();
    assert!(connection.closed_within(s(4)).await, "still open");
    about(started.elapsed(), ms(800));
}

#[tokio::test]
async fn an_idle_connection_to_a_backend_is_closed_after_its_keepalive() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], "timeouts: { keepalive: 500ms }").start().await;
    assert_eq!(gate.get("/").await.status, 200);
    assert_eq!(a.connections(), 1);
    eventually(s(4), "the idle connection is closed", async || a.connections() == 0).await;
}

#[tokio::test]
async fn a_backend_that_does_not_read_is_given_up_after_write_and_first_byte() {
    let backend = raw_upstream().await;
    let options = format!("timeouts: {{ write: 400ms, first_byte: 400ms }}, {ONCE}");
    let gate = gateway().members("app", &[backend.address()], &options).start().await;
    let client = gate.client().clone();
    let asked = tokio::spawn(async move { client.ask("POST", "/").body(vec![0; 50_000_000]).try_send().await });
    let mut held = backend.accept().await;
    held.head().await.expect("a request");
    let outcome = within(s(5), "an end", asked).await.unwrap();
    assert!(outcome.is_err() || outcome.is_ok_and(|answer| [502, 504].contains(&answer.status)));
    eventually(s(2), "nothing is in flight", async || gate.metric("sluicegate_requests_in_flight").await == 0.0).await;
}
