//! Several requests on one connection: each is answered once, in its turn, whoever serves it.

#[path = "support/harness.rs"]
mod support;

use support::*;

/// A gateway with a pool of HTTP/1 at `/` and one of HTTP/2 at `/h2/`.
async fn two_pools(one: &Mock, two: &Mock) -> Gateway {
    let routes = "match: { path: / }, pool: app";
    let gate = gateway().pool("app", &[one]).pool_with("modern", &[two], "http2: true").route(routes);
    gate.route("match: { path: /h2/ }, pool: modern, rewrite: { prefix: / }").start().await
}

/// The body that came back in the words of the backend.
fn echoed(answer: &RawAnswer) -> String {
    let told: serde_json::Value = serde_json::from_str(&answer.text()).unwrap_or_default();
    told["body"].as_str().unwrap_or_default().to_owned()
}

/// A request for so many bytes below `at`.
fn bytes(at: &str, count: usize) -> String {
    format!("GET {at}bytes/{count} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[tokio::test]
async fn hundreds_of_requests_sent_at_once_are_answered_in_their_order() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let all: String = (1..=300).map(|count| bytes("/", count)).collect();
    connection.send(all).await;
    for count in 1..=300 {
        let answer = within(s(10), "an answer", connection.answer()).await;
        assert_eq!((answer.status, answer.body.len()), (200, count));
    }
    assert_eq!(gate.connect().await.ask(bytes("/", 1)).await.status, 200);
}

#[tokio::test]
async fn requests_cut_anywhere_are_the_same_requests() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let upload = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\na: b\r\n\r\n";
    let all = format!("{}{upload}HEAD /bytes/7 HTTP/1.1\r\nHost: x\r\n\r\n{}", bytes("/", 5), bytes("/", 9));
    for cut in (1..all.len()).step_by(3) {
        let mut connection = gate.connect().await;
        connection.send(&all[..cut]).await;
        tokio::task::yield_now().await;
        connection.send(&all[cut..]).await;
        assert_eq!(connection.answer().await.body.len(), 5, "cut at {cut}");
        assert_eq!(echoed(&connection.answer().await), "abcde", "cut at {cut}");
        assert_eq!(connection.answer_without_body().await.header("content-length"), "7", "cut at {cut}");
        assert_eq!(connection.answer().await.body.len(), 9, "cut at {cut}");
    }
}

#[tokio::test]
async fn an_http_2_pool_answers_in_its_turn_and_what_follows_is_answered_too() {
    let (one, two) = (upstream("one").await, Mock::builder("two").h2c(true).start().await);
    let gate = two_pools(&one, &two).await;
    let mut connection = gate.connect().await;
    let upload = "POST /h2/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nwhole";
    connection.send(format!("{}{upload}{}{}", bytes("/", 3), bytes("/", 4), bytes("/h2/", 6))).await;
    assert_eq!(connection.answer().await.body.len(), 3);
    let second = connection.answer().await;
    assert_eq!((echoed(&second).as_str(), second.header("x-upstream")), ("whole", "two".to_owned()));
    let after = connection.answer().await;
    assert_eq!((after.body.len(), after.header("x-upstream")), (4, "one".to_owned()));
    assert_eq!(connection.answer().await.body.len(), 6);
    assert_eq!((one.hits(), two.hits()), (2, 2));
    assert_eq!(gate.metrics().await.sum("http_requests_total"), 4.0);
}

#[tokio::test]
async fn a_protocol_that_follows_a_request_is_switched_to() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // With its first frame at once: a masked "hi", the mask all zeros.
    connection.send([format!("{}{upgrade}", bytes("/", 2)).as_bytes(), b"\x81\x82\0\0\0\0hi"].concat()).await;
    assert_eq!(connection.answer().await.body.len(), 2);
    let switched = connection.answer_without_body().await;
    assert_eq!((switched.status, switched.header("upgrade").to_lowercase()), (101, "websocket".to_owned()));
    assert_eq!(within(s(5), "the echo", connection.take(4)).await, Some(b"\x81\x02hi".to_vec()));
}

#[tokio::test]
async fn the_bound_on_requests_of_a_connection_counts_all_of_them() {
    let (one, two) = (upstream("one").await, Mock::builder("two").h2c(true).start().await);
    let gate = gateway().section("server", "{ keepalive_requests: 3 }").pool("app", &[&one]);
    let gate = gate.pool_with("modern", &[&two], "http2: true").route("match: { path: / }, pool: app");
    let gate = gate.route("match: { path: /h2/ }, pool: modern, rewrite: { prefix: / }").start().await;
    for paths in [["/", "/", "/"], ["/", "/h2/", "/"], ["/h2/", "/", "/h2/"]] {
        let mut connection = gate.connect().await;
        let mut told = Vec::new();
        for path in paths {
            told.push(connection.ask(bytes(path, 1)).await.header("connection").to_lowercase());
        }
        assert_eq!(told, ["keep-alive", "keep-alive", "close"], "{paths:?}");
        assert!(connection.closed_within(s(5)).await, "{paths:?}");
    }
}

#[tokio::test]
async fn a_blank_line_after_a_body_begins_no_request() {
    let a = upstream("a").await;
    let gate =
        gateway().section("server", "{ timeouts: { header: 300ms, keepalive: 60s } }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let asked = connection.ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok\r\n").await;
    assert_eq!(echoed(&asked), "ok");
    assert!(!connection.closed_within(s(1)).await, "it is idle, not slow");
    assert_eq!(connection.ask(bytes("/", 4)).await.body.len(), 4);
}

#[tokio::test]
async fn a_header_block_without_an_end_is_answered_while_it_still_comes() {
    let a = upstream("a").await;
    let gate = gateway().section("server", "{ max_header: 16KiB }").pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Big: {}", "b".repeat(90_000))).await;
    let answer = within(s(5), "an answer", connection.answer()).await;
    assert_eq!((answer.status, answer.header("connection").to_lowercase().as_str()), (431, "close"));
}

#[tokio::test]
async fn a_client_that_sends_ahead_and_leaves_is_left_at_the_backend_too() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    connection.send(format!("GET /sse?events=1000&interval=20ms HTTP/1.1\r\nHost: x\r\n\r\n{}", bytes("/", 1))).await;
    assert_eq!(connection.head().await.map(|head| head.starts_with("HTTP/1.1 200")), Some(true));
    eventually(s(5), "the backend streams", async || a.connections() == 1).await;
    drop(connection);
    eventually(s(5), "the backend is left", async || a.connections() == 0).await;
}

#[tokio::test]
async fn what_pingora_serves_is_read_as_strictly_as_the_rest_and_so_is_what_follows() {
    let (one, two) = (upstream("one").await, Mock::builder("two").h2c(true).start().await);
    let gate = two_pools(&one, &two).await;
    let upload =
        |chunks: &str| format!("POST /h2/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let mut connection = gate.connect().await;
    let answer = connection.ask(upload("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\na: b\r\n\r\n")).await;
    assert_eq!((answer.status, echoed(&answer).as_str()), (200, "abcde"));
    let twice =
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(connection.ask(twice).await.status, 400);
    for chunks in ["\r\n5\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n"] {
        let answer = gate.connect().await.ask(upload(chunks)).await;
        assert_eq!(answer.status, 400, "{chunks:?}");
    }
    assert_eq!(one.hits(), 0);
}

#[tokio::test]
async fn an_upgrade_that_is_refused_leaves_the_connection_in_order() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let mut connection = gate.connect().await;
    let upgrade = "GET /bytes/3 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    connection.send(format!("{upgrade}{}", bytes("/", 4))).await;
    assert_eq!(connection.answer().await.body.len(), 3);
    assert_eq!(connection.answer().await.body.len(), 4);
    assert_eq!(connection.ask(bytes("/", 5)).await.body.len(), 5);
}
