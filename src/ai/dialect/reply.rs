//! An answer as all dialects mean it: whole, or piece by piece.

use super::ask::{Call, Part, Seal};
use super::text::Text;
use crate::ai::usage::Usage;

/// A whole answer.
#[derive(Debug, PartialEq)]
pub(super) struct Reply<'a> {
    /// The provider's; empty where it gives none.
    pub(super) id: Text<'a>,
    /// The provider's name for it; empty where it gives none.
    pub(super) model: Text<'a>,
    pub(super) parts: Vec<Part<'a>>,
    pub(super) stop: Stop,
    pub(super) usage: Usage,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Stop {
    /// It was done. `pause_turn` is among these: only tools that Anthropic runs itself bring it about, and none is asked for.
    #[default]
    End,
    /// It came upon a sequence of the client's; which one, Messages alone tells.
    Sequence(String),
    /// It ran out of tokens or of room.
    Length,
    /// It called tools.
    Tools,
    /// It, or who watches it, would not go on.
    Filter,
}

impl Stop {
    /// What is done with calls among it stopped for them, whatever the provider says.
    pub(super) fn with_calls(self, calls: bool) -> Self {
        if calls && self == Self::End { Self::Tools } else { self }
    }

    /// Whether the answer was cut off where it was.
    pub(super) const fn cuts(&self) -> bool {
        matches!(self, Self::Length | Self::Filter)
    }
}

/// A piece of a stream. A stream is `Start`, then pieces of content, then `Stop`, then `End`; `Usage` may come at any
/// time, and the last is right.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece<'a> {
    Start {
        id: &'a str,
        model: &'a str,
    },
    Text(&'a str),
    Thinking(&'a str),
    /// Ends the thinking before it, or stands for itself.
    Seal(Seal<'a>),
    Redacted(&'a str),
    Refusal(&'a str),
    Call {
        id: &'a str,
        name: &'a str,
        seal: Option<&'a str>,
    },
    /// More of a call's arguments: of the first, the second.
    Arguments {
        call: usize,
        json: &'a str,
    },
    /// A block of thinking is complete; providers of Messages alone say so.
    ThinkingEnd,
    /// The call before it is complete; Gemini alone says so.
    CallEnd,
    Usage(Usage),
    Stop(Stop),
    End,
}

/// A whole answer, put together from pieces.
#[derive(Debug, Default)]
pub(super) struct Collected {
    id: String,
    model: String,
    parts: Vec<Part<'static>>,
    stop: Stop,
    usage: Usage,
}

impl Collected {
    pub(super) fn put(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Start { id, model } => {
                (*id).clone_into(&mut self.id);
                (*model).clone_into(&mut self.model);
            }
            Piece::Text(text) => match self.parts.last_mut() {
                Some(Part::Text(last, None)) => last.0.to_mut().push_str(text),
                _ => self.parts.push(Part::Text(owned(text), None)),
            },
            Piece::Thinking(text) => match self.parts.last_mut() {
                Some(Part::Thinking(last, Seal::None)) => last.0.to_mut().push_str(text),
                _ => self.parts.push(Part::Thinking(owned(text), Seal::None)),
            },
            Piece::Seal(Seal::GeminiText(seal)) => match self.parts.last_mut() {
                Some(Part::Text(_, sealed @ None)) => *sealed = Some(owned(seal)),
                Some(Part::Thinking(_, sealed @ Seal::None)) => *sealed = Seal::GeminiText(owned(seal)),
                _ => self.parts.push(Part::Text(Text::default(), Some(owned(seal)))),
            },
            Piece::Call { id, name, seal } => self.parts.push(Part::Call(Call {
                id: owned(id),
                name: owned(name),
                arguments: Text::default(),
                seal: seal.map(owned),
            })),
            Piece::Arguments { json, .. } => {
                if let Some(Part::Call(call)) = self.parts.last_mut() {
                    call.arguments.0.to_mut().push_str(json);
                }
            }
            Piece::Usage(usage) => self.usage = usage.clone(),
            Piece::Stop(stop) => stop.clone_into(&mut self.stop),
            // Gemini, which alone is read so, gives no others.
            Piece::Seal(_)
            | Piece::Redacted(_)
            | Piece::Refusal(_)
            | Piece::ThinkingEnd
            | Piece::CallEnd
            | Piece::End => {}
        }
    }

    pub(super) fn into_reply(self) -> Reply<'static> {
        let Self { id, model, parts, stop, usage } = self;
        Reply { id: id.into(), model: model.into(), parts, stop, usage }
    }
}

fn owned(text: &str) -> Text<'static> {
    Text::from(text.to_owned())
}
