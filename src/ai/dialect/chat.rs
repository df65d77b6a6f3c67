//! Chat: OpenAI's `chat/completions`, as clients ask and as providers answer.
//!
//! Thinking has no place in OpenAI's own fields. It is in three that others have made common:
//!
//! - `reasoning_content` of a message and of a delta: the text of thinking, to be shown.
//! - `thinking_blocks`, for Anthropic's: `{"type":"thinking","thinking":...,"signature":...}` and
//!   `{"type":"redacted_thinking","data":...}`. In a stream each delta of a block has its `index`, so that what
//!   accumulates deltas by index and joins strings (as OpenAI's own SDK does) ends up with whole blocks.
//! - `extra_content.google.thought_signature` of a call or a message, for Gemini's seals; Google's own door for Chat has it.
//!
//! A client that sends an assistant's message back as it came sends these along, and the next turn is valid. A client
//! that sends back `reasoning_content` alone has no seal: Messages and Gemini do not get it. OpenAI refuses all three, so they are
//! [taken out](foreign) of a body that goes there.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::ask::{Part, Seal};
use super::text::Text;

mod answer;
mod body;
mod calls;
mod foreign;
mod read;
mod stream;
mod strict;
mod usage;
mod write;

pub(super) use answer::{read as read_answer, write as write_answer};
pub(super) use body::Body;
pub(super) use foreign::{may_hold_foreign, without_foreign};
pub(super) use stream::{Reader, Writer};
pub(super) use write::write;

/// One of `thinking_blocks`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThinkingBlock<'a> {
    #[serde(rename = "type")]
    _kind: Option<IgnoredAny>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(rename = "index")]
    _index: Option<IgnoredAny>,
}

impl<'a> ThinkingBlock<'a> {
    fn into_part(self, seal: impl FnOnce(Text<'a>) -> Seal<'a>) -> Part<'a> {
        match (self.data, self.signature) {
            (Some(data), _) => Part::Redacted(data),
            (None, Some(signature)) if !signature.is_empty() => {
                Part::Thinking(self.thinking.unwrap_or_default(), seal(signature))
            }
            (None, _) => Part::Thinking(self.thinking.unwrap_or_default(), Seal::None),
        }
    }
}

/// What Google puts beside Chat's own fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtraContent<'a> {
    #[serde(borrow)]
    google: Option<Google<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Google<'a> {
    #[serde(borrow)]
    thought_signature: Option<Text<'a>>,
}

impl<'a> ExtraContent<'a> {
    fn signature(self) -> Option<Text<'a>> {
        self.google?.thought_signature
    }
}
