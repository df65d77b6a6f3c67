//! What is asked in one dialect and answered in another: bytes in, bytes out.
//!
//! A request is read into the one model of `ask` and written in the provider's dialect; an answer is read
//! into that of `reply` and written in the client's. Clients speak Chat or Messages, providers Chat,
//! Messages or Gemini. What the other side has no place for is refused before it is sent, with the name of the field.
//!
//! Of a stream, nothing is held but what a delta cannot say alone: counts, ids, which block is open, the usage so far, and
//! calls that a provider tells at the same time as another. Arguments of a tool pass on as they come. For Messages they must be one
//! JSON object; of a stream that is known with its last byte, and it breaks there if they are none. Those of a call in which an
//! answer was cut off are an empty object in a whole one, and as far as they came in a stream.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ask::Ask;
use super::claude::Claude;
use super::json::compact;
use super::names::Names;
use super::reply::{Piece, Stop};
use super::text::Text;
use super::thinking::{ForMessages, Thinking};
use super::{Dialect, chat, gemini, messages};
use crate::ai::usage::Usage;
use crate::clock;

/// The most calls of tools that one answer may have, in all its choices: no model makes as many.
pub const MOST_CALLS: usize = 1024;

/// A request in the provider's dialect.
#[derive(Debug)]
pub struct Translated {
    /// The body.
    pub body: Vec<u8>,
    /// What its answer needs to be understood.
    pub notes: Notes,
}

/// What an answer needs to be written in the client's dialect.
#[derive(Debug, Clone)]
pub struct Notes {
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// Whether it asked for a stream's usage. Always for Messages, whose streams end with it.
    pub include_usage: bool,
    /// Whether it wants one call of a tool at a time.
    one_call: bool,
    model: String,
    id: String,
    created: u64,
    names: HashMap<String, String>,
}

impl Notes {
    fn new(ask: &Ask<'_>, model: &str, names: Names) -> Self {
        Self {
            stream: ask.stream,
            include_usage: ask.include_usage,
            one_call: ask.parallel == Some(false),
            model: model.to_owned(),
            id: format!("gen-{:016x}", fastrand::u64(..)),
            created: clock::wall_millis() / 1000,
            names: names.into_changed(),
        }
    }

    /// When the answer was made, for dialects that say it: seconds since the epoch.
    pub(super) const fn created(&self) -> u64 {
        self.created
    }

    /// Whether the client wants one call of a tool at a time.
    pub(super) const fn one_call(&self) -> bool {
        self.one_call
    }

    /// The provider's id, or one that is made up where it gives none.
    pub(super) fn id_or<'n>(&'n self, id: &'n str) -> &'n str {
        if id.is_empty() { &self.id } else { id }
    }

    /// The provider's word for the model, or what it was asked for.
    pub(super) fn model_or<'n>(&'n self, model: &'n str) -> &'n str {
        if model.is_empty() { &self.model } else { model }
    }

    /// The client's name for a tool that the provider was told another name of.
    pub(super) fn name<'n>(&'n self, name: &'n str) -> &'n str {
        self.names.get(name).map_or(name, String::as_str)
    }
}

/// What a request asks that the provider's dialect cannot say. The client is to blame: status 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untranslatable {
    /// For the client: which field, and why. It holds nothing of the request but names.
    pub message: String,
    /// The field: `messages[2].content[0]`.
    pub param: Option<String>,
}

impl Untranslatable {
    pub(super) fn at(field: &str, why: String) -> Self {
        Self { message: format!("{field}: {why}"), param: Some(field.to_owned()) }
    }

    /// Reads again what could not be read, to say where: that is dear, and rare.
    fn of<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Self {
        let mut json = serde_json::Deserializer::from_slice(body);
        let (path, error) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Ok(_) => return Self { message: "the body has more than one JSON value".to_owned(), param: None },
            Err(error) => (error.path().to_string(), error.into_inner()),
        };
        let why = why(&error);
        let path = match (path.as_str(), missing_field(&error)) {
            (".", Some(field)) => field,
            (path, Some(field)) => format!("{path}.{field}"),
            _ => path,
        };
        if path == "." || !error.is_data() {
            return Self { message: format!("the body cannot be read: {why}"), param: None };
        }
        Self::at(&path, why)
    }
}

impl fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What serde says, without what the client wrote: that may be long, and is nobody's business in a log.
fn why(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return format!("no valid JSON at line {}, column {}", error.line(), error.column());
    }
    let text = error.to_string();
    for (begins, about) in [
        ("unknown field `", "it is not known, and cannot be said to this model's provider"),
        ("missing field `", "it is missing"),
        ("duplicate field `", "it is there twice"),
    ] {
        if text.starts_with(begins) {
            return about.to_owned();
        }
    }
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {}", in_words(expected.split(" at line ").next().unwrap_or_default())),
        None => "not what is expected here".to_owned(),
    }
}

fn missing_field(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let name = text.strip_prefix("missing field `")?.split('`').next()?;
    Some(name.to_owned())
}

/// What serde calls a thing, in the words of JSON.
fn in_words(expected: &str) -> &str {
    match expected {
        "f64" => "a number",
        "u64" | "i64" => "a whole number",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        other => other,
    }
}

/// What a provider sent that is no answer of its dialect, or one that the client's has no words for. It holds nothing of the
/// answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub message: Cow<'static, str>,
    /// It is an answer of the provider's dialect: the provider is well, and would not answer otherwise if it was asked again.
    pub foreign: bool,
}

impl Malformed {
    /// An answer in a coding that nobody asked for.
    pub fn encoded(coding: &str) -> Self {
        let coding: String = coding.chars().take(20).flat_map(char::escape_debug).collect();
        let message = format!("the provider's answer has the coding {coding}, which nobody asked for").into();
        Self { message, foreign: false }
    }

    pub(super) const fn new(message: &'static str) -> Self {
        Self { message: Cow::Borrowed(message), foreign: false }
    }

    pub(super) const fn foreign(message: &'static str) -> Self {
        Self { message: Cow::Borrowed(message), foreign: true }
    }

    /// Whether an answer of so many calls may have another.
    ///
    /// # Errors
    ///
    /// There are [`MOST_CALLS`] already.
    pub(super) fn unless_one_more(calls: usize) -> Result<(), Self> {
        if calls < MOST_CALLS { Ok(()) } else { Err(Self::new("an answer with too many calls of tools")) }
    }

    pub(super) fn json(error: &serde_json::Error) -> Self {
        let missing = missing_field(error).map(|field| format!("no field `{field}`"));
        Self { message: Cow::Owned(missing.unwrap_or_else(|| why(error))), foreign: false }
    }

    /// The same, of an answer whose provider `counted` what it used: whoever does has answered.
    #[must_use]
    pub fn counted(self, counted: Option<Usage>) -> Self {
        let counted = counted.is_some_and(|usage| usage.total() > 0);
        Self { foreign: self.foreign || counted, ..self }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A request of a client, in the dialect of a provider. `model` is the provider's name for it; where an address names a
/// deployment instead, the name of the model behind it.
///
/// # Errors
///
/// The body cannot be read, or asks what the provider's dialect cannot say, or no client or provider speaks so.
pub fn request(client: Dialect, provider: Dialect, body: &[u8], model: &str) -> Result<Translated, Untranslatable> {
    let ask = match client {
        Dialect::Chat => read::<chat::Body<'_>>(body)?.into_ask()?,
        Dialect::Messages => read::<messages::Body<'_>>(body)?.into_ask()?,
        _ => return Err(unspoken(client, provider)),
    };
    let mut names = Names::new(provider);
    let mut out = Vec::with_capacity(body.len().saturating_add(512));
    match (client, provider) {
        (Dialect::Messages, Dialect::Chat) => chat::write(&ask, model, &mut names, &mut out)?,
        (Dialect::Chat, Dialect::Messages) => messages::write(&ask, model, &mut names, &mut out)?,
        (_, Dialect::Gemini) => gemini::write(&ask, client, model, &mut names, &mut out)?,
        _ => return Err(unspoken(client, provider)),
    }
    Ok(Translated { body: out, notes: Notes::new(&ask, model, names) })
}

/// A request of Messages that goes to Anthropic as it came, without what other providers thought: that it refuses. `None`:
/// there is none. `model` is Anthropic's name for it.
pub fn without_foreign_thinking(body: &[u8], model: &str) -> Option<Vec<u8>> {
    messages::may_hold_foreign(body).then(|| messages::without_foreign(body, model)).flatten()
}

/// A request of Chat that goes to OpenAI, without the fields in which other providers' thinking comes back: those it refuses.
/// `None`: there are none.
pub fn without_foreign_fields(body: &[u8]) -> Option<Vec<u8>> {
    // The bytes alone are searched first: most have none, and need not be read.
    chat::may_hold_foreign(body).then(|| chat::without_foreign(body)).flatten()
}

/// The bound of tokens that [`request`] writes where a client of Chat names none, with this `reasoning_effort`; 0: it writes
/// none, or refuses the request.
pub fn own_bound(provider: Dialect, effort: Option<&str>, model: &str) -> u64 {
    if provider != Dialect::Messages {
        return 0;
    }
    ForMessages::new(effort.and_then(Thinking::of_effort), None, Claude::of(model)).map_or(0, |said| said.max_tokens)
}

fn unspoken(client: Dialect, provider: Dialect) -> Untranslatable {
    Untranslatable { message: format!("{client:?} cannot be asked of a provider of {provider:?}"), param: None }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Untranslatable> {
    serde_json::from_slice(body).map_err(|_| Untranslatable::of::<T>(body))
}

/// The text of a JSON object, without blanks; nothing at all, and `null`, is an empty one. `None`: it is something else.
pub(super) fn object(text: Text<'_>) -> Option<Text<'_>> {
    if text.is_blank() || text.trim() == "null" {
        return Some("{}".into());
    }
    let is_object = text.trim_start().starts_with('{') && is_json(&text);
    is_object.then(|| match text.0 {
        Cow::Borrowed(text) => Text(compact(text)),
        Cow::Owned(text) => compact(&text).into_owned().into(),
    })
}

/// Whether it is one whole JSON value.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// A whole answer of a provider, for a client.
///
/// # Errors
///
/// It is no answer of the provider's dialect.
pub fn answer(provider: Dialect, client: Dialect, body: &[u8], notes: &Notes) -> Result<Vec<u8>, Malformed> {
    let reply = match provider {
        Dialect::Chat => chat::read_answer(body)?,
        Dialect::Messages => messages::read_answer(body)?,
        Dialect::Gemini => gemini::read_answer(body, notes)?.into_reply(),
        _ => return Err(Malformed::new("no such provider is translated")),
    };
    let mut out = Vec::with_capacity(body.len().saturating_add(512));
    match client {
        Dialect::Messages => messages::write_answer(&reply, notes, &mut out),
        _ => chat::write_answer(&reply, notes, &mut out),
    }
    Ok(out)
}

/// A stream of a provider, for a client.
#[derive(Debug)]
pub struct Stream {
    reader: Reader,
    writer: Writer,
    notes: Notes,
    begun: bool,
    ended: bool,
}

#[derive(Debug)]
enum Reader {
    Chat(chat::Reader),
    Messages(messages::Reader),
    Gemini(gemini::Reader),
}

#[derive(Debug)]
enum Writer {
    Chat(chat::Writer),
    Messages(messages::Writer),
}

/// Where readers put what they read.
pub(super) struct Sink<'s> {
    writer: &'s mut Writer,
    pub(super) notes: &'s Notes,
    begun: &'s mut bool,
    ended: &'s mut bool,
    out: &'s mut Vec<u8>,
}

impl Stream {
    /// A stream that has not begun.
    pub fn new(provider: Dialect, client: Dialect, notes: Notes) -> Self {
        let reader = match provider {
            Dialect::Messages => Reader::Messages(messages::Reader::default()),
            Dialect::Gemini => Reader::Gemini(gemini::Reader::default()),
            _ => Reader::Chat(chat::Reader::default()),
        };
        let writer = match client {
            Dialect::Messages => Writer::Messages(messages::Writer::default()),
            _ => Writer::Chat(chat::Writer::new(provider)),
        };
        Self { reader, writer, notes, begun: false, ended: false }
    }

    /// Takes one event of the provider's and adds whole events of the client's to `out`: none, one or several. `data`
    /// is what its data lines hold; the name is not needed, for where there is one, the data say the same. What comes after
    /// the end is passed over.
    ///
    /// # Errors
    ///
    /// It is no event of the provider's dialect, or an error of the provider's. `out` may have got events before it.
    pub fn event(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        let Self { reader, writer, notes, begun, ended } = self;
        let mut sink = Sink { writer, notes, begun, ended, out };
        match reader {
            Reader::Chat(reader) => reader.event(data, &mut sink),
            Reader::Messages(reader) => reader.event(data, &mut sink),
            Reader::Gemini(reader) => reader.event(data, &mut sink),
        }
    }

    /// The provider closed its stream properly. Writes the client's last events where the provider's dialect has none of
    /// its own, or it left them out; does nothing where they are written already.
    ///
    /// # Errors
    ///
    /// The answer was not complete: no reason to stop was given.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.ended {
            return Ok(());
        }
        let Self { reader, writer, notes, begun, ended } = self;
        let mut sink = Sink { writer, notes, begun, ended, out };
        match reader {
            Reader::Chat(reader) => reader.finish(&mut sink),
            Reader::Messages(reader) => reader.finish(&mut sink),
            Reader::Gemini(reader) => reader.finish(&mut sink),
        }
    }

    /// No more is wanted of the provider: ends the client's stream properly where it stands, as one that ran out of tokens,
    /// with what was counted by then.
    pub fn cut(&mut self, usage: Usage, out: &mut Vec<u8>) {
        if self.ended {
            return;
        }
        let Self { reader: _, writer, notes, begun, ended } = self;
        let mut sink = Sink { writer, notes, begun, ended, out };
        sink.put(&Piece::Usage(usage));
        sink.put(&Piece::Stop(Stop::Length));
        sink.put(&Piece::End);
    }

    /// Where in the last `out` an event stands that only tells of usage; there is at most one.
    pub fn take_usage(&mut self) -> Option<Range<usize>> {
        match &mut self.writer {
            Writer::Chat(writer) => writer.take_usage(),
            Writer::Messages(_) => None,
        }
    }

    /// Whether the client has got its last event.
    pub const fn is_complete(&self) -> bool {
        self.ended
    }
}

impl Sink<'_> {
    /// A client's stream begins once, whatever its provider does, and with its own first event.
    pub(super) fn put(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Start { .. } if *self.begun => return,
            Piece::Usage(_) | Piece::Start { .. } => {}
            _ if !*self.begun => self.put(&Piece::Start { id: "", model: "" }),
            _ => {}
        }
        *self.begun |= matches!(piece, Piece::Start { .. });
        *self.ended |= matches!(piece, Piece::End);
        match self.writer {
            Writer::Chat(writer) => writer.put(piece, self.notes, self.out),
            Writer::Messages(writer) => writer.put(piece, self.notes, self.out),
        }
    }
}

#[cfg(test)]
mod tests;
