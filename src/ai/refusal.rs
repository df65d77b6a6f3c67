//! What a client of an AI door is told when there is no answer: in its own dialect, and whose fault it is.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::dialect::Dialect;
use super::dialect::error::{self, ErrorText};
use crate::observe::Termination;

const NO_RETRY: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"));
const X_CIRCUIT_BREAKER: HeaderName = HeaderName::from_static("x-circuit-breaker");
const X_PROVIDER: HeaderName = HeaderName::from_static("x-provider");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Whose words an error is.
const SLUICEGATE: HeaderValue = HeaderValue::from_static("sluicegate");

/// The longest that a client is let wait for another try of its own accord, in seconds.
const LONGEST_WAIT: u64 = 60;

/// The official clients of OpenAI and Anthropic obey Retry-After, some for days, while their callers hear nothing. For a
/// longer wait they are told that another try is their caller's to decide.
pub fn give_up_after(seconds: u64) -> Option<(HeaderName, HeaderValue)> {
    (seconds > LONGEST_WAIT).then_some(NO_RETRY)
}

/// Why a request on an AI door has no answer. Nothing in it comes from a provider's secrets or addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// Seconds after which it is worth to try again.
    pub retry_after: Option<u64>,
    /// How the request ended.
    pub termination: Termination,
    more: Option<Box<More>>,
}

/// What few refusals have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct More {
    /// The member of the request that is wrong.
    param: Option<Cow<'static, str>>,
    /// Whose breaker is open (row B12).
    open: Option<Arc<str>>,
    /// Another try would end the same way.
    final_word: bool,
    /// The provider's own word for what is wrong, where it said so in a stream.
    word: Option<&'static str>,
    /// A provider's own error body in the client's dialect, passed on as it is.
    passed: Option<(HeaderValue, Bytes)>,
}

impl Refusal {
    /// A refusal for a reason that lies in the request.
    pub fn of_request(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, code, message, Termination::Rejected)
    }

    /// Any other.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        termination: Termination,
    ) -> Self {
        let message = message.into();
        Self { status, code, message, retry_after: None, termination, more: None }
    }

    /// A fault of the gateway itself.
    pub fn internal() -> Self {
        let message = "the gateway failed to handle the request";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message, Termination::Internal)
    }

    /// The same with a time to wait.
    #[must_use]
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// The same with the member of the request that is wrong.
    #[must_use]
    pub fn param(mut self, param: Option<impl Into<Cow<'static, str>>>) -> Self {
        if let Some(param) = param {
            self.more().param = Some(param.into());
        }
        self
    }

    /// The same with the provider whose breaker is open.
    #[must_use]
    pub fn open(mut self, provider: Arc<str>) -> Self {
        self.more().open = Some(provider);
        self
    }

    /// The same, and another try would end the same way, whatever the status makes clients believe.
    #[must_use]
    pub fn for_good(mut self) -> Self {
        self.more().final_word = true;
        self
    }

    /// Whether this member of the request is what is wrong.
    pub fn is_about(&self, param: &str) -> bool {
        self.more.as_ref().is_some_and(|more| more.param.as_deref() == Some(param))
    }

    /// The same with the provider's own words, where there are any.
    #[must_use]
    pub fn passed(mut self, body: Option<Bytes>) -> Self {
        if let Some(body) = body {
            self.more().passed = Some((JSON, body));
        }
        self
    }

    /// The same with the provider's own word, for the end of a stream in its dialect.
    #[must_use]
    pub fn word(mut self, word: &'static str) -> Self {
        self.more().word = Some(word);
        self
    }

    /// The event that ends a stream of `dialect`, in which `number` events came before.
    pub fn event(&self, dialect: Dialect, request_id: &str, number: u64) -> Bytes {
        error::event(dialect, &self.text(request_id), number, self.more.as_ref().and_then(|more| more.word))
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Whether the provider failed, and not the request.
    pub fn is_of_provider(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// Whether no provider answered at all, not even with an error.
    pub fn is_unanswered(&self) -> bool {
        use Termination::{NoMember, UpstreamConnect, UpstreamReset, UpstreamTimeout};
        matches!(self.termination, NoMember | UpstreamConnect | UpstreamTimeout | UpstreamReset)
    }

    /// The code that the client gets; `None` where it gets a provider's own words.
    pub fn own_code(&self) -> Option<&'static str> {
        let passed = self.more.as_ref().is_some_and(|more| more.passed.is_some());
        (!passed).then_some(self.code)
    }

    /// The words of it, as dialects put them.
    fn text<'a>(&'a self, request_id: &'a str) -> ErrorText<'a> {
        ErrorText {
            status: self.status,
            code: self.code,
            message: &self.message,
            param: self.more.as_ref().and_then(|more| more.param.as_deref()),
            request_id,
        }
    }

    /// The type and the bytes of the answer in `dialect`.
    pub fn body(&self, dialect: Dialect, request_id: &str) -> (HeaderValue, Bytes) {
        let rendered = || (JSON, error::render(dialect, &self.text(request_id)));
        self.more.as_ref().and_then(|more| more.passed.clone()).unwrap_or_else(rendered)
    }

    /// The fields that its answer gets.
    pub fn fields(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = vec![(header::SERVER, SLUICEGATE), (header::CACHE_CONTROL, NO_STORE)];
        if let Some(seconds) = self.retry_after {
            fields.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
            fields.extend(give_up_after(seconds));
        }
        if self.more.as_ref().is_some_and(|more| more.final_word) {
            fields.push(NO_RETRY);
        }
        if let Some(provider) = self.more.as_ref().and_then(|more| more.open.as_ref()) {
            fields.push((X_CIRCUIT_BREAKER, HeaderValue::from_static("open")));
            fields.extend(HeaderValue::from_str(provider).ok().map(|name| (X_PROVIDER, name)));
        }
        fields
    }
}
