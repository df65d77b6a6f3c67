//! Clients and providers who do not mean well, or do not count well: what they may cost others.

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A gateway whose route has the one limit `a`.
fn limited(ai: Ai, limit: &str) -> Builder {
    ai.on_route("limits: [a]").build().section("limits", &format!("{{ a: {{ {limit} }} }}"))
}

/// A question for at most ten tokens.
fn short(model: &str) -> Value {
    with(chat(model, "x"), json!({"max_tokens": 10}))
}

/// What the limit `a` counted in tokens, once nothing is set aside any more.
async fn settled(gate: &Gateway) -> u64 {
    let of = |name: &str| format!(r#"sluicegate_limit_{name}{{limit="a",unit="tokens"}}"#);
    let mut last = 0;
    eventually(s(10), "no reservation is left", async || {
        let metrics = gate.metrics().await;
        last = metrics.sum(&of("settled_total")) as u64;
        metrics.sum(&of("pending")) == 0.0 && metrics.sum(&of("reservations")) == 0.0
    })
    .await;
    last
}

/// An answer of OpenAI's that says `Hi`, with this usage.
fn hi(usage: &str) -> String {
    let choice = r#"{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}"#;
    format!(r#"{{"id":"1","object":"chat.completion","model":"m","choices":[{choice}],"usage":{usage}}}"#)
}

/// The same as a stream.
fn hi_stream(usage: &str) -> String {
    let chunk = |rest: &str| format!("data: {{\"id\":\"1\",\"object\":\"chat.completion.chunk\",{rest}}}\n\n");
    [
        chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]"#),
        chunk(&format!(r#""choices":[],"usage":{usage}"#)),
        chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat()
}

/// Sends `body` and leaves once the provider has it.
async fn ask_and_leave(gate: &Gateway, mock: &Mock, body: Value) {
    let client = gate.client().clone();
    let before = mock.ledger().total().begun;
    let waiting = tokio::spawn(async move {
        let asked = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
        asked.body(body.to_string()).try_send().await
    });
    eventually(s(5), "the provider has it", async || mock.ledger().total().begun == before + 1).await;
    waiting.abort();
}

#[tokio::test]
async fn what_a_provider_says_it_used_is_believed_as_far_as_it_can_be() {
    for usage in [
        r#"{"prompt_tokens":18446744073709551615,"completion_tokens":5}"#,
        r#"{"prompt_tokens":1000000000000000,"completion_tokens":18446744073709551615}"#,
    ] {
        for streams in [false, true] {
            let body = if streams { hi_stream(usage) } else { hi(usage) };
            let kind = if streams { "text/event-stream" } else { "application/json" };
            let backend = origin(move |_| {
                let body = body.clone();
                async move { given(&[("content-type", kind)], body) }
            })
            .await;
            let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711").model("m", &["first"]);
            let gate = limited(ai, "key: global, tokens: 100000000/1d").start().await;
            let asked = if streams { streamed(short("m")) } else { short("m") };
            let answer = ask(&gate, "chat/completions", &asked).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let said = if streams { chat_told(&events(&answer.text())).text } else { text_of(&answer) };
            assert_eq!(said, "Hi", "{streams} {usage}");
            let charged = settled(&gate).await;
            assert!((1_000_000..3_100_000).contains(&charged), "{streams} {usage}: {charged}");
            assert_eq!(ask(&gate, "chat/completions", &asked).await.status, 200, "nobody is locked out for a number");
            assert_eq!(gate.metric("sluicegate_panics_total").await, 0.0);
            gate.says("which cannot be").await;
        }
    }
}

#[tokio::test]
async fn who_leaves_once_a_provider_has_the_whole_request_pays_for_its_prompt() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 1000000/1d").start().await;
    a.set_latency(s(20));
    let long = with(short("m"), json!({"messages": [{"role": "user", "content": "many words ".repeat(4000)}]}));
    let mut before = 0;
    for body in [long.clone(), streamed(long)] {
        ask_and_leave(&gate, &a, body).await;
        let charged = settled(&gate).await - before;
        assert!((10_000..12_000).contains(&charged), "{charged}");
        before += charged;
    }
    let line = gate.access_log(2).await.remove(0);
    assert_eq!(line["tokens_estimated"], true, "{line}");
    assert!(line["tokens_input"].as_u64() > Some(10_000), "{line}");
}

#[tokio::test]
async fn a_try_that_a_provider_answered_with_an_error_stays_free_for_who_leaves_during_the_next() {
    let backend = origin(|_| async { given_status(500, JSON, r#"{"error":{"message":"no"}}"#) }).await;
    let nobody = blackhole();
    let ai = ai().provider_at("first", "openai", backend.address(), "keys: sk-x-4711");
    let ai = ai.provider_at("second", "openai", nobody.address(), "keys: sk-y-4711");
    let ai = ai.model("m", &["first", "second"]).set("timeouts: { connect: 20s }");
    let gate = limited(ai, "key: global, tokens: 1000000/1d").start().await;
    let client = gate.client().clone();
    let waiting = tokio::spawn(async move {
        let asked = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
        asked.body(short("m").to_string()).try_send().await
    });
    eventually(s(5), "the first has failed", async || backend.hits() > 0).await;
    let connecting = r#"sluicegate_limit_reservations{limit="a",unit="tokens"}"#;
    eventually(s(5), "the second is asked", async || gate.metric(connecting).await == 1.0).await;
    waiting.abort();
    assert_eq!(settled(&gate).await, 0);
}
