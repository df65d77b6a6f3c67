//! The body of a request: its bytes -> the facts that routing, limits and the cache need, and the bytes that go on.
//!
//! One pass, no tree. The facts remember where in the body they stand, so that what is sent on differs from what came
//! only where it has to: see [`Edit`]. A member that stands twice is refused, for the provider might read another one
//! than was read here; so is a value of the wrong type where an answer's size or shape depends on it. Everything else is
//! the provider's to judge.
//!
//! Forms (audio, images) are read by [`Form`]; what a body is known by in the cache is [`canonical`].

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::dialect::Dialect;
use super::json::{Fault, Kind, Reader, Text, whole};

pub use canonical::{MAX_HELD, canonical};
pub use edit::Edit;
pub use form::Form;

mod canonical;
mod edit;
mod form;
#[cfg(test)]
mod tests;

/// How many members a body may have, not counting those within others.
pub const MAX_MEMBERS: usize = 256;

/// How long the name of a model may be, in bytes.
pub const MAX_MODEL: usize = 256;

/// Why a body is answered with 400. Nothing of the body is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadBody {
    /// It is not JSON in UTF-8.
    NotJson,
    /// It is JSON, but no object.
    NotObject,
    /// Its arrays and objects are nested too deep.
    TooDeep,
    /// It has more members than [`MAX_MEMBERS`], or, for [`canonical`], than [`MAX_HELD`].
    TooManyMembers,
    /// A member stands twice. The name is there if it is a known one.
    Twice(Option<&'static str>),
    /// The name of a member is a known one but for the case of its letters.
    Disguised(&'static str),
    /// No model is named.
    MissingModel,
    /// The value of this member cannot be what it has to be.
    Invalid(&'static str),
    /// It is no form that can be read.
    NotForm,
}

impl BadBody {
    /// The code of the error (row B23).
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingModel => "MISSING_MODEL",
            _ => "INVALID_REQUEST",
        }
    }

    /// The member that is wrong, if it is one.
    pub const fn param(self) -> Option<&'static str> {
        match self {
            Self::MissingModel => Some("model"),
            Self::Invalid(name) | Self::Disguised(name) => Some(name),
            Self::Twice(name) => name,
            _ => None,
        }
    }
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("the body is not valid JSON"),
            Self::NotObject => f.write_str("the body must be a JSON object"),
            Self::TooDeep => f.write_str("the body is nested too deep"),
            Self::TooManyMembers => f.write_str("the body has too many members"),
            Self::Twice(Some(name)) => write!(f, "'{name}' is there twice"),
            Self::Twice(None) => f.write_str("a member of the body is there twice"),
            Self::Disguised(name) => write!(f, "'{name}' has to be written in small letters"),
            Self::MissingModel => f.write_str("'model' is missing"),
            Self::Invalid(name) => write!(f, "'{name}' has a value that it cannot have"),
            Self::NotForm => f.write_str("the body is not valid multipart/form-data"),
        }
    }
}

impl From<Fault> for BadBody {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax => Self::NotJson,
            Fault::TooDeep => Self::TooDeep,
        }
    }
}

/// What names the model of a request beside its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming<'a> {
    /// Nothing.
    Body,
    /// What holds where the body names none. A provider knows it, too.
    Usual(&'a str),
    /// The address, whatever the body says.
    Address(&'a str),
}

impl Naming<'_> {
    /// The model, of a body that names `written`, and whether the body may go without a name to who calls it the same.
    fn choose(self, written: Option<Box<str>>) -> Result<(Box<str>, bool), BadBody> {
        match (self, written) {
            (Self::Address(name), _) => Ok((model_name(name)?.ok_or(BadBody::MissingModel)?, false)),
            (_, Some(written)) => Ok((written, false)),
            (Self::Usual(name), None) => Ok((name.into(), true)),
            (Self::Body, None) => Err(BadBody::MissingModel),
        }
    }
}

/// What a JSON body asks for, and where it says so.
#[derive(Debug, Clone)]
pub struct Asked {
    body: Bytes,
    /// Behind the `{`.
    open: usize,
    members: Vec<Member>,
    model: Box<str>,
    /// It is named by nobody.
    implied: bool,
    bulk: u64,
    /// The value of `stream_options.include_usage`.
    usage_at: Option<Range<usize>>,
    /// The answer is to come as a stream.
    pub stream: bool,
    /// `stream_options` is there and no null.
    pub stream_options: bool,
    /// The client asked for usage in the stream.
    pub include_usage: bool,
    /// The most tokens that one answer may have, as far as the client said it. Where two members say it: the greater.
    pub max_output: Option<u64>,
    /// Of `n` and `best_of` the greater; at least 1.
    n: u64,
    /// The prompts in `prompt`; at least 1.
    prompts: u64,
    /// Tools, or functions as they were called before, are there.
    pub tools: bool,
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `seed` is there and no null.
    pub seed: bool,
    /// `store`, where it is a boolean.
    pub store: Option<bool>,
    /// `background` is true: the answer is fetched later.
    pub background: bool,
    /// The answer depends on what the provider has stored: `previous_response_id`, `conversation`.
    pub stateful: bool,
}

#[derive(Debug, Clone)]
struct Member {
    name: Name,
    value: Range<usize>,
}

#[derive(Debug, Clone)]
enum Name {
    At(Range<usize>),
    /// Where it was written with escapes.
    Decoded(Box<[u8]>),
}

impl Asked {
    /// Reads a whole body.
    ///
    /// # Errors
    /// What the client did wrong.
    pub fn read(body: &Bytes, dialect: Dialect, naming: Naming<'_>) -> Result<Self, BadBody> {
        if std::str::from_utf8(body).is_err() {
            return Err(BadBody::NotJson);
        }
        let mut reader = Reader::new(body);
        if reader.kind()? != Kind::Object {
            // Garbage behind a value is garbage first.
            reader.skip()?;
            reader.end()?;
            return Err(BadBody::NotObject);
        }
        reader.object()?;
        let mut asked = Self::nothing(body.clone(), reader.position());
        let mut model = None;
        while let Some(key) = reader.key()? {
            asked.refuse_twice(&key)?;
            refuse_disguised(&key.bytes())?;
            reader.kind()?;
            let start = reader.position();
            if key.is(b"model") {
                model = read_model(&mut reader)?;
            } else {
                asked.read_member(&key.bytes(), &mut reader, dialect)?;
            }
            let name = if key.is_escaped() { Name::Decoded(key.bytes().into()) } else { Name::At(key.span()) };
            asked.members.push(Member { name, value: start..reader.position() });
        }
        reader.end()?;
        asked.bulk = reader.bulk();
        (asked.model, asked.implied) = naming.choose(model)?;
        Ok(asked)
    }

    /// Bytes that it takes to take it apart and put it together anew, about: much more than its length where it is made of small
    /// parts.
    pub fn bulk(&self) -> u64 {
        self.bulk + self.bulk_of_length()
    }

    /// What of it the length takes alone, were it one part.
    pub fn bulk_of_length(&self) -> u64 {
        2 * self.body.len() as u64
    }

    fn nothing(body: Bytes, open: usize) -> Self {
        Self {
            body,
            open,
            members: Vec::with_capacity(16),
            model: Box::default(),
            implied: false,
            bulk: 0,
            usage_at: None,
            stream: false,
            stream_options: false,
            include_usage: false,
            max_output: None,
            n: 1,
            prompts: 1,
            tools: false,
            temperature: None,
            top_p: None,
            seed: false,
            store: None,
            background: false,
            stateful: false,
        }
    }

    /// The body that was read.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The name of the model; not empty.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// How many answers are asked for: prompts times choices; at least 1. Each may have [`Asked::max_output`] tokens.
    pub fn answers(&self) -> u64 {
        self.n.saturating_mul(self.prompts)
    }

    /// The value of a member, as it is written.
    pub fn member(&self, name: &str) -> Option<&[u8]> {
        let value = &self.members.get(self.find(name)?)?.value;
        self.body.get(value.clone())
    }

    /// What a member says that is a string, such as `user`.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        Reader::new(self.member(name)?).string().ok()?.str()
    }

    /// The members that are null, which says no more than if they were not there.
    pub fn nulls(&self) -> impl Iterator<Item = &str> {
        let nulls =
            self.members.iter().filter(|member| self.body.get(member.value.clone()) == Some(b"null".as_slice()));
        nulls.filter_map(|member| std::str::from_utf8(member.name.bytes(&self.body)).ok())
    }

    /// Where the value of a member lies in the body.
    pub fn member_at(&self, name: &str) -> Option<Range<usize>> {
        self.members.get(self.find(name)?).map(|member| member.value.clone())
    }

    /// Begins the body that goes on.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(self)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name.bytes(&self.body) == name.as_bytes())
    }

    fn refuse_twice(&self, key: &Text<'_>) -> Result<(), BadBody> {
        if self.members.len() >= MAX_MEMBERS {
            return Err(BadBody::TooManyMembers);
        }
        if self.members.iter().any(|member| key.is(member.name.bytes(&self.body))) {
            return Err(BadBody::Twice(KNOWN.into_iter().find(|known| key.is(known.as_bytes()))));
        }
        Ok(())
    }

    /// Reads the value of a member, whatever it is.
    fn read_member(&mut self, name: &[u8], reader: &mut Reader<'_>, dialect: Dialect) -> Result<(), BadBody> {
        match name {
            b"stream" => self.stream = flag(reader, "stream")?,
            b"max_tokens" if dialect != Dialect::Responses => self.at_most(count(reader, "max_tokens")?),
            b"max_completion_tokens" if dialect == Dialect::Chat => {
                self.at_most(count(reader, "max_completion_tokens")?);
            }
            b"max_output_tokens" if dialect == Dialect::Responses => self.at_most(count(reader, "max_output_tokens")?),
            b"n" => self.n = self.n.max(count(reader, "n")?.unwrap_or(1)),
            // Not all who serve chats refuse it there.
            b"best_of" if matches!(dialect, Dialect::Completions | Dialect::Chat) => {
                self.n = self.n.max(count(reader, "best_of")?.unwrap_or(1));
            }
            b"prompt" if dialect == Dialect::Completions => self.prompts = read_prompts(reader)?.max(1),
            b"stream_options" => self.read_stream_options(reader)?,
            b"tools" | b"functions" => {
                if reader.maybe_array()? {
                    while reader.element()? {
                        self.tools = true;
                        reader.skip()?;
                    }
                }
            }
            b"temperature" => self.temperature = number(reader)?,
            b"top_p" => self.top_p = number(reader)?,
            b"seed" => self.seed = is_there(reader)?,
            b"store" => self.store = reader.maybe_bool()?,
            b"background" => self.background = is_wanted(reader)?,
            b"previous_response_id" | b"conversation" | b"thread" | b"container" => self.stateful |= is_there(reader)?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn at_most(&mut self, tokens: Option<u64>) {
        // None at all is no bound either, where it is taken for one.
        let tokens = tokens.filter(|tokens| *tokens > 0);
        self.max_output = self.max_output.max(tokens);
    }

    fn read_stream_options(&mut self, reader: &mut Reader<'_>) -> Result<(), BadBody> {
        match reader.kind()? {
            Kind::Null => return Ok(reader.skip()?),
            Kind::Object => reader.object()?,
            _ => return Err(BadBody::Invalid("stream_options")),
        }
        self.stream_options = true;
        while let Some(key) = reader.key()? {
            if !key.is(b"include_usage") {
                reader.skip()?;
                continue;
            }
            reader.kind()?;
            let start = reader.position();
            self.include_usage = flag(reader, "stream_options")?;
            if self.usage_at.replace(start..reader.position()).is_some() {
                return Err(BadBody::Twice(Some("stream_options")));
            }
        }
        Ok(())
    }
}

impl Name {
    fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        match self {
            Self::At(range) => body.get(range.clone()).unwrap_or_default(),
            Self::Decoded(name) => name,
        }
    }
}

/// Names that a refusal may say.
const KNOWN: [&str; 23] = [
    "model",
    "messages",
    "input",
    "prompt",
    "system",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "tools",
    "functions",
    "temperature",
    "store",
    "background",
    "previous_response_id",
    "conversation",
    "thread",
    "container",
    "service_tier",
    "speed",
];

/// Providers that tell names by their letters alone would read one that nobody here has.
fn refuse_disguised(name: &[u8]) -> Result<(), BadBody> {
    if name.iter().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Ok(());
    }
    // The one letter beyond those of `to_lowercase` that is an ASCII letter in capitals.
    let plain = |letter: char| if letter == 'ſ' { 's' } else { letter };
    let plain: String = String::from_utf8_lossy(name).chars().flat_map(char::to_lowercase).map(plain).collect();
    KNOWN.into_iter().find(|known| **known == *plain).map_or(Ok(()), |known| Err(BadBody::Disguised(known)))
}

/// Whether it is there, and neither null nor false. Some providers take 1 and "true" for true.
fn is_wanted(reader: &mut Reader<'_>) -> Result<bool, BadBody> {
    match reader.kind()? {
        Kind::Bool => Ok(reader.maybe_bool()? == Some(true)),
        kind => Ok(reader.skip().map(|()| kind != Kind::Null)?),
    }
}

/// The name of a model; `None`: null, or empty.
fn read_model(reader: &mut Reader<'_>) -> Result<Option<Box<str>>, BadBody> {
    match reader.kind()? {
        Kind::Null => Ok(reader.skip().map(|()| None)?),
        Kind::String => model_name(reader.string()?.str().as_deref().unwrap_or("\0")),
        _ => Err(BadBody::Invalid("model")),
    }
}

/// A name that can be logged and put into a path.
fn model_name(name: &str) -> Result<Option<Box<str>>, BadBody> {
    if name.len() > MAX_MODEL || name.chars().any(char::is_control) {
        return Err(BadBody::Invalid("model"));
    }
    Ok((!name.trim().is_empty()).then(|| name.into()))
}

/// A boolean; null is no.
fn flag(reader: &mut Reader<'_>, name: &'static str) -> Result<bool, BadBody> {
    match reader.kind()? {
        Kind::Bool => Ok(reader.bool()?),
        Kind::Null => Ok(reader.skip().map(|()| false)?),
        _ => Err(BadBody::Invalid(name)),
    }
}

/// A whole number. Null is none, and so is one below 0, by which some servers mean no bound.
fn count(reader: &mut Reader<'_>, name: &'static str) -> Result<Option<u64>, BadBody> {
    match reader.kind()? {
        Kind::Number => match reader.number()? {
            [b'-', ..] => Ok(None),
            number => whole(number).map(Some).ok_or(BadBody::Invalid(name)),
        },
        Kind::Null => Ok(reader.skip().map(|()| None)?),
        _ => Err(BadBody::Invalid(name)),
    }
}

fn number(reader: &mut Reader<'_>) -> Result<Option<f64>, BadBody> {
    if reader.kind()? != Kind::Number {
        return Ok(reader.skip().map(|()| None)?);
    }
    Ok(std::str::from_utf8(reader.number()?).ok().and_then(|number| number.parse().ok()))
}

/// Whether the value is another one than null.
fn is_there(reader: &mut Reader<'_>) -> Result<bool, BadBody> {
    let kind = reader.kind()?;
    Ok(reader.skip().map(|()| kind != Kind::Null)?)
}

/// How many prompts there are: a string is one, and so is an array of token ids; an array of either has several.
fn read_prompts(reader: &mut Reader<'_>) -> Result<u64, BadBody> {
    let mut prompts = 0;
    let mut ids = false;
    if !reader.maybe_array()? {
        return Ok(1);
    }
    while reader.element()? {
        ids |= reader.kind()? == Kind::Number;
        reader.skip()?;
        prompts += 1;
    }
    Ok(if ids { 1 } else { prompts })
}
