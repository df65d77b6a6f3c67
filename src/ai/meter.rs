//! The meter: watches what a provider sends, and tells what it is and what it costs.
//!
//! It reads a stream frame by frame, in the provider's dialect, and changes nothing. It knows content from what comes
//! before it, so that an error until then can still be answered by another provider; and it keeps what a provider tells
//! of usage, in one shape for all: see [`Usage`]. What it does not understand is no reason to hold anything up.

use http::StatusCode;

use super::dialect::Dialect;
use super::dialect::error::{self, ProviderError};
use super::estimate::{self, Made};
use super::json::{Fault, Kind as Json, Reader, Text};
use super::sse::Frame;
use super::usage::{ServiceTier, Usage};

pub use whole::{Whole, whole};

mod chat;
mod gemini;
mod messages;
mod responses;
#[cfg(test)]
mod tests;
mod usage;
mod whole;

/// What a frame of a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing of the answer yet: comments, pings, the role, the beginning of a block.
    Startup,
    /// A part of the answer: text, a refusal, thinking, a call, sound.
    Content,
    /// The provider has failed.
    Error(ProviderError),
    /// The last event of a stream.
    Terminal,
    /// OpenAI's chunk of usage: a client that did not ask for it does not expect it.
    Usage,
    /// Its data is not what this dialect has. The end of a stream that broke may be such a frame.
    Unreadable,
    /// Anything else, such as the end of a block, or why the answer ended.
    Other,
}

/// What was told by a stream so far.
#[derive(Debug)]
pub struct Meter {
    dialect: Dialect,
    usage: Option<Usage>,
    /// As Anthropic counts.
    counts: usage::Anthropic,
    /// What stands beside the usage.
    tier: Option<ServiceTier>,
    model: Option<Box<str>>,
    finish: Option<Box<str>>,
    terminal: bool,
    /// An event of the answer was there, whatever it said.
    heard: bool,
    /// Of pictures, only those that came with their end.
    made: Made,
    /// Pictures of which a first part has come, and those of the answer as its last event repeats it.
    pictures_begun: u64,
    pictures_listed: u64,
    /// A bit for each choice that was seen, and for each that was told why it ended.
    choices: u64,
    ended: u64,
}

impl Meter {
    /// For a stream that a provider sends in this dialect.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            usage: None,
            counts: usage::Anthropic::default(),
            tier: None,
            model: None,
            finish: None,
            terminal: false,
            heard: false,
            made: Made::default(),
            pictures_begun: 0,
            pictures_listed: 0,
            choices: 0,
            ended: 0,
        }
    }

    /// Takes in the next frame.
    pub fn frame(&mut self, frame: &Frame) -> Kind {
        let data = frame.data();
        if data.is_empty() {
            return Kind::Startup;
        }
        if frame.is_done() {
            self.terminal = true;
            return Kind::Terminal;
        }
        let mut reader = Reader::lenient(data);
        let read = match self.dialect {
            Dialect::Chat | Dialect::Completions => chat::event(self, &mut reader),
            Dialect::Messages => messages::event(self, &mut reader, frame.event()),
            Dialect::Gemini => gemini::event(self, &mut reader),
            // Streams of images and of sound have the events of Responses.
            Dialect::Responses | Dialect::Other => responses::event(self, &mut reader, frame.event()),
        };
        // Chunks are heard by their choices: what has none may be anything.
        self.heard |= read.is_ok() && !matches!(self.dialect, Dialect::Chat | Dialect::Completions);
        match read {
            Ok(Event::Error) => Kind::Error(error::read(self.dialect, StatusCode::OK, data)),
            Ok(Event::Startup) => Kind::Startup,
            Ok(Event::Content) => Kind::Content,
            Ok(Event::Usage) => Kind::Usage,
            Ok(Event::Other) => Kind::Other,
            Ok(Event::Terminal) => {
                self.terminal = true;
                Kind::Terminal
            }
            Err(_) => Kind::Unreadable,
        }
    }

    /// What the provider has counted so far; before the end it may be a part. `None`: it told nothing.
    pub fn usage(&self) -> Option<Usage> {
        self.usage.clone().map(|usage| Usage { tier: usage.tier.or(self.tier), ..usage })
    }

    /// The model that the provider says it is.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Why the answer ended, in the provider's word.
    pub fn finish(&self) -> Option<&str> {
        self.finish.as_deref()
    }

    /// Whether the last event of the stream was there.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether anything of an answer was there: an end alone is none.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether all of the answer was there: the last event of its stream, or why each choice ended.
    pub fn is_finished(&self) -> bool {
        self.terminal || (self.choices != 0 && self.choices & !self.ended == 0)
    }

    /// Whether the stream may end here. Some servers of Chat leave out `[DONE]`.
    pub fn may_end(&self) -> bool {
        self.terminal || (self.dialect != Dialect::Messages && self.is_finished())
    }

    /// Whether nothing is missing of the stream: Gemini's alone have no last event.
    pub fn has_ended(&self) -> bool {
        self.terminal || (self.dialect == Dialect::Gemini && self.is_finished())
    }

    /// The characters of the answer so far, of all its parts, as [`estimate::output_tokens`] takes them: those of
    /// Chinese, Japanese and Korean count twice.
    pub fn output_chars(&self) -> u64 {
        self.made.chars
    }

    /// What was made so far, in all its parts.
    pub fn made(&self) -> Made {
        let pictures = self.made.pictures.max(self.pictures_begun).max(self.pictures_listed);
        Made { pictures, ..self.made }
    }

    /// Takes down what the provider says of usage; whether it says anything. What was counted once stays counted.
    fn counted(&mut self, counted: Option<Usage>) -> bool {
        let Some(counted) = counted else { return false };
        self.usage = Some(match self.usage.take() {
            Some(before) => before.grown(counted),
            None => counted,
        });
        true
    }

    fn choice(&mut self, index: u64) {
        self.choices |= bit(index);
    }

    fn ended(&mut self, index: u64, reason: &Text<'_>) {
        self.choices |= bit(index);
        self.ended |= bit(index);
        self.finish = reason.str().map(Into::into);
    }

    /// Takes in the next value, if it is a string with something in it, as a part of the answer.
    fn said(&mut self, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        let Some(text) = reader.maybe_string()? else { return Ok(false) };
        self.made.chars += estimate::weight(&text);
        Ok(!text.is_empty())
    }

    /// Takes in the next value, if there is something in it, as the arguments of a call: as long as they are written.
    fn called(&mut self, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        let start = reader.position();
        let any = is_something(reader)?;
        if any {
            self.made.chars += (reader.position() - start) as u64;
        }
        Ok(any)
    }

    /// Takes in the next value, if it is a string with something in it, as a part of the sound of the answer, in base64.
    fn sounded(&mut self, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        let Some(data) = reader.maybe_string()? else { return Ok(false) };
        self.made.sound += data.raw().len() as u64;
        Ok(!data.is_empty())
    }

    /// Takes in the next value as the tier of service; what comes later counts.
    fn tiered(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let word = reader.maybe_string()?;
        self.tier = word.and_then(|word| ServiceTier::of(word.raw())).or(self.tier);
        Ok(())
    }

    /// Takes in the next value as the name of the model.
    fn named(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match reader.maybe_string()? {
            Some(text) if self.model.is_none() && !text.is_empty() => self.model = text.str().map(Into::into),
            _ => {}
        }
        Ok(())
    }
}

fn bit(index: u64) -> u64 {
    1 << index.min(63)
}

/// What an event is, before its error is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Startup,
    Content,
    Error,
    Terminal,
    Usage,
    Other,
}

/// Passes over the next value; whether it says anything: not null, false, zero or empty.
fn is_something(reader: &mut Reader<'_>) -> Result<bool, Fault> {
    match reader.kind()? {
        Json::Null => reader.skip().map(|()| false),
        Json::Bool => reader.bool(),
        Json::Number => reader.maybe_u64().map(|number| number != Some(0)),
        Json::String => reader.string().map(|text| !text.is_empty()),
        Json::Array => {
            reader.array()?;
            let mut any = false;
            while reader.element()? {
                any = true;
                reader.skip()?;
            }
            Ok(any)
        }
        Json::Object => {
            reader.object()?;
            let mut any = false;
            while reader.key()?.is_some() {
                any = true;
                reader.skip()?;
            }
            Ok(any)
        }
    }
}
