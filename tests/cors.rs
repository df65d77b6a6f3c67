//! CORS: which pages of other origins a browser lets call, and read what came back; and the headers that guard every
//! answer.

#[path = "support/harness.rs"]
mod support;

use support::*;

const CONSOLE: &str = "https://console.example.com";
const RULES: &str = r#"{ cors: { origins: ["https://console.example.com", "https://*.example.org"], methods: [GET, POST], headers: [content-type, x-api-key], expose: [x-request-id], credentials: true, max_age: 5m } }"#;

/// Sends a preflight from a page of `origin` that wants to use `method`.
async fn preflight(gate: &Gateway, path: &str, origin: &str, method: &str) -> Answer {
    gate.ask("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "content-type,x-api-key")
        .send()
        .await
}

async fn from(gate: &Gateway, path: &str, origin: &str) -> Answer {
    gate.ask("GET", path).header("origin", origin).send().await
}

/// The names of all CORS fields of an answer.
fn fields(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<&str> = answer.headers.keys().map(|name| name.as_str()).collect();
    names.retain(|name| name.starts_with("access-control-"));
    names.sort_unstable();
    names
}

#[tokio::test]
async fn a_preflight_is_answered_without_asking_the_pool() {
    let a = upstream("a").await;
    let gate = gateway().section("auth", RULES).pool("app", &[&a]).start().await;
    let answer = preflight(&gate, "/v1/chat/completions", CONSOLE, "POST").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", CONSOLE),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", "content-type, x-api-key"),
        ("access-control-max-age", "300"),
        ("vary", "Origin"),
        ("content-length", ""),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_eq!(a.hits(), 0);
    let line = gate.access_log(1).await.remove(0);
    assert_eq!((line["status"].as_u64(), line["termination"].as_str()), (Some(204), Some("completed")), "{line}");
}

#[tokio::test]
async fn a_preflight_of_another_origin_is_refused_and_told_nothing() {
    let a = upstream("a").await;
    let gate = gateway().section("auth", RULES).pool("app", &[&a]).start().await;
    for origin in ["https://evil.test", "null", "http://console.example.com", "https://console.example.com.evil.test"] {
        let answer = preflight(&gate, "/", origin, "GET").await;
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(fields(&answer), [] as [&str; 0], "{origin}");
        assert_eq!(answer.header("vary"), "Origin", "{origin}");
    }
    assert_eq!(preflight(&gate, "/", "https://a.b.example.org", "GET").await.status, 204);
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn a_route_answers_preflights_for_the_methods_it_takes() {
    let a = upstream("a").await;
    let gate = gateway()
        .section("auth", RULES)
        .pool("app", &[&a])
        .route("match: { path: /v1/, methods: [GET, POST] }, pool: app")
        .route("match: { path: /v1/models, methods: [GET] }, pool: app, cors: { origins: [\"https://models.test\"] }")
        .route("match: { path: / }, pool: app, cors: off")
        .start()
        .await;
    assert_eq!(preflight(&gate, "/v1/chat", CONSOLE, "POST").await.status, 204);
    assert_eq!(preflight(&gate, "/v1/models", "https://models.test", "GET").await.status, 204);
    assert_eq!(preflight(&gate, "/v1/models", CONSOLE, "GET").await.status, 403, "the route has rules of its own");
    assert_eq!(preflight(&gate, "/v1/models", CONSOLE, "POST").await.status, 204, "the other route takes this");
    assert_eq!(a.hits(), 0);
    // What no such route takes goes where OPTIONS goes: here, to a member that answers for itself.
    preflight(&gate, "/v1/chat", CONSOLE, "DELETE").await;
    assert_eq!((a.hits(), last_seen(&a).method.as_str()), (1, "OPTIONS"));
}

#[tokio::test]
async fn where_no_route_takes_the_method_a_preflight_gets_405() {
    let a = upstream("a").await;
    let gate =
        gateway().section("auth", RULES).pool("app", &[&a]).route("match: { path: /, methods: [GET] }, pool: app");
    let gate = gate.start().await;
    assert_eq!(preflight(&gate, "/", CONSOLE, "GET").await.status, 204);
    let answer = preflight(&gate, "/", CONSOLE, "DELETE").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    assert_eq!(fields(&answer), [] as [&str; 0]);
}

#[tokio::test]
async fn a_plain_options_request_passes_on() {
    let a = upstream("a").await;
    let gate = gateway().section("auth", RULES).pool("app", &[&a]).start().await;
    gate.ask("OPTIONS", "/").send().await;
    let answer = gate.ask("OPTIONS", "/").header("origin", CONSOLE).send().await;
    assert_eq!(a.hits(), 2);
    assert_eq!(answer.header("access-control-allow-origin"), CONSOLE);
    assert_eq!(answer.header("access-control-allow-methods"), "");
}

#[tokio::test]
async fn a_page_may_read_the_answer_and_the_members_own_word_does_not_count() {
    let backend = raw_upstream().await;
    let gate = gateway().section("auth", RULES).members("app", &[backend.address()], "").start().await;
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVary: Accept-Encoding\r\nAccess-Control-Allow-Origin: *\r\n\
                Access-Control-Allow-Headers: x-everything\r\nAccess-Control-Max-Age: 86400\r\n\r\nhi";
    for (origin, allowed) in [(CONSOLE, true), ("https://evil.test", false)] {
        let (answer, _member) = tokio::join!(from(&gate, "/", origin), backend.answer_once(said));
        assert_eq!((answer.status, answer.text()), (200, "hi"));
        assert_eq!(answer.header("access-control-allow-origin"), if allowed { CONSOLE } else { "" });
        let expected: &[&str] =
            &["access-control-allow-credentials", "access-control-allow-origin", "access-control-expose-headers"];
        assert_eq!(fields(&answer), if allowed { expected } else { &[] });
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["Accept-Encoding", "Origin"]);
    }
}

#[tokio::test]
async fn refusals_of_a_route_can_be_read_by_pages_that_may_call() {
    let gate = gateway()
        .section("auth", RULES)
        .members("dead", &[free_address()], "retry: off")
        .route("match: { path: / }, pool: dead, max_body: 10B")
        .route("match: { path: /closed/ }, pool: dead, deny: [127.0.0.0/8]")
        .route("match: { path: /fixed }, respond: { status: 429, body: later }")
        .start()
        .await;
    for (method, path, status) in
        [("GET", "/", 502), ("POST", "/", 413), ("GET", "/closed/", 403), ("GET", "/fixed", 429)]
    {
        let ask = gate.ask(method, path).header("origin", CONSOLE);
        let ask = if method == "POST" { ask.body("more than ten bytes") } else { ask };
        let answer = ask.send().await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), CONSOLE, "{path}");
        assert_eq!(answer.header("vary"), "Origin", "{path}");
    }
    assert_eq!(preflight(&gate, "/closed/", CONSOLE, "GET").await.status, 403, "an address list holds for it as well");
}

#[tokio::test]
async fn an_answer_without_an_origin_varies_by_it_too() {
    let a = upstream("a").await;
    let gate = gateway().section("auth", RULES).pool("app", &[&a]).start().await;
    let answer = gate.get("/").await;
    assert_eq!(answer.header("vary"), "Origin");
    assert_eq!(fields(&answer), [] as [&str; 0]);
}

#[tokio::test]
async fn everybody_may_call_where_the_list_says_so() {
    let a = upstream("a").await;
    let gate = gateway().section("auth", r#"{ cors: { origins: ["*"] } }"#).pool("app", &[&a]).start().await;
    let answer = from(&gate, "/", "null").await;
    assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), ("*", ""));
    let answer = preflight(&gate, "/", "https://any.test", "POST").await;
    assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, POST");
    assert_eq!(answer.header("access-control-max-age"), "600");
}

#[tokio::test]
async fn without_cors_nothing_is_touched() {
    let backend = raw_upstream().await;
    let gate = gateway().members("app", &[backend.address()], "").start().await;
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: https://its.own\r\n\r\nhi";
    let (answer, (_, head)) = tokio::join!(preflight(&gate, "/", CONSOLE, "PUT"), backend.answer_once(said));
    assert!(head.starts_with("OPTIONS / "), "{head}");
    assert_eq!(answer.header("access-control-allow-origin"), "https://its.own");
    assert_eq!((fields(&answer).len(), answer.header("vary")), (1, ""));
}

#[tokio::test]
async fn http_2_pools_and_clients_are_treated_alike() {
    let a = Mock::builder("a").h2c(true).start().await;
    let gate = gateway().listener(r#"address: "{listen}", http2: true"#).section("auth", RULES);
    let gate = gate.pool_with("app", &[&a], "http2: true").start().await;
    let client = Client::h2c(gate.address());
    let answer = client.ask("GET", "/").header("origin", CONSOLE).send().await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, CONSOLE));
    let ask = client.ask("OPTIONS", "/").header("origin", CONSOLE).header("access-control-request-method", "POST");
    assert_eq!(ask.send().await.status, 204);
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn security_headers_stand_on_every_answer() {
    let a = upstream("a").await;
    let gate = gateway()
        .section("auth", RULES)
        .pool("app", &[&a])
        .members("dead", &[free_address()], "retry: off")
        .route("match: { path: /app }, pool: app")
        .route("match: { path: /dead }, pool: dead")
        .route("match: { path: /only-post, methods: [POST] }, pool: app")
        .route("match: { path: /closed }, pool: app, deny: [127.0.0.0/8]")
        .route("match: { path: /moved }, redirect: https://example.com")
        .route("match: { path: /fixed }, respond: 404")
        .start()
        .await;
    for (path, status) in [
        ("/app", 200),
        ("/dead", 502),
        ("/only-post", 405),
        ("/closed", 403),
        ("/moved", 308),
        ("/fixed", 404),
        ("/health", 200),
    ] {
        let answer = gate.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        guarded(&answer, path);
    }
    guarded(&preflight(&gate, "/app", CONSOLE, "GET").await, "a preflight");
    guarded(&preflight(&gate, "/app", "https://evil.test", "GET").await, "a preflight that is refused");
    let malformed = gate.connect().await.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert_eq!((malformed.status, malformed.header("x-frame-options").as_str()), (400, "DENY"));
}

fn guarded(answer: &Answer, what: &str) {
    for (name, value) in
        [("x-frame-options", "DENY"), ("x-content-type-options", "nosniff"), ("x-xss-protection", "1; mode=block")]
    {
        assert_eq!(answer.header(name), value, "{name} of {what}");
    }
}

#[tokio::test]
async fn every_page_with_everybodys_cookies_is_a_configuration_error() {
    let text = |cors: &str| {
        format!(
            "listen: 127.0.0.1:0\nauth:\n  cors: {cors}\nroutes:\n  - match: /\n    respond: 204\n    headers: {{ response: {{ add: {{ x: y }} }} }}\n"
        )
    };
    for (cors, place, words) in [
        (r#"{ origins: "*", credentials: true }"#, ":3:20", "`*` does not go with `credentials: true`"),
        ("{ origins: [\"null\"], credentials: true }", ":3:20", "does not go with `credentials: true`"),
        ("{ origins: [https://a.test/] }", ":3:21", "an origin has no path"),
        ("{ origins: [https://a.test], methods: [get] }", ":3:48", "did you mean GET?"),
        ("{ origins: [https://a.test], headers: [\"*\"], credentials: true }", ":3:48", "`*` does not go with"),
        ("{ origins: [https://a.test], max_age: 2d }", ":3:47", "0ms to 1d"),
        ("{ methods: [GET] }", ":3:3", "`origins` is missing"),
        ("{ origin: https://a.test }", ":3:11", "did you mean `origins`?"),
    ] {
        let exit = check(&text(cors));
        let said = exit.stderr + &exit.stdout;
        assert_eq!(exit.code, Some(78), "{cors}: {said}");
        assert!(said.contains(words) && said.contains(&format!("sluicegate.yaml{place}:")), "{cors}: {said}");
    }
    let contradiction =
        text("{ origins: [https://a.test] }").replace("{ x: y }", "{ Access-Control-Allow-Origin: \"*\" }");
    let exit = check(&contradiction);
    assert!(exit.code == Some(78) && (exit.stderr + &exit.stdout).contains("is written by `cors`"));
}
