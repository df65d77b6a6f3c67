//! Answers that are cut off, empty, or have what the client's dialect has no words for.

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// A member that answers everything so.
async fn answering(kind: &'static str, body: impl Into<String>) -> Origin {
    let body: String = body.into();
    origin(move |_| {
        let body = body.clone();
        async move { given(&[("content-type", kind)], body) }
    })
    .await
}

/// A gateway with one provider of this kind behind `backend`, whose breaker opens at the first failure, and a limit.
async fn in_front_of(backend: &Origin, kind: &str) -> Gateway {
    let ai = ai().provider_at("first", kind, backend.address(), "keys: sk-x-4711").model("m", &["first"]);
    limited(ai).start().await
}

fn limited(ai: Ai) -> Builder {
    let ai = ai.set("breaker: { error_threshold: 1%, min_requests: 1 }").on_route("limits: [a]");
    ai.build().section("limits", "{ a: { key: global, tokens: 1000000/1d } }")
}

/// A whole answer of OpenAI's that used 20 and 9 tokens.
fn openai(choices: &Value) -> String {
    json!({
        "id": "1", "object": "chat.completion", "model": "m", "choices": choices,
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
    })
    .to_string()
}

/// One of Anthropic's.
fn claude(content: &Value) -> String {
    json!({
        "id": "1", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "end_turn",
        "usage": {"input_tokens": 20, "output_tokens": 9},
    })
    .to_string()
}

/// One of Gemini's.
fn gemini(candidate: &Value) -> String {
    json!({"candidates": [candidate], "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 9}}).to_string()
}

fn call(arguments: &str, finish: &str) -> Value {
    let call = json!({"id": "c", "type": "function", "function": {"name": "get", "arguments": arguments}});
    json!([{"index": 0, "message": {"role": "assistant", "content": null, "tool_calls": [call]}, "finish_reason": finish}])
}

#[tokio::test]
async fn a_call_of_a_tool_that_is_cut_off_by_its_length_is_told_with_an_empty_input() {
    let backend = answering(JSON, openai(&call(r#"{"a": "trunc"#, "length"))).await;
    let gate = in_front_of(&backend, "openai").await;
    for asked in 1..=6 {
        let answer = ask(&gate, "messages", &messages("m", "x")).await;
        assert_eq!((answer.status, backend.hits()), (200, asked), "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["stop_reason"], "max_tokens", "{body}");
        assert_eq!(body["content"], json!([{"type": "tool_use", "id": "c", "name": "get", "input": {}}]), "{body}");
    }
    assert_eq!(settled(&gate).await, 6 * 29);
}

#[tokio::test]
async fn a_stream_that_is_cut_off_in_a_call_is_a_whole_answer_with_an_empty_input_where_a_cache_has_it() {
    let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
    let backend = answering(
        EVENTS,
        [
            chunk(
                r#""choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"get","arguments":"{\"a\": \"tru"}}]}}]"#,
            ),
            chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"length"}]"#),
            "data: [DONE]\n\n".to_owned(),
        ]
        .concat(),
    )
    .await;
    let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]);
    let gate = ai.on_route("cache: kept").build().section("caches", "{ kept: { ttl: 1h } }").start().await;
    let answer = ask(&gate, "messages", &streamed(messages("m", "x"))).await;
    assert_eq!(messages_told(&events(answer.text())).finish.as_deref(), Some("max_tokens"), "{}", answer.text());
    let answer = ask(&gate, "messages", &messages("m", "x")).await;
    assert_eq!((answer.status, answer.header("x-cache-status")), (200, "HIT"), "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["content"][0]["input"], &body["stop_reason"]), (&json!({}), &json!("max_tokens")), "{body}");
}

#[tokio::test]
async fn an_answer_without_words_is_an_empty_one() {
    for (kind, body) in [
        ("openai", openai(&json!([]))),
        ("gemini", gemini(&json!({"finishReason": "MALFORMED_FUNCTION_CALL"}))),
        ("gemini", gemini(&json!({"content": {"parts": []}, "finishReason": "UNEXPECTED_TOOL_CALL"}))),
    ] {
        let backend = answering(JSON, body).await;
        let gate = in_front_of(&backend, kind).await;
        let answer = ask(&gate, "messages", &messages("m", "x")).await;
        assert_eq!((answer.status, backend.hits()), (200, 1), "{}", answer.text());
        let body = answer.json();
        assert_eq!((&body["content"], &body["stop_reason"]), (&json!([]), &json!("end_turn")), "{body}");
        assert_eq!(settled(&gate).await, 29, "{kind}");
    }
}

#[tokio::test]
async fn an_answer_that_has_no_words_in_the_clients_dialect_is_refused_once_and_charged() {
    let picture = json!({"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}, "finishReason": "STOP"});
    let code = json!({"content": {"parts": [{"executableCode": {"language": "PYTHON", "code": "1"}}]}, "finishReason": "STOP"});
    let searched = json!([{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]);
    for (kind, door, body) in [
        ("openai", "messages", openai(&call("[1]", "tool_calls"))),
        ("openai", "messages", openai(&call("{\"a\"", "stop"))),
        (
            "openai",
            "messages",
            openai(&json!([{"message": {"content": [{"type": "thinking"}]}, "finish_reason": "stop"}])),
        ),
        ("gemini", "messages", gemini(&picture)),
        ("gemini", "chat/completions", gemini(&code)),
        ("anthropic", "chat/completions", claude(&searched)),
    ] {
        let backend = answering(JSON, &body).await;
        let gate = in_front_of(&backend, kind).await;
        let asked = if door == "messages" { messages("m", "x") } else { chat("m", "x") };
        for times in 1..=3 {
            let answer = ask(&gate, door, &asked).await;
            assert_eq!((answer.status, backend.hits()), (502, times), "{kind} {body}: {}", answer.text());
            assert_eq!(answer.header("x-should-retry"), "false", "each try is charged, and ends the same way");
            let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains("cannot be told in this dialect"), "{kind}: {message}");
        }
        assert_eq!(settled(&gate).await, 3 * 29, "{kind} {body}");
        let line = gate.access_log(3).await.remove(2);
        assert_eq!((&line["tokens_input"], &line["tokens_output"]), (&json!(20), &json!(9)), "{line}");
        assert_eq!(line["tries"][0]["outcome"], "invalid", "{line}");
    }
}

#[tokio::test]
async fn a_stream_that_has_no_words_in_the_clients_dialect_is_refused_once_and_charged() {
    let event = |name: &str, rest: &str| format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n");
    let start =
        event("message_start", r#","message":{"id":"1","model":"m","usage":{"input_tokens":20,"output_tokens":9}}"#);
    let searches = event(
        "content_block_start",
        r#","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}"#,
    );
    let text = event("content_block_start", r#","index":0,"content_block":{"type":"text","text":"Hi"}"#);
    for (body, begun) in [([start.clone(), searches.clone()].concat(), false), ([start, text, searches].concat(), true)]
    {
        let backend = answering(EVENTS, body).await;
        let gate = in_front_of(&backend, "anthropic").await;
        for times in 1..=3 {
            let answer = ask(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
            assert_eq!((answer.status, backend.hits()), (if begun { 200 } else { 502 }, times), "{}", answer.text());
            assert!(answer.text().contains("cannot be told in this dialect"), "{}", answer.text());
        }
        assert_eq!(settled(&gate).await, 3 * 29, "{begun}");
    }
}

#[tokio::test]
async fn what_an_answer_that_was_refused_has_used_is_charged_beside_that_of_the_next_target() {
    let first = answering(JSON, openai(&call("[1]", "tool_calls"))).await;
    let said = json!([{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]);
    let second = answering(JSON, openai(&said)).await;
    let ai = ai()
        .provider_at("first", "openai", first.address(), "keys: [sk-x-1, sk-x-2]")
        .provider_at("second", "openai", second.address(), "keys: sk-x-3")
        .model("m", &["first", "second"]);
    let gate = limited(ai).start().await;
    let answer = ask(&gate, "messages", &messages("m", "x")).await;
    assert_eq!((answer.status, first.hits(), second.hits()), (200, 1, 1), "{}", answer.text());
    assert_eq!(settled(&gate).await, 2 * 29);
}

#[tokio::test]
async fn a_provider_whose_answers_are_none_still_fails() {
    for body in [r#"{"id":"1"}"#, r#"{"id":"1","choices":[]}"#, r#"{"choices":[{}]}"#] {
        let backend = answering(JSON, body).await;
        let gate = in_front_of(&backend, "openai").await;
        let answer = ask(&gate, "messages", &messages("m", "x")).await;
        assert_eq!(answer.status, 502, "{body}: {}", answer.text());
        let hits = backend.hits();
        assert_eq!(ask(&gate, "messages", &messages("m", "x")).await.status, 503, "its breaker is open");
        assert_eq!((backend.hits(), settled(&gate).await), (hits, 0), "{body}");
    }
}
