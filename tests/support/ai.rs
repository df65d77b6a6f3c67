//! The AI gateway under test: mocks as providers, and requests in the dialects of clients.

use std::fmt::Display;

use serde_json::{Value, json};

use super::builder::{Builder, gateway};
use super::client::{Answer, Client};
use super::gateway::Gateway;
use super::upstream::Mock;
use super::{eventually, s};

mod events;
mod told;

pub use events::{Event, Events, events, stamped};
pub use told::{Told, chat_told, messages_told, responses_told};

pub use sluicegate_bench::mock::{Account, KeyState, Planned, Refusal, Stage, Twist, flow_claims};

/// The section `ai` of a gateway, and its route. The doors stand below `/v1/`.
#[derive(Clone, Default)]
pub struct Ai {
    providers: Vec<String>,
    models: Vec<String>,
    settings: Vec<String>,
    route: String,
    of_ai: String,
}

/// An AI gateway without providers; a try that fails for a moment is not waited for long.
pub fn ai() -> Ai {
    Ai::default()
}

/// A gateway with one provider of OpenAI's kind, called `first`, which is asked for every model.
pub fn ai_of(mock: &Mock) -> Ai {
    ai().openai("first", mock).model("\"*\"", &["first"])
}

impl Ai {
    /// A provider of OpenAI's kind.
    pub fn openai(self, name: &str, mock: &Mock) -> Self {
        self.provider(name, "openai", mock)
    }

    /// A provider of Anthropic's kind.
    pub fn anthropic(self, name: &str, mock: &Mock) -> Self {
        self.provider(name, "anthropic", mock)
    }

    /// A provider of Google's kind.
    pub fn gemini(self, name: &str, mock: &Mock) -> Self {
        self.provider(name, "gemini", mock)
    }

    /// A provider of any kind with one key, that of [`key_of`].
    pub fn provider(self, name: &str, kind: &str, mock: &Mock) -> Self {
        self.provider_with(name, kind, mock, &format!("keys: {}", key_of(name)))
    }

    /// A provider of any kind with the rest of its keys as they stand in the file.
    pub fn provider_with(self, name: &str, kind: &str, mock: &Mock, rest: &str) -> Self {
        self.provider_at(name, kind, mock.address(), rest)
    }

    /// A provider at any address.
    pub fn provider_at(self, name: &str, kind: &str, address: impl Display, rest: &str) -> Self {
        self.provider_as(name, &format!("kind: {kind}, base_url: \"http://{address}\", {rest}"))
    }

    /// A provider: the inside of its braces.
    pub fn provider_as(mut self, name: &str, inside: &str) -> Self {
        self.providers.push(format!("    {name}: {{ {inside} }}\n"));
        self
    }

    /// A model with its targets, tried in this order.
    pub fn model(self, name: &str, targets: &[&str]) -> Self {
        self.model_as(name, &format!("[{}]", targets.join(", ")))
    }

    /// A model: what stands behind its name.
    pub fn model_as(mut self, name: &str, value: &str) -> Self {
        self.models.push(format!("    {name}: {value}\n"));
        self
    }

    /// Another key of the section: `attempts: 2`.
    pub fn set(mut self, setting: &str) -> Self {
        self.settings.push(format!("  {setting}\n"));
        self
    }

    /// More keys of the route: `limits: [a], cache: answers`.
    pub fn on_route(mut self, keys: &str) -> Self {
        self.route = format!(", {keys}");
        self
    }

    /// Keys of the route's own `ai`: `cut_over_budget: true`.
    pub fn of_route(mut self, keys: &str) -> Self {
        self.of_ai = keys.to_owned();
        self
    }

    /// The gateway, to be given more sections, files and variables.
    pub fn build(self) -> Builder {
        let section = self.section();
        gateway()
            .section("ai", &section)
            .route(&format!("name: ai, match: {{ path: /v1/ }}, ai: {{ {} }}{}", self.of_ai, self.route))
    }

    /// The section as it stands in the file.
    pub fn section(&self) -> String {
        let models = match self.models.is_empty() {
            true => String::new(),
            false => format!("  models:\n{}", self.models.concat()),
        };
        format!("\n  providers:\n{}{models}{}", self.providers.concat(), self.settings.concat())
    }

    /// Starts it.
    pub async fn start(self) -> Gateway {
        self.build().start().await
    }
}

/// The key with which [`Ai::provider`] has a provider asked.
pub fn key_of(provider: &str) -> String {
    format!("sk-of-{provider}-4711")
}

/// Keys of callers: the inside of `auth`, `team-a` and `team-b` with the secrets of [`secret_of`].
pub fn callers() -> String {
    let key = |id: &str| {
        format!("{{ id: {id}, secret: {}, permissions: \"*\", expires_at: 2098-01-01T00:00:00Z }}", secret_of(id))
    };
    format!("{{ api_keys: {{ keys: [{}, {}] }} }}", key("team-a"), key("team-b"))
}

/// The secret of a caller of [`callers`].
pub fn secret_of(id: &str) -> String {
    format!("sk-sg-{id}-9Lr4wB6cU3")
}

/// A question in the dialect of `chat/completions`.
pub fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// A question in the dialect of `messages`.
pub fn messages(model: &str, text: &str) -> Value {
    json!({"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": text}]})
}

/// A question in the dialect of `responses`.
pub fn responses(model: &str, text: &str) -> Value {
    json!({"model": model, "input": text})
}

/// `body` with the members of `more` over its own.
pub fn with(mut body: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut body, more) else { panic!("not objects") };
    members.extend(more);
    body
}

/// `body`, to be answered with a stream.
pub fn streamed(body: Value) -> Value {
    with(body, json!({"stream": true}))
}

/// `count`, or as many times more as `SLUICEGATE_TEST_SCALE` says: what runs in seconds everywhere runs in full size where
/// there is time.
pub fn scaled(count: usize) -> usize {
    let scale = std::env::var("SLUICEGATE_TEST_SCALE").ok().and_then(|scale| scale.parse::<usize>().ok());
    count * scale.unwrap_or(1).clamp(1, 100)
}

/// What the mock called `id` says to a question of so many characters.
pub fn said(id: &str, chars: usize) -> String {
    format!("This is {id} answering a question of {chars} characters.")
}

/// The text of a whole answer in the dialect of `chat/completions`.
pub fn text_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["choices"][0]["message"]["content"].as_str().expect("a text").to_owned()
}

/// The code of an error in OpenAI's shape.
pub fn code_of(answer: &Answer) -> String {
    let body = answer.json();
    body["error"]["code"].as_str().unwrap_or_else(|| panic!("no code in {body}")).to_owned()
}

/// POST of `body` to a door.
pub async fn ask(gate: &Gateway, door: &str, body: &Value) -> Answer {
    ask_with(gate, door, body, &[]).await
}

/// POST of `body` to a door, with these fields.
pub async fn ask_with(gate: &Gateway, door: &str, body: &Value, fields: &[(&str, &str)]) -> Answer {
    asking(gate.client(), door, body, fields).send().await
}

/// POST of `body` to a door by a caller of [`callers`].
pub async fn ask_as(gate: &Gateway, id: &str, door: &str, body: &Value) -> Answer {
    ask_with(gate, door, body, &[("x-api-key", &secret_of(id))]).await
}

/// POST of `body` to a door; the events are read one by one.
pub async fn stream(gate: &Gateway, door: &str, body: &Value) -> Events {
    stream_with(gate, door, body, &[]).await
}

/// The same with these fields.
pub async fn stream_with(gate: &Gateway, door: &str, body: &Value, fields: &[(&str, &str)]) -> Events {
    Events::new(asking(gate.client(), door, body, fields).stream().await)
}

fn asking(client: &Client, door: &str, body: &Value, fields: &[(&str, &str)]) -> super::client::Ask {
    let ask = client.ask("POST", &format!("/v1/{door}")).header("content-type", "application/json");
    fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).body(body.to_string())
}

/// What the limit `a` counted in tokens: settled, pending, reservations that are open.
pub async fn counted(gate: &Gateway) -> [u64; 3] {
    let metrics = gate.metrics().await;
    ["settled_total", "pending", "reservations"]
        .map(|name| metrics.sum(&format!(r#"sluicegate_limit_{name}{{limit="a",unit="tokens"}}"#)) as u64)
}

/// Waits until nothing is set aside of the limit `a`, and gives what was settled.
pub async fn settled(gate: &Gateway) -> u64 {
    let mut last = [0; 3];
    eventually(s(10), "no reservation is left", async || {
        last = counted(gate).await;
        last[1..] == [0, 0]
    })
    .await;
    last[0]
}
