//! An answer as all dialects mean it: whole, or piece by piece.

use super::ask::{Part, Seal};
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
    /// More of the last call's arguments.
    Arguments(&'a str),
    /// The part before it is complete; providers of Messages alone say so.
    PartEnd,
    Usage(Usage),
    Stop(Stop),
    End,
}
