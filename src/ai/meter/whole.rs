//! Answers that come as one body.

use http::StatusCode;

use super::{Meter, chat, gemini, is_something, messages, responses, usage};
use crate::ai::dialect::Dialect;
use crate::ai::dialect::error::{self, Class, ProviderError};
use crate::ai::door::Operation;
use crate::ai::estimate::Made;
use crate::ai::json::{Fault, Kind, Reader};
use crate::ai::usage::Usage;

/// What a whole answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// What the provider counted.
    pub usage: Option<Usage>,
    /// The model that it says it is.
    pub model: Option<Box<str>>,
    /// Why the answer ended, in the provider's word.
    pub finish: Option<Box<str>>,
    /// It is an error, for all that its status says (row F08).
    pub error: Option<ProviderError>,
    /// It has what every answer of the door has.
    pub answers: bool,
    /// What the answer has, as [`Meter::made`] says it.
    pub made: Made,
}

/// Reads an answer with a status of success: of chats and completions, and of embeddings, rerankers, images and sound. `None`:
/// it is no JSON, or not to its end.
pub fn whole(dialect: Dialect, operation: Operation, body: &[u8]) -> Option<Whole> {
    // What is read is checked as it is read; UTF-8 is not.
    std::str::from_utf8(body).ok()?;
    let mut meter = Meter::new(dialect);
    let mut reader = Reader::lenient(body);
    let (failed, answers) = read(&mut meter, operation, &mut reader).ok()?;
    reader.end().ok()?;
    let error = (failed || !answers).then(|| error::read(dialect, StatusCode::OK, body));
    Some(Whole {
        usage: meter.usage(),
        made: meter.made(),
        model: meter.model,
        finish: meter.finish,
        // What does not say that it is an error is one where its words are known.
        error: error.filter(|error| failed || error.class != Class::Unknown),
        answers,
    })
}

/// Takes everything in; whether it is an error, and whether it is an answer.
fn read(meter: &mut Meter, operation: Operation, reader: &mut Reader<'_>) -> Result<(bool, bool), Fault> {
    let mut failed = false;
    let mut answers = has_any_shape(meter.dialect, operation);
    if !reader.maybe_object()? {
        // Some rankers, and some servers of embeddings, give a list.
        return Ok((false, !operation.generates() && operation != Operation::CountTokens));
    }
    while let Some(key) = reader.key()? {
        answers |= is_of_answer(meter.dialect, operation, key.raw(), reader.kind()?);
        match (key.raw(), meter.dialect) {
            (b"error", _) => failed |= is_something(reader)?,
            (b"success", _) => failed |= reader.maybe_bool()? == Some(false),
            (b"model" | b"modelVersion", _) => meter.named(reader)?,
            (b"service_tier", _) => meter.tiered(reader)?,
            (b"usage", Dialect::Messages) => messages::take_usage(meter, reader)?,
            (b"usage", _) => drop(meter.counted(usage::openai(reader)?)),
            (b"usageMetadata", _) => drop(meter.counted(usage::gemini(reader)?)),
            (b"meta", Dialect::Other) => drop(meter.counted(usage::cohere(reader)?)),
            (b"choices", Dialect::Chat | Dialect::Completions) => {
                if reader.maybe_array()? {
                    while reader.element()? {
                        chat::choice(meter, reader, chat::Of::Whole)?;
                    }
                }
            }
            (b"content", Dialect::Messages) => {
                if reader.maybe_array()? {
                    while reader.element()? {
                        messages::block(meter, reader)?;
                    }
                }
            }
            (b"stop_reason", Dialect::Messages) => {
                if let Some(reason) = reader.maybe_string()? {
                    meter.ended(0, &reason);
                }
            }
            (b"output", Dialect::Responses) => responses::output(meter, reader)?,
            // A transcript.
            (b"text", Dialect::Other) => drop(meter.said(reader)?),
            (b"status", Dialect::Responses) => answers |= responses::status(meter, reader)?,
            (b"incomplete_details", Dialect::Responses) => responses::incomplete(meter, reader)?,
            (b"candidates", Dialect::Gemini) => drop(gemini::candidates(meter, reader, &mut false)?),
            (b"promptFeedback", Dialect::Gemini) => drop(gemini::blocked(meter, reader)?),
            _ => reader.skip()?,
        }
    }
    Ok((failed, answers))
}

/// Whether an answer of this door may have any members. Gemini's are translated, and judged by that.
fn has_any_shape(dialect: Dialect, operation: Operation) -> bool {
    use Operation::{CountTokens, Embeddings, Rerank};
    match dialect {
        Dialect::Gemini => true,
        Dialect::Other => !matches!(operation, CountTokens | Embeddings | Rerank),
        _ => false,
    }
}

/// Whether a member is one by which an answer is known. No more is asked for: the rest is the provider's matter.
fn is_of_answer(dialect: Dialect, operation: Operation, name: &[u8], kind: Kind) -> bool {
    match (dialect, name) {
        (Dialect::Chat | Dialect::Completions, b"choices") | (Dialect::Messages, b"content") => kind == Kind::Array,
        (Dialect::Responses, b"output") => kind == Kind::Array,
        (Dialect::Other, b"data") => {
            kind == Kind::Array && matches!(operation, Operation::Embeddings | Operation::Rerank)
        }
        (Dialect::Other, b"results") => kind == Kind::Array && operation == Operation::Rerank,
        (Dialect::Other, b"input_tokens") => kind == Kind::Number && operation == Operation::CountTokens,
        _ => false,
    }
}
