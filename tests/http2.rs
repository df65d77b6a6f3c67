//! HTTP/2 clients: the same rules as over HTTP/1, stream by stream.

#[path = "support/harness.rs"]
mod support;

use bytes::Bytes;
use futures::future::join_all;
use support::*;

/// A gateway that takes HTTP/2 without TLS, with one pool of these mocks.
async fn h2_gateway(mocks: &[&Mock], options: &str) -> Gateway {
    h2_listener().pool_with("app", mocks, options).start().await
}

fn h2_listener() -> Builder {
    gateway().listener(r#"address: "{listen}", http2: true"#)
}

#[tokio::test]
async fn the_authority_becomes_the_host() {
    let a = upstream("a").await;
    let gate = h2_gateway(&[&a], "").await;
    assert_eq!(Client::h2c(gate.address()).get("/echo?x=1").await.status, 200);
    let seen = last_seen(&a);
    assert_eq!(sent(&seen, "host"), gate.address().to_string());
    assert_eq!(sent(&seen, "x-forwarded-host"), gate.address().to_string());
    assert_eq!((seen.path_and_query.as_str(), seen.version), ("/echo?x=1", http::Version::HTTP_11));
}

#[tokio::test]
async fn cookies_in_several_fields_become_one_header() {
    let a = upstream("a").await;
    let gate = h2_gateway(&[&a], "").await;
    let ask = Client::h2c(gate.address()).ask("GET", "/").header("cookie", "a=1").header("cookie", "b=2");
    assert_eq!(ask.send().await.status, 200);
    assert_eq!(sent(&last_seen(&a), "cookie"), "a=1; b=2");
}

#[tokio::test]
async fn a_put_is_sent_to_another_member_when_the_first_resets() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = h2_gateway(&[&a, &b], "retry: { attempts: 3, on: [connect_failure, reset], budget: 100% }").await;
    a.set_fault(Some(Fault::ResetBeforeHeaders));
    let client = Client::h2c(gate.address());
    for _ in 0..4 {
        assert_eq!(client.ask("PUT", "/echo").body("whole").send().await.status, 200);
        assert_eq!(last_seen(&b).body, "whole");
    }
    assert!(a.hits() > 0);
}

#[tokio::test]
async fn a_stream_that_breaks_at_the_backend_breaks_alone() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = h2_listener()
        .pool("app", &[&a])
        .pool("broken", &[&b])
        .route("match: { path: /broken/ }, pool: broken, rewrite: { prefix: / }")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    b.set_fault(Some(Fault::ResetMidBody));
    let client = Client::h2c(gate.address());
    let good = client.get("/sse?events=5&interval=100ms");
    let bad = client.ask("GET", "/broken/bytes/1000000").try_send();
    let (good, bad) = futures::join!(good, bad);
    assert!(bad.is_err(), "a cut answer looks whole");
    assert_eq!((good.status, good.text().matches("data:").count()), (200, 5));
}

#[tokio::test]
async fn a_stream_that_its_client_resets_ends_at_the_backend_and_the_others_go_on() {
    let a = upstream("a").await;
    let gate = h2_gateway(&[&a], "").await;
    let client = Client::h2c(gate.address());
    let mut leaving = client.ask("GET", "/sse?events=1000&interval=20ms").stream().await;
    leaving.piece().await;
    drop(leaving);
    eventually(s(2), "the backend's request is cancelled", async || a.cancelled() == 1).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_maximum_is_413_whether_its_length_is_said_or_not() {
    let a = upstream("a").await;
    let gate = h2_listener().section("server", "{ max_body: 100KiB }").pool("app", &[&a]).start().await;
    let client = Client::h2c(gate.address());
    assert_eq!(client.post("/", vec![0; 100 * 1024]).await.status, 200);
    assert_eq!(client.post("/", vec![0; 200 * 1024]).await.status, 413);
    assert_eq!(a.hits(), 1, "the length was said");
    let outcome = client.ask("POST", "/").chunks(vec![Bytes::from(vec![0; 20 * 1024]); 10]).try_send().await;
    assert!(outcome.is_err() || outcome.is_ok_and(|answer| answer.status == 413));
    assert!(last_seen(&a).body_len <= 100 * 1024);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_client_that_is_refused_early_may_send_the_rest_of_its_body_for_a_while() {
    let a = upstream("a").await;
    let keys = "{ api_keys: { default_expiry: never, keys: [{ id: a, secret: sk-sg-a-4711, permissions: \"*\" }] } }";
    let gate = h2_listener().section("auth", keys).pool("app", &[&a]).start().await;
    let upload = h2_late_upload(gate.address(), "/echo").await;
    assert_eq!(upload.status, 401, "{:?}", upload.body);
    assert_eq!(upload.send(13).await, 13, "a body of 200 kB is taken to its end");

    let endless = h2_late_upload(gate.address(), "/echo").await;
    let sent = endless.send(1024).await;
    assert!(
        (64..256).contains(&sent),
        "{sent} of 1024 pieces went out: a MiB is read, and what fits into windows is sent"
    );

    let silent = h2_late_upload(gate.address(), "/echo").await;
    tokio::time::timeout(s(10), silent.let_go()).await.expect("a stream does not wait for ever");
    let lines = gate.access_log(3).await;
    let longest = lines.iter().filter_map(|line| line["duration_ms"].as_f64()).fold(0.0, f64::max);
    assert!(longest < 900.0, "that is no part of the request: {longest} ms");
}

#[tokio::test]
async fn errors_are_the_same_as_over_http_1() {
    let stalled = upstream("stalled").await;
    stalled.set_fault(Some(Fault::Stall));
    let gate = h2_listener()
        .members("dead", &[free_address()], "")
        .pool_with("silent", &[&stalled], "timeouts: { first_byte: 200ms }, retry: { attempts: 1 }")
        .route("match: { path: /dead }, pool: dead")
        .route("match: { path: /silent }, pool: silent")
        .start()
        .await;
    let client = Client::h2c(gate.address());
    for (path, status) in [("/dead", 502), ("/silent", 504), ("/nowhere", 404)] {
        let answer = client.ask("GET", path).header("accept", "application/json").send().await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json().is_object() && !answer.header("x-request-id").is_empty());
        assert_eq!(answer.header("connection"), "", "a connection header has no place in HTTP/2");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_of_a_backend_do_not_reach_http_2() {
    let a = upstream("a").await;
    let gate = h2_gateway(&[&a], "").await;
    let answer = Client::h2c(gate.address()).get("/headers?keep-alive=timeout%3D5&x-kept=yes").await;
    assert_eq!((answer.header("keep-alive"), answer.header("connection"), answer.header("x-kept")), ("", "", "yes"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_by_the_hundred_leave_nothing_behind() {
    let a = upstream("a").await;
    let gate = h2_gateway(&[&a], "").await;
    // On a busy machine the first may be reset before any of them gets through.
    for round in 0..100 {
        if round >= 20 && a.hits() > 0 {
            break;
        }
        let client = Client::h2c(gate.address());
        let hasty = (0..50).map(|_| tokio::time::timeout(ms(20), client.ask("GET", "/slow?delay=5s").try_send()));
        // A connection that resets too often may be told to go.
        assert!(join_all(hasty).await.iter().all(|outcome| outcome.as_ref().map_or(true, Result::is_err)));
    }
    assert!(a.hits() > 0);
    eventually(s(5), "nothing is in flight", async || gate.metric("sluicegate_requests_in_flight").await == 0.0).await;
    eventually(s(5), "the backend is let go", async || a.cancelled() == a.hits()).await;
    assert!(a.requests().iter().all(|seen| sent(seen, "transfer-encoding").is_empty()), "no body is made up");
    assert_eq!(Client::h2c(gate.address()).get("/").await.status, 200);
    assert_eq!(gate.metric("sluicegate_panics_total").await, 0.0);
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed_after_keepalive() {
    let a = upstream("a").await;
    let gate = h2_listener().section("server", "{ timeouts: { keepalive: 700ms } }").pool("app", &[&a]).start().await;
    let client = Client::h2c(gate.address());
    assert_eq!(client.get("/").await.status, 200);
    eventually(s(5), "the connection is closed", async || gate.metric("sluicegate_connections").await == 0.0).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_that_speaks_http_2_is_not_felt() {
    let mut mocks = Vec::new();
    for id in ["a", "b", "c"] {
        mocks.push(Mock::builder(id).h2c(true).start().await);
    }
    let gate = gateway().pool_with("app", &[&mocks[0], &mocks[1], &mocks[2]], "http2: true").start().await;
    let load = load(gate.address(), "/", 8);
    load.answers(500).await;
    mocks[1].stop().await;
    load.answers(500).await;
    revive(&mocks[1]).await;
    load.answers(500).await;
    load.stop().await.assert_all_ok();
    assert_eq!(last_seen(&mocks[0]).version, http::Version::HTTP_2);
}

#[tokio::test]
async fn streams_to_an_http_2_backend_end_when_their_clients_leave() {
    let a = Mock::builder("a").h2c(true).start().await;
    let gate = gateway().pool_with("app", &[&a], "http2: true").start().await;
    let mut leaving = gate.ask("GET", "/sse?events=1000&interval=20ms").stream().await;
    leaving.piece().await;
    drop(leaving);
    eventually(s(2), "the backend's request is cancelled", async || a.cancelled() == 1).await;
    assert_eq!(gate.get("/").await.status, 200);
}

#[tokio::test]
async fn garbage_after_the_preface_does_no_harm() {
    let a = upstream("a").await;
    let gate = h2_gateway(&[&a], "").await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for frames in [&[0xff; 100][..], &[0; 9], b"GET / HTTP/1.1\r\n\r\n", &[0, 0xff, 0xff, 1, 4, 0, 0, 0, 1]] {
        let mut connection = gate.connect().await;
        connection.send([preface, frames].concat()).await;
        connection.finish().await;
        assert!(connection.closed_within(s(5)).await, "{frames:?}");
        assert_eq!(Client::h2c(gate.address()).get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_streamed_upload_ends_once_at_the_backend() {
    let backend = raw_upstream().await;
    let gate = h2_listener().members("app", &[backend.address()], "retry: off").start().await;
    let upload = tokio::spawn(h2_upload(gate.address(), "/", "hello"));
    let mut got = backend.accept().await;
    assert!(got.head().await.expect("a request").to_lowercase().contains("transfer-encoding: chunked"));
    assert_eq!(got.rest(ms(300)).await, "5\r\nhello\r\n0\r\n\r\n");
    upload.abort();
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_cut() {
    let a = upstream("a").await;
    let gate = h2_listener().section("server", "{ timeouts: { client_idle: 500ms } }").pool("app", &[&a]).start().await;
    let stalled = h2_stall(gate.address(), "/bytes/10000000").await;
    eventually(s(3), "the stream is cut", async || gate.metric("sluicegate_requests_in_flight").await == 0.0).await;
    eventually(s(3), "the backend is let go", async || a.cancelled() == 1).await;
    drop(stalled);
}

#[tokio::test]
async fn an_upload_that_stalls_is_the_clients_fault_and_not_the_backends() {
    let a = upstream("a").await;
    let gate = h2_listener()
        .section("server", "{ timeouts: { client_idle: 500ms } }")
        .pool_with("app", &[&a], "timeouts: { first_byte: 300ms }, outlier: { max_fails: 1 }")
        .start()
        .await;
    assert_eq!(h2_stalled_upload(gate.address(), "/echo").await, 408);
    assert_eq!(gate.metric("sluicegate_member_failures_total").await, 0.0);
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let a = Mock::builder("a").h2c(true).start().await;
    let gate = gateway().pool_with("app", &[&a], "http2: true").start().await;
    let mut client = gate.connect().await;
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert!(client.head().await.expect("an invitation").starts_with("HTTP/1.1 100"));
    client.send("hello").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(sent(&last_seen(&a), "content-length"), "5");
}

#[tokio::test]
async fn the_path_of_a_client_may_be_rewritten_for_a_pool_that_speaks_http_2_too() {
    let a = Mock::builder("a").h2c(true).start().await;
    let gate = gateway().listener(r#"address: "{listen}", http2: true"#).pool_with("app", &[&a], "http2: true");
    let gate = gate.route("match: { path: /old/ }, pool: app, rewrite: { prefix: /bytes/ }").start().await;
    let answer = Client::h2c(gate.address()).get("/old/7?x=y").await;
    assert_eq!((answer.status, answer.body.len()), (200, 7));
    let seen = a.requests().last().cloned().unwrap();
    assert_eq!((seen.version, seen.path_and_query.as_str()), (http::Version::HTTP_2, "/bytes/7?x=y"));
}
