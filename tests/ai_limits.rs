//! Tokens and money: what is set aside, what is charged, what is refused, and what a restart remembers.

#![expect(clippy::panic, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;
use tokio::task::JoinSet;

/// A gateway whose route has the one limit `a`.
fn limited(ai: Ai, limit: &str) -> Builder {
    ai.on_route("limits: [a]").build().section("limits", &format!("{{ a: {{ {limit} }} }}"))
}

/// A question for at most ten tokens.
fn short(model: &str) -> Value {
    with(chat(model, "x"), json!({"max_tokens": 10}))
}

fn number(answer: &Answer, name: &str) -> u64 {
    answer.header(name).parse().unwrap_or_else(|_| panic!("{name}: {:?}", answer.headers))
}

/// What the mock served: tokens of input and output.
fn served(mock: &Mock) -> u64 {
    let tokens = mock.ledger().total().tokens;
    tokens.input + tokens.output
}

#[tokio::test]
async fn what_was_used_is_charged_and_what_is_over_the_limit_gets_429() {
    let a = upstream("a").await;
    a.set_order("usage", "in=4000,out=2000");
    let gate = limited(ai_of(&a), "key: global, tokens: 10000/15m").start().await;
    let [first, second, third] = [
        ask(&gate, "chat/completions", &short("m")).await,
        ask(&gate, "chat/completions", &short("m")).await,
        ask(&gate, "chat/completions", &short("m")).await,
    ];
    assert_eq!([first.status, second.status, third.status], [200, 200, 429]);
    assert_eq!(a.hits(), 2);
    // 12,000 of 10,000 are used, and 11.1 come back in a second.
    let wait = number(&third, "retry-after");
    assert!((170..=200).contains(&wait), "{wait}");
    let error = &third.json()["error"];
    assert_eq!(
        (&error["code"], &error["type"]),
        (&json!("RATE_LIMIT_EXCEEDED"), &json!("rate_limit_error")),
        "{error}"
    );
    for answer in [&first, &second, &third] {
        assert_eq!(number(answer, "x-ratelimit-limit-tokens"), 10_000);
        assert!(!answer.header("x-ratelimit-reset-tokens").is_empty(), "{:?}", answer.headers);
    }
    assert_eq!(number(&third, "x-ratelimit-remaining-tokens"), 0);
    assert!((4000..=4100).contains(&(number(&second, "x-ratelimit-remaining-tokens") + 20)), "{:?}", second.headers);
    assert_eq!(settled(&gate).await, 12_000);
    let told = ask(&gate, "messages", &messages("m", "x")).await;
    assert_eq!((told.status, &told.json()["error"]["type"]), (429, &json!("rate_limit_error")), "{}", told.text());
}

#[tokio::test]
async fn what_is_used_comes_back_with_time() {
    let a = upstream("a").await;
    a.set_order("usage", "in=150,out=50");
    let gate = limited(ai_of(&a), "key: global, tokens: 100/1s").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    let used = now();
    let refused = ask(&gate, "chat/completions", &short("m")).await;
    assert_eq!((refused.status, number(&refused, "retry-after")), (429, 2), "{:?}", refused.headers);
    eventually(s(8), "it passes again", async || ask(&gate, "chat/completions", &short("m")).await.status == 200).await;
    assert!(used.elapsed() > ms(1000), "{:?}", used.elapsed());
}

#[tokio::test]
async fn a_request_that_may_use_more_than_is_left_is_refused_before_it_is_sent() {
    let a = upstream("a").await;
    a.set_order("usage", "in=500,out=100");
    let gate = limited(ai_of(&a), "key: global, tokens: 1000/1d").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    let greedy = with(chat("m", "x"), json!({"max_tokens": 900}));
    assert_eq!(ask(&gate, "chat/completions", &greedy).await.status, 429, "400 are left");
    let lines = gate.access_log(2).await;
    let line = lines.last().unwrap_or_else(|| panic!("no line"));
    let told = ["limit", "limit_wanted", "limit_left"].map(|key| &line[key]);
    assert_eq!(told, [&json!("a"), &json!(902), &json!(400)], "{line}");
    assert_eq!(
        ask(&gate, "chat/completions", &with(chat("m", "x"), json!({"max_completion_tokens": 900}))).await.status,
        429
    );
    assert_eq!(ask(&gate, "messages", &with(messages("m", "x"), json!({"max_tokens": 900}))).await.status, 429);
    assert_eq!(
        ask(&gate, "responses", &with(responses("m", "x"), json!({"max_output_tokens": 900}))).await.status,
        429
    );
    let long = "many words ".repeat(400);
    assert_eq!(
        ask(&gate, "embeddings", &json!({"model": "m", "input": long})).await.status,
        429,
        "1100 tokens of input"
    );
    assert_eq!(a.hits(), 1);
    assert_eq!(settled(&gate).await, 600, "what was refused cost nothing");
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
}

#[tokio::test]
async fn what_is_set_aside_and_not_used_is_there_again() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 2000/1d").start().await;
    a.set_order("usage", "in=10,out=10");
    for _ in 0..10 {
        let answer = ask(&gate, "chat/completions", &with(chat("m", "x"), json!({"max_tokens": 1500}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(settled(&gate).await, 200);
}

#[tokio::test]
async fn an_image_in_a_request_is_not_counted_by_its_bytes() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 5000/1d").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    let image = format!("data:image/png;base64,{}", "A".repeat(400_000));
    let parts = json!([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": image}}]);
    let body = with(short("m"), json!({"messages": [{"role": "user", "content": parts}]}));
    assert_eq!(ask(&gate, "chat/completions", &body).await.status, 200);
}

#[tokio::test]
async fn every_door_charges_and_asking_what_something_would_cost_does_not() {
    let a = upstream("a").await;
    let ai = ai().openai("first", &a).anthropic("second", &a).model("m", &["first"]).model("c", &["second"]);
    let gate = limited(ai, "key: global, tokens: 1000000/1d").start().await;
    a.set_order("usage", "in=100,out=50");
    let mut expected = 0;
    let doors = [
        ("chat/completions", short("m"), 150),
        ("chat/completions", streamed(short("m")), 150),
        ("completions", json!({"model": "m", "prompt": "x", "max_tokens": 10}), 150),
        ("responses", responses("m", "x"), 150),
        ("responses", streamed(responses("m", "x")), 150),
        ("messages", messages("c", "x"), 150),
        ("messages", streamed(messages("c", "x")), 150),
        ("chat/completions", streamed(short("c")), 150),
        ("embeddings", json!({"model": "m", "input": "x"}), 100),
        ("rerank", json!({"model": "m", "query": "x", "documents": ["x"]}), 100),
        ("messages/count_tokens", json!({"model": "c", "messages": [{"role": "user", "content": "x"}]}), 0),
    ];
    for (door, body, cost) in doors {
        let answer = ask(&gate, door, &body).await;
        assert_eq!(answer.status, 200, "{door}: {}", answer.text());
        expected += cost;
        assert_eq!(settled(&gate).await, expected, "{door}");
    }
    assert_eq!(gate.get("/v1/models").await.status, 200);
    assert_eq!(settled(&gate).await, expected);
}

#[tokio::test]
async fn a_provider_that_does_not_count_is_counted_for() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 1000000/1d").start().await;
    a.set_fault(Some(Fault::NoUsage));
    let text = "say ".to_owned() + &"word ".repeat(200);
    let mut before = 0;
    for body in [chat("m", &text), streamed(chat("m", &text))] {
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let charged = settled(&gate).await - before;
        before += charged;
        // A thousand characters in and out, at four a token.
        assert!((480..=540).contains(&charged), "{charged}");
    }
    let lines = gate.access_log(2).await;
    assert!(lines.iter().all(|line| line["tokens_estimated"] == true), "{lines:#?}");
    assert_eq!(gate.metric(r#"sluicegate_ai_usage_total{source="estimate"}"#).await, 2.0);
}

#[tokio::test]
async fn what_was_not_answered_costs_nothing() {
    let [a, b] = upstreams(["a", "b"]).await;
    let ai = ai()
        .openai("first", &a)
        .openai("second", &b)
        .model("m", &["first"])
        .model("n", &["first", "second"])
        .set("attempts: 2")
        .set("breaker: off");
    let gate = limited(ai, "key: global, tokens: 100000/1d").start().await;
    a.set_order("usage", "in=100,out=50");
    b.set_order("usage", "in=70,out=30");
    for fault in [
        Fault::Status(500),
        Fault::Status(400),
        Fault::Refusal(Refusal::Context),
        Fault::CloseBeforeHeaders,
        Fault::At(Stage::Start, Twist::Error(500)),
        Fault::At(Stage::Start, Twist::Close),
    ] {
        a.set_fault(Some(fault));
        for body in [short("m"), streamed(short("m"))] {
            let answer = ask(&gate, "chat/completions", &body).await;
            assert_ne!(answer.status, 200, "{fault:?}");
            assert_eq!(settled(&gate).await, 0, "{fault:?}");
        }
    }
    a.set_fault(Some(Fault::Status(500)));
    assert_eq!(ask(&gate, "chat/completions", &short("n")).await.status, 200);
    assert_eq!(settled(&gate).await, 100, "only what the second served");
    for body in ["{", r#"{"model":"nobody","messages":[]}"#] {
        gate.ask("POST", "/v1/chat/completions").body(body).send().await;
    }
    assert_eq!(settled(&gate).await, 100);
}

#[tokio::test]
async fn a_broken_stream_and_one_that_its_client_leaves_are_charged_for_what_was_seen() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 100000/1d").start().await;
    a.fail_next(1, Fault::At(Stage::After(50), Twist::Close));
    a.set_order("sse", "interval=0ms,events=100");
    let broken = with(streamed(chat("m", "hello")), json!({"max_tokens": 1000}));
    ask(&gate, "chat/completions", &broken).await;
    let charged = settled(&gate).await;
    let truth = served(&a);
    assert!(charged.abs_diff(truth) <= truth / 2 && charged < 500, "charged {charged}, served {truth}");

    a.set_order("sse", "rate=50,events=5000");
    let before = (charged, truth);
    let mut open = stream(&gate, "chat/completions", &broken).await;
    for _ in 0..60 {
        open.next().await.unwrap();
    }
    drop(open);
    let (charged, truth) = (settled(&gate).await - before.0, served(&a) - before.1);
    assert!((30..500).contains(&charged) && charged.abs_diff(truth) <= truth / 2, "charged {charged}, served {truth}");
}

#[tokio::test]
async fn a_client_that_leaves_at_the_last_word_pays_for_all_of_it() {
    for cache in ["", "cache: answers, "] {
        let raw = raw_upstream().await;
        let ai = ai().provider_at("first", "openai", raw.address(), "keys: sk-x-4711").model("m", &["first"]);
        let gate = ai.on_route(&format!("{cache}limits: [a]")).build().section("caches", "{ answers: { ttl: 1d } }");
        let gate = gate.section("limits", "{ a: { key: global, tokens: 100000/1d } }").start().await;
        let provider = tokio::spawn(async move {
            let chunk = r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}"#;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            raw.answer_once(&format!("{head}data: {chunk}\n\n")).await
        });
        let mut open = stream(&gate, "chat/completions", &streamed(short("m"))).await;
        open.next().await.unwrap();
        drop(open);
        let (mut connection, _) = provider.await.unwrap();
        assert!(!connection.closed_within(ms(300)).await, "{cache}it is listened to for what it counted");
        let usage = r#"{"id":"1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":900,"total_tokens":910}}"#;
        connection.send(format!("data: {usage}\n\n")).await;
        assert_eq!(settled(&gate).await, 910, "{cache}");
        let line = gate.access_log(1).await.remove(0);
        assert_eq!(line["tries"][0]["outcome"], "cancelled", "{line}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_content_pays_for_its_prompt() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 1000/1d").start().await;
    a.set_latency(s(20));
    let mut paid = 0;
    for body in [short("m"), streamed(short("m"))] {
        let client = gate.client().clone();
        let before = a.ledger().total().begun;
        let waiting = tokio::spawn(async move {
            client
                .ask("POST", "/v1/chat/completions")
                .header("content-type", "application/json")
                .body(body.to_string())
                .try_send()
                .await
        });
        eventually(s(5), "the provider has it", async || a.ledger().total().begun == before + 1).await;
        let [_, pending, open] = counted(&gate).await;
        assert!(pending > 0 && open == 1, "something is set aside meanwhile: {pending}, {open}");
        waiting.abort();
        let settled = settled(&gate).await;
        assert!(
            (1..10).contains(&(settled - paid)),
            "its prompt, and nothing of what was set aside for an answer: {settled}"
        );
        paid = settled;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_streams_at_once_never_use_more_than_the_limit_and_one_reservation() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 10000/15m").start().await;
    a.set_order("sse", "rate=200,events=400");
    let mut streams = JoinSet::new();
    for _ in 0..50 {
        let client = gate.client().clone();
        streams.spawn(async move {
            let body = with(streamed(chat("m", "hello")), json!({"max_tokens": 500}));
            let asked = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
            asked.body(body.to_string()).send().await.status
        });
    }
    let statuses = streams.join_all().await;
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)) && passed >= 15, "{statuses:?}");
    let charged = settled(&gate).await;
    assert_eq!(charged, served(&a), "charged is what was served");
    assert!(charged <= 10_000 + 520, "{charged}");
}

/// A form with a model and a file of so many bytes.
async fn upload(gate: &Gateway, door: &str, file: &str, bytes: usize) -> Answer {
    let mut form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\n\
         content-disposition: form-data; name=\"{file}\"; filename=\"f\"\r\n\r\n"
    )
    .into_bytes();
    form.extend(std::iter::repeat_n(7, bytes));
    form.extend_from_slice(b"\r\n--b--\r\n");
    let asked = gate.ask("POST", &format!("/v1/{door}")).header("content-type", "multipart/form-data; boundary=b");
    asked.body(form).send().await
}

#[tokio::test]
async fn uploads_and_what_is_no_text_hold_to_a_limit_of_tokens_too() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 10000/1d").start().await;
    a.set_order("usage", "in=900,out=300");
    assert_eq!(upload(&gate, "audio/transcriptions", "file", 5_000_000).await.status, 200);
    assert_eq!(settled(&gate).await, 1_200, "what the provider counted, and not the 7,500 that were set aside");
    let refused = upload(&gate, "audio/transcriptions", "file", 6_000_000).await;
    assert_eq!((refused.status, a.hits()), (429, 1), "9,000 of 8,800: {}", refused.text());
    assert_eq!(upload(&gate, "images/edits", "image", 100).await.status, 200);
    assert_eq!(settled(&gate).await, 2_400);
    let images = json!({"model": "m", "prompt": "x", "n": 2});
    assert_eq!(ask(&gate, "images/generations", &images).await.status, 429, "8,320 of 7,600");

    a.set_fault(Some(Fault::NoUsage));
    let gate = limited(ai_of(&a), "key: global, tokens: 100000/1d").start().await;
    assert_eq!(ask(&gate, "images/generations", &images).await.status, 200);
    assert_eq!(settled(&gate).await, 1 + 8_320, "nobody counted");
    assert_eq!(ask(&gate, "audio/speech", &json!({"model": "m", "input": "12345678"})).await.status, 200);
    assert_eq!(settled(&gate).await, 8_321 + 2 + 12);
}

#[tokio::test]
async fn each_caller_has_a_budget_of_its_own() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let gate = limited(ai_of(&a), "key: api_key, tokens: 1000/1d").section("auth", &callers()).start().await;
    assert_eq!(ask_as(&gate, "team-a", "chat/completions", &short("m")).await.status, 200);
    assert_eq!(ask_as(&gate, "team-a", "chat/completions", &short("m")).await.status, 429);
    let other = ask_as(&gate, "team-b", "chat/completions", &short("m")).await;
    assert_eq!(other.status, 200);
    assert!(number(&other, "x-ratelimit-remaining-tokens") > 900);
}

#[tokio::test]
async fn a_model_may_have_a_budget_of_its_own() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let gate = limited(ai_of(&a), "key: model, tokens: 1000/1d").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 429);
    assert_eq!(ask(&gate, "chat/completions", &short("n")).await.status, 200);
}

#[tokio::test]
async fn requests_tokens_and_streams_in_flight_are_limited_side_by_side() {
    let a = upstream("a").await;
    let limits = "{ often: { key: global, rate: 100/15m, burst: 100 }, much: { key: global, tokens: 10000/15m }, busy: { key: global, concurrent: 1 } }";
    let gate = ai_of(&a).on_route("limits: [often, much, busy]").build().section("limits", limits).start().await;
    let answer = ask(&gate, "chat/completions", &short("m")).await;
    let told = ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-limit-tokens"]
        .map(|name| number(&answer, name));
    assert_eq!(told, [100, 99, 10_000], "{:?}", answer.headers);
    a.set_order("sse", "rate=20,events=1000");
    let mut open = stream(&gate, "chat/completions", &streamed(short("m"))).await;
    open.next().await.unwrap();
    drop(open);
    eventually(s(5), "the place is free again", async || {
        ask(&gate, "chat/completions", &short("m")).await.status == 200
    })
    .await;
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    open.next().await.unwrap();
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 429, "one stream is under way");
}

#[tokio::test]
async fn what_is_refused_before_tokens_are_asked_tells_what_is_left_of_them() {
    let a = upstream("a").await;
    let limits = "{ rq: { key: global, rate: 6/1h }, tok: { key: global, tokens: 100000/1d }, by: { key: model, tokens: 9/1d, mode: shadow } }";
    let gate = ai().openai("first", &a).model("m", &["first"]).on_route("limits: [rq, tok, by]");
    let gate = gate.build().section("limits", limits).start().await;
    let answer = ask(&gate, "chat/completions", &short("m")).await;
    assert_eq!(answer.status, 200);
    let left = number(&answer, "x-ratelimit-remaining-tokens");
    let check = |answer: &Answer, status: u16| {
        assert_eq!(answer.status, status, "{}", answer.text());
        let told = number(answer, "x-ratelimit-remaining-tokens");
        assert!(told >= left && told < 100_000, "{told} are told to be left, {left} were");
        let state = answer.header("ratelimit");
        assert_eq!(state.matches("\"tok\"").count(), 1, "{state}");
    };
    check(&ask(&gate, "chat/completions", &short("unknown")).await, 400);
    check(&ask(&gate, "nowhere", &short("m")).await, 404);
    check(&gate.get("/v1/models").await, 200);
    check(&ask_with(&gate, "chat/completions", &short("m"), &[("content-encoding", "gzip")]).await, 415);
    check(&ask(&gate, "chat/completions", &json!({"messages": []})).await, 400);
    check(&ask(&gate, "chat/completions", &short("m")).await, 429);
}

#[tokio::test]
async fn what_tokens_refuse_costs_no_request_and_is_counted_once() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=50");
    let gate = limited(ai_of(&a), "key: global, rate: 3/15m, burst: 3, tokens: 1000/1d").start().await;
    let greedy = with(chat("m", "x"), json!({"max_tokens": 900}));
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    for _ in 0..5 {
        let refused = ask(&gate, "chat/completions", &greedy).await;
        assert_eq!(refused.status, 429);
        assert!(number(&refused, "retry-after") > 60_000, "it is the tokens that are used up: {:?}", refused.headers);
    }
    let metrics = gate.metrics().await;
    for (outcome, count) in [("passed", 1.0), ("tokens", 5.0), ("rate", 0.0)] {
        let series = format!(r#"sluicegate_limit_requests_total{{limit="a",outcome="{outcome}"}}"#);
        assert_eq!(metrics.sum(&series), count, "{series}");
    }
}

#[tokio::test]
async fn a_limit_that_only_counts_refuses_nobody() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let gate = limited(ai_of(&a), "key: global, tokens: 1000/1d, mode: shadow").start().await;
    for _ in 0..4 {
        let answer = ask(&gate, "chat/completions", &short("m")).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit-tokens")), (200, ""));
    }
    assert_eq!(gate.metric(r#"sluicegate_limit_requests_total{limit="a",outcome="shadow_tokens"}"#).await, 3.0);
}

const PRICES: &str = "prices: { models: { m: { input: 2.00, cached_input: 0.50, cache_write: 3.00, output: 8.00, reasoning: 16.00, \
                      long_context: { above: 200000, input: 4.00, output: 10.00 } } } }";

#[tokio::test]
async fn money_is_counted_exactly_by_the_price_of_each_kind_of_token() {
    let a = upstream("a").await;
    let ai = ai().anthropic("first", &a).model("m", &["first"]).set(PRICES);
    let gate = limited(ai, "key: global, cost: 100.00/1d").start().await;
    for (usage, dollars) in [
        ("in=1000,out=500", 0.006),
        ("in=1000,out=500,cached=400", 0.0054),
        ("in=1000,out=500,cached=400,written=300", 0.0057),
        ("in=1,out=1", 0.000_010),
        ("in=300000,out=1000", 1.21),
    ] {
        a.set_order("usage", usage);
        assert_eq!(ask(&gate, "messages", &messages("m", "x")).await.status, 200);
        let log = gate.access_log(1).await;
        assert_eq!(log.last().unwrap()["cost_usd"].as_f64(), Some(dollars), "{usage}: {}", log.last().unwrap());
        std::fs::write(gate.dir().join("access.log"), "").unwrap();
    }
    let told = gate.metric(r#"sluicegate_ai_cost_dollars_total{provider="first",model="m"}"#).await;
    assert!((told - 1.227_110).abs() < 1e-9, "{told}");
}

#[tokio::test]
async fn a_budget_of_money_that_is_used_up_refuses() {
    let a = upstream("a").await;
    a.set_order("usage", "in=200000,out=50000");
    let gate = limited(ai_of(&a).set(PRICES), "key: global, cost: 1.00/1d").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200, "0.80");
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200, "1.60");
    let refused = ask(&gate, "chat/completions", &short("m")).await;
    assert_eq!((refused.status, code_of(&refused).as_str()), (429, "BUDGET_EXCEEDED"), "{}", refused.text());
    assert!(number(&refused, "retry-after") > 40_000, "{:?}", refused.headers);
    let usd = gate.metric(r#"sluicegate_limit_settled_total{limit="a",unit="usd"}"#).await;
    assert!((usd - 1.6).abs() < 1e-9, "{usd}");
}

#[tokio::test]
async fn a_budget_of_the_calendar_says_when_it_begins_anew() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let gate = limited(ai_of(&a), "key: global, tokens: 1000/day").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    let refused = ask(&gate, "chat/completions", &short("m")).await;
    assert_eq!(refused.status, 429);
    let midnight = 86_400 - seconds_now() % 86_400;
    assert!(number(&refused, "retry-after").abs_diff(midnight) <= 3, "{midnight}: {:?}", refused.headers);
    let told = if midnight > 60 { "false" } else { "" };
    assert_eq!(refused.header("x-should-retry"), told, "no client sleeps until then of its own accord");
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_passed_or_priced_as_the_configuration_says() {
    let a = upstream("a").await;
    a.set_order("usage", "in=1000000,out=1000000");
    let with_policy = async |unknown: &str| {
        let prices = format!("prices: {{ unknown: {unknown}, models: {{ m: {{ input: 1.00, output: 1.00 }} }} }}");
        limited(ai_of(&a).set(&prices), "key: global, cost: 100.00/1d").start().await
    };
    let gate = with_policy("block").await;
    let refused = ask(&gate, "chat/completions", &short("unheard-of")).await;
    assert!((400..=503).contains(&refused.status) && a.hits() == 0, "{}: {}", refused.status, refused.text());
    assert!(refused.text().contains("price"), "{}", refused.text());
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);

    let gate = with_policy("zero").await;
    assert_eq!(ask(&gate, "chat/completions", &short("unheard-of")).await.status, 200);
    gate.says("unheard-of").await;
    assert_eq!(gate.access_log(1).await[0]["cost_usd"].as_f64(), Some(0.0));

    let gate = with_policy("{ input: 5.00, output: 15.00 }").await;
    assert_eq!(ask(&gate, "chat/completions", &short("unheard-of")).await.status, 200);
    assert_eq!(gate.access_log(1).await[0]["cost_usd"].as_f64(), Some(20.0));

    let gate = ai_of(&a).start().await;
    assert_eq!(
        ask(&gate, "chat/completions", &short("unheard-of")).await.status,
        200,
        "where money is not limited, none is asked"
    );
}

#[tokio::test]
async fn well_known_models_have_a_price_in_the_table_of_the_package() {
    let a = upstream("a").await;
    a.set_order("usage", "in=1000000,out=1000000");
    let ai = ai()
        .openai("first", &a)
        .anthropic("second", &a)
        .model("gpt-4o", &["first"])
        .model("mine", &["second/claude-sonnet-4-5"]);
    let gate = limited(ai, "key: global, cost: 1000.00/1d").start().await;
    for (model, dollars) in [("gpt-4o", 12.5), ("mine", 18.0)] {
        let answer = ask(&gate, "chat/completions", &short(model)).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let log = gate.access_log(1).await;
        let cost = log.last().unwrap()["cost_usd"].as_f64().unwrap();
        assert!(cost >= dollars && cost < 4.0 * dollars, "{model}: {cost}");
        std::fs::write(gate.dir().join("access.log"), "").unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_runs_over_its_budget_is_cut_with_a_proper_end_where_that_is_wanted() {
    let a = upstream("a").await;
    a.set_order("sse", "rate=100,events=2000");
    let gate = limited(ai_of(&a).of_route("cut_over_budget: true"), "key: global, tokens: 200/1d").start().await;
    let told = chat_told(
        &within(s(15), "an end", stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await.rest()).await,
    );
    let words = told.text.split(' ').count();
    assert!((100..600).contains(&words), "{words} words");
    assert!(told.errors.len() == 1 || (told.ended && told.finish.is_some()), "{:?} {:?}", told.errors, told.finish);
    eventually(s(5), "the provider is left", async || a.ledger().total().cancelled == 1).await;
    let line = gate.access_log(1).await.remove(0);
    assert_eq!((&line["status"], &line["termination"]), (&json!(200), &json!("over_budget")), "{line}");
    assert_eq!(gate.metric(r#"sluicegate_terminations_total{reason="over_budget"}"#).await, 1.0);
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 429);

    let gate = limited(ai_of(&a), "key: global, tokens: 200/1d").start().await;
    a.set_order("sse", "interval=0ms,events=2000");
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await.rest().await);
    assert!(told.ended && told.errors.is_empty(), "it goes on where nobody said otherwise");
    assert!(settled(&gate).await > 2000, "and is charged");
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 429);
}

#[tokio::test]
async fn a_stream_that_is_cut_says_what_it_has_used() {
    let a = upstream("a").await;
    a.set_order("sse", "rate=200,events=2000");
    let ai = ai()
        .openai("first", &a)
        .anthropic("second", &a)
        .model("o", &["first"])
        .model("c", &["second"])
        .of_route("cut_over_budget: true");
    let gate = limited(ai, "key: model, tokens: 200/1d").start().await;
    let told = responses_told(&stream(&gate, "responses", &streamed(responses("o", "x"))).await.rest().await);
    let usage = told.usage.clone().unwrap_or_default();
    assert!((100..300).contains(&usage["output_tokens"].as_u64().unwrap_or(0)), "{told:?}");
    let told = messages_told(&stream(&gate, "messages", &streamed(messages("c", "x"))).await.rest().await);
    let usage = told.usage.clone().unwrap_or_default();
    assert!((100..300).contains(&usage["output_tokens"].as_u64().unwrap_or(0)), "{told:?}");
    assert_eq!((told.ended, told.finish.as_deref()), (true, Some("max_tokens")), "{told:?}");
}

#[tokio::test]
async fn a_reload_keeps_what_was_used() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let gate = limited(ai_of(&a), "key: global, tokens: 1000/1d").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    gate.reload_with("tokens: 1000/1d", "tokens: 1050/1d").await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 429);
    gate.reload_with("tokens: 1050/1d", "tokens: 5000/1d").await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
}

#[tokio::test]
async fn a_limit_that_no_route_has_for_a_while_keeps_what_was_used_of_it() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let limits = "{ a: { key: global, tokens: 1000/month }, b: { key: global, tokens: 90000/month } }";
    let gate = ai_of(&a).on_route("limits: [a]").build().section("limits", limits).start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    gate.reload_with("limits: [a]", "limits: [b]").await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    let show = gate.ctl(&["limits", "show", "a"]).await;
    assert!(show.stdout.starts_with("a: 100 tokens over 1000 tokens"), "{} {}", show.stdout, show.stderr);
    gate.reload_with("limits: [b]", "limits: [a]").await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 429);
    gate.reload_with("limits: [a]", "limits: [b]").await;
    gate.reload_with("a: { key: global", "a: { key: route").await;
    gate.says(
        "the limit a is not in the configuration any more, or counts by another key: what was used of 1 accounts",
    )
    .await;
}

#[tokio::test]
async fn a_reload_in_the_middle_of_a_stream_leaves_no_reservation_behind() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: global, tokens: 100000/1d").start().await;
    a.set_order("sse", "rate=40,events=60");
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    open.next().await.unwrap();
    gate.reload_with("tokens: 100000/1d", "tokens: 90000/1d").await;
    open.rest().await;
    assert_eq!(settled(&gate).await, served(&a));
}

#[tokio::test]
async fn an_operator_sees_what_is_left_of_somebodys_budget_and_forgives_what_was_used() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=100");
    let gate = limited(ai_of(&a), "key: api_key, tokens: 1000/month, cost: 2.00/month")
        .section("auth", &callers())
        .start()
        .await;
    for id in ["team-a", "team-b"] {
        assert_eq!(ask_as(&gate, id, "chat/completions", &short("gpt-4o")).await.status, 200, "{id}");
        assert_eq!(ask_as(&gate, id, "chat/completions", &short("gpt-4o")).await.status, 429, "{id}");
    }
    let show = gate.ctl(&["limits", "show", "a", "--key", "team-a"]).await;
    assert_eq!(show.code, Some(0), "{}", show.stderr);
    assert!(show.stdout.contains("a of team-a: 0 of 1000 tokens left"), "{}", show.stdout);
    assert!(show.stdout.contains("of $2 left"), "{}", show.stdout);
    let reset = gate.ctl(&["limits", "reset", "a", "--key", "team-a"]).await;
    assert!(reset.stdout.contains("a of team-a: 1000 of 1000 tokens left\n"), "{}", reset.stdout);
    assert_eq!(ask_as(&gate, "team-a", "chat/completions", &short("gpt-4o")).await.status, 200);
    assert_eq!(ask_as(&gate, "team-b", "chat/completions", &short("gpt-4o")).await.status, 429, "nobody else's");
    for (arguments, told) in
        [(&["limits", "reset", "b", "--key", "team-a"][..], "limits: a"), (&["limits", "reset", "a"][..], "--key WHO")]
    {
        let exit = gate.ctl(arguments).await;
        assert_eq!(exit.code, Some(1));
        assert!(exit.stderr.contains(told), "{}", exit.stderr);
    }
    assert_eq!(gate.control("GET", "/control/limits/a/reset?key=team-a").await.status, 405);
}

#[tokio::test]
async fn an_operator_sees_who_is_near_the_end_of_a_budget() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: api_key, tokens: 1000/month").section("auth", &callers()).start().await;
    let list = async || gate.ctl(&["limits", "show", "a"]).await;
    assert_eq!(list().await.stdout, "a: nothing is used of it\n");
    for (id, order) in [("team-a", "in=200,out=100"), ("team-b", "in=1900,out=100")] {
        a.set_order("usage", order);
        assert_eq!(ask_as(&gate, id, "chat/completions", &short("m")).await.status, 200);
    }
    let shown = list().await;
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", shown.stdout);
    let begins = |line: &str, told: &[&str]| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.get(..told.len()), Some(told), "{}", shown.stdout);
    };
    begins(lines[1], &["team-b", "2000", "of", "1000", "tokens", "1000", "tokens", "over", "in"]);
    begins(lines[2], &["team-a", "300", "of", "1000", "tokens", "700", "tokens", "in"]);
    let json = gate.control("GET", "/control/limits/a").await.json();
    assert_eq!(json["listed"]["accounts"][0]["key"], "team-b", "{json}");
    assert_eq!(
        (&json["listed"]["more"], &json["listed"]["accounts"][1]["budgets"][0]["used"]),
        (&json!(0), &json!(300.0))
    );
    let over = gate.ctl(&["limits", "show", "a", "--key", "team-b"]).await;
    assert!(
        over.stdout.starts_with("a of team-b: 1000 tokens over 1000 tokens; all of it again in "),
        "{}",
        over.stdout
    );
    let nobody = gate.ctl(&["limits", "show", "a", "--key", "nobody"]).await;
    assert_eq!(nobody.code, Some(1), "{}", nobody.stdout);
    assert!(nobody.stderr.contains("there is no caller \"nobody\""), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("callers: team-a, team-b"), "{}", nobody.stderr);
    assert_eq!(gate.ctl(&["limits", "show", "a", "--key", "token:nobody"]).await.code, Some(0));
}

#[tokio::test]
async fn a_name_that_no_team_no_route_and_no_model_has_is_no_success() {
    let a = upstream("a").await;
    let key = |id: &str, team: &str| {
        format!("{{ id: {id}, secret: {}, permissions: [\"*\"], metadata: {{ team: {team} }} }}", secret_of(id))
    };
    let keys = [key("ann", "search"), key("bob", "ads")].join(", ");
    let auth = format!("{{ api_keys: {{ default_expiry: never, keys: [{keys}] }} }}");
    for (key, told) in [
        ("metadata(team)", "no key has team: \"serach\" in its metadata; values: search, ads"),
        ("route", "there is no route \"serach\"; routes: ai"),
        ("model", "no model \"serach\" is known; models: m"),
    ] {
        let ai = ai().openai("first", &a).model("m", &["first"]);
        let gate = limited(ai, &format!("key: {key}, tokens: 1000/month")).section("auth", &auth).start().await;
        for what in ["show", "reset"] {
            let wrong = gate.ctl(&["limits", what, "a", "--key", "serach"]).await;
            assert_eq!(wrong.code, Some(1), "{key} {what}: {}", wrong.stdout);
            assert!(wrong.stderr.contains(told), "{key} {what}: {}", wrong.stderr);
        }
        let right = told.rsplit([' ', ',']).next().unwrap();
        assert_eq!(gate.ctl(&["limits", "show", "a", "--key", right]).await.code, Some(0), "{key}: {right}");
    }
}

#[tokio::test]
async fn who_is_refused_for_tokens_hears_which_limit_it_was() {
    let a = upstream("a").await;
    a.set_order("usage", "in=40,out=20");
    let gate = limited(ai_of(&a), "key: global, tokens: 50/1d").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    let refused = ask(&gate, "chat/completions", &short("m")).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("than are left of the limit `a`: ask for less"), "{}", refused.text());
}

#[tokio::test]
async fn what_one_budget_of_a_limit_refuses_leaves_the_other_as_it_was() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a).set(PRICES), "key: global, tokens: 5000/1d, cost: 0.01/1d").start().await;
    let small = with(chat("m", "x"), json!({"max_tokens": 10}));
    let before = number(&ask(&gate, "chat/completions", &small).await, "x-ratelimit-remaining-tokens");
    let dear = with(chat("m", "x"), json!({"max_tokens": 1500}));
    let refused = ask(&gate, "chat/completions", &dear).await;
    assert_eq!((refused.status, code_of(&refused).as_str()), (429, "BUDGET_EXCEEDED"), "{}", refused.text());
    let told = number(&refused, "x-ratelimit-remaining-tokens");
    assert!(told + 60 > before, "{told} are told to be left, {before} were");
}

#[tokio::test]
async fn what_a_translation_allows_is_set_aside_where_the_client_names_no_bound() {
    let a = upstream("a").await;
    for (asks, most) in [
        (json!({"reasoning_effort": "high"}), 28_672),
        (json!({"reasoning_effort": "low"}), 6_144),
        (json!({"reasoning_effort": "none"}), 4_096),
        (json!({}), 4_096),
        (json!({"max_tokens": 10}), 4_096),
    ] {
        let ai = ai()
            .openai("open", &a)
            .anthropic("claude", &a)
            .model_as("m", "{ targets: [claude/claude-opus-4-5, open], assumed_output: 1000 }")
            .of_route("strip_body_fields: [max_tokens]");
        let gate = limited(ai, "key: global, tokens: 100000/1d").start().await;
        let answer = ask(&gate, "chat/completions", &with(chat("m", "x"), asks.clone())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let got: Value = serde_json::from_slice(&last_seen(&a).body).unwrap_or_default();
        assert_eq!(got["max_tokens"], most, "{asks}");
        let reserved = gate.metric(r#"sluicegate_limit_reserved_total{limit="a",unit="tokens"}"#).await;
        // The prompt has two.
        assert_eq!(reserved, f64::from(most) + 2.0, "{asks}");
    }
}

/// Two callers of one team, and one of another.
fn teams() -> String {
    let key = |id: &str, team: &str| {
        let secret = secret_of(id);
        format!("{{ id: {id}, secret: {secret}, permissions: \"*\", metadata: {{ team: {team} }} }}")
    };
    let keys = [key("ann", "search"), key("ben", "search"), key("cem", "ads")].join(", ");
    format!("{{ api_keys: {{ default_expiry: never, keys: [{keys}] }} }}")
}

#[tokio::test]
async fn the_callers_of_a_team_share_its_budget() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let gate = limited(ai_of(&a), "key: metadata(team), tokens: 1000/1d").section("auth", &teams()).start().await;
    assert_eq!(ask_as(&gate, "ann", "chat/completions", &short("m")).await.status, 200);
    assert_eq!(ask_as(&gate, "ben", "chat/completions", &short("m")).await.status, 429);
    assert_eq!(ask_as(&gate, "cem", "chat/completions", &short("m")).await.status, 200);
    let show = gate.ctl(&["limits", "show", "a"]).await;
    let teams: Vec<&str> = show.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(teams.contains(&"search") && teams.contains(&"ads"), "{}", show.stdout);
}

#[tokio::test]
async fn one_caller_may_have_a_larger_budget_and_keeps_what_it_used_when_that_changes() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let limit = "key: api_key, tokens: 1000/1d, overrides: { ann: { tokens: 4000/1d } }";
    let gate = limited(ai_of(&a), limit).section("auth", &teams()).start().await;
    let ask = async |id: &str| ask_as(&gate, id, "chat/completions", &short("m")).await;
    let first = ask("ann").await;
    assert_eq!((first.status, number(&first, "x-ratelimit-limit-tokens")), (200, 4000));
    assert!(first.header("ratelimit-policy").contains("q=4000;"), "{:?}", first.headers);
    assert_eq!([ask("ann").await.status, ask("ben").await.status, ask("ben").await.status], [200, 200, 429]);
    // Ann has used 2,200 of 4,000: of the 1,000 that hold for everybody nothing is left.
    gate.reload_with("{ ann: { tokens: 4000/1d } }", "{ ben: { tokens: 5000/1d } }").await;
    assert_eq!([ask("ann").await.status, ask("ben").await.status], [429, 200]);
    let show = gate.ctl(&["limits", "show", "a", "--key", "ben"]).await;
    assert!(show.stdout.contains("of 5000 tokens left"), "{}", show.stdout);
}

#[tokio::test]
async fn metrics_tell_how_much_of_their_budgets_callers_have_used() {
    let a = upstream("a").await;
    a.set_order("usage", "in=150,out=50");
    let limits =
        "{ each: { key: api_key, tokens: 10000/month }, all: { key: global, tokens: 90000/day, cost: 8/day } }";
    let gate =
        ai_of(&a).set("prices: { unknown: { input: 10.00, output: 10.00 } }").on_route("limits: [each, all]").build();
    let gate = gate.section("limits", limits).section("auth", &callers()).start().await;
    for _ in 0..2 {
        assert_eq!(ask_as(&gate, "team-a", "chat/completions", &short("m")).await.status, 200);
    }
    let mut metrics = gate.metrics().await;
    eventually(s(10), "all is settled", async || {
        metrics = gate.metrics().await;
        metrics.sum("sluicegate_limit_reservations") == 0.0
    })
    .await;
    let told = |limit: &str, unit: &str, key: &str| {
        ["budget", "used"].map(|name| {
            metrics.sum(&format!(r#"sluicegate_limit_{name}{{limit="{limit}",unit="{unit}",key="{key}"}}"#))
        })
    };
    assert_eq!(told("each", "tokens", "team-a"), [10_000.0, 400.0]);
    assert_eq!(told("all", "tokens", ""), [90_000.0, 400.0]);
    assert_eq!(told("all", "usd", ""), [8.0, 0.004]);
    assert_eq!(metrics.sum(r#"sluicegate_limit_budget{key="team-b"}"#), 0.0, "who used nothing has no account");
}

#[tokio::test]
async fn callers_who_are_of_no_team_are_shown_forgiven_and_measured_together() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=200");
    let gate = limited(ai_of(&a), "key: metadata(team), tokens: 1000/month").section("auth", &callers()).start().await;
    for (id, status) in [("team-a", 200), ("team-b", 429)] {
        assert_eq!(ask_as(&gate, id, "chat/completions", &short("m")).await.status, status);
    }
    let list = gate.ctl(&["limits", "show", "a"]).await;
    assert!(list.stdout.contains("'' (all who have none)"), "{}", list.stdout);
    assert_eq!(gate.metric("sluicegate_limit_used{limit=\"a\",key=\"\"}").await, 1_100.0);
    let reset = gate.ctl(&["limits", "reset", "a", "--key", ""]).await;
    assert_eq!((reset.code, reset.stdout.as_str()), (Some(0), "a: 1000 of 1000 tokens left\n"), "{}", reset.stderr);
    assert_eq!(ask_as(&gate, "team-b", "chat/completions", &short("m")).await.status, 200);
}

#[tokio::test]
async fn where_any_model_may_be_asked_for_the_account_of_any_is_shown() {
    let a = upstream("a").await;
    let gate = limited(ai_of(&a), "key: model, tokens: 1000/1d").start().await;
    assert_eq!(ask(&gate, "chat/completions", &short("m")).await.status, 200);
    for name in ["m", "of-nobody-yet"] {
        let shown = gate.control("GET", &format!("/control/limits/a?key={name}")).await;
        assert_eq!((shown.status, shown.json()["key"].as_str()), (200, Some(name)), "{}", shown.text());
    }
    let named = limited(ai_of(&a).model("m", &["first"]), "key: model, tokens: 1000/1d").start().await;
    let refused = named.control("GET", "/control/limits/a?key=mm").await;
    assert!(refused.status == 404 && !refused.text().contains("\"\""), "{}", refused.text());
}
