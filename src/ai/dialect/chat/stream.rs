//! A stream of Chat: the events of a provider, read, and those for a client, written.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::ask::Seal;
use super::super::json::{List, Object, object};
use super::super::reply::{Piece, Stop};
use super::super::text::{Text, lenient};
use super::super::translate::{Malformed, Notes, Sink};
use super::answer::{SOUND, extra_content, filled, finish_reason, stop};
use super::calls::{self, Calls};
use super::usage::{self, UsageOf};
use super::{ExtraContent, ThinkingBlock};
use crate::ai::dialect::Dialect;
use crate::ai::usage::Usage;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<UsageOf>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
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
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
    #[serde(borrow, rename = "extra_content")]
    _extra_content: Option<ExtraContent<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

impl<'a> ToolCall<'a> {
    fn into_delta(self) -> calls::Delta<'a> {
        let function = self.function.unwrap_or(Function { name: None, arguments: None });
        calls::Delta {
            index: self.index,
            id: filled(self.id),
            name: filled(function.name),
            arguments: function.arguments.unwrap_or_default(),
        }
    }
}

/// Reads what a provider of Chat sends.
#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    /// The answer's id, once it has begun.
    id: Option<String>,
    /// Whether what is thought will be taken back as `reasoning_content`, and is not sealed yet.
    unsealed: bool,
    calls: Calls,
    stop: Option<Stop>,
}

impl Reader {
    /// # Errors
    ///
    /// The event is none of Chat's, an error, or about a call that cannot be told: see [`Calls`].
    pub(in super::super) fn event(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if data == b"[DONE]" {
            return self.finish(sink);
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|error| Malformed::json(&error))?;
        if chunk.error.is_some() {
            return Err(Malformed::new("an error in the stream"));
        }
        if let Some(usage) = chunk.usage {
            sink.put(&Piece::Usage(usage.into()));
        }
        // Azure's first chunk is about the prompt and has neither choices nor an id.
        let Some(choice) = chunk.choices.unwrap_or_default().into_iter().next() else { return Ok(()) };
        if self.id.is_none() {
            let (id, model) = (chunk.id.unwrap_or_default(), chunk.model.unwrap_or_default());
            sink.put(&Piece::Start { id: &id, model: &model });
            self.id = Some(id.0.into_owned());
        }
        if let Some(delta) = choice.delta {
            self.delta(delta, sink)?;
        }
        if let Some(reason) = choice.finish_reason {
            self.stop = Some(stop(&reason));
        }
        Ok(())
    }

    /// At the end of the stream, if it ends without `[DONE]`.
    ///
    /// # Errors
    ///
    /// The answer was not complete, or calls a tool with what is no JSON object.
    pub(in super::super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let stop = self.stop.take().ok_or(Malformed::new("the answer ended without a reason to stop"))?;
        self.seal(sink);
        let stop = stop.with_calls(self.calls.any());
        self.calls.finish(&stop, sink)?;
        sink.put(&Piece::Stop(stop));
        sink.put(&Piece::End);
        Ok(())
    }

    fn delta(&mut self, delta: Delta<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        if delta.audio.is_some() {
            return Err(SOUND);
        }
        let taken_back = filled(delta.reasoning_content);
        self.unsealed |= taken_back.is_some();
        if let Some(text) = taken_back.or_else(|| filled(delta.reasoning)) {
            sink.put(&Piece::Thinking(&text));
        }
        for block in delta.thinking_blocks.unwrap_or_default() {
            if let Some(signature) = block.signature.filter(|signature| !signature.is_empty()) {
                self.unsealed = false;
                sink.put(&Piece::Seal(Seal::Chat(signature)));
            }
        }
        if let Some(text) = filled(delta.content) {
            self.seal(sink);
            sink.put(&Piece::Text(&text));
        }
        if let Some(text) = filled(delta.refusal) {
            self.seal(sink);
            sink.put(&Piece::Refusal(&text));
        }
        let legacy = delta.function_call.map(|function| ToolCall {
            index: None,
            id: None,
            function: Some(function),
            _extra_content: None,
        });
        for call in delta.tool_calls.unwrap_or_default().into_iter().chain(legacy) {
            self.seal(sink);
            self.calls.take(call.into_delta(), self.id.as_deref().unwrap_or_default(), sink)?;
        }
        Ok(())
    }

    fn seal(&mut self, sink: &mut Sink<'_>) {
        if std::mem::take(&mut self.unsealed) {
            sink.put(&Piece::Seal(Seal::Chat(Text::default())));
        }
    }
}

/// Writes what a client of Chat gets.
#[derive(Debug)]
pub(in super::super) struct Writer {
    /// Whether thinking comes in blocks that the client is to bring back.
    blocks: bool,
    /// Of the answer, once it has begun.
    id: String,
    model: String,
    /// Blocks of thinking that are complete.
    block: usize,
    thinking: bool,
    /// Calls that have begun.
    calls: usize,
    stop: Stop,
    usage: Option<Usage>,
    /// Where the event of the usage was written.
    usage_at: Option<Range<usize>>,
}

impl Writer {
    pub(in super::super) fn new(provider: Dialect) -> Self {
        Self {
            blocks: provider == Dialect::Messages,
            id: String::new(),
            model: String::new(),
            block: 0,
            thinking: false,
            calls: 0,
            stop: Stop::End,
            usage: None,
            usage_at: None,
        }
    }

    pub(in super::super) fn take_usage(&mut self) -> Option<Range<usize>> {
        self.usage_at.take()
    }

    pub(in super::super) fn put(&mut self, piece: &Piece<'_>, notes: &Notes, out: &mut Vec<u8>) {
        match piece {
            Piece::Start { id, model } => {
                notes.id_or(id).clone_into(&mut self.id);
                notes.model_or(model).clone_into(&mut self.model);
                self.delta(notes, out, |delta| {
                    delta.text("role", "assistant");
                    delta.text("content", "");
                });
            }
            Piece::Text(text) => self.delta(notes, out, |delta| delta.text("content", text)),
            Piece::Refusal(text) => self.delta(notes, out, |delta| delta.text("refusal", text)),
            Piece::Thinking(text) => {
                self.thinking = true;
                let index = self.blocks.then_some(self.block);
                self.delta(notes, out, |delta| {
                    delta.text("reasoning_content", text);
                    if let Some(index) = index {
                        delta.list("thinking_blocks", |list| block(list, index, "thinking", "thinking", text));
                    }
                });
            }
            Piece::Seal(Seal::Anthropic(seal)) => {
                self.thinking = true;
                let index = self.block;
                self.delta(notes, out, |delta| {
                    delta.list("thinking_blocks", |list| block(list, index, "thinking", "signature", seal));
                });
            }
            Piece::Seal(Seal::GeminiText(seal)) => self.delta(notes, out, |delta| extra_content(seal, delta)),
            Piece::Seal(_) => {}
            Piece::Redacted(data) => {
                let index = self.block;
                self.block += 1;
                self.delta(notes, out, |delta| {
                    delta.list("thinking_blocks", |list| block(list, index, "redacted_thinking", "data", data));
                });
            }
            Piece::Call { id, name, seal } => self.call(id, notes.name(name), *seal, notes, out),
            Piece::Arguments { call, json } => self.arguments(*call, json, notes, out),
            Piece::ThinkingEnd => self.block += usize::from(std::mem::take(&mut self.thinking)),
            Piece::CallEnd => {}
            Piece::Usage(usage) => self.usage = Some(usage.clone()),
            Piece::Stop(stop) => stop.clone_into(&mut self.stop),
            Piece::End => self.end(notes, out),
        }
    }

    fn call(&mut self, id: &str, name: &str, seal: Option<&str>, notes: &Notes, out: &mut Vec<u8>) {
        let index = self.calls;
        self.calls += 1;
        self.delta(notes, out, |delta| {
            delta.list("tool_calls", |list| {
                list.object(|call| {
                    call.number("index", index);
                    call.text("id", id);
                    call.text("type", "function");
                    call.object("function", |function| {
                        function.text("name", name);
                        function.text("arguments", "");
                    });
                    if let Some(seal) = seal {
                        extra_content(seal, call);
                    }
                });
            });
        });
    }

    fn arguments(&self, index: usize, arguments: &str, notes: &Notes, out: &mut Vec<u8>) {
        self.delta(notes, out, |delta| {
            delta.list("tool_calls", |list| {
                list.object(|call| {
                    call.number("index", index);
                    call.object("function", |function| function.text("arguments", arguments));
                });
            });
        });
    }

    fn end(&mut self, notes: &Notes, out: &mut Vec<u8>) {
        self.chunk(notes, out, |chunk| {
            chunk.list("choices", |list| {
                list.object(|choice| {
                    choice.number("index", 0_u8);
                    choice.object("delta", |_| ());
                    choice.text("finish_reason", finish_reason(&self.stop));
                });
            });
        });
        if let Some(usage) = self.usage.as_ref().filter(|usage| notes.include_usage && usage::is_told(usage)) {
            let from = out.len();
            self.chunk(notes, out, |chunk| {
                chunk.list("choices", |_| ());
                chunk.object("usage", |o| usage::write(usage, o));
            });
            self.usage_at = Some(from..out.len());
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn delta(&self, notes: &Notes, out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
        self.chunk(notes, out, |chunk| {
            chunk.list("choices", |list| {
                list.object(|choice| {
                    choice.number("index", 0_u8);
                    choice.object("delta", write);
                    choice.null("finish_reason");
                });
            });
        });
    }

    fn chunk(&self, notes: &Notes, out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(b"data: ");
        object(out, |chunk| {
            chunk.text("id", &self.id);
            chunk.text("object", "chat.completion.chunk");
            chunk.number("created", notes.created());
            chunk.text("model", &self.model);
            write(chunk);
        });
        out.extend_from_slice(b"\n\n");
    }
}

fn block(list: &mut List<'_>, index: usize, kind: &str, key: &str, text: &str) {
    list.object(|block| {
        block.number("index", index);
        block.text("type", kind);
        block.text(key, text);
    });
}
