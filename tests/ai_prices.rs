//! What models cost: which price holds for what was used, and where an operator sees it.

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;

/// What the next request costs, in dollars, by the access log.
async fn cost_of(gate: &Gateway, door: &str, body: &Value) -> Option<f64> {
    let answer = ask(gate, door, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let lines = gate.access_log(1).await;
    std::fs::write(gate.dir().join("access.log"), "").ok()?;
    lines.last().and_then(|line| line["cost_usd"].as_f64())
}

#[tokio::test]
async fn sound_and_pictures_that_nobody_counted_are_charged_at_their_own_prices() {
    let a = upstream("a").await;
    a.set_fault(Some(Fault::NoUsage));
    let prices = "prices: { models: { tts: { input: 0.60, output: 2.40, audio_output: 12.00 }, \
        draws: { input: 2.00, output: 2.00, image_output: 64.00 } } }";
    let limits = "{ a: { key: global, cost: 10.00/month } }";
    let gate = ai_of(&a).set(prices).on_route("limits: [a]").build().section("limits", limits).start().await;
    let speech = json!({"model": "tts", "input": "word ".repeat(240), "voice": "x"});
    assert_eq!(ask(&gate, "audio/speech", &speech).await.status, 200);
    let spent = async || gate.metrics().await.sum("sluicegate_limit_settled_total{unit=\"usd\"}");
    let reserved = async || gate.metrics().await.sum("sluicegate_limit_reserved_total{unit=\"usd\"}");
    eventually(s(5), "it is settled", async || spent().await > 0.0).await;
    // 300 tokens of text become 1,800 of sound.
    assert_eq!((spent().await, reserved().await), (0.021_78, 0.021_78));
    assert_eq!(ask(&gate, "images/generations", &json!({"model": "draws", "prompt": "x"})).await.status, 200);
    eventually(s(5), "it is settled", async || spent().await > 0.1).await;
    assert_eq!((spent().await * 1e6).round(), 21_780.0 + 266_242.0);
}

#[tokio::test]
async fn advice_of_another_model_is_charged_at_its_own_price() {
    let usage = json!({"input_tokens": 1000, "output_tokens": 100, "iterations": [
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
        {"type": "advisor_message", "model": "wise", "input_tokens": 2000, "output_tokens": 300}]});
    let content = json!([{"type": "text", "text": "Hi"}]);
    let body = json!({"id": "1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "end_turn", "usage": usage});
    let backend = origin(move |_| {
        let body = body.to_string();
        async move { given(&[("content-type", "application/json")], body) }
    })
    .await;
    let prices = "prices: { models: { m: { input: 1.00, output: 5.00 }, wise: { input: 15.00, output: 75.00 } } }";
    let ai = ai().provider_at("first", "anthropic", backend.address(), "keys: sk-x-4711");
    let gate = ai.model("m", &["first"]).set(prices).start().await;
    let cost = cost_of(&gate, "messages", &messages("m", "x")).await;
    assert_eq!(cost, Some(0.001 + 0.000_5 + 0.03 + 0.022_5));
}

#[tokio::test]
async fn a_tier_that_a_price_does_not_know_is_told_in_the_log() {
    let a = upstream("a").await;
    let gate = ai_of(&a).set("prices: { models: { m: { input: 2.00, output: 8.00 } } }").start().await;
    let asked = with(chat("m", "x"), json!({"service_tier": "priority"}));
    assert_eq!(ask(&gate, "chat/completions", &asked).await.status, 200);
    gate.says("the model `m` has no price in the tier `priority`, and is charged there as in the usual one").await;
}

#[tokio::test]
async fn an_operator_sees_what_models_cost_and_where_that_stands() {
    let a = upstream("a").await;
    let prices = "prices: { models: { mine: { input: 1.25, output: 10.00, cached_input: 0.125 } } }";
    let ai = ai().openai("first", &a).provider_with("own", "openai_compatible", &a, "");
    let ai = ai.model("mine", &["first"]).model("fast", &["first/gpt-4o-2024-08-06"]).model("odd", &["first", "own"]);
    let gate = ai.set(prices).start().await;
    let rows = async |arguments: &[&str]| -> Vec<String> {
        let exit = gate.ctl(&[&["prices"], arguments].concat()).await;
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        exit.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let mine = rows(&["mine"]).await;
    assert_eq!(
        mine,
        [
            "MODEL AT FROM TOKENS $ A MILLION",
            "mine first ai.prices.models input 1.25",
            "cached_input 0.125",
            "output 10"
        ]
    );
    let all = rows(&[]).await.join("\n");
    assert!(all.contains("fast first: gpt-4o-2024-08-06 table 20"), "{all}");
    assert!(all.contains("odd first no price: refused where money is limited"), "{all}");
    assert!(all.contains("odd own own server input 0"), "{all}");
    let json = gate.control("GET", "/control/prices?model=mine").await.json();
    assert_eq!(json["prices"][0]["usd_per_million"][0], json!({"tokens": "input", "usd": 1.25}), "{json}");
    let unknown = gate.ctl(&["prices", "other"]).await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.stdout);
    assert!(unknown.stderr.contains("no provider serves a model \"other\""), "{}", unknown.stderr);
}
