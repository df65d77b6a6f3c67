//! Credentials of providers and the breaker: which key is used, which is left alone, and who is told what.

#[path = "support/harness.rs"]
mod support;

use std::collections::BTreeMap;

use serde_json::json;
use support::ai::*;
use support::*;

const BREAKER: &str = "breaker: { error_threshold: 50%, window: 10s, min_requests: 4, reset: 2s }";

const CHECK: &str = "health_check: { path: /health, interval: 100ms, timeout: 1s, fall: 1, rise: 1 }";

/// A gateway whose one provider has these keys.
fn keyed(mock: &Mock, keys: &str) -> Ai {
    ai().provider_with("first", "openai", mock, &format!("keys: [{keys}]")).model("m", &["first"])
}

/// How often each key was asked with, as the provider counts.
fn used(mock: &Mock) -> BTreeMap<String, u64> {
    mock.ledger().accounts.into_iter().map(|account| (account.key, account.begun)).collect()
}

async fn asked(gate: &Gateway, times: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..times {
        statuses.push(ask(gate, "chat/completions", &chat("m", "x")).await.status);
    }
    statuses
}

fn all_good(statuses: &[u16]) -> bool {
    statuses.iter().all(|status| *status == 200)
}

#[tokio::test]
async fn keys_share_by_their_weights() {
    let a = upstream("a").await;
    let gate = keyed(&a, "{ name: big, secret: sk-big-4711, weight: 3 }, sk-small-4711").start().await;
    assert!(all_good(&asked(&gate, 40).await));
    assert_eq!(used(&a), BTreeMap::from([("sk-big-4711".to_owned(), 30), ("sk-small-4711".to_owned(), 10)]));
    assert_eq!(gate.metric(r#"gw_credential_requests_total{name="big",provider="first"}"#).await, 30.0);
}

#[tokio::test]
async fn a_key_that_is_refused_is_set_aside_and_comes_back_after_its_cooldown() {
    for state in [KeyState::Refused, KeyState::Forbidden] {
        let a = upstream("a").await;
        let gate = keyed(&a, "sk-bad-4711, sk-good-4711").set("key_cooldown: 5s").start().await;
        a.set_key("sk-bad-4711", Some(state));
        assert!(all_good(&asked(&gate, 10).await), "{state:?}: the client sees nothing of it");
        assert_eq!(used(&a)["sk-bad-4711"], 1, "{state:?}: it is tried once");
        gate.says("marked as failed").await;
        assert!(!gate.stderr().contains("sk-bad"), "the log names the key and does not show it");
        assert_eq!(gate.metric(r#"sluicegate_ai_key_state{provider="first",key="key-1",state="failed"}"#).await, 1.0);
        a.set_key("sk-bad-4711", None);
        eventually(s(15), "it is used again", async || {
            assert!(all_good(&asked(&gate, 2).await), "{state:?}");
            a.ledger().account("sk-bad-4711", "m").finished > 2
        })
        .await;
    }
}

#[tokio::test]
async fn a_key_that_stays_bad_is_tried_once_in_each_cooldown_and_no_client_sees_it() {
    let a = upstream("a").await;
    let gate = keyed(&a, "sk-bad-4711, sk-good-4711").set("key_cooldown: 1s").start().await;
    a.set_key("sk-bad-4711", Some(KeyState::Refused));
    let started = now();
    while started.elapsed() < ms(3500) {
        assert!(all_good(&asked(&gate, 1).await));
    }
    let tried = used(&a)["sk-bad-4711"];
    assert!((2..=5).contains(&tried), "{tried} tries in 3.5 seconds");
}

#[tokio::test]
async fn when_all_keys_are_refused_the_error_does_not_blame_the_caller() {
    let a = upstream("a").await;
    let gate = keyed(&a, "sk-one-4711, sk-two-4711").start().await;
    for key in ["sk-one-4711", "sk-two-4711"] {
        a.set_key(key, Some(KeyState::Refused));
    }
    for _ in 0..3 {
        let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
        assert_eq!(
            (answer.status, code_of(&answer).as_str()),
            (503, "PROVIDER_CREDENTIALS_REFUSED"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.json()["error"]["type"], "server_error");
        assert!(!answer.text().contains("sk-"), "{}", answer.text());
    }
    assert_eq!(a.hits(), 2, "keys that are set aside are not tried again");
    let answer = ask(&gate, "messages", &messages("m", "x")).await;
    assert_eq!((answer.status, &answer.json()["type"]), (503, &json!("error")), "{}", answer.text());
    let models = gate.get("/v1/models").await;
    assert_eq!(models.status, 200, "what is configured is still told: {}", models.text());
}

#[tokio::test]
async fn keys_that_are_refused_are_no_tries_but_one_request_never_becomes_more_than_twenty() {
    let keys: Vec<String> = (0..30).map(|key| format!("sk-{key}-4711")).collect();
    let a = upstream("a").await;
    let gate = keyed(&a, &keys.join(", ")).set("attempts: 2").start().await;
    for key in &keys {
        a.set_key(key, Some(KeyState::Refused));
    }
    for (hits, told) in [(20, "20"), (30, "10")] {
        let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
        assert_eq!((answer.status, a.hits(), answer.header("x-sluicegate-attempts")), (503, hits, told));
        assert_eq!(code_of(&answer), "PROVIDER_CREDENTIALS_REFUSED");
        assert_eq!(answer.header("x-should-retry"), "false", "official clients would come again each minute");
    }
}

#[tokio::test]
async fn a_key_that_asks_too_often_rests_for_as_long_as_its_provider_says() {
    let a = upstream("a").await;
    let gate = keyed(&a, "sk-tired-4711, sk-fresh-4711").start().await;
    a.set_key("sk-tired-4711", Some(KeyState::Limited(s(3))));
    let started = now();
    assert!(all_good(&asked(&gate, 10).await));
    assert_eq!(used(&a)["sk-tired-4711"], 1);
    assert_eq!(gate.metric(r#"sluicegate_ai_key_state{provider="first",key="key-1",state="resting"}"#).await, 1.0);
    eventually(s(10), "it is used again", async || {
        assert!(all_good(&asked(&gate, 2).await));
        a.ledger().account("sk-tired-4711", "m").finished > 0
    })
    .await;
    assert!(started.elapsed() > ms(2500), "not before: {:?}", started.elapsed());
}

#[tokio::test]
async fn when_every_key_rests_the_client_is_told_when_to_come_again() {
    for kind in ["openai", "anthropic", "azure_openai", "gemini"] {
        let a = upstream("a").await;
        let gate = ai().provider("first", kind, &a).model("m", &["first"]).start().await;
        a.set_key(&key_of("first"), Some(KeyState::Limited(s(30))));
        for _ in 0..2 {
            let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
            assert_eq!(
                (answer.status, code_of(&answer).as_str()),
                (429, "PROVIDER_RATE_LIMITED"),
                "{kind}: {}",
                answer.text()
            );
            let wait: u64 = answer.header("retry-after").parse().unwrap_or(0);
            assert!((25..=31).contains(&wait), "{kind}: {wait}");
            assert_eq!(answer.json()["error"]["type"], "rate_limit_error", "{kind}");
        }
        assert_eq!(a.hits(), 1, "{kind}: who said to wait is not asked meanwhile");
    }
}

#[tokio::test]
async fn a_key_without_money_is_not_used_while_another_has_some() {
    let a = upstream("a").await;
    let gate = keyed(&a, "sk-poor-4711, sk-rich-4711").start().await;
    a.set_key("sk-poor-4711", Some(KeyState::NoQuota));
    assert!(all_good(&asked(&gate, 10).await));
    assert!(used(&a)["sk-poor-4711"] <= 2, "{:?}", used(&a));
}

#[tokio::test]
async fn credit_that_is_used_up_is_a_matter_of_the_key_and_never_told_as_the_callers_fault() {
    for (kind, door) in [("anthropic", "messages"), ("anthropic", "chat/completions"), ("openai", "chat/completions")] {
        let a = upstream("a").await;
        let keys = "keys: [sk-poor-4711, sk-rich-4711]";
        let gate = ai().provider_with("first", kind, &a, keys).model("m", &["first"]).start().await;
        a.plan(Planned::new(Fault::Refusal(Refusal::Credit)).for_key("sk-poor-4711"));
        let body = if door == "messages" { messages("m", "x") } else { chat("m", "x") };
        for _ in 0..6 {
            let answer = ask(&gate, door, &body).await;
            assert_eq!(answer.status, 200, "{kind} {door}: {}", answer.text());
        }
        assert_eq!(a.hits(), 7, "{kind} {door}: the key without credit is asked once");
        let metrics = gate.metrics().await;
        assert_eq!(metrics.sum(r#"sluicegate_ai_key_state{provider="first",key="key-1",state="resting"}"#), 1.0);
        assert_eq!(metrics.sum(r#"sluicegate_ai_attempts_total{outcome="key_spent"}"#), 1.0, "{kind} {door}");
        let status = gate.ctl(&["status"]).await;
        assert!(status.stdout.contains(": what it may spend is spent"), "{}", status.stdout);

        a.plan(Planned::new(Fault::Refusal(Refusal::Credit)));
        let answer = ask(&gate, door, &body).await;
        assert_eq!(answer.status, 503, "{kind} {door}: {}", answer.text());
        assert!(!answer.text().contains("balance") && !answer.text().contains("illing"), "{}", answer.text());
    }
}

#[tokio::test]
async fn targets_that_are_passed_over_are_told_in_the_log_and_counted() {
    let [a, b] = upstreams(["a", "b"]).await;
    let ai = ai().openai("first", &a).openai("second", &b).model("m", &["first", "second"]).set(BREAKER);
    let gate = ai.set("attempts: 2").start().await;
    a.set_fault(Some(Fault::Status(500)));
    assert!(all_good(&asked(&gate, 6).await));
    a.set_fault(None);
    a.set_key(&key_of("first"), Some(KeyState::Refused));
    let line = gate.access_log(6).await.remove(5);
    let open = json!({"provider": "first", "key": "key-1", "outcome": "breaker_open"});
    let id = line["tries"][1]["request_id"].as_str().unwrap_or_default();
    assert!(id.starts_with("req_mock"), "the provider's own id: {line}");
    let answered = json!({"provider": "second", "key": "key-1", "outcome": "answered", "request_id": id});
    assert_eq!(line["tries"], json!([open, answered]), "{line}");
    assert_eq!((&line["provider"], &line["attempts"]), (&json!("second"), &json!(1)), "{line}");

    let gate = ai_of(&a).set("key_cooldown: 1m").start().await;
    assert_eq!(asked(&gate, 2).await, [503, 503]);
    let line = gate.access_log(2).await.remove(1);
    assert_eq!(line["tries"], json!([{"provider": "first", "outcome": "key_out"}]), "{line}");
    assert_eq!((line.get("provider"), &line["attempts"]), (None, &json!(0)), "nobody was asked: {line}");
    let metrics = gate.metrics().await;
    for (outcome, count) in [("key_refused", 1.0), ("key_out", 1.0)] {
        let series = format!(r#"sluicegate_ai_attempts_total{{provider="first",outcome="{outcome}"}}"#);
        assert_eq!(metrics.sum(&series), count, "{series}");
    }
    assert_eq!(metrics.sum(r#"sluicegate_ai_requests_total{provider="none",outcome="failed"}"#), 1.0);
}

#[tokio::test]
async fn a_pool_without_a_member_is_no_try() {
    let [a, b] = upstreams(["a", "b"]).await;
    a.stop().await;
    let ai = ai()
        .provider_as("own", "kind: openai_compatible, pool: own")
        .openai("second", &b)
        .model("m", &["own", "second"])
        .set("attempts: 1");
    let gate = ai.build().pool_with("own", &[&a], CHECK).start().await;
    let mut count = 0;
    eventually(s(10), "the member is down, and the one try is that of the second", async || {
        count += 1;
        asked(&gate, 1).await == [200]
    })
    .await;
    let line = gate.access_log(count).await.pop().unwrap();
    assert_eq!(line["tries"][0], json!({"provider": "own", "outcome": "no_member"}), "{line}");
    assert_eq!((&line["provider"], &line["attempts"]), (&json!("second"), &json!(1)), "{line}");
}

#[tokio::test]
async fn another_key_is_no_other_target_in_the_eyes_of_the_breaker() {
    let a = upstream("a").await;
    let gate = keyed(&a, "sk-bad-4711, sk-good-4711").set(BREAKER).start().await;
    a.set_key("sk-bad-4711", Some(KeyState::Status(500)));
    assert!(all_good(&asked(&gate, 20).await));
    let tried = used(&a)["sk-bad-4711"];
    assert!(tried <= 8, "the breaker of the key is open: {tried} tries");
}

#[tokio::test]
async fn a_target_that_fails_is_left_alone_until_one_request_finds_it_well_again() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set(BREAKER).set("attempts: 1").start().await;
    a.set_fault(Some(Fault::Status(500)));
    assert_eq!(asked(&gate, 4).await, [500; 4]);
    let opened = now();
    let refused = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert_eq!((refused.status, code_of(&refused).as_str()), (503, "CIRCUIT_OPEN"), "{}", refused.text());
    assert_eq!((refused.header("x-circuit-breaker"), refused.header("x-provider")), ("open", "first"));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(a.hits(), 4, "it is not asked");
    let anthropic = ask(&gate, "messages", &messages("m", "x")).await;
    assert_eq!((anthropic.status, anthropic.header("x-circuit-breaker")), (503, "open"));
    assert_eq!(anthropic.json()["error"]["type"], "overloaded_error");
    let metrics = gate.metrics().await;
    assert_eq!(metrics.sum(r#"ai_circuit_breaker_state{provider="first",state="open"}"#), 1.0);
    assert_eq!(metrics.sum(r#"ai_circuit_breaker_state{provider="first",state="closed"}"#), 0.0);
    assert_eq!(metrics.sum("jairouter_circuitbreaker_state"), 1.0, "1 is open");

    eventually(s(8), "one request finds it as bad as before", async || {
        ask(&gate, "chat/completions", &chat("m", "x")).await.status == 500
    })
    .await;
    assert!(opened.elapsed() > ms(1800), "{:?}", opened.elapsed());
    assert_eq!((a.hits(), asked(&gate, 1).await[0]), (5, 503), "and it is left alone again");

    a.clear_faults();
    eventually(s(8), "one request finds it well", async || asked(&gate, 1).await[0] == 200).await;
    let metrics = gate.metrics().await;
    for name in ["jairouter_circuitbreaker_state", "jairouter_circuit_breaker_state"] {
        assert_eq!((metrics.has(name), metrics.sum(name)), (true, 0.0), "{name}: 0 is closed");
    }
    assert!(all_good(&asked(&gate, 10).await), "and all go there again");
    assert_eq!(gate.metric(r#"ai_circuit_breaker_state{provider="first",state="closed"}"#).await, 1.0);
    assert!(gate.metric(r#"jairouter_circuit_breaker_events_total{service="first",event="open"}"#).await >= 2.0);
}

#[tokio::test]
async fn a_breaker_that_is_turned_off_is_there_no_more() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set(BREAKER).set("attempts: 1").start().await;
    a.set_fault(Some(Fault::Status(500)));
    assert_eq!(asked(&gate, 5).await, [500, 500, 500, 500, 503]);
    assert!(gate.ctl(&["status"]).await.stdout.contains("open"), "the breaker is shown");
    gate.reload_with(BREAKER, "breaker: off").await;
    assert_eq!(gate.metric(r#"ai_circuit_breaker_state{provider="first",state="open"}"#).await, 0.0);
    assert_eq!(gate.metric("jairouter_circuitbreaker_state").await, 0.0);
    let status = gate.ctl(&["status"]).await.stdout;
    assert!(!status.contains("open"), "{status}");
    assert_eq!(asked(&gate, 1).await, [500], "it is asked again");
}

#[tokio::test]
async fn only_one_request_at_a_time_tries_a_target_whose_breaker_is_open() {
    let [a, b] = upstreams(["a", "b"]).await;
    let gate =
        ai().openai("first", &a).openai("second", &b).model("m", &["first", "second"]).set(BREAKER).start().await;
    a.set_fault(Some(Fault::Status(500)));
    assert!(all_good(&asked(&gate, 4).await));
    let before = a.hits();
    assert!(all_good(&asked(&gate, 10).await));
    assert_eq!(a.hits(), before, "open");
    a.clear_faults();
    a.set_latency(ms(1500));
    eventually(s(8), "a probe is under way", async || {
        let asking = futures::future::join_all((0..8).map(|_| asked(&gate, 1)));
        let statuses = within(s(20), "answers", asking).await;
        assert!(statuses.iter().all(|statuses| all_good(statuses)));
        a.hits() > before
    })
    .await;
    assert_eq!(a.hits(), before + 1, "of eight at once, one tried");
}

#[tokio::test]
async fn failures_that_lie_in_the_request_do_not_open_the_breaker() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set(BREAKER).start().await;
    for fault in [Fault::Status(400), Fault::Status(404), Fault::Status(422), Fault::Refusal(Refusal::Context)] {
        a.set_fault(Some(fault));
        asked(&gate, 6).await;
    }
    a.clear_faults();
    assert_eq!(asked(&gate, 1).await, [200]);
}

#[tokio::test]
async fn few_failures_among_many_and_few_requests_at_all_do_not_open_it() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set(BREAKER).set("attempts: 1").start().await;
    a.fail_next(3, Fault::Status(500));
    assert_eq!(asked(&gate, 4).await, [500, 500, 500, 200], "three are fewer than four");
    let gate = ai().openai("first", &a).model("m", &["first"]).set(BREAKER).set("attempts: 1").start().await;
    for _ in 0..10 {
        a.fail_next(1, Fault::Status(500));
        let statuses = asked(&gate, 4).await;
        assert!(!statuses.contains(&503), "{statuses:?}");
    }
    let gate = ai().openai("first", &a).model("m", &["first"]).set("breaker: off").set("attempts: 1").start().await;
    a.set_fault(Some(Fault::Status(500)));
    assert_eq!(asked(&gate, 20).await, [500; 20]);
}

#[tokio::test]
async fn a_breaker_is_of_one_model_and_leaves_the_others_alone() {
    let a = upstream("a").await;
    let gate = ai()
        .openai("first", &a)
        .model("m", &["first"])
        .model("n", &["first"])
        .set(BREAKER)
        .set("attempts: 1")
        .start()
        .await;
    a.plan(Planned::new(Fault::Status(500)).for_model("m"));
    asked(&gate, 5).await;
    assert_eq!(asked(&gate, 1).await, [503]);
    assert_eq!(ask(&gate, "chat/completions", &chat("n", "x")).await.status, 200);
}

#[tokio::test]
async fn streams_that_break_count_as_failures_and_clients_that_leave_do_not() {
    let a = upstream("a").await;
    let gate = ai().openai("first", &a).model("m", &["first"]).set(BREAKER).start().await;
    a.set_order("sse", "rate=20,events=1000");
    for _ in 0..8 {
        let mut open = stream(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
        assert_eq!(open.status, 200);
        open.until("content\":\"").await;
        drop(open);
    }
    eventually(s(5), "all are left", async || a.ledger().total().cancelled == 8).await;
    a.clear_orders();
    assert_eq!(asked(&gate, 1).await, [200]);
    a.set_fault(Some(Fault::At(Stage::After(1), Twist::Close)));
    for _ in 0..16 {
        let answer = ask(&gate, "chat/completions", &streamed(chat("m", "x"))).await;
        if answer.status == 503 {
            return;
        }
    }
    panic!("16 broken streams did not open the breaker");
}

/// A file of Flow's credentials.
fn credentials(names: &[&str]) -> String {
    let one = |name: &&str| {
        format!(
            "  {{ \"name\": \"{name}\", \"clientId\": \"id-{name}\", \"clientSecret\": \"secret-of-{name}\", \"tenant\": \"t\" }},\n"
        )
    };
    format!("[\n  // one a line\n{}]\n", names.iter().map(one).collect::<String>())
}

/// A gateway to Flow with these credentials.
fn flow(mock: &Mock, names: &[&str]) -> Builder {
    let inside = format!(
        "kind: flow, base_url: \"http://{}/flow-llm-proxy\", credentials: \"{{dir}}/secrets.json\"",
        mock.address()
    );
    ai().provider_as("flow", &inside)
        .model("\"*\"", &["flow"])
        .set("key_cooldown: 6s")
        .build()
        .file("secrets.json", &credentials(names))
}

#[tokio::test]
async fn flows_credentials_take_turns() {
    let a = upstream("a").await;
    let gate = flow(&a, &["one", "two", "three"]).start().await;
    for _ in 0..300 {
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    }
    for name in ["id-one", "id-two", "id-three"] {
        assert_eq!(used(&a)[name], 100);
    }
}

#[tokio::test]
async fn an_entry_that_stands_twice_has_twice_the_share() {
    let a = upstream("a").await;
    let gate = flow(&a, &["one", "two", "one"]).start().await;
    for _ in 0..30 {
        assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
    }
    assert_eq!((used(&a)["id-one"], used(&a)["id-two"]), (20, 10));
}

#[tokio::test]
async fn flow_is_asked_with_a_signed_token_in_the_place_of_what_the_client_sent() {
    let a = upstream("a").await;
    let gate = flow(&a, &["one"]).start().await;
    let fields = [
        ("authorization", "Bearer of-the-client"),
        ("x-api-key", "of-the-client"),
        ("anthropic-version", "2023-06-01"),
    ];
    for (door, body) in [("chat/completions", chat("m", "x")), ("messages", messages("m", "x"))] {
        let answer = ask_with(&gate, door, &body, &fields).await;
        assert_eq!(answer.status, 200, "{door}: {}", answer.text());
        let seen = last_seen(&a);
        assert_eq!(seen.path_and_query, format!("/flow-llm-proxy/v1/{door}"));
        let claims = flow_claims(&sent(&seen, "authorization")).unwrap();
        assert_eq!(
            (claims.client_id.as_str(), claims.client_secret.as_str(), claims.tenant.as_str()),
            ("id-one", "secret-of-one", "t")
        );
        assert_eq!(sent(&seen, "x-api-key"), "", "{door}");
    }
    let tokens: Vec<String> = a.requests().iter().map(|seen| sent(seen, "authorization")).collect();
    assert_eq!(tokens[0], tokens[1], "a token is made once and used again");
}

#[tokio::test]
async fn one_bad_credential_of_flow_is_never_seen_by_a_client() {
    for state in [KeyState::Refused, KeyState::Forbidden] {
        let a = upstream("a").await;
        let gate = flow(&a, &["one", "two", "three"]).start().await;
        a.set_key("id-two", Some(state));
        for _ in 0..30 {
            assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
        }
        assert_eq!(used(&a)["id-two"], 1);
        gate.says("Config 'two' marked as failed. Available: 2/3").await;
        assert!(!gate.stderr().contains("secret-of"));
        a.set_key("id-two", None);
        eventually(s(25), "it recovers", async || {
            assert_eq!(ask(&gate, "chat/completions", &chat("m", "x")).await.status, 200);
            a.ledger().account("id-two", "m").finished > 0
        })
        .await;
    }
}

#[tokio::test]
async fn when_no_credential_of_flow_is_left_the_answer_is_503() {
    let a = upstream("a").await;
    let gate = flow(&a, &["one", "two"]).start().await;
    for id in ["id-one", "id-two"] {
        a.set_key(id, Some(KeyState::Refused));
    }
    let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
    assert_eq!((answer.status, code_of(&answer).as_str()), (503, "PROVIDER_CREDENTIALS_REFUSED"), "{}", answer.text());
}

#[tokio::test]
async fn a_file_of_credentials_that_lacks_something_is_refused_by_name_and_place() {
    let a = upstream("a").await;
    let lacking = r#"[{ "name": "one", "clientId": "i", "clientSecret": "s", "tenant": "t" }, { "name": "two", "clientId": "i", "clientSecret": "s" }]"#;
    let exit = flow(&a, &["one"]).file("secrets.json", lacking).start_in_vain().await;
    assert_eq!(exit.code, Some(78));
    assert!(exit.stderr.contains("tenant") && exit.stderr.contains('1'), "{}", exit.stderr);
    assert!(!exit.stderr.contains("clientSecret\": \"s"), "{}", exit.stderr);
    let exit = flow(&a, &["one"]).file("secrets.json", "[]").start_in_vain().await;
    assert_eq!(exit.code, Some(78));
}

#[tokio::test]
async fn while_a_key_rests_whose_quota_is_spent_callers_hear_of_the_quota() {
    let a = upstream("a").await;
    let gate = keyed(&a, "sk-a").start().await;
    a.fail_next(1, Fault::Status(402));
    for _ in 0..2 {
        let answer = ask(&gate, "chat/completions", &chat("m", "x")).await;
        assert_eq!((answer.status, code_of(&answer).as_str()), (503, "PROVIDER_QUOTA_EXHAUSTED"), "{}", answer.text());
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(a.hits(), 1, "the key rests");
}

#[tokio::test]
async fn an_operator_takes_a_key_back_before_its_time_is_over() {
    let a = upstream("a").await;
    let log = r#"{ level: info, access: "{dir}/access.log", audit: { file: "{dir}/audit.log" } }"#;
    let gate = keyed(&a, "sk-mended-4711").set("key_cooldown: 1h").build().section("log", log).start().await;
    for state in [KeyState::Refused, KeyState::Forbidden, KeyState::Limited(s(3600))] {
        a.set_key("sk-mended-4711", Some(state));
        assert!(!all_good(&asked(&gate, 1).await), "{state:?}");
        a.set_key("sk-mended-4711", None);
        assert!(!all_good(&asked(&gate, 1).await), "{state:?}: nobody asks with it");
        let exit = gate.ctl(&["key", "restore", "first", "key-1"]).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(0), "key key-1 of provider first is used again\n"));
        assert!(all_good(&asked(&gate, 1).await), "{state:?}");
    }
    let line = gate.audit_log(3).await.remove(0);
    let told =
        [&line["event"], &line["action"], &line["target"], &line["outcome"]].map(|it| it.as_str().unwrap_or("-"));
    assert_eq!(told, ["SERVICE_MANAGEMENT", "restore_key", "first/key-1", "success"], "{line}");
    for (names, told) in [
        (["second", "key-1"], "there is no provider \"second\", or it is off; providers: first"),
        (["first", "key-9"], "provider first has no key \"key-9\"; keys: key-1"),
    ] {
        let exit = gate.ctl(&["key", "restore", names[0], names[1]]).await;
        assert_eq!(exit.code, Some(1));
        assert!(exit.stderr.contains(told), "{}", exit.stderr);
    }
}

#[tokio::test]
async fn names_that_clients_make_up_fill_no_status_with_breakers_and_cost_no_model_of_the_configuration_its_own() {
    let a = upstream("a").await;
    let breaker = "breaker: { error_threshold: 100%, window: 60s, min_requests: 1, reset: 60s }";
    let gate = ai_of(&a).model("real", &["first"]).set(breaker).start().await;
    let of = async |model: &str| ask(&gate, "chat/completions", &chat(model, "x")).await;
    a.set_fault(Some(Fault::Status(500)));
    for n in 0..30 {
        assert!(of(&format!("made-up-{n}")).await.status >= 500);
    }
    a.set_fault(None);
    let status: serde_json::Value = gate.control("GET", "/control/status").await.json();
    let breakers = status["providers"][0]["breakers"].as_array().expect("breakers");
    assert_eq!(breakers.len(), 17, "{breakers:#?}");
    assert_eq!(code_of(&of("yet-another").await), "CIRCUIT_OPEN");
    assert_eq!(of("real").await.status, 200);
}

#[tokio::test]
async fn a_provider_that_is_mended_is_asked_again_before_its_breaker_would_try() {
    let [a, b] = upstreams(["a", "b"]).await;
    let log = r#"{ level: info, access: "{dir}/access.log", audit: { file: "{dir}/audit.log" } }"#;
    let gate = ai()
        .openai("first", &a)
        .provider_as("own", &format!("kind: openai_compatible, base_url: \"http://{}\"", b.address()))
        .model("m", &["first"])
        .model("n", &["own"])
        .set("breaker: { error_threshold: 100%, window: 1h, min_requests: 1, reset: 1h }")
        .build()
        .section("log", log)
        .start()
        .await;
    let restored = [
        (
            "m",
            &a,
            &["key", "restore", "first", "key-1"][..],
            "key key-1 of provider first is used again; 1 breaker is closed\n",
        ),
        ("n", &b, &["provider", "restore", "own"][..], "provider own is asked again; 1 breaker is closed\n"),
    ];
    for (model, mock, command, told) in restored {
        let of = async || ask(&gate, "chat/completions", &chat(model, "x")).await;
        mock.set_fault(Some(Fault::Status(500)));
        assert!(of().await.status >= 500);
        mock.set_fault(None);
        assert_eq!(code_of(&of().await), "CIRCUIT_OPEN");
        let exit = gate.ctl(command).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(0), told), "{}", exit.stderr);
        assert_eq!(of().await.status, 200, "{model}");
    }
    let exit = gate.ctl(&["provider", "restore", "own"]).await;
    assert_eq!((exit.code, exit.stdout.as_str()), (Some(0), "provider own has no breaker that is open\n"));
    let exit = gate.ctl(&["provider", "restore", "other"]).await;
    assert_eq!(exit.code, Some(1));
    assert!(exit.stderr.contains("providers: first, own"), "{}", exit.stderr);
    let lines = gate.audit_log(4).await;
    let told = |line: &serde_json::Value| {
        [&line["action"], &line["target"], &line["outcome"]].map(|it| it.as_str().unwrap_or("-").to_owned())
    };
    assert_eq!(told(&lines[1]), ["restore_provider", "own", "success"], "{lines:#?}");
    assert_eq!(told(&lines[3]), ["restore_provider", "other", "failure"], "{lines:#?}");
}
