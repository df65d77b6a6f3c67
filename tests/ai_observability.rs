//! What an operator sees of requests to models: log, metrics, and nothing of what was said.

#[path = "support/harness.rs"]
mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::ai::*;
use support::*;

const PRICES: &str = "prices: { models: { gpt-4o: { input: 1.00, output: 2.00 } } }";

/// A gateway that has met a bit of everything: an answer, a stream, a failover, a broken stream, a refusal.
async fn busy(a: &Mock, b: &Mock) -> Gateway {
    a.set_order("usage", "in=1000,out=500,cached=200");
    let gate = ai()
        .openai("first", a)
        .openai("second", b)
        .model("gpt-4o", &["first/gpt-4o-eu", "second"])
        .set(PRICES)
        .start()
        .await;
    assert_eq!(ask(&gate, "chat/completions", &chat("gpt-4o", "hello")).await.status, 200);
    stream(&gate, "chat/completions", &streamed(chat("gpt-4o", "hello"))).await.rest().await;
    a.fail_next(1, Fault::Status(500));
    assert_eq!(ask(&gate, "chat/completions", &chat("gpt-4o", "hello")).await.status, 200);
    a.fail_next(1, Fault::At(Stage::After(2), Twist::Close));
    stream(&gate, "chat/completions", &streamed(chat("gpt-4o", "hello"))).await.rest().await;
    assert_eq!(ask(&gate, "chat/completions", &chat("nobody", "hello")).await.status, 400);
    gate
}

#[tokio::test]
async fn a_line_of_the_access_log_tells_what_a_request_was_and_what_became_of_it() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = busy(&a, &b).await;
    let lines = gate.access_log(5).await;
    let told = |line: &Value, names: &[&str]| names.iter().map(|name| line[*name].clone()).collect::<Vec<_>>();
    let whole = told(
        &lines[0],
        &["route", "operation", "model", "model_served", "provider", "provider_key", "stream", "attempts", "status"],
    );
    let expected = json!(["ai", "chat", "gpt-4o", "gpt-4o-eu", "first", "key-1", false, 1, 200]);
    assert_eq!(Value::from(whole), expected);
    let used = told(&lines[0], &["tokens_input", "tokens_output", "tokens_cache_read", "cost_usd"]);
    assert_eq!(Value::from(used), json!([1000, 500, 200, 0.002]), "{}", lines[0]);
    let answered = json!({"provider": "first", "key": "key-1", "outcome": "answered", "request_id": "req_mock1"});
    assert_eq!(lines[0]["tries"], json!([answered]));
    assert_eq!(lines[1]["stream"], true);
    let first = lines[1]["first_token_ms"].as_f64().unwrap();
    assert!(first > 0.0 && first <= lines[1]["duration_ms"].as_f64().unwrap(), "{}", lines[1]);
    let outcomes: Vec<&Value> = lines[2]["tries"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!((outcomes, &lines[2]["attempts"]), (vec![&json!("status_5xx"), &json!("answered")], &json!(2)));
    assert_eq!((&lines[2]["provider"], &lines[2]["model_served"]), (&json!("second"), &json!("gpt-4o")));
    assert_eq!(lines[3]["broken"], true, "{}", lines[3]);
    assert_eq!(
        (&lines[4]["status"], &lines[4]["model"], &lines[4]["provider"]),
        (&json!(400), &json!("nobody"), &Value::Null)
    );
}

#[tokio::test]
async fn metrics_have_the_names_that_dashboards_know() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = busy(&a, &b).await;
    gate.access_log(5).await;
    let metrics = gate.metrics().await;
    let names = [
        "ai_gateway_requests_total",
        "ai_gateway_cache_hit_ratio",
        "http_request_duration_seconds_bucket",
        "http_requests_total",
        "ai_circuit_breaker_state",
        "jairouter_circuit_breaker_events_total",
        "gen_ai_client_token_usage_bucket",
        "gen_ai_server_request_duration_seconds_bucket",
        "gen_ai_server_time_to_first_token_seconds_bucket",
        "gen_ai_server_time_per_output_token_seconds_bucket",
        "sluicegate_ai_phase_seconds_bucket",
        "gw_credential_requests_total",
        "sluicegate_ai_key_state",
    ];
    let missing: Vec<_> = names.iter().filter(|name| !metrics.has(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let counts = [
        (r#"ai_gateway_requests_total{provider="first",model="gpt-4o",status="200"}"#, 3.0),
        (r#"ai_gateway_requests_total{provider="second",model="gpt-4o",status="200"}"#, 1.0),
        (r#"ai_gateway_requests_total{provider="none",model="other",status="400"}"#, 1.0),
        (r#"sluicegate_ai_attempts_total{provider="first",outcome="status_5xx"}"#, 1.0),
        (r#"sluicegate_ai_failovers_total{provider="first",reason="status_5xx"}"#, 1.0),
        (r#"sluicegate_ai_broken_streams_total{provider="first"}"#, 1.0),
        (r#"ai_circuit_breaker_state{provider="first",state="closed"}"#, 1.0),
        (r#"ai_circuit_breaker_state{provider="first",state="open"}"#, 0.0),
        (r#"http_requests_total{status="400"}"#, 1.0),
        (r#"http_requests_total{status="200"}"#, 4.0),
        (r#"gw_credential_requests_total{provider="first",name="key-1"}"#, 4.0),
    ];
    for (series, expected) in counts {
        assert_eq!(metrics.sum(series), expected, "{series}");
    }
    assert!(metrics.sum(r#"sluicegate_ai_tokens_total{provider="first",model="gpt-4o",type="input"}"#) >= 2000.0);
    assert!(metrics.sum(r#"sluicegate_ai_tokens_total{provider="first",model="gpt-4o",type="cache_read"}"#) >= 400.0);
    assert!(metrics.sum(r#"sluicegate_ai_cost_dollars_total{provider="first"}"#) >= 0.004);
    for status in metrics
        .values("http_requests_total", "status")
        .iter()
        .chain(&metrics.values("ai_gateway_requests_total", "status"))
    {
        assert!(status.parse::<u16>().is_ok(), "{status:?} is no number");
    }
}

#[tokio::test]
async fn the_metrics_are_what_prometheus_reads() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = busy(&a, &b).await;
    gate.access_log(5).await;
    let text = gate.metrics().await.text().to_owned();
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: make deps");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let of_ai: Vec<&str> = told.lines().filter(|line| line.contains("ai_") && line.contains("error")).collect();
    assert!(of_ai.is_empty(), "{told}");
}

#[tokio::test]
async fn names_that_clients_make_up_make_no_series() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    for n in 0..50 {
        assert_eq!(ask(&gate, "chat/completions", &chat(&format!("made-up-{n}"), "hello")).await.status, 200);
    }
    gate.access_log(50).await;
    let metrics = gate.metrics().await;
    assert!(!metrics.text().contains("made-up"), "a client's name is in the metrics");
    assert_eq!(metrics.sum(r#"ai_gateway_requests_total{provider="first",model="other"}"#), 50.0);
}

#[tokio::test]
async fn nothing_of_what_was_said_is_written_down() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai()
        .openai("first", &a)
        .openai("second", &b)
        .model("m", &["first", "second"])
        .build()
        .section("log", "{ level: debug, access: { file: \"{dir}/access.log\", format: json } }")
        .start()
        .await;
    let secret = "the launch code is 4711-0815";
    for fault in [
        None,
        Some(Fault::Status(500)),
        Some(Fault::Status(400)),
        Some(Fault::InvalidJson),
        Some(Fault::At(Stage::After(1), Twist::Garbage)),
    ] {
        a.set_fault(fault);
        for stream in [false, true] {
            let body = with(chat("m", &format!("say {secret}")), json!({"stream": stream, "user": secret}));
            let asked = gate.ask("POST", "/v1/chat/completions").header("content-type", "application/json");
            let _ = asked.body(body.to_string()).try_send().await;
        }
    }
    let log = gate.access_lines(10).await.join("\n");
    let metrics = gate.metrics().await;
    for (what, text) in
        [("the access log", log), ("the log", gate.stderr()), ("the metrics", metrics.text().to_owned())]
    {
        assert!(!text.contains("0815"), "{what} tells what was said: {text}");
    }
}

#[tokio::test]
async fn time_to_the_first_token_and_between_tokens_are_measured() {
    let a = upstream("a").await;
    let gate = ai_of(&a).start().await;
    a.set_order("sse", "interval=100ms,events=11");
    a.set_fault(Some(Fault::At(Stage::Start, Twist::Delay(ms(500)))));
    stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await;
    let line = gate.access_log(1).await.remove(0);
    let first = line["first_token_ms"].as_f64().unwrap();
    assert!((490.0..3000.0).contains(&first), "{line}");
    let metrics = gate.metrics().await;
    let seconds = metrics.sum("gen_ai_server_time_to_first_token_seconds_sum");
    assert!((0.49..3.0).contains(&seconds), "{seconds}");
    let per_token = metrics.sum("gen_ai_server_time_per_output_token_seconds_sum");
    assert!((0.05..0.5).contains(&per_token), "{per_token}");
}

#[tokio::test]
async fn the_time_that_the_translation_of_a_stream_takes_is_told_once_for_each() {
    let a = upstream("a").await;
    let gate = ai().anthropic("first", &a).model("m", &["first"]).start().await;
    stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await;
    // That of the request, and that of all events of its answer.
    let count = r#"sluicegate_ai_phase_seconds_count{phase="translate"}"#;
    eventually(s(5), "both are told", async || gate.metric(count).await == 2.0).await;
}

#[tokio::test]
async fn when_nothing_is_in_flight_every_gauge_is_zero() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = busy(&a, &b).await;
    eventually(s(5), "nothing is in flight", async || {
        let metrics = gate.metrics().await;
        let flying: f64 =
            ["sluicegate_requests_in_flight", "sluicegate_member_in_flight", "sluicegate_limit_in_flight"]
                .iter()
                .map(|name| metrics.sum(name))
                .sum();
        flying == 0.0
    })
    .await;
}

#[tokio::test]
async fn who_looks_into_the_process_log_alone_sees_which_providers_fail_and_is_not_flooded() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate = ai().openai("first", &a).openai("second", &b).model("\"*\"", &["first", "second"]).start().await;
    a.set_fault(Some(Fault::Status(500)));
    b.set_fault(Some(Fault::Refusal(Refusal::Key)));
    for _ in 0..3 {
        assert_eq!(ask(&gate, "chat/completions", &chat("made-up-by-a-client", "hello")).await.status, 503);
    }
    let told = "no target served a request for model other: provider first, key key-1: status_5xx; provider second, key \
                key-1: key_refused";
    gate.says(told).await;
    gate.access_log(3).await;
    let log = gate.stderr();
    assert_eq!(log.matches("no target served").count(), 1, "{log}");
    assert!(!log.contains("made-up") && !log.contains("sk-of-"), "{log}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_told_in_the_process_log() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).start().await;
    a.fail_next(1, Fault::At(Stage::After(2), Twist::Close));
    stream(&gate, "chat/completions", &streamed(chat("m", "hello"))).await.rest().await;
    gate.says("an answer broke off after its first content for model m: provider first, key key-1: broken").await;
}

#[tokio::test]
async fn a_refusal_of_the_gateway_stands_in_the_log_by_the_code_that_the_client_got() {
    let a = upstream("a").await;
    a.set_order("usage", "in=900,out=100");
    let ai = ai_of(&a).model("gpt-4o", &["first"]).set("attempts: 1");
    let ai = ai.set("prices: { models: { gpt-4o: { input: 1.00, output: 2.00 }, m: { input: 0.01, output: 0.01 } } }");
    let ai = ai.set("breaker: { error_threshold: 100%, window: 60s, min_requests: 1, reset: 60s }");
    let limits = "{ money: { key: model, cost: 0.001/day }, once: { key: route, rate: 1/24h } }";
    let gate = ai
        .on_route("limits: [money]")
        .build()
        .section("limits", limits)
        .members("gone", &["127.0.0.1:1"], "balance: round_robin")
        .route("name: gone, match: { path: /gone }, pool: gone")
        .route("name: once, match: { path: /once }, respond: { status: 200 }, limits: [once]")
        .start()
        .await;
    let door = async |body: Value| ask(&gate, "chat/completions", &body).await;
    let short = with(chat("gpt-4o", "x"), json!({"max_tokens": 10}));
    assert_eq!(door(short.clone()).await.status, 200);
    assert_eq!(gate.get("/once").await.status, 200);
    let mut refused = vec![door(short).await, gate.get("/once").await, gate.get("/elsewhere").await];
    refused.push(gate.get("/gone").await);
    refused.push(gate.post("/v1/chat/completions", "{").await);
    refused.push(door(chat("unpriced", "x")).await);
    a.set_fault(Some(Fault::Status(500)));
    refused.push(door(chat("m", "x")).await);
    refused.push(door(chat("m", "x")).await);
    a.set_fault(None);
    let lines = gate.access_log(2 + refused.len()).await;
    assert!(lines.iter().filter(|line| line["status"] == 200).all(|line| line["error"].is_null()), "{lines:#?}");
    let lines: Vec<&Value> = lines.iter().filter(|line| line["status"] != 200).collect();
    let codes: Vec<String> = lines.iter().map(|line| line["error"].as_str().unwrap_or("-").to_owned()).collect();
    let told: Vec<String> = refused.iter().map(code_of).collect();
    assert_eq!(codes, told, "{lines:#?}");
    assert_eq!((&*codes[0], &*codes[1], &*codes[7]), ("BUDGET_EXCEEDED", "RATE_LIMIT_EXCEEDED", "CIRCUIT_OPEN"));
    let limits: Vec<&Value> = lines.iter().map(|line| &line["limit"]).take(3).collect();
    assert_eq!(limits, [&json!("money"), &json!("once"), &Value::Null]);
}

#[tokio::test]
async fn the_log_tells_what_a_provider_said_that_failed() {
    let said = r#"{"error":{"message":"image input is too much for these weights","type":"server_error"}}"#;
    let provider =
        origin(move |_| async move { given_status(500, &[("content-type", "application/json")], said) }).await;
    let ai = ai().provider_at("a", "openai", provider.address(), "keys: k-4711").model("m", &["a"]);
    let gate = ai.start().await;
    assert_eq!(ask(&gate, "chat/completions", &chat("m", "hello")).await.status, 500);
    let told = async || gate.stderr().contains("image input is too much for these weights");
    eventually(s(5), "an operator reads it", told).await;
}
