//! Gemini's `generateContent`, as one answer, as events, or as the array that a stream is without `alt=sse`; `countTokens` and
//! embeddings.

use http::StatusCode;
use serde_json::{Value, json};

use super::error::Trouble;
use super::failure::{Failure, Voice};
use super::json::{self, GEMINI};
use super::play::{Score, play};
use super::question::Role;
use super::reply::{Finish, Invocation, Reply, signature};
use super::script::{Beat, Form, OUTPUT, Part, TEXT, TOTAL, Words};
use super::{Call, Scene};
use crate::mock::answer::{self, Answer};

mod read;

/// The answer to a request for content.
pub(super) fn answer(call: &Call, scene: &Scene, asked: &Value, stream: bool) -> Result<Answer, Trouble> {
    let question = read::question(scene, asked)?;
    let reply = Reply::plan(scene, &question);
    let talk = Talk { call, scene, reply: &reply, listed: stream && !call.wants_sse(scene.upload) };
    Ok(if stream { talk.stream() } else { talk.whole() })
}

/// The tokens of a prompt.
pub(super) fn count(scene: &Scene, asked: &Value) -> Result<Answer, Trouble> {
    let asked = asked.get("generateContentRequest").unwrap_or(asked);
    let question = read::question(scene, asked)?;
    let tokens = scene.orders.usage.input.unwrap_or_else(|| question.tokens());
    let details = json!([{"modality": "TEXT", "tokenCount": tokens}]);
    Ok(answer::json(StatusCode::OK, &json!({"totalTokens": tokens, "promptTokensDetails": details})))
}

/// Embeddings of one content or of several.
pub(super) fn embed(asked: &Value, batch: bool) -> Result<Answer, Trouble> {
    let one = |content: &Value| {
        let parts = content["parts"].as_array().ok_or_else(|| Trouble::invalid("content is required"))?;
        let text: String = parts.iter().filter_map(|part| part["text"].as_str()).collect();
        Ok(json!({"values": super::other::vector(&text, 8)}))
    };
    if !batch {
        return Ok(answer::json(StatusCode::OK, &json!({"embedding": one(&asked["content"])?})));
    }
    let requests = asked["requests"].as_array().ok_or_else(|| Trouble::invalid("requests is required"))?;
    let all: Vec<Value> = requests.iter().map(|request| one(&request["content"])).collect::<Result<_, _>>()?;
    Ok(answer::json(StatusCode::OK, &json!({"embeddings": all})))
}

struct Talk<'a> {
    call: &'a Call,
    scene: &'a Scene<'a>,
    reply: &'a Reply,
    /// Whether the stream is a JSON array.
    listed: bool,
}

impl Talk<'_> {
    fn finish(&self) -> &'static str {
        match self.reply.finish {
            // Gemini says nothing of calls here.
            Finish::Stop | Finish::Sequence(_) | Finish::Calls | Finish::Pause => "STOP",
            Finish::Length => "MAX_TOKENS",
            Finish::Filter => "SAFETY",
        }
    }

    /// Gemini's usage: thoughts stand beside the candidates' tokens; cached tokens are part of the prompt's.
    fn usage(&self) -> Value {
        let used = &self.reply.usage;
        let mut usage = json!({
            "promptTokenCount": used.input, "candidatesTokenCount": used.output.saturating_sub(used.reasoning),
            "totalTokenCount": used.input + used.output,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": used.input}],
        });
        if used.reasoning > 0 {
            usage["thoughtsTokenCount"] = used.reasoning.into();
        }
        if used.cache_read > 0 {
            usage["cachedContentTokenCount"] = used.cache_read.into();
        }
        usage
    }

    /// One object of the answer.
    fn object(&self, parts: Vec<Value>, finish: Option<&str>, usage: Value) -> Value {
        let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
        if let Some(finish) = finish {
            candidate["finishReason"] = finish.into();
        }
        let mut object = json!({
            "candidates": [candidate], "modelVersion": self.call.model,
            "responseId": format!("mock{}", self.scene.number),
        });
        if !self.scene.silent {
            object["usageMetadata"] = usage;
        }
        object
    }

    fn called(&self, at: usize, call: &Invocation) -> Value {
        let mut part = json!({"functionCall": {"name": call.name, "args": call.arguments}});
        // The first call of a turn carries the signature of what was thought.
        if at == 0 && !self.reply.thinking.is_empty() {
            part["thoughtSignature"] = signature(&call.name).into();
        }
        part
    }

    fn whole(&self) -> Answer {
        let mut parts = Vec::new();
        if !self.reply.thinking.is_empty() {
            parts.push(json!({"text": self.reply.thought(), "thought": true}));
        }
        if self.reply.count > 0 {
            parts.push(json!({"text": self.reply.text()}));
        }
        parts.extend(self.reply.calls.iter().enumerate().map(|(at, call)| self.called(at, call)));
        let object = self.object(parts, Some(self.finish()), self.usage());
        self.scene.whole(&object, GEMINI, self.reply.usage)
    }

    fn form(&self, object: &Value, first: bool, last: bool) -> Form {
        if !self.listed {
            return Form::event(None, object, GEMINI);
        }
        let (before, after) = (if first { "[" } else { ",\r\n" }, if last { "\n]\n" } else { "" });
        Form::parse(&format!("{before}{}{after}", json::written(object, GEMINI)))
    }

    fn stream(&self) -> Answer {
        let used = &self.reply.usage;
        let running =
            || json!({"promptTokenCount": used.input, "candidatesTokenCount": OUTPUT, "totalTokenCount": TOTAL});
        let mut beats = Vec::new();
        let mut say = |part: Value, words: Words, times: u64| {
            if times == 0 {
                return;
            }
            let object = self.object(vec![part], None, running());
            // The first element of an array has a bracket before it, so it is a form of its own.
            let first = u64::from(beats.is_empty() && self.listed);
            for (count, is_first) in [(first, true), (times - first, false)] {
                if count > 0 {
                    beats.push(Beat::content(self.form(&object, is_first, false), words.clone(), count));
                }
            }
        };
        let thinking = &self.reply.thinking;
        say(json!({"text": TEXT, "thought": true}), Words::cycle(thinking), thinking.len() as u64);
        say(json!({"text": TEXT}), self.reply.words(), self.reply.count);
        for (at, call) in self.reply.calls.iter().enumerate() {
            say(self.called(at, call), Words::None, 1);
        }
        let last = self.object(vec![json!({"text": ""})], Some(self.finish()), self.usage());
        beats.push(Beat::once(Part::Terminal, self.form(&last, beats.is_empty(), true)));
        let said = beats.iter().map(|beat| beat.times * beat.tokens).sum();
        let failure = Failure {
            manner: self.call.shape(self.scene.orders),
            number: self.scene.number,
            shape: self.scene.orders.error,
            voice: if self.listed { Voice::Element } else { Voice::Data },
        };
        play(self.scene, Score { beats, usage: *used, said, ping: ": ping\n\n", failure })
    }
}

/// Gemini's roles.
fn role(content: &Value) -> Option<Role> {
    match content["role"].as_str() {
        None | Some("user" | "function") => Some(Role::User),
        Some("model") => Some(Role::Assistant),
        Some(_) => None,
    }
}
