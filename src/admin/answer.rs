//! What the admin listener sends: always whole, never cached.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use crate::proxy::local;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: HeaderValue,
    pub(super) body: Bytes,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
}

/// The body of every refusal.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorText,
}

/// What went wrong.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorText {
    /// For people.
    pub message: String,
    /// One word for programs, such as `not_found`.
    pub code: String,
}

impl Answer {
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self { status, content_type, body: body.into(), fields: Vec::new() }
    }

    /// `value` as JSON.
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        // Maps with keys that are no text are all that cannot be written, and there are none.
        Self::new(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
    }

    pub(super) fn error(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let error = ErrorText { message: message.into(), code: code.to_owned() };
        Self::json(status, &ErrorBody { error })
    }

    pub(super) fn bad_request(message: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::error(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", format!("a body has at most {limit} bytes here"))
    }

    pub(super) fn too_slow() -> Self {
        Self::error(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time")
    }

    pub(super) fn timed_out() -> Self {
        let message = "not done in time; what was asked for may still happen";
        Self::error(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.fields.push((name, HeaderValue::from_static(value)));
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, self.content_type);
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in self.fields {
            fields.append(name, value);
        }
        response
    }
}

impl From<local::Answer> for Answer {
    fn from(answer: local::Answer) -> Self {
        Self {
            status: answer.status,
            content_type: answer.content_type,
            body: answer.body,
            // `into_response` says no-store by itself.
            fields: answer.fields.into_iter().filter(|(name, _)| name != header::CACHE_CONTROL).collect(),
        }
    }
}
