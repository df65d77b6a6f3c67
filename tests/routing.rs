//! Which route takes a request, who is let in, and what answers without a backend.

#[path = "support/harness.rs"]
mod support;

use support::*;

/// A gateway whose routes answer with their own name: `NAME` takes `MATCH`.
async fn routes(routes: &[(&str, &str)]) -> Gateway {
    let mut builder = gateway();
    for (name, matching) in routes {
        builder = builder.route(&format!("name: {name}, match: {{ {matching} }}, respond: {{ body: {name} }}"));
    }
    builder.start().await
}

/// The name of the route that takes a raw GET for `path` with this Host.
async fn taken(gate: &Gateway, host: &str, path: &str) -> String {
    let answer = gate.connect().await.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

#[tokio::test]
async fn a_prefix_takes_whole_segments_only() {
    let gate = routes(&[("api", "path: /api/"), ("rest", "path: /")]).await;
    for (path, route) in [
        ("/api/", "api"),
        ("/api/x", "api"),
        ("/api/x/y?z", "api"),
        ("/api", "api"),
        ("/api?x", "api"),
        ("/apix", "rest"),
        ("/ap", "rest"),
        ("/API/", "rest"),
        ("/", "rest"),
    ] {
        assert_eq!(taken(&gate, "x", path).await, route, "{path}");
    }
}

#[tokio::test]
async fn a_path_without_a_slash_at_its_end_is_exact() {
    let gate = routes(&[("exact", "path: /one"), ("rest", "path: /")]).await;
    for (path, route) in
        [("/one", "exact"), ("/one?a=b", "exact"), ("/one/", "rest"), ("/one/two", "rest"), ("/ones", "rest")]
    {
        assert_eq!(taken(&gate, "x", path).await, route, "{path}");
    }
}

#[tokio::test]
async fn the_longest_path_wins_whatever_the_order() {
    let gate = routes(&[
        ("root", "path: /"),
        ("deep", "path: /a/b/c/"),
        ("exact", "path: /a/b/c/d"),
        ("shallow", "path: /a/"),
    ])
    .await;
    for (path, route) in
        [("/a/x", "shallow"), ("/a/b/c/x", "deep"), ("/a/b/c/d", "exact"), ("/a/b/c", "deep"), ("/b", "root")]
    {
        assert_eq!(taken(&gate, "x", path).await, route, "{path}");
    }
}

#[tokio::test]
async fn an_exact_host_beats_a_wildcard_and_a_wildcard_beats_none() {
    let gate = routes(&[
        ("any", "path: /"),
        ("wild", r#"path: /, host: "*.example.com""#),
        ("exact", "path: /, host: a.example.com"),
    ])
    .await;
    for (host, route) in [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("a.example.com:8080", "exact"),
        ("b.example.com", "wild"),
        ("x.y.example.com", "wild"),
        ("example.com", "any"),
        ("badexample.com", "any"),
        ("a.example.com.evil.org", "any"),
        ("other.org", "any"),
    ] {
        assert_eq!(taken(&gate, host, "/").await, route, "{host}");
    }
}

#[tokio::test]
async fn the_host_counts_before_the_path() {
    let gate = routes(&[("host", "path: /, host: a.example.com"), ("path", "path: /long/path/")]).await;
    assert_eq!(taken(&gate, "a.example.com", "/long/path/x").await, "host");
    assert_eq!(taken(&gate, "b.example.com", "/long/path/x").await, "path");
}

#[tokio::test]
async fn methods_and_headers_narrow_a_route() {
    let gate = routes(&[
        ("plain", "path: /"),
        ("writing", "path: /, methods: [POST, PUT]"),
        ("beta", "path: /, methods: [GET], headers: { x-version: beta }"),
    ])
    .await;
    assert_eq!(gate.get("/").await.text(), "plain");
    assert_eq!(gate.post("/", "").await.text(), "writing");
    assert_eq!(gate.ask("GET", "/").header("x-version", "beta").send().await.text(), "beta");
    assert_eq!(gate.ask("GET", "/").header("X-Version", "alpha").send().await.text(), "plain");
}

#[tokio::test]
async fn head_is_taken_where_get_is() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route("match: { path: /, methods: [GET] }, pool: app").start().await;
    assert_eq!(gate.ask("HEAD", "/").send().await.status, 200);
}

#[tokio::test]
async fn a_path_that_no_route_takes_is_404_and_a_method_that_none_takes_is_405() {
    let gate =
        routes(&[("api", "path: /api/, methods: [GET, POST]"), ("host", "path: /only/, host: a.example.com")]).await;
    assert_eq!(gate.get("/other").await.status, 404);
    assert_eq!(gate.get("/only/").await.status, 404);
    let refused = gate.ask("DELETE", "/api/x").send().await;
    assert_eq!(refused.status, 405);
    for method in ["GET", "POST"] {
        assert!(refused.header("allow").contains(method), "Allow: {:?}", refused.header("allow"));
    }
}

#[tokio::test]
async fn an_allow_list_lets_in_its_networks_and_answers_403_to_all_others() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool("app", &[&a])
        .route("match: { path: /private/ }, pool: app, allow: [10.0.0.0/8]")
        .route("match: { path: /local/ }, pool: app, allow: [10.0.0.0/8, 127.0.0.1/32]")
        .route("match: { path: /denied/ }, pool: app, allow: [127.0.0.0/8], deny: [127.0.0.1/32]")
        .start()
        .await;
    assert_eq!(gate.get("/private/").await.status, 403);
    assert_eq!(gate.get("/denied/").await.status, 403);
    assert_eq!(a.hits(), 0);
    assert_eq!(gate.get("/local/").await.status, 200);
}

#[tokio::test]
async fn a_forwarded_address_opens_an_allow_list_only_when_the_peer_is_trusted() {
    let a = upstream("a").await;
    let route = "match: { path: / }, pool: app, allow: [10.0.0.0/8]";
    let trusting =
        gateway().section("server", "{ trusted_proxies: [127.0.0.0/8] }").pool("app", &[&a]).route(route).start().await;
    let strict = gateway().pool("app", &[&a]).route(route).start().await;
    let ask = async |gate: &Gateway| gate.ask("GET", "/").header("x-forwarded-for", "10.1.2.3").send().await.status;
    assert_eq!(ask(&strict).await, 403);
    assert_eq!(ask(&trusting).await, 200);
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_around_an_allow_list() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool("app", &[&a])
        .route("match: { path: /actuator/ }, pool: app, allow: [10.0.0.0/8]")
        .route("match: { path: / }, pool: app")
        .start()
        .await;
    for path in [
        "/actuator",
        "/actuator/env",
        "/public/../actuator/env",
        "/public/%2e%2e/actuator/env",
        "/public/.%2E/actuator/env",
        "/./actuator/env",
        "//actuator/env",
        "/%61ctuator/env",
        "/actuator/../actuator/env",
        "http://x/actuator/env",
        "/public/..%2factuator/env",
    ] {
        let answer = gate.connect().await.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!([400, 403].contains(&answer.status), "{path} gets {} {}", answer.status, answer.text());
    }
    assert_eq!(taken(&gate, "x", "/actuatorx").await.trim_end(), "hello from a");
}

#[tokio::test]
async fn a_fixed_answer_needs_no_backend() {
    let gate = gateway()
        .route(r#"match: { path: /teapot }, respond: { status: 418, body: "{\"short\":true}", content_type: application/json }"#)
        .route("match: { path: /empty }, respond: { status: 204 }")
        .start()
        .await;
    let answer = gate.get("/teapot").await;
    assert_eq!((answer.status, answer.text()), (418, r#"{"short":true}"#));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(gate.get("/empty").await.status, 204);
}

#[tokio::test]
async fn a_redirect_fills_in_host_path_and_query() {
    let gate = gateway()
        .route(r#"match: { path: /old/ }, redirect: { location: "https://{host}/new{path}{query}", status: 301 }"#)
        .route(r#"match: { path: /plain }, redirect: { location: "/elsewhere" }"#)
        .start()
        .await;
    let moved = gate.ask("GET", "/old/x?y=1&z").header("host", "shop.example.com").send().await;
    assert_eq!((moved.status, moved.header("location")), (301, "https://shop.example.com/new/old/x?y=1&z"));
    let plain = gate.get("/plain").await;
    assert_eq!((plain.status, plain.header("location")), (308, "/elsewhere"));
}

#[tokio::test]
async fn a_rewrite_changes_the_path_towards_the_backend_and_keeps_the_query() {
    let a = upstream("a").await;
    let gate = gateway()
        .pool("app", &[&a])
        .route("match: { path: /v1/models }, pool: app, rewrite: { path: /api/models }")
        .route("match: { path: /outer/ }, pool: app, rewrite: { prefix: /inner/deep/ }")
        .start()
        .await;
    for (path, seen) in [
        ("/v1/models?x=1", "/api/models?x=1"),
        ("/outer/a/b?c", "/inner/deep/a/b?c"),
        ("/outer/", "/inner/deep/"),
        ("/outer", "/inner/deep"),
        ("/outer/a%20b", "/inner/deep/a%20b"),
    ] {
        gate.get(path).await;
        assert_eq!(last_seen(&a).path_and_query, seen, "{path}");
    }
}

#[tokio::test]
async fn the_gateway_answers_health_itself_unless_a_route_claims_it() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).start().await;
    for path in ["/health", "/health/live", "/health/ready", "/ready"] {
        assert_eq!(gate.get(path).await.upstream(), "", "{path}");
    }
    let claimed = gateway().pool("app", &[&a]).route("match: { path: /health }, pool: app").start().await;
    assert_eq!(claimed.get("/health").await.upstream(), "a");
}

#[tokio::test]
async fn the_inner_pages_are_not_on_the_public_listener() {
    let a = upstream("a").await;
    let gate = gateway().pool("app", &[&a]).route("match: { path: /app/ }, pool: app").start().await;
    for path in ["/stats", "/metrics", "/actuator/prometheus", "/actuator/health", "/control/status"] {
        assert_eq!(gate.get(path).await.status, 404, "{path}");
    }
    assert_eq!(gate.post("/control/reload", "").await.status, 404);
}

#[tokio::test]
async fn https_is_where_a_redirecting_listener_sends_everyone_but_health_and_acme() {
    let a = upstream("a").await;
    let gate = gateway().listener(r#"address: "{listen}", redirect_https: true"#).pool("app", &[&a]).start().await;
    let moved = gate.ask("GET", "/x?y=1").header("host", "www.example.com:8080").send().await;
    assert_eq!((moved.status, moved.header("location")), (308, "https://www.example.com/x?y=1"));
    assert_eq!(gate.get("/health").await.text(), "healthy\n");
    assert_eq!(gate.get("/.well-known/acme-challenge/token").await.upstream(), "a");
}
