//! A request as all dialects mean it: the one model between those who ask and those who answer.
//!
//! What a reader puts here it has understood; what a writer finds here and cannot say, it refuses. Nothing is lost on
//! the way but what the readers' own lists name as without effect on the answer.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::text::Text;
use super::thinking::Thinking;
use super::translate::Untranslatable;

/// A request.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// System and developer turns, in their order.
    pub(super) system: Vec<Text<'a>>,
    /// All others. Two that follow each other are never of one role, and none is empty.
    pub(super) turns: Vec<Turn<'a>>,
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Option<Choice<'a>>,
    /// Whether several tools may be called at once.
    pub(super) parallel: Option<bool>,
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<u64>,
    /// `None` where it is zero, which is what it is anyway; so is the next.
    pub(super) presence_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) seed: Option<i64>,
    pub(super) stop: Vec<Text<'a>>,
    pub(super) thinking: Option<Thinking>,
    pub(super) format: Option<Format<'a>>,
    /// Who the client says it asks for.
    pub(super) user: Option<Text<'a>>,
    pub(super) tier: Option<Tier>,
    /// `None` where it is `medium`, the default.
    pub(super) verbosity: Option<Text<'a>>,
    pub(super) stream: bool,
    /// Whether a stream ends with a chunk of usage (Chat alone has the choice).
    pub(super) include_usage: bool,
}

/// What one side says, until the other speaks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    /// Results of tools come first, in the order of their calls.
    pub(super) parts: Vec<Part<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// A part of a turn or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part<'a> {
    /// Text, with Gemini's seal on it.
    Text(Text<'a>, Option<Text<'a>>),
    Media(Media<'a>),
    /// Thinking; the text may be empty where only its seal is shown.
    Thinking(Text<'a>, Seal<'a>),
    /// Thinking of Anthropic that nobody but Anthropic can read.
    Redacted(Text<'a>),
    Call(Call<'a>),
    Result(Outcome<'a>),
    /// What the model said in the place of an answer. In answers only.
    Refusal(Text<'a>),
}

/// Proof of who thought it, opaque to all others: without it, the next turn is refused by its maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seal<'a> {
    /// Nobody's.
    None,
    /// A `signature` of Anthropic.
    Anthropic(Text<'a>),
    /// A provider of Chat that takes its `reasoning_content` back, with the signature it gave, if any.
    Chat(Text<'a>),
    /// A `thoughtSignature` of Gemini that belongs to the call after it.
    Gemini(Text<'a>),
    /// A `thoughtSignature` of Gemini that belongs to the text before it.
    GeminiText(Text<'a>),
}

/// An image, a document or a sound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Media<'a> {
    /// The field it came in, for refusals.
    pub(super) at: String,
    pub(super) kind: Kind,
    pub(super) source: Source<'a>,
    /// A document's name.
    pub(super) title: Option<Text<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Document,
    Audio,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source<'a> {
    /// Base64, of a type such as `image/png`.
    Data { mime: Text<'a>, data: Text<'a> },
    /// An address that the provider fetches.
    Url(Text<'a>),
    /// A document of plain text.
    Plain(Text<'a>),
}

/// The model calls a tool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call<'a> {
    pub(super) id: Text<'a>,
    pub(super) name: Text<'a>,
    /// A JSON object, as text.
    pub(super) arguments: Text<'a>,
    /// Gemini's seal on it.
    pub(super) seal: Option<Text<'a>>,
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome<'a> {
    /// Of the call.
    pub(super) id: Text<'a>,
    /// The tool's name, found by its call.
    pub(super) name: Text<'a>,
    /// Text and media.
    pub(super) parts: Vec<Part<'a>>,
    pub(super) is_error: bool,
}

/// A tool that the client runs.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: Text<'a>,
    pub(super) description: Option<Text<'a>>,
    /// A JSON Schema of an object; `None`: no arguments.
    pub(super) schema: Option<&'a RawValue>,
    /// Whether calls are bound to it.
    pub(super) strict: bool,
}

/// Which tools the model may or must call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Choice<'a> {
    Auto,
    None,
    /// Any of them.
    Required,
    /// This one.
    Tool(Text<'a>),
    /// Some of them.
    Allowed {
        must: bool,
        names: Vec<Text<'a>>,
    },
}

/// What the answer's text has to be.
#[derive(Debug)]
pub(super) enum Format<'a> {
    Json,
    Schema { name: Option<Text<'a>>, description: Option<Text<'a>>, schema: &'a RawValue, strict: bool },
}

/// How the request is queued and priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// As the account has it.
    Auto,
    /// Never better than standard.
    Standard,
}

impl<'a> Ask<'a> {
    /// A request that asks nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            system: Vec::new(),
            turns: Vec::new(),
            tools: Vec::new(),
            choice: None,
            parallel: None,
            max_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            presence_penalty: None,
            frequency_penalty: None,
            seed: None,
            stop: Vec::new(),
            thinking: None,
            format: None,
            user: None,
            tier: None,
            verbosity: None,
            stream: false,
            include_usage: false,
        }
    }

    /// Adds to the last turn if it is of this role, and begins another if not.
    pub(super) fn say(&mut self, role: Role, parts: Vec<Part<'a>>) {
        if parts.is_empty() {
            return;
        }
        match self.turns.last_mut().filter(|turn| turn.role == role) {
            Some(turn) => turn.parts.extend(parts),
            None => self.turns.push(Turn { role, parts }),
        }
    }

    /// Puts every result of a tool into the turn after its call, before all else there and in the order of the calls.
    ///
    /// # Errors
    ///
    /// A call without a result that something follows, a result without a call, and two of one call: Messages and
    /// Gemini refuse such a conversation, and so does Chat.
    pub(super) fn pair_results(&mut self) -> Result<(), Untranslatable> {
        let mut calls: Vec<(Text<'a>, Text<'a>)> = Vec::new();
        for turn in &mut self.turns {
            let parts = std::mem::take(&mut turn.parts);
            if turn.role == Role::Assistant {
                calls.extend(parts.iter().filter_map(|part| match part {
                    Part::Call(call) => Some((call.id.clone(), call.name.clone())),
                    _ => None,
                }));
                turn.parts = parts;
                continue;
            }
            let (mut results, mut rest) = (HashMap::new(), Vec::new());
            for part in parts {
                match part {
                    Part::Result(result) => {
                        if let Some(twice) = results.insert(result.id.clone(), result) {
                            return Err(unpaired(format!("two results for the tool call `{}`", twice.id)));
                        }
                    }
                    other => rest.push(other),
                }
            }
            for (id, name) in calls.drain(..) {
                let result =
                    results.remove(&id).ok_or_else(|| unpaired(format!("no result follows the tool call `{id}`")))?;
                turn.parts.push(Part::Result(Outcome { name, ..result }));
            }
            if let Some(id) = results.into_keys().next() {
                return Err(unpaired(format!("no tool call before it has the id `{id}`")));
            }
            turn.parts.extend(rest);
        }
        Ok(())
    }

    /// The turns with the parts that can be said alone. Those of which nothing is left are left out, and those around
    /// them are one.
    pub(super) fn turns_of(&self, can_be_said: impl Fn(&Part<'_>) -> bool) -> Vec<(Role, Vec<&Part<'a>>)> {
        let mut turns: Vec<(Role, Vec<&Part<'a>>)> = Vec::with_capacity(self.turns.len());
        for Turn { role, parts } in &self.turns {
            let parts: Vec<_> = parts.iter().filter(|part| can_be_said(part)).collect();
            match turns.last_mut() {
                _ if parts.is_empty() => {}
                Some((last, before)) if last == role => before.extend(parts),
                _ => turns.push((*role, parts)),
            }
        }
        turns
    }

    /// All of the system prompt in one, turn by turn.
    pub(super) fn system_text(&self) -> Option<Cow<'_, str>> {
        match self.system.as_slice() {
            [] => None,
            [one] => Some(Cow::Borrowed(one)),
            many => Some(Cow::Owned(many.iter().map(|text| &**text).collect::<Vec<_>>().join("\n\n"))),
        }
    }
}

/// From which message on system turns are a user's, by the roles of all: those at the end that follow an assistant's turn. Said
/// beside the conversation, as all others, they would leave that turn the last, and it would be gone on with or refused.
pub(super) fn users_from<'r>(roles: impl DoubleEndedIterator<Item = &'r str> + ExactSizeIterator) -> usize {
    let count = roles.len();
    let mut before = roles.rev().skip_while(|role| is_system(role)).peekable();
    match before.peek() {
        Some(&"assistant") => before.count(),
        _ => count,
    }
}

fn is_system(role: &str) -> bool {
    matches!(role, "system" | "developer")
}

impl Outcome<'_> {
    /// Its texts, line by line.
    pub(super) fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text, _) => Some(&**text),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

fn unpaired(message: String) -> Untranslatable {
    Untranslatable::at("messages", message)
}
