//! A stream of Messages: the events of a provider, read, and those for a client, written.

use serde::Deserialize;

use super::super::ask::{Call, Part, Seal};
use super::super::json::{Object, object};
use super::super::reply::{Piece, Stop};
use super::super::text::{Text, lenient};
use super::super::translate::{Malformed, Notes, Sink};
use super::answer::{Block, StopDetails, stop, stop_fields};
use super::usage::{self, UsageOf};
use crate::ai::usage::Usage;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    index: Option<u64>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<UsageOf>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    model: Text<'a>,
    #[serde(default, deserialize_with = "lenient")]
    usage: Option<UsageOf>,
}

/// Of a block, or of the message itself.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_sequence: Option<Text<'a>>,
    #[serde(borrow)]
    stop_details: Option<StopDetails<'a>>,
}

/// Reads what a provider of Messages sends.
#[derive(Debug, Default)]
pub(in super::super) struct Reader {
    usage: UsageOf,
    stop: Option<Stop>,
    /// The blocks that have begun and not ended.
    begun: Vec<Begun>,
    /// Calls so far.
    calls: usize,
}

/// Blocks that have begun at once. Anthropic ends one before it begins the next.
const MOST_BEGUN: usize = 64;

#[derive(Debug)]
struct Begun {
    /// Where a provider gives none, the last block is meant.
    index: Option<u64>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Thinking,
    Call {
        /// The first, the second.
        call: usize,
        /// Whether it has no arguments yet.
        bare: bool,
    },
    Other,
}

impl Reader {
    /// Events of a type that is not known are passed over, as Anthropic asks of its clients.
    ///
    /// # Errors
    ///
    /// The event is none of Messages', an error, or a block that was not asked for, or a call too many.
    pub(in super::super) fn event(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let event: Event<'_> = serde_json::from_slice(data).map_err(|error| Malformed::json(&error))?;
        match &*event.kind {
            "message_start" => {
                let message = event.message.ok_or(Malformed::new("a start of a message without the message"))?;
                sink.put(&Piece::Start { id: &message.id, model: &message.model });
                self.count(message.usage, sink);
            }
            "content_block_start" => {
                let block = event.content_block.ok_or(Malformed::new("a start of a block without the block"))?;
                self.begin(event.index, block.into_part()?, sink)?;
            }
            "content_block_delta" => {
                self.delta(event.index, event.delta.ok_or(Malformed::new("a delta without itself"))?, sink)?;
            }
            "content_block_stop" => self.end(event.index, sink),
            "message_delta" => {
                self.count(event.usage, sink);
                let Some(delta) = event.delta else { return Ok(()) };
                if let Some(reason) = delta.stop_reason {
                    self.stop = Some(stop(&reason, delta.stop_sequence.as_deref()));
                }
                if let Some(why) = delta.stop_details.and_then(|details| details.explanation) {
                    sink.put(&Piece::Refusal(&why));
                }
            }
            "message_stop" => return self.finish(sink),
            "error" => return Err(Malformed::new("an error in the stream")),
            _ => {}
        }
        Ok(())
    }

    /// At the end of the stream, if it ends without `message_stop`.
    ///
    /// # Errors
    ///
    /// The answer was not complete.
    pub(in super::super) fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let stop = self.stop.take().ok_or(Malformed::new("the answer ended without a reason to stop"))?;
        sink.put(&Piece::Stop(stop));
        sink.put(&Piece::End);
        Ok(())
    }

    /// A block mostly begins empty, but need not.
    fn begin(&mut self, index: Option<u64>, part: Part<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let mut kind = Kind::Other;
        match part {
            Part::Text(text, _) if !text.is_empty() => sink.put(&Piece::Text(&text)),
            Part::Thinking(text, seal) => {
                kind = Kind::Thinking;
                if !text.is_empty() {
                    sink.put(&Piece::Thinking(&text));
                }
                if seal != Seal::None {
                    sink.put(&Piece::Seal(seal));
                }
            }
            Part::Redacted(data) => sink.put(&Piece::Redacted(&data)),
            Part::Call(Call { id, name, arguments, .. }) => {
                Malformed::unless_one_more(self.calls)?;
                let (call, bare) = (self.calls, &*arguments == "{}");
                kind = Kind::Call { call, bare };
                self.calls += 1;
                sink.put(&Piece::Call { id: &id, name: &name, seal: None });
                if !bare {
                    sink.put(&Piece::Arguments { call, json: &arguments });
                }
            }
            _ => {}
        }
        // Who never ends one begins another in its place.
        self.begun.retain(|begun| begun.index != index);
        if self.begun.len() == MOST_BEGUN {
            self.begun.remove(0);
        }
        self.begun.push(Begun { index, kind });
        Ok(())
    }

    fn delta(&mut self, index: Option<u64>, delta: Delta<'_>, sink: &mut Sink<'_>) -> Result<(), Malformed> {
        let kind = delta.kind.as_deref().unwrap_or_default();
        let piece = match (kind, &delta.text, &delta.thinking, &delta.partial_json) {
            ("text_delta", Some(text), ..) => Piece::Text(text),
            ("thinking_delta", _, Some(text), _) => Piece::Thinking(text),
            ("input_json_delta", .., Some(json)) if json.is_empty() => return Ok(()),
            ("input_json_delta", .., Some(json)) => Piece::Arguments { call: self.continued(index), json },
            ("signature_delta", ..) => Piece::Seal(Seal::Anthropic(delta.signature.unwrap_or_default())),
            // No citations were asked for, and a later kind of delta belongs to a later kind of block.
            ("citations_delta", ..) => return Ok(()),
            _ => return Err(Malformed::foreign("a delta of a type that was not asked for")),
        };
        match piece {
            Piece::Text("") | Piece::Thinking("") => {}
            piece => sink.put(&piece),
        }
        Ok(())
    }

    /// The call whose arguments go on.
    fn continued(&mut self, index: Option<u64>) -> usize {
        let at = self.place(index);
        match at.and_then(|at| self.begun.get_mut(at)).map(|begun| &mut begun.kind) {
            Some(Kind::Call { call, bare }) => {
                *bare = false;
                *call
            }
            _ => self.calls.saturating_sub(1),
        }
    }

    /// Arguments that never came are an empty object.
    fn end(&mut self, index: Option<u64>, sink: &mut Sink<'_>) {
        match self.place(index).map(|at| self.begun.remove(at).kind) {
            Some(Kind::Call { call, bare: true }) => sink.put(&Piece::Arguments { call, json: "{}" }),
            Some(Kind::Thinking) => sink.put(&Piece::ThinkingEnd),
            _ => {}
        }
    }

    fn place(&self, index: Option<u64>) -> Option<usize> {
        match index {
            Some(_) => self.begun.iter().rposition(|begun| begun.index == index),
            None => self.begun.len().checked_sub(1),
        }
    }

    fn count(&mut self, usage: Option<UsageOf>, sink: &mut Sink<'_>) {
        if let Some(usage) = usage {
            self.usage.update(usage);
            sink.put(&Piece::Usage(self.usage.into()));
        }
    }
}

/// Writes what a client of Messages gets.
#[derive(Debug, Default)]
pub(in super::super) struct Writer {
    /// The block that is open.
    open: Option<Open>,
    /// Blocks that are complete.
    index: usize,
    refused: bool,
    stop: Stop,
    usage: Usage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Call,
}

impl Writer {
    pub(in super::super) fn put(&mut self, piece: &Piece<'_>, notes: &Notes, out: &mut Vec<u8>) {
        match piece {
            Piece::Start { id, model } => self.start(notes.id_or(id), notes.model_or(model), out),
            Piece::Text(text) => {
                self.open(Open::Text, out, |block| block.text("text", ""));
                self.delta(out, "text_delta", "text", &[text]);
            }
            Piece::Refusal(text) => {
                self.refused = true;
                self.open(Open::Text, out, |block| block.text("text", ""));
                self.delta(out, "text_delta", "text", &[text]);
            }
            Piece::Thinking(text) => {
                self.think(out);
                self.delta(out, "thinking_delta", "thinking", &[text]);
            }
            Piece::Seal(seal) => self.seal(seal, out),
            Piece::Redacted(data) => {
                self.close(out);
                self.begin("redacted_thinking", out, |block| block.text("data", data));
                self.open = Some(Open::Thinking);
                self.close(out);
            }
            Piece::Call { id, name, seal } => {
                if let Some(seal) = seal {
                    self.seal(&Seal::Gemini((*seal).into()), out);
                }
                self.close(out);
                self.open(Open::Call, out, |block| {
                    block.text("id", id);
                    block.text("name", notes.name(name));
                    block.object("input", |_| ());
                });
            }
            Piece::Arguments { json, .. } => self.delta(out, "input_json_delta", "partial_json", &[json]),
            Piece::CallEnd => self.close(out),
            Piece::ThinkingEnd => {}
            Piece::Usage(usage) => self.usage = usage.clone(),
            Piece::Stop(stop) => stop.clone_into(&mut self.stop),
            Piece::End => self.end(out),
        }
    }

    /// What was counted of the output by now is counted again at the end, and clients add the two up.
    fn start(&self, id: &str, model: &str, out: &mut Vec<u8>) {
        let usage = Usage { output: 0, reasoning: 0, ..self.usage.clone() };
        event(out, "message_start", |event| {
            event.object("message", |message| {
                message.text("id", id);
                message.text("type", "message");
                message.text("role", "assistant");
                message.text("model", model);
                message.list("content", |_| ());
                message.null("stop_reason");
                message.null("stop_sequence");
                message.object("usage", |o| usage::write(&usage, o));
            });
        });
    }

    fn think(&mut self, out: &mut Vec<u8>) {
        self.open(Open::Thinking, out, |block| {
            block.text("thinking", "");
            block.text("signature", "");
        });
    }

    /// A seal is the last of its block.
    fn seal(&mut self, seal: &Seal<'_>, out: &mut Vec<u8>) {
        self.think(out);
        self.delta(out, "signature_delta", "signature", &super::signature(seal));
        self.close(out);
    }

    /// Opens a block unless one of its kind is open.
    fn open(&mut self, kind: Open, out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
        if self.open == Some(kind) {
            return;
        }
        self.close(out);
        let name = match kind {
            Open::Text => "text",
            Open::Thinking => "thinking",
            Open::Call => "tool_use",
        };
        self.begin(name, out, write);
        self.open = Some(kind);
    }

    fn begin(&self, kind: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
        event(out, "content_block_start", |event| {
            event.number("index", self.index);
            event.object("content_block", |block| {
                block.text("type", kind);
                write(block);
            });
        });
    }

    fn delta(&self, out: &mut Vec<u8>, kind: &str, key: &str, texts: &[&str]) {
        event(out, "content_block_delta", |event| {
            event.number("index", self.index);
            event.object("delta", |delta| {
                delta.text("type", kind);
                delta.joined(key, texts);
            });
        });
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            event(out, "content_block_stop", |event| event.number("index", self.index));
            self.index += 1;
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        event(out, "message_delta", |event| {
            event.object("delta", |delta| {
                stop_fields(if self.refused { &Stop::Filter } else { &self.stop }, delta);
            });
            event.object("usage", |o| usage::write(&self.usage, o));
        });
        event(out, "message_stop", |_| ());
    }
}

fn event(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Object<'_>)) {
    for text in ["event: ", name, "\ndata: "] {
        out.extend_from_slice(text.as_bytes());
    }
    object(out, |event| {
        event.text("type", name);
        write(event);
    });
    out.extend_from_slice(b"\n\n");
}
