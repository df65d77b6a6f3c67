//! Doors: what stands below the prefix of an `ai` route -> what is asked.
//!
//! The same doors serve the official SDKs of OpenAI (whose base address ends in `/v1`) and Anthropic (whose does not: a
//! `v1/` of theirs behind the route's prefix is passed over).

use http::Method;

use super::dialect::Dialect;
use crate::config::ai::DOORS;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `chat/completions`.
    Chat,
    /// `completions`.
    Completions,
    /// `embeddings`.
    Embeddings,
    /// `rerank`.
    Rerank,
    /// `moderations`.
    Moderations,
    /// `responses`.
    Responses,
    /// `messages`.
    Messages,
    /// `messages/count_tokens`.
    CountTokens,
    /// `images/generations`.
    ImageGeneration,
    /// `images/edits`.
    ImageEdit,
    /// `images/variations`.
    ImageVariation,
    /// `audio/speech`.
    Speech,
    /// `audio/transcriptions`.
    Transcription,
    /// `audio/translations`.
    Translation,
    /// `models`, or one of them.
    Models,
}

/// What is asked at each of [`DOORS`].
const OPERATIONS: [Operation; DOORS.len()] = [
    Operation::Chat,
    Operation::Completions,
    Operation::Embeddings,
    Operation::Rerank,
    Operation::Moderations,
    Operation::Responses,
    Operation::Messages,
    Operation::CountTokens,
    Operation::ImageGeneration,
    Operation::ImageEdit,
    Operation::ImageVariation,
    Operation::Speech,
    Operation::Transcription,
    Operation::Translation,
];

/// Every operation, with the path of its door.
fn doors() -> impl Iterator<Item = (Operation, &'static str)> {
    OPERATIONS.into_iter().zip(DOORS)
}

/// What Azure's clients put before the doors whose requests name a model, and behind it the model.
const DEPLOYMENTS: &str = "deployments/";

/// A door that a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// The name of a model as the path has it, at `models/NAME` and `deployments/NAME/...`.
    pub model: Option<&'a str>,
}

impl<'a> Door<'a> {
    /// The door at `path`, the part of the request's path behind the route's prefix.
    pub fn at(path: &'a str) -> Option<Self> {
        let path = path.trim_start_matches('/');
        let path = path.strip_prefix("v1/").unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        if path == "models" {
            return Some(Self { operation: Operation::Models, model: None });
        }
        if let Some(model) = path.strip_prefix("models/").filter(|model| !is_of_gemini(model)) {
            return Some(Self { operation: Operation::Models, model: Some(model) });
        }
        if let Some(rest) = path.strip_prefix("openai/").unwrap_or(path).strip_prefix(DEPLOYMENTS) {
            return Self::of_deployment(rest);
        }
        doors().find(|(_, door)| *door == path).map(|(operation, _)| Self { operation, model: None })
    }

    /// The door in `NAME/DOOR`. A name may hold slashes, so that the longest door counts.
    fn of_deployment(path: &'a str) -> Option<Self> {
        let named = |(operation, door): (Operation, &str)| {
            let model = path.strip_suffix(door)?.strip_suffix('/').filter(|model| !model.is_empty())?;
            Some(Self { operation, model: Some(model) })
        };
        doors().filter_map(named).min_by_key(|door| door.model.map(str::len))
    }
}

/// Whether `NAME:METHOD` is how Gemini's clients ask a model, which no door is for.
fn is_of_gemini(model: &str) -> bool {
    const METHODS: [&str; 5] =
        ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"];
    model.rsplit_once(':').is_some_and(|(_, method)| METHODS.contains(&method))
}

/// What a client is told that came to no door of an `ai` route: which there are below its `prefix`.
pub fn no_door(prefix: &str) -> String {
    let mut text = "nothing is served at this address: this gateway serves ".to_owned();
    for door in DOORS {
        text.extend([door, ", "]);
    }
    let slash = if prefix.ends_with('/') { "" } else { "/" };
    // An SDK's base address either has the version or not.
    let versioned = if prefix.ends_with("/v1/") || prefix.ends_with("/v1") {
        String::new()
    } else {
        format!(" or {prefix}{slash}v1/")
    };
    text.extend(["models and models/NAME below ", prefix, slash, &versioned]);
    text
}

impl Operation {
    /// The path of its door, without a `/` at either end.
    pub fn path(self) -> &'static str {
        doors().find(|(operation, _)| *operation == self).map_or("models", |(_, path)| path)
    }

    /// The word of it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Moderations => "moderations",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::ImageGeneration => "image_generation",
            Self::ImageEdit => "image_edit",
            Self::ImageVariation => "image_variation",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Translation => "translation",
            Self::Models => "models",
        }
    }

    /// The model that is asked where the request names none, where OpenAI has one that does not depend on the rest of it.
    pub const fn usual_model(self) -> Option<&'static str> {
        if matches!(self, Self::Moderations) { Some("omni-moderation-latest") } else { None }
    }

    /// Whether it uses tokens that are paid for.
    pub const fn charges(self) -> bool {
        !matches!(self, Self::CountTokens | Self::Models)
    }

    /// The service that permissions name (row F03); `None`: whoever comes in may.
    pub const fn service(self) -> Option<&'static str> {
        Some(match self {
            Self::Chat | Self::Completions | Self::Responses | Self::Messages | Self::CountTokens => "chat",
            Self::Embeddings => "embedding",
            Self::Rerank => "rerank",
            Self::Speech => "tts",
            Self::Transcription | Self::Translation => "stt",
            Self::ImageGeneration => "imgGen",
            Self::ImageEdit | Self::ImageVariation => "imgEdit",
            Self::Moderations => "moderation",
            Self::Models => return None,
        })
    }

    /// The method it takes.
    pub fn method(self) -> Method {
        if self == Self::Models { Method::GET } else { Method::POST }
    }

    /// The shape of its requests and answers.
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Chat => Dialect::Chat,
            Self::Completions => Dialect::Completions,
            Self::Responses => Dialect::Responses,
            Self::Messages => Dialect::Messages,
            _ => Dialect::Other,
        }
    }

    /// The dialect of its errors: Anthropic's, or OpenAI's.
    pub const fn error_dialect(self) -> Dialect {
        match self {
            Self::Messages | Self::CountTokens => Dialect::Messages,
            Self::Responses => Dialect::Responses,
            _ => Dialect::Chat,
        }
    }

    /// Whether its request is a form with files and not JSON.
    pub const fn takes_form(self) -> bool {
        matches!(self, Self::ImageEdit | Self::ImageVariation | Self::Transcription | Self::Translation)
    }

    /// Whether a model writes an answer, whose tokens count beside those of the request.
    pub const fn generates(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Responses | Self::Messages)
    }

    /// Whether its streams tell of usage only when they are asked to (`stream_options.include_usage`).
    pub const fn asks_for_usage(self) -> bool {
        matches!(self, Self::Chat | Self::Completions)
    }

    /// Whether its answer may be a stream of events.
    pub const fn may_stream(self) -> bool {
        matches!(
            self,
            Self::Chat
                | Self::Completions
                | Self::Responses
                | Self::Messages
                | Self::Speech
                | Self::Transcription
                | Self::ImageGeneration
                | Self::ImageEdit
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(path: &str) -> Option<Operation> {
        Door::at(path).map(|door| door.operation)
    }

    #[test]
    fn every_door_is_found_by_its_path() {
        for (wanted, path) in doors() {
            assert_eq!(operation(path), Some(wanted));
            assert_eq!(wanted.path(), path);
            assert_eq!(operation(&format!("v1/{path}")), Some(wanted), "below a base address without /v1");
            assert_eq!(operation(&format!("{path}/")), Some(wanted));
        }
    }

    #[test]
    fn a_models_name_may_hold_slashes() {
        assert_eq!(Door::at("models/meta/llama-3").and_then(|door| door.model), Some("meta/llama-3"));
        assert_eq!(Door::at("models/gemini-2.5-flash:generateContent"), None);
        assert!(Door::at("models/llama3:8b").is_some());
        assert_eq!(Door::at("models"), Some(Door { operation: Operation::Models, model: None }));
    }

    #[test]
    fn clients_of_azure_name_the_model_in_the_path() {
        let at = |path| Door::at(path).map(|door| (door.operation, door.model.unwrap_or_default()));
        assert_eq!(at("openai/deployments/gpt-4o/chat/completions"), Some((Operation::Chat, "gpt-4o")));
        assert_eq!(at("deployments/meta/llama-3/completions"), Some((Operation::Completions, "meta/llama-3")));
        assert_eq!(at("deployments/chat/completions"), Some((Operation::Completions, "chat")));
        for path in ["deployments/gpt-4o", "deployments//embeddings", "deployments/embeddings", "openai/embeddings"] {
            assert_eq!(at(path), None, "{path}");
        }
    }

    #[test]
    fn the_configuration_knows_the_services_of_all_doors() {
        for (operation, path) in doors() {
            let service = operation.service().unwrap();
            assert!(crate::config::auth::SERVICES.contains(&service), "{path}: {service}");
        }
    }

    #[test]
    fn what_is_no_door_is_none() {
        for path in ["", "chat", "chat/completions/x", "v1/v1/models", "files", "MESSAGES"] {
            assert_eq!(Door::at(path), None, "{path}");
        }
    }
}
