//! Streams with their end and without it: what a client is told, what the cache keeps, and what is told again in another form.

#[path = "support/harness.rs"]
mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use support::ai::*;
use support::*;
use tokio::sync::Notify;

/// A gateway with a cache whose model `m` is of a provider of `kind` that says `events` to who streams, and `whole` to others.
async fn gateway(kind: &str, events: Vec<String>, whole: Value) -> (Gateway, Origin) {
    let provider = origin(move |came: Came| {
        let asked: Value = serde_json::from_slice(&came.body).unwrap_or_default();
        let streams = asked["stream"] == true || came.path.contains("streamGenerateContent");
        let (kind, body) = match streams {
            true => ("text/event-stream", events.concat()),
            false => ("application/json", whole.to_string()),
        };
        async move { given(&[("content-type", kind)], body) }
    })
    .await;
    let ai = ai().set("attempts: 1").set("breaker: off").model("m", &["first/claude-sonnet-4-5"]);
    let ai = ai.provider_at("first", kind, provider.address(), "keys: sk-x-4711").on_route("cache: answers");
    let gate = ai.build().section("caches", "{ answers: { ttl: 1d, max_entries: 1000, max_bytes: 64MiB } }").start();
    (gate.await, provider)
}

fn data(event: &Value) -> String {
    match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    }
}

fn of_chat() -> Vec<String> {
    let chunk =
        |choices: Value| data(&json!({"id": "c", "object": "chat.completion.chunk", "model": "x", "choices": choices}));
    vec![
        chunk(json!([{"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": null}])),
        chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])),
        "data: [DONE]\n\n".to_owned(),
    ]
}

fn of_messages() -> Vec<String> {
    let delta = |index, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let usage = json!({"input_tokens": 7, "output_tokens": 1});
    let events = [
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": usage}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "ok"})),
        delta(0, json!({"type": "signature_delta", "signature": "SIG"})),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        delta(1, json!({"type": "text_delta", "text": "Hi"})),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    events.iter().map(data).collect()
}

fn of_responses() -> Vec<String> {
    let events = [
        json!({"type": "response.created", "response": {"id": "r", "object": "response", "status": "in_progress", "output": []}}),
        json!({"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0, "delta": "Hi"}),
        json!({"type": "response.output_text.done", "item_id": "i", "output_index": 0, "content_index": 0, "text": "Hi"}),
        json!({"type": "response.completed", "response": {"id": "r", "object": "response", "status": "completed", "output": []}}),
    ];
    events.iter().map(data).collect()
}

fn whole_message() -> Value {
    json!({"id": "w", "type": "message", "role": "assistant", "model": "x", "content": [{"type": "text", "text": "fresh"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 7, "output_tokens": 5}})
}

fn whole_chat() -> Value {
    let message = json!({"role": "assistant", "content": "fresh"});
    json!({"id": "w", "object": "chat.completion", "model": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
}

fn stateless(text: &str) -> Value {
    with(streamed(responses("m", text)), json!({"store": false}))
}

#[tokio::test]
async fn a_stream_that_ends_without_its_last_event_is_broken_whoever_ended_it() {
    for (kind, door, all, asked, missing) in [
        ("anthropic", "messages", of_messages(), streamed(messages("m", "x")), 1),
        ("anthropic", "messages", of_messages(), streamed(messages("m", "x")), 2),
        ("anthropic", "chat/completions", of_messages(), streamed(chat("m", "x")), 1),
        ("openai", "responses", of_responses(), stateless("x"), 1),
        ("openai", "chat/completions", of_chat(), streamed(chat("m", "x")), 2),
    ] {
        let some = all[..all.len() - missing].to_vec();
        let (gate, _provider) = gateway(kind, some, Value::Null).await;
        let answer = ask(&gate, door, &asked).await;
        assert!(answer.text().contains("Hi"), "{door}: {}", answer.text());
        assert!(answer.text().contains("connection lost"), "{door} without {missing}: {}", answer.text());
        let line = gate.access_log(1).await.remove(0);
        assert_eq!((&line["termination"], &line["broken"]), (&json!("upstream_reset"), &json!(true)), "{door}: {line}");
    }
}

#[tokio::test]
async fn only_a_stream_with_its_last_event_is_kept() {
    for (kind, door, all, asked, missing, kept) in [
        ("anthropic", "messages", of_messages(), streamed(messages("m", "x")), 0, true),
        ("anthropic", "messages", of_messages(), streamed(messages("m", "x")), 1, false),
        ("openai", "responses", of_responses(), stateless("x"), 0, true),
        ("openai", "responses", of_responses(), stateless("x"), 1, false),
        ("openai", "chat/completions", of_chat(), streamed(chat("m", "x")), 0, true),
        ("openai", "chat/completions", of_chat(), streamed(chat("m", "x")), 1, false),
    ] {
        let some = all[..all.len() - missing].to_vec();
        let (gate, provider) = gateway(kind, some, whole_chat()).await;
        let first = ask(&gate, door, &asked).await;
        assert_eq!(first.status, 200);
        if door == "chat/completions" {
            assert!(!first.text().contains("error"), "each choice has its reason: {}", first.text());
        }
        let again = ask(&gate, door, &asked).await;
        assert_eq!(again.header("x-cache-status"), if kept { "HIT" } else { "MISS" }, "{door} without {missing}");
        assert_eq!(provider.came().len(), if kept { 1 } else { 2 });
    }
}

#[tokio::test]
async fn what_is_kept_and_cannot_be_told_in_the_form_that_is_asked_for_is_asked_for_anew() {
    let delta = json!({"type": "content_block_delta", "index": 1, "delta": {"type": "unheard_delta", "x": 1}});
    let mut all = of_messages();
    all.insert(8, data(&delta));
    let (gate, provider) = gateway("anthropic", all, whole_message()).await;
    assert_eq!(ask(&gate, "messages", &streamed(messages("m", "x"))).await.status, 200);
    for (expected, came) in [("MISS", 2), ("HIT", 2)] {
        let answer = ask(&gate, "messages", &messages("m", "x")).await;
        assert_eq!((answer.status, answer.header("x-cache-status")), (200, expected), "{}", answer.text());
        assert_eq!(answer.json()["content"][0]["text"], "fresh");
        assert_eq!(provider.came().len(), came);
    }
}

#[tokio::test]
async fn who_joins_an_answer_that_cannot_be_told_in_its_form_gets_one_of_its_own() {
    let mut all = of_messages();
    all.insert(
        8,
        data(&json!({"type": "content_block_delta", "index": 1, "delta": {"type": "unheard_delta", "x": 1}})),
    );
    let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (going, came) = (Arc::clone(&go), Arc::clone(&gone));
    let provider = origin(move |asked: Came| {
        let (all, going, came) = (all.concat(), Arc::clone(&going), Arc::clone(&came));
        async move {
            if !String::from_utf8_lossy(&asked.body).contains("\"stream\":true") {
                return given(&[("content-type", "application/json")], whole_message().to_string());
            }
            came.notify_one();
            going.notified().await;
            given(&[("content-type", "text/event-stream")], all)
        }
    })
    .await;
    let ai = ai().provider_at("first", "anthropic", provider.address(), "keys: sk-x-4711").model("m", &["first/x"]);
    let gate = ai
        .on_route("cache: answers")
        .build()
        .section("caches", "{ answers: { ttl: 1d, max_entries: 9, max_bytes: 1MiB } }");
    let gate = gate.start().await;
    let (first, second) = (streamed(messages("m", "x")), messages("m", "x"));
    let leads = ask(&gate, "messages", &first);
    let follows = async {
        gone.notified().await;
        let releasing = async {
            eventually(s(5), "both are under way", async || gate.metric("sluicegate_requests_in_flight").await == 2.0)
                .await;
            go.notify_one();
        };
        futures::join!(ask(&gate, "messages", &second), releasing).0
    };
    let (led, followed) = futures::join!(leads, follows);
    assert_eq!((led.status, followed.status), (200, 200), "{}", followed.text());
    assert_eq!(followed.json()["content"][0]["text"], "fresh");
}

#[tokio::test]
async fn a_whole_answer_made_of_a_stream_in_another_dialect_is_as_the_direct_one() {
    let usage = json!({"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12});
    let part = |part: Value, reason: Value| {
        let candidate = json!({"content": {"role": "model", "parts": [part]}, "finishReason": reason});
        data(&json!({"candidates": [candidate], "usageMetadata": usage, "responseId": "m", "modelVersion": "x"}))
    };
    let of_gemini = vec![part(json!({"text": "H"}), Value::Null), part(json!({"text": "i"}), json!("STOP"))];
    for (kind, all) in [("anthropic", of_messages()), ("gemini", of_gemini)] {
        let (gate, provider) = gateway(kind, all, Value::Null).await;
        let first = ask(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
        assert!(!first.text().contains("usage"), "who did not ask is not told: {}", first.text());
        let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
        assert_eq!((answer.status, answer.header("x-cache-status")), (200, "HIT"), "{}", answer.text());
        let whole = answer.json();
        let message = &whole["choices"][0]["message"];
        assert_eq!(
            (&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"]),
            (&json!(7), &json!(5)),
            "{whole}"
        );
        assert_eq!((&message["content"], message.get("refusal")), (&json!("Hi"), Some(&Value::Null)), "{whole}");
        if kind == "anthropic" {
            let block = json!({"type": "thinking", "thinking": "hm ok", "signature": "SIG"});
            assert_eq!(
                (&message["thinking_blocks"], &message["reasoning_content"]),
                (&json!([block]), &json!("hm ok")),
                "{whole}"
            );
        }
        let asked = with(streamed(chat("m", "x")), json!({"stream_options": {"include_usage": true}}));
        let told = chat_told(&events(ask(&gate, "chat/completions", &asked).await.text()));
        assert_eq!((told.text.as_str(), told.ended, &told.usage.unwrap()["total_tokens"]), ("Hi", true, &json!(12)));
        assert_eq!(provider.came().len(), 1);
    }
}

/// What is charged for an answer of `provider` to `asked` that nobody counted.
async fn uncounted(door: &str, asked: &Value, kind: &'static str, body: String) -> Value {
    let provider = origin(move |_| {
        let body = body.clone();
        async move { given(&[("content-type", kind)], body) }
    })
    .await;
    let ai =
        ai().provider_at("first", "openai", provider.address(), "keys: sk-x-4711").model("m", &["first/gpt-audio"]);
    let gate = ai.start().await;
    let answer = ask(&gate, door, asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    gate.access_log(1).await.remove(0)
}

#[tokio::test]
async fn sound_and_pictures_that_no_provider_counts_are_charged_as_what_they_are() {
    let sound = json!({"id": "a", "data": "A".repeat(400_000), "transcript": "hello ".repeat(100)});
    let asked =
        with(chat("m", "x"), json!({"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "pcm16"}}));
    let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": null, "audio": sound}, "finish_reason": "stop"}]});
    let line = uncounted("chat/completions", &asked, "application/json", whole.to_string()).await;
    // 300,000 bytes of sound, and 600 letters.
    assert_eq!((&line["tokens_output"], &line["tokens_estimated"]), (&json!(300 + 150), &json!(true)), "{line}");

    let chunk = |delta: Value, reason: Value| {
        data(&json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}))
    };
    let stream =
        [chunk(json!({"audio": sound}), Value::Null), chunk(json!({}), json!("stop")), "data: [DONE]\n\n".to_owned()];
    let line = uncounted("chat/completions", &streamed(asked), "text/event-stream", stream.concat()).await;
    assert_eq!(line["tokens_output"], 450, "{line}");

    let picture = "A".repeat(40_000);
    let item = json!({"type": "image_generation_call", "id": "i", "status": "completed", "result": picture});
    let response = |output: Value| json!({"id": "r", "object": "response", "status": "completed", "output": output});
    let partial = json!({"type": "response.image_generation_call.partial_image", "partial_image_index": 0, "partial_image_b64": picture});
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let created = data(&json!({"type": "response.created", "response": response(json!([]))}));
    let completed = |output| data(&json!({"type": "response.completed", "response": response(output)}));
    for events in
        [vec![data(&partial), completed(json!([]))], vec![data(&partial), data(&done), completed(json!([item]))]]
    {
        let stream = created.clone() + &events.concat();
        let line = uncounted("responses", &streamed(responses("m", "x")), "text/event-stream", stream).await;
        assert_eq!(line["tokens_output"], 4_160, "{line}");
    }
    let line =
        uncounted("responses", &responses("m", "x"), "application/json", response(json!([item])).to_string()).await;
    assert_eq!(line["tokens_output"], 4_160, "{line}");
}

#[tokio::test]
async fn a_whole_answer_is_turned_into_a_stream_at_what_it_weighs() {
    // Of each 14 bytes a member of a kind that nobody knows is made.
    let odd = format!("[{}0]", "{\"a\":{\"b\":0}},".repeat(300_000));
    let choice = |index: usize| {
        let message = json!({"role": "assistant", "content": "Hi"});
        json!({"index": index, "message": message, "finish_reason": "stop"})
    };
    let choices: Vec<Value> = (0..8).map(choice).collect();
    let whole = json!({"id": "w", "object": "chat.completion", "model": "x", "choices": choices}).to_string();
    let body = format!("{},\"odd\":{odd}}}", whole.strip_suffix('}').unwrap());
    let length = body.len() as u64;
    let provider = origin(move |_| {
        let body = body.clone();
        async move { given(&[("content-type", "application/json")], body) }
    })
    .await;
    let ai = ai().provider_at("first", "openai", provider.address(), "keys: sk-x-4711").model("m", &["first"]);
    let gate = ai.start().await;
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    let before = gate.peak_memory();
    let answer = ask(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    assert_eq!((answer.status, answer.text().matches("\"stop\"").count()), (200, 8));
    let most = gate.peak_memory().saturating_sub(before) as u64;
    assert!(most < length * 6, "{length} bytes cost {most}");
}

#[tokio::test]
async fn a_whole_answer_with_more_calls_than_a_model_makes_is_no_stream() {
    let call =
        |id: usize| json!({"id": format!("c{id}"), "type": "function", "function": {"name": "f", "arguments": "{}"}});
    for (count, status) in [(512, 200), (513, 502)] {
        let calls: Vec<Value> = (0..count).map(call).collect();
        let choice = |index| json!({"index": index, "message": {"role": "assistant", "content": null, "tool_calls": calls}, "finish_reason": "tool_calls"});
        let whole = json!({"id": "w", "object": "chat.completion", "choices": [choice(0), choice(1)]});
        let provider = origin(move |_| {
            let body = whole.to_string();
            async move { given(&[("content-type", "application/json")], body) }
        })
        .await;
        let ai = ai().provider_at("first", "openai", provider.address(), "keys: sk-x-4711").model("m", &["first"]);
        let gate = ai.start().await;
        assert_eq!(
            ask(&gate, "chat/completions", &streamed(chat("m", "x"))).await.status,
            status,
            "{count} calls each"
        );
    }
}

#[tokio::test]
async fn what_a_whole_answer_becomes_counts_among_the_bodies_that_are_held() {
    let message = json!({"role": "assistant", "content": "x".repeat(400 << 10)});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let whole = json!({"id": "w", "object": "chat.completion", "choices": [choice]}).to_string();
    let provider = origin(move |_| {
        let whole = whole.clone();
        async move { given(&[("content-type", "application/json")], whole) }
    })
    .await;
    let ai = ai().provider_at("first", "openai", provider.address(), "keys: sk-x-4711").model("m", &["first"]);
    let gate = ai.set("max_buffered: 1MiB").start().await;
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    let refused = ask(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    assert_eq!(
        (refused.status, code_of(&refused).as_str()),
        (503, "overloaded"),
        "three times its length are too much"
    );
    let held = async || gate.metric("sluicegate_ai_buffered_bytes").await == 0.0;
    eventually(s(5), "all of it is given back", held).await;
}
