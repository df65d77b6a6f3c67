//! JSON with its keys in the order in which a provider writes them. Order means nothing to a parser; a reader that looks for
//! a field in the bytes should meet it where it will meet it in earnest.

use serde_json::{Map, Value};

/// OpenAI's order, in chat and in responses.
pub(super) const OPENAI: &[&str] = &[
    "id",
    "object",
    "type",
    "sequence_number",
    "created",
    "created_at",
    "status",
    "model",
    "response",
    "item_id",
    "output_index",
    "content_index",
    "item",
    "part",
    "delta",
    "index",
    "message",
    "role",
    "function",
    "name",
    "arguments",
    "content",
    "refusal",
    "tool_calls",
    "annotations",
    "text",
    "logprobs",
    "finish_reason",
    "choices",
    "usage",
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "param",
    "code",
];

/// Anthropic's order.
pub(super) const ANTHROPIC: &[&str] = &[
    "model",
    "id",
    "type",
    "index",
    "message",
    "content_block",
    "delta",
    "role",
    "content",
    "thinking",
    "text",
    "name",
    "input",
    "stop_reason",
    "stop_sequence",
    "usage",
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "output_tokens",
    "service_tier",
    "error",
    "request_id",
];

/// Gemini's order.
pub(super) const GEMINI: &[&str] = &[
    "candidates",
    "content",
    "parts",
    "text",
    "functionCall",
    "role",
    "finishReason",
    "index",
    "usageMetadata",
    "promptTokenCount",
    "candidatesTokenCount",
    "totalTokenCount",
    "modelVersion",
    "responseId",
    "error",
    "code",
    "message",
    "status",
    "details",
];

/// The text of a value: keys in the given order, the others after them by name.
pub(super) fn written(value: &Value, order: &[&str]) -> String {
    let mut out = String::new();
    write(&mut out, value, order);
    out
}

fn write(out: &mut String, value: &Value, order: &[&str]) {
    match value {
        Value::Object(map) => object(out, map, order),
        Value::Array(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, value, order);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn object(out: &mut String, map: &Map<String, Value>, order: &[&str]) {
    let rank = |key: &str| order.iter().position(|known| *known == key).unwrap_or(order.len());
    let mut members: Vec<(&String, &Value)> = map.iter().collect();
    members.sort_by_key(|(key, _)| rank(key));
    out.push('{');
    for (at, (key, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&quoted(key));
        out.push(':');
        write(out, value, order);
    }
    out.push('}');
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_keys_come_first_and_the_value_is_the_same() {
        let value = json!({"zeta": [1, {"b": "\"", "id": null}], "choices": [], "alpha": true, "id": "x"});
        let text = written(&value, &["id", "choices"]);
        assert_eq!(text, r#"{"id":"x","choices":[],"alpha":true,"zeta":[1,{"id":null,"b":"\""}]}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
