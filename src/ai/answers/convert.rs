//! A whole answer as a stream of events, and a stream as a whole answer: so that what was made for one kind of client
//! serves the other.
//!
//! Members that are not known here are kept where they can be. What cannot be turned is not: the request is then made anew.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Piece;
use crate::ai::door::Operation;
use crate::ai::sse::{Decoder, MAX_EVENT, write_event};

/// Whether answers of this door are found by one key whether they were asked for as a stream or not.
pub const fn turns(operation: Operation) -> bool {
    matches!(operation, Operation::Chat | Operation::Messages)
}

/// The events of a whole answer; `None` when they cannot be made.
pub fn events(operation: Operation, body: &[u8]) -> Option<Vec<Piece>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    match operation {
        Operation::Chat => chat_events(&answer),
        Operation::Messages => messages_events(&answer),
        _ => None,
    }
}

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

fn piece(name: Option<&str>, data: &Value, usage: bool) -> Option<Piece> {
    let mut out = Vec::new();
    write_event(&mut out, name, &serde_json::to_vec(data).ok()?);
    Some(Piece { bytes: out.into(), usage })
}

fn chat_events(answer: &Value) -> Option<Vec<Piece>> {
    let answer = answer.as_object()?;
    let choices = answer.get("choices")?.as_array()?;
    let event = |choices: Value, usage: Option<&Value>| {
        let mut event = answer.clone();
        event.remove("usage");
        event.insert("object".to_owned(), json!("chat.completion.chunk"));
        event.insert("choices".to_owned(), choices);
        if let Some(usage) = usage {
            event.insert("usage".to_owned(), usage.clone());
        }
        Value::Object(event)
    };
    let mut pieces = Vec::new();
    for choice in choices {
        let choice = choice.as_object()?;
        let index = choice.get("index").cloned().unwrap_or_else(|| json!(0));
        let message = choice.get("message")?.as_object()?;
        let role = message.get("role").cloned().unwrap_or_else(|| json!("assistant"));
        let first = json!([{"index": index, "delta": {"role": role, "content": ""}, "finish_reason": null}]);
        pieces.push(piece(None, &event(first, None), false)?);
        let mut delta: Map<String, Value> = message.clone();
        delta.remove("role");
        delta.retain(|_, value| !value.is_null());
        if let Some(calls) = delta.get_mut("tool_calls").and_then(Value::as_array_mut) {
            for (index, call) in calls.iter_mut().enumerate() {
                call.as_object_mut()?.insert("index".to_owned(), json!(index));
            }
        }
        let mut said = json!({"index": index, "delta": delta, "finish_reason": null});
        if let (Some(logprobs), Some(said)) = (choice.get("logprobs").filter(|it| !it.is_null()), said.as_object_mut())
        {
            said.insert("logprobs".to_owned(), logprobs.clone());
        }
        pieces.push(piece(None, &event(json!([said]), None), false)?);
        let finish = choice.get("finish_reason").cloned().unwrap_or_else(|| json!("stop"));
        let last = json!([{"index": index, "delta": {}, "finish_reason": finish}]);
        pieces.push(piece(None, &event(last, None), false)?);
    }
    if let Some(usage) = answer.get("usage").filter(|usage| usage.is_object()) {
        pieces.push(piece(None, &event(json!([]), Some(usage)), true)?);
    }
    pieces.push(Piece { bytes: Bytes::from_static(b"data: [DONE]\n\n"), usage: false });
    Some(pieces)
}

fn messages_events(answer: &Value) -> Option<Vec<Piece>> {
    let answer = answer.as_object()?;
    let blocks = answer.get("content")?.as_array()?;
    let usage = answer.get("usage").cloned().unwrap_or_else(|| json!({"input_tokens": 0, "output_tokens": 0}));
    let mut start = answer.clone();
    start.insert("content".to_owned(), json!([]));
    start.insert("stop_reason".to_owned(), Value::Null);
    start.insert("stop_sequence".to_owned(), Value::Null);
    let mut first_usage = usage.clone();
    first_usage.as_object_mut()?.insert("output_tokens".to_owned(), json!(1));
    start.insert("usage".to_owned(), first_usage);
    let start = json!({"type": "message_start", "message": start});
    let mut pieces = vec![piece(Some("message_start"), &start, false)?];
    for (index, block) in blocks.iter().enumerate() {
        let (begun, deltas) = block_events(block.as_object()?)?;
        let begun = json!({"type": "content_block_start", "index": index, "content_block": begun});
        pieces.push(piece(Some("content_block_start"), &begun, false)?);
        for delta in deltas {
            let delta = json!({"type": "content_block_delta", "index": index, "delta": delta});
            pieces.push(piece(Some("content_block_delta"), &delta, false)?);
        }
        let end = json!({"type": "content_block_stop", "index": index});
        pieces.push(piece(Some("content_block_stop"), &end, false)?);
    }
    let mut delta = Map::new();
    for name in ["stop_reason", "stop_sequence"] {
        delta.insert(name.to_owned(), answer.get(name).cloned().unwrap_or(Value::Null));
    }
    let delta = json!({"type": "message_delta", "delta": delta, "usage": usage});
    pieces.push(piece(Some("message_delta"), &delta, false)?);
    pieces.push(piece(Some("message_stop"), &json!({"type": "message_stop"}), false)?);
    Some(pieces)
}

/// A block as it begins, and what follows of it.
fn block_events(block: &Map<String, Value>) -> Option<(Value, Vec<Value>)> {
    let mut begun = block.clone();
    let mut deltas = Vec::new();
    match block.get("type")?.as_str()? {
        "text" => {
            deltas.push(json!({"type": "text_delta", "text": block.get("text")?}));
            begun.insert("text".to_owned(), json!(""));
            for citation in block.get("citations").and_then(Value::as_array).into_iter().flatten() {
                deltas.push(json!({"type": "citations_delta", "citation": citation}));
            }
            if begun.contains_key("citations") {
                begun.insert("citations".to_owned(), json!([]));
            }
        }
        "thinking" => {
            deltas.push(json!({"type": "thinking_delta", "thinking": block.get("thinking")?}));
            begun.insert("thinking".to_owned(), json!(""));
            if let Some(signature) = begun.insert("signature".to_owned(), json!("")) {
                deltas.push(json!({"type": "signature_delta", "signature": signature}));
            }
        }
        "tool_use" | "server_tool_use" => {
            let input = serde_json::to_string(block.get("input")?).ok()?;
            deltas.push(json!({"type": "input_json_delta", "partial_json": input}));
            begun.insert("input".to_owned(), json!({}));
        }
        // Others begin with all they have.
        _ => {}
    }
    Some((Value::Object(begun), deltas))
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
    usage: Option<Value>,
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
        let place = self.choices.iter().position(|known| known.get("index").and_then(Value::as_u64) == Some(index));
        let place = place.unwrap_or_else(|| {
            let mut known = Map::new();
            known.insert("index".to_owned(), json!(index));
            known.insert("message".to_owned(), json!({"role": "assistant", "content": null}));
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
                ("tool_calls", Value::Array(calls)) => add_calls(message, calls)?,
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
            for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
                call.as_object_mut()?.remove("index");
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

/// Adds parts of tool calls to those that are known, by their index.
fn add_calls(message: &mut Map<String, Value>, parts: &[Value]) -> Option<()> {
    let calls = message.entry("tool_calls").or_insert_with(|| json!([])).as_array_mut()?;
    for part in parts {
        let part = part.as_object()?;
        let index = part.get("index").and_then(Value::as_u64).unwrap_or(0);
        let known = calls.iter().position(|call| call.get("index").and_then(Value::as_u64) == Some(index));
        let Some(place) = known else {
            let mut call = part.clone();
            call.insert("index".to_owned(), json!(index));
            calls.push(Value::Object(call));
            continue;
        };
        let call = calls.get_mut(place)?.as_object_mut()?;
        for (name, value) in part {
            match (name.as_str(), value) {
                ("index", _) | (_, Value::Null) => {}
                ("function" | "custom", Value::Object(more)) => {
                    let function = call.entry(name.as_str()).or_insert_with(|| json!({})).as_object_mut()?;
                    for (name, value) in more {
                        match (function.get_mut(name), value) {
                            (_, Value::Null) => {}
                            (Some(Value::String(text)), Value::String(part)) => text.push_str(part),
                            _ => {
                                function.insert(name.clone(), value.clone());
                            }
                        }
                    }
                }
                (name, value) => {
                    call.insert(name.to_owned(), value.clone());
                }
            }
        }
    }
    Some(())
}

#[derive(Default)]
struct Messages {
    message: Map<String, Value>,
    blocks: Vec<Block>,
    stopped: bool,
}

struct Block {
    index: u64,
    block: Map<String, Value>,
    /// Input of a tool, which comes as parts of JSON.
    input: String,
}

impl Messages {
    fn take(&mut self, event: Value) -> Option<()> {
        match event.get("type")?.as_str()? {
            "message_start" => self.message = event.get("message")?.as_object()?.clone(),
            "content_block_start" => self.blocks.push(Block {
                index: event.get("index")?.as_u64()?,
                block: event.get("content_block")?.as_object()?.clone(),
                input: String::new(),
            }),
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
        let block = self.blocks.iter_mut().find(|block| block.index == index)?;
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
