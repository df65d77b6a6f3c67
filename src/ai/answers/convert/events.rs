//! A whole answer as a stream of events.
//!
//! What need not be taken apart goes on as it is written, so that this costs in proportion to the length of the answer.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memchr2;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::ai::answers::Piece;
use crate::ai::dialect::translate::MOST_CALLS;
use crate::ai::dialect::{self, compact};
use crate::ai::door::Operation;

/// What each chunk says of the answer; the rest is in the first one.
const HEAD: [&str; 6] = ["id", "object", "created", "model", "system_fingerprint", "service_tier"];
/// What the events may weigh beside [`TIMES`] the answer: those of 128 choices of one word each.
const BESIDE: usize = 128 << 10;
/// See above.
const TIMES: usize = 4;

/// The events of a whole answer; `None` when they cannot be made, or would be far longer than it is.
pub fn events(operation: Operation, body: &[u8]) -> Option<Vec<Piece>> {
    let answer: Members<'_> = serde_json::from_slice(body).ok()?;
    let most = body.len().saturating_mul(TIMES).saturating_add(BESIDE);
    let mut told =
        Told { out: Vec::with_capacity(body.len().saturating_add(BESIDE / 16)), ends: Vec::new(), most, calls: 0 };
    match operation {
        Operation::Chat => told.chat(answer)?,
        Operation::Messages => told.messages(answer)?,
        _ => return None,
    }
    Some(told.into_pieces())
}

/// The members of an object, in their order.
#[derive(Clone)]
struct Members<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Members<'a> {
    fn of(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    /// Of two with one name, the last.
    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The same, taken out.
    fn take(&mut self, name: &str) -> Option<Cow<'a, RawValue>> {
        let at = self.0.iter().rposition(|(known, _)| known == name)?;
        let taken = self.0.remove(at).1;
        self.0.retain(|(known, _)| known != name);
        Some(taken)
    }

    fn set(&mut self, name: &'a str, value: impl Serialize) -> Option<()> {
        let value = Cow::Owned(to_raw_value(&value).ok()?);
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.into(), value));
        Some(())
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dialect::Members(members) = Deserialize::deserialize(deserializer)?;
        Ok(Self(members.into_iter().map(|(name, value)| (name.0, Cow::Borrowed(value))).collect()))
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A chunk: what it says of the answer, its choice, usage.
struct Chunk<'c> {
    head: &'c Members<'c>,
    choice: Option<Choice<'c>>,
    usage: Option<&'c RawValue>,
}

#[derive(Serialize)]
struct Choice<'c> {
    index: &'c RawValue,
    delta: &'c Members<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'c RawValue>,
    finish_reason: Option<&'c RawValue>,
}

impl Serialize for Chunk<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.head.0 {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("choices", self.choice.as_slice())?;
        if let Some(usage) = self.usage {
            map.serialize_entry("usage", usage)?;
        }
        map.end()
    }
}

/// The events of Messages about a block.
#[derive(Serialize)]
struct OfBlock<'b> {
    #[serde(rename = "type")]
    kind: &'b str,
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_block: Option<&'b Members<'b>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'b Members<'b>>,
}

/// The events so far.
struct Told {
    out: Vec<u8>,
    /// Where each ends, and whether it only tells of usage.
    ends: Vec<(usize, bool)>,
    most: usize,
    /// Calls of tools in them.
    calls: usize,
}

impl Told {
    fn into_pieces(self) -> Vec<Piece> {
        let (all, mut start) = (Bytes::from(self.out), 0);
        let piece = |(end, usage)| Piece { bytes: all.slice(std::mem::replace(&mut start, end)..end), usage };
        self.ends.into_iter().map(piece).collect()
    }

    fn event(&mut self, name: Option<&str>, data: &impl Serialize, usage: bool) -> Option<()> {
        let out = &mut self.out;
        if let Some(name) = name {
            [b"event: ", name.as_bytes(), b"\n"].iter().for_each(|part| out.extend_from_slice(part));
        }
        out.extend_from_slice(b"data: ");
        let from = out.len();
        serde_json::to_writer(&mut *out, data).ok()?;
        // Of what is written in several lines, a line of data could end.
        let written = out.get(from..)?;
        if memchr2(b'\n', b'\r', written).is_some() {
            let line = compact(std::str::from_utf8(written).ok()?).into_owned();
            out.truncate(from);
            out.extend_from_slice(line.as_bytes());
        }
        out.extend_from_slice(b"\n\n");
        self.ends.push((self.out.len(), usage));
        (self.out.len() <= self.most).then_some(())
    }

    fn called(&mut self, calls: usize) -> Option<()> {
        self.calls = self.calls.saturating_add(calls);
        (self.calls <= MOST_CALLS).then_some(())
    }

    fn chat(&mut self, mut head: Members<'_>) -> Option<()> {
        let choices = head.take("choices")?;
        let usage = head.take("usage");
        head.set("object", "chat.completion.chunk")?;
        let choices: Vec<&RawValue> = serde_json::from_str(choices.get()).ok()?;
        for choice in choices {
            self.choice(&mut head, choice)?;
        }
        if let Some(usage) = usage.as_deref().filter(|usage| usage.get().starts_with('{')) {
            self.event(None, &Chunk { head: &head, choice: None, usage: Some(usage) }, true)?;
        }
        self.out.extend_from_slice(b"data: [DONE]\n\n");
        self.ends.push((self.out.len(), false));
        Some(())
    }

    /// The chunks of one choice. What is only in the first of all goes out of `head` with it.
    fn choice(&mut self, head: &mut Members<'_>, choice: &RawValue) -> Option<()> {
        let choice = Members::of(choice)?;
        let (zero, stop) = (to_raw_value(&0).ok()?, to_raw_value("stop").ok()?);
        let index = choice.get("index").unwrap_or(&zero);
        let mut said = Members::of(choice.get("message")?)?;
        let mut delta = Members(Vec::new());
        match said.take("role") {
            Some(role) => delta.0.push(("role".into(), role)),
            None => delta.set("role", "assistant")?,
        }
        delta.set("content", "")?;
        let begun = Choice { index, delta: &delta, logprobs: None, finish_reason: None };
        self.event(None, &Chunk { head, choice: Some(begun), usage: None }, false)?;
        head.0.retain(|(name, _)| HEAD.contains(&&**name));
        said.0.retain(|(_, value)| !is_null(value));
        if let Some(calls) = said.take("tool_calls") {
            let calls: Vec<&RawValue> = serde_json::from_str(calls.get()).ok()?;
            self.called(calls.len())?;
            let indexed = |(index, call): (usize, &'_ RawValue)| -> Option<Box<RawValue>> {
                let mut call = Members::of(call)?;
                call.set("index", index)?;
                to_raw_value(&call).ok()
            };
            let calls = calls.into_iter().enumerate().map(indexed).collect::<Option<Vec<_>>>()?;
            said.set("tool_calls", calls)?;
        }
        let logprobs = choice.get("logprobs").filter(|logprobs| !is_null(logprobs));
        let told = Choice { index, delta: &said, logprobs, finish_reason: None };
        self.event(None, &Chunk { head, choice: Some(told), usage: None }, false)?;
        let finish_reason = Some(choice.get("finish_reason").unwrap_or(&stop));
        let nothing = Members(Vec::new());
        let last = Choice { index, delta: &nothing, logprobs: None, finish_reason };
        self.event(None, &Chunk { head, choice: Some(last), usage: None }, false)
    }

    fn messages(&mut self, mut answer: Members<'_>) -> Option<()> {
        let content = answer.take("content")?;
        let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).ok()?;
        let mut delta = Members(Vec::new());
        for name in ["stop_reason", "stop_sequence"] {
            delta.set(name, answer.take(name))?;
            answer.set(name, ())?;
        }
        let none = to_raw_value(&[0; 0]).ok()?;
        let no_usage = RawValue::from_string(r#"{"input_tokens":0,"output_tokens":0}"#.to_owned()).ok()?;
        let usage = answer.take("usage").unwrap_or(Cow::Owned(no_usage));
        let mut first = Members::of(&usage)?;
        first.set("output_tokens", 1)?;
        answer.set("content", &none)?;
        answer.set("usage", &first)?;
        let mut start = Members(Vec::new());
        start.set("type", "message_start")?;
        start.set("message", &answer)?;
        self.event(Some("message_start"), &start, false)?;
        for (index, block) in blocks.into_iter().enumerate() {
            self.block(index, Members::of(block)?)?;
        }
        let mut last = Members(Vec::new());
        last.set("type", "message_delta")?;
        last.set("delta", &delta)?;
        last.0.push(("usage".into(), usage));
        self.event(Some("message_delta"), &last, false)?;
        let mut end = Members(Vec::new());
        end.set("type", "message_stop")?;
        self.event(Some("message_stop"), &end, false)
    }

    fn block(&mut self, index: usize, mut begun: Members<'_>) -> Option<()> {
        let deltas = self.deltas(&mut begun)?;
        let kind = "content_block_start";
        self.event(Some(kind), &OfBlock { kind, index, content_block: Some(&begun), delta: None }, false)?;
        for (kind, name, value) in deltas {
            let mut delta = Members(Vec::new());
            delta.set("type", kind)?;
            delta.0.push((name.into(), value));
            let kind = "content_block_delta";
            self.event(Some(kind), &OfBlock { kind, index, content_block: None, delta: Some(&delta) }, false)?;
        }
        let kind = "content_block_stop";
        self.event(Some(kind), &OfBlock { kind, index, content_block: None, delta: None }, false)
    }

    /// What follows of a block, by the kinds of deltas and the names of what they say; `begun` is left as it begins.
    fn deltas<'a>(&mut self, begun: &mut Members<'a>) -> Option<Vec<(&'static str, &'static str, Cow<'a, RawValue>)>> {
        let kind: String = serde_json::from_str(begun.get("type")?.get()).ok()?;
        let mut deltas = Vec::new();
        match kind.as_str() {
            "text" => {
                deltas.push(("text_delta", "text", begun.take("text")?));
                begun.set("text", "")?;
                if let Some(citations) = begun.take("citations") {
                    let list: Vec<Box<RawValue>> = serde_json::from_str(citations.get()).unwrap_or_default();
                    deltas.extend(list.into_iter().map(|one| ("citations_delta", "citation", Cow::Owned(one))));
                    begun.set("citations", [0; 0])?;
                }
            }
            "thinking" => {
                deltas.push(("thinking_delta", "thinking", begun.take("thinking")?));
                begun.set("thinking", "")?;
                if let Some(signature) = begun.take("signature") {
                    deltas.push(("signature_delta", "signature", signature));
                    begun.set("signature", "")?;
                }
            }
            "tool_use" | "server_tool_use" => {
                self.called(1)?;
                let input = to_raw_value(&*compact(begun.take("input")?.get())).ok()?;
                deltas.push(("input_json_delta", "partial_json", Cow::Owned(input)));
                begun.0.push(("input".into(), Cow::Owned(RawValue::from_string("{}".to_owned()).ok()?)));
            }
            // Others begin with all they have.
            _ => {}
        }
        Some(deltas)
    }
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}
