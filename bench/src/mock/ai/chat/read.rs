//! A chat request read and checked as OpenAI does.

use serde_json::Value;

use super::super::door::Shape;
use super::super::error::Trouble;
use super::super::question::{Choice, Question, Role, Tool, list, texts, unknown};
use super::super::{Call, Scene};
use crate::mock::faults::Flavour;

/// Fields that OpenAI takes; others are refused where that is ordered.
const FIELDS: &[&str] = &[
    "model",
    "messages",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

pub(super) fn question(call: &Call, scene: &Scene, asked: &Value) -> Result<Question, Trouble> {
    let strict = scene.orders.strict && scene.orders.flavour == Flavour::OpenAi;
    if let Some(field) = unknown(asked, FIELDS).filter(|_| strict) {
        return Err(Trouble::about(field, format!("Unknown parameter: '{field}'.")));
    }
    if call.model.is_empty() && scene.orders.flavour != Flavour::JaiRouter {
        return Err(Trouble::invalid("you must provide a model parameter"));
    }
    if asked.get("stream_options").is_some_and(|options| !options.is_null()) && asked["stream"] != true {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Trouble::about("stream_options", message));
    }
    let mut question = Question::new();
    let messages = list(asked, "messages")?;
    for (at, message) in messages.iter().enumerate() {
        turn(&mut question, message, at)?;
    }
    pairs(messages)?;
    tools(&mut question, asked)?;
    question.most = limit(asked, "max_completion_tokens")?.or(limit(asked, "max_tokens")?);
    question.stop = texts(&asked["stop"]);
    question.choices = asked["n"].as_u64().unwrap_or(1);
    question.thinks = thinks(call, scene, asked);
    question.schema = schema(&asked["response_format"]);
    Ok(question)
}

/// A reasoning model thinks in silence; vLLM's templates are told to.
fn thinks(call: &Call, scene: &Scene, asked: &Value) -> bool {
    let effort = asked["reasoning_effort"].as_str();
    let templated = asked["chat_template_kwargs"]["enable_thinking"] == true;
    let vllm = matches!(scene.orders.flavour, Flavour::Vllm { .. }) && call.door.shape == Shape::OpenAi;
    effort.is_some_and(|effort| !matches!(effort, "none" | "minimal")) || (vllm && templated)
}

/// A limit of tokens, which is a whole number above zero or nothing.
fn limit(asked: &Value, name: &str) -> Result<Option<u64>, Trouble> {
    match &asked[name] {
        Value::Null => Ok(None),
        value => match value.as_u64() {
            Some(0) | None => {
                Err(Trouble::about(name, format!("Invalid '{name}': expected an integer of at least 1, got {value}.")))
            }
            limit => Ok(limit),
        },
    }
}

/// The schema that a response format asks for.
pub(in crate::mock::ai) fn schema(format: &Value) -> Option<Value> {
    match format["type"].as_str()? {
        "json_object" => Some(serde_json::json!({"properties": {"answer": {"type": "string"}}})),
        "json_schema" => Some(match format["json_schema"].get("schema").or_else(|| format.get("schema")) {
            Some(schema) => schema.clone(),
            None => Value::Null,
        }),
        _ => None,
    }
}

fn turn(question: &mut Question, message: &Value, at: usize) -> Result<(), Trouble> {
    let role = match message["role"].as_str() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        other => {
            let param = format!("messages[{at}].role");
            let other = other.unwrap_or("null");
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and \
                 'developer'."
            );
            return Err(Trouble::about(&param, message));
        }
    };
    question.turn(role);
    if role == Role::Tool {
        question.results += 1;
    }
    match &message["content"] {
        Value::String(text) => question.hear(role, text),
        Value::Array(parts) => {
            for (number, part) in parts.iter().enumerate() {
                self::part(question, role, part).map_err(|kind| {
                    let param = format!("messages[{at}].content[{number}].type");
                    let message = format!("Invalid value: '{kind}'.");
                    Trouble::about(&param, message)
                })?;
            }
        }
        Value::Null if role == Role::Assistant => {}
        _ => {
            let param = format!("messages[{at}].content");
            let message = format!("Invalid type for '{param}': expected one of a string or array of objects.");
            return Err(Trouble::about(&param, message));
        }
    }
    Ok(())
}

fn part(question: &mut Question, role: Role, part: &Value) -> Result<(), String> {
    let kind = part["type"].as_str().unwrap_or("null");
    match kind {
        "text" => question.hear(role, part["text"].as_str().unwrap_or_default()),
        "refusal" => question.hear(role, part["refusal"].as_str().unwrap_or_default()),
        "image_url" if part["image_url"]["url"].is_string() => question.images += 1,
        "input_audio" | "file" | "video_url" | "audio_url" => {}
        _ => return Err(kind.to_owned()),
    }
    Ok(())
}

/// Every call of a tool has its result right after it, and every result a call before it.
fn pairs(messages: &[Value]) -> Result<(), Trouble> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(found) = open.iter().position(|known| *known == id) else {
                let text = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with \
                            'tool_calls'.";
                return Err(Trouble::about(&format!("messages.[{at}].role"), text));
            };
            open.remove(found);
            continue;
        }
        unanswered(&open)?;
        open = ids(message);
    }
    unanswered(&open)
}

fn unanswered(open: &[&str]) -> Result<(), Trouble> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The \
         following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(Trouble::about("messages", message))
}

fn ids(message: &Value) -> Vec<&str> {
    let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
    calls.iter().filter_map(|call| call["id"].as_str()).collect()
}

fn tools(question: &mut Question, asked: &Value) -> Result<(), Trouble> {
    for (at, tool) in asked["tools"].as_array().into_iter().flatten().enumerate() {
        if tool["type"] != "function" {
            continue;
        }
        let function = &tool["function"];
        let name = function["name"].as_str().ok_or_else(|| Trouble::missing(&format!("tools[{at}].function.name")))?;
        question.tools.push(Tool { name: name.to_owned(), schema: function["parameters"].clone() });
    }
    question.choice = match &asked["tool_choice"] {
        Value::String(choice) if choice == "none" => Choice::None,
        Value::String(choice) if choice == "required" => Choice::Any,
        Value::Object(choice) => choice
            .get("function")
            .and_then(|function| function["name"].as_str())
            .map_or(Choice::Auto, |name| Choice::Named(name.to_owned())),
        _ => Choice::Auto,
    };
    if question.tools.is_empty() && question.choice != Choice::Auto && question.choice != Choice::None {
        return Err(Trouble::about("tool_choice", "'tool_choice' is only allowed when 'tools' are specified."));
    }
    Ok(())
}
