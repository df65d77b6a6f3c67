//! Where in a conversation a value stands, and so what a string there is: a text, an image, a file, a seal.
//!
//! The names of members mean something only where a dialect has them. What a client names itself, such as the arguments of a
//! call and the members of a schema, is text, and all that is in it.

use crate::ai::dialect::Dialect;

/// Where a value stands. What is in a list stands where the list does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Anywhere: a text, with all that is in it.
    Text,
    /// The stored prompt of Responses.
    Prompt,
    /// What is put into it, under names of the client's.
    Variables,
    /// What is ranked.
    Ranked,
    /// A message, or another item of a conversation.
    Turn,
    /// A call of a tool, with what its provider needs of it.
    Call,
    /// Google's own in Chat.
    Extra,
    /// A part of what a message says.
    Part,
    /// Where a part has its bytes from.
    Source,
    /// The bytes, or what a `type` beside them says that they are.
    Data,
    /// An image or its address; or an object that has it.
    Image,
    /// What has a file.
    File,
    /// A file or its address; or an object that has it.
    Document,
    /// What has a sound.
    Audio,
    /// A sound.
    Sound,
    /// For its maker only.
    Sealed,
}

impl Place {
    /// Of an outermost member of a body of `dialect`.
    pub(super) fn outermost(name: &[u8], dialect: Dialect) -> Self {
        match (name, dialect) {
            (
                b"messages" | b"input" | b"inputs" | b"instructions" | b"system" | b"contents" | b"systemInstruction",
                _,
            ) => Self::Turn,
            (b"prompt", Dialect::Responses) => Self::Prompt,
            (b"query" | b"documents", Dialect::Other) => Self::Ranked,
            _ => Self::Text,
        }
    }

    /// Of a member of the object that stands here.
    pub(super) fn of_member(self, name: &[u8]) -> Self {
        match (self, name) {
            (Self::Prompt, b"variables") => Self::Variables,
            (Self::Variables, _) => Self::Part,
            (Self::Turn, b"parts" | b"output" | b"thinking_blocks" | b"reasoning_details" | b"images")
            | (Self::Turn | Self::Ranked | Self::Part | Self::Source, b"content") => Self::Part,
            (Self::Turn, b"tool_calls") => Self::Call,
            (Self::Turn | Self::Part | Self::Call, b"extra_content") | (Self::Extra, b"google") => Self::Extra,
            (Self::Part, b"source" | b"inline_data" | b"inlineData") => Self::Source,
            (Self::Part, b"input_audio") => Self::Audio,
            (Self::Part, b"file") => Self::File,
            (Self::Source, b"data") => Self::Data,
            (Self::Audio, b"data") => Self::Sound,
            // An item of Responses, and of what is judged, may be one itself.
            (Self::Turn | Self::Part, b"image_url")
            | (Self::Turn, b"result")
            | (Self::Image | Self::Source, b"url")
            | (Self::Document, b"fileUri" | b"file_uri") => Self::Image,
            (Self::Part | Self::File, b"file_data" | b"file_url" | b"file_id")
            | (Self::Part, b"fileData")
            | (Self::Source, b"file_id") => Self::Document,
            (Self::Part, b"signature" | b"thoughtSignature" | b"thought_signature" | b"data")
            | (Self::Turn | Self::Part, b"encrypted_content")
            | (Self::Extra, b"thought_signature") => Self::Sealed,
            _ => Self::Text,
        }
    }
}
