//! A request is treated alike whatever its kind: with a body or without, of known length or not, small or large.

#[path = "support/harness.rs"]
mod support;

use support::*;

const RULES: &str =
    "headers: { request: { set: { x-team: blue } }, response: { set: { x-served-by: gate }, remove: [x-inner] } }";

/// The head and the body of every kind of request for `path`, with these headers.
fn kinds(path: &str, headers: &str) -> Vec<(&'static str, String)> {
    let large = "l".repeat(200_000);
    let head = |line: &str| format!("{line}\r\nHost: shop.example.com\r\n{headers}");
    vec![
        ("a GET", format!("{}\r\n", head(&format!("GET {path} HTTP/1.1")))),
        ("a GET of HTTP/1.0", format!("{}\r\n", head(&format!("GET {path} HTTP/1.0")))),
        ("a DELETE", format!("{}\r\n", head(&format!("DELETE {path} HTTP/1.1")))),
        ("a small POST", format!("{}Content-Length: 5\r\n\r\nsmall", head(&format!("POST {path} HTTP/1.1")))),
        ("an empty POST", format!("{}Content-Length: 0\r\n\r\n", head(&format!("POST {path} HTTP/1.1")))),
        ("a large POST", format!("{}Content-Length: 200000\r\n\r\n{large}", head(&format!("POST {path} HTTP/1.1")))),
        (
            "a large POST of HTTP/1.0",
            format!("{}Content-Length: 200000\r\n\r\n{large}", head(&format!("POST {path} HTTP/1.0"))),
        ),
        (
            "a chunked POST",
            format!(
                "{}Transfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n0\r\n\r\n",
                head(&format!("POST {path} HTTP/1.1"))
            ),
        ),
    ]
}

#[tokio::test]
async fn the_backend_gets_the_same_headers() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route(&format!("match: {{ path: / }}, pool: app, {RULES}")).start().await;
    let headers = "Connection: X-Private\r\nX-Private: p\r\nX-Forwarded-For: 6.6.6.6\r\nAPI_KEY: k\r\nTE: gzip\r\n";
    for (kind, request) in kinds("/echo?a=b", headers) {
        assert_eq!(gate.connect().await.ask(request).await.status, 200, "{kind}");
        let seen = last_seen(&a);
        assert_eq!(seen.path_and_query, "/echo?a=b", "{kind}");
        for (name, value) in [
            ("host", "shop.example.com"),
            ("x-private", ""),
            ("te", ""),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example.com"),
            ("api_key", "k"),
            ("x-team", "blue"),
        ] {
            assert_eq!(sent(&seen, name), value, "{name} of {kind}");
        }
        assert!(sent(&seen, "x-request-id").len() >= 16 && sent(&seen, "traceparent").len() == 55, "{kind}");
    }
}

#[tokio::test]
async fn the_client_gets_the_same_headers() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route(&format!("match: {{ path: / }}, pool: app, {RULES}")).start().await;
    for (kind, request) in kinds("/headers?keep-alive=timeout%3D5&x-inner=1&x-kept=yes", "") {
        let answer = gate.connect().await.ask(request).await;
        assert_eq!(answer.status, 200, "{kind}");
        for (name, value) in [
            ("keep-alive", ""),
            ("x-inner", ""),
            ("x-kept", "yes"),
            ("x-served-by", "gate"),
            ("x-upstream", "a"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), value, "{name} of {kind}");
        }
        assert!(answer.header("x-request-id").len() >= 16, "{kind}");
    }
}

#[tokio::test]
async fn an_answer_of_unknown_length_is_framed_for_the_client_it_goes_to() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for (kind, request) in kinds("/sse?events=3&interval=1ms", "") {
        let answer = gate.connect().await.ask(request).await;
        let framing = if kind.ends_with("HTTP/1.0") { "" } else { "chunked" };
        assert_eq!((answer.status, answer.header("transfer-encoding").as_str()), (200, framing), "{kind}");
        assert!(answer.text().starts_with("id: 0\n"), "{kind}: {}", answer.text());
        assert_eq!(answer.text().matches("data:").count(), 3, "{kind}");
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let [stalled, full] = upstreams(["stalled", "full"]).await;
    stalled.set_fault(Some(Fault::Stall));
    let gate = gateway()
        .section("server", "{ max_body: 300KiB }")
        .members("dead", &[free_address()], "")
        .pool_with("silent", &[&stalled], "timeouts: { first_byte: 200ms }, retry: { attempts: 1 }")
        .pool("open", &[&full])
        .route("match: { path: /dead }, pool: dead")
        .route("match: { path: /silent }, pool: silent")
        .route("match: { path: /denied }, pool: open, deny: [127.0.0.0/8]")
        .start()
        .await;
    for (path, status) in [("/dead", 502), ("/silent", 504), ("/denied", 403), ("/nowhere", 404)] {
        for (kind, request) in kinds(path, "Accept: application/json\r\n") {
            let answer = gate.connect().await.ask(request).await;
            assert_eq!(answer.status, status, "{path} by {kind}");
            assert!(
                serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok(),
                "{path} by {kind}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(full.hits(), 0);
}

#[tokio::test]
async fn every_kind_has_its_line_and_its_count() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route("name: shop, match: { path: / }, pool: app").start().await;
    let all = kinds("/echo", "X-Request-Id: the-request-under-test\r\n");
    for (_, request) in &all {
        gate.connect().await.ask(request).await;
    }
    for line in gate.access_log(all.len()).await {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (text("route"), text("pool"), text("member")),
            ("shop".into(), "app".into(), a.address().to_string()),
            "{line}"
        );
        assert_eq!(
            (&line["status"], &line["upstream_status"], &line["attempts"]),
            (&200.into(), &200.into(), &1.into()),
            "{line}"
        );
        assert_eq!(text("request_id"), "the-request-under-test");
        assert!(line["bytes_out"].as_u64() > Some(0) && line["upstream_ms"].as_f64() > Some(0.0), "{line}");
    }
    let count = all.len() as f64;
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum(r#"http_requests_total{path="shop",status="200"}"#), count);
    assert_eq!(metrics.sum(r#"jairouter_backend_calls_total{status="success"}"#), count);
    assert_eq!(metrics.sum("sluicegate_requests_in_flight"), 0.0);
}

#[tokio::test]
async fn a_member_that_refuses_is_left_for_another() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = gateway().pool("app", &[&a, &b]).start().await;
    a.stop().await;
    for _ in 0..2 {
        for (kind, request) in kinds("/echo", "") {
            let answer = gate.connect().await.ask(request).await;
            assert_eq!((answer.status, answer.header("x-upstream").as_str()), (200, "b"), "{kind}");
        }
    }
}
