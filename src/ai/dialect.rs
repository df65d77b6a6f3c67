//! Dialects: the shapes in which clients ask for models and providers answer.

mod ask;
mod chat;
mod claude;
pub mod error;
mod gemini;
mod gpt;
mod json;
mod media;
mod members;
mod messages;
mod names;
mod reply;
mod text;
mod thinking;
pub mod translate;

pub(super) use json::compact;
pub(super) use members::Members;

/// The shape of a request and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's `chat/completions`.
    Chat,
    /// OpenAI's `completions`.
    Completions,
    /// OpenAI's `responses`.
    Responses,
    /// Anthropic's `messages`.
    Messages,
    /// Gemini's `generateContent`. Spoken to providers only.
    Gemini,
    /// OpenAI's other doors: embeddings, rerank, images, audio. They are passed through.
    Other,
}
