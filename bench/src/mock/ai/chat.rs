//! OpenAI's `chat/completions`, as OpenAI, Azure, vLLM and JAiRouter speak it.

use serde_json::{Value, json};

use super::door::Shape;
use super::error::Trouble;
use super::failure::{Failure, Voice};
use super::json::OPENAI;
use super::play::{Score, play};
use super::reply::{Finish, Invocation, Reply};
use super::script::{Beat, Form, OUTPUT, Part, TEXT, TOTAL};
use super::{Call, Scene};
use crate::mock::answer::Answer;
use crate::mock::faults::Flavour;
use crate::mock::ledger::Tokens;

pub(super) mod completions;
mod read;

pub(super) use read::schema;

/// The answer to a chat request, whole or as a stream.
pub(super) fn answer(call: &Call, scene: &Scene, asked: &Value, stream: bool) -> Result<Answer, Trouble> {
    let question = read::question(call, scene, asked)?;
    let reply = Reply::plan(scene, &question);
    let talk = Talk { call, scene, asked, reply: &reply };
    Ok(if stream { talk.stream() } else { talk.whole() })
}

struct Talk<'a> {
    call: &'a Call,
    scene: &'a Scene<'a>,
    asked: &'a Value,
    reply: &'a Reply,
}

impl Talk<'_> {
    fn is_azure(&self) -> bool {
        self.call.door.shape == Shape::Azure
    }

    fn is_vllm(&self) -> bool {
        matches!(self.scene.orders.flavour, Flavour::Vllm { .. })
    }

    fn is_plain_openai(&self) -> bool {
        !self.is_azure() && self.scene.orders.flavour == Flavour::OpenAi
    }

    /// What every object of one answer has.
    fn head(&self, object: &str) -> Value {
        let mut head = json!({
            "id": format!("chatcmpl-mock{}", self.scene.number), "object": object, "created": self.scene.created,
            "model": self.call.model, "system_fingerprint": "fp_mock",
        });
        if self.is_plain_openai() {
            head["service_tier"] = tier(self.asked);
        }
        head
    }

    fn finish(&self) -> &'static str {
        match self.reply.finish {
            Finish::Stop | Finish::Sequence(_) | Finish::Pause => "stop",
            Finish::Length => "length",
            Finish::Calls => "tool_calls",
            Finish::Filter => "content_filter",
        }
    }

    fn whole(&self) -> Answer {
        let mut message = json!({"role": "assistant", "content": Value::Null});
        if self.reply.calls.is_empty() {
            message["content"] = self.reply.text().into();
        } else {
            message["tool_calls"] = self.reply.calls.iter().map(called).collect();
        }
        if self.is_vllm() {
            let thought = self.reply.thought();
            message["reasoning_content"] = if thought.is_empty() { Value::Null } else { thought.into() };
        } else if self.scene.orders.flavour == Flavour::OpenAi {
            message["refusal"] = Value::Null;
            message["annotations"] = json!([]);
        }
        let choice = |index: u64| {
            let mut choice =
                json!({"index": index, "message": message, "logprobs": null, "finish_reason": self.finish()});
            if self.is_azure() {
                choice["content_filter_results"] = safe();
            }
            choice
        };
        let mut whole = self.head("chat.completion");
        whole["choices"] = (0..self.reply.choices).map(choice).collect();
        if !self.scene.silent {
            whole["usage"] = usage(self.scene.orders.flavour, &self.reply.usage);
        }
        if self.is_azure() {
            whole["prompt_filter_results"] = json!([{"prompt_index": 0, "content_filter_results": safe()}]);
        }
        self.scene.whole(&whole, OPENAI, self.reply.usage)
    }

    fn stream(&self) -> Answer {
        let mut beats = Vec::new();
        if self.is_azure() {
            let filtered = json!({
                "choices": [], "created": 0, "id": "", "model": "", "object": "",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": safe()}],
            });
            beats.push(Beat::once(Part::Opening, Form::event(None, &filtered, OPENAI)));
        }
        for index in 0..self.reply.choices {
            self.opening(&mut beats, index);
        }
        for index in 0..self.reply.choices {
            self.content(&mut beats, index);
        }
        for index in 0..self.reply.choices {
            beats.push(Beat::once(Part::Closing, self.chunk(index, json!({}), self.finish().into())));
        }
        if self.wants("include_usage") && !self.scene.silent {
            let mut last = self.head("chat.completion.chunk");
            last["choices"] = json!([]);
            last["usage"] = usage(self.scene.orders.flavour, &self.reply.usage);
            beats.push(Beat::once(Part::Closing, Form::event(None, &last, OPENAI)));
        }
        beats.push(Beat::once(Part::Terminal, Form::parse("data: [DONE]\n\n")));
        play(self.scene, score(self.call, self.scene, self.reply, beats))
    }

    fn wants(&self, option: &str) -> bool {
        self.asked["stream_options"][option].as_bool() == Some(true)
    }

    fn chunk(&self, index: u64, delta: Value, finish: Value) -> Form {
        let mut choice = json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish});
        if self.is_azure() {
            choice["content_filter_results"] = json!({});
        }
        let mut chunk = self.head("chat.completion.chunk");
        chunk["choices"] = json!([choice]);
        if self.wants("include_usage") && !self.scene.silent && !self.is_vllm() {
            chunk["usage"] = Value::Null;
        }
        if self.wants("continuous_usage_stats") && self.is_vllm() && !self.scene.silent {
            let prompt = self.reply.usage.input;
            chunk["usage"] = json!({"prompt_tokens": prompt, "completion_tokens": OUTPUT, "total_tokens": TOTAL});
        }
        Form::event(None, &chunk, OPENAI)
    }

    fn opening(&self, beats: &mut Vec<Beat>, index: u64) {
        let mut delta = json!({"role": "assistant", "content": ""});
        if !self.reply.calls.is_empty() {
            delta["content"] = Value::Null;
        }
        if self.is_plain_openai() {
            delta["refusal"] = Value::Null;
        }
        beats.push(Beat::once(Part::Opening, self.chunk(index, delta, Value::Null)));
    }

    fn content(&self, beats: &mut Vec<Beat>, index: u64) {
        if self.is_vllm() {
            let form = self.chunk(index, json!({"reasoning_content": TEXT}), Value::Null);
            let words = super::script::Words::cycle(&self.reply.thinking);
            beats.push(Beat::content(form, words, self.reply.thinking.len() as u64));
        }
        let form = self.chunk(index, json!({"content": TEXT}), Value::Null);
        beats.push(Beat::content(form, self.reply.words(), self.reply.count));
        for (at, call) in self.reply.calls.iter().enumerate() {
            let mut opened = called(call);
            opened["index"] = at.into();
            opened["function"]["arguments"] = "".into();
            let form = self.chunk(index, json!({"tool_calls": [opened]}), Value::Null);
            beats.push(Beat::once(Part::Content, form));
            let argued = json!({"tool_calls": [{"index": at, "function": {"arguments": TEXT}}]});
            let pieces = call.pieces();
            let words = super::script::Words::cycle(&pieces);
            beats.push(Beat::content(self.chunk(index, argued, Value::Null), words, pieces.len() as u64));
        }
    }
}

/// The tier that was asked for, or the one that there is.
fn tier(asked: &Value) -> Value {
    match asked["service_tier"].as_str() {
        Some(tier) if tier != "auto" => tier.into(),
        _ => "default".into(),
    }
}

/// A script with OpenAI's manner of failing.
fn score(call: &Call, scene: &Scene, reply: &Reply, beats: Vec<Beat>) -> Score {
    let said = beats.iter().map(|beat| beat.times * beat.tokens).sum();
    let voice = match scene.orders.flavour {
        Flavour::Vllm { .. } => Voice::DataThenDone,
        _ => Voice::Data,
    };
    let failure = Failure { manner: call.shape(scene.orders), number: scene.number, shape: scene.orders.error, voice };
    Score { beats, usage: reply.usage, said, ping: ": ping\n\n", failure }
}

fn called(call: &Invocation) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
    json!({"id": format!("call_{}", call.id), "type": "function", "function": function})
}

/// Azure's word that nothing is wrong.
fn safe() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}

/// OpenAI's usage: cached tokens are part of the prompt's, reasoning is part of the completion's.
fn usage(flavour: Flavour, used: &Tokens) -> Value {
    let mut usage = json!({
        "prompt_tokens": used.input, "completion_tokens": used.output, "total_tokens": used.input + used.output,
    });
    match flavour {
        Flavour::OpenAi => {
            usage["prompt_tokens_details"] = json!({"cached_tokens": used.cache_read, "audio_tokens": 0});
            usage["completion_tokens_details"] = json!({
                "reasoning_tokens": used.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            });
        }
        Flavour::Vllm { .. } if used.cache_read > 0 => {
            usage["prompt_tokens_details"] = json!({"cached_tokens": used.cache_read});
        }
        Flavour::Vllm { .. } => usage["prompt_tokens_details"] = Value::Null,
        Flavour::JaiRouter => {}
    }
    usage
}
