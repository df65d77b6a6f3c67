//! The examples of AI gateways run as they are but for their addresses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/harness.rs"]
mod support;

use serde_json::{Value, json};
use support::ai::*;
use support::*;

const KEY: &str = "0c7d05b9f3e625c1e8d0a7f2b4936a8e";
const SECRETS: &str = r#"[{ "name": "one", "clientId": "i", "clientSecret": "s-of-flow", "tenant": "t" }]"#;

/// An example with addresses of a test in the places of its own; each has to be there.
fn example(name: &str, addresses: &[(&str, String)]) -> String {
    let path = format!("{}/conf/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in addresses {
        assert!(text.contains(from), "{from:?} is not in {name}");
        text = text.replace(from, to);
    }
    text
}

/// Everything that the large example asks: providers, and members of a pool.
struct World {
    openai: Mock,
    anthropic: Mock,
    azure: Mock,
    gpus: [Mock; 2],
}

impl World {
    async fn new() -> Self {
        let [openai, anthropic, azure] = upstreams(["openai", "anthropic", "azure"]).await;
        Self { openai, anthropic, azure, gpus: upstreams(["gpu-1", "gpu-2"]).await }
    }

    fn builder(&self) -> Builder {
        let gpus = format!("[\"{}\", \"{}\"]", self.gpus[0].address(), self.gpus[1].address());
        let at = |kind: &str, mock: &Mock| format!("kind: {kind}, base_url: \"http://{}\",", mock.address());
        let text = example(
            "ai.yaml",
            &[
                ("0.0.0.0:8080", "\"{listen}\"".to_owned()),
                ("127.0.0.1:8404", "\"{admin}\"".to_owned()),
                ("[10.0.2.10:8000, 10.0.2.11:8000]", gpus),
                ("kind: openai,", at("openai", &self.openai)),
                ("kind: anthropic,", at("anthropic", &self.anthropic)),
                ("https://flow.ciandt.com", format!("http://{}", self.openai.address())),
                ("/etc/sluicegate/secrets.json", "{dir}/secrets.json".to_owned()),
            ],
        );
        gateway().config(&text).file("secrets.json", SECRETS).env("GATEWAY_API_KEY", KEY)
    }

    fn with_all_keys(&self) -> Builder {
        self.builder()
            .env("OPENAI_API_KEY", "sk-proj-7f2b4936a8e1")
            .env("ANTHROPIC_API_KEY", "sk-ant-api03-5c1e8d0a7f2b")
            .env("AZURE_OPENAI_API_KEY", "b9f3e625c1e8d0a7f2b4")
            .env("AZURE_OPENAI_ENDPOINT", &format!("http://{}", self.azure.address()))
    }
}

async fn asked(gate: &Gateway, path: &str, body: &Value) -> Answer {
    let ask = gate.ask("POST", path).header("content-type", "application/json").header("x-api-key", KEY);
    ask.body(body.to_string()).send().await
}

const CHAT: &str = "/api/v1/ai/chat/completions";

#[tokio::test]
async fn the_large_example_serves_chats_by_key_and_hides_the_key() {
    let world = World::new().await;
    let gate = world.with_all_keys().start().await;
    let body = chat("gpt-6-sol", "hello");
    let stranger =
        gate.ask("POST", CHAT).header("content-type", "application/json").body(body.to_string()).send().await;
    assert_eq!(stranger.status, 401);
    for path in [CHAT, "/v1/chat/completions", "/api/v1/ai/v1/chat/completions"] {
        let answer = asked(&gate, path, &chat("gpt-6-sol", path)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-sluicegate-target"), "openai/gpt-6-sol");
    }
    let seen = last_seen(&world.openai);
    assert_eq!(
        (sent(&seen, "x-api-key"), sent(&seen, "authorization")),
        (String::new(), "Bearer sk-proj-7f2b4936a8e1".to_owned())
    );
    let told = asked(&gate, CHAT, &body).await;
    for (name, value) in [("x-ratelimit-limit-requests", "100"), ("x-ratelimit-limit-tokens", "10000")] {
        assert_eq!(told.header(name), value, "{:?}", told.headers);
    }
    let embedded = asked(&gate, "/api/v1/ai/embeddings", &json!({"model": "gpt-6-sol", "input": "x"})).await;
    assert_eq!(embedded.status, 200, "{}", embedded.text());
    let ranked = asked(&gate, "/api/v1/ai/rerank", &json!({"model": "gpt-6-sol", "query": "x", "documents": []})).await;
    assert_eq!(ranked.status, 403, "the key opens chat and embeddings only: {}", ranked.text());
    let models = gate.ask("GET", "/api/v1/ai/models").header("x-api-key", KEY).send().await.json();
    assert!(models["data"].as_array().unwrap().iter().any(|model| model["id"] == "gpt-6-sol"), "{models}");
}

#[tokio::test]
async fn the_large_example_falls_back_to_anthropic_and_shares_with_azure() {
    let world = World::new().await;
    let gate = world.with_all_keys().start().await;
    world.openai.set_fault(Some(Fault::Status(500)));
    let answer = asked(&gate, CHAT, &chat("gpt-6-sol", "hello")).await;
    assert_eq!((text_of(&answer), answer.header("x-sluicegate-attempts")), (said("anthropic", 5), "2"));
    let answer = asked(&gate, CHAT, &chat("gpt-6-luna", "hello")).await;
    assert_eq!(text_of(&answer), said("azure", 5));
    assert_eq!(
        last_seen(&world.azure).path_and_query,
        "/openai/deployments/luna-eu/chat/completions?api-version=2024-10-21"
    );
}

#[tokio::test]
async fn the_large_example_asks_servers_of_ones_own() {
    let world = World::new().await;
    let gate = world.with_all_keys().start().await;
    let first = async || asked(&gate, CHAT, &chat("llama-3", "first")).await.status == 200;
    eventually(s(10), "the check of a server is good", first).await;
    for n in 0..10 {
        let answer = asked(&gate, CHAT, &chat("llama-3", &n.to_string())).await;
        assert_eq!(
            (answer.status, answer.header("x-sluicegate-target")),
            (200, "gpus/meta-llama/Llama-3-70b"),
            "{}",
            answer.text()
        );
    }
    assert!(world.gpus.iter().all(|gpu| gpu.hits() > 0));
}

#[tokio::test]
async fn the_large_example_keeps_answers_and_counts_tokens() {
    let world = World::new().await;
    let gate = world.with_all_keys().start().await;
    let statuses =
        [asked(&gate, CHAT, &chat("gpt-6-sol", "hello")).await, asked(&gate, CHAT, &chat("gpt-6-sol", "hello")).await];
    assert_eq!(statuses.each_ref().map(|answer| answer.header("x-cache-status")), ["MISS", "HIT"]);
    assert_eq!(gate.metric("ai_gateway_cache_hit_ratio").await, 0.5);
    world.openai.set_order("usage", "in=4000,out=2000");
    let mut got = Vec::new();
    for n in 0..3 {
        got.push(
            asked(&gate, CHAT, &with(chat("gpt-6-sol", &format!("question {n}")), json!({"max_tokens": 10}))).await,
        );
    }
    assert_eq!(got.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 429]);
    assert!(!got[2].header("retry-after").is_empty());
}

#[tokio::test]
async fn the_large_example_starts_with_the_key_of_one_provider_alone() {
    let world = World::new().await;
    let gate = world.builder().env("OPENAI_API_KEY", "sk-proj-7f2b4936a8e1").start().await;
    for name in ["anthropic", "azure"] {
        assert!(gate.stderr().contains(name), "{name} is told of: {}", gate.stderr());
    }
    for n in 0..5 {
        let answer = asked(&gate, CHAT, &chat("gpt-6-luna", &n.to_string())).await;
        assert_eq!((answer.status, answer.header("x-sluicegate-target")), (200, "openai/gpt-6-luna"));
    }
    world.openai.set_fault(Some(Fault::Status(500)));
    assert_eq!(asked(&gate, CHAT, &chat("gpt-6-sol", "hello")).await.status, 500, "there is no other");
    assert_eq!((world.azure.hits(), world.anthropic.hits()), (0, 0));
}

#[tokio::test]
async fn the_shortest_example_serves_a_provider_whole() {
    let a = upstream("a").await;
    a.set_models(&["gpt-6-luna"]);
    let text = example(
        "ai-minimal.yaml",
        &[
            ("127.0.0.1:8080", "\"{listen}\"".to_owned()),
            ("kind: openai,", format!("kind: openai, base_url: \"http://{}\",", a.address())),
        ],
    );
    let gate = gateway().config(&text).env("OPENAI_API_KEY", "sk-proj-7f2b4936a8e1").start().await;
    assert_eq!(text_of(&ask(&gate, "chat/completions", &chat("gpt-6-luna", "hello")).await), said("a", 5));
    let told = chat_told(&stream(&gate, "chat/completions", &streamed(chat("gpt-6-luna", "hello"))).await.rest().await);
    assert_eq!((told.text, told.ended), (said("a", 5), true));
    let models = gate.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "gpt-6-luna", "{models}");
    assert_eq!(gate.get("/elsewhere").await.status, 404);
    let without = gateway().config(&text).start_in_vain().await;
    assert_eq!(without.code, Some(78));
    assert!(without.stderr.contains("OPENAI_API_KEY"), "{}", without.stderr);
}
