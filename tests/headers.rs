//! What the gateway adds to, keeps from and takes out of headers, in both directions.

#[path = "support/harness.rs"]
mod support;

use support::*;

const TRUSTING: &str = "{ trusted_proxies: [127.0.0.0/8, 10.0.0.0/8] }";

/// What the backend got for a GET with these headers.
async fn forwarded(gate: &Gateway, mock: &Mock, headers: &[(&str, &str)]) -> Seen {
    let mut ask = gate.ask("GET", "/echo");
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    assert_eq!(ask.send().await.status, 200);
    last_seen(mock)
}

#[tokio::test]
async fn the_backend_learns_who_asked_and_how() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let seen = forwarded(&gate, &a, &[("host", "shop.example.com:8080")]).await;
    assert_eq!(sent(&seen, "host"), "shop.example.com:8080");
    assert_eq!(sent(&seen, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(sent(&seen, "x-real-ip"), "127.0.0.1");
    assert_eq!(sent(&seen, "x-forwarded-proto"), "http");
    assert_eq!(sent(&seen, "x-forwarded-host"), "shop.example.com:8080");
    assert_eq!(sent(&seen, "x-forwarded-port"), gate.address().port().to_string());
}

#[tokio::test]
async fn what_an_untrusted_peer_says_about_itself_is_overwritten() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let lies = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x-real-ip", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example.com"),
        ("x-forwarded-port", "666"),
        ("forwarded", "for=6.6.6.6"),
    ];
    let seen = forwarded(&gate, &a, &lies).await;
    for (name, _) in lies {
        let value = sent(&seen, name);
        assert!(
            !["6.6.6.6", "7.7.7.7", "https", "evil", "666"].iter().any(|lie| value.contains(lie)),
            "{name}: {value}"
        );
    }
    assert_eq!(sent(&seen, "x-forwarded-for"), "127.0.0.1");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_appended_to() {
    let a = upstream("a").await;
    let gate = gateway().section("server", TRUSTING).pool("app", &[&a]).start().await;
    let said = [
        ("x-forwarded-for", "203.0.113.9, 10.0.0.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example.com"),
    ];
    let seen = forwarded(&gate, &a, &said).await;
    assert_eq!(sent(&seen, "x-forwarded-for"), "203.0.113.9, 10.0.0.7, 127.0.0.1");
    assert_eq!(sent(&seen, "x-real-ip"), "203.0.113.9");
    assert_eq!(sent(&seen, "x-forwarded-proto"), "https");
    assert_eq!(sent(&seen, "x-forwarded-host"), "shop.example.com");
}

#[tokio::test]
async fn the_client_behind_trusted_proxies_is_the_last_untrusted_address() {
    let a = upstream("a").await;
    let gate = gateway().section("server", TRUSTING).pool("app", &[&a]).start().await;
    let seen = forwarded(&gate, &a, &[("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.7")]).await;
    assert_eq!(sent(&seen, "x-real-ip"), "203.0.113.9");
    let line = gate.access_log(1).await.remove(0);
    assert!(line.to_string().contains("203.0.113.9"), "{line}");
    assert!(!line.to_string().contains("6.6.6.6"), "{line}");
}

#[tokio::test]
async fn a_request_id_is_made_when_there_is_none_and_echoed() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let (first, second) = (gate.get("/").await, gate.get("/").await);
    let id = first.header("x-request-id");
    assert!(id.len() >= 16, "{id:?}");
    assert_ne!(id, second.header("x-request-id"));
    let forwarded: Vec<String> = a.requests().iter().map(|seen| sent(seen, "x-request-id")).collect();
    assert_eq!(forwarded, [id, second.header("x-request-id")]);
}

#[tokio::test]
async fn a_request_id_of_the_client_is_kept_when_it_is_sound() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let kept = gate.ask("GET", "/").header("x-request-id", "order-4711.A_b").send().await;
    assert_eq!(kept.header("x-request-id"), "order-4711.A_b");
    assert_eq!(sent(&last_seen(&a), "x-request-id"), "order-4711.A_b");
    for unsound in ["", "a b", "<script>", &"x".repeat(5000)] {
        let answer = gate.ask("GET", "/").header("x-request-id", unsound).send().await;
        assert_ne!(answer.header("x-request-id"), unsound);
        assert_ne!(sent(&last_seen(&a), "x-request-id"), unsound);
    }
}

#[tokio::test]
async fn a_trace_goes_on_from_the_clients_and_begins_where_there_is_none() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let seen = forwarded(&gate, &a, &[("traceparent", &parent), ("tracestate", "vendor=1")]).await;
    assert!(sent(&seen, "traceparent").starts_with(&format!("00-{trace}-")), "{:?}", seen.headers);
    assert_eq!(sent(&seen, "tracestate"), "vendor=1");
    let made = sent(&forwarded(&gate, &a, &[]).await, "traceparent");
    let parts: Vec<usize> = made.split('-').map(str::len).collect();
    assert_eq!(parts, [2, 32, 16, 2], "{made:?}");
}

#[tokio::test]
async fn a_broken_trace_is_replaced() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for broken in [
        "00-0-0-00",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "nonsense",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        let seen = forwarded(&gate, &a, &[("traceparent", broken)]).await;
        let made = sent(&seen, "traceparent");
        assert!(made.len() == 55 && made.starts_with("00-") && made != broken, "{broken} became {made}");
    }
}

#[tokio::test]
async fn the_log_the_client_and_the_backend_see_the_same_ids() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let answer = gate.get("/").await;
    let line = gate.access_log(1).await.remove(0).to_string();
    let trace = sent(&last_seen(&a), "traceparent").split('-').nth(1).unwrap().to_owned();
    assert!(line.contains(answer.header("x-request-id")), "{line}");
    assert!(line.contains(&trace), "{line}");
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_client_end_here() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let request = "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Private\r\nX-Private: secret\r\n\
                   Keep-Alive: timeout=5\r\nProxy-Authorization: Basic abc\r\nProxy-Connection: keep-alive\r\n\
                   TE: gzip\r\nTrailer: X-T\r\nUpgrade: h2c\r\nX-Kept: yes\r\n\r\n";
    assert_eq!(gate.connect().await.ask(request).await.status, 200);
    let seen = last_seen(&a);
    for name in ["x-private", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"] {
        assert_eq!(sent(&seen, name), "", "{name}");
    }
    assert_eq!(sent(&seen, "x-kept"), "yes");
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_backend_end_here() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let answer =
        gate.get("/headers?keep-alive=timeout%3D5&proxy-authenticate=Basic&proxy-connection=close&x-kept=yes").await;
    for name in ["keep-alive", "proxy-authenticate", "proxy-connection", "upgrade", "te"] {
        assert_eq!(answer.header(name), "", "{name}");
    }
    assert_eq!(answer.header("x-kept"), "yes");
}

#[tokio::test]
async fn a_header_that_the_backend_nominates_by_connection_ends_here() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let answer = gate.get("/headers?connection=x-private&x-private=secret&x-kept=yes").await;
    assert_eq!((answer.header("x-private"), answer.header("x-kept")), ("", "yes"));
}

#[tokio::test]
async fn headers_with_an_underscore_and_headers_twice_go_through() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let seen =
        forwarded(&gate, &a, &[("Jairouter_Token", "t0k3n"), ("API_KEY", "k"), ("x-twice", "1"), ("x-twice", "2")])
            .await;
    assert_eq!(sent(&seen, "jairouter_token"), "t0k3n");
    assert_eq!(sent(&seen, "api_key"), "k");
    assert_eq!(sent(&seen, "x-twice"), "1, 2");
}

#[tokio::test]
async fn two_cookies_set_by_the_backend_stay_two() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    let answer = gate.get("/headers?set-cookie=a%3D1&set-cookie=b%3D2").await;
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2, "{:?}", answer.headers);
}

#[tokio::test]
async fn security_headers_stand_on_every_answer_also_on_errors() {
    let (a, dead) = (upstream("a").await, free_address());
    let gate = gateway()
        .section("security_headers", "default")
        .pool("app", &[&a])
        .members("dead", &[dead], "")
        .route("match: { path: /app/ }, pool: app")
        .route("match: { path: /dead/ }, pool: dead")
        .start()
        .await;
    for (path, status) in [("/app/", 200), ("/nowhere", 404), ("/dead/", 502), ("/health", 200)] {
        let answer = gate.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-xss-protection"), "1; mode=block", "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "plain HTTP has no HSTS: {path}");
    }
}

#[tokio::test]
async fn a_security_header_of_the_backends_own_is_kept() {
    let a = upstream("a").await;
    let gate = gateway().section("security_headers", "default").pool("app", &[&a]).start().await;
    let answer = gate.get("/headers?x-frame-options=SAMEORIGIN").await;
    let values: Vec<_> = answer.headers.get_all("x-frame-options").iter().collect();
    assert_eq!(values, ["SAMEORIGIN"]);
}

#[tokio::test]
async fn header_rules_set_add_and_remove_in_both_directions() {
    let a = upstream("a").await;
    let rules = "headers: { request: { set: { x-team: blue, x-env: prod }, add: { x-tag: extra }, remove: [x-secret] }, \
                 response: { set: { x-served-by: gate }, add: { x-more: 2 }, remove: [x-powered-by] } }";
    let gate = gateway().pool("app", &[&a]).route(&format!("match: {{ path: / }}, pool: app, {rules}")).start().await;
    let ask = gate.ask("GET", "/headers?x-powered-by=php&x-more=1").header("x-env", "test").header("x-tag", "own");
    let answer = ask.header("x-secret", "s").send().await;
    let seen = last_seen(&a);
    assert_eq!((sent(&seen, "x-team"), sent(&seen, "x-env")), ("blue".into(), "prod".into()));
    assert_eq!((sent(&seen, "x-tag"), sent(&seen, "x-secret")), ("own, extra".into(), String::new()));
    assert_eq!((answer.header("x-served-by"), answer.header("x-powered-by")), ("gate", ""));
    assert_eq!(answer.headers.get_all("x-more").iter().count(), 2);
}

#[tokio::test]
async fn the_server_header_does_not_tell_what_the_gateway_is_made_of() {
    let (a, dead) = (upstream("a").await, free_address());
    let gate = gateway()
        .pool("app", &[&a])
        .members("dead", &[dead], "")
        .route("match: { path: /dead/ }, pool: dead")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    for path in ["/", "/dead/", "/health"] {
        let answer = gate.get(path).await;
        assert!(!answer.header("server").to_lowercase().contains("pingora"), "{path}: {:?}", answer.headers);
        assert!(!answer.headers.contains_key("x-powered-by"));
    }
}

#[tokio::test]
async fn a_client_cannot_have_the_gateways_own_headers_dropped() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for nominated in
        ["x-real-ip", "x-forwarded-port", "x-request-id", "traceparent", "x-forwarded-for", "host", "content-length"]
    {
        let hits = a.hits();
        let request = format!("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: {nominated}\r\n\r\n");
        let answer = gate.connect().await.ask(request).await;
        if a.hits() > hits {
            let seen = last_seen(&a);
            for name in ["host", "x-real-ip", "x-forwarded-for", "x-forwarded-port", "x-request-id", "traceparent"] {
                assert!(!sent(&seen, name).is_empty(), "{name} was dropped by Connection: {nominated}");
            }
        } else {
            assert_eq!(answer.status, 400, "{nominated}");
        }
    }
}

#[tokio::test]
async fn forwarding_headers_that_make_no_sense_are_not_believed() {
    let a = upstream("a").await;
    let gate = gateway().section("server", TRUSTING).pool("app", &[&a]).start().await;
    for (said, client) in [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("nonsense", "127.0.0.1"),
        ("203.0.113.9, nonsense, 10.0.0.1", "10.0.0.1"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("", "127.0.0.1"),
        (",,,", "127.0.0.1"),
    ] {
        let seen = forwarded(&gate, &a, &[("x-forwarded-for", said)]).await;
        assert_eq!(sent(&seen, "x-real-ip"), client, "X-Forwarded-For: {said}");
    }
}

#[tokio::test]
async fn header_rules_reach_answers_that_the_gateway_makes_itself() {
    let rules = "headers: { response: { set: { x-served-by: gate } } }";
    let gate = gateway()
        .members("dead", &[free_address()], "")
        .route(&format!("match: {{ path: /dead }}, pool: dead, {rules}"))
        .route(&format!("match: {{ path: /fixed }}, respond: {{ body: hi }}, {rules}"))
        .start()
        .await;
    for path in ["/dead", "/fixed"] {
        assert_eq!(gate.get(path).await.header("x-served-by"), "gate", "{path}");
    }
}
