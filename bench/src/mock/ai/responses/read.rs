//! A request for a response read and checked as OpenAI does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::error::Trouble;
use super::super::question::{Choice, Question, Role, Tool, unknown};
use super::super::{Call, Scene, chat};
use crate::mock::faults::Flavour;

/// Fields that OpenAI takes; others are refused where that is ordered.
const FIELDS: &[&str] = &[
    "model",
    "input",
    "background",
    "context_management",
    "conversation",
    "include",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

pub(super) fn question(call: &Call, scene: &Scene, asked: &Value) -> Result<Question, Trouble> {
    let strict = scene.orders.strict && scene.orders.flavour == Flavour::OpenAi;
    if let Some(field) = unknown(asked, FIELDS).filter(|_| strict) {
        return Err(Trouble::about(field, format!("Unknown parameter: '{field}'.")));
    }
    if call.model.is_empty() {
        return Err(Trouble::missing("model"));
    }
    let mut question = Question::new();
    question.hear(Role::System, asked["instructions"].as_str().unwrap_or_default());
    match &asked["input"] {
        Value::String(text) => question.hear(Role::User, text),
        Value::Array(items) => {
            for (at, one) in items.iter().enumerate() {
                item(&mut question, one, at)?;
            }
            if !asked["previous_response_id"].is_string() {
                pairs(items)?;
            }
        }
        _ => return Err(Trouble::missing("input")),
    }
    question.most = asked["max_output_tokens"].as_u64();
    question.thinks = asked["reasoning"]["effort"].as_str().is_some_and(|effort| !matches!(effort, "none" | "minimal"))
        || asked["reasoning"]["summary"].is_string();
    question.schema = chat::schema(&asked["text"]["format"]);
    tools(&mut question, asked)?;
    Ok(question)
}

fn item(question: &mut Question, item: &Value, at: usize) -> Result<(), Trouble> {
    let param = format!("input[{at}]");
    match item["type"].as_str().unwrap_or("message") {
        "message" => message(question, item, &param),
        "function_call_output" => {
            question.results += 1;
            question.hear(Role::Tool, item["output"].as_str().unwrap_or_default());
            Ok(())
        }
        "function_call" => {
            question.turn(Role::Assistant);
            match item["arguments"].is_string() {
                true => Ok(()),
                false => Err(Trouble::missing(&format!("{param}.arguments"))),
            }
        }
        "reasoning"
        | "item_reference"
        | "compaction"
        | "web_search_call"
        | "file_search_call"
        | "custom_tool_call"
        | "custom_tool_call_output" => Ok(()),
        other => Err(Trouble::about(&format!("{param}.type"), format!("Invalid value: '{other}'."))),
    }
}

fn message(question: &mut Question, item: &Value, param: &str) -> Result<(), Trouble> {
    let role = match item["role"].as_str() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => return Err(Trouble::about(&format!("{param}.role"), "Invalid value for 'role'.")),
    };
    question.turn(role);
    match &item["content"] {
        Value::String(text) => question.hear(role, text),
        Value::Array(parts) => {
            for (at, part) in parts.iter().enumerate() {
                let kind = part["type"].as_str().unwrap_or("null");
                match (kind, role) {
                    ("input_text", Role::User | Role::System) | ("output_text", Role::Assistant) => {
                        question.hear(role, part["text"].as_str().unwrap_or_default());
                    }
                    ("input_image", Role::User) => question.images += 1,
                    ("input_file" | "input_audio", Role::User) | ("refusal", Role::Assistant) => {}
                    _ => {
                        let message = format!("Invalid value: '{kind}'. Supported values for this role are others.");
                        return Err(Trouble::about(&format!("{param}.content[{at}]"), message));
                    }
                }
            }
        }
        _ => return Err(Trouble::missing(&format!("{param}.content"))),
    }
    Ok(())
}

/// Every output of a call has its call, and every call its output.
fn pairs(items: &[Value]) -> Result<(), Trouble> {
    let ids = |kind: &str| -> BTreeSet<&str> {
        items.iter().filter(|item| item["type"] == kind).filter_map(|item| item["call_id"].as_str()).collect()
    };
    let (calls, outputs) = (ids("function_call"), ids("function_call_output"));
    if let Some(id) = outputs.difference(&calls).next() {
        return Err(Trouble::about("input", format!("No tool call found for function call output with call_id {id}.")));
    }
    match calls.difference(&outputs).next() {
        Some(id) => Err(Trouble::about("input", format!("No tool output found for function call {id}."))),
        None => Ok(()),
    }
}

fn tools(question: &mut Question, asked: &Value) -> Result<(), Trouble> {
    for (at, tool) in asked["tools"].as_array().into_iter().flatten().enumerate() {
        if tool["type"] == "function" {
            let name = tool["name"].as_str().ok_or_else(|| Trouble::missing(&format!("tools[{at}].name")))?;
            question.tools.push(Tool { name: name.to_owned(), schema: tool["parameters"].clone() });
        }
    }
    question.choice = match &asked["tool_choice"] {
        Value::String(choice) if choice == "none" => Choice::None,
        Value::String(choice) if choice == "required" => Choice::Any,
        Value::Object(choice) => {
            choice.get("name").and_then(Value::as_str).map_or(Choice::Auto, |name| Choice::Named(name.to_owned()))
        }
        _ => Choice::Auto,
    };
    Ok(())
}
