//! The way a request goes to a provider: in which dialect, and to which path.
//!
//! Where client and provider speak the same dialect, the body passes as it came. Where they do not, and the dialects
//! have a translation, it is translated. Otherwise the provider cannot serve the request.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::dialect::Dialect;
use super::door::Operation;
use crate::config::ai::{Provider, ProviderKind, Speech};

/// What stands unescaped in a segment of a path (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In which dialect a provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// In the client's own.
    Pass,
    /// In this one, by a translation.
    Translate(Dialect),
}

/// The way of `operation` to `provider`; `None`: there is none.
pub fn way(provider: &Provider, operation: Operation) -> Option<Way> {
    use Operation::{Chat, CountTokens, Messages, Responses};
    match (&provider.kind, operation) {
        (_, Operation::Models) => None,
        (ProviderKind::Flow, _) => Some(Way::Pass),
        (ProviderKind::Anthropic { .. }, Messages | CountTokens) => Some(Way::Pass),
        (ProviderKind::Anthropic { .. }, Chat) => Some(Way::Translate(Dialect::Messages)),
        (ProviderKind::Anthropic { .. }, _) => None,
        (ProviderKind::Gemini, Chat | Messages) => Some(Way::Translate(Dialect::Gemini)),
        (ProviderKind::Gemini, _) => None,
        (_, Messages | CountTokens) if provider.speaks.contains(&Speech::Messages) => Some(Way::Pass),
        (_, Messages) => Some(Way::Translate(Dialect::Chat)),
        (_, CountTokens) => None,
        (ProviderKind::OpenAiCompatible, Responses) if !provider.speaks.contains(&Speech::Responses) => None,
        _ => Some(Way::Pass),
    }
}

impl Way {
    /// The dialect towards the provider.
    pub fn dialect(self, operation: Operation) -> Dialect {
        match self {
            Self::Pass => operation.dialect(),
            Self::Translate(dialect) => dialect,
        }
    }
}

/// The version of Azure's API from which on its door for `responses` has one. Without it there is the API `v1`, which has none.
const AZURE_RESPONSES: &str = "2025-03-01";

/// What the body of a request to `provider` calls the model: at Azure's `responses`, whose path names no deployment, that one.
pub fn model_in_body<'a>(provider: &'a Provider, operation: Operation, model: &'a str) -> &'a str {
    match (&provider.kind, operation) {
        (ProviderKind::AzureOpenAi { deployments, .. }, Operation::Responses) => deployment(deployments, model),
        _ => model,
    }
}

fn deployment<'a>(deployments: &'a [(String, String)], model: &'a str) -> &'a str {
    deployments.iter().find(|(name, _)| name == model).map_or(model, |(_, to)| to)
}

/// Path and query of a request to `provider`. `path` and `query` are the client's own.
pub fn target(
    provider: &Provider,
    operation: Operation,
    way: Way,
    model: &str,
    streams: bool,
    path: &str,
    query: Option<&str>,
) -> String {
    let base = &provider.base_path;
    let door = match way.dialect(operation) {
        Dialect::Messages if way != Way::Pass => Operation::Messages.path(),
        Dialect::Chat if way != Way::Pass => Operation::Chat.path(),
        _ => operation.path(),
    };
    let query = query.filter(|query| way == Way::Pass && !query.is_empty());
    let known = || -> String {
        let pairs = query.into_iter().flat_map(|query| query.split('&')).filter(|pair| is_parameter(pair));
        pairs.zip(std::iter::once("?").chain(std::iter::repeat("&"))).flat_map(|(pair, lead)| [lead, pair]).collect()
    };
    match &provider.kind {
        ProviderKind::AzureOpenAi { api_version, deployments } => {
            let deployment = segment(deployment(deployments, model));
            // Words such as `preview` are versions of v1, which needs none.
            let is_dated = api_version.starts_with(|letter: char| letter.is_ascii_digit());
            match operation {
                Operation::Responses if is_dated && &**api_version >= AZURE_RESPONSES => {
                    format!("{base}/openai/responses?api-version={api_version}")
                }
                Operation::Responses => format!("{base}/openai/v1/responses"),
                _ => format!("{base}/openai/deployments/{deployment}/{door}?api-version={api_version}"),
            }
        }
        ProviderKind::Gemini => {
            let model = model.strip_prefix("models/").unwrap_or(model);
            let model = segment(model);
            if streams {
                format!("{base}/models/{model}:streamGenerateContent?alt=sse")
            } else {
                format!("{base}/models/{model}:generateContent")
            }
        }
        ProviderKind::Flow => match query {
            Some(query) => format!("{base}{path}?{query}"),
            None => format!("{base}{path}"),
        },
        _ => format!("{base}/{door}{}", known()),
    }
}

/// Whether a provider gets this of a client's query: what official clients say there, and versions of an API. Anything else
/// would be a word of the client's about what our key pays for.
fn is_parameter(pair: &str) -> bool {
    matches!(pair.split_once('='), Some(("beta" | "api-version", _)))
}

/// A name as one segment of a path; `..` alone would be more than that.
fn segment(name: &str) -> String {
    if name.bytes().all(|byte| byte == b'.') {
        return name.replace('.', "%2E");
    }
    utf8_percent_encode(name, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::ai::KeyPlace;

    fn provider(kind: ProviderKind, base_path: &str, speaks: &[Speech]) -> Provider {
        Provider {
            name: "p".into(),
            kind,
            pool: 0,
            host: None,
            base_path: base_path.to_owned(),
            keys: Vec::new(),
            key_place: KeyPlace::Bearer,
            models: Vec::new(),
            headers: Vec::new(),
            speaks: speaks.to_vec(),
            strip_body_fields: Vec::new(),
            enabled: true,
            lacks: None,
        }
    }

    fn anthropic() -> Provider {
        provider(ProviderKind::Anthropic { version: HeaderValue::from_static("2023-06-01") }, "/v1", &[])
    }

    #[test]
    fn the_same_dialect_passes_and_another_is_translated() {
        let openai = provider(ProviderKind::OpenAi, "/v1", &[]);
        assert_eq!(way(&openai, Operation::Chat), Some(Way::Pass));
        assert_eq!(way(&openai, Operation::Embeddings), Some(Way::Pass));
        assert_eq!(way(&openai, Operation::Messages), Some(Way::Translate(Dialect::Chat)));
        assert_eq!(way(&anthropic(), Operation::Messages), Some(Way::Pass));
        assert_eq!(way(&anthropic(), Operation::Chat), Some(Way::Translate(Dialect::Messages)));
        assert_eq!(way(&anthropic(), Operation::Embeddings), None);
        let gemini = provider(ProviderKind::Gemini, "/v1beta", &[]);
        assert_eq!(way(&gemini, Operation::Chat), Some(Way::Translate(Dialect::Gemini)));
    }

    #[test]
    fn a_server_that_speaks_messages_itself_is_not_translated_for() {
        let vllm = provider(ProviderKind::OpenAiCompatible, "/v1", &[Speech::Messages]);
        assert_eq!(way(&vllm, Operation::Messages), Some(Way::Pass));
        let other = provider(ProviderKind::OpenAiCompatible, "/v1", &[]);
        assert_eq!(way(&other, Operation::Messages), Some(Way::Translate(Dialect::Chat)));
        assert_eq!(way(&other, Operation::Responses), None);
    }

    #[test]
    fn each_kind_has_its_paths() {
        let of = |provider: &Provider, operation, model: &str, streams, query| {
            let way = way(provider, operation).unwrap();
            target(provider, operation, way, model, streams, "/api/v1/ai/chat/completions", query)
        };
        let openai = provider(ProviderKind::OpenAi, "/v1", &[]);
        assert_eq!(of(&openai, Operation::Chat, "gpt-4o", false, None), "/v1/chat/completions");
        assert_eq!(of(&openai, Operation::Messages, "gpt-4o", false, Some("beta=true")), "/v1/chat/completions");
        assert_eq!(of(&anthropic(), Operation::Chat, "claude", true, None), "/v1/messages");
        assert_eq!(of(&anthropic(), Operation::Messages, "claude", true, Some("beta=true")), "/v1/messages?beta=true");
        let odd = "key=mine&beta=true&api_base=http://evil&Beta=1&api-version=2024-05-01&beta";
        assert_eq!(
            of(&anthropic(), Operation::Messages, "claude", true, Some(odd)),
            "/v1/messages?beta=true&api-version=2024-05-01"
        );
        assert_eq!(of(&openai, Operation::Chat, "gpt-4o", false, Some("key=mine&%62eta=true")), "/v1/chat/completions");
        let deployments = vec![("gpt-3.5-turbo".to_owned(), "gpt-35-turbo".to_owned())];
        let azure = ProviderKind::AzureOpenAi { api_version: "2024-10-21".to_owned(), deployments };
        let azure = provider(azure, "", &[]);
        assert_eq!(
            of(&azure, Operation::Chat, "gpt-3.5-turbo", false, None),
            "/openai/deployments/gpt-35-turbo/chat/completions?api-version=2024-10-21"
        );
        for (version, path) in [
            ("2024-10-21", "/openai/v1/responses"),
            ("2025-02-01-preview", "/openai/v1/responses"),
            ("2025-03-01-preview", "/openai/responses?api-version=2025-03-01-preview"),
            ("2026-01-01", "/openai/responses?api-version=2026-01-01"),
            ("preview", "/openai/v1/responses"),
        ] {
            let azure = ProviderKind::AzureOpenAi { api_version: version.to_owned(), deployments: Vec::new() };
            let azure = provider(azure, "", &[]);
            assert_eq!(of(&azure, Operation::Responses, "gpt-4o", false, Some("a=b")), path, "{version}");
        }
        let gemini = provider(ProviderKind::Gemini, "/v1beta", &[]);
        assert_eq!(
            of(&gemini, Operation::Chat, "gemini-2.5-pro", true, None),
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
        );
        let flow = provider(ProviderKind::Flow, "/flow-llm-proxy", &[]);
        assert_eq!(of(&flow, Operation::Chat, "m", false, None), "/flow-llm-proxy/api/v1/ai/chat/completions");
    }

    #[test]
    fn a_models_name_cannot_leave_its_segment() {
        let gemini = provider(ProviderKind::Gemini, "/v1beta", &[]);
        let path = target(&gemini, Operation::Chat, Way::Translate(Dialect::Gemini), "../x?key=1#", false, "/", None);
        assert_eq!(path, "/v1beta/models/..%2Fx%3Fkey%3D1%23:generateContent");
        let azure = ProviderKind::AzureOpenAi { api_version: "v".to_owned(), deployments: Vec::new() };
        let path = target(&provider(azure, "", &[]), Operation::Chat, Way::Pass, "a/../b", false, "/", None);
        assert_eq!(path, "/openai/deployments/a%2F..%2Fb/chat/completions?api-version=v");
    }
}
