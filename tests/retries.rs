//! What happens when a member fails: another try where it is safe, and an honest error where it is not.

#[path = "support/harness.rs"]
mod support;

use bytes::Bytes;
use support::*;

const PATIENT: &str = "retry: { attempts: 3, on: [connect_failure, reset], budget: 100% }";

#[tokio::test]
async fn a_refused_connection_goes_to_another_member() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway()
        .pool_with("app", &[&a, &b], "outlier: { max_fails: 1000 }, retry: { attempts: 3, budget: 100% }")
        .start()
        .await;
    a.stop().await;
    Load::of(gate.address(), "/", 1, 40).await.assert_all_ok();
    assert_eq!(b.hits(), 40);
    assert!(gate.access_log(40).await.iter().any(|line| line["attempts"] == 2), "the log counts the attempts");
}

#[tokio::test]
async fn a_get_whose_connection_breaks_before_the_answer_is_sent_again() {
    for fault in [Fault::ResetBeforeHeaders, Fault::CloseBeforeHeaders] {
        let [a, b] = upstreams(["a", "b"]).await;
        let gate = gateway().pool_with("app", &[&a, &b], PATIENT).start().await;
        a.set_fault(Some(fault));
        let tally = Load::of(gate.address(), "/", 1, 20).await;
        tally.assert_all_ok();
        assert_eq!(tally.upstream("b"), 20);
        assert!(a.hits() > 0, "{fault:?} was never met");
    }
}

#[tokio::test]
async fn a_post_that_may_have_arrived_is_not_sent_again() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway()
        .pool_with("app", &[&a, &b], "outlier: { max_fails: 1000 }, retry: { attempts: 3, budget: 100% }")
        .start()
        .await;
    a.set_fault(Some(Fault::ResetBeforeHeaders));
    for method in ["POST", "PATCH"] {
        let mut statuses =
            [gate.ask(method, "/").body("x").send().await.status, gate.ask(method, "/").body("x").send().await.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 502], "{method}");
    }
    assert_eq!(a.hits() + b.hits(), 4, "every one was sent once");
}

#[tokio::test]
async fn a_post_that_never_left_goes_to_another_member() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], PATIENT).start().await;
    a.stop().await;
    for _ in 0..6 {
        let answer = gate.post("/echo", vec![b'x'; 300_000]).await;
        assert_eq!((answer.status, last_seen(&b).body_len), (200, 300_000));
    }
}

#[tokio::test]
async fn a_put_is_sent_again_with_its_whole_body() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], PATIENT).start().await;
    a.set_fault(Some(Fault::ResetBeforeHeaders));
    for _ in 0..4 {
        let pieces = vec![Bytes::from_static(b"first,"), Bytes::from_static(b"second")];
        let answer = gate.ask("PUT", "/echo").chunks(pieces).send().await;
        assert_eq!((answer.status, last_seen(&b).body.as_ref()), (200, b"first,second".as_ref()));
    }
    assert!(a.hits() > 0);
}

#[tokio::test]
async fn a_route_may_allow_posts_to_be_sent_again() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway()
        .pool_with("app", &[&a, &b], PATIENT)
        .route("match: { path: / }, pool: app, retry_non_idempotent: true")
        .start()
        .await;
    a.set_fault(Some(Fault::ResetBeforeHeaders));
    for _ in 0..6 {
        assert_eq!(gate.post("/echo", "again").await.status, 200);
    }
    assert!(a.hits() > 0);
}

#[tokio::test]
async fn a_status_is_retried_only_where_it_is_named() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway()
        .pool_with("app", &[&a, &b], PATIENT)
        .route("match: { path: /named/ }, pool: app, retry: { attempts: 3, on: [503], budget: 100% }")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    a.set_fault(Some(Fault::Status(503)));
    Load::of(gate.address(), "/named/", 1, 10).await.assert_all_ok();
    let plain = Load::of(gate.address(), "/", 1, 10).await;
    assert_eq!((plain.status(200), plain.status(503)), (5, 5));
    let posts = [gate.post("/named/", "x").await.status, gate.post("/named/", "x").await.status];
    assert!(posts.contains(&503), "a POST is not sent again: {posts:?}");
}

#[tokio::test]
async fn when_every_try_ends_in_a_retried_status_the_client_gets_the_last_one() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], "retry: { attempts: 2, on: [503], budget: 100% }").start().await;
    a.set_fault(Some(Fault::Status(503)));
    b.set_fault(Some(Fault::Status(503)));
    let answer = gate.get("/").await;
    assert_eq!((answer.status, a.hits(), b.hits()), (503, 1, 1));
    assert!(!answer.upstream().is_empty(), "it is the backend's own answer");
}

#[tokio::test]
async fn a_silent_member_is_left_for_another_where_timeouts_are_retried() {
    let [a, b] = upstreams(["a", "b"]).await;
    let options = "timeouts: { first_byte: 200ms }, retry: { attempts: 2, on: [timeout], budget: 100% }";
    let gate = gateway().pool_with("app", &[&a, &b], options).start().await;
    a.set_fault(Some(Fault::Stall));
    for _ in 0..4 {
        assert_eq!(gate.get("/").await.upstream(), "b");
    }
    assert!(a.hits() > 0);
}

#[tokio::test]
async fn the_number_of_attempts_is_bounded() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    for (attempts, tries) in [(1, 1), (2, 2), (3, 3)] {
        let options =
            format!("outlier: {{ max_fails: 1000 }}, retry: {{ attempts: {attempts}, on: [reset], budget: 100% }}");
        let gate = gateway().pool_with("app", &[&a, &b, &c], &options).start().await;
        for mock in [&a, &b, &c] {
            mock.set_fault(Some(Fault::ResetBeforeHeaders));
        }
        let before = a.hits() + b.hits() + c.hits();
        assert_eq!(gate.get("/").await.status, 502);
        assert_eq!(a.hits() + b.hits() + c.hits() - before, tries, "attempts: {attempts}");
    }
}

#[tokio::test]
async fn an_attempt_does_not_go_to_a_member_that_has_just_failed_it() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let options = "balance: random, outlier: { max_fails: 1000 }, retry: { attempts: 3, on: [reset], budget: 100% }";
    let gate = gateway().pool_with("app", &[&a, &b, &c], options).start().await;
    for mock in [&a, &b, &c] {
        mock.set_fault(Some(Fault::ResetBeforeHeaders));
    }
    for round in 1..=4 {
        gate.get("/").await;
        assert_eq!((a.hits(), b.hits(), c.hits()), (round, round, round));
    }
}

#[tokio::test]
async fn a_post_on_a_kept_connection_that_breaks_is_not_sent_again() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], PATIENT).start().await;
    for round in 1..=5 {
        assert_eq!(gate.post("/", "warm").await.status, 200);
        a.fail_next(1, Fault::ResetBeforeHeaders);
        assert_eq!(gate.post("/", "once").await.status, 502);
        assert_eq!(a.hits(), 2 * round, "it may have been worked on");
    }
}

#[tokio::test]
async fn retries_stay_within_their_share_of_the_traffic() {
    let [a, b, c] = upstreams(["a", "b", "c"]).await;
    let options = "outlier: { max_fails: 100000 }, retry: { attempts: 3, on: [reset], budget: 20% }";
    let gate = gateway().pool_with("app", &[&a, &b, &c], options).start().await;
    for mock in [&a, &b, &c] {
        mock.set_fault(Some(Fault::ResetBeforeHeaders));
    }
    let tally = Load::of(gate.address(), "/", 4, 500).await;
    assert_eq!(tally.status(502), 500, "{:?}", tally.statuses);
    let tries = a.hits() + b.hits() + c.hits();
    assert!((550..=700).contains(&tries), "500 requests made {tries} tries; 20 % is 100, and a few are free");
}

#[tokio::test]
async fn an_answer_that_has_begun_is_never_tried_again() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], PATIENT).start().await;
    for mock in [&a, &b] {
        mock.set_fault(Some(Fault::ResetMidBody));
    }
    for round in 1..=4 {
        assert!(gate.ask("GET", "/bytes/300000").try_send().await.is_err());
        assert_eq!(a.hits() + b.hits(), round);
    }
}

#[tokio::test]
async fn refused_silent_and_empty_are_told_apart() {
    let stalled = upstream("stalled").await;
    stalled.set_fault(Some(Fault::Stall));
    let garbled = upstream("garbled").await;
    garbled.set_fault(Some(Fault::BadHttp));
    let gate = gateway()
        .members("refused", &[free_address()], "")
        .pool_with("silent", &[&stalled], "timeouts: { first_byte: 200ms }")
        .pool("garbled", &[&garbled])
        .members("empty", &[free_address()], "health_check: { path: /health, interval: 50ms }")
        .route("match: { path: /refused }, pool: refused")
        .route("match: { path: /silent }, pool: silent")
        .route("match: { path: /garbled }, pool: garbled")
        .route("match: { path: /empty }, pool: empty")
        .start()
        .await;
    for (path, status) in [("/refused", 502), ("/garbled", 502), ("/empty", 503), ("/silent", 504)] {
        assert_eq!(gate.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_error_is_json_or_html_as_the_client_likes_and_tells_nothing_inner() {
    let dead = free_address();
    let gate = gateway()
        .members("inner-pool", &[dead], "")
        .route("name: inner-route, match: { path: / }, pool: inner-pool")
        .start()
        .await;
    let json = gate.ask("GET", "/").header("accept", "application/json").send().await;
    assert!(json.header("content-type").starts_with("application/json"), "{}", json.header("content-type"));
    assert!(json.json().is_object());
    let html = gate.ask("GET", "/").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8").send().await;
    assert!(html.header("content-type").starts_with("text/html"), "{}", html.header("content-type"));
    assert!(html.text().contains("502"), "{}", html.text());
    for answer in [json, html, gate.get("/").await] {
        assert_eq!(answer.status, 502);
        let shown = format!("{:?} {}", answer.headers, answer.text()).to_lowercase();
        for inner in [
            dead.to_string().as_str(),
            &dead.port().to_string(),
            "inner-",
            "pingora",
            "refused",
            "os error",
            "panicked",
        ] {
            assert!(!shown.contains(inner), "{inner:?} leaks: {shown}");
        }
        assert!(!answer.header("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn an_error_leaves_the_clients_connection_in_order() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool("app", &[&a])
        .members("dead", &[free_address()], "")
        .route("match: { path: /dead }, pool: dead")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    let mut connection = gate.connect().await;
    for (path, status) in [("/dead", 502), ("/", 200), ("/dead", 502), ("/", 200)] {
        let answer = connection.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_backend_closed_costs_the_client_nothing() {
    let a = upstream("a").await;
    let gate = gateway().pool_with("app", &[&a], "retry: { attempts: 1 }").start().await;
    for _ in 0..5 {
        assert_eq!(gate.get("/").await.status, 200);
        a.stop().await;
        revive(&a).await;
    }
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn a_large_body_is_sent_again_whole_or_not_at_all() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool_with("app", &[&a, &b], PATIENT).start().await;
    a.set_fault(Some(Fault::ResetBeforeHeaders));
    let body: Vec<u8> = (0..500_000u32).map(|i| (i % 251) as u8).collect();
    for _ in 0..6 {
        let status = gate.ask("PUT", "/echo").body(body.clone()).send().await.status;
        assert!([200, 502].contains(&status), "{status}");
    }
    for seen in b.requests() {
        assert!(seen.body == body, "b got {} of {} bytes", seen.body_len, body.len());
    }
}

#[tokio::test]
async fn an_error_to_head_has_no_body() {
    let gate = gateway().members("dead", &[free_address()], "").start().await;
    let mut connection = gate.connect().await;
    for _ in 0..2 {
        connection.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(connection.answer_without_body().await.status, 502);
    }
    assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.status, 502);
}

#[tokio::test]
async fn nothing_of_a_failed_try_is_in_the_answer() {
    let first = raw_upstream().await;
    let b = upstream("b").await;
    let members = [first.address(), b.address()];
    let gate = gateway().members("app", &members, "retry: { attempts: 2, on: [503], budget: 100% }").start().await;
    for framing in
        ["Content-Length: 6\r\n\r\nsecret", "Transfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n0\r\n\r\n", "\r\nsecret"]
    {
        let client = gate.client().clone();
        let asked = tokio::spawn(async move { [client.get("/").await, client.get("/").await] });
        drop(first.answer_once(&format!("HTTP/1.1 503 Service Unavailable\r\nX-First: yes\r\n{framing}")).await);
        for answer in asked.await.unwrap() {
            assert_eq!((answer.status, answer.upstream(), answer.header("x-first")), (200, "b", ""));
            assert_eq!(answer.text(), "hello from b\n");
        }
    }
}
