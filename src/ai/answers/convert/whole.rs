//! A stream of events as a whole answer.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::ai::answers::Piece;
use crate::ai::dialect::translate::MOST_CALLS;
use crate::ai::door::Operation;
use crate::ai::sse::{Decoder, MAX_EVENT};

/// The whole answer that these events make; `None` when they do not.
pub fn whole(operation: Operation, pieces: &[Piece]) -> Option<Bytes> {
    let mut decoder = Decoder::new(MAX_EVENT);
    let mut answer = match operation {
        Operation::Chat => Gathering::Chat(Chat::default()),
        Operation::Messages => Gathering::Messages(Messages::default()),
        _ => return None,
    };
    for piece in pieces {
        decoder.push(piece.bytes.clone());
        while let Some(frame) = decoder.next() {
            let frame = frame.ok()?;
            if !frame.data().is_empty() && !frame.is_done() {
                answer.take(serde_json::from_slice(frame.data()).ok()?)?;
            }
        }
    }
    let answer = match answer {
        Gathering::Chat(chat) => chat.finish()?,
        Gathering::Messages(messages) => messages.finish()?,
    };
    serde_json::to_vec(&answer).ok().map(Bytes::from)
}

/// A whole answer while its events come in.
enum Gathering {
    Chat(Chat),
    Messages(Messages),
}

impl Gathering {
    fn take(&mut self, event: Value) -> Option<()> {
        match self {
            Self::Chat(chat) => chat.take(event),
            Self::Messages(messages) => messages.take(event),
        }
    }
}

#[derive(Default)]
struct Chat {
    head: Map<String, Value>,
    choices: Vec<Map<String, Value>>,
    /// Where a choice is, by its index.
    places: HashMap<u64, usize>,
    parts: Parts,
    usage: Option<Value>,
}

/// Lists of messages whose items come in parts, each with its index.
#[derive(Default)]
struct Parts {
    /// Where an item is: by the place of its choice, whether it is a call, and its index.
    places: HashMap<(usize, bool, u64), usize>,
    calls: usize,
}

impl Chat {
    fn take(&mut self, event: Value) -> Option<()> {
        let Value::Object(mut event) = event else { return None };
        let choices = event.remove("choices");
        if let Some(usage) = event.remove("usage").filter(|usage| !usage.is_null()) {
            self.usage = Some(usage);
        }
        for (name, value) in event {
            // The first word counts, but for what was not known then.
            if self.head.get(&name).is_none_or(Value::is_null) {
                self.head.insert(name, value);
            }
        }
        for choice in choices.as_ref().and_then(Value::as_array).into_iter().flatten() {
            self.choice(choice.as_object()?)?;
        }
        Some(())
    }

    fn choice(&mut self, choice: &Map<String, Value>) -> Option<()> {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let place = *self.places.entry(index).or_insert_with(|| {
            let mut known = Map::new();
            known.insert("index".to_owned(), json!(index));
            known.insert("message".to_owned(), json!({"role": "assistant", "content": null, "refusal": null}));
            known.insert("logprobs".to_owned(), Value::Null);
            known.insert("finish_reason".to_owned(), Value::Null);
            self.choices.push(known);
            self.choices.len() - 1
        });
        let known = self.choices.get_mut(place)?;
        if let Some(finish) = choice.get("finish_reason").filter(|finish| !finish.is_null()) {
            known.insert("finish_reason".to_owned(), finish.clone());
        }
        if let Some(logprobs) = choice.get("logprobs").filter(|logprobs| !logprobs.is_null()) {
            add_logprobs(known.entry("logprobs").or_insert(Value::Null), logprobs);
        }
        let message = known.get_mut("message")?.as_object_mut()?;
        for (name, value) in choice.get("delta").and_then(Value::as_object).into_iter().flatten() {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("role", value) => {
                    message.insert("role".to_owned(), value.clone());
                }
                ("tool_calls", Value::Array(calls)) => self.parts.add_calls(place, message, calls)?,
                ("thinking_blocks", Value::Array(blocks)) => self.parts.add_blocks(place, message, blocks)?,
                // Text comes in parts.
                (name, Value::String(part)) => match message.get_mut(name) {
                    Some(Value::String(text)) => text.push_str(part),
                    _ => {
                        message.insert(name.to_owned(), json!(part));
                    }
                },
                (name, Value::Array(parts)) => match message.get_mut(name) {
                    Some(Value::Array(known)) => known.extend(parts.iter().cloned()),
                    _ => {
                        message.insert(name.to_owned(), json!(parts));
                    }
                },
                (name, value) => {
                    message.insert(name.to_owned(), value.clone());
                }
            }
        }
        Some(())
    }

    fn finish(mut self) -> Option<Value> {
        let unfinished = |choice: &Map<String, Value>| choice.get("finish_reason").is_none_or(Value::is_null);
        if self.choices.is_empty() || self.choices.iter().any(unfinished) {
            return None;
        }
        self.choices.sort_by_key(|choice| choice.get("index").and_then(Value::as_u64));
        for choice in &mut self.choices {
            let message = choice.get_mut("message")?.as_object_mut()?;
            let silent = message.contains_key("tool_calls") && message.get("content").is_some_and(|said| said == "");
            if silent {
                message.insert("content".to_owned(), Value::Null);
            }
            for name in ["tool_calls", "thinking_blocks"] {
                for item in message.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
                    item.as_object_mut()?.remove("index");
                }
            }
        }
        self.head.insert("object".to_owned(), json!("chat.completion"));
        self.head.insert("choices".to_owned(), json!(self.choices));
        self.head.extend(self.usage.map(|usage| ("usage".to_owned(), usage)));
        Some(Value::Object(self.head))
    }
}

fn add_logprobs(known: &mut Value, more: &Value) {
    let (Some(known), Some(more)) = (known.as_object_mut(), more.as_object()) else {
        *known = more.clone();
        return;
    };
    for (name, value) in more {
        match (known.get_mut(name), value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more.iter().cloned()),
            _ => {
                known.insert(name.clone(), value.clone());
            }
        }
    }
}

impl Parts {
    /// Adds parts of tool calls to those that are known, by their index; `None`: there are too many.
    fn add_calls(&mut self, choice: usize, message: &mut Map<String, Value>, parts: &[Value]) -> Option<()> {
        let calls = list(message, "tool_calls")?;
        for part in parts {
            let part = part.as_object()?;
            let index = part.get("index").and_then(Value::as_u64).unwrap_or(0);
            let place = *self.places.entry((choice, true, index)).or_insert(calls.len());
            let Some(call) = calls.get_mut(place) else {
                self.calls += 1;
                if self.calls > MOST_CALLS {
                    return None;
                }
                calls.push(json!(part));
                continue;
            };
            let call = call.as_object_mut()?;
            for (name, value) in part {
                match (name.as_str(), value) {
                    ("index", _) | (_, Value::Null) => {}
                    ("function" | "custom", Value::Object(more)) => {
                        join(call.entry(name.as_str()).or_insert_with(|| json!({})).as_object_mut()?, more);
                    }
                    (name, value) => {
                        call.insert(name.to_owned(), value.clone());
                    }
                }
            }
        }
        Some(())
    }

    /// Adds parts of thinking to the blocks that are known, by their index; those that have none are blocks of their own.
    fn add_blocks(&mut self, choice: usize, message: &mut Map<String, Value>, parts: &[Value]) -> Option<()> {
        let blocks = list(message, "thinking_blocks")?;
        for part in parts {
            let part = part.as_object()?;
            let index = part.get("index").and_then(Value::as_u64);
            let place = index.map(|index| *self.places.entry((choice, false, index)).or_insert(blocks.len()));
            let Some(block) = place.and_then(|place| blocks.get_mut(place)) else {
                blocks.push(json!(part));
                continue;
            };
            let mut more = part.clone();
            // Each part has it.
            more.remove("type");
            join(block.as_object_mut()?, &more);
        }
        Some(())
    }
}

/// The list of this name.
fn list<'m>(message: &'m mut Map<String, Value>, name: &str) -> Option<&'m mut Vec<Value>> {
    message.entry(name).or_insert_with(|| json!([])).as_array_mut()
}

/// Adds what is new, and more text to the text that is there.
fn join(known: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (known.get_mut(name), value) {
            (_, Value::Null) => {}
            (Some(Value::String(text)), Value::String(part)) => text.push_str(part),
            _ => {
                known.insert(name.clone(), value.clone());
            }
        }
    }
}

#[derive(Default)]
struct Messages {
    message: Map<String, Value>,
    blocks: Vec<Block>,
    /// Where a block is, by its index.
    places: HashMap<u64, usize>,
    stopped: bool,
}

struct Block {
    block: Map<String, Value>,
    /// Input of a tool, which comes as parts of JSON.
    input: String,
}

impl Messages {
    fn take(&mut self, event: Value) -> Option<()> {
        match event.get("type")?.as_str()? {
            "message_start" => self.message = event.get("message")?.as_object()?.clone(),
            "content_block_start" => {
                let block = event.get("content_block")?.as_object()?.clone();
                self.places.entry(event.get("index")?.as_u64()?).or_insert(self.blocks.len());
                self.blocks.push(Block { block, input: String::new() });
            }
            "content_block_delta" => self.delta(&event)?,
            "message_delta" => {
                for (name, value) in event.get("delta")?.as_object()? {
                    self.message.insert(name.clone(), value.clone());
                }
                let usage = self.message.entry("usage").or_insert_with(|| json!({})).as_object_mut()?;
                for (name, value) in event.get("usage").and_then(Value::as_object).into_iter().flatten() {
                    if !value.is_null() {
                        usage.insert(name.clone(), value.clone());
                    }
                }
            }
            "message_stop" => self.stopped = true,
            // Pings and the like.
            _ => {}
        }
        Some(())
    }

    fn delta(&mut self, event: &Value) -> Option<()> {
        let index = event.get("index")?.as_u64()?;
        let block = self.blocks.get_mut(*self.places.get(&index)?)?;
        let delta = event.get("delta")?;
        let text = |name: &str| delta.get(name).and_then(Value::as_str);
        let name = match delta.get("type")?.as_str()? {
            "text_delta" => "text",
            "thinking_delta" => "thinking",
            "signature_delta" => "signature",
            "input_json_delta" => {
                block.input.push_str(text("partial_json")?);
                return Some(());
            }
            "citations_delta" => {
                let citations = block.block.entry("citations").or_insert_with(|| json!([]));
                if citations.is_null() {
                    *citations = json!([]);
                }
                citations.as_array_mut()?.push(delta.get("citation")?.clone());
                return Some(());
            }
            _ => return None,
        };
        match block.block.get_mut(name) {
            Some(Value::String(known)) => known.push_str(text(name)?),
            _ => {
                block.block.insert(name.to_owned(), json!(text(name)?));
            }
        }
        Some(())
    }

    fn finish(mut self) -> Option<Value> {
        if !self.stopped || self.message.is_empty() {
            return None;
        }
        let was_cut = self.message.get("stop_reason").is_some_and(|why| why == "max_tokens" || why == "refusal");
        let mut content = Vec::new();
        let last = self.blocks.len().saturating_sub(1);
        for (place, mut block) in self.blocks.into_iter().enumerate() {
            if !block.input.is_empty() {
                // Of the call in which the answer was cut off, nothing is left but its name.
                let input = serde_json::from_str(&block.input).ok();
                let input = input.or_else(|| (was_cut && place == last).then(|| json!({})))?;
                block.block.insert("input".to_owned(), input);
            }
            content.push(Value::Object(block.block));
        }
        self.message.insert("content".to_owned(), json!(content));
        Some(Value::Object(self.message))
    }
}
