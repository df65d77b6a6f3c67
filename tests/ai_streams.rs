//! Event streams: nothing lost, nothing added, nothing late, and every provider left with its client.

#[path = "support/harness.rs"]
mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::ai::*;
use support::*;
use tokio::task::JoinSet;

/// The body of a stream, whole.
async fn body(gate: &Gateway, door: &str, asked: &Value) -> String {
    let answer = ask(gate, door, asked).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"), "{}", answer.text());
    answer.text().to_owned()
}

/// The same asked of the mock itself.
async fn direct(mock: &Mock, door: &str, asked: &Value) -> String {
    let asked = Client::http(mock.address()).ask("POST", &format!("/v1/{door}")).body(asked.to_string());
    asked.header("content-type", "application/json").send().await.text().to_owned()
}

/// A body without what differs from one answer to the next: the mock numbers its answers.
fn unnumbered(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some(at) = rest.find("mock") {
        let (before, after) = rest.split_at(at + 4);
        out.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    let created = out.split("\"created\":").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    let out = created.collect::<Vec<_>>().join("\"created\":");
    let created = out.split("\"created_at\":").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    created.collect::<Vec<_>>().join("\"created_at\":")
}

#[tokio::test]
async fn a_stream_arrives_byte_for_byte_where_both_sides_speak_the_same() {
    let a = upstream("a").await;
    let gate =
        ai().openai("first", &a).anthropic("second", &a).model("o", &["first"]).model("c", &["second"]).start().await;
    let told = json!({"stream_options": {"include_usage": true}});
    let cases = [
        ("chat/completions", with(streamed(chat("o", "hello")), told.clone())),
        ("completions", with(streamed(json!({"model": "o", "prompt": "hello"})), told)),
        ("responses", streamed(responses("o", "hello"))),
        ("messages", streamed(messages("c", "hello"))),
    ];
    for (door, asked) in cases {
        let (through, straight) = (body(&gate, door, &asked).await, direct(&a, door, &asked).await);
        assert_eq!(unnumbered(&through), unnumbered(&straight), "{door}");
    }
}

#[tokio::test]
async fn a_client_that_did_not_ask_for_usage_is_not_told_of_it_and_it_is_counted_all_the_same() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    a.set_order("usage", "in=100,out=50");
    for (door, plain) in
        [("chat/completions", chat("m", "hello")), ("completions", json!({"model": "m", "prompt": "hello"}))]
    {
        let asked = streamed(plain);
        let (through, straight) = (body(&gate, door, &asked).await, direct(&a, door, &asked).await);
        assert_eq!(unnumbered(&through), unnumbered(&straight), "{door}: as if it had been asked without");
        assert!(!through.contains("usage"), "{door}: {through}");
        let seen = a.requests().into_iter().rev().nth(1).unwrap();
        let sent: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(sent["stream_options"]["include_usage"], true, "{door}: the gateway asks for itself");
    }
    let explicit = with(streamed(chat("m", "hello")), json!({"stream_options": {"include_usage": false}}));
    assert!(!body(&gate, "chat/completions", &explicit).await.contains("usage"));
    let lines = gate.access_log(3).await;
    for line in &lines {
        assert_eq!((&line["tokens_input"], &line["tokens_output"]), (&json!(100), &json!(50)), "{line}");
    }
    let asked = with(streamed(chat("m", "hello")), json!({"stream_options": {"include_usage": true}}));
    let told = chat_told(&events(&body(&gate, "chat/completions", &asked).await));
    let usage = told.usage.unwrap();
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(100), &json!(50), &json!(150))
    );
}

#[tokio::test]
async fn other_options_of_a_stream_are_left_alone() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let asked = with(streamed(chat("m", "hello")), json!({"stream_options": {"include_obfuscation": false}}));
    let told = chat_told(&events(&body(&gate, "chat/completions", &asked).await));
    assert!(told.ended && told.usage.is_none(), "{told:?}");
    let sent: Value = serde_json::from_slice(&last_seen(&a).body).unwrap();
    assert_eq!(sent["stream_options"], json!({"include_obfuscation": false, "include_usage": true}));
}

#[tokio::test]
async fn any_framing_that_the_standard_allows_is_understood() {
    let a = upstream("a").await;
    let gate = ai()
        .openai("first", &a)
        .anthropic("second", &a)
        .gemini("third", &a)
        .model("o", &["first"])
        .model("c", &["second"])
        .model("g", &["third"])
        .start()
        .await;
    for framing in [
        "split=1",
        "split=3",
        "split=7,crlf",
        "together=100",
        "crlf",
        "cr",
        "comments",
        "multiline",
        "tight",
        "bom",
        "split=2,cr,comments,multiline,tight,bom",
    ] {
        a.set_order("framing", framing);
        for model in ["o", "c", "g"] {
            let asked = streamed(chat(model, "say Grüße, 世界 \u{1F600} und mehr"));
            let told = chat_told(&events(&body(&gate, "chat/completions", &asked).await));
            assert_eq!(
                (told.text.as_str(), told.ended),
                ("Grüße, 世界 \u{1F600} und mehr", true),
                "{framing}, {model}"
            );
            assert_eq!(told.finish.as_deref(), Some("stop"), "{framing}, {model}");
        }
        let asked = streamed(messages("c", "say Grüße, 世界"));
        let told = messages_told(&events(&body(&gate, "messages", &asked).await));
        assert_eq!((told.text.as_str(), told.ended), ("Grüße, 世界", true), "{framing}");
    }
    eventually(s(2), "usage is known of all", async || {
        gate.metric(r#"sluicegate_ai_usage_total{source="provider"}"#).await == 44.0
    })
    .await;
}

#[tokio::test]
async fn events_arrive_when_they_are_made() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    a.set_order("sse", "interval=300ms,events=5,stamp");
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    let mut ages = Vec::new();
    while let Some(event) = open.next().await {
        if let Some(stamp) = stamped(&event) {
            ages.push(stamp.1);
        }
    }
    assert_eq!(ages.len(), 5);
    ages.sort();
    assert!(ages[2] < ms(150), "the middle one was {:?} old", ages[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once_lose_no_event_and_all_are_left_when_their_clients_leave() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    let streams = scaled(200);
    a.set_order("sse", "rate=10,events=30,stamp");
    let mut readers = JoinSet::new();
    for _ in 0..streams {
        let client = gate.client().clone();
        readers.spawn(async move {
            let asked = client.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
            let mut open = Events::new(asked.body(streamed(chat("m", "x")).to_string()).stream().await);
            let all = open.rest().await;
            let numbers: Vec<u64> = all.iter().filter_map(stamped).map(|(number, _)| number).collect();
            assert!(chat_told(&all).ended);
            numbers
        });
    }
    while let Some(read) = readers.join_next().await {
        let numbers = read.unwrap();
        assert!(numbers.iter().copied().eq(0..30), "{numbers:?}");
    }
    let total = a.ledger().total();
    assert_eq!((total.finished, total.cancelled), (streams as u64, 0));

    a.set_order("sse", "rate=10,events=10000,stamp");
    let mut open = Vec::new();
    for _ in 0..streams {
        let mut stream = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
        stream.until("content\":\"0@").await;
        open.push(stream);
    }
    a.mark_leaving();
    drop(open);
    eventually(s(10), "all are left", async || a.ledger().total().cancelled == streams as u64).await;
    let mut after: Vec<Duration> = a.ledger().cancellations.iter().filter_map(|one| one.after_mark).collect();
    after.sort();
    assert!(after[streams / 2] < ms(500), "half of them within {:?}", after[streams / 2]);
    eventually(s(5), "nothing is in flight", async || gate.metric("sluicegate_requests_in_flight").await == 0.0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for_and_costs_little() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    a.set_order("sse", "interval=0ms,events=12000,size=1KiB");
    let before = gate.own_memory();
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    open.next().await.unwrap();
    let mut most = 0;
    holds_for(s(1), "the gateway keeps running", async || {
        most = most.max(gate.own_memory().saturating_sub(before));
        true
    })
    .await;
    assert!(most < 12 << 20, "a stream that nobody reads holds {most} bytes");
    let told = chat_told(&open.rest().await);
    assert_eq!((told.text.len() / 1024 >= 12_000, told.ended), (true, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_prompt_passes_and_does_not_hold_up_another_stream() {
    let a = upstream("a").await;
    // It reads what comes and nothing more: the mock would need longer to understand it than the gateway.
    let large = origin(|_| async { given(&[("content-type", "application/json")], whole("good")) }).await;
    let gate = ai()
        .openai("first", &a)
        .provider_at("second", "openai", large.address(), "keys: sk-x-4711")
        .model("m", &["first"])
        .model("large", &["second/other"])
        .build()
        .section("server", "{ max_body: 32MiB }")
        .start()
        .await;
    a.set_order("sse", "rate=20,events=60,stamp");
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
    let text = "All work and no play. ".repeat(5 * 1024 * 1024 / 22);
    let prompt = chat("large", &text).to_string();
    let sending = async {
        for _ in 0..3 {
            let asked = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
            assert_eq!(text_of(&asked.body(prompt.clone()).send().await), "good");
        }
    };
    let reading = async {
        let mut ages = Vec::new();
        while let Some(event) = open.next().await {
            ages.extend(stamped(&event).map(|(_, age)| age));
        }
        ages
    };
    let ((), mut ages) = futures::join!(sending, reading);
    assert_eq!(ages.len(), 60);
    ages.sort();
    assert!(ages[30] < ms(100), "half of the events were more than {:?} late", ages[30]);
}

/// A whole answer of a model.
fn whole(text: &str) -> String {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    json!({"id": "x", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}).to_string()
}

#[tokio::test]
async fn what_an_event_weighs_is_bounded_and_a_large_one_passes() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    a.fail_next(1, Fault::At(Stage::After(1), Twist::Huge(1 << 20)));
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await);
    assert!(told.text.len() > 1 << 20 && told.ended, "{} bytes", told.text.len());
    a.fail_next(1, Fault::At(Stage::After(1), Twist::Huge(48 << 20)));
    let before = gate.own_memory();
    let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await;
    while let Ok(Some(_)) = open.try_next().await {}
    let most = gate.peak_memory().saturating_sub(before);
    assert!(most < 64 << 20, "an event of 48 MiB cost {} MiB", most >> 20);
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, 200);
}
