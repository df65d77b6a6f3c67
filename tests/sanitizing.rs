//! Masking: what no log, model or page should see is covered on its way, in both directions.

#[path = "support/harness.rs"]
mod support;

use bytes::Bytes;
use serde_json::json;
use support::*;

const RULES: &str =
    "{ pii: { rules: [email, phone, card, id_card, { name: order, pattern: 'ORD-\\d{6}', replace: '<order>' }] } }";
const ROUTE: &str = "match: /, pool: app, sanitize: pii";
const JSON: (&str, &str) = ("content-type", "application/json");

fn masking(rules: &str) -> Builder {
    gateway().section("sanitize", rules).route(ROUTE)
}

/// A whole answer of a backend that is played by hand.
fn answer(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn post(gate: &Gateway, body: &str) -> Answer {
    gate.ask("POST", "/echo").header(JSON.0, JSON.1).body(body.to_owned()).send().await
}

#[tokio::test]
async fn a_request_reaches_the_backend_masked() {
    let a = upstream("a").await;
    let gate = masking(RULES).pool("app", &[&a]).start().await;
    let body =
        r#"{"messages":[{"role":"user","content":"I am bob@example.com, 13812345678, ORD-123456."}],"n":13812345678}"#;
    assert_eq!(post(&gate, body).await.status, 200);
    let seen = last_seen(&a);
    assert_eq!(seen.body, r#"{"messages":[{"role":"user","content":"I am ***, ***, <order>."}],"n":13812345678}"#);
    assert_eq!(
        (sent(&seen, "content-length"), sent(&seen, "transfer-encoding")),
        (String::new(), "chunked".to_owned())
    );
    for (rule, found) in [("email", 1.0), ("phone", 1.0), ("card", 0.0), ("order", 1.0)] {
        let series = format!("sluicegate_sanitized_total{{set=\"pii\",rule=\"{rule}\",direction=\"request\"}}");
        eventually(s(2), &series, async || gate.metric(&series).await == found).await;
    }
    let line = gate.access_log(1).await.remove(0);
    assert_eq!(line["bytes_in"].as_u64(), Some(body.len() as u64), "{line}");
}

#[tokio::test]
async fn an_answer_reaches_the_client_masked() {
    let backend = raw_upstream().await;
    let gate = masking(RULES).members("app", &[backend.address()], "").start().await;
    let fields = "Content-Type: application/json\r\nETag: \"abc\"\r\nContent-MD5: x\r\nAccept-Ranges: bytes";
    let said = answer(fields, r#"{"mail" : "bob\u0040example.com", "card":"4111 1111 1111 1111"}"#);
    let ask = gate.ask("GET", "/").header("accept-encoding", "gzip, br").header("range", "bytes=0-5").send();
    let (got, (_, head)) = tokio::join!(ask, backend.answer_once(&said));
    assert_eq!(got.text(), r#"{"mail" : "***", "card":"***"}"#);
    assert_eq!((got.header("etag"), got.header("content-md5"), got.header("accept-ranges")), ("W/\"abc\"", "", ""));
    assert_eq!(got.header("content-length"), "");
    let head = head.to_lowercase();
    assert!(head.contains("accept-encoding: identity\r\n") && !head.contains("range:"), "{head}");
}

#[tokio::test]
async fn what_comes_in_pieces_is_masked_as_a_whole() {
    let a = upstream("a").await;
    let gate = masking(RULES).pool("app", &[&a]).start().await;
    let body = br#"["bob\u0040example.com"]"#;
    let pieces = body.chunks(1).map(Bytes::copy_from_slice).collect();
    let answer = gate.ask("POST", "/echo").header(JSON.0, JSON.1).chunks(pieces).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(last_seen(&a).body, r#"["***"]"#);
}

#[tokio::test]
async fn http_2_clients_are_treated_alike() {
    let a = upstream("a").await;
    let gate = masking(RULES).listener(r#"address: "{listen}", http2: true"#).pool("app", &[&a]).start().await;
    let client = Client::h2c(gate.address());
    let ask = client.ask("POST", "/echo").header(JSON.0, JSON.1).body(r#"["bob@example.com"]"#);
    assert_eq!(ask.send().await.status, 200);
    assert_eq!(last_seen(&a).body, r#"["***"]"#);
    assert_eq!(client.ask("POST", "/echo").header(JSON.0, JSON.1).send().await.status, 200, "nothing to mask");
}

#[tokio::test]
async fn another_attempt_sends_the_same() {
    let backend = raw_upstream().await;
    let gate = gateway()
        .section("sanitize", RULES)
        .members("app", &[backend.address()], "retry: { attempts: 2, on: [reset] }")
        .route("match: /, pool: app, sanitize: pii, retry_non_idempotent: true");
    let gate = gate.start().await;
    let bodies = async {
        let mut bodies = Vec::new();
        for last in [false, true] {
            let mut connection = backend.accept().await;
            connection.head().await.unwrap();
            bodies.push(connection.take(b"7\r\n[\"***\"]\r\n0\r\n\r\n".len()).await.unwrap());
            if last {
                connection.send(answer("Content-Type: text/plain", "done")).await;
            }
            connection.closed_within(ms(1)).await;
        }
        bodies
    };
    let (answer, bodies) = tokio::join!(post(&gate, r#"["bob@example.com"]"#), bodies);
    assert_eq!((answer.status, answer.text()), (200, "done"));
    assert_eq!(bodies[0], b"7\r\n[\"***\"]\r\n0\r\n\r\n");
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_masked_and_still_arrive_one_by_one() {
    let backend = raw_upstream().await;
    let gate = masking(RULES).members("app", &[backend.address()], "").start().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let (mut stream, (mut member, _)) = tokio::join!(gate.ask("GET", "/").stream(), backend.answer_once(head));
    for index in 0..3 {
        member.send(format!("data: {{\"n\":{index},\"content\":\"bob@example.com\"}}\n\n")).await;
        // The next one is not made before this one is here.
        let piece = within(s(2), "an event", stream.piece()).await.unwrap();
        assert_eq!(piece, format!("data: {{\"n\":{index},\"content\":\"***\"}}\n\n"));
    }
    drop(member);
    assert_eq!(stream.piece().await, None);
}

#[tokio::test]
async fn some_addresses_see_the_plain_text() {
    let a = upstream("a").await;
    let rules = "{ pii: { rules: email, allow: { addresses: [10.0.0.0/8] } } }";
    let gate = masking(rules).section("server", "{ trusted_proxies: 127.0.0.0/8 }").pool("app", &[&a]).start().await;
    let body = r#"["bob@example.com"]"#;
    for (client, left) in [("10.1.2.3", body), ("11.1.2.3", r#"["***"]"#)] {
        let ask = gate.ask("POST", "/echo").header(JSON.0, JSON.1).header("x-forwarded-for", client).body(body);
        assert_eq!(ask.send().await.status, 200);
        assert_eq!(last_seen(&a).body, left, "{client}");
    }
}

#[tokio::test]
async fn a_token_with_the_id_of_a_key_does_not_see_the_plain_text() {
    let a = upstream("a").await;
    let keys = "{ keys: [{ id: alice, secret: 0123456789abcdef-alice, permissions: [\"*\"], created_at: 2026-01-01T00:00:00Z, expires_at: 2100-01-01T00:00:00Z }] }";
    let jwt = format!("{{ issuer: \"https://id.test\", secret: {SECRET} }}");
    let body = r#"["bob@example.com"]"#;
    let masked = r#"["***"]"#;
    for (allowed, key_sees, token_sees) in
        [("alice", body, masked), ("key:alice", body, masked), ("\"token:alice\"", masked, body)]
    {
        let rules = format!("{{ pii: {{ rules: email, allow: {{ callers: {allowed} }} }} }}");
        let auth = format!("{{ api_keys: {keys}, jwt: {jwt} }}");
        let gate = masking(&rules).section("auth", &auth).pool("app", &[&a]).start().await;
        let token = Signer::secret("HS256", SECRET).token(&claims(json!({ "permissions": ["*"] })));
        let bearer = format!("Bearer {token}");
        for (field, value, sees) in
            [("x-api-key", "0123456789abcdef-alice", key_sees), ("authorization", bearer.as_str(), token_sees)]
        {
            let ask = gate.ask("POST", "/echo").header(JSON.0, JSON.1).header(field, value).body(body);
            assert_eq!(ask.send().await.status, 200, "{allowed} {field}");
            assert_eq!(last_seen(&a).body, sees, "{allowed} {field}");
        }
    }
}

#[tokio::test]
async fn only_the_direction_that_is_asked_for_is_masked() {
    let backend = raw_upstream().await;
    let gate =
        masking("{ pii: { rules: email, request: false } }").members("app", &[backend.address()], "").start().await;
    let body = r#"["bob@example.com"]"#;
    let exchange = async {
        let mut connection = backend.accept().await;
        connection.head().await.unwrap();
        let got = connection.take(body.len()).await.unwrap();
        connection.send(answer("Content-Type: application/json", body)).await;
        got
    };
    let (answer, got) = tokio::join!(post(&gate, body), exchange);
    assert_eq!(got, body.as_bytes());
    assert_eq!(answer.text(), r#"["***"]"#);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let backend = raw_upstream().await;
    let rules = "{ pii: { rules: email, max_body: 20B } }";
    let gate = masking(rules).members("app", &[backend.address()], "retry: off").start().await;
    let large = r#"["bob@example.com", "bob@example.com"]"#;
    let refused = post(&gate, large).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (413, Some("payload_too_large")));
    let said = answer("Content-Type: application/json", large);
    // One whose length nobody said is refused when it turns out.
    let pieces = large.as_bytes().chunks(10).map(Bytes::copy_from_slice).collect();
    let ask = gate.ask("POST", "/").header(JSON.0, JSON.1).chunks(pieces).send();
    let (refused, _) = tokio::join!(ask, async { backend.accept().await.head().await });
    assert_eq!(refused.status, 413);
    let (refused, _) = tokio::join!(gate.get("/"), backend.answer_once(&said));
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (502, Some("unmaskable_response")));
    let chunked = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{large}");
    let (broken, _) =
        tokio::join!(gate.ask("GET", "/").try_send(), async { drop(backend.answer_once(&chunked).await) });
    assert!(broken.is_err(), "an answer under way can only be cut");
}

#[tokio::test]
async fn or_it_passes_and_is_counted() {
    let a = upstream("a").await;
    let rules = "{ pii: { rules: email, max_body: 20B, on_too_large: pass } }";
    let gate = masking(rules).pool("app", &[&a]).start().await;
    let large = r#"["bob@example.com", "bob@example.com"]"#;
    post(&gate, large).await;
    assert_eq!(last_seen(&a).body, large);
    let pieces = large.as_bytes().chunks(10).map(Bytes::copy_from_slice).collect();
    gate.ask("POST", "/echo").header(JSON.0, JSON.1).chunks(pieces).send().await;
    assert_eq!(last_seen(&a).body, r#"["***", "bob@example.com"]"#);
    let series = r#"sluicegate_unsanitized_total{set="pii",reason="too_large",direction="request"}"#;
    eventually(s(2), series, async || gate.metric(series).await == 2.0).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_or_passes_as_it_is() {
    let backend = raw_upstream().await;
    let gate = masking("{ pii: { rules: email } }").members("app", &[backend.address()], "").start().await;
    let ask = gate.ask("POST", "/").header(JSON.0, JSON.1).header("content-encoding", "gzip").body("\u{1f}");
    let refused = ask.send().await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (415, Some("unreadable_body")));
    let zipped = answer("Content-Type: application/json\r\nContent-Encoding: gzip\r\nETag: \"a\"", "zip");
    let (refused, _) = tokio::join!(gate.get("/"), backend.answer_once(&zipped));
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (502, Some("unmaskable_response")));
    gate.reload_with("rules: email", "rules: email, on_unreadable: pass").await;
    let (passed, _) = tokio::join!(gate.get("/"), backend.answer_once(&zipped));
    assert_eq!((passed.status, passed.text()), (200, "zip"));
    assert_eq!((passed.header("etag"), passed.header("content-length")), ("\"a\"", "3"));
    assert_eq!(gate.metric(r#"sluicegate_unsanitized_total{reason="unreadable",direction="response"}"#).await, 1.0);
}

#[tokio::test]
async fn other_types_and_other_routes_are_left_alone() {
    let a = upstream("a").await;
    let gate = masking(RULES).route("match: /plain/, pool: app").pool("app", &[&a]).start().await;
    let body = r#" {"mail" :"bob@example.com"} "#;
    for (path, kind) in [("/echo", "text/plain"), ("/plain/echo", "application/json")] {
        let ask = gate.ask("POST", path).header("content-type", kind).header("accept-encoding", "gzip").body(body);
        assert_eq!(ask.send().await.status, 200, "{path}");
        let seen = last_seen(&a);
        assert_eq!(
            (&seen.body[..], sent(&seen, "content-length")),
            (body.as_bytes(), body.len().to_string()),
            "{path}"
        );
        assert_eq!(sent(&seen, "accept-encoding"), if path == "/echo" { "identity" } else { "gzip" });
    }
}

#[tokio::test]
async fn a_request_without_a_body_stays_one() {
    let a = upstream("a").await;
    let gate = masking(RULES).pool("app", &[&a]).start().await;
    for length in ["Content-Length: 0", "Content-Length: 00", "Content-Length: 0\r\nContent-Length: 0"] {
        let ask = format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n\r\n");
        assert_eq!(gate.connect().await.ask(ask).await.status, 200, "{length}");
        assert_eq!(sent(&last_seen(&a), "transfer-encoding"), "", "{length}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_length_of_another_body() {
    let backend = raw_upstream().await;
    let gate = masking(RULES).members("app", &[backend.address()], "").start().await;
    let said = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n";
    let (got, _) = tokio::join!(gate.ask("HEAD", "/").send(), backend.answer_once(said));
    assert_eq!((got.status, got.header("content-length")), (200, ""));
}

#[tokio::test]
async fn an_old_client_gets_a_masked_answer_to_the_end_of_its_connection() {
    let backend = raw_upstream().await;
    let gate = masking(RULES).members("app", &[backend.address()], "").start().await;
    let mut old = gate.connect().await;
    old.send("GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").await;
    backend.answer_once(&answer("Content-Type: application/json", r#"["bob@example.com"]"#)).await;
    assert!(old.rest(s(5)).await.ends_with("\r\n\r\n[\"***\"]"));
}

#[tokio::test]
async fn no_upgrade_leads_around_the_rules() {
    let a = upstream("a").await;
    let gate = masking(RULES).pool("app", &[&a]).start().await;
    let ask = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(gate.connect().await.ask(ask).await.status, 403);
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn rules_that_cannot_work_are_configuration_errors() {
    let text = |set: &str, route: &str| {
        format!(
            "listen: 127.0.0.1:0\nsanitize:\n  pii: {set}\npools: {{ app: {{ members: 127.0.0.1:9 }}, two: {{ members: 127.0.0.1:9, http2: true }} }}\nroutes:\n  - match: /\n    {route}\n  - {{ match: /x, pool: app }}\n  - {{ match: /y, pool: two }}\n"
        )
    };
    let route = "pool: app\n    sanitize: pii";
    assert_eq!(
        check(&text("{ rules: email }", route).replace("127.0.0.1:0", &free_address().to_string())).code,
        Some(0)
    );
    let mut wrong = Vec::new();
    for (set, route, place, words) in [
        ("{ rules: [emial] }", route, ":3:18", "did you mean `email`?"),
        ("{ rules: { name: x, pattern: '(' } }", route, ":3:37", "the pattern cannot be used: unclosed group"),
        ("{ rules: { name: x, pattern: '(?=x)' } }", route, ":3:37", "look-around"),
        ("{ rules: { name: x, pattern: 'x*' } }", route, ":3:37", "the empty text"),
        ("{ rules: { name: x, pattern: '\\w{1000}{1000}' } }", route, ":3:37", "size limit"),
        ("{ rules: { name: x, pattern: '(?-u)\\xff' } }", route, ":3:37", "the pattern cannot be used"),
        ("{ rules: { name: email, pattern: x } }", route, ":3:32", "built in"),
        ("{ rules: [email, email] }", route, ":3:25", "two rules have the name `email`"),
        ("{ request: true }", route, ":3:3", "`rules` is missing"),
        ("{ rules: email, on_too_large: drop }", route, ":3:38", "pass or refuse"),
        ("{ rules: email, max_body: 100 }", route, ":3:34", "did you mean 100B"),
        ("{ rules: email, request: false, response: false }", route, ":3:40", "neither"),
        ("{ rules: email, allow: { callers: bob } }", route, ":3:33", "without the section `auth`"),
        ("{ rules: email }", "pool: app\n    sanitize: pi", ":8:15", "did you mean `pii`?"),
        ("{ rules: email }", "pool: two\n    sanitize: pii", ":8:5", "HTTP/1"),
        ("{ rules: email }", "respond: 204\n    sanitize: pii", ":8:5", "no pool"),
        ("{ rules: email }", "pool: app\n    sanitize: pii\n    websocket: true", ":8:5", "websocket"),
    ] {
        let exit = check(&text(set, route));
        let said = exit.stderr + &exit.stdout;
        let told = said.contains(words) && said.contains(&format!("sluicegate.yaml{place}:"));
        if exit.code != Some(78) || !told {
            wrong.push(format!("expected {place} {words}, got {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
