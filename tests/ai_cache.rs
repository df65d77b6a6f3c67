//! The cache of answers of models: who shares which answer, in which form, and who never does.

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;
use tokio::task::JoinSet;

const DAY: &str = "ttl: 1d, max_entries: 1000, max_bytes: 64MiB";

/// A gateway whose route has a cache with these keys.
fn cached(ai: Ai, cache: &str) -> Builder {
    ai.on_route("cache: answers").build().section("caches", &format!("{{ answers: {{ {cache} }} }}"))
}

fn status(answer: &Answer) -> &str {
    answer.header("x-cache-status")
}

/// POSTs one after the other: what the cache says of each.
async fn statuses(gate: &Gateway, door: &str, bodies: &[Value]) -> Vec<String> {
    let mut statuses = Vec::new();
    for body in bodies {
        let answer = ask(gate, door, body).await;
        assert_eq!(answer.status, 200, "{door} {body}: {}", answer.text());
        statuses.push(status(&answer).to_owned());
    }
    statuses
}

async fn post(gate: &Gateway, body: &str) -> Answer {
    gate.ask("POST", "/v1/chat/completions")
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await
}

#[tokio::test]
async fn the_same_question_is_asked_once_whatever_the_order_of_its_keys() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    let first = post(
        &gate,
        r#"{"model":"m","messages":[{"role":"user","content":"hé"}],"max_tokens":50,"options":{"b":1,"a":2}}"#,
    )
    .await;
    let same = [
        r#"{"model":"m","messages":[{"role":"user","content":"hé"}],"max_tokens":50,"options":{"b":1,"a":2}}"#,
        r#"{ "options" : {"a":2 , "b":1},"max_tokens":50, "messages":[{"content":"hé","role":"user"}],  "model":"m"}"#,
        "{\"model\":\"m\",\n\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9\"}],\"max_tokens\":50,\"options\":{\"b\":1,\"a\":2}}",
    ];
    assert_eq!((first.status, status(&first)), (200, "MISS"));
    for body in same {
        let again = post(&gate, body).await;
        assert_eq!((again.status, status(&again), again.text()), (200, "HIT", first.text()), "{body}");
        assert_eq!((again.header("content-type"), again.header("age").is_empty()), ("application/json", false));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
        assert_eq!(again.header("x-sluicegate-target"), first.header("x-sluicegate-target"));
    }
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn questions_that_differ_anywhere_never_share_an_answer() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    let base = with(chat("m", "hello"), json!({"options": {"deep": [1, {"x": "y"}]}}));
    let mut bodies =
        vec![base.clone(), with(base.clone(), json!({"messages": [{"role": "user", "content": "hellp"}]}))];
    let others = [
        json!({"user": "u"}),
        json!({"max_tokens": 100}),
        json!({"max_tokens": 101}),
        json!({"seed": 1}),
        json!({"x_unheard_of": 1}),
        json!({"options": {"deep": [1, {"x": "z"}]}}),
        json!({"options": {"deep": [{"x": "y"}, 1]}}),
        json!({"options": null}),
        json!({"model": "n"}),
        json!({"stop": ["a"]}),
        json!({"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "hello"}]}),
        json!({"messages": [{"role": "user", "content": "hello", "name": "x"}]}),
    ];
    bodies.extend(others.map(|other| with(base.clone(), other)));
    let count = bodies.len();
    assert_eq!(statuses(&gate, "chat/completions", &bodies).await, vec!["MISS"; count]);
    assert_eq!(statuses(&gate, "chat/completions", &bodies).await, vec!["HIT"; count]);
    assert_eq!(a.hits(), count as u64);
    let doubled = r#"{"model":"m","messages":[{"role":"user","content":"other"}],"messages":[{"role":"user","content":"hello"}],"options":{"deep":[1,{"x":"y"}]}}"#;
    assert_ne!(status(&post(&gate, doubled).await), "HIT", "a key that stands twice is not the same question");
}

#[tokio::test]
async fn versions_of_an_api_and_credentials_that_are_forwarded_make_another_question() {
    let a = upstream("a").await;
    let gate = cached(ai().anthropic("first", &a).model("m", &["first"]), DAY).start().await;
    let body = messages("m", "hello");
    for (fields, expected) in [
        (&[][..], "MISS"),
        (&[("anthropic-beta", "context-1m-2025-08-07")][..], "MISS"),
        (&[("anthropic-beta", "compact-2026-01-12")][..], "MISS"),
        (&[("anthropic-beta", "compact-2026-01-12")][..], "HIT"),
        (&[("x-request-id", "another")][..], "HIT"),
    ] {
        let answer = ask_with(&gate, "messages", &body, fields).await;
        assert_eq!((answer.status, status(&answer)), (200, expected), "{fields:?}");
    }

    let own = ai().provider_as("own", "kind: openai_compatible, pool: own").model("m", &["own"]);
    let own = own.on_route("cache: answers, auth: none, forward_credentials: true").build().section("auth", &callers());
    let own =
        own.section("caches", &format!("{{ answers: {{ {DAY} }} }}")).pool_with("own", &[&a], "balance: round_robin");
    let gate = own.start().await;
    a.require_keys(&["sk-alice"]);
    let body = chat("m", "hello");
    let by = async |key: &str| {
        let bearer = format!("Bearer {key}");
        ask_with(&gate, "chat/completions", &body, &[("authorization", &bearer)]).await
    };
    assert_eq!(by("sk-alice").await.status, 200);
    assert_eq!(status(&by("sk-alice").await), "HIT");
    let other = by("sk-mallory").await;
    assert_ne!(other.status, 200, "what one was given for its key nobody gets without it: {}", other.text());
}

#[tokio::test]
async fn two_callers_never_share_an_answer() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).section("auth", &callers()).start().await;
    for (id, expected) in [("team-a", "MISS"), ("team-b", "MISS"), ("team-a", "HIT"), ("team-b", "HIT")] {
        let answer = ask_as(&gate, id, "chat/completions", &chat("m", "hello")).await;
        assert_eq!((answer.status, status(&answer)), (200, expected), "{id}");
    }
    let stranger = ask_with(&gate, "chat/completions", &chat("m", "hello"), &[("x-api-key", "sk-sg-nobody")]).await;
    assert_eq!(stranger.status, 401);
    assert_eq!(a.hits(), 2);
}

#[tokio::test]
async fn callers_share_where_the_cache_says_so() {
    let a = upstream("a").await;
    let gate =
        cached(ai_of(&a), &format!("{DAY}, share_between_callers: true")).section("auth", &callers()).start().await;
    assert_eq!(status(&ask_as(&gate, "team-a", "chat/completions", &chat("m", "hello")).await), "MISS");
    assert_eq!(status(&ask_as(&gate, "team-b", "chat/completions", &chat("m", "hello")).await), "HIT");
}

#[tokio::test]
async fn only_what_has_one_right_answer_is_kept_unless_the_route_says_otherwise() {
    let a = upstream("a").await;
    let tool = json!([{"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}]);
    let bodies = [
        chat("m", "zero"),
        with(chat("m", "x"), json!({"temperature": 0})),
        with(chat("m", "x"), json!({"temperature": 0.0, "top_p": 0.5})),
        with(chat("m", "x"), json!({"temperature": 0.7})),
        with(chat("m", "x"), json!({"temperature": 1})),
        with(chat("m", "x"), json!({"tools": tool})),
    ];
    let gate = cached(ai_of(&a), DAY).start().await;
    statuses(&gate, "chat/completions", &bodies).await;
    assert_eq!(statuses(&gate, "chat/completions", &bodies).await, ["HIT", "HIT", "HIT", "BYPASS", "BYPASS", "BYPASS"]);
    let gate = cached(ai_of(&a).of_route("cache_nondeterministic: true"), DAY).start().await;
    assert_eq!(statuses(&gate, "chat/completions", &bodies).await, ["MISS"; 6]);
    assert_eq!(statuses(&gate, "chat/completions", &bodies).await, ["HIT"; 6]);
}

#[tokio::test]
async fn the_doors_whose_answers_are_kept_are_those_with_one_right_answer() {
    let a = upstream("a").await;
    let ai = ai().openai("first", &a).anthropic("second", &a).model("m", &["first"]).model("c", &["second"]);
    let gate = cached(ai, DAY).start().await;
    let doors = [
        ("chat/completions", chat("m", "hello"), "HIT"),
        ("completions", json!({"model": "m", "prompt": "hello"}), "HIT"),
        ("messages", messages("c", "hello"), "HIT"),
        ("embeddings", json!({"model": "m", "input": "hello"}), "HIT"),
        ("rerank", json!({"model": "m", "query": "q", "documents": ["x", "y"]}), "HIT"),
        ("images/generations", json!({"model": "m", "prompt": "hello"}), ""),
        ("audio/speech", json!({"model": "m", "input": "hello", "voice": "x"}), ""),
    ];
    for (door, body, expected) in doors {
        let [first, second] = [ask(&gate, door, &body).await, ask(&gate, door, &body).await];
        assert_eq!((first.status, second.status), (200, 200), "{door}");
        match expected {
            "" => assert!(matches!(status(&second), "" | "BYPASS"), "{door}: {}", status(&second)),
            _ => {
                assert_eq!((status(&first), status(&second), first.text()), ("MISS", expected, second.text()), "{door}")
            }
        }
    }
}

#[tokio::test]
async fn a_client_may_ask_for_an_answer_of_its_own() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    let asked = async |control: &str| {
        let answer = ask_with(&gate, "chat/completions", &chat("m", "hello"), &[("cache-control", control)]).await;
        assert_eq!(answer.status, 200);
        status(&answer).to_owned()
    };
    assert_eq!(asked("no-store").await, "BYPASS");
    assert_eq!(asked("max-age=600").await, "MISS", "what was not to be stored is not there");
    assert_eq!(asked("max-age=600").await, "HIT");
    let before = a.hits();
    assert_ne!(asked("no-cache").await, "HIT");
    assert_eq!(a.hits(), before + 1);
    assert_eq!(asked("max-age=600").await, "HIT");
}

#[tokio::test]
async fn a_client_may_say_how_old_its_answer_may_be_and_that_no_provider_is_to_be_asked() {
    let a = upstream("a").await;
    let ai = ai().openai("first", &a).model("m", &["first"]);
    let gate = cached(ai, "ttl: 60s").start().await;
    let asked = async |door: &str, body: &Value, control: &str| {
        ask_with(&gate, door, body, &[("cache-control", control)]).await
    };
    let (chat, messages) = (chat("m", "hello"), messages("m", "hello"));
    let none = asked("chat/completions", &chat, "only-if-cached").await;
    assert_eq!((none.status, code_of(&none), a.hits()), (504, "not_cached".to_owned(), 0));
    let none = asked("messages", &messages, "only-if-cached").await;
    assert_eq!((none.status, &none.json()["type"], a.hits()), (504, &json!("error"), 0));
    let moody = with(chat.clone(), json!({"temperature": 1}));
    assert_eq!(asked("chat/completions", &moody, "only-if-cached").await.status, 504, "nothing can be kept of it");

    assert_eq!(status(&asked("chat/completions", &chat, "").await), "MISS");
    for (control, expected) in [
        ("only-if-cached", "HIT"),
        ("min-fresh=10", "HIT"),
        ("max-age=60", "HIT"),
        ("min-fresh=3600", "MISS"),
        ("max-age=0", "MISS"),
    ] {
        assert_eq!(status(&asked("chat/completions", &chat, control).await), expected, "{control}");
    }
    assert_eq!(asked("chat/completions", &chat, "only-if-cached, min-fresh=3600").await.status, 504);
    assert_eq!(a.hits(), 3);
}

#[tokio::test]
async fn what_is_over_serves_who_allows_it_until_it_is_forgotten() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), "ttl: 1s").start().await;
    let asked = async |control: &str| {
        ask_with(&gate, "chat/completions", &chat("m", "hello"), &[("cache-control", control)]).await
    };
    assert_eq!(status(&asked("").await), "MISS");
    eventually(s(5), "it is over", async || asked("only-if-cached").await.status == 504).await;
    assert_eq!(status(&asked("max-stale").await), "STALE");
    assert_eq!((status(&asked("max-stale=0, only-if-cached").await), a.hits()), ("", 1));
}

#[tokio::test]
async fn where_its_wishes_mean_nothing_a_client_cannot_make_a_provider_work() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), &format!("{DAY}, request_directives: false")).start().await;
    let asked = async |directive: &str| {
        let sent = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
        let answer = sent.header("cache-control", directive).body(chat("m", "hello").to_string()).send().await;
        status(&answer).to_owned()
    };
    assert_eq!(asked("no-store").await, "MISS");
    assert_eq!(asked("no-cache").await, "HIT");
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn a_stream_is_kept_whole_and_told_again_as_a_stream() {
    let a = upstream("a").await;
    let ai = ai().openai("first", &a).anthropic("second", &a).model("m", &["first"]).model("c", &["second"]);
    let gate = cached(ai, DAY).start().await;
    let asked = with(streamed(chat("m", "hello")), json!({"stream_options": {"include_usage": true}}));
    let [first, second] = [ask(&gate, "chat/completions", &asked).await, ask(&gate, "chat/completions", &asked).await];
    assert_eq!((status(&first), status(&second)), ("MISS", "HIT"));
    assert!(second.header("content-type").starts_with("text/event-stream"), "{:?}", second.headers);
    let [told, again] = [&first, &second].map(|answer| chat_told(&events(answer.text())));
    assert_eq!(told, again);
    assert_eq!((again.text.clone(), again.ended, again.finish.as_deref()), (said("a", 5), true, Some("stop")));
    assert!(again.usage.unwrap()["total_tokens"].as_u64() > Some(0));
    let plain = ask(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    assert!(!plain.text().contains("usage"), "a client that did not ask is not told: {}", plain.text());

    let asked = streamed(messages("c", "hello"));
    let [first, second] = [ask(&gate, "messages", &asked).await, ask(&gate, "messages", &asked).await];
    assert_eq!((status(&first), status(&second)), ("MISS", "HIT"));
    assert_eq!(messages_told(&events(first.text())), messages_told(&events(second.text())));
}

#[tokio::test]
async fn a_whole_answer_serves_a_stream_and_the_other_way_round() {
    for first_streams in [false, true] {
        let a = upstream("a").await;
        let ai = ai().openai("first", &a).anthropic("second", &a).model("m", &["first"]).model("c", &["second"]);
        let gate = cached(ai, DAY).start().await;
        let body = with(chat("m", "hello"), json!({"stream": first_streams}));
        assert_eq!(status(&ask(&gate, "chat/completions", &body).await), "MISS");
        let other = with(chat("m", "hello"), json!({"stream": !first_streams}));
        let answer = ask(&gate, "chat/completions", &other).await;
        assert_eq!((answer.status, status(&answer), a.hits()), (200, "HIT", 1), "{}", answer.text());
        match first_streams {
            true => {
                let whole = answer.json();
                assert_eq!((text_of(&answer), &whole["object"]), (said("a", 5), &json!("chat.completion")));
                assert_eq!(whole["choices"][0]["finish_reason"], "stop");
                assert!(whole["usage"]["total_tokens"].as_u64() > Some(0), "{whole}");
            }
            false => {
                let told = chat_told(&events(answer.text()));
                assert_eq!((told.text, told.ended, told.finish.as_deref()), (said("a", 5), true, Some("stop")));
            }
        }
        let body = with(messages("c", "hello"), json!({"stream": first_streams}));
        assert_eq!(status(&ask(&gate, "messages", &body).await), "MISS");
        let other = with(messages("c", "hello"), json!({"stream": !first_streams}));
        let answer = ask(&gate, "messages", &other).await;
        assert_eq!((status(&answer), a.hits()), ("HIT", 2), "{}", answer.text());
        let text = match first_streams {
            true => answer.json()["content"][0]["text"].as_str().unwrap().to_owned(),
            false => messages_told(&events(answer.text())).text,
        };
        assert_eq!(text, said("a", 5));
    }
}

#[tokio::test]
async fn calls_of_tools_are_told_again_in_either_form() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a).of_route("cache_nondeterministic: true"), DAY).start().await;
    let parameters = json!({"type": "object", "properties": {"what": {"type": "string"}}});
    let tool = json!([{"type": "function", "function": {"name": "get", "parameters": parameters}}]);
    let body = with(chat("m", "call get twice"), json!({"tools": tool}));
    let whole = ask(&gate, "chat/completions", &body).await.json();
    let told = chat_told(&events(ask(&gate, "chat/completions", &streamed(body)).await.text()));
    let calls = whole["choices"][0]["message"]["tool_calls"].as_array().unwrap();
    assert_eq!((calls.len(), told.calls.len(), a.hits()), (2, 2, 1));
    for (call, (id, name, arguments)) in calls.iter().zip(&told.calls) {
        assert_eq!(
            (call["id"].as_str(), call["function"]["arguments"].as_str()),
            (Some(id.as_str()), Some(arguments.as_str()))
        );
        assert_eq!(call["function"]["name"], name.as_str());
    }
    assert_eq!(told.finish.as_deref(), Some("tool_calls"));
}

#[tokio::test]
async fn what_is_not_whole_or_no_success_is_not_kept() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a).set("attempts: 1").set("breaker: off"), DAY).start().await;
    let faults = [
        (Fault::Status(400), false),
        (Fault::Status(500), false),
        (Fault::OkFalse, false),
        (Fault::CloseMidBody, false),
        (Fault::InvalidJson, false),
        (Fault::Empty, false),
        (Fault::At(Stage::After(2), Twist::Close), true),
        (Fault::At(Stage::After(2), Twist::Finish), true),
        (Fault::At(Stage::After(2), Twist::Error(500)), true),
        (Fault::At(Stage::Start, Twist::Error(500)), true),
    ];
    for (n, (fault, stream)) in faults.into_iter().enumerate() {
        let body = with(chat("m", &format!("question {n}")), json!({"stream": stream}));
        a.fail_next(1, fault);
        let asked = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
        let _ = asked.body(body.to_string()).try_send().await;
        a.clear_faults();
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!((answer.status, status(&answer)), (200, "MISS"), "{fault:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_with_one_question_costs_one_call() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    let people = scaled(300);
    for (n, stream) in [false, true].into_iter().enumerate() {
        a.set_latency(ms(1500));
        let body = with(chat("m", &format!("question {n}")), json!({"stream": stream}));
        let mut crowd = JoinSet::new();
        for _ in 0..people {
            let (client, body) = (gate.client().clone(), body.to_string());
            crowd.spawn(async move {
                let asked = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
                asked.body(body).send().await
            });
        }
        let answers = crowd.join_all().await;
        for answer in &answers {
            let text = if stream { chat_told(&events(answer.text())).text } else { text_of(answer) };
            assert_eq!(text, said("a", 10));
            assert!(matches!(status(answer), "MISS" | "COALESCED" | "HIT"), "{}", status(answer));
        }
        assert_eq!(answers.iter().filter(|answer| status(answer) == "MISS").count(), 1);
        assert!(answers.iter().filter(|answer| status(answer) == "COALESCED").count() > people / 2);
        assert_eq!(a.hits(), n as u64 + 1);
    }
}

#[tokio::test]
async fn who_comes_later_gets_what_was_said_and_then_listens_live() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    a.set_order("sse", "interval=400ms,events=10,stamp");
    let body = streamed(chat("m", "hello"));
    let mut first = stream(&gate, "chat/completions", &body).await;
    let mut heard = first.until("content\":\"2@").await;
    let mut second = stream(&gate, "chat/completions", &body).await;
    assert_eq!((second.status, second.header("x-cache-status")), (200, "COALESCED"));
    let early = within(ms(1500), "what was said", second.until("content\":\"2@")).await;
    let mut late = Vec::new();
    let mut ages = Vec::new();
    while let Some(event) = second.next().await {
        ages.extend(stamped(&event).map(|(_, age)| age));
        late.push(event);
    }
    ages.sort();
    assert!(ages[ages.len() / 2] < ms(300), "it listens live: {ages:?}");
    heard.extend(first.rest().await);
    let all: Vec<Event> = early.into_iter().chain(late).collect();
    assert_eq!(chat_told(&heard), chat_told(&all));
    assert_eq!(a.hits(), 1);
}

#[tokio::test]
async fn the_first_may_leave_and_the_others_still_get_their_answer() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    a.set_order("sse", "interval=200ms,events=10,stamp");
    let body = streamed(chat("m", "hello"));
    let mut first = stream(&gate, "chat/completions", &body).await;
    first.until("content\":\"1@").await;
    let mut second = stream(&gate, "chat/completions", &body).await;
    second.until("content\":\"1@").await;
    drop(first);
    let told = chat_told(&second.rest().await);
    assert_eq!((told.text.split_whitespace().count(), told.ended), (8, true));
    assert_eq!((a.hits(), a.cancelled()), (1, 0));
    a.set_order("sse", "rate=20,events=5000,stamp");
    let body = streamed(chat("m", "other"));
    let (mut first, mut second) =
        (stream(&gate, "chat/completions", &body).await, stream(&gate, "chat/completions", &body).await);
    first.until("content\":\"1@").await;
    second.until("content\":\"1@").await;
    drop((first, second));
    eventually(s(5), "when all have left, so has the gateway", async || a.cancelled() == 1).await;
}

#[tokio::test]
async fn who_is_charged_and_leaves_early_has_a_line_that_says_so() {
    let a = upstream("a").await;
    let ai = ai_of(&a).set("prices: { models: { m: { input: 1.00, output: 1.00 } } }");
    let gate = ai
        .on_route("cache: answers, limits: [a]")
        .build()
        .section("caches", &format!("{{ answers: {{ {DAY} }} }}"))
        .section("limits", "{ a: { key: global, tokens: 100000/1d } }");
    let gate = gate.start().await;

    a.set_order("sse", "rate=20,events=5000,stamp");
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "one"))).await;
    open.until("content\":\"3@").await;
    drop(open);
    let line = gate.access_log(1).await.remove(0);
    assert_eq!((&line["cache"], &line["termination"]), (&json!("MISS"), &json!("client_closed")), "{line}");
    let tries = line["tries"].as_array().map(|tries| tries.iter().map(|one| &one["outcome"]).collect::<Vec<_>>());
    assert_eq!(tries, Some(vec![&json!("cancelled")]), "{line}");

    // Before any byte.
    a.clear_orders();
    a.set_latency(s(20));
    let client = gate.client().clone();
    let body = streamed(chat("m", "two")).to_string();
    let ask = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json").body(body);
    let waiting = tokio::spawn(ask.try_send());
    eventually(s(5), "the provider has it", async || a.hits() == 2).await;
    waiting.abort();
    let line = gate.access_log(2).await.remove(1);
    assert_eq!((&line["cache"], &line["status"]), (&json!("MISS"), &json!(0)), "{line}");
    let cancelled = r#"sluicegate_ai_requests_total{outcome="cancelled"}"#;
    assert_eq!(gate.metric(cancelled).await, 2.0);

    // Another one reads on: what the first one pays for is known when that has its end.
    a.set_latency(s(0));
    a.set_order("sse", "interval=100ms,events=12,stamp");
    let body = streamed(chat("m", "three"));
    let mut first = stream(&gate, "chat/completions", &body).await;
    first.until("content\":\"1@").await;
    let mut second = stream(&gate, "chat/completions", &body).await;
    second.until("content\":\"1@").await;
    drop(first);
    assert!(chat_told(&second.rest().await).ended);

    let lines = gate.access_log(4).await;
    let left: Vec<&Value> = lines.iter().filter(|line| line["termination"] == "client_closed").collect();
    assert_eq!(left.len(), 3, "{lines:#?}");
    for line in &left {
        let fields = [&line["operation"], &line["model"], &line["provider"], &line["stream"]];
        assert_eq!(fields, [&json!("chat"), &json!("m"), &json!("first"), &json!(true)], "{line}");
        assert!(line["cost_usd"].as_f64().is_some(), "{line}");
    }
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum(cancelled), 3.0);
    let answered = metrics.sum(r#"sluicegate_ai_requests_total{outcome="answered"}"#);
    assert_eq!((answered, metrics.sum(r#"ai_gateway_requests_total{status="0"}"#)), (0.0, 1.0));
    let tokens =
        |line: &Value| line["tokens_input"].as_f64().unwrap_or(0.0) + line["tokens_output"].as_f64().unwrap_or(0.0);
    let told: f64 = lines.iter().map(tokens).sum();
    assert_eq!(metrics.sum(r#"sluicegate_limit_settled_total{limit="a",unit="tokens"}"#), told, "{lines:#?}");
}

#[tokio::test]
async fn what_is_over_serves_when_no_provider_does_and_only_who_asks_the_same() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a).set("breaker: off"), "ttl: 1s, stale_if_error: 60s").start().await;
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "MISS");
    a.set_fault(Some(Fault::Status(500)));
    eventually(s(5), "it is over", async || {
        status(&ask(&gate, "chat/completions", &chat("m", "hello")).await) == "STALE"
    })
    .await;
    let stale = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((stale.status, text_of(&stale)), (200, said("a", 5)));
    assert!(stale.header("age").parse::<u64>().unwrap() >= 1);
    let told = chat_told(&events(ask(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.text()));
    assert_eq!(told.text, said("a", 5));
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "hellp")).await.status, 500, "another question has no answer");
    a.stop().await;
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "STALE");
    revive(&a).await;
    a.clear_faults();
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "MISS");
}

#[tokio::test]
async fn what_is_over_serves_for_a_while_by_default_but_not_in_the_place_of_a_providers_error() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a).set("breaker: off"), "ttl: 1s").start().await;
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "MISS");
    a.set_fault(Some(Fault::Status(500)));
    eventually(s(5), "it is over", async || ask(&gate, "chat/completions", &chat("m", "hello")).await.status == 500)
        .await;
    a.stop().await;
    let stale = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((status(&stale), text_of(&stale)), ("STALE", said("a", 5)));
}

#[tokio::test]
async fn an_error_says_who_was_asked_with_a_cache_and_without() {
    let [a, b] = upstreams(["a", "b"]).await;
    for mock in [&a, &b] {
        mock.set_fault(Some(Fault::Status(500)));
    }
    let ai = || ai().openai("first", &a).openai("second", &b).model("m", &["first", "second"]).set("attempts: 2");
    for gate in [ai().start().await, cached(ai(), DAY).start().await] {
        let refused = ask(&gate, "chat/completions", &chat("m", "hello")).await;
        let told = (refused.header("x-sluicegate-target"), refused.header("x-sluicegate-attempts"));
        assert_eq!((refused.status, told), (500, ("second/m", "2")));
    }
}

#[tokio::test]
async fn an_answer_is_over_after_its_time_and_the_oldest_goes_when_there_is_no_room() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), "ttl: 1s, stale_if_error: 0s").start().await;
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "MISS");
    eventually(s(5), "it is over", async || {
        status(&ask(&gate, "chat/completions", &chat("m", "hello")).await) == "MISS"
    })
    .await;

    let gate = cached(ai_of(&a), "ttl: 1d, max_entries: 10").start().await;
    for n in 0..40 {
        ask(&gate, "chat/completions", &chat("m", &format!("question {n}"))).await;
    }
    eventually(s(5), "no more than ten are kept", async || {
        ask(&gate, "chat/completions", &chat("m", "one more")).await;
        let metrics = gate.metrics().await;
        let evicted = metrics.sum(r#"sluicegate_cache_evicted_total{cache="answers"}"#);
        evicted >= 30.0 && (1.0..=10.0).contains(&metrics.sum(r#"sluicegate_cache_entries{cache="answers"}"#))
    })
    .await;
}

#[tokio::test]
async fn a_hit_costs_neither_tokens_nor_money() {
    let a = upstream("a").await;
    a.set_order("usage", "in=100,out=50");
    let ai = ai_of(&a)
        .set("prices: { models: { m: { input: 1.00, output: 1.00 } } }")
        .on_route("cache: answers, limits: [a]");
    let gate = ai
        .build()
        .section("caches", "{ answers: { ttl: 1d } }")
        .section("limits", "{ a: { key: global, tokens: 1000/1d, cost: 1.00/1d } }");
    let gate = gate.start().await;
    for _ in 0..5 {
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, 200);
    }
    assert_eq!(gate.metric(r#"sluicegate_limit_settled_total{limit="a",unit="tokens"}"#).await, 150.0);
    assert_eq!(gate.metric(r#"sluicegate_ai_tokens_total{type="input"}"#).await, 100.0);
    let lines = gate.access_log(5).await;
    assert!(lines[4]["cost_usd"].as_f64().unwrap_or(0.0) == 0.0, "{}", lines[4]);
    assert_eq!((&lines[4]["cache"], &lines[0]["cache"]), (&json!("HIT"), &json!("MISS")));
}

#[tokio::test]
async fn other_targets_are_another_question() {
    let [a, b] = upstreams(["a", "b"]).await;
    let ai = ai().openai("first", &a).openai("second", &b).model("m", &["first"]);
    let gate = cached(ai, DAY).start().await;
    assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("m", "hello")).await), said("a", 5));
    gate.reload_with("m: [first]", "m: [second]").await;
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((text_of(&answer), status(&answer)), (said("b", 5), "MISS"));
    gate.reload_with("m: [second]", "m: [first]").await;
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "HIT", "the first is still known");
}

#[tokio::test]
async fn a_question_is_one_whichever_of_the_targets_that_share_it_comes_first() {
    let [a, b] = upstreams(["a", "b"]).await;
    let ai = ai().openai("first", &a).openai("second", &b);
    let shares = "{ targets: [{ provider: first, weight: 1 }, { provider: second, weight: 3 }] }";
    let gate = cached(ai.model_as("m", shares), DAY).start().await;
    let mut asked = statuses(&gate, "chat/completions", &vec![chat("m", "hello"); 8]).await;
    asked.sort();
    assert_eq!(asked, [["HIT"; 7].as_slice(), &["MISS"]].concat());
    for mock in [&a, &b] {
        mock.set_latency(ms(500));
    }
    let crowd = futures::future::join_all((0..12).map(|_| async {
        let answer = ask(&gate, "chat/completions", &chat("m", "at once")).await;
        status(&answer).to_owned()
    }));
    assert_eq!(crowd.await.iter().filter(|status| *status == "MISS").count(), 1);
    assert_eq!(a.hits() + b.hits(), 2);
}

#[tokio::test]
async fn a_purge_takes_the_answers_away() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "MISS");
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "HIT");
    let purged = gate.control("POST", "/control/caches/answers/purge?all").await;
    assert_eq!(purged.status, 200, "{}", purged.text());
    assert_eq!(gate.metric(r#"sluicegate_cache_purged_total{cache="answers"}"#).await, 1.0);
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "MISS");
}

#[tokio::test]
async fn answers_of_models_have_no_url_that_a_purge_could_name() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    ask(&gate, "chat/completions", &chat("m", "hello")).await;
    let here = gate.url("/v1/");
    for what in [["--url", here.as_str()], ["--prefix", "/v1/"], ["--tag", "m"]] {
        let exit = gate.ctl(&["purge", "answers", what[0], what[1]]).await;
        assert_eq!(exit.code, Some(1), "{what:?}: {exit:?}");
        assert!(exit.stderr.contains("no URL") && exit.stderr.contains("--all"), "{what:?}: {}", exit.stderr);
    }
    let refused = gate.control("POST", "/control/caches/answers/purge?prefix=/v1/").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(status(&ask(&gate, "chat/completions", &chat("m", "hello")).await), "HIT", "nothing was purged");
    let all = gate.ctl(&["purge", "answers", "--all"]).await;
    assert_eq!((all.code, all.stdout.trim()), (Some(0), "answers: 1 answer purged"), "{all:?}");
}

#[tokio::test]
async fn the_share_of_hits_is_a_metric() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    assert_eq!(statuses(&gate, "chat/completions", &[chat("m", "hello"), chat("m", "hello")]).await, ["MISS", "HIT"]);
    assert_eq!(gate.metric("ai_gateway_cache_hit_ratio").await, 0.5);
    let bypassed = with(chat("m", "hello"), json!({"temperature": 1}));
    statuses(&gate, "chat/completions", &[bypassed, chat("m", "hello"), chat("m", "hello")]).await;
    assert_eq!(gate.metric("ai_gateway_cache_hit_ratio").await, 0.75, "what goes past the cache does not count");
}

#[tokio::test]
async fn a_question_that_no_provider_answers_is_a_fetch_that_failed() {
    let a = upstream("a").await;
    let gate = cached(ai_of(&a), DAY).start().await;
    for (fault, failures) in [(400, 0.0), (500, 1.0)] {
        a.set_fault(Some(Fault::Status(fault)));
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, fault);
        let failed = gate.metric(r#"sluicegate_cache_fetch_failures_total{cache="answers"}"#).await;
        assert_eq!(failed, failures, "{fault}");
    }
}

#[tokio::test]
async fn a_route_without_a_cache_says_nothing_of_one() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    for _ in 0..2 {
        let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
        assert!(answer.headers.get("x-cache-status").is_none());
    }
    assert_eq!(a.hits(), 2);
}

#[tokio::test]
async fn a_conversation_that_the_provider_keeps_is_not_kept_here() {
    let a = upstream("a").await;
    let gate = cached(ai().anthropic("first", &a).model("m", &["first"]), DAY).start().await;
    let body = with(messages("m", "x"), json!({"temperature": 0, "thread": {"type": "create"}}));
    assert_eq!(statuses(&gate, "messages", &[body.clone(), body]).await, ["BYPASS", "BYPASS"]);
}
