//! A whole answer of Messages, read and written.
//!
//! What is read may have fields that are not named here: providers add to their answers, and a client that asked in
//! another dialect did not ask for them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::ask::{Call, Part, Seal};
use super::super::json::{List, Object, compact, object};
use super::super::reply::{Reply, Stop};
use super::super::text::{Text, lenient};
use super::super::translate::{Malformed, Notes};
use super::usage::{self, UsageOf};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    model: Text<'a>,
    #[serde(borrow)]
    content: Vec<Block<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_sequence: Option<Text<'a>>,
    #[serde(borrow)]
    stop_details: Option<StopDetails<'a>>,
    #[serde(default, deserialize_with = "lenient")]
    usage: UsageOf,
}

/// Why the model refused.
#[derive(Deserialize)]
pub(super) struct StopDetails<'a> {
    #[serde(borrow)]
    pub(super) explanation: Option<Text<'a>>,
}

/// A block, whole or as it begins in a stream.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

impl<'a> Block<'a> {
    pub(super) fn into_part(self) -> Result<Part<'a>, Malformed> {
        match &*self.kind {
            "text" => Ok(Part::Text(self.text.unwrap_or_default(), None)),
            "thinking" => {
                let signature = self.signature.filter(|signature| !signature.is_empty());
                Ok(Part::Thinking(self.thinking.unwrap_or_default(), signature.map_or(Seal::None, Seal::Anthropic)))
            }
            "redacted_thinking" => Ok(Part::Redacted(self.data.unwrap_or_default())),
            "tool_use" => Ok(Part::Call(Call {
                id: self.id.ok_or(Malformed::new("a call of a tool without an id"))?,
                name: self.name.ok_or(Malformed::new("a call of a tool without a name"))?,
                arguments: Text(self.input.map_or(Cow::Borrowed("{}"), |input| compact(input.get()))),
                seal: None,
            })),
            _ => Err(Malformed::foreign("a block of a type that was not asked for")),
        }
    }
}

/// # Errors
///
/// It is no answer of Messages, or has too many calls.
pub(in super::super) fn read(body: &[u8]) -> Result<Reply<'_>, Malformed> {
    let body: Body<'_> = serde_json::from_slice(body).map_err(|error| Malformed::json(&error))?;
    let (mut parts, mut calls) = (Vec::with_capacity(body.content.len()), 0);
    for block in body.content {
        let part = block.into_part()?;
        if matches!(part, Part::Call(_)) {
            Malformed::unless_one_more(calls)?;
            calls += 1;
        }
        parts.push(part);
    }
    parts.extend(body.stop_details.and_then(|details| details.explanation).map(Part::Refusal));
    let stop = stop(body.stop_reason.as_deref().unwrap_or_default(), body.stop_sequence.as_deref());
    Ok(Reply { id: body.id, model: body.model, parts, stop, usage: body.usage.into() })
}

/// A word that is not known is an end like any other.
pub(super) fn stop(reason: &str, sequence: Option<&str>) -> Stop {
    match reason {
        "stop_sequence" => Stop::Sequence(sequence.unwrap_or_default().to_owned()),
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "tool_use" => Stop::Tools,
        "refusal" => Stop::Filter,
        _ => Stop::End,
    }
}

/// Writes the answer for a client of Messages.
pub(in super::super) fn write(reply: &Reply<'_>, notes: &Notes, out: &mut Vec<u8>) {
    object(out, |o| {
        o.text("id", notes.id_or(&reply.id));
        o.text("type", "message");
        o.text("role", "assistant");
        o.text("model", notes.model_or(&reply.model));
        o.list("content", |list| content(&reply.parts, notes, list));
        let refused = reply.parts.iter().any(|part| matches!(part, Part::Refusal(_)));
        stop_fields(if refused { &Stop::Filter } else { &reply.stop }, o);
        o.object("usage", |o| usage::write(&reply.usage, o));
    });
}

/// `stop_reason` and `stop_sequence`.
pub(super) fn stop_fields(stop: &Stop, o: &mut Object<'_>) {
    let reason = match stop {
        Stop::End => "end_turn",
        Stop::Sequence(_) => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
        Stop::Filter => "refusal",
    };
    o.text("stop_reason", reason);
    match stop {
        Stop::Sequence(sequence) => o.text("stop_sequence", sequence),
        _ => o.null("stop_sequence"),
    }
}

/// A seal of Gemini's on a call goes into the thinking right before it, or into an empty one.
fn content(parts: &[Part<'_>], notes: &Notes, list: &mut List<'_>) {
    let mut unsealed = false;
    for (index, part) in parts.iter().enumerate() {
        let after_unsealed = std::mem::replace(&mut unsealed, matches!(part, Part::Thinking(_, Seal::None)));
        match part {
            Part::Thinking(text, Seal::None) => {
                thinking(text, &seal_of(parts.get(index + 1)).unwrap_or(Seal::None), list);
            }
            Part::Thinking(text, seal) => thinking(text, seal, list),
            Part::Text(text, seal) => {
                if !text.is_empty() {
                    text_block(text, list);
                }
                if let Some(seal) = seal {
                    thinking("", &Seal::GeminiText(seal.clone()), list);
                }
            }
            Part::Refusal(text) => text_block(text, list),
            Part::Redacted(data) => list.object(|o| {
                o.text("type", "redacted_thinking");
                o.text("data", data);
            }),
            Part::Call(call) => {
                if let Some(seal) = seal_of(Some(part)).filter(|_| !after_unsealed) {
                    thinking("", &seal, list);
                }
                tool_use(call, notes, list);
            }
            Part::Media(_) | Part::Result(_) => {}
        }
    }
}

fn seal_of<'a>(part: Option<&Part<'a>>) -> Option<Seal<'a>> {
    match part {
        Some(Part::Call(call)) => call.seal.clone().map(Seal::Gemini),
        _ => None,
    }
}

fn text_block(text: &str, list: &mut List<'_>) {
    list.object(|o| {
        o.text("type", "text");
        o.text("text", text);
    });
}

fn thinking(text: &str, seal: &Seal<'_>, list: &mut List<'_>) {
    list.object(|o| {
        o.text("type", "thinking");
        o.text("thinking", text);
        o.joined("signature", &super::signature(seal));
    });
}

fn tool_use(call: &Call<'_>, notes: &Notes, list: &mut List<'_>) {
    list.object(|o| {
        o.text("type", "tool_use");
        o.text("id", &call.id);
        o.text("name", notes.name(&call.name));
        o.raw("input", &call.arguments);
    });
}
