//! Lists of models, in each provider's shape.

use http::StatusCode;
use serde_json::{Value, json};

use super::door::{Service, Shape};
use super::error::Trouble;
use super::{Call, Scene};
use crate::mock::answer::{self, Answer};

/// The answer to `GET models` and `GET models/NAME`.
pub(super) fn answer(call: &Call, scene: &Scene) -> Result<Answer, Trouble> {
    // Three providers have this path; the header of the key tells them apart.
    let anthropic = scene.upload.headers.contains_key("anthropic-version");
    let google = call.door.shape == Shape::Gemini || scene.upload.headers.contains_key("x-goog-api-key");
    let models = scene.shared.keys.models();
    let one: fn(&str) -> Value = match (google, anthropic) {
        (true, _) => gemini,
        (_, true) => claude,
        _ => openai,
    };
    if call.door.service == Service::Model {
        return Ok(answer::json(StatusCode::OK, &one(&call.model)));
    }
    let list: Vec<Value> = models.iter().map(|model| one(model)).collect();
    let list = match (google, anthropic) {
        (true, _) => json!({"models": list}),
        (_, true) => json!({
            "data": list, "has_more": false, "first_id": models.first(), "last_id": models.last(),
        }),
        _ => json!({"object": "list", "data": list}),
    };
    Ok(answer::json(StatusCode::OK, &list))
}

/// JAiRouter's own list (F02).
pub(in crate::mock) fn of_router() -> Value {
    let model = |id: &str| {
        json!({
            "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "model-router", "service_type": "chat",
            "adapter": "normal",
        })
    };
    json!({"success": true, "data": {"object": "list", "data": [model("qwen2:7b"), model("llama3.1")]}})
}

fn openai(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "mock"})
}

fn claude(id: &str) -> Value {
    json!({"type": "model", "id": id, "display_name": id, "created_at": "2023-11-14T22:13:20Z"})
}

fn gemini(id: &str) -> Value {
    json!({
        "name": format!("models/{id}"), "version": "001", "displayName": id, "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536, "supportedGenerationMethods": ["generateContent", "countTokens"],
    })
}
