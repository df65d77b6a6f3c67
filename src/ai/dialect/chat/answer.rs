//! A whole answer of Chat, read and written.
//!
//! What is read may have fields that are not named here: providers add to their answers, and a client that asked in
//! another dialect did not ask for them.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::ask::{Call, Part, Seal};
use super::super::json::{List, Object, object};
use super::super::names::digest;
use super::super::reply::{Reply, Stop};
use super::super::text::{Text, lenient};
use super::super::translate::{Malformed, Notes, is_json, object as json_object};
use super::ThinkingBlock;
use super::usage::{self, UsageOf};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    #[serde(default, deserialize_with = "lenient")]
    usage: UsageOf,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    thinking_blocks: Option<Vec<ThinkingBlock<'a>>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    /// The one call of old servers.
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
    audio: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

/// Nobody asked for it.
pub(super) const SOUND: Malformed = Malformed::foreign("an answer in sound");

/// An answer without a choice is an empty one, where its provider counted it: some say so that nothing was said.
///
/// # Errors
///
/// It is no answer of Chat, has too many calls, or one with what is no JSON object.
pub(in super::super) fn read(body: &[u8]) -> Result<Reply<'_>, Malformed> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| Malformed::json(&error))?;
    let id = body.id.unwrap_or_default();
    let model = body.model.unwrap_or_default();
    let usage = body.usage.into();
    let Some(choice) = body.choices.into_iter().next() else {
        let empty = Reply { id, model, parts: Vec::new(), stop: Stop::End, usage };
        return if usage::is_told(&empty.usage) {
            Ok(empty)
        } else {
            Err(Malformed::new("an answer without a choice"))
        };
    };
    let message = choice.message;
    if message.audio.is_some() {
        return Err(SOUND);
    }
    let mut parts: Vec<Part<'_>> = Vec::new();
    match message.thinking_blocks.filter(|blocks| !blocks.is_empty()) {
        Some(blocks) => {
            let blocks = blocks.into_iter().map(|block| block.into_part(Seal::Chat));
            // Of what cannot be read, nobody here can say who could.
            parts.extend(blocks.filter(|part| !matches!(part, Part::Redacted(_))));
        }
        None => {
            let taken_back = filled(message.reasoning_content).map(|text| (text, Seal::Chat(Text::default())));
            let thought = taken_back.or_else(|| filled(message.reasoning).map(|text| (text, Seal::None)));
            parts.extend(thought.map(|(text, seal)| Part::Thinking(text, seal)));
        }
    }
    parts.extend(filled(message.content).map(|text| Part::Text(text, None)));
    parts.extend(filled(message.refusal).map(Part::Refusal));
    let mut calls = message.tool_calls.unwrap_or_default();
    calls.extend(message.function_call.map(|function| ToolCall { id: None, function: Some(function) }));
    let stop = stop(choice.finish_reason.as_deref().unwrap_or_default()).with_calls(!calls.is_empty());
    let last = calls.len().saturating_sub(1);
    for (index, call) in calls.into_iter().enumerate() {
        Malformed::unless_one_more(index)?;
        let function = call.function.ok_or(Malformed::foreign("a call of something that is no function"))?;
        let name = function.name;
        let arguments = function.arguments.unwrap_or_default();
        // The call in which an answer was cut off; by the reason to stop, the client knows that it is not whole.
        let is_cut = index == last && stop.cuts() && !is_json(&arguments);
        let arguments = if is_cut { Some("{}".into()) } else { json_object(arguments) };
        let arguments = arguments.ok_or(Malformed::foreign("a call of a tool whose arguments are no JSON object"))?;
        let id = filled(call.id).unwrap_or_else(|| made_up_id(&id, index, &name).into());
        parts.push(Part::Call(Call { id, name, arguments, seal: None }));
    }
    Ok(Reply { id, model, parts, stop, usage })
}

/// Nothing is nothing, whether it is left out, `null` or empty.
pub(super) fn filled(text: Option<Text<'_>>) -> Option<Text<'_>> {
    text.filter(|text| !text.is_empty())
}

/// An id for a call that has none: the same whenever it is made for the same call of the same answer.
pub(in super::super) fn made_up_id(answer: &str, index: usize, name: &str) -> String {
    format!("call_{}", digest(&[answer.as_bytes(), &index.to_le_bytes(), name.as_bytes()], 12))
}

/// A word that is not known is an end like any other.
pub(super) fn stop(reason: &str) -> Stop {
    match reason {
        "length" | "model_length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::Tools,
        "content_filter" => Stop::Filter,
        _ => Stop::End,
    }
}

/// The word of Chat.
pub(super) const fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) => "stop",
        Stop::Length => "length",
        Stop::Tools => "tool_calls",
        Stop::Filter => "content_filter",
    }
}

/// Writes the answer for a client of Chat.
pub(in super::super) fn write(reply: &Reply<'_>, notes: &Notes, out: &mut Vec<u8>) {
    object(out, |o| {
        o.text("id", notes.id_or(&reply.id));
        o.text("object", "chat.completion");
        o.number("created", notes.created());
        o.text("model", notes.model_or(&reply.model));
        o.list("choices", |list| {
            list.object(|choice| {
                choice.number("index", 0_u8);
                choice.object("message", |o| message(&reply.parts, notes, o));
                choice.null("logprobs");
                choice.text("finish_reason", finish_reason(&reply.stop));
            });
        });
        if usage::is_told(&reply.usage) {
            o.object("usage", |o| usage::write(&reply.usage, o));
        }
    });
}

fn message(parts: &[Part<'_>], notes: &Notes, o: &mut Object<'_>) {
    let (mut text, mut refusal, mut thoughts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut blocks, mut calls, mut seal) = (Vec::new(), Vec::new(), None);
    for part in parts {
        match part {
            Part::Text(said, sealed) => {
                text.push(&**said);
                seal = sealed.as_ref().or(seal);
            }
            Part::Refusal(said) => refusal.push(&**said),
            Part::Thinking(thought, by) => {
                thoughts.push(&**thought);
                match by {
                    Seal::Anthropic(_) => blocks.push(part),
                    Seal::GeminiText(by) => seal = Some(by),
                    Seal::None | Seal::Chat(_) | Seal::Gemini(_) => {}
                }
            }
            Part::Redacted(_) => blocks.push(part),
            Part::Call(call) => calls.push(call),
            Part::Media(_) | Part::Result(_) => {}
        }
    }
    o.text("role", "assistant");
    // Nothing said is an empty string, but beside what stands in its place.
    if calls.is_empty() && refusal.iter().all(|text| text.is_empty()) {
        o.joined("content", &text);
    } else {
        joined_or_null(o, "content", &text);
    }
    joined_or_null(o, "refusal", &refusal);
    if thoughts.iter().any(|text| !text.is_empty()) {
        o.joined("reasoning_content", &thoughts);
    }
    if !blocks.is_empty() {
        o.list("thinking_blocks", |list| blocks.iter().for_each(|part| thinking_block(part, list)));
    }
    if let Some(seal) = seal {
        extra_content(seal, o);
    }
    if !calls.is_empty() {
        o.list("tool_calls", |list| calls.iter().for_each(|call| list.object(|o| tool_call(call, notes, o))));
    }
}

fn joined_or_null(o: &mut Object<'_>, key: &str, texts: &[&str]) {
    if texts.iter().all(|text| text.is_empty()) { o.null(key) } else { o.joined(key, texts) }
}

fn thinking_block(part: &Part<'_>, list: &mut List<'_>) {
    list.object(|o| match part {
        Part::Redacted(data) => {
            o.text("type", "redacted_thinking");
            o.text("data", data);
        }
        Part::Thinking(text, Seal::Anthropic(seal)) => {
            o.text("type", "thinking");
            o.text("thinking", text);
            o.text("signature", seal);
        }
        _ => {}
    });
}

/// Where Google's own door for Chat has its seals.
pub(super) fn extra_content(seal: &str, o: &mut Object<'_>) {
    o.object("extra_content", |o| o.object("google", |o| o.text("thought_signature", seal)));
}

fn tool_call(call: &Call<'_>, notes: &Notes, o: &mut Object<'_>) {
    o.text("id", &call.id);
    o.text("type", "function");
    o.object("function", |function| {
        function.text("name", notes.name(&call.name));
        function.text("arguments", &call.arguments);
    });
    if let Some(seal) = &call.seal {
        extra_content(seal, o);
    }
}
