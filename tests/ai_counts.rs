//! How many tokens a provider says it used, in forms that few write.

#[path = "support/harness.rs"]
mod support;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use support::ai::*;
use support::*;

/// What every provider of [`answered_by_all`] answers next.
#[derive(Clone, Default)]
struct Next(Arc<Mutex<(&'static str, String)>>);

impl Next {
    fn say(&self, kind: &'static str, body: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (kind, body.to_owned());
    }
}

/// A gateway with a provider and a model of each kind, by the kind's name.
async fn answered_by_all() -> (Gateway, Next, Origin) {
    let next = Next::default();
    let said = next.clone();
    let backend = origin(move |_| {
        let (kind, body) = said.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move { given(&[("content-type", kind)], body) }
    })
    .await;
    let kinds = ["openai", "anthropic", "gemini"];
    let ai = kinds
        .into_iter()
        .fold(ai(), |ai, kind| ai.provider_at(kind, kind, backend.address(), "keys: sk-x-4711").model(kind, &[kind]));
    (ai.start().await, next, backend)
}

/// An answer that says `Hi` of each kind, whole and as a stream, that has this number of tokens.
fn answers_with(number: &str) -> [(&'static str, String, String); 3] {
    let openai = format!(
        r#""usage":{{"prompt_tokens":7,"completion_tokens":{number},"total_tokens":{number},"prompt_tokens_details":{{"cached_tokens":{number}}},"completion_tokens_details":{{"reasoning_tokens":{number}}}}}"#
    );
    let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
    let chat_whole = format!(
        r#"{{"id":"1","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hi"}},"finish_reason":"stop"}}],{openai}}}"#
    );
    let chat_stream = [
        chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]"#),
        chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#),
        chunk(&format!(r#""choices":[],{openai}"#)),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let claude = format!(
        r#""usage":{{"input_tokens":7,"output_tokens":{number},"cache_read_input_tokens":{number},"output_tokens_details":{{"thinking_tokens":{number}}}}}"#
    );
    let claude_whole = format!(
        r#"{{"id":"1","type":"message","role":"assistant","model":"m","content":[{{"type":"text","text":"Hi"}}],"stop_reason":"end_turn",{claude}}}"#
    );
    let claude_stream = format!(
        "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"1\",\"model\":\"m\",\"usage\":{{\"input_tokens\":7,\"output_tokens\":0}}}}}}\n\n\
             event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"\"}}}}\n\n\
             event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"Hi\"}}}}\n\n\
             event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
             event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},{claude}}}\n\n\
             event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    );
    let gemini = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"Hi"}}]}},"finishReason":"STOP"}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":{number},"cachedContentTokenCount":{number}}}}}"#
    );
    let gemini_stream = format!("data: {gemini}\n\n");
    [("openai", chat_whole, chat_stream), ("anthropic", claude_whole, claude_stream), ("gemini", gemini, gemini_stream)]
}

#[tokio::test]
async fn numbers_of_tokens_in_odd_forms_count_where_they_are_some_and_never_break_an_answer() {
    let (gate, next, _backend) = answered_by_all().await;
    let mut expected = Vec::new();
    // An answer of one token, where it is counted here.
    for (number, charged, estimated) in [
        ("5.0", 5, false),
        (r#""5""#, 5, false),
        ("5e0", 5, false),
        ("-500", 1, true),
        ("1e30", 1, true),
        ("5.5", 1, true),
        ("null", 1, true),
        ("[5]", 1, true),
        (r#"{"n":5}"#, 1, true),
    ] {
        for (kind, whole, events_of) in &answers_with(number) {
            for (door, streams) in
                [("chat/completions", false), ("chat/completions", true), ("messages", false), ("messages", true)]
            {
                let what = format!("{number} of {kind} at {door}, {streams}");
                let body = if streams { events_of } else { whole };
                let typed = if streams { "text/event-stream" } else { "application/json" };
                next.say(typed, body);
                let body = if door == "messages" { messages(kind, "x") } else { chat(kind, "x") };
                let body = if streams { streamed(body) } else { body };
                let answer = ask(&gate, door, &body).await;
                assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                let (text, ended) = match (door, streams) {
                    ("messages", true) => {
                        let told = messages_told(&events(answer.text()));
                        (told.text, told.ended)
                    }
                    (_, true) => {
                        let told = chat_told(&events(answer.text()));
                        (told.text, told.ended)
                    }
                    ("messages", false) => {
                        (answer.json()["content"][0]["text"].as_str().unwrap_or_default().to_owned(), true)
                    }
                    (_, false) => (text_of(&answer), true),
                };
                assert_eq!((text.as_str(), ended), ("Hi", true), "{what}: {}", answer.text());
                expected.push((what, charged, estimated));
            }
        }
    }
    let lines = gate.access_log(expected.len()).await;
    for (line, (what, charged, estimated)) in lines.iter().zip(expected) {
        assert_eq!(line["tokens_output"], charged, "{what}: {line}");
        assert_eq!(line["tokens_estimated"] == true, estimated, "{what}: {line}");
        assert_eq!(line["broken"], Value::Null, "{what}: {line}");
    }
}

#[tokio::test]
async fn a_number_of_the_prompts_tokens_that_is_none_or_zero_is_counted_here() {
    let (gate, next, _backend) = answered_by_all().await;
    let cases = [("5.0", false), ("0", true), ("-500", true), ("null", true)];
    for (number, _) in cases {
        let choice = r#"{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}"#;
        let usage = format!(r#"{{"prompt_tokens":{number},"completion_tokens":2}}"#);
        next.say("application/json", &format!(r#"{{"id":"1","model":"m","choices":[{choice}],"usage":{usage}}}"#));
        assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("openai", &"word ".repeat(100))).await), "Hi");
    }
    let lines = gate.access_log(cases.len()).await;
    for (line, (number, estimated)) in lines.iter().zip(cases) {
        assert_eq!(line["tokens_estimated"] == true, estimated, "{number}: {line}");
        let input = line["tokens_input"].as_u64().unwrap_or_default();
        assert_eq!(input > 100, estimated, "{number}: {line}");
    }
}

#[tokio::test]
async fn no_prompt_is_free_because_its_provider_says_so() {
    let (gate, next, _backend) = answered_by_all().await;
    let long = "word ".repeat(1_000);
    let openai = r#""usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;
    let counted = r#""usage":{"input_tokens":0,"output_tokens":0,"total_tokens":0}"#;
    let claude = r#""usage":{"input_tokens":0,"output_tokens":0}"#;
    let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
    let choice = r#"{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}"#;
    let delta = r#""choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]"#;
    let item = r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}"#;
    let block = r#""type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn""#;
    let candidate = r#""candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]"#;
    let (whole, events) = ("application/json", "text/event-stream");
    let cases = [
        ("chat/completions", whole, chat("openai", &long), format!(r#"{{"id":"1","choices":[{choice}],{openai}}}"#)),
        (
            "chat/completions",
            events,
            streamed(chat("openai", &long)),
            [chunk(delta), chunk(&format!(r#""choices":[],{openai}"#)), "data: [DONE]\n\n".to_owned()].concat(),
        ),
        (
            "responses",
            whole,
            responses("openai", &long),
            format!(r#"{{"id":"1","status":"completed","output":[{item}],{counted}}}"#),
        ),
        ("messages", whole, messages("anthropic", &long), format!(r#"{{"id":"1",{block},{claude}}}"#)),
        (
            "embeddings",
            whole,
            serde_json::json!({"model": "openai", "input": long}),
            format!(r#"{{"data":[{{"index":0,"embedding":[0.5]}}],{openai}}}"#),
        ),
        (
            "chat/completions",
            whole,
            chat("gemini", &long),
            format!(r#"{{{candidate},"usageMetadata":{{"promptTokenCount":0,"candidatesTokenCount":0}}}}"#),
        ),
    ];
    let count = cases.len();
    for (door, kind, body, said) in cases {
        next.say(kind, &said);
        let answer = ask(&gate, door, &body).await;
        assert_eq!(answer.status, 200, "{door}: {}", answer.text());
    }
    for line in gate.access_log(count).await {
        assert!(line["tokens_input"].as_u64().unwrap_or_default() >= 1_250, "{line}");
        assert_eq!(line["tokens_estimated"], true, "{line}");
    }
}
