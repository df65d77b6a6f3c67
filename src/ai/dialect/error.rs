//! Errors: what a provider says is wrong -> what it means here, and what a client is told -> bytes in its own dialect.
//!
//! **Invariant:** of what a provider says, a client reads only what concerns its own request, and never what looks like a
//! key, an address or an account of ours. Everything else is said in words of ours.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use super::Dialect;
use crate::ai::sse::write_event;

pub use passed::passed;
pub use read::read;
pub use redact::without;

mod passed;
mod read;
mod redact;
#[cfg(test)]
mod tests;

/// What is wrong, as far as it matters for what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The key is not taken.
    Auth,
    /// The key may not do this, such as ask for this model.
    Forbidden,
    /// The key may not be used at this door, which says nothing of the others.
    OutOfScope,
    /// Something before the provider, such as a firewall, did not let the request through, which says nothing of the key.
    Blocked,
    /// The key, or all of them, ask too often.
    RateLimited,
    /// This request alone is more than the provider takes of the gateway within a minute: it never fits, however long one waits.
    OverLimit,
    /// The provider, as it was started, takes no such request, such as one with a picture.
    Unsupported,
    /// What the key may spend is spent.
    QuotaExhausted,
    /// The provider has no room at the moment.
    Overloaded,
    /// The provider gave up waiting, for itself or for the request.
    Timeout,
    /// The request is wrong.
    BadRequest,
    /// There is no such model, or no such thing.
    NotFound,
    /// The request is too large.
    TooLarge,
    /// The provider does not want to answer this.
    ContentFilter,
    /// The provider failed.
    Server,
    /// Nobody can tell.
    Unknown,
}

impl Class {
    /// The status that stands for it where the provider gave none, as inside a stream.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Auth => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::OutOfScope => StatusCode::FORBIDDEN,
            Self::RateLimited | Self::OverLimit | Self::QuotaExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BadRequest | Self::Unsupported | Self::ContentFilter => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Server | Self::Blocked | Self::Unknown => StatusCode::BAD_GATEWAY,
        }
    }

    /// Its word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth | Self::Forbidden | Self::OutOfScope => "auth",
            Self::Blocked => "blocked",
            Self::RateLimited => "rate_limited",
            Self::OverLimit => "over_limit",
            Self::Unsupported => "unsupported",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::BadRequest => "bad_request",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::ContentFilter => "content_filter",
            Self::Server => "server",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it lies in the request, so that no other provider would do better.
    pub const fn is_callers(self) -> bool {
        matches!(self, Self::BadRequest | Self::NotFound | Self::TooLarge | Self::ContentFilter)
    }
}

/// What a provider said is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError {
    /// What it means.
    pub class: Class,
    /// In the provider's words, made safe; only where it concerns the client's own request.
    pub message: Option<String>,
    /// In the provider's words, made safe, for the operator.
    pub said: Option<String>,
    code: &'static str,
}

impl ProviderError {
    /// A stable word for programs: the provider's own where clients know it, else one for the class.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The same without `key`, whatever that looks like.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        for text in [&mut self.message, &mut self.said].into_iter().flatten() {
            redact::take_out(text, key);
        }
        self
    }
}

/// What a client is told.
#[derive(Debug, Clone, Copy)]
pub struct ErrorText<'a> {
    /// The status of the answer, or the one that would have been.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'a str,
    /// A sentence for people.
    pub message: &'a str,
    /// The member of the request that is wrong.
    pub param: Option<&'a str>,
    /// The id of the request.
    pub request_id: &'a str,
}

/// The body of an answer that is an error.
pub fn render(dialect: Dialect, text: &ErrorText<'_>) -> Bytes {
    let request_id = Some(text.request_id).filter(|id| !id.is_empty());
    json(&match dialect {
        Dialect::Messages => Shape::Anthropic(Anthropic::new(text, request_id)),
        _ => Shape::OpenAi(OpenAi { error: Error::new(text, request_id) }),
    })
    .into()
}

/// The event that ends a stream which cannot go on (row C22). Of Responses, as number `number`, and where the provider itself
/// said so, with its own `word`.
pub fn event<'a>(dialect: Dialect, text: &ErrorText<'a>, number: u64, word: Option<&'a str>) -> Bytes {
    let mut out = Vec::with_capacity(256);
    match dialect {
        Dialect::Messages => write_event(&mut out, Some("error"), &json(&Anthropic::new(text, None))),
        Dialect::Responses => write_event(&mut out, Some("error"), &json(&ResponsesEvent::new(text, number, word))),
        _ => write_event(&mut out, None, &json(&OpenAi { error: Error::new(text, None) })),
    }
    out.into()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Plain strings and numbers always have a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shape<'a> {
    OpenAi(OpenAi<'a>),
    Anthropic(Anthropic<'a>),
}

#[derive(Serialize)]
struct OpenAi<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl<'a> Error<'a> {
    fn new(text: &ErrorText<'a>, request_id: Option<&'a str>) -> Self {
        let kind = match text.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        Self { message: text.message, kind, param: text.param, code: text.code, request_id }
    }
}

#[derive(Serialize)]
struct Anthropic<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<AnthropicDetails>,
}

/// By this, Anthropic's SDK knows that it has to send a conversation whole, without `thread`, and does so.
#[derive(Serialize)]
struct AnthropicDetails {
    error_code: &'static str,
    unsupported: [&'static str; 1],
}

const NO_THREADS: AnthropicDetails =
    AnthropicDetails { error_code: "thread_unsupported_request", unsupported: ["model"] };

impl<'a> Anthropic<'a> {
    fn new(text: &ErrorText<'a>, request_id: Option<&'a str>) -> Self {
        let kind = match text.status.as_u16() {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            504 => "timeout_error",
            503 | 529 => "overloaded_error",
            _ => "api_error",
        };
        let details = (text.param == Some("thread")).then_some(NO_THREADS);
        Self { kind: "error", error: AnthropicError { kind, message: text.message, details }, request_id }
    }
}

/// The event `error` of Responses. The standard has its fields at the top, and OpenAI's own are so: its SDKs yield them as
/// events. What the gateway says for itself has them in `error` too, for then they raise it.
#[derive(Serialize)]
struct ResponsesEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    code: &'a str,
    message: &'a str,
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

impl<'a> ResponsesEvent<'a> {
    fn new(text: &ErrorText<'a>, sequence_number: u64, word: Option<&'a str>) -> Self {
        let error = word.is_none().then(|| Error::new(text, None));
        let code = word.unwrap_or(text.code);
        Self { kind: "error", sequence_number, code, message: text.message, param: text.param, error }
    }
}
