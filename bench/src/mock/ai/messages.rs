//! Anthropic's `messages` and `count_tokens`.

use http::StatusCode;
use serde_json::{Value, json};

use super::error::Trouble;
use super::failure::{Failure, Voice};
use super::json::ANTHROPIC;
use super::play::{Score, play};
use super::reply::{Finish, Invocation, Reply, signature};
use super::script::{Beat, Form, Part, TEXT, Words};
use super::{Call, Scene};
use crate::mock::answer::{self, Answer};

mod read;

const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// The answer to a messages request, whole or as a stream.
pub(super) fn answer(call: &Call, scene: &Scene, asked: &Value, stream: bool) -> Result<Answer, Trouble> {
    let question = read::question(scene, asked, true)?;
    let reply = Reply::plan(scene, &question);
    let talk = Talk { call, scene, reply: &reply };
    Ok(if stream { talk.stream() } else { talk.whole() })
}

/// The tokens of a prompt.
pub(super) fn count(scene: &Scene, asked: &Value) -> Result<Answer, Trouble> {
    let question = read::question(scene, asked, false)?;
    let tokens = scene.orders.usage.input.unwrap_or_else(|| question.tokens());
    Ok(answer::json(StatusCode::OK, &json!({"input_tokens": tokens})))
}

struct Talk<'a> {
    call: &'a Call,
    scene: &'a Scene<'a>,
    reply: &'a Reply,
}

impl Talk<'_> {
    /// Anthropic's usage: cached tokens stand beside the input's, not within.
    fn usage(&self, output: u64) -> Value {
        let used = &self.reply.usage;
        json!({
            "input_tokens": used.input - used.cache_read - used.cache_write,
            "cache_creation_input_tokens": used.cache_write, "cache_read_input_tokens": used.cache_read,
            "output_tokens": output,
        })
    }

    fn full_usage(&self, output: u64) -> Value {
        let mut usage = self.usage(output);
        usage["service_tier"] = "standard".into();
        usage["cache_creation"] = json!({
            "ephemeral_5m_input_tokens": self.reply.usage.cache_write, "ephemeral_1h_input_tokens": 0,
        });
        usage
    }

    /// The reason and the sequence that stopped it.
    fn stop(&self) -> (&'static str, Value) {
        match &self.reply.finish {
            Finish::Stop => ("end_turn", Value::Null),
            Finish::Sequence(sequence) => ("stop_sequence", sequence.as_str().into()),
            Finish::Length => ("max_tokens", Value::Null),
            Finish::Calls => ("tool_use", Value::Null),
            Finish::Filter => ("refusal", Value::Null),
            Finish::Pause => ("pause_turn", Value::Null),
        }
    }

    fn message(&self, content: Vec<Value>) -> Value {
        json!({
            "id": format!("msg_mock{}", self.scene.number), "type": "message", "role": "assistant",
            "model": self.call.model, "content": content, "stop_reason": null, "stop_sequence": null,
        })
    }

    fn whole(&self) -> Answer {
        let mut content = Vec::new();
        if let Some(block) = self.thinking() {
            content.push(block);
        }
        if self.reply.count > 0 {
            content.push(json!({"type": "text", "text": self.reply.text()}));
        }
        let used = |call: &Invocation| {
            let mut block = tool_use(call);
            block["input"] = call.arguments.clone();
            block
        };
        content.extend(self.reply.calls.iter().map(used));
        let mut message = self.message(content);
        let (reason, sequence) = self.stop();
        message["stop_reason"] = reason.into();
        message["stop_sequence"] = sequence;
        if !self.scene.silent {
            message["usage"] = self.full_usage(self.reply.usage.output);
        }
        self.scene.whole(&message, ANTHROPIC, self.reply.usage)
    }

    /// The block of thinking, whole.
    fn thinking(&self) -> Option<Value> {
        let thought = self.reply.thought();
        match (thought.is_empty(), self.reply.redacted) {
            (true, _) => None,
            (false, true) => Some(json!({"type": "redacted_thinking", "data": signature(&thought)})),
            (false, false) => Some(json!({"type": "thinking", "thinking": thought, "signature": signature(&thought)})),
        }
    }

    fn stream(&self) -> Answer {
        let mut message = self.message(Vec::new());
        if !self.scene.silent {
            message["usage"] = self.full_usage(1.min(self.reply.usage.output));
        }
        let mut beats = vec![once(Part::Opening, "message_start", json!({"message": message}))];
        let mut blocks = Blocks { beats: Vec::new(), index: 0 };
        self.thinking_blocks(&mut blocks);
        if self.reply.count > 0 {
            let open = json!({"type": "text", "text": ""});
            blocks.open(Part::Opening, open);
            blocks.delta(json!({"type": "text_delta", "text": TEXT}), self.reply.words(), self.reply.count);
            blocks.close();
        }
        for call in &self.reply.calls {
            blocks.open(Part::Content, tool_use(call));
            blocks.once(json!({"type": "input_json_delta", "partial_json": ""}));
            let pieces = call.pieces();
            let delta = json!({"type": "input_json_delta", "partial_json": TEXT});
            blocks.delta(delta, Words::cycle(&pieces), pieces.len() as u64);
            blocks.close();
        }
        // The ping comes after the start of the first block, as Anthropic has it; a call is content, and stays behind it.
        let mut rest = blocks.beats;
        let opened = rest.first().is_some_and(|beat| beat.part == Part::Opening);
        let tail = rest.split_off(usize::from(opened));
        beats.extend(rest);
        beats.push(Beat::once(Part::Opening, Form::parse(PING)));
        beats.extend(tail);
        let (reason, sequence) = self.stop();
        let mut last = json!({"delta": {"stop_reason": reason, "stop_sequence": sequence}});
        if !self.scene.silent {
            last["usage"] = self.usage(self.reply.usage.output);
        }
        beats.push(once(Part::Closing, "message_delta", last));
        beats.push(once(Part::Terminal, "message_stop", json!({})));
        let said = beats.iter().map(|beat| beat.times * beat.tokens).sum();
        let failure = Failure {
            manner: self.call.shape(self.scene.orders),
            number: self.scene.number,
            shape: self.scene.orders.error,
            voice: Voice::Event,
        };
        play(self.scene, Score { beats, usage: self.reply.usage, said, ping: PING, failure })
    }

    fn thinking_blocks(&self, blocks: &mut Blocks) {
        let Some(whole) = self.thinking() else {
            return;
        };
        if self.reply.redacted {
            blocks.open(Part::Content, whole);
        } else {
            blocks.open(Part::Opening, json!({"type": "thinking", "thinking": "", "signature": ""}));
            let words = Words::cycle(&self.reply.thinking);
            let count = self.reply.thinking.len() as u64;
            blocks.delta(json!({"type": "thinking_delta", "thinking": TEXT}), words, count);
            blocks.once(json!({"type": "signature_delta", "signature": whole["signature"]}));
        }
        blocks.close();
    }
}

/// The blocks of a message, as events.
struct Blocks {
    beats: Vec<Beat>,
    index: u64,
}

impl Blocks {
    fn open(&mut self, part: Part, block: Value) {
        // Only the first block opens the stream.
        let part = if self.index == 0 { part } else { Part::Content };
        self.beats.push(once(part, "content_block_start", json!({"index": self.index, "content_block": block})));
    }

    fn form(&self, delta: Value) -> Form {
        let event = json!({"type": "content_block_delta", "index": self.index, "delta": delta});
        Form::event(Some("content_block_delta"), &event, ANTHROPIC)
    }

    fn once(&mut self, delta: Value) {
        self.beats.push(Beat::once(Part::Content, self.form(delta)));
    }

    fn delta(&mut self, delta: Value, words: Words, times: u64) {
        self.beats.push(Beat::content(self.form(delta), words, times));
    }

    fn close(&mut self) {
        self.beats.push(once(Part::Content, "content_block_stop", json!({"index": self.index})));
        self.index += 1;
    }
}

/// One event of a type, which also stands in the data.
fn once(part: Part, name: &str, mut data: Value) -> Beat {
    data["type"] = name.into();
    Beat::once(part, Form::event(Some(name), &data, ANTHROPIC))
}

fn tool_use(call: &Invocation) -> Value {
    json!({"type": "tool_use", "id": format!("toolu_{}", call.id), "name": call.name, "input": {}})
}
