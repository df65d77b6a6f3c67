//! What happens when a provider fails: one clean answer of another while there is one, and an honest error else.

#![expect(clippy::panic, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::ai::*;
use support::*;

const SLOW: &str = "timeouts: { connect: 2s, first_token: 1500ms, idle: 1500ms, total: 20s }";

/// Two providers of OpenAI's kind, asked one after the other.
fn pair(first: &Mock, second: &Mock) -> Ai {
    ai().openai("first", first).openai("second", second).model("m", &["first", "second"]).set(SLOW)
}

/// The tries of a line of the access log: provider and outcome.
fn tries(line: &Value) -> Vec<(String, String)> {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
    line["tries"].as_array().into_iter().flatten().map(|one| (text(one, "provider"), text(one, "outcome"))).collect()
}

/// Checks that one request was answered by the second provider after the first had failed with this outcome.
async fn assert_second(gate: &Gateway, what: &str, outcomes: &[&str]) {
    let line = gate.access_log(1).await.remove(0);
    let tries = tries(&line);
    let told: Vec<&str> = tries.iter().map(|(provider, _)| provider.as_str()).collect();
    assert_eq!(told, ["first", "second"], "{what}: {line}");
    assert!(outcomes.contains(&tries[0].1.as_str()) && tries[1].1 == "answered", "{what}: {tries:?}");
    assert_eq!((&line["provider"], &line["attempts"]), (&json!("second"), &json!(2)), "{what}: {line}");
    let failed = format!(r#"sluicegate_ai_attempts_total{{provider="first",model="m",outcome="{}"}}"#, tries[0].1);
    let answered = r#"sluicegate_ai_attempts_total{provider="second",model="m",outcome="answered"}"#;
    let went_on = format!(r#"sluicegate_ai_failovers_total{{provider="first",reason="{}"}}"#, tries[0].1);
    let metrics = gate.metrics().await;
    for series in [failed.as_str(), answered, went_on.as_str()] {
        assert_eq!(metrics.sum(series), 1.0, "{what}: {series}");
    }
}

#[tokio::test]
async fn a_whole_answer_comes_from_the_next_target_whatever_happens_to_the_first() {
    let cases: &[(Fault, &[&str])] = &[
        (Fault::CloseBeforeHeaders, &["reset"]),
        (Fault::ResetBeforeHeaders, &["reset"]),
        (Fault::CloseMidBody, &["truncated", "reset"]),
        (Fault::ResetMidBody, &["truncated", "reset"]),
        (Fault::Stall, &["timeout"]),
        (Fault::BadHttp, &["invalid", "reset"]),
        (Fault::Status(408), &["status_4xx", "timeout"]),
        (Fault::Status(429), &["status_429"]),
        (Fault::Status(500), &["status_5xx"]),
        (Fault::Status(502), &["status_5xx"]),
        (Fault::Status(503), &["status_5xx", "overloaded"]),
        (Fault::Status(529), &["overloaded"]),
        (Fault::Refusal(Refusal::Quota), &["key_spent"]),
        (Fault::Refusal(Refusal::Credit), &["key_spent"]),
        (Fault::Refusal(Refusal::Key), &["key_refused"]),
        (Fault::Refusal(Refusal::Forbidden), &["key_refused"]),
    ];
    for (fault, outcomes) in cases {
        let [a, b] = upstreams(["a", "b"]).await;
        let gate = pair(&a, &b).start().await;
        a.set_fault(Some(*fault));
        let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
        assert_eq!((answer.status, a.hits(), b.hits()), (200, 1, 1), "{fault:?}: {}", answer.text());
        assert_eq!(text_of(&answer), said("b", 5), "{fault:?}");
        let told = (answer.header("x-sluicegate-target"), answer.header("x-sluicegate-attempts"));
        assert_eq!(told, ("second/m", "2"), "{fault:?}");
        assert_second(&gate, &format!("{fault:?}"), outcomes).await;
    }
}

#[tokio::test]
async fn a_stream_comes_from_the_next_target_whatever_happens_to_the_first_before_its_first_content() {
    let inside = [
        Twist::Error(500),
        Twist::Error(529),
        Twist::Error(429),
        Twist::Close,
        Twist::Reset,
        Twist::Finish,
        Twist::Stall,
        Twist::Garbage,
    ];
    let mut faults: Vec<Fault> = vec![
        Fault::CloseBeforeHeaders,
        Fault::Stall,
        Fault::Status(500),
        Fault::Status(429),
        Fault::Refusal(Refusal::Overloaded),
        Fault::At(Stage::Start, Twist::Ping(ms(100))),
    ];
    for stage in [Stage::Headers, Stage::Start] {
        faults.extend(inside.map(|twist| Fault::At(stage, twist)));
    }
    for fault in faults {
        let [a, b] = upstreams(["a", "b"]).await;
        let gate = pair(&a, &b).start().await;
        a.set_fault(Some(fault));
        let mut stream = stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
        assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream"), "{fault:?}");
        let told = chat_told(&stream.rest().await);
        assert_eq!((told.text.as_str(), told.ended), (said("b", 5).as_str(), true), "{fault:?}: {told:?}");
        assert_eq!((told.errors.len(), told.finish.as_deref()), (0, Some("stop")), "{fault:?}");
        assert_eq!(stream.header("x-sluicegate-target"), "second/m", "{fault:?}");
        let any = [
            "first_token_timeout",
            "timeout",
            "reset",
            "status_5xx",
            "status_429",
            "overloaded",
            "stream_error",
            "truncated",
            "invalid",
        ];
        let expected: &[&str] = match fault {
            Fault::At(_, Twist::Error(500)) => &["stream_error"],
            Fault::At(_, Twist::Close | Twist::Reset | Twist::Finish) => &["truncated", "reset"],
            Fault::At(_, Twist::Stall | Twist::Ping(_)) | Fault::Stall => &["first_token_timeout", "timeout"],
            _ => &any,
        };
        assert_second(&gate, &format!("{fault:?}"), expected).await;
        eventually(s(5), "the first is left", async || a.ledger().total().in_flight() == 0).await;
    }
}

#[tokio::test]
async fn the_beginnings_of_anthropics_streams_and_of_responses_are_held_back_too() {
    for twist in [Twist::Error(529), Twist::Error(500), Twist::Close, Twist::Finish] {
        let [a, b] = upstreams(["a", "b"]).await;
        let gate = ai()
            .anthropic("first", &a)
            .anthropic("second", &b)
            .openai("third", &a)
            .openai("fourth", &b)
            .model("c", &["first", "second"])
            .model("o", &["third", "fourth"])
            .start()
            .await;
        a.set_fault(Some(Fault::At(Stage::Start, twist)));
        let events = stream(&gate, "messages", &streamed(messages("c", "hello"))).await.rest().await;
        let told = messages_told(&events);
        assert_eq!((told.text.as_str(), told.ended, told.errors.len()), (said("b", 5).as_str(), true, 0), "{twist:?}");
        let events = stream(&gate, "responses", &streamed(responses("o", "hello"))).await.rest().await;
        let told = responses_told(&events);
        assert_eq!((told.text.as_str(), told.ended, told.errors.len()), (said("b", 5).as_str(), true, 0), "{twist:?}");
        let begun = events.iter().filter(|event| event.name == "response.created").count();
        assert_eq!((begun, a.hits(), b.hits()), (1, 2, 2), "{twist:?}");
        let line = gate.access_log(2).await.remove(0);
        if twist == Twist::Error(529) {
            assert_eq!(tries(&line)[0].1, "overloaded");
        }
    }
}

#[tokio::test]
async fn after_the_first_content_a_broken_stream_ends_with_one_error_in_the_words_of_the_client() {
    for twist in [Twist::Error(500), Twist::Close, Twist::Reset, Twist::Finish, Twist::Stall] {
        let [a, b] = upstreams(["a", "b"]).await;
        let gate = ai()
            .openai("first", &a)
            .anthropic("second", &a)
            .openai("spare", &b)
            .model("o", &["first", "spare"])
            .model("c", &["second", "spare"])
            .set(SLOW)
            .start()
            .await;
        a.set_fault(Some(Fault::At(Stage::After(3), twist)));
        let mut open = stream(&gate, "chat/completions", &streamed(chat("o", "hello"))).await;
        assert_eq!(open.status, 200);
        let told = chat_told(&open.rest().await);
        assert_eq!((told.text.as_str(), told.errors.len()), ("This is a ", 1), "{twist:?}: {told:?}");
        assert!(!told.ended && told.finish.is_none(), "nothing says that it is whole: {twist:?}: {told:?}");
        assert!(told.errors[0]["message"].is_string() && told.errors[0]["type"].is_string(), "{twist:?}: {told:?}");

        let told = messages_told(&stream(&gate, "messages", &streamed(messages("c", "hello"))).await.rest().await);
        assert_eq!(
            (told.text.as_str(), told.errors.len(), told.ended),
            ("This is a ", 1, false),
            "{twist:?}: {told:?}"
        );
        assert!(told.errors[0]["type"].as_str().unwrap().ends_with("_error"), "{twist:?}: {told:?}");

        let events = stream(&gate, "responses", &streamed(responses("o", "hello"))).await.rest().await;
        let told = responses_told(&events);
        assert!(told.text == "This is a " && !told.errors.is_empty() && !told.ended, "{twist:?}: {told:?}");
        let (error, said) = (&told.errors[0], matches!(twist, Twist::Error(_)));
        assert_eq!(error["sequence_number"], events.len() - 1, "{twist:?}: it is the next one: {error}");
        assert_eq!(error["error"].is_null(), said, "{twist:?}: what the provider says has its shape: {error}");
        assert_eq!(error["code"] == "server_error", said, "{twist:?}: and its word: {error}");

        assert_eq!(b.hits(), 0, "{twist:?}: no second beginning");
        let lines = gate.access_log(3).await;
        assert!(lines.iter().all(|line| line["broken"] == true), "{twist:?}: {lines:#?}");
        assert_eq!(gate.metric("sluicegate_ai_broken_streams_total").await, 3.0, "{twist:?}");
    }
}

#[tokio::test]
async fn a_provider_that_dies_in_the_middle_of_a_stream_is_told_of_and_not_passed_over_in_silence() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).model("m", &["first"]).start().await;
    a.set_order("sse", "rate=20,events=400");
    let mut open = stream(&gate, "messages", &streamed(messages("m", "hello"))).await;
    open.until("text_delta").await;
    a.stop().await;
    let last = within(s(5), "an end", open.rest()).await.pop().unwrap();
    assert_eq!((last.name.as_str(), &last.json()["type"]), ("error", &json!("error")));
    assert_eq!(last.json()["error"]["type"], "api_error");
    assert!(last.json()["error"]["message"].is_string());
}

#[tokio::test]
async fn what_lies_in_the_request_is_passed_on_in_the_providers_words_and_never_tried_elsewhere() {
    let cases = [
        (Fault::Status(400), 400),
        (Fault::Status(404), 404),
        (Fault::Status(413), 413),
        (Fault::Status(422), 422),
        (Fault::Refusal(Refusal::Context), 400),
        (Fault::Refusal(Refusal::Filter), 400),
        (Fault::Refusal(Refusal::Model), 404),
    ];
    for (fault, status) in cases {
        let [a, b] = upstreams(["a", "b"]).await;
        let gate = pair(&a, &b).start().await;
        a.set_fault(Some(fault));
        let direct = Client::http(a.address()).ask("POST", "/v1/chat/completions").header("authorization", "Bearer x");
        let direct = direct.body(chat("m", "hello").to_string()).send().await;
        for body in [chat("m", "hello"), streamed(chat("m", "hello"))] {
            let answer = ask(&gate, "chat/completions", &body).await;
            assert_eq!((answer.status, b.hits()), (status, 0), "{fault:?}: {}", answer.text());
            assert_eq!(answer.text(), direct.text(), "{fault:?}");
            assert_eq!(answer.header("x-sluicegate-attempts"), "1", "{fault:?}");
        }
    }
}

#[tokio::test]
async fn an_error_of_a_provider_of_another_kind_is_told_in_the_words_of_the_client() {
    let a = upstream("a").await;
    let gate = ai().anthropic("c", &a).openai("o", &a).model("c", &["c"]).model("o", &["o"]).start().await;
    a.set_fault(Some(Fault::Refusal(Refusal::Context)));
    let answer = ask(&gate, "chat/completions", &chat("c", "hello")).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]["type"]), (400, &json!("invalid_request_error")), "{body}");
    assert!(body["error"].get("code").is_some() && body.get("type").is_none(), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("maximum context length"), "{body}");
    let answer = ask(&gate, "messages", &messages("o", "hello")).await;
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["type"], &body["error"]["type"]),
        (400, &json!("error"), &json!("invalid_request_error")),
        "{body}"
    );
    assert!(body["error"]["message"].as_str().unwrap().contains("maximum context length"), "{body}");
}

#[tokio::test]
async fn when_every_target_fails_the_client_learns_how_and_nothing_of_the_inside() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = pair(&a, &b).start().await;
    for status in [500, 503] {
        a.set_fault(Some(Fault::Status(500)));
        b.set_fault(Some(Fault::Status(status)));
        let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["type"]), (status, &json!("server_error")), "{error}");
        assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
        assert!(!answer.text().contains("Sorry about that"), "the provider's words stay inside: {error}");
        assert!(!answer.text().contains(&a.address().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_provider_that_gave_up_waiting_for_the_request_is_no_fault_of_the_callers() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).anthropic("second", &a).model("m", &["first"]).model("n", &["second"]);
    let gate = gate.set("attempts: 1").set("breaker: off").start().await;
    a.set_fault(Some(Fault::Status(408)));
    for model in ["m", "n"] {
        let answer = ask(&gate, "chat/completions", &chat(model, "hello")).await;
        let told = (answer.status, code_of(&answer), answer.json()["error"]["type"].clone());
        assert_eq!(told, (504, "PROVIDER_TIMEOUT".to_owned(), json!("server_error")), "{}", answer.text());
        let answer = ask(&gate, "messages", &messages(model, "hello")).await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (504, &json!("timeout_error")));
    }
}

#[tokio::test]
async fn providers_that_cannot_be_reached_are_502_and_those_that_take_too_long_504() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = pair(&a, &b).start().await;
    a.stop().await;
    b.stop().await;
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.json()["error"]["code"].is_string());
    let answer = ask(&gate, "messages", &messages("m", "hello")).await;
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (502, &json!("api_error")), "{}", answer.text());

    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set("attempts: 1").set(SLOW).start().await;
    a.set_fault(Some(Fault::Stall));
    for body in [chat("m", "hello"), streamed(chat("m", "hello"))] {
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(answer.elapsed >= ms(1400) && answer.elapsed < s(8), "{:?}", answer.elapsed);
    }
}

#[tokio::test]
async fn a_provider_that_takes_no_connection_costs_the_connect_timeout_and_no_more() {
    let hole = blackhole();
    let b = upstream("b").await;
    let gate = ai()
        .provider_at("first", "openai", hole.address(), "keys: sk-x-4711")
        .openai("second", &b)
        .model("m", &["first", "second"])
        .set("timeouts: { connect: 500ms }")
        .start()
        .await;
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!(text_of(&answer), said("b", 5));
    assert!(answer.elapsed >= ms(450) && answer.elapsed < s(8), "{:?}", answer.elapsed);
}

#[tokio::test]
async fn a_provider_that_takes_no_connection_costs_no_more_than_the_time_for_all_tries_or_for_the_first_content() {
    let hole = blackhole();
    for (timeouts, body) in [("total: 1s", chat("m", "hello")), ("first_token: 1s", streamed(chat("m", "hello")))] {
        let gate = ai()
            .provider_at("first", "openai", hole.address(), "keys: sk-x-4711")
            .model("m", &["first"])
            .set(&format!("timeouts: {{ {timeouts} }}"))
            .start()
            .await;
        let answer = ask(&gate, "chat/completions", &body).await;
        assert_eq!((answer.status, code_of(&answer).as_str()), (504, "PROVIDER_TIMEOUT"), "{timeouts}");
        assert!(answer.elapsed >= ms(900) && answer.elapsed < s(5), "{:?}", answer.elapsed);
        assert_eq!(gate.access_log(1).await[0]["tries"][0]["outcome"], "timeout", "{timeouts}");
    }
}

#[tokio::test]
async fn the_time_for_all_tries_together_is_bounded() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .openai("first", &a)
        .openai("second", &b)
        .model("m", &["first", "second"])
        .set("timeouts: { first_token: 1s, idle: 60s, total: 2s }")
        .set("attempts: 10")
        .start()
        .await;
    a.set_fault(Some(Fault::Stall));
    b.set_fault(Some(Fault::Stall));
    let answer = ask(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.elapsed >= ms(1900) && answer.elapsed < s(8), "{:?}", answer.elapsed);
}

#[tokio::test]
async fn a_provider_that_fails_for_a_moment_is_asked_a_second_time_and_no_more() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set("attempts: 5").start().await;
    a.fail_next(1, Fault::Status(500));
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((text_of(&answer), answer.header("x-sluicegate-attempts")), (said("a", 5), "2"));
    a.set_fault(Some(Fault::Status(500)));
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((answer.status, answer.header("x-sluicegate-attempts"), a.hits()), (500, "2", 4), "{}", answer.text());
}

#[tokio::test]
async fn one_request_never_becomes_more_than_the_configured_attempts() {
    let [a, b] = upstreams(["a", "b"]).await;
    for attempts in [1, 2, 3] {
        let before = a.hits() + b.hits();
        let gate = pair(&a, &b).set(&format!("attempts: {attempts}")).start().await;
        a.set_fault(Some(Fault::Status(500)));
        b.set_fault(Some(Fault::Status(500)));
        let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
        assert_eq!((answer.status, a.hits() + b.hits() - before), (500, attempts), "{}", answer.text());
        assert_eq!(answer.header("x-sluicegate-attempts"), attempts.to_string());
    }
}

#[tokio::test]
async fn the_primary_fails_and_the_fallback_serves_in_another_dialect() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .openai("openai", &a)
        .anthropic("anthropic", &b)
        .model_as("gpt-4", "{ targets: [{ provider: openai }, { provider: anthropic, model: claude-sonnet-4-5 }] }")
        .start()
        .await;
    a.set_fault(Some(Fault::Status(500)));
    let answer = ask(&gate, "chat/completions", &chat("gpt-4", "hello")).await;
    assert_eq!(text_of(&answer), said("b", 5));
    let told = (answer.header("x-sluicegate-target"), answer.header("x-sluicegate-attempts"));
    assert_eq!(told, ("anthropic/claude-sonnet-4-5", "2"));
    let line = gate.access_log(1).await.remove(0);
    assert_eq!(
        (&line["attempts"], &line["model"], &line["model_served"]),
        (&json!(2), &json!("gpt-4"), &json!("claude-sonnet-4-5"))
    );
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("gpt-4", "hello"))).await.rest().await);
    assert_eq!((told.text, told.ended), (said("b", 5), true));
}

#[tokio::test]
async fn targets_of_one_rank_share_by_weight_and_stand_in_for_each_other() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .openai("first", &a)
        .openai("second", &b)
        .model_as("m", "{ targets: [{ provider: first, weight: 9 }, { provider: second, weight: 1 }] }")
        .start()
        .await;
    for _ in 0..100 {
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    }
    assert!((80..=98).contains(&a.hits()) && a.hits() + b.hits() == 100, "{} and {}", a.hits(), b.hits());
    a.stop().await;
    for _ in 0..10 {
        assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("m", "x")).await), said("b", 1));
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_provider_at_once() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    a.set_order("sse", "rate=20,events=1000");
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    open.until("content\":\"").await;
    a.mark_leaving();
    drop(open);
    eventually(s(5), "the stream is cancelled", async || a.ledger().total().cancelled == 1).await;

    a.clear_orders();
    a.set_latency(s(20));
    for body in [chat("m", "x"), streamed(chat("m", "x"))] {
        let before = a.ledger().total();
        let client = gate.client().clone();
        let waiting = tokio::spawn(async move {
            client
                .ask("POST", "/v1/chat/completions")
                .header("content-type", "application/json")
                .body(body.to_string())
                .try_send()
                .await
        });
        eventually(s(5), "the provider has it", async || a.ledger().total().begun == before.begun + 1).await;
        a.mark_leaving();
        waiting.abort();
        eventually(s(5), "it is cancelled", async || a.ledger().total().cancelled == before.cancelled + 1).await;
    }
    let slowest = a.ledger().cancellations.iter().filter_map(|one| one.after_mark).max().unwrap();
    assert!(slowest < s(2), "{slowest:?}");
    let lines = gate.access_log(3).await;
    assert!(
        lines.iter().all(|line| line["status"] == 200 || line["status"] == 499 || line["status"] == 0),
        "{lines:#?}"
    );
    assert_eq!(tries(&lines[1])[0].1, "cancelled", "{}", lines[1]);
}

#[tokio::test]
async fn a_client_that_leaves_between_two_tries_starts_no_other() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = pair(&a, &b).start().await;
    a.set_fault(Some(Fault::SlowHeaders(ms(800))));
    let body = chat("m", "x").to_string();
    let mut leaving = gate.connect().await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    leaving.send(format!("{head}{body}")).await;
    eventually(s(5), "the first has it", async || a.hits() == 1).await;
    leaving.reset();
    a.set_fault(Some(Fault::Status(500)));
    eventually(s(5), "the first is left", async || a.ledger().total().in_flight() == 0).await;
    holds_for(s(1), "the second is not asked", async || b.hits() == 0).await;
}

#[tokio::test]
async fn a_client_that_waits_for_its_stream_is_sent_comments_and_still_gets_the_next_target() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .openai("first", &a)
        .openai("second", &b)
        .model("m", &["first", "second"])
        .set("keepalive: 1s")
        .set("timeouts: { first_token: 2500ms }")
        .start()
        .await;
    a.set_fault(Some(Fault::At(Stage::Start, Twist::Stall)));
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    let told = chat_told(&open.rest().await);
    assert_eq!((told.text, told.ended, told.errors.len()), (said("b", 5), true, 0));
    assert!((1..=3).contains(&open.comments), "{} comments", open.comments);
    assert_eq!(open.header("x-accel-buffering"), "no");
    assert!(open.header("cache-control").contains("no-cache"), "{:?}", open.headers);
}

#[tokio::test]
async fn a_client_that_has_been_sent_comments_gets_an_error_event_when_nobody_answers() {
    let a = upstream("a").await;
    let gate = ai()
        .openai("first", &a)
        .model("m", &["first"])
        .set("keepalive: 1s")
        .set("attempts: 1")
        .set("timeouts: { first_token: 1800ms }")
        .start()
        .await;
    a.set_fault(Some(Fault::Stall));
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    let told = chat_told(&open.rest().await);
    assert_eq!((open.status, told.errors.len(), told.text.as_str()), (200, 1, ""), "{told:?}");
    assert!(told.errors[0]["message"].is_string(), "{told:?}");
    let mut open = stream(&gate, "messages", &streamed(messages("m", "hello"))).await;
    let told = messages_told(&open.rest().await);
    assert_eq!((told.errors.len(), told.ended), (1, false), "{told:?}");
}

#[tokio::test]
async fn what_is_held_back_is_bounded_in_time() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("hold: { time: 300ms }").start().await;
    a.set_fault(Some(Fault::At(Stage::Start, Twist::Delay(s(4)))));
    let started = now();
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    let first = open.next().await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(3500), "the role came after {:?}", started.elapsed());
    assert_eq!(first.json()["choices"][0]["delta"]["role"], "assistant");
    let told = chat_told(&open.rest().await);
    assert_eq!((told.text, told.ended), (said("a", 5), true));
}

#[tokio::test]
async fn the_first_token_is_the_first_content_and_not_what_was_let_go_before() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("hold: { time: 200ms }").start().await;
    a.set_fault(Some(Fault::At(Stage::Start, Twist::Delay(ms(1500)))));
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await);
    assert!(told.ended, "{told:?}");
    let line = gate.access_log(1).await.remove(0);
    assert!(line["first_token_ms"].as_f64() >= Some(1500.0), "{line}");
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_content_but_after_it_was_let_go_is_broken_and_has_no_first_token() {
    let raw = raw_upstream().await;
    let ai = ai().provider_at("first", "openai", raw.address(), "keys: sk-x-4711").model("m", &["first"]);
    let gate = ai.set("hold: { time: 200ms }").start().await;
    let provider = tokio::spawn(async move {
        let role =
            r#"{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant"}}]}"#;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        raw.answer_once(&format!("{head}data: {role}\n\n")).await
    });
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    open.next().await.unwrap();
    provider.await.unwrap().0.send("data: {\"error\":{\"message\":\"no\",\"code\":500}}\n\n").await;
    assert_eq!(chat_told(&open.rest().await).errors.len(), 1);
    let line = gate.access_log(1).await.remove(0);
    assert_eq!((&line["broken"], &line["first_token_ms"]), (&json!(true), &Value::Null), "{line}");
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum(r#"sluicegate_ai_requests_total{outcome="broken"}"#), 1.0);
    assert_eq!(metrics.sum("gen_ai_server_time_to_first_token_seconds_count"), 0.0);
}

#[tokio::test]
async fn the_first_content_has_its_time_also_when_the_role_was_let_go_before() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("hold: { time: 200ms }").set("timeouts: { first_token: 1500ms, idle: 20s }").start().await;
    a.set_fault(Some(Fault::At(Stage::Start, Twist::Delay(s(10)))));
    let started = now();
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await);
    assert_eq!((told.errors.len(), told.text.as_str()), (1, ""), "{told:?}");
    assert!(started.elapsed() < s(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_slow_stream_is_cut_off_after_the_idle_time_and_not_before() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("timeouts: { first_token: 20s, idle: 2s }").start().await;
    a.set_order("sse", "interval=900ms,events=4");
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await);
    assert!(told.ended && told.errors.is_empty(), "{told:?}");
    a.set_order("sse", "interval=6s,events=4");
    let started = now();
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await);
    assert!(!told.ended && told.errors.len() == 1, "{told:?}");
    assert!(started.elapsed() < Duration::from_millis(5500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_model_may_have_timeouts_of_its_own() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .openai("first", &a)
        .openai("second", &b)
        .model_as("quick", "{ targets: [first, second], timeouts: { first_token: 600ms } }")
        .model_as("slow", "{ targets: [first, second] }")
        .start()
        .await;
    a.set_fault(Some(Fault::At(Stage::Start, Twist::Delay(s(3)))));
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("quick", "hello"))).await.rest().await);
    assert_eq!(told.text, said("b", 5));
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("slow", "hello"))).await.rest().await);
    assert_eq!(told.text, said("a", 5));
}

#[tokio::test]
async fn a_provider_that_answers_a_stream_with_a_whole_body_is_understood_or_passed_over() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = pair(&a, &b).start().await;
    a.set_fault(Some(Fault::IgnoresStream));
    let answer = ask(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = match answer.header("content-type") {
        "application/json" => text_of(&answer),
        _ => chat_told(&events(answer.text())).text,
    };
    assert!(text == said("a", 5) || text == said("b", 5), "{text}");
}

#[tokio::test]
async fn a_client_that_asked_for_a_stream_gets_one_from_a_provider_that_gives_none() {
    let a = upstream("a").await;
    a.set_order("usage", "in=70,out=30");
    let ai = ai().openai("first", &a).anthropic("second", &a).model("gpt", &["first"]).model("claude", &["second"]);
    let gate = ai.start().await;
    a.set_fault(Some(Fault::IgnoresStream));
    for model in ["gpt", "claude"] {
        let asked = streamed(chat(model, "hello"));
        let mut answer = stream(&gate, "chat/completions", &asked).await;
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("text/event-stream", "no-cache"));
        let told = chat_told(&answer.rest().await);
        assert_eq!((told.text, told.ended, told.usage), (said("a", 5), true, None), "{model}: not asked for usage");
        let asked = with(asked, json!({"stream_options": {"include_usage": true}}));
        let told = chat_told(&stream(&gate, "chat/completions", &asked).await.rest().await);
        assert_eq!(told.usage.unwrap_or_default()["completion_tokens"], 30, "{model}");
        let mut answer = stream(&gate, "messages", &streamed(messages(model, "hello"))).await;
        assert_eq!(answer.header("content-type"), "text/event-stream");
        let told = messages_told(&answer.rest().await);
        assert_eq!((told.text, told.ended), (said("a", 5), true), "{model}");
        assert_eq!(told.usage.unwrap_or_default()["output_tokens"], 30, "{model}");
    }
    for line in gate.access_log(6).await {
        let told = [&line["tokens_input"], &line["tokens_output"], &line["termination"]];
        assert_eq!(told, [&json!(70), &json!(30), &json!("completed")], "{line}");
    }
}

#[tokio::test]
async fn a_reload_does_not_disturb_a_stream() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai().openai("first", &a).openai("second", &b).model("m", &["first"]).start().await;
    a.set_order("sse", "rate=20,events=40,stamp");
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    let mut all = open.until("content\":\"3@").await;
    gate.reload_with("m: [first]", "m: [second]").await;
    assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("m", "x")).await), said("b", 1));
    all.extend(open.rest().await);
    let told = chat_told(&all);
    assert_eq!((told.text.split_whitespace().count(), told.ended), (40, true));
}

#[tokio::test]
async fn another_try_at_the_same_target_is_no_failover() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("breaker: off").start().await;
    a.set_fault(Some(Fault::Status(500)));
    for _ in 0..3 {
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, 500);
    }
    assert_eq!(gate.metric(r#"sluicegate_ai_attempts_total{outcome="status_5xx"}"#).await, 6.0);
    assert_eq!(gate.metric("sluicegate_ai_failovers_total").await, 0.0);
}

#[tokio::test]
async fn a_target_that_cannot_express_the_request_is_told_of_and_is_no_try() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .anthropic("first", &a)
        .openai("second", &b)
        .model("m", &["first", "second"])
        .model("only", &["first"])
        .set("attempts: 1")
        .start()
        .await;
    let seeded = |model: &str| with(chat(model, "hello"), json!({"seed": 7}));
    assert_eq!(text_of(&ask(&gate, "chat/completions", &seeded("m")).await), said("b", 5));
    let refused = ask(&gate, "chat/completions", &seeded("only")).await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("seed")), "{}", refused.text());
    let embeddings = ask(&gate, "embeddings", &json!({"model": "only", "input": "x"})).await;
    assert_eq!((embeddings.status, code_of(&embeddings).as_str()), (400, "UNSUPPORTED_OPERATION"));
    let lines = gate.access_log(3).await;
    let told = |line: &Value| tries(line).into_iter().map(|(name, how)| format!("{name} {how}")).collect::<Vec<_>>();
    assert_eq!(told(&lines[0]), ["first unsupported", "second answered"], "{}", lines[0]);
    assert_eq!((told(&lines[1]), told(&lines[2])), (vec!["first unsupported".to_owned()], told(&lines[1])));
    let attempts: Vec<&Value> = lines.iter().map(|line| &line["attempts"]).collect();
    assert_eq!(attempts, [&json!(1), &json!(0), &json!(0)]);
    assert_eq!(lines[0]["provider"], "second");
    assert_eq!(gate.metric(r#"sluicegate_ai_requests_total{outcome="refused"}"#).await, 2.0, "the request is at fault");
    assert_eq!(gate.metric(r#"sluicegate_ai_failovers_total"#).await, 0.0, "no target failed");
    assert!(!gate.stderr().contains("no target served"), "{}", gate.stderr());
}

#[tokio::test]
async fn a_target_that_took_too_long_is_not_asked_once_more() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("timeouts: { first_token: 1s, idle: 1s }").start().await;
    a.set_latency(s(20));
    for body in [chat("m", "x"), streamed(chat("m", "x"))] {
        assert_eq!(code_of(&ask(&gate, "chat/completions", &body).await), "PROVIDER_TIMEOUT");
    }
    assert_eq!(a.hits(), 2);
}

#[tokio::test]
async fn of_a_pool_that_fails_two_members_are_asked_and_of_one_that_is_away_all() {
    let mocks = upstreams(["a", "b", "c"]).await;
    let members: Vec<String> = mocks.iter().map(|mock| mock.address().to_string()).collect();
    let ai = ai()
        .provider_as("first", "kind: openai_compatible, pool: gpus")
        .model("m", &["first"])
        .set("attempts: 9")
        .set("breaker: off");
    let gate = ai.build().section("pools", &format!("{{ gpus: {{ members: {members:?} }} }}")).start().await;
    mocks.iter().for_each(|mock| mock.set_fault(Some(Fault::Status(500))));
    let failed = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!((failed.status, failed.header("x-sluicegate-attempts")), (500, "2"), "{}", failed.text());
    let [a, b, c] = mocks;
    c.set_fault(None);
    drop((a, b));
    let answer = ask(&gate, "chat/completions", &chat("m", "hello")).await;
    assert_eq!(text_of(&answer), said("c", 5));
}

#[tokio::test]
async fn when_all_of_a_targets_answers_fail_few_are_asked_for_a_second_time() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set("attempts: 2").set("breaker: off").start().await;
    a.set_fault(Some(Fault::Status(500)));
    for _ in 0..30 {
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, 500);
    }
    // Ten are free in any ten seconds; a test that takes longer sees some more.
    assert!((40..=50).contains(&a.hits()), "{}", a.hits());
}

#[tokio::test]
async fn a_target_that_fails_leaves_a_try_for_each_target_behind_it() {
    let away = upstreams(["a", "b", "c", "d"]).await.map(|mock| mock.address().to_string());
    let (limited, last) = (upstream("limited").await, upstream("last").await);
    limited.set_fault(Some(Fault::Status(429)));
    let gate = ai()
        .provider_as("pool", "kind: openai_compatible, pool: gpus")
        .provider_with("limited", "openai", &limited, "keys: [k-1-4711, k-2-4711, k-3-4711, k-4-4711]")
        .openai("last", &last)
        .model("of-the-pool", &["pool", "last"])
        .model("of-the-keys", &["limited", "last"])
        .model("of-both", &["pool", "limited", "last"])
        .set("breaker: off")
        .build()
        .section("pools", &format!("{{ gpus: {{ members: {away:?} }} }}"))
        .start()
        .await;
    for model in ["of-the-pool", "of-the-keys", "of-both"] {
        let answer = ask(&gate, "chat/completions", &chat(model, "hello")).await;
        assert_eq!(text_of(&answer), said("last", 5), "{model}");
        assert_eq!(answer.header("x-sluicegate-attempts"), "3", "{model}");
    }
}

#[tokio::test]
async fn only_a_provider_that_closes_at_once_is_sent_the_request_again_and_that_is_told() {
    for (works_for, sent) in [(ms(0), 2), (s(1), 1)] {
        let a = upstream("a").await;
        let gate = ai_of(&a).set("attempts: 1").set("breaker: off").start().await;
        let body = chat("m", "hello").to_string();
        let length = body.len();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        // On one connection, so that one worker serves both, and has a connection to the provider that was kept.
        let mut client = gate.connect().await;
        assert_eq!(client.ask(&request).await.status, 200);
        a.set_latency(works_for);
        a.set_fault(Some(Fault::CloseBeforeHeaders));
        let answer = client.ask(&request).await;
        let line = gate.access_log(2).await.remove(1);
        assert_eq!((answer.status, a.hits()), (502, 1 + sent), "{works_for:?}: {line}");
        assert_eq!(answer.header("x-sluicegate-attempts"), sent.to_string(), "{works_for:?}");
        let outcomes: Vec<String> = tries(&line).into_iter().map(|(_, outcome)| outcome).collect();
        assert_eq!(outcomes, vec!["reset"; sent as usize], "{works_for:?}");
    }
}
