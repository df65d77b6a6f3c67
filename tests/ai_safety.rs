//! What a client must not reach and must not learn: addresses, keys, other callers, and the gateway's memory.

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;

/// All that a gateway writes or shows to operators.
async fn shown(gate: &Gateway) -> String {
    let mut all = gate.stderr();
    all.push_str(&std::fs::read_to_string(gate.dir().join("access.log")).unwrap_or_default());
    for path in ["/metrics", "/control/status", "/control/config", "/stats", "/health", "/ready", "/"] {
        all.push_str(&String::from_utf8_lossy(&gate.admin().get(path).await.body));
    }
    all
}

#[tokio::test]
async fn no_field_of_a_client_chooses_an_address_or_a_key() {
    let [a, evil] = upstreams(["a", "evil"]).await;
    let gate = ai_of(&a).start().await;
    let url = format!("http://{}/v1", evil.address());
    let names = [
        "host",
        "x-forwarded-host",
        "forwarded",
        "x-base-url",
        "x-api-base",
        "x-provider",
        "x-portkey-custom-host",
        "x-target",
        "helicone-openai-api-base",
        "openai-base-url",
        "x-original-url",
        "x-sluicegate-target",
        "x-upstream",
    ];
    for name in names {
        let value = if name == "host" { evil.address().to_string() } else { url.clone() };
        let answer = ask_with(&gate, "chat/completions", &chat("m", "hello"), &[(name, &value)]).await;
        assert_eq!((answer.status, evil.hits()), (200, 0), "{name}");
        let seen = last_seen(&a);
        assert_eq!(sent(&seen, "authorization"), format!("Bearer {}", key_of("first")), "{name}");
        assert_eq!(sent(&seen, "host"), a.address().to_string(), "{name}");
    }
    for name in [
        "api_base",
        "base_url",
        "api_key",
        "api_version",
        "provider",
        "custom_llm_provider",
        "extra_headers",
        "organization",
        "key",
    ] {
        let value = if name == "extra_headers" { json!({"authorization": "Bearer mine"}) } else { json!(url) };
        let body = with(chat("m", "hello"), json!({name: value}));
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!((answer.status, evil.hits()), (200, 0), "{name}");
        assert_eq!(sent(&last_seen(&a), "authorization"), format!("Bearer {}", key_of("first")), "{name}");
    }
    let mut raw = gate.connect().await;
    let body = chat("m", "hello").to_string();
    let head = format!(
        "POST http://{}/v1/chat/completions HTTP/1.1\r\nHost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        evil.address(),
        evil.address(),
        body.len()
    );
    raw.ask(format!("{head}{body}")).await;
    assert_eq!(evil.hits(), 0, "an absolute address");
}

#[tokio::test]
async fn a_query_of_the_client_does_not_reach_the_provider_as_a_key_or_a_version() {
    let a = upstream("a").await;
    let gate = ai()
        .gemini("g", &a)
        .provider("azure", "azure_openai", &a)
        .model("g", &["g"])
        .model("z", &["azure"])
        .start()
        .await;
    for model in ["g", "z"] {
        let path = "/v1/chat/completions?key=mine&api-version=1999&api-key=mine&alt=media";
        let asked =
            gate.ask("POST", path).header("content-type", "application/json").body(chat(model, "hello").to_string());
        assert_eq!(asked.send().await.status, 200, "{model}");
        let query = last_seen(&a).path_and_query;
        assert!(!query.contains("mine") && !query.contains("1999") && !query.contains("media"), "{query}");
    }
}

#[tokio::test]
async fn a_name_of_a_model_is_never_a_path() {
    let a = upstream("a").await;
    let names = [
        "../../v1/files",
        "x/../../files",
        "..",
        ".",
        "a/b/c",
        "x?alt=media",
        "x#y",
        "x%2f..%2fy",
        "%2e%2e/x",
        "x y",
        "x\ny",
        "x\r\nhost: evil",
        "x\u{0}y",
        "http://evil/",
        "//evil/x",
        "x:streamGenerateContent",
        "x;y",
        "é世",
        "x\\..\\y",
        "x&key=1",
    ];
    for kind in ["gemini", "azure_openai", "openai"] {
        let gate = ai().provider("first", kind, &a).model("\"*\"", &["first"]).start().await;
        for name in names {
            let before = a.hits();
            let answer = ask(&gate, "chat/completions", &chat(name, "hello")).await;
            assert!(
                answer.status < 500 || answer.status == 503,
                "{kind} {name:?}: {} {}",
                answer.status,
                answer.text()
            );
            if a.hits() == before {
                assert_eq!(answer.status, 400, "{kind} {name:?}: {}", answer.text());
                continue;
            }
            let path = last_seen(&a).path_and_query;
            let good = match kind {
                "gemini" => {
                    let inner =
                        path.strip_prefix("/v1beta/models/").and_then(|rest| rest.strip_suffix(":generateContent"));
                    inner.is_some_and(|inner| !inner.contains(['/', '?', '#', ':']))
                }
                "azure_openai" => {
                    let inner = path
                        .strip_prefix("/openai/deployments/")
                        .and_then(|rest| rest.split_once("/chat/completions?api-version="));
                    inner.is_some_and(|(inner, version)| {
                        !inner.contains(['/', '?', '#']) && inner != ".." && !version.contains('&')
                    })
                }
                _ => path == "/v1/chat/completions",
            };
            assert!(good, "{kind} {name:?} became {path}");
        }
        for name in ["../files", "%2e%2e%2ffiles", "a/../../../x"] {
            let answer = gate.get(&format!("/v1/models/{name}")).await;
            assert!(matches!(answer.status, 400 | 404), "{name}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn of_the_fields_of_a_provider_a_client_sees_the_harmless_ones() {
    let a = upstream("a").await;
    a.set_order("leak", "1");
    let gate = ai()
        .openai("openai", &a)
        .anthropic("anthropic", &a)
        .gemini("gemini", &a)
        .provider("azure", "azure_openai", &a)
        .model("o", &["openai"])
        .model("c", &["anthropic"])
        .model("g", &["gemini"])
        .model("z", &["azure"])
        .start()
        .await;
    for model in ["o", "c", "g", "z"] {
        for body in [chat(model, "hello"), streamed(chat(model, "hello"))] {
            let answer = ask(&gate, "chat/completions", &body).await;
            assert_eq!(answer.status, 200, "{model}");
            for name in [
                "set-cookie",
                "authorization",
                "x-api-key",
                "api-key",
                "x-goog-api-key",
                "x-upstream",
                "openai-organization",
                "anthropic-organization-id",
                "x-ms-region",
            ] {
                assert_eq!(answer.header(name), "", "{model}: {name}");
            }
            assert!(!format!("{:?}", answer.headers).contains("sk-of-"), "{model}: {:?}", answer.headers);
        }
        let asked = ask(&gate, "messages", &messages(model, "hello")).await;
        assert_eq!(asked.header("set-cookie"), "", "{model}");
    }
}

#[tokio::test]
async fn an_error_of_a_provider_that_names_its_key_is_not_passed_on() {
    let key = "sk-proj-abcdef1234567890abcdef";
    let error = json!({"error": {
        "message": format!("Incorrect API key provided: {key}. Organization org-4711 at https://internal.example.com:8443/x."),
        "type": "invalid_request_error", "param": null, "code": "invalid_api_key",
    }});
    for status in [400, 401, 403, 404, 429, 500] {
        let body = error.to_string();
        let backend = origin(move |_| {
            let body = body.clone();
            async move { given_status(status, &[("content-type", "application/json")], body) }
        });
        let backend = backend.await;
        let gate = ai()
            .provider_at("openai", "openai", backend.address(), &format!("keys: {key}"))
            .provider_at("anthropic", "anthropic", backend.address(), &format!("keys: {key}"))
            .model("o", &["openai"])
            .model("c", &["anthropic"])
            .set("attempts: 1")
            .start()
            .await;
        for (door, asked) in [
            ("chat/completions", chat("o", "x")),
            ("chat/completions", chat("c", "x")),
            ("messages", messages("o", "x")),
            ("messages", messages("c", "x")),
        ] {
            let answer = ask(&gate, door, &asked).await;
            assert!(answer.status >= 400, "{status} {door}");
            assert!(!answer.text().contains("sk-proj"), "{status} {door}: {}", answer.text());
        }
        gate.access_log(4).await;
        let all = shown(&gate).await;
        assert!(!all.contains("sk-proj"), "{status}: the key is shown");
    }
}

#[tokio::test]
async fn keys_are_shown_nowhere_whatever_happens() {
    let [a, b] = upstreams(["a", "b"]).await;
    a.set_order("leak", "1");
    let flow = format!(
        "kind: flow, base_url: \"http://{}/flow-llm-proxy\", credentials: \"{{dir}}/secrets.json\"",
        a.address()
    );
    let secrets = r#"[{ "name": "one", "clientId": "id-one", "clientSecret": "flow-secret-0815", "tenant": "t" }]"#;
    let gate = ai()
        .provider_with("first", "openai", &a, "keys: \"${THE_PROVIDER_KEY}\"")
        .anthropic("second", &b)
        .provider_as("flow", &flow)
        .model("m", &["first", "second", "flow"])
        .build()
        .env("THE_PROVIDER_KEY", "sk-environment-0815")
        .file("secrets.json", secrets)
        .section("log", "{ level: debug, access: { file: \"{dir}/access.log\", format: json } }")
        .start()
        .await;
    let faults = [
        None,
        Some(Fault::Status(500)),
        Some(Fault::Refusal(Refusal::Key)),
        Some(Fault::RateLimit(s(1))),
        Some(Fault::BadHttp),
        Some(Fault::CloseMidBody),
        Some(Fault::At(Stage::After(1), Twist::Close)),
    ];
    let mut answers = String::new();
    for fault in faults {
        a.set_fault(fault);
        b.set_fault(fault);
        for body in [chat("m", "hello"), streamed(chat("m", "hello"))] {
            let asked = gate
                .ask("POST", "/v1/chat/completions")
                .header("content-type", "application/json")
                .body(body.to_string());
            if let Ok(answer) = asked.try_send().await {
                answers.push_str(&String::from_utf8_lossy(&answer.body));
                for value in answer.headers.values() {
                    answers.push_str(&String::from_utf8_lossy(value.as_bytes()));
                }
            }
        }
    }
    gate.reload().await;
    gate.access_log(14).await;
    let all = answers + &shown(&gate).await;
    for secret in ["sk-environment-0815", &key_of("second"), "flow-secret-0815"] {
        assert!(!all.contains(secret), "{secret} is shown");
    }
    let environ = std::fs::read(format!("/proc/{}/environ", gate.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&environ).contains("0815"), "the kernel shows it");
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_in_the_words_of_its_door() {
    let a = upstream("a").await;
    let gate = ai_of(&a).build().section("server", "{ max_body: 1MiB }").start().await;
    let large = chat("m", &"x".repeat(2 << 20));
    let answer = ask(&gate, "chat/completions", &large).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (413, &json!("invalid_request_error")),
        "{}",
        answer.text()
    );
    let answer = ask(&gate, "messages", &with(large, json!({"max_tokens": 5}))).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (413, &json!("request_too_large")),
        "{}",
        answer.text()
    );
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn json_that_is_deep_or_odd_is_refused_or_passed_and_costs_little() {
    let a = upstream("a").await;
    let gate = ai_of(&a).build().section("server", "{ max_body: 32MiB }").start().await;
    let deep = |open: &str, close: &str, depth: usize| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"x":{}1{}}}"#,
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let unclosed = |open: &str| format!(r#"{{"model":"m","messages":{}"#, open.repeat(1 << 20));
    let many = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{}"y":1}}"#,
        (0..200_000).map(|n| format!("\"k{n}\":1,")).collect::<String>()
    );
    let bodies: Vec<Vec<u8>> = vec![
        deep("[", "]", 100_000).into(),
        deep(r#"{"a":"#, "}", 100_000).into(),
        unclosed("[").into(),
        unclosed(r#"{"a":"#).into(),
        many.into(),
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"n":{}}}"#, "9".repeat(1 << 20)).into(),
        format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(4 << 20)).into(),
        br#"{"model":"m","messages":[{"role":"user","content":"\ud800"}]}"#.to_vec(),
        b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}".to_vec(),
        b"{\"model\":\"m\xff\",\"messages\":[]}".to_vec(),
        format!(r#"{{"model":"m","messages":[{}]}}"#, vec![r#"{"role":"user","content":"x"}"#; 100_000].join(","))
            .into(),
        b"\xef\xbb\xbf{\"model\":\"m\",\"messages\":[]}".to_vec(),
    ];
    let before = gate.own_memory();
    for (n, body) in bodies.into_iter().enumerate() {
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        for door in ["chat/completions", "messages", "embeddings"] {
            let asked =
                gate.ask("POST", &format!("/v1/{door}")).header("content-type", "application/json").body(body.clone());
            let answer = within(s(20), &format!("an answer to {start}"), asked.send()).await;
            assert!(
                matches!(answer.status, 200 | 400 | 404 | 413 | 422),
                "{n} {door} {start}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, 200, "it is as well as before");
    let grown = gate.peak_memory().saturating_sub(before);
    assert!(grown < 400 << 20, "it took {} MiB", grown >> 20);
}

#[tokio::test]
async fn deep_json_from_a_provider_does_no_harm_either() {
    let deep = format!(
        r#"{{"id":"x","object":"chat.completion","choices":[{{"index":0,"message":{{"role":"assistant","content":"hi"}},"finish_reason":"stop"}}],"x":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let backend = origin(move |_| {
        let deep = deep.clone();
        async move { given(&[("content-type", "application/json")], deep) }
    });
    let backend = backend.await;
    let gate = ai()
        .provider_at("openai", "openai", backend.address(), "keys: sk-x-4711")
        .provider_at("anthropic", "anthropic", backend.address(), "keys: sk-x-4711")
        .model("o", &["openai"])
        .model("c", &["anthropic"])
        .start()
        .await;
    for (door, body) in
        [("chat/completions", chat("o", "x")), ("chat/completions", chat("c", "x")), ("messages", messages("o", "x"))]
    {
        let answer = within(s(20), "an answer", ask(&gate, door, &body)).await;
        assert!(matches!(answer.status, 200 | 502), "{door}: {}", answer.status);
    }
    assert_eq!(gate.get("/v1/models").await.status, 200);
}

#[tokio::test]
async fn a_provider_proves_who_it_is() {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost", "127.0.0.1"]);
    let mock = Mock::builder("a").tls(&identity.cert, &identity.key).start().await;
    let provider = |more: &str| {
        let port = mock.address().port();
        ai().provider_as(
            "first",
            &format!("kind: openai, base_url: \"https://localhost:{port}/v1\", keys: sk-x-4711{more}"),
        )
        .model("m", &["first"])
        .build()
    };
    let gate = provider("").start().await;
    let refused = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((refused.status, mock.hits()), (502, 0), "{}", refused.text());
    let gate = provider(", tls: { ca: \"{dir}/ca.pem\" }").file("ca.pem", &authority.pem()).start().await;
    assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("m", "hello")).await), said("a", 5));
}

#[tokio::test]
async fn a_provider_cannot_send_the_gateway_elsewhere() {
    let evil = upstream("evil").await;
    let target = format!("http://{}/v1/chat/completions", evil.address());
    let backend = origin(move |_| {
        let target = target.clone();
        async move { given_status(307, &[("location", &target)], "") }
    });
    let backend = backend.await;
    let gate =
        ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]).start().await;
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!(evil.hits(), 0);
    assert!(answer.status >= 400, "{}", answer.status);
    assert_eq!(answer.header("location"), "", "nor the client");
}

#[tokio::test]
async fn the_gateway_fetches_no_picture_for_anybody() {
    let [a, pictures] = upstreams(["a", "pictures"]).await;
    let gate = ai()
        .openai("o", &a)
        .anthropic("c", &a)
        .gemini("g", &a)
        .model("o", &["o"])
        .model("c", &["c"])
        .model("g", &["g"])
        .start()
        .await;
    let url = format!("http://{}/cat.png", pictures.address());
    for model in ["o", "c", "g"] {
        let parts = json!([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "look"}]);
        let body = with(chat(model, ""), json!({"messages": [{"role": "user", "content": parts}]}));
        let answer = ask(&gate, "chat/completions", &body).await;
        assert!(matches!(answer.status, 200 | 400), "{model}: {}", answer.text());
    }
    assert_eq!(pictures.hits(), 0);
}

#[tokio::test]
async fn a_provider_is_not_asked_to_compress_what_must_be_read() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    for body in [chat("m", "hello"), streamed(chat("m", "hello"))] {
        let answer = ask_with(&gate, "chat/completions", &body, &[("accept-encoding", "gzip, br, zstd")]).await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, ""));
        let accepted = sent(&last_seen(&a), "accept-encoding");
        assert!(matches!(accepted.as_str(), "" | "identity"), "{accepted}");
    }
}

#[tokio::test]
async fn an_upgrade_at_a_door_is_refused() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let mut raw = gate.connect().await;
    let answer = raw
        .ask("GET /v1/realtime?model=m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await;
    assert!((400..500).contains(&answer.status), "{}", answer.head);
    assert_eq!(a.hits(), 0);
}

#[tokio::test]
async fn what_a_client_names_itself_in_its_request_id_is_checked() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let long = "x".repeat(5000);
    for id in ["ok-1", "with space", long.as_str(), "<script>"] {
        let answer = ask_with(&gate, "chat/completions", &chat("m", "x"), &[("x-request-id", id)]).await;
        let told = answer.header("x-request-id");
        assert!(answer.status == 200 && told.len() <= 200 && !told.contains(['<', ' ']), "{told}");
        let seen = sent(&last_seen(&a), "x-request-id");
        assert!(seen.is_empty() || seen == told, "{seen}");
    }
}

#[tokio::test]
async fn a_provider_key_with_a_line_end_is_refused_at_the_start() {
    let a = upstream("a").await;
    let exit = ai()
        .provider_with("first", "openai", &a, "keys: \"sk-x\\r\\nhost: evil\"")
        .model("m", &["first"])
        .build()
        .start_in_vain()
        .await;
    assert_eq!(exit.code, Some(78), "{}", exit.stderr);
    assert!(!exit.stderr.contains("sk-x"), "{}", exit.stderr);
}

#[tokio::test]
async fn an_answer_that_is_html_is_not_passed_on_as_an_answer_of_a_model() {
    let backend = origin(|_| async move {
        given_status(502, &[("content-type", "text/html")], "<html><h1>nginx at 10.0.0.7</h1></html>")
    })
    .await;
    let gate =
        ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]).start().await;
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    let body: Value = answer.json();
    assert!(answer.status >= 500 && body["error"]["message"].is_string(), "{body}");
    assert!(!answer.text().contains("10.0.0.7"), "{body}");
}

/// A request of which 600 KiB have come, and 300 are still to come.
async fn half_a_prompt(gate: &Gateway) -> RawConnection {
    let mut client = gate.connect().await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 921600\r\n\r\n";
    client.send(head).await;
    client.send(" ".repeat(600 << 10)).await;
    client
}

#[tokio::test]
async fn bodies_of_all_requests_together_take_no_more_memory_than_they_may() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("max_buffered: 1MiB").start().await;
    let held = async |bytes: u64| gate.metric("sluicegate_ai_buffered_bytes").await == bytes as f64;
    let first = half_a_prompt(&gate).await;
    eventually(s(5), "the first is held", async || held(600 << 10).await).await;
    let answer = half_a_prompt(&gate).await.answer().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.text().contains("overloaded"), "{}", answer.text());
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "short")).await.status, 200, "short ones pass beside it");
    drop(first);
    eventually(s(5), "nothing is held any more", async || held(0).await).await;
    let long = with(chat("m", "long"), json!({"metadata": {"x": "y".repeat(900 << 10)}}));
    assert_eq!(ask(&gate, "chat/completions", &long).await.status, 200);
    assert!(held(0).await, "what was answered is held no more");
}

#[tokio::test]
async fn a_body_that_can_never_be_held_is_refused_for_good_and_says_why() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).openai("second", &a).model("c", &["first"]).model("o", &["second"]);
    let gate = gate.set("max_buffered: 1MiB").start().await;
    let long = |model: &str, length: usize| with(chat(model, &"x".repeat(length)), json!({"max_tokens": 5}));
    for (model, length, told) in
        [("o", 2 << 20, "larger than the 1048576 bytes"), ("c", 700 << 10, "too long for a translation")]
    {
        let refused = ask(&gate, "chat/completions", &long(model, length)).await;
        assert_eq!((refused.status, code_of(&refused).as_str()), (413, "payload_too_large"), "{}", refused.text());
        assert!(refused.text().contains(told), "{}", refused.text());
        assert_eq!(refused.header("retry-after"), "", "another try would end the same way");
    }
    let mut client = gate.connect().await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send(format!("{:x}\r\n{}\r\n", 3 << 19, " ".repeat(3 << 19))).await;
    assert_eq!(client.answer().await.status, 413, "a length that is not announced is counted");
    assert_eq!(ask(&gate, "chat/completions", &long("o", 700 << 10)).await.status, 200);
    assert_eq!(gate.metric("sluicegate_ai_buffered_bytes").await, 0.0);
}

#[tokio::test]
async fn a_request_of_many_small_parts_takes_room_for_its_translation() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).openai("second", &a).model("c", &["first"]).model("o", &["second"]);
    let gate = gate.set("max_buffered: 8MiB").start().await;
    let parts = |model: &str| json!({"model": model, "max_tokens": 5, "messages": vec![json!({"role": "user", "content": ""}); 20_000]});
    let refused = ask(&gate, "chat/completions", &parts("c")).await;
    assert_eq!((refused.status, code_of(&refused).as_str()), (400, "INVALID_REQUEST"), "{}", refused.text());
    assert!(refused.text().contains("too many parts"), "{}", refused.text());
    assert_eq!(ask(&gate, "chat/completions", &parts("o")).await.status, 200, "what is passed on is not taken apart");
    let long = with(chat("c", &"long ".repeat(100 << 10)), json!({"max_tokens": 5}));
    assert_eq!(ask(&gate, "chat/completions", &long).await.status, 200, "what is long is not many");
    assert_eq!(gate.metric("sluicegate_ai_buffered_bytes").await, 0.0);
}

#[tokio::test]
async fn fields_that_tell_other_gateways_where_to_go_reach_no_provider() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let steering = [
        "x-portkey-custom-host",
        "helicone-target-url",
        "x-litellm-tags",
        "x-base-url",
        "x-http-method-override",
        "x-smg-target-worker",
        "x-data-parallel-rank",
        "x-gateway-destination-endpoint",
        "x-envoy-upstream-rq-timeout-ms",
        "ocp-apim-subscription-key",
    ];
    let mut fields: Vec<(&str, &str)> = steering.iter().map(|name| (*name, "http://127.0.0.1:1")).collect();
    fields.push(("x-stainless-lang", "python"));
    assert_eq!(ask_with(&gate, "chat/completions", &chat("m", "x"), &fields).await.status, 200);
    let seen = last_seen(&a);
    assert_eq!(steering.map(|name| sent(&seen, name)), [""; 10]);
    let disguised = [
        "X_Portkey_Config",
        "X_LiteLLM_Api_Base",
        "X_Upstream_Url",
        "Helicone_Target-URL",
        "x_http_method_override",
        "OpenAI_Organization",
        "x_goog_user_project",
        "api_key",
        "x_api_key",
        "x-api_key",
        "Proxy_Authorization",
    ];
    let under: Vec<(&str, &str)> = disguised.iter().map(|name| (*name, "http://127.0.0.1:1")).collect();
    assert_eq!(ask_with(&gate, "chat/completions", &chat("m", "x"), &under).await.status, 200);
    let seen_under = last_seen(&a);
    assert_eq!(disguised.map(|name| sent(&seen_under, name)), [""; 11]);
    assert_eq!(sent(&seen, "x-stainless-lang"), "python");
}

#[tokio::test]
async fn credentials_that_are_forwarded_are_those_for_a_provider_without_keys_and_nothing_of_the_way_to_us() {
    let [own, keyed] = upstreams(["own", "keyed"]).await;
    let ai = ai().openai("first", &keyed).provider_as("own", "kind: openai_compatible, pool: own");
    let ai = ai.model("k", &["first"]).model("m", &["own"]).on_route("auth: none, forward_credentials: true");
    let auth = callers().replacen("api_keys: {", "api_keys: { header: X-Gw-Key,", 1);
    let gate = ai.build().section("auth", &auth).pool_with("own", &[&own], "balance: round_robin").start().await;
    let secret = secret_of("team-a");
    let fields = [
        ("x-gw-key", &*secret),
        ("x-api-key", "one"),
        ("api-key", "two"),
        ("proxy-authorization", "Basic dXNlcjpwdw=="),
        ("connection", "api-key"),
    ];
    assert_eq!(ask_with(&gate, "chat/completions", &chat("m", "x"), &fields).await.status, 200);
    let seen = last_seen(&own);
    for (name, value) in [("x-api-key", "one"), ("x-gw-key", &*secret), ("api-key", ""), ("proxy-authorization", "")] {
        assert_eq!(sent(&seen, name), value, "{name}");
    }
    assert_eq!(ask_with(&gate, "chat/completions", &chat("k", "x"), &fields).await.status, 200);
    let seen = last_seen(&keyed);
    for name in ["x-api-key", "x-gw-key", "api-key", "proxy-authorization"] {
        assert_eq!(sent(&seen, name), "", "{name}");
    }
    assert_eq!(sent(&seen, "authorization"), format!("Bearer {}", key_of("first")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_that_nobody_takes_fill_their_share_of_the_memory_and_no_more() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("max_buffered: 32MiB").start().await;
    let held = async || gate.metric("sluicegate_ai_buffered_bytes").await;
    a.set_order("sse", "events=20,size=1MiB");
    let ask_long = || gate.ask("POST", "/v1/chat/completions").body(chat("m", "long").to_string());
    let mut first = ask_long().stream().await;
    assert_eq!((first.status, held().await >= f64::from(20 << 20)), (200, true), "held until its client has it");
    let second = ask_long().send().await;
    assert_eq!((second.status, code_of(&second).as_str(), second.header("retry-after")), (503, "overloaded", "1"));
    assert!(held().await <= f64::from(32 << 20), "{}", held().await);
    a.set_order("sse", "events=1,size=1KiB");
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "short")).await.status, 200, "there is room for short ones");
    while first.piece().await.is_some() {}
    eventually(s(10), "nothing is held", async || held().await == 0.0).await;
    a.set_order("sse", "events=20,size=1MiB");
    let third = ask_long().send().await;
    assert_eq!((third.status, third.body.len() > 20 << 20), (200, true));
    a.set_order("sse", "events=30,size=1MiB");
    let never = ask_long().send().await;
    assert_eq!((never.status, never.header("x-should-retry")), (502, "false"), "{}", never.text());
    eventually(s(10), "nothing is held", async || held().await == 0.0).await;
}

#[tokio::test]
async fn of_a_clients_query_providers_get_what_official_clients_say_there() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai().openai("a", &a).anthropic("b", &b).model("o", &["a"]).model("c", &["b"]).start().await;
    for (query, passes) in [
        ("beta=true", "?beta=true"),
        ("key=mine&api_base=http://127.0.0.1:1", ""),
        (
            "key=mine&beta=true&organization=org-1&api-version=2024-05-01-preview",
            "?beta=true&api-version=2024-05-01-preview",
        ),
        ("Beta=true&%62eta=true&beta", ""),
    ] {
        for (mock, door, body) in [(&a, "chat/completions", chat("o", "x")), (&b, "messages", messages("c", "x"))] {
            assert_eq!(ask(&gate, &format!("{door}?{query}"), &body).await.status, 200, "{door} {query}");
            assert_eq!(last_seen(mock).path_and_query, format!("/v1/{door}{passes}"), "{query}");
        }
    }
}
