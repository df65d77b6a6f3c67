//! Paths to doors: which provider's manner, which service, and the model where the path names it.

use http::Method;

/// Below this prefix Flow is asked, and in Flow's way of proving who asks.
const FLOW: &str = "/flow-llm-proxy";

/// Whose errors and headers a door has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    OpenAi,
    Azure,
    Anthropic,
    Gemini,
}

/// How a door is told who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// `x-api-key`, and `anthropic-version`.
    Anthropic,
    /// `api-key`.
    Azure,
    /// `x-goog-api-key`, or `?key=`.
    Google,
    /// A token that the client makes of its credentials.
    Flow,
}

/// What a door does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Chat,
    Completions,
    Responses,
    Messages,
    CountTokens,
    Generate { stream: bool },
    GeminiCount,
    GeminiEmbed { batch: bool },
    Embeddings,
    Rerank,
    ImageGenerations,
    ImageEdits,
    Speech,
    Transcriptions,
    Translations,
    Models,
    Model,
}

/// One door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mock) struct Door {
    pub(super) shape: Shape,
    pub(super) scheme: Scheme,
    pub(super) service: Service,
    /// The model or the deployment in the path.
    pub(super) named: Option<String>,
}

impl Door {
    /// The door at a path, or `None` where there is none.
    pub(in crate::mock) fn at(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix(FLOW) {
            return Self::at(rest).map(|door| Self { scheme: Scheme::Flow, ..door });
        }
        if let Some(rest) = path.strip_prefix("/openai/deployments/") {
            return Self::azure(rest);
        }
        if path == "/openai/responses" {
            let (shape, scheme) = (Shape::Azure, Scheme::Azure);
            return Some(Self { shape, scheme, service: Service::Responses, named: None });
        }
        if let Some(rest) = path.strip_prefix("/openai/v1/") {
            return Some(Self { shape: Shape::Azure, scheme: Scheme::Azure, ..Self::openai(rest)? });
        }
        if let Some(rest) = path.strip_prefix("/v1beta/openai/") {
            return Self::openai(rest);
        }
        if let Some(rest) = path.strip_prefix("/v1beta/models").or_else(|| path.strip_prefix("/v1alpha/models")) {
            return Self::gemini(rest);
        }
        // Gemini's stable version shares its prefix with OpenAI's models.
        if let Some(rest) = path.strip_prefix("/v1/models").filter(|rest| rest.contains(':'))
            && let Some(door) = Self::gemini(rest).filter(|door| door.service != Service::Model)
        {
            return Some(door);
        }
        match path {
            "/rerank" | "/v2/rerank" => return Self::openai("rerank"),
            _ => {}
        }
        let path = path.strip_prefix("/api").filter(|rest| rest.starts_with("/v1/")).unwrap_or(path);
        Self::openai(path.strip_prefix("/v1/")?)
    }

    fn openai(rest: &str) -> Option<Self> {
        let (service, named) = match rest {
            "models" => (Service::Models, None),
            "messages" => (Service::Messages, None),
            "messages/count_tokens" => (Service::CountTokens, None),
            _ => match rest.strip_prefix("models/") {
                Some(model) => (Service::Model, Some(model.to_owned())),
                None => (service(rest)?, None),
            },
        };
        let anthropic = matches!(service, Service::Messages | Service::CountTokens);
        let (shape, scheme) =
            if anthropic { (Shape::Anthropic, Scheme::Anthropic) } else { (Shape::OpenAi, Scheme::Bearer) };
        Some(Self { shape, scheme, service, named })
    }

    /// `DEPLOYMENT/chat/completions`.
    fn azure(rest: &str) -> Option<Self> {
        let (deployment, rest) = rest.split_once('/')?;
        let service = service(rest)?;
        Some(Self { shape: Shape::Azure, scheme: Scheme::Azure, service, named: Some(deployment.to_owned()) })
    }

    /// `/MODEL:generateContent`, or nothing for the list.
    fn gemini(rest: &str) -> Option<Self> {
        let gemini = |service, named| Some(Self { shape: Shape::Gemini, scheme: Scheme::Google, service, named });
        if rest.is_empty() {
            return gemini(Service::Models, None);
        }
        let rest = rest.strip_prefix('/')?;
        let Some((model, method)) = rest.split_once(':') else {
            return gemini(Service::Model, Some(rest.to_owned()));
        };
        let service = match method {
            "generateContent" => Service::Generate { stream: false },
            "streamGenerateContent" => Service::Generate { stream: true },
            "countTokens" => Service::GeminiCount,
            "embedContent" => Service::GeminiEmbed { batch: false },
            "batchEmbedContents" => Service::GeminiEmbed { batch: true },
            _ => return None,
        };
        gemini(service, Some(model.to_owned()))
    }
}

/// The services that OpenAI and Azure share.
fn service(rest: &str) -> Option<Service> {
    Some(match rest {
        "chat/completions" => Service::Chat,
        "completions" => Service::Completions,
        "responses" => Service::Responses,
        "embeddings" => Service::Embeddings,
        "rerank" => Service::Rerank,
        "images/generations" => Service::ImageGenerations,
        "images/edits" | "images/variations" => Service::ImageEdits,
        "audio/speech" => Service::Speech,
        "audio/transcriptions" => Service::Transcriptions,
        "audio/translations" => Service::Translations,
        _ => return None,
    })
}

impl Service {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Models | Self::Model => Method::GET,
            _ => Method::POST,
        }
    }

    pub(super) fn takes_json(self) -> bool {
        !matches!(self, Self::Models | Self::Model | Self::ImageEdits | Self::Transcriptions | Self::Translations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(path: &str) -> Option<(Shape, Scheme, Service, Option<String>)> {
        Door::at(path).map(|door| (door.shape, door.scheme, door.service, door.named))
    }

    #[test]
    fn paths_lead_to_their_providers() {
        let chat = (Shape::OpenAi, Scheme::Bearer, Service::Chat, None);
        assert_eq!(known("/v1/chat/completions"), Some(chat.clone()));
        assert_eq!(known("/api/v1/chat/completions"), Some(chat.clone()));
        assert_eq!(known("/flow-llm-proxy/v1/chat/completions"), Some((chat.0, Scheme::Flow, chat.2, None)));
        let deployment = Some("gpt-35-turbo".to_owned());
        let azure = (Shape::Azure, Scheme::Azure, Service::Chat, deployment);
        assert_eq!(known("/openai/deployments/gpt-35-turbo/chat/completions"), Some(azure));
        let responses = (Shape::Azure, Scheme::Azure, Service::Responses, None);
        assert_eq!(known("/openai/responses"), Some(responses.clone()));
        assert_eq!(known("/openai/v1/responses"), Some(responses));
        let gemini = (Shape::Gemini, Scheme::Google, Service::Generate { stream: true }, Some("g".to_owned()));
        assert_eq!(known("/v1beta/models/g:streamGenerateContent"), Some(gemini));
        assert_eq!(known("/v1/messages"), Some((Shape::Anthropic, Scheme::Anthropic, Service::Messages, None)));
        assert_eq!(known("/v1/models/g:streamGenerateContent"), known("/v1beta/models/g:streamGenerateContent"));
        assert_eq!(known("/v1/models/qwen2:7b").map(|door| door.2), Some(Service::Model));
        for other in ["/v1/chat", "/", "/v1/chat/completions/x", "/openai/deployments/x", "/v1beta/models/g:tune"] {
            assert_eq!(known(other), None, "{other}");
        }
    }
}
