//! A messages request read and checked as Anthropic does.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::Scene;
use super::super::error::Trouble;
use super::super::question::{Choice, Question, Role, Tool, texts, unknown};
use super::super::reply::signature;
use crate::mock::faults::Flavour;

/// Fields that Anthropic takes; others are refused where that is ordered.
const FIELDS: &[&str] = &[
    "model",
    "messages",
    "max_tokens",
    "system",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "tools",
    "tool_choice",
    "thinking",
    "service_tier",
    "container",
    "mcp_servers",
    "context_management",
    "output_config",
    "output_format",
    "cache_control",
    "inference_geo",
];

/// `bounded` requests must say how long the answer may be.
pub(super) fn question(scene: &Scene, asked: &Value, bounded: bool) -> Result<Question, Trouble> {
    let strict = scene.orders.strict && scene.orders.flavour == Flavour::OpenAi;
    if let Some(field) = unknown(asked, FIELDS).filter(|_| strict) {
        return Err(Trouble::invalid(format!("{field}: Extra inputs are not permitted")));
    }
    if !asked["model"].is_string() {
        return Err(Trouble::invalid("model: Field required"));
    }
    let mut question = Question::new();
    question.most = asked["max_tokens"].as_u64();
    if bounded && question.most.is_none_or(|most| most == 0) {
        let said = if asked.get("max_tokens").is_none() {
            "Field required"
        } else {
            "Input should be greater than or equal to 1"
        };
        return Err(Trouble::invalid(format!("max_tokens: {said}")));
    }
    thinking(&mut question, asked)?;
    system(&mut question, &asked["system"])?;
    let messages = asked["messages"].as_array().ok_or_else(|| Trouble::invalid("messages: Field required"))?;
    if messages.is_empty() {
        return Err(Trouble::invalid("messages: at least one message is required"));
    }
    for (at, message) in messages.iter().enumerate() {
        turn(&mut question, message, at)?;
    }
    pairs(messages)?;
    if question.thinks {
        begins_with_thinking(messages)?;
    }
    tools(&mut question, asked)?;
    question.stop = texts(&asked["stop_sequences"]);
    let format =
        [&asked["output_config"]["format"], &asked["output_format"]].into_iter().find(|format| format.is_object());
    question.schema = format.and_then(super::super::chat::schema);
    Ok(question)
}

fn thinking(question: &mut Question, asked: &Value) -> Result<(), Trouble> {
    let thinking = &asked["thinking"];
    match thinking["type"].as_str() {
        None | Some("disabled") => return Ok(()),
        Some("adaptive") => {}
        Some("enabled") => {
            let budget = thinking["budget_tokens"].as_u64();
            let budget = budget.ok_or_else(|| Trouble::invalid("thinking.enabled.budget_tokens: Field required"))?;
            if budget < 1024 {
                let message = "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024";
                return Err(Trouble::invalid(message));
            }
            if question.most.is_some_and(|most| most <= budget) {
                return Err(Trouble::invalid("`max_tokens` must be greater than `thinking.budget_tokens`."));
            }
            let temperature = asked["temperature"].as_f64();
            if temperature.is_some_and(|temperature| (temperature - 1.0).abs() > f64::EPSILON) {
                return Err(Trouble::invalid("`temperature` may only be set to 1 when thinking is enabled."));
            }
        }
        Some(other) => {
            let message =
                format!("thinking: Input tag '{other}' found using 'type' does not match any of the expected tags");
            return Err(Trouble::invalid(message));
        }
    }
    question.thinks = true;
    Ok(())
}

fn system(question: &mut Question, system: &Value) -> Result<(), Trouble> {
    match system {
        Value::Null => Ok(()),
        Value::String(text) => {
            question.hear(Role::System, text);
            Ok(())
        }
        Value::Array(blocks) => {
            for (at, block) in blocks.iter().enumerate() {
                let text = block["text"].as_str().filter(|_| block["type"] == "text");
                let text = text.ok_or_else(|| Trouble::invalid(format!("system.{at}.type: Input should be 'text'")))?;
                if text.is_empty() {
                    return Err(Trouble::invalid("system: text content blocks must be non-empty"));
                }
                question.hear(Role::System, text);
            }
            Ok(())
        }
        _ => Err(Trouble::invalid("system: Input should be a valid string")),
    }
}

fn turn(question: &mut Question, message: &Value, at: usize) -> Result<(), Trouble> {
    let role = match message["role"].as_str() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => {
            return Err(Trouble::invalid(
                "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \
                 \"system\" as an input message role.",
            ));
        }
        other => {
            let other = other.unwrap_or("null");
            let message = format!("messages: Unexpected role \"{other}\". Allowed roles are \"user\" or \"assistant\"");
            return Err(Trouble::invalid(message));
        }
    };
    question.turn(role);
    match &message["content"] {
        Value::String(text) if text.is_empty() => {
            Err(Trouble::invalid(format!("messages.{at}: user messages must have non-empty content")))
        }
        Value::String(text) => {
            question.hear(role, text);
            Ok(())
        }
        Value::Array(blocks) if blocks.is_empty() && role == Role::User => {
            Err(Trouble::invalid(format!("messages.{at}: user messages must have non-empty content")))
        }
        Value::Array(blocks) => {
            for (number, one) in blocks.iter().enumerate() {
                block(question, role, one)
                    .map_err(|why| Trouble::invalid(format!("messages.{at}.content.{number}{why}")))?;
            }
            Ok(())
        }
        _ => Err(Trouble::invalid(format!("messages.{at}.content: Field required"))),
    }
}

/// One block of content. Errors go on from the place of the block.
fn block(question: &mut Question, role: Role, block: &Value) -> Result<(), String> {
    let required = |name: &str, kind: &str| format!(".{kind}.{name}: Field required");
    match (block["type"].as_str().unwrap_or_default(), role) {
        ("text", _) => {
            let text = block["text"].as_str().ok_or_else(|| required("text", "text"))?;
            if text.is_empty() {
                return Err(": text content blocks must be non-empty".to_owned());
            }
            question.hear(role, text);
        }
        ("image", Role::User) => {
            image(&block["source"])?;
            question.images += 1;
        }
        ("document" | "search_result" | "container_upload", Role::User) => {}
        ("tool_result", Role::User) => {
            block["tool_use_id"].as_str().ok_or_else(|| required("tool_use_id", "tool_result"))?;
            question.results += 1;
            result(question, &block["content"]);
        }
        ("tool_use", Role::Assistant) => {
            let input = &block["input"];
            if !input.is_object() {
                return Err(".tool_use.input: Input should be a valid dictionary".to_owned());
            }
            block["id"].as_str().ok_or_else(|| required("id", "tool_use"))?;
            block["name"].as_str().ok_or_else(|| required("name", "tool_use"))?;
        }
        ("thinking", Role::Assistant) => {
            let thinking = block["thinking"].as_str().ok_or_else(|| required("thinking", "thinking"))?;
            let signed = block["signature"].as_str().ok_or_else(|| required("signature", "thinking"))?;
            if signed != signature(thinking) {
                return Err(": Invalid `signature` in `thinking` block".to_owned());
            }
        }
        ("redacted_thinking", Role::Assistant) => {
            block["data"].as_str().ok_or_else(|| required("data", "redacted_thinking"))?;
        }
        ("server_tool_use" | "web_search_tool_result", _) => {}
        (kind, _) => {
            return Err(format!(": Input tag '{kind}' found using 'type' does not match any of the expected tags"));
        }
    }
    Ok(())
}

fn image(source: &Value) -> Result<(), String> {
    match source["type"].as_str() {
        Some("url") if source["url"].is_string() => Ok(()),
        Some("file") if source["file_id"].is_string() => Ok(()),
        Some("base64") if source["data"].as_str().is_some_and(|data| !data.is_empty()) => {
            let kind = source["media_type"].as_str().unwrap_or_default();
            match ["image/jpeg", "image/png", "image/gif", "image/webp"].contains(&kind) {
                true => Ok(()),
                false => Err(".image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'".to_owned()),
            }
        }
        _ => Err(".image.source: Field required".to_owned()),
    }
}

fn result(question: &mut Question, content: &Value) {
    match content {
        Value::String(text) => question.hear(Role::Tool, text),
        Value::Array(blocks) => {
            for block in blocks {
                match block["type"].as_str() {
                    Some("image") => question.images += 1,
                    _ => question.hear(Role::Tool, block["text"].as_str().unwrap_or_default()),
                }
            }
        }
        _ => {}
    }
}

/// Every call of a tool has its result in the message after it, and every result its call in the message before.
fn pairs(messages: &[Value]) -> Result<(), Trouble> {
    let mut called: BTreeSet<&str> = BTreeSet::new();
    for (at, message) in messages.iter().enumerate() {
        let answered = ids(message, "tool_result", "tool_use_id");
        if let Some(stray) = answered.difference(&called).next() {
            return Err(Trouble::invalid(format!(
                "messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {stray}. Each `tool_result` \
                 block must have a corresponding `tool_use` block in the previous message."
            )));
        }
        let open: Vec<&str> = called.difference(&answered).copied().collect();
        if !open.is_empty() {
            return Err(unanswered(at.saturating_sub(1), &open));
        }
        called = ids(message, "tool_use", "id");
    }
    let open: Vec<&str> = called.into_iter().collect();
    if open.is_empty() { Ok(()) } else { Err(unanswered(messages.len() - 1, &open)) }
}

fn unanswered(at: usize, open: &[&str]) -> Trouble {
    Trouble::invalid(format!(
        "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block \
         must have a corresponding `tool_result` block in the next message.",
        open.join(", ")
    ))
}

fn ids<'a>(message: &'a Value, kind: &str, id: &str) -> BTreeSet<&'a str> {
    let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    blocks.iter().filter(|block| block["type"] == kind).filter_map(|block| block[id].as_str()).collect()
}

/// With thinking on, a turn of the assistant whose calls are being answered begins with its thinking.
fn begins_with_thinking(messages: &[Value]) -> Result<(), Trouble> {
    let answering = messages.last().is_some_and(|last| !ids(last, "tool_result", "tool_use_id").is_empty());
    let before = messages.len().checked_sub(2).and_then(|at| Some((at, messages.get(at)?)));
    let (true, Some((at, before))) = (answering, before) else {
        return Ok(());
    };
    let kind = before["content"][0]["type"].as_str().unwrap_or_default();
    if matches!(kind, "thinking" | "redacted_thinking") {
        return Ok(());
    }
    Err(Trouble::invalid(format!(
        "messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`. When `thinking` is \
         enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and \
         `tool_result` blocks)."
    )))
}

fn tools(question: &mut Question, asked: &Value) -> Result<(), Trouble> {
    for (at, tool) in asked["tools"].as_array().into_iter().flatten().enumerate() {
        // Tools that Anthropic runs itself have a type of their own and no schema.
        if tool["type"].as_str().is_some_and(|kind| kind != "custom") {
            continue;
        }
        let name =
            tool["name"].as_str().ok_or_else(|| Trouble::invalid(format!("tools.{at}.custom.name: Field required")))?;
        let schema = &tool["input_schema"];
        if schema["type"] != "object" {
            return Err(Trouble::invalid(format!("tools.{at}.custom.input_schema.type: Field required")));
        }
        question.tools.push(Tool { name: name.to_owned(), schema: schema.clone() });
    }
    question.choice = match asked["tool_choice"]["type"].as_str() {
        Some("none") => Choice::None,
        Some("any") => Choice::Any,
        Some("tool") => Choice::Named(asked["tool_choice"]["name"].as_str().unwrap_or_default().to_owned()),
        _ => Choice::Auto,
    };
    if question.thinks && !matches!(question.choice, Choice::Auto | Choice::None) {
        return Err(Trouble::invalid("Thinking may not be enabled when tool_choice forces tool use."));
    }
    Ok(())
}
