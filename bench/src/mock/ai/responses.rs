//! OpenAI's `responses`, whole and as events.

use serde_json::{Value, json};

use super::error::Trouble;
use super::failure::{Failure, Voice};
use super::json::OPENAI;
use super::play::{Score, play};
use super::reply::{Finish, Reply};
use super::{Call, Scene};
use crate::mock::answer::Answer;

mod events;
mod read;

/// The answer to a request, whole or as a stream.
pub(super) fn answer(call: &Call, scene: &Scene, asked: &Value, stream: bool) -> Result<Answer, Trouble> {
    let question = read::question(call, scene, asked)?;
    let reply = Reply::plan(scene, &question);
    let talk = Talk { call, scene, asked, reply: &reply };
    if !stream {
        let mut whole = talk.response(talk.status(), talk.output());
        if scene.silent {
            whole["usage"] = Value::Null;
        }
        return Ok(scene.whole(&whole, OPENAI, reply.usage));
    }
    let beats = events::beats(&talk);
    let said = beats.iter().map(|beat| beat.times * beat.tokens).sum();
    let failure = Failure {
        manner: call.shape(scene.orders),
        number: scene.number,
        shape: scene.orders.error,
        voice: Voice::Response(Box::new(talk.begun())),
    };
    Ok(play(scene, Score { beats, usage: reply.usage, said, ping: ": ping\n\n", failure }))
}

struct Talk<'a> {
    call: &'a Call,
    scene: &'a Scene<'a>,
    asked: &'a Value,
    reply: &'a Reply,
}

impl Talk<'_> {
    fn status(&self) -> &'static str {
        if matches!(self.reply.finish, Finish::Length | Finish::Filter) { "incomplete" } else { "completed" }
    }

    /// The response before there is any output.
    fn begun(&self) -> Value {
        let mut begun = self.response("in_progress", Vec::new());
        begun["usage"] = Value::Null;
        begun["incomplete_details"] = Value::Null;
        begun
    }

    fn response(&self, status: &str, output: Vec<Value>) -> Value {
        let asked = |name: &str, otherwise: Value| {
            self.asked.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(otherwise)
        };
        let why = match self.reply.finish {
            Finish::Length => json!({"reason": "max_output_tokens"}),
            Finish::Filter => json!({"reason": "content_filter"}),
            _ => Value::Null,
        };
        let used = &self.reply.usage;
        json!({
            "id": format!("resp_mock{}", self.scene.number), "object": "response", "created_at": self.scene.created,
            "status": status, "background": false, "error": null, "incomplete_details": why,
            "instructions": asked("instructions", Value::Null), "max_output_tokens": asked("max_output_tokens", Value::Null),
            "model": self.call.model, "output": output, "parallel_tool_calls": asked("parallel_tool_calls", true.into()),
            "previous_response_id": asked("previous_response_id", Value::Null),
            "reasoning": asked("reasoning", json!({"effort": null, "summary": null})),
            "service_tier": "default", "store": asked("store", true.into()), "temperature": asked("temperature", json!(1.0)),
            "text": asked("text", json!({"format": {"type": "text"}})), "tool_choice": asked("tool_choice", "auto".into()),
            "tools": asked("tools", json!([])), "top_p": asked("top_p", json!(1.0)), "truncation": "disabled",
            "usage": {
                "input_tokens": used.input, "input_tokens_details": {"cached_tokens": used.cache_read},
                "output_tokens": used.output, "output_tokens_details": {"reasoning_tokens": used.reasoning},
                "total_tokens": used.input + used.output,
            },
            "user": asked("user", Value::Null), "metadata": asked("metadata", json!({})),
        })
    }

    /// The items of the whole answer.
    fn output(&self) -> Vec<Value> {
        let mut items = Vec::new();
        if !self.reply.thinking.is_empty() {
            items.push(self.reasoning());
        }
        if self.reply.count > 0 {
            items.push(self.message(self.status(), vec![part(&self.reply.text())]));
        }
        items.extend((0..self.reply.calls.len()).filter_map(|at| self.called(at, true)));
        items
    }

    fn reasoning(&self) -> Value {
        let summarised = self.asked["reasoning"]["summary"].is_string();
        let summary =
            if summarised { json!([{"type": "summary_text", "text": self.reply.thought()}]) } else { json!([]) };
        let mut item = json!({"id": format!("rs_mock{}", self.scene.number), "type": "reasoning", "summary": summary});
        let include = self.asked["include"].as_array();
        if include.is_some_and(|include| include.iter().any(|name| name == "reasoning.encrypted_content")) {
            item["encrypted_content"] = super::reply::signature(&self.reply.thought()).into();
        }
        item
    }

    fn message(&self, status: &str, content: Vec<Value>) -> Value {
        json!({
            "id": format!("msg_mock{}", self.scene.number), "type": "message", "status": status, "role": "assistant",
            "content": content,
        })
    }

    /// One call, with its arguments or before them.
    fn called(&self, at: usize, complete: bool) -> Option<Value> {
        let call = self.reply.calls.get(at)?;
        let arguments = if complete { call.arguments.to_string() } else { String::new() };
        let status = if complete { "completed" } else { "in_progress" };
        Some(json!({
            "id": format!("fc_{}", call.id), "type": "function_call", "status": status, "name": call.name,
            "call_id": format!("call_{}", call.id), "arguments": arguments,
        }))
    }
}

/// A part of text.
fn part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}
