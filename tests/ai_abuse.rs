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
            let said = if streams { chat_told(&events(answer.text())).text } else { text_of(&answer) };
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
    let backend = origin(|_| async { given_status(401, JSON, r#"{"error":{"message":"no"}}"#) }).await;
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
    gate.says("marked as failed").await;
    waiting.abort();
    assert_eq!(settled(&gate).await, 0);
}

#[tokio::test]
async fn a_model_that_the_key_may_not_use_costs_nobody_else_the_key() {
    for kind in ["openai", "anthropic"] {
        let a = upstream("a").await;
        let gate = ai().provider("first", kind, &a).model("\"*\"", &["first"]).start().await;
        a.plan(Planned::new(Fault::Refusal(Refusal::Forbidden)).for_model("o9"));
        for _ in 0..2 {
            let refused = ask(&gate, "chat/completions", &chat("o9", "x")).await;
            assert_eq!((refused.status, code_of(&refused).as_str()), (503, "PROVIDER_CREDENTIALS_REFUSED"), "{kind}");
            assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200, "{kind}");
        }
        assert_eq!(a.hits(), 3, "{kind}: for that model it is set aside");
        gate.says("marked as failed. Available: 0/1 (provider first, model o9").await;
    }
}

#[tokio::test]
async fn a_limit_of_one_model_rests_the_key_for_that_model_alone_and_the_log_says_so() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    a.plan(Planned::new(Fault::RateLimit(s(30))).for_model("busy"));
    for _ in 0..2 {
        let limited = ask(&gate, "chat/completions", &chat("busy", "x")).await;
        assert_eq!((limited.status, code_of(&limited).as_str()), (429, "PROVIDER_RATE_LIMITED"));
        let wait: u64 = limited.header("retry-after").parse().unwrap_or(0);
        assert!((25..=31).contains(&wait), "{wait}");
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    }
    assert_eq!(a.hits(), 3, "who said to wait is not asked meanwhile");
    gate.says("Config 'key-1' of provider first rests for 30s (model busy)").await;
    assert_eq!(gate.stderr().matches("rests for").count(), 1, "{}", gate.stderr());
}

#[tokio::test]
async fn a_probe_whose_client_hangs_up_makes_room_for_the_next_at_once() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("key_cooldown: 1s").start().await;
    a.set_key(&key_of("first"), Some(KeyState::Refused));
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 503);
    a.set_key(&key_of("first"), None);
    a.set_latency(s(20));
    let probing = r#"sluicegate_ai_key_state{provider="first",key="key-1",state="probing"}"#;
    eventually(s(5), "one may try", async || gate.metric(probing).await == 1.0).await;
    ask_and_leave(&gate, &a, chat("m", "x")).await;
    a.set_latency(s(0));
    let left = now();
    eventually(s(8), "the next is the probe", async || {
        ask(&gate, "chat/completions", &chat("m", "x")).await.status == 200
    })
    .await;
    assert!(left.elapsed() < s(8), "{:?}", left.elapsed());
}

#[tokio::test]
async fn an_answer_in_the_background_is_refused_for_nobody_could_fetch_it() {
    let a = upstream("a").await;
    let body = with(responses("m", "x"), json!({"background": true}));
    let gate = limited(ai_of(&a), "key: global, tokens: 100000/1d").start().await;
    let refused = ask(&gate, "responses", &body).await;
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["code"]), (400, &json!("UNSUPPORTED_PARAMETER")), "{error}");
    assert_eq!(error["param"], "background");
    assert_eq!((a.hits(), settled(&gate).await), (0, 0));
    assert_eq!(ask(&gate, "responses", &responses("m", "x")).await.status, 200);
    let gate = ai_of(&a).start().await;
    assert_eq!(ask(&gate, "responses", &body).await.status, 400);
    let gate = ai_of(&a).of_route("strip_body_fields: [background]").start().await;
    assert_eq!(ask(&gate, "responses", &body).await.status, 200);
}

#[tokio::test]
async fn what_an_answer_without_a_bound_is_assumed_to_have_is_set_aside_for_it() {
    let a = upstream("a").await;
    a.set_latency(s(2));
    for (set, model, output) in [
        ("attempts: 3", "[first]", 4096),
        ("assumed_output: 2000", "[first]", 2000),
        ("assumed_output: 2000", "{ targets: [first], assumed_output: 50 }", 50),
    ] {
        let ai = ai().openai("first", &a).model_as("m", model).set(set);
        let gate = limited(ai, "key: global, tokens: 100000/1d").start().await;
        let client = gate.client().clone();
        let asking = tokio::spawn(async move {
            let asked = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
            asked.body(chat("m", "x").to_string()).send().await.status
        });
        let mut pending = 0;
        eventually(s(2), "something is set aside", async || {
            pending = gate.metric(r#"sluicegate_limit_pending{limit="a",unit="tokens"}"#).await as u64;
            pending > 0
        })
        .await;
        assert!((output..output + 10).contains(&pending), "{set} {model}: {pending}");
        assert_eq!(asking.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn what_a_client_adds_to_its_request_poisons_no_answer_that_others_get() {
    let a = upstream("a").await;
    let ai = ai_of(&a).on_route("cache: answers").build().section("auth", &callers());
    let gate = ai.section("caches", "{ answers: { ttl: 1d, share_between_callers: true } }").start().await;
    let body = chat("m", "hello");
    let by = async |id: &str, door: &str, field: (&str, &str)| {
        let secret = secret_of(id);
        let answer = ask_with(&gate, door, &body, &[("x-api-key", &secret), field]).await;
        assert_eq!(answer.status, 200, "{field:?}: {}", answer.text());
        answer.header("x-cache-status").to_owned()
    };
    let door = "chat/completions";
    for (name, value) in [("openai-beta", "x"), ("x-safety-mode", "off"), ("accept-language", "evil")] {
        assert_eq!(by("team-a", door, (name, value)).await, "MISS", "{name}");
    }
    assert_eq!(by("team-a", "chat/completions?safety=off", ("user-agent", "a")).await, "MISS");
    assert_eq!(by("team-b", door, ("user-agent", "b")).await, "MISS", "it is another question than any of these");
    for (name, value) in [("user-agent", "c"), ("x-stainless-lang", "js"), ("traceparent", "x"), ("accept", "*/*")] {
        assert_eq!(by("team-a", door, (name, value)).await, "HIT", "{name}");
    }
}

#[tokio::test]
async fn what_a_client_foretells_of_an_answer_is_set_aside_beside_its_bound() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 5000/1d").start().await;
    let foretold = json!({"max_tokens": 5, "prediction": {"type": "content", "content": "x".repeat(40_000)}});
    // A rejected prediction is billed as output: one that all of the budget would not pay passes only while none is used.
    assert_eq!(ask(&gate, "chat/completions", &with(chat("m", "x"), json!({"max_tokens": 5}))).await.status, 200);
    assert_eq!(ask(&gate, "chat/completions", &with(chat("m", "x"), foretold)).await.status, 429);
}

#[tokio::test]
async fn large_bodies_leave_room_for_small_ones_and_the_log_tells_when_there_is_none() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("max_buffered: 8MiB").start().await;
    let mut hogs = Vec::new();
    for _ in 0..4 {
        let mut hog = connect(gate.address()).await;
        hog.send(head_of(4 << 20)).await;
        // Those that come late are refused before all of it is read.
        let _ = hog.try_send(" ".repeat(3 << 20)).await;
        hogs.push(hog);
    }
    eventually(s(10), "the room for large bodies is full", async || gate.stderr().contains("ai.max_buffered")).await;
    let small = "x".repeat(200_000);
    assert_eq!(ask(&gate, "chat/completions", &chat("m", &small)).await.status, 200);
}

#[tokio::test]
async fn a_large_body_that_comes_slowly_gives_way_where_room_is_short() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("max_buffered: 8MiB").start().await;
    let begun = || async {
        let mut hog = connect(gate.address()).await;
        hog.send(head_of(3 << 20)).await;
        hog.send(" ".repeat(5 << 19)).await;
        hog
    };
    let (mut one, mut other) = (begun().await, begun().await);
    let held = async || gate.metric("sluicegate_ai_buffered_bytes").await;
    eventually(s(5), "both are held", async || held().await >= f64::from(5 << 20)).await;
    eventually(s(30), "one gives way", async || {
        let _ = (one.try_send(" ").await, other.try_send(" ").await);
        held().await < f64::from(4 << 20)
    })
    .await;
    assert_eq!(gate.access_log(1).await[0]["status"], 408);
    assert!(held().await > 0.0, "the other one has the room that it needs then");
}

/// The header block of a chat with a body of this length.
fn head_of(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}
