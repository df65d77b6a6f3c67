//! Messages: Anthropic's `messages`, as clients ask and as providers answer.
//!
//! What keeps thinking valid over turns are the signatures of `thinking` blocks, and a client sends those back
//! unchanged. So a seal of another provider goes into one too, with a word before it that no signature of Anthropic's
//! (they are Base64) begins with:
//!
//! | `signature` | whose |
//! |---|---|
//! | empty | nobody's |
//! | `chat.` | a provider of Chat that gave `reasoning_content`, with its own signature after the dot, if it has one |
//! | `gemini.` | Gemini's, for the `tool_use` after it |
//! | `gemini-text.` | Gemini's, for the text before it |
//! | anything else | Anthropic's |
//!
//! Each provider gets its own seals back and no other's: those are also [taken out](foreign) of a body that goes to Anthropic as it
//! came.

use super::ask::Seal;
use super::text::Text;

mod answer;
mod body;
mod foreign;
mod read;
mod schema;
mod stream;
mod usage;
mod write;

pub(super) use answer::{read as read_answer, write as write_answer};
pub(super) use body::Body;
pub(super) use foreign::{may_hold_foreign, without_foreign};
pub(super) use stream::{Reader, Writer};
pub(super) use write::write;

/// What a `signature` that a client sends stands for.
fn seal(signature: Text<'_>) -> Seal<'_> {
    let after = |word: &str| signature.strip_prefix(word).map(|rest| Text::from(rest.to_owned()));
    if signature.is_empty() {
        Seal::None
    } else if let Some(rest) = after("chat.") {
        Seal::Chat(rest)
    } else if let Some(rest) = after("gemini.") {
        Seal::Gemini(rest)
    } else if let Some(rest) = after("gemini-text.") {
        Seal::GeminiText(rest)
    } else {
        Seal::Anthropic(signature)
    }
}

/// The `signature` for a seal, as it is joined.
fn signature<'s>(seal: &'s Seal<'_>) -> [&'s str; 2] {
    match seal {
        Seal::None => ["", ""],
        Seal::Anthropic(text) => ["", text],
        Seal::Chat(text) => ["chat.", text],
        Seal::Gemini(text) => ["gemini.", text],
        Seal::GeminiText(text) => ["gemini-text.", text],
    }
}
