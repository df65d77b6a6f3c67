//! The doors of the AI gateway: what stands where, what goes to each provider, and what is refused in which words.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod support;

use bytes::Bytes;
use serde_json::{Value, json};
use support::ai::*;
use support::*;

/// The body that a provider got last.
fn got(mock: &Mock) -> Value {
    serde_json::from_slice(&last_seen(mock).body).unwrap()
}

/// The path and query that a provider was asked for last.
fn asked_at(mock: &Mock) -> String {
    last_seen(mock).path_and_query
}

/// The fields of a provider's last request, by name.
fn fields(mock: &Mock, names: &[&str]) -> Vec<String> {
    let seen = last_seen(mock);
    names.iter().map(|name| sent(&seen, name)).collect()
}

/// Checks that `answer` is an error in Anthropic's shape, of this status and type.
#[track_caller]
fn assert_anthropic(answer: &Answer, status: u16, kind: &str) {
    let body = answer.json();
    assert_eq!((answer.status, &body["type"]), (status, &json!("error")), "{body}");
    assert_eq!(body["error"]["type"], kind, "{body}");
    assert!(body["error"]["message"].is_string(), "{body}");
}

/// Checks that `answer` is an error in OpenAI's shape, of this status and code.
#[track_caller]
fn assert_openai(answer: &Answer, status: u16, code: &str) {
    let body = answer.json();
    assert_eq!(answer.status, status, "{body}");
    assert_eq!(body["error"]["code"], code, "{body}");
    for name in ["message", "type"] {
        assert!(body["error"][name].is_string(), "{name}: {body}");
    }
    assert!(body["error"].get("param").is_some(), "libraries read `param`: {body}");
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn every_door_of_openai_answers_in_its_own_shape() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let doors = [
        ("chat/completions", chat("m", "hello"), "chat.completion"),
        ("completions", json!({"model": "m", "prompt": "hello"}), "text_completion"),
        ("embeddings", json!({"model": "m", "input": ["one", "two"]}), "list"),
        ("responses", responses("m", "hello"), "response"),
    ];
    for (door, body, object) in doors {
        let answer = ask(&gate, door, &body).await;
        assert_eq!((answer.status, &answer.json()["object"]), (200, &json!(object)), "{door}: {}", answer.text());
        assert_eq!(asked_at(&a), format!("/v1/{door}"));
        assert_eq!(answer.header("content-type"), "application/json", "{door}");
    }
    let ranked = ask(&gate, "rerank", &json!({"model": "m", "query": "q", "documents": ["x", "y"]})).await;
    assert_eq!((ranked.status, ranked.json()["results"].as_array().map(Vec::len)), (200, Some(2)), "{}", ranked.text());
    let image = ask(&gate, "images/generations", &json!({"model": "m", "prompt": "a cat", "n": 2})).await;
    assert_eq!((image.status, image.json()["data"].as_array().map(Vec::len)), (200, Some(2)), "{}", image.text());
}

#[tokio::test]
async fn every_door_of_anthropic_answers_in_its_own_shape() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).model("m", &["first"]).start().await;
    let answer = ask(&gate, "messages", &messages("m", "hello")).await;
    assert_eq!((answer.status, &answer.json()["type"]), (200, &json!("message")), "{}", answer.text());
    assert_eq!(answer.json()["content"][0]["text"], said("a", 5));
    assert_eq!(asked_at(&a), "/v1/messages");
    let mut counted = messages("m", "hello you there");
    counted.as_object_mut().unwrap().remove("max_tokens");
    let counted = ask(&gate, "messages/count_tokens", &counted).await;
    assert_eq!((counted.status, &counted.json()["input_tokens"]), (200, &json!(4)), "{}", counted.text());
    assert_eq!(asked_at(&a), "/v1/messages/count_tokens");
}

#[tokio::test]
async fn sound_comes_back_byte_for_byte() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let body = json!({"model": "m", "input": "hello", "voice": "x", "response_format": "mp3"});
    let direct = Client::http(a.address());
    let direct = direct.ask("POST", "/v1/audio/speech").body(body.to_string()).send().await;
    let answer = ask(&gate, "audio/speech", &body).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "audio/mpeg"));
    assert_eq!(answer.body, direct.body);
}

#[tokio::test]
async fn sound_that_breaks_off_is_the_providers_failure_and_not_the_clients_leaving() {
    let a = upstream("a").await;
    let breaker = "breaker: { error_threshold: 100%, window: 60s, min_requests: 2, reset: 60s }";
    let gate = ai().openai("first", &a).model("m", &["first"]).set(breaker).start().await;
    a.set_fault(Some(Fault::CloseMidBody));
    let body = json!({"model": "m", "input": "hello", "voice": "x"});
    for _ in 0..2 {
        let cut =
            gate.ask("POST", "/v1/audio/speech").header("content-type", "application/json").body(body.to_string());
        assert!(cut.try_send().await.is_err(), "half an answer looks whole");
    }
    for line in gate.access_log(2).await {
        assert_eq!((&line["broken"], &line["termination"]), (&json!(true), &json!("upstream_reset")), "{line}");
        assert_eq!(line["tries"][0]["outcome"], "answered", "{line}");
    }
    let broken = r#"sluicegate_ai_requests_total{provider="first",model="m",status="2xx",outcome="broken"}"#;
    assert_eq!(gate.metric(broken).await, 2.0);
    assert_eq!(code_of(&ask(&gate, "audio/speech", &body).await), "CIRCUIT_OPEN");
}

/// A form with a model and a file of every byte there is.
fn form(boundary: &str, model: &str, file: &str, path: &str) -> Vec<u8> {
    let mut form = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"{file}\"; filename=\"{path}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    form.extend((0..=255).cycle().take(3000));
    let rest = [("model", model), ("prompt", "model"), ("language", "de")];
    for (name, value) in rest {
        form.extend_from_slice(
            format!("\r\n--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}").as_bytes(),
        );
    }
    form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    form
}

async fn upload(gate: &Gateway, door: &str, boundary: &str, form: Vec<u8>) -> Answer {
    let kind = format!("multipart/form-data; boundary={boundary}");
    gate.ask("POST", &format!("/v1/{door}")).header("content-type", &kind).body(form).send().await
}

#[tokio::test]
async fn a_form_with_a_file_arrives_byte_for_byte() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    for (door, file) in [("audio/transcriptions", "file"), ("audio/translations", "file"), ("images/edits", "image")] {
        let sent = form("bnd-4711", "m", file, "x.bin");
        let answer = upload(&gate, door, "bnd-4711", sent.clone()).await;
        assert_eq!(answer.status, 200, "{door}: {}", answer.text());
        assert!(last_seen(&a).body == sent, "{door}: the form was changed");
        assert_eq!(asked_at(&a), format!("/v1/{door}"));
    }
}

#[tokio::test]
async fn in_a_form_only_the_name_of_the_model_is_changed() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("ears", &["first/whisper-large"]).start().await;
    let answer = upload(&gate, "audio/transcriptions", "b", form("b", "ears", "file", "model.wav")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(last_seen(&a).body == form("b", "whisper-large", "file", "model.wav"), "only the model was to change");
    let refused = upload(&gate, "audio/transcriptions", "b", form("b", "nose", "file", "x")).await;
    assert_openai(&refused, 400, "UNSUPPORTED_MODEL");
}

#[tokio::test]
async fn bytes_go_in_and_out_unchanged_where_both_sides_speak_the_same() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let body = "{ \"zeta\":1.50e1,\n\t\"messages\" : [{\"content\":\"h\\u00e9 \u{1F600} \\/\",\"role\":\"user\"}],\"model\":\"m\" , \
                \"x_unknown\":{\"deep\":[null,{}]}, \"n\":1}\n";
    let answer = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body);
    assert_eq!(answer.send().await.status, 200);
    assert_eq!(String::from_utf8_lossy(&last_seen(&a).body), body);

    let odd = "{\n  \"id\":\"x\", \"object\" : \"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\
               \"content\":\"\\u00e9\"},\"finish_reason\":\"stop\"}],  \"x_more\": 1.0e2,\"usage\":{\"prompt_tokens\":1,\
               \"completion_tokens\":1,\"total_tokens\":2} }\n";
    let backend =
        origin(move |_| async move { given(&[("content-type", "application/json; charset=utf-8")], odd) }).await;
    let gate = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]);
    let answer = ask(&gate.start().await, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((answer.status, answer.text()), (200, odd));
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
}

#[tokio::test]
async fn only_the_name_of_the_model_is_changed_where_the_provider_calls_it_otherwise() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("gpt-4o", &["first/gpt-4o-eu"]).start().await;
    let body = "{\"messages\":[{\"role\":\"user\",\"content\":\"the model is \\\"gpt-4o\\\"\"}], \"metadata\":{\"model\":\"gpt-4o\"},\
                \"model\" : \"gpt-4o\"}";
    let asked = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body);
    assert_eq!(asked.send().await.status, 200);
    let wanted = body.replace("\"model\" : \"gpt-4o\"", "\"model\" : \"gpt-4o-eu\"");
    assert_eq!(String::from_utf8_lossy(&last_seen(&a).body), wanted);
    assert_eq!(fields(&a, &["content-length"]), [wanted.len().to_string()]);
}

#[tokio::test]
async fn a_name_that_is_spelled_with_escapes_is_the_same_name() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("gpt-4o", &["first/other"]).start().await;
    let body = r#"{"\u006dodel":"gpt\u002d4o","messages":[{"role":"user","content":"x"}]}"#;
    let answer = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body);
    assert_eq!(answer.send().await.status, 200);
    assert_eq!(got(&a)["model"], "other");
}

#[tokio::test]
async fn a_second_model_in_the_body_does_not_pass_one_that_is_not_allowed() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).model("n", &["first"]).of_route("models: [m]");
    let gate = gate.start().await;
    for body in [
        r#"{"model":"m","model":"n","messages":[{"role":"user","content":"x"}]}"#,
        r#"{"model":"n","model":"m","messages":[{"role":"user","content":"x"}]}"#,
    ] {
        let asked = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body);
        let answer = asked.send().await;
        let reached: Vec<Bytes> = a.requests().into_iter().map(|seen| seen.body).collect();
        let harmless = reached.iter().all(|body| !String::from_utf8_lossy(body).contains(r#""n""#));
        assert!(answer.status == 400 || harmless, "{}: {reached:?}", answer.text());
    }
}

#[tokio::test]
async fn fields_of_the_client_pass_but_for_credentials_and_what_is_of_the_connection() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let body = chat("m", "hello");
    let hidden = [
        ("authorization", "Bearer of-the-client"),
        ("x-api-key", "of-the-client"),
        ("api-key", "of-the-client"),
        ("x-goog-api-key", "of-the-client"),
        ("cookie", "session=of-the-client"),
        ("proxy-authorization", "Basic of-the-client"),
        ("x-hop", "of-the-client"),
        ("connection", "x-hop"),
    ];
    let shown = [
        ("openai-beta", "assistants=v2"),
        ("x-stainless-lang", "python"),
        ("user-agent", "tester/1.0"),
        ("idempotency-key", "i-1"),
    ];
    let all: Vec<(&str, &str)> = hidden.iter().chain(&shown).copied().collect();
    assert_eq!(ask_with(&gate, "chat/completions", &body, &all).await.status, 200);
    let seen = last_seen(&a);
    for (name, value) in shown {
        assert_eq!(sent(&seen, name), value, "{name}");
    }
    let leaked =
        seen.headers.iter().find(|(_, value)| value.as_bytes().windows(13).any(|part| part == b"of-the-client"));
    assert_eq!(leaked, None);
    assert_eq!(sent(&seen, "authorization"), format!("Bearer {}", key_of("first")));
}

#[tokio::test]
async fn every_provider_is_asked_in_its_own_way() {
    let a = upstream("a").await;
    let gate = ai()
        .openai("openai", &a)
        .anthropic("anthropic", &a)
        .gemini("gemini", &a)
        .provider_with(
            "azure",
            "azure_openai",
            &a,
            "keys: sk-of-azure-4711, deployments: { gpt-3.5-turbo: gpt-35-turbo }, api_version: \"2024-06-01\"",
        )
        .provider_with("local", "openai_compatible", &a, "")
        .model("o", &["openai/gpt-4o"])
        .model("c", &["anthropic/claude-sonnet-4-5"])
        .model("g", &["gemini/gemini-2.5-pro"])
        .model("gpt-3.5-turbo", &["azure"])
        .model("l", &["local/llama"])
        .start()
        .await;
    let credentials = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "anthropic-version"];
    let expected: [(&str, &str, [&str; 5]); 5] = [
        ("o", "/v1/chat/completions", ["Bearer sk-of-openai-4711", "", "", "", ""]),
        ("c", "/v1/messages", ["", "sk-of-anthropic-4711", "", "", "2023-06-01"]),
        ("g", "/v1beta/models/gemini-2.5-pro:generateContent", ["", "", "", "sk-of-gemini-4711", ""]),
        (
            "gpt-3.5-turbo",
            "/openai/deployments/gpt-35-turbo/chat/completions?api-version=2024-06-01",
            ["", "", "sk-of-azure-4711", "", ""],
        ),
        ("l", "/v1/chat/completions", ["", "", "", "", ""]),
    ];
    for (model, path, keys) in expected {
        let answer = ask(&gate, "chat/completions", &chat(model, "hello")).await;
        assert_eq!(text_of(&answer), said("a", 5), "{model}");
        assert_eq!(asked_at(&a), path);
        assert_eq!(fields(&a, &credentials), keys, "{model}");
        assert_eq!(fields(&a, &["host"]), [a.address().to_string()], "{model}");
    }
    stream(&gate, "chat/completions", &streamed(chat("g", "hello"))).await.rest().await;
    assert_eq!(asked_at(&a), "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse");
}

#[tokio::test]
async fn responses_of_azure_name_their_deployment_in_the_body() {
    let a = upstream("a").await;
    a.set_models(&["sol-eu"]);
    for (version, path) in [
        ("", "/openai/v1/responses"),
        (", api_version: \"2024-12-01-preview\"", "/openai/v1/responses"),
        (", api_version: \"2025-03-01-preview\"", "/openai/responses?api-version=2025-03-01-preview"),
    ] {
        let rest = format!("keys: sk-x-4711, deployments: {{ gpt-6-sol: sol-eu }}{version}");
        let gate = ai().provider_with("first", "azure_openai", &a, &rest).model("sol", &["first/gpt-6-sol"]);
        let gate = gate.start().await;
        for body in [responses("sol", "hello"), streamed(responses("sol", "hello"))] {
            let answer = ask(&gate, "responses", &body).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert_eq!((asked_at(&a).as_str(), got(&a)), (path, with(body, json!({"model": "sol-eu"}))));
        }
    }
}

#[tokio::test]
async fn a_provider_gets_the_fields_and_the_place_of_the_key_that_are_configured() {
    let a = upstream("a").await;
    let rest = "keys: sk-x-4711, key_header: x-secret, headers: { openai-organization: org-7 }";
    let gate = ai().provider_with("first", "openai", &a, rest).model("m", &["first"]).start().await;
    let fields_of_client = [("openai-organization", "org-of-the-client"), ("x-secret", "mine")];
    assert_eq!(ask_with(&gate, "chat/completions", &chat("m", "x"), &fields_of_client).await.status, 200);
    assert_eq!(fields(&a, &["x-secret", "openai-organization", "authorization"]), ["sk-x-4711", "org-7", ""]);
}

#[tokio::test]
async fn the_version_of_the_client_goes_before_the_configured_one() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).model("m", &["first"]).start().await;
    let version = [("anthropic-version", "2024-01-01"), ("anthropic-beta", "tools-2024-05-16")];
    assert_eq!(ask_with(&gate, "messages", &messages("m", "hello"), &version).await.status, 200);
    assert_eq!(fields(&a, &["anthropic-version", "anthropic-beta"]), ["2024-01-01", "tools-2024-05-16"]);
}

#[tokio::test]
async fn doors_stand_below_any_prefix_and_a_second_v1_is_passed_over() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).anthropic("second", &a).model("m", &["first"]).model("c", &["second"]).build();
    let gate = gate.route("match: { path: /api/v1/ai/ }, ai: {}").start().await;
    for path in [
        "/v1/chat/completions",
        "/api/v1/ai/chat/completions",
        "/v1/v1/chat/completions",
        "/api/v1/ai/v1/chat/completions",
    ] {
        let answer = gate.ask("POST", path).header("content-type", "application/json").body(chat("m", "x").to_string());
        assert_eq!(answer.send().await.status, 200, "{path}");
        assert_eq!(asked_at(&a), "/v1/chat/completions", "{path}");
    }
    let answer = gate.ask("POST", "/v1/v1/messages").header("content-type", "application/json");
    assert_eq!(answer.body(messages("c", "x").to_string()).send().await.status, 200);
    assert_eq!(gate.get("/api/v1/ai/models").await.status, 200);
}

#[tokio::test]
async fn where_no_door_is_there_is_404_and_a_wrong_method_is_405() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    for path in ["chat", "chat/completions/more", "files", "", "../models"] {
        let answer = gate.ask("POST", &format!("/v1/{path}")).body("{}").send().await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let unknown = gate.ask("POST", "/v1/files").body("{}").send().await.json();
    assert!(unknown["error"]["message"].is_string() && unknown["error"]["code"].is_string(), "{unknown}");
    let wrong = gate.get("/v1/chat/completions").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "POST"));
    assert!(wrong.json()["error"]["code"].is_string(), "{}", wrong.text());
    let wrong = gate.ask("DELETE", "/v1/messages").send().await;
    assert_anthropic(&wrong, 405, "invalid_request_error");
    let wrong = gate.ask("POST", "/v1/models").body("{}").send().await;
    assert_eq!(wrong.status, 405);
    assert_eq!(a.hits(), 0, "no provider was bothered");
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_in_the_words_of_its_door() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).start().await;
    let cases = [
        (r#"{"messages":[]}"#, "MISSING_MODEL", "model"),
        (r#"{"model":"","messages":[]}"#, "MISSING_MODEL", "model"),
        (r#"{"model":"nobody","messages":[]}"#, "UNSUPPORTED_MODEL", "model"),
    ];
    for (body, code, param) in cases {
        let answer = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body);
        let answer = answer.send().await;
        assert_openai(&answer, 400, code);
        assert_eq!(answer.json()["error"]["param"], param, "{body}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error", "{body}");
    }
    for body in ["", "{", "[]", "\"m\"", "null", r#"{"model":5,"messages":[]}"#, r#"{"model":"m"} {}"#, "\u{0}"] {
        let answer = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body);
        let answer = answer.send().await;
        assert_openai(&answer, 400, "INVALID_REQUEST");
    }
    for body in [r#"{"messages":[]}"#, r#"{"model":"nobody","messages":[]}"#, "{"] {
        let answer =
            gate.ask("POST", "/v1/messages").header("content-type", "application/json").body(body).send().await;
        assert_anthropic(&answer, 400, "invalid_request_error");
    }
    assert_eq!(a.hits(), 0, "no provider was bothered");
}

#[tokio::test]
async fn errors_of_our_own_say_whose_they_are() {
    let a = upstream("a").await;
    let ai = ai_of(&a).set("attempts: 1").on_route("limits: [a]").build();
    let gate = ai.section("limits", "{ a: { key: global, tokens: 100/1d } }").start().await;
    let server = |answer: &Answer| (answer.status, answer.header("server").to_owned());
    let of = |status| (status, "sluicegate".to_owned());
    assert_eq!(server(&ask(&gate, "chat/completions", &json!({"messages": []})).await), of(400));
    a.set_fault(Some(Fault::BadHttp));
    assert_eq!(server(&ask(&gate, "chat/completions", &chat("m", "x")).await), of(502));
    a.clear_faults();
    a.set_order("usage", "in=90,out=10");
    let answered = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert_eq!((answered.status, answered.header("server")), (200, ""), "it is the provider's");
    let limited = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert_eq!(server(&limited), of(429));
    let error = &limited.json()["error"];
    assert_eq!((&error["code"], &error["details"]), (&json!("RATE_LIMIT_EXCEEDED"), &Value::Null), "{error}");
    assert!(!limited.header("retry-after").is_empty());
    let gate = ai_of(&a).start().await;
    assert_eq!(gate.ctl(&["drain", "ai:first", &a.address().to_string()]).await.code, Some(0));
    assert_eq!(server(&ask(&gate, "chat/completions", &chat("m", "x")).await), of(503));
}

#[tokio::test]
async fn a_model_whose_only_provider_has_no_key_is_answered_with_503() {
    let a = upstream("a").await;
    let gate = ai()
        .openai("first", &a)
        .provider_with("claude", "anthropic", &a, "keys: [\"${NO_SUCH_KEY:-}\"]")
        .model("gpt-4", &["first"])
        .model("claude-sonnet-4-5", &["claude"])
        .model("both", &["claude", "first"])
        .start()
        .await;
    gate.says("claude").await;
    assert_eq!(ask(&gate, "chat/completions", &chat("gpt-4", "x")).await.status, 200);
    let refused = ask(&gate, "chat/completions", &chat("claude-sonnet-4-5", "x")).await;
    assert_openai(&refused, 503, "NO_AVAILABLE_PROVIDERS");
    assert_anthropic(&ask(&gate, "messages", &messages("claude-sonnet-4-5", "x")).await, 503, "overloaded_error");
    let other = ask(&gate, "chat/completions", &chat("both", "x")).await;
    assert_eq!((other.status, other.header("x-sluicegate-target")), (200, "first/both"), "the other target serves");
}

#[tokio::test]
async fn a_route_may_offer_some_models_only() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).model("n", &["first"]).of_route("models: [m]");
    let gate = gate.build().route("match: { path: /all/ }, ai: true").start().await;
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    assert_openai(&ask(&gate, "chat/completions", &chat("n", "x")).await, 400, "UNSUPPORTED_MODEL");
    let all = gate.ask("POST", "/all/chat/completions").header("content-type", "application/json");
    assert_eq!(all.body(chat("n", "x").to_string()).send().await.status, 200);
    assert_eq!(ids(&gate.get("/v1/models").await), ["m"]);
    assert_eq!(gate.get("/v1/models/n").await.status, 404);
}

/// The ids of a list of models.
fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    assert_eq!(list["object"], "list", "{list}");
    let data = list["data"].as_array().unwrap_or_else(|| panic!("no data in {list}"));
    for model in data {
        assert_eq!(model["object"], "model", "{model}");
        assert!(model["created"].is_u64() && model["owned_by"].is_string(), "{model}");
    }
    let mut ids: Vec<String> = data.iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn the_list_of_models_has_those_of_the_configuration_and_one_can_be_asked_for() {
    let a = upstream("a").await;
    let gate = ai()
        .openai("first", &a)
        .provider_with("off", "openai", &a, "keys: \"${NO_SUCH_KEY:-}\"")
        .model("gpt-4o", &["first"])
        .model("meta/llama-3", &["first"])
        .model("nobody-serves", &["off"])
        .start()
        .await;
    let listed = ids(&gate.get("/v1/models").await);
    assert!(["gpt-4o", "meta/llama-3"].iter().all(|name| listed.iter().any(|one| one == name)), "{listed:?}");
    assert!(!listed.iter().any(|name| name == "nobody-serves"), "its provider has no key: {listed:?}");
    for name in ["gpt-4o", "meta/llama-3"] {
        let one = gate.get(&format!("/v1/models/{name}")).await;
        assert_eq!((one.status, &one.json()["id"]), (200, &json!(name)));
    }
    let missing = gate.get("/v1/models/nobody").await;
    assert_eq!(missing.status, 404);
    assert!(missing.json()["error"]["message"].is_string());
    let of_anthropics = gate.ask("GET", "/v1/models/nobody").header("anthropic-version", "2023-06-01").send().await;
    assert_eq!((of_anthropics.status, &of_anthropics.json()["error"]["type"]), (404, &json!("not_found_error")));
}

#[tokio::test]
async fn without_models_of_its_own_the_gateway_lists_and_serves_those_of_its_providers() {
    let [a, b] = upstreams(["a", "b"]).await;
    a.set_models(&["alpha", "both"]);
    b.set_models(&["beta", "both"]);
    let gate = ai().openai("first", &a).anthropic("second", &b).start().await;
    let mut listed = Vec::new();
    eventually(s(5), "both providers are listed", async || {
        listed = ids(&gate.get("/v1/models").await);
        listed.len() == 3
    })
    .await;
    assert_eq!(listed, ["alpha", "beta", "both"]);
    assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("alpha", "x")).await), said("a", 1));
    assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("beta", "x")).await), said("b", 1));
}

#[tokio::test]
async fn a_wildcard_takes_every_model_that_begins_like_it() {
    let [a, b] = upstreams(["a", "b"]).await;
    a.set_models(&["gpt-5", "gpt-4o", "whisper-1"]);
    b.set_models(&["claude-x", "other", "gpt-4o"]);
    let gate = ai()
        .openai("first", &a)
        .openai("second", &b)
        .model("\"gpt-*\"", &["first"])
        .model("gpt-4o", &["second"])
        .model("\"openai/*\"", &["\"first/*\""])
        .model("\"claude-*\"", &["second"])
        .of_route("models: [\"gpt-*\", \"openai/*\", claude-x]")
        .start()
        .await;
    for (asked, mock, served) in [
        ("gpt-5", &a, "gpt-5"),
        ("gpt-4o", &b, "gpt-4o"),
        ("openai/gpt-4o", &a, "gpt-4o"),
        ("claude-x", &b, "claude-x"),
    ] {
        let answer = ask(&gate, "chat/completions", &chat(asked, "x")).await;
        assert_eq!((answer.status, &got(mock)["model"]), (200, &json!(served)), "{asked}");
    }
    for refused in ["claude-y", "llama", "gpt"] {
        let answer = ask(&gate, "chat/completions", &chat(refused, "x")).await;
        assert_openai(&answer, 400, "UNSUPPORTED_MODEL");
    }
    let listed = ids(&gate.get("/v1/models").await);
    assert_eq!(listed, ["claude-x", "gpt-4o", "gpt-5", "openai/gpt-4o", "openai/gpt-5", "openai/whisper-1"]);
}

#[tokio::test]
async fn a_list_of_models_does_not_wait_for_a_provider_that_does_not_answer() {
    let [a, b] = upstreams(["a", "b"]).await;
    a.set_models(&["alpha"]);
    b.set_fault(Some(Fault::Stall));
    let gate = ai().openai("first", &a).openai("second", &b).start().await;
    let listed = within(s(15), "a list", gate.get("/v1/models")).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    eventually(s(15), "the one that answers is listed", async || {
        ids(&gate.get("/v1/models").await).contains(&"alpha".to_owned())
    })
    .await;
}

#[tokio::test]
async fn anthropics_library_gets_a_list_that_it_can_read() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).model("claude", &["first"]).start().await;
    let list = gate.ask("GET", "/v1/models").header("anthropic-version", "2023-06-01").send().await;
    let list = list.json();
    let one = &list["data"][0];
    assert_eq!((&one["id"], &one["type"]), (&json!("claude"), &json!("model")), "{list}");
    assert!(one["display_name"].is_string() && one["created_at"].is_string(), "{list}");
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("claude"), &json!("claude"))
    );
}

#[tokio::test]
async fn a_caller_without_a_key_is_told_so_in_the_words_of_its_door() {
    let a = upstream("a").await;
    let gate = ai_of(&a).build().section("auth", &callers()).start().await;
    let refused = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["type"]),
        (401, &json!("authentication_error")),
        "{}",
        refused.text()
    );
    assert_anthropic(&ask(&gate, "messages", &messages("m", "x")).await, 401, "authentication_error");
    for (name, value) in
        [("x-api-key", secret_of("team-a")), ("authorization", format!("Bearer {}", secret_of("team-a")))]
    {
        assert_eq!(ask_with(&gate, "chat/completions", &chat("m", "x"), &[(name, &value)]).await.status, 200, "{name}");
        let seen = last_seen(&a);
        let leaked = seen.headers.values().any(|value| String::from_utf8_lossy(value.as_bytes()).contains("sk-sg-"));
        assert!(!leaked, "the caller's key does not leave: {:?}", seen.headers);
    }
}

#[tokio::test]
async fn a_permission_opens_the_doors_of_its_service_only() {
    let a = upstream("a").await;
    let secret = "sk-sg-some-1Hm9xG2hX6";
    let keys = |permissions: &str| {
        format!(
            "{{ api_keys: {{ keys: [{{ id: some, secret: {secret}, permissions: [{permissions}], expires_at: 2098-01-01T00:00:00Z }}] }} }}"
        )
    };
    let doors = [
        ("chat/completions", chat("m", "x")),
        ("responses", responses("m", "x")),
        ("embeddings", json!({"model": "m", "input": "x"})),
        ("rerank", json!({"model": "m", "query": "x", "documents": ["x"]})),
        ("images/generations", json!({"model": "m", "prompt": "x"})),
        ("audio/speech", json!({"model": "m", "input": "x", "voice": "v"})),
    ];
    let opened = async |permissions: &str| {
        let gate = ai_of(&a).build().section("auth", &keys(permissions)).start().await;
        let mut opened = Vec::new();
        for (door, body) in &doors {
            let answer = ask_with(&gate, door, body, &[("x-api-key", secret)]).await;
            match answer.status {
                200 => opened.push(*door),
                403 => assert!(answer.json()["error"]["code"].is_string(), "{door}"),
                other => panic!("{door}: {other} {}", answer.text()),
            }
        }
        assert_eq!(gate.ask("GET", "/v1/models").header("x-api-key", secret).send().await.status, 200);
        let nothing = ask_with(&gate, "assistants", &json!({}), &[("x-api-key", secret)]).await;
        assert_eq!((nothing.status, code_of(&nothing).as_str()), (404, "no_route"), "{permissions}");
        assert_eq!(ask(&gate, "assistants", &json!({})).await.status, 401);
        opened
    };
    assert_eq!(opened("\"chat:*\"").await, ["chat/completions", "responses"]);
    assert_eq!(opened("\"chat:*\", \"embedding:*\"").await, ["chat/completions", "responses", "embeddings"]);
    assert_eq!(opened("\"rerank:*\", \"tts:*\"").await, ["rerank", "audio/speech"]);
    assert_eq!(opened("\"*\"").await.len(), doors.len());
    assert!(opened("read").await.is_empty());
}

#[tokio::test]
async fn models_of_a_pool_are_asked_member_by_member() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .provider_as("gpus", "kind: openai_compatible, pool: vllm")
        .model("llama-3", &["gpus/meta-llama/Llama-3-70b"])
        .build()
        .pool_with("vllm", &[&a, &b], "balance: least_tokens")
        .start()
        .await;
    for _ in 0..20 {
        let answer = ask(&gate, "chat/completions", &chat("llama-3", "x")).await;
        assert_eq!(answer.header("x-sluicegate-target"), "gpus/meta-llama/Llama-3-70b");
    }
    assert!(a.hits() > 0 && b.hits() > 0, "both are asked: {} and {}", a.hits(), b.hits());
    assert_eq!(got(&a)["model"], "meta-llama/Llama-3-70b");
    a.stop().await;
    for _ in 0..4 {
        assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("llama-3", "x")).await), said("b", 1));
    }
}

#[tokio::test]
async fn fields_that_a_route_takes_out_do_not_reach_the_provider() {
    let a = upstream("a").await;
    let gate = ai()
        .anthropic("first", &a)
        .model("m", &["first"])
        .of_route("strip_body_fields: [context_management, x]")
        .on_route("headers: { request: { remove: [anthropic-beta] } }")
        .start()
        .await;
    let body =
        with(messages("m", "x"), json!({"context_management": {"edits": [1, {"x": 2}]}, "metadata": {"x": 1}, "x": 3}));
    let beta = [("anthropic-beta", "context-management-2025-06-27"), ("anthropic-version", "2023-06-01")];
    assert_eq!(ask_with(&gate, "messages", &body, &beta).await.status, 200);
    assert_eq!(got(&a), with(messages("m", "x"), json!({"metadata": {"x": 1}})));
    assert_eq!(fields(&a, &["anthropic-beta", "anthropic-version"]), ["", "2023-06-01"]);
}

#[tokio::test]
async fn the_rules_of_a_route_hold_in_every_dialect_and_never_name_the_key_or_the_address_of_a_provider() {
    let a = upstream("a").await;
    let own = "keys: sk-x-4711, headers: { x-own: provider }";
    let rules = "headers: { request: { \
                 set: { x-team: blue, x-own: route, host: evil, authorization: Bearer evil, x-api-key: evil, api-key: evil, \
                 x-goog-api-key: evil, x-forwarded-for: 192.0.2.1, anthropic-version: 2024-02-02 }, \
                 add: { x-tag: [one, two] }, remove: [user-agent] } }";
    let gate = ai()
        .provider_with("openai", "openai", &a, own)
        .provider_with("anthropic", "anthropic", &a, own)
        .provider_with("gemini", "gemini", &a, own)
        .provider_with("azure", "azure_openai", &a, own)
        .model("o", &["openai"])
        .model("c", &["anthropic"])
        .model("g", &["gemini"])
        .model("z", &["azure"])
        .on_route(rules)
        .start()
        .await;
    let of_client = [("x-team", "red"), ("x-tag", "zero"), ("user-agent", "client"), ("x-forwarded-for", "192.0.2.9")];
    for (model, key, value) in [
        ("o", "authorization", "Bearer sk-x-4711"),
        ("c", "x-api-key", "sk-x-4711"),
        ("g", "x-goog-api-key", "sk-x-4711"),
        ("z", "api-key", "sk-x-4711"),
    ] {
        for (door, body) in [("chat/completions", chat(model, "hello")), ("messages", messages(model, "hello"))] {
            assert_eq!(ask_with(&gate, door, &body, &of_client).await.status, 200, "{model} {door}");
            let got = fields(&a, &[key, "x-team", "x-own", "host", "user-agent", "x-forwarded-for"]);
            let address = a.address().to_string();
            assert_eq!(got, [value, "blue", "provider", &address, "", "192.0.2.1"], "{model} {door}");
            let passes = matches!((model, door), ("o" | "z", "chat/completions") | ("c", "messages"));
            let tags = if passes { "zero, one, two" } else { "one, two" };
            assert_eq!(fields(&a, &["x-tag"]), [tags], "{model} {door}");
            assert_eq!(fields(&a, &["anthropic-version", "content-type"]), ["2024-02-02", "application/json"]);
        }
    }
}

#[tokio::test]
async fn answers_say_who_gave_them_after_how_many_tries_unless_they_are_not_to() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first/other"]).start().await;
    let answer = ask_with(&gate, "chat/completions", &chat("m", "x"), &[("x-request-id", "my-id-1")]).await;
    assert_eq!((answer.header("x-sluicegate-target"), answer.header("x-sluicegate-attempts")), ("first/other", "1"));
    let id = answer.header("x-request-id").to_owned();
    assert!(!id.is_empty() && answer.header("request-id") == id, "{:?}", answer.headers);
    assert_eq!(gate.access_log(1).await[0]["request_id"], id);
    for (door, body) in [("chat/completions", chat("nobody", "x")), ("messages", messages("nobody", "x"))] {
        let refused = ask(&gate, door, &body).await;
        let id = refused.header("x-request-id");
        assert!(refused.status == 400 && !id.is_empty(), "{door}: {}", refused.text());
        assert_eq!(refused.header("request-id"), id, "{door}");
    }
    let gate = ai().openai("first", &a).model("m", &["first"]).set("headers: false").start().await;
    let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("x-sluicegate-")), "{:?}", answer.headers);
    assert!(!answer.header("x-request-id").is_empty());
}

#[tokio::test]
async fn a_body_in_pieces_is_as_good_as_a_whole_one() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let body = chat("m", "hello").to_string();
    let pieces = body.as_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
    let asked = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json").chunks(pieces);
    assert_eq!(text_of(&asked.send().await), said("a", 5));
}

#[tokio::test]
async fn every_door_serves_clients_of_http_2() {
    let a = upstream("a").await;
    let gate = ai_of(&a).build().listener("address: \"{listen}\", http2: true").start().await;
    let client = Client::h2c(gate.address());
    let asked = |body: Value| {
        client.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body.to_string())
    };
    assert_eq!(text_of(&asked(chat("m", "hello")).send().await), said("a", 5));
    let mut stream = Events::new(asked(streamed(chat("m", "hello"))).stream().await);
    let told = chat_told(&stream.rest().await);
    assert_eq!((told.text, told.ended), (said("a", 5), true));
}

#[tokio::test]
async fn who_comes_to_no_door_hears_in_its_own_dialect_which_there_are() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let anthropic = ask_with(
        &gate,
        "messages/batches",
        &json!({}),
        &[("anthropic-version", "2023-06-01"), ("accept", "text/html")],
    )
    .await;
    let body = anthropic.json();
    assert_eq!((anthropic.status, &body["type"]), (404, &json!("error")), "{body}");
    assert_eq!(body["error"]["type"], "not_found_error", "{body}");
    assert_eq!(body["request_id"], anthropic.header("request-id"));
    let openai = ask(&gate, "assistants", &json!({})).await;
    assert_eq!((openai.status, code_of(&openai).as_str()), (404, "no_route"));
    for body in [body, openai.json()] {
        let message = body["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(
            message.starts_with("nothing is served at this address: this gateway serves chat/completions, "),
            "{message}"
        );
        assert!(message.ends_with("models and models/NAME below /v1/"), "{message}");
    }
    // The base address of an SDK that brings a version of its own.
    assert_eq!(ask(&gate, "v1/chat/completions", &chat("m", "x")).await.status, 200);
    let root = gateway().section("ai", &ai_of(&a).section()).route("name: ai, match: { path: / }, ai: true");
    let twice = root.start().await.post("/v1/v1/chat/completions", "{}").await;
    assert_eq!(code_of(&twice), "no_route");
    assert!(twice.text().contains("below / or /v1/"), "{}", twice.text());
}

#[tokio::test]
async fn clients_of_azure_name_the_model_in_the_address_and_are_served_by_whoever_has_it() {
    let (a, b) = (upstream("a").await, upstream("b").await);
    let models = ai().openai("a", &a).anthropic("b", &b).model("small", &["a/of-a"]).model("large", &["b/of-b"]);
    let gate = models.build().route("match: { path: /openai/ }, ai: true").start().await;
    let at = |name: &str| format!("/openai/deployments/{name}/chat/completions?api-version=2024-10-21");
    let unnamed = json!({"messages": [{"role": "user", "content": "hello"}]});
    for body in
        [&unnamed, &with(unnamed.clone(), json!({"model": null})), &chat("large", "hello"), &chat("of-a", "hello")]
    {
        let answer = gate.client().post(&at("small"), body.to_string()).await;
        assert_eq!(text_of(&answer), said("a", 5), "the address counts: {body}");
        assert_eq!((got(&a)["model"].as_str(), asked_at(&a).as_str()), (Some("of-a"), "/v1/chat/completions"));
    }
    let answer = gate.client().post(&at("large"), unnamed.to_string()).await;
    assert_eq!((text_of(&answer), answer.json()["model"].as_str()), (said("b", 5), Some("of-b")));
    let answer = gate.client().post(&at("nobody"), chat("small", "hello").to_string()).await;
    assert_openai(&answer, 400, "UNSUPPORTED_MODEL");
    let at_root = gate.client().post("/v1/openai/deployments/small/embeddings", r#"{"input":"hello"}"#).await;
    assert_eq!((at_root.status, got(&a)["model"].as_str()), (200, Some("of-a")), "{}", at_root.text());
}

#[tokio::test]
async fn moderations_without_a_model_ask_the_one_that_openai_asks() {
    let a = upstream("a").await;
    let usual = "omni-moderation-latest";
    let gate = ai().openai("a", &a).model(usual, &["a"]).model("other", &["a"]).start().await;
    let unnamed = json!({"input": "hello"});
    ask(&gate, "moderations", &unnamed).await;
    assert_eq!(got(&a), unnamed, "a provider knows it, too: the body passes as it came");
    ask(&gate, "moderations", &with(unnamed.clone(), json!({"model": "other"}))).await;
    assert_eq!(got(&a)["model"], "other");
    let mapped = ai().openai("a", &a).model(usual, &["a/of-a"]).start().await;
    ask(&mapped, "moderations", &unnamed).await;
    assert_eq!(got(&a), with(unnamed.clone(), json!({"model": "of-a"})));
    assert_openai(&ask(&gate, "embeddings", &unnamed).await, 400, "MISSING_MODEL");
}

#[tokio::test]
async fn what_was_read_as_json_is_called_so_to_the_provider_whatever_its_client_called_it() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let asked = async |kind: &str| {
        let ask = gate.ask("POST", "/v1/chat/completions").header("content-type", kind);
        assert_eq!(ask.body(chat("m", "hello").to_string()).send().await.status, 200);
        fields(&a, &["content-type"]).remove(0)
    };
    for kind in ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8"] {
        assert_eq!(asked(kind).await, "application/json");
    }
    assert_eq!(asked("application/json; charset=utf-8").await, "application/json; charset=utf-8");
}

#[tokio::test]
async fn members_that_are_null_say_nothing_also_to_a_provider_of_another_dialect() {
    let a = upstream("a").await;
    let gate = ai().anthropic("a", &a).model("m", &["a"]).start().await;
    let with_unknown = |value: Value| with(chat("m", "hello"), json!({"foo": value, "seed": null}));
    assert_eq!(text_of(&ask(&gate, "chat/completions", &with_unknown(Value::Null)).await), said("a", 5));
    let refused = ask(&gate, "chat/completions", &with_unknown(json!(1))).await;
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("foo")), "{}", refused.text());
}
