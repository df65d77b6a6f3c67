//! Refusals, each in the words and the shape of the provider that is played.

use std::time::Duration;

use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::door::Shape;
use super::json::{self, ANTHROPIC, GEMINI, OPENAI};
use super::ratelimit;
use crate::mock::answer::{self, Answer, Payload};
use crate::mock::faults::{Flavour, Refusal};

/// Why a request is refused, before it has a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) status: u16,
    message: String,
    param: Option<String>,
    /// After which time a limit is over.
    pub(super) reset: Option<Duration>,
}

/// The kinds that providers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invalid,
    Missing,
    Key,
    NoKey,
    Forbidden,
    Quota,
    Credit,
    Model,
    Path,
    TooLarge,
    Limited,
    Context,
    Filter,
    Overloaded,
    Timeout,
    Internal,
}

/// Whose shape an error has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) shape: Shape,
    pub(super) flavour: Flavour,
}

impl Trouble {
    fn new(kind: Kind, status: u16, message: impl Into<String>) -> Self {
        Self { kind, status, message: message.into(), param: None, reset: None }
    }

    /// 400, in these words.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, 400, message)
    }

    /// 400 about one field.
    pub(super) fn about(param: &str, message: impl Into<String>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::invalid(message) }
    }

    /// 400 for a field that OpenAI must have.
    pub(super) fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self { kind: Kind::Missing, ..Self::about(param, message) }
    }

    /// 400 for a body that is no JSON object.
    pub(super) fn no_json(shape: Shape) -> Self {
        Self::invalid(match shape {
            Shape::Anthropic => "The request body is not valid JSON",
            Shape::Gemini => "Invalid JSON payload received. Unexpected end of string.",
            Shape::OpenAi | Shape::Azure => {
                "We could not parse the JSON body of your request. The API expects a JSON payload."
            }
        })
    }

    pub(super) fn method(method: &Method) -> Self {
        Self::new(Kind::Invalid, 405, format!("Not allowed to {method} on this path."))
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(Kind::Path, 404, "Not Found")
    }

    pub(super) fn no_such_model(model: &str) -> Self {
        Self::new(Kind::Model, 404, format!("The model `{model}` does not exist or you do not have access to it."))
    }

    pub(super) fn key() -> Self {
        Self::new(Kind::Key, 401, "Incorrect API key provided.")
    }

    pub(super) fn no_key() -> Self {
        Self::new(Kind::NoKey, 401, "You didn't provide an API key.")
    }

    /// 429 until `reset` is over.
    pub(super) fn limited(reset: Duration, model: &str) -> Self {
        let message = format!(
            "Rate limit reached for {model} in organization org-mock on requests per min (RPM): Limit 500, Used 500, \
             Requested 1. Please try again in {}.",
            ratelimit::go_duration(reset)
        );
        Self { reset: Some(reset), ..Self::new(Kind::Limited, 429, message) }
    }

    /// What a provider means by a status.
    pub(super) fn of_status(status: u16) -> Self {
        let (kind, message) = match status {
            401 => (Kind::Key, "Incorrect API key provided."),
            402 => (Kind::Quota, "Your credit balance is too low to access the API."),
            403 => (Kind::Forbidden, "You have insufficient permissions for this operation."),
            404 => (Kind::Model, "The requested model does not exist."),
            408 | 504 => (Kind::Timeout, "The request timed out."),
            413 => (Kind::TooLarge, "Request exceeds the maximum size"),
            429 => return Self::limited(Duration::from_secs(1), "the model"),
            503 | 529 => (Kind::Overloaded, "The server is currently overloaded. Please try again later."),
            400..500 => (Kind::Invalid, "The request is not valid."),
            _ => (Kind::Internal, "The server had an error while processing your request. Sorry about that!"),
        };
        let reset = (status == 503).then_some(Duration::from_secs(1));
        Self { reset, ..Self::new(kind, status, message) }
    }

    /// A refusal as this provider has it.
    pub(super) fn of_refusal(refusal: Refusal, shape: Shape, model: &str) -> Self {
        match refusal {
            Refusal::Key if shape == Shape::Gemini => Self { status: 400, ..Self::key() },
            Refusal::Key => Self::key(),
            Refusal::Forbidden => Self::of_status(403),
            Refusal::Quota => {
                let message = "You exceeded your current quota, please check your plan and billing details.";
                let status = if shape == Shape::Anthropic { 402 } else { 429 };
                Self::new(Kind::Quota, status, message)
            }
            Refusal::Credit if shape == Shape::Anthropic => {
                let message = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to \
                               upgrade or purchase credits.";
                Self::new(Kind::Credit, 400, message)
            }
            Refusal::Credit => Self::new(Kind::Credit, 400, "Billing hard limit has been reached"),
            Refusal::Model => Self::no_such_model(model),
            Refusal::Context => {
                let message = "This model's maximum context length is 8192 tokens. However, your messages resulted in \
                               9000 tokens. Please reduce the length of the messages.";
                Self { kind: Kind::Context, ..Self::about("messages", message) }
            }
            Refusal::Filter => {
                let message = "The response was filtered due to the prompt triggering the content management policy.";
                Self { kind: Kind::Filter, ..Self::about("prompt", message) }
            }
            Refusal::Overloaded if shape == Shape::Anthropic => Self::of_status(529),
            Refusal::Overloaded => Self::of_status(503),
        }
    }

    /// The answer. `listed` is for Gemini's streams that are arrays.
    pub(super) fn answer(&self, manner: Manner, number: u64, listed: bool) -> Answer {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = self.body(manner, number);
        let body = if listed { format!("[{body}\n]\n") } else { body };
        let mut answer: Answer = answer::typed(status, "application/json", body);
        ratelimit::of_trouble(self, manner, answer.headers_mut());
        answer
    }

    /// The body of the answer, which is also what an event carries that ends a stream.
    pub(super) fn body(&self, manner: Manner, number: u64) -> String {
        match (manner.shape, manner.flavour) {
            (Shape::OpenAi, Flavour::OpenAi) => json::written(&self.openai(), OPENAI),
            (Shape::OpenAi, Flavour::Vllm { .. }) => json::written(&self.vllm(), OPENAI),
            (Shape::OpenAi, Flavour::JaiRouter) => {
                super::jairouter::documented_body(self.status, &self.message).to_string()
            }
            (Shape::Azure, _) => json::written(&self.azure(), OPENAI),
            (Shape::Anthropic, Flavour::Vllm { messages: false }) => json!({"detail": self.message}).to_string(),
            (Shape::Anthropic, _) => json::written(&self.anthropic(number), ANTHROPIC),
            (Shape::Gemini, _) => json::written(&self.gemini(), GEMINI),
        }
    }

    /// OpenAI's `type` and `code`.
    fn openai_kind(&self) -> (&'static str, Value) {
        let invalid = "invalid_request_error";
        match self.kind {
            Kind::Invalid | Kind::Path | Kind::TooLarge => (invalid, Value::Null),
            Kind::NoKey => (invalid, Value::Null),
            Kind::Missing => (invalid, "missing_required_parameter".into()),
            Kind::Key => (invalid, "invalid_api_key".into()),
            Kind::Forbidden => (invalid, "missing_scope".into()),
            Kind::Quota => ("insufficient_quota", "insufficient_quota".into()),
            Kind::Credit => (invalid, "billing_hard_limit_reached".into()),
            Kind::Model => (invalid, "model_not_found".into()),
            Kind::Limited => ("requests", "rate_limit_exceeded".into()),
            Kind::Context => (invalid, "context_length_exceeded".into()),
            Kind::Filter => (invalid, "content_policy_violation".into()),
            Kind::Overloaded | Kind::Timeout | Kind::Internal => ("server_error", Value::Null),
        }
    }

    fn openai(&self) -> Value {
        let (kind, code) = self.openai_kind();
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": code}})
    }

    fn vllm(&self) -> Value {
        let kind = match self.kind {
            Kind::Model | Kind::Path => "NotFoundError",
            Kind::Key | Kind::NoKey => return json!({"error": "Unauthorized"}),
            Kind::Overloaded | Kind::Timeout | Kind::Internal => "InternalServerError",
            Kind::Limited | Kind::Quota | Kind::Credit => "RateLimitError",
            _ => "BadRequestError",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.status}})
    }

    fn azure(&self) -> Value {
        let error = match self.kind {
            Kind::Key | Kind::NoKey => json!({
                "code": "401",
                "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a \
                            valid key for an active subscription and use a correct regional API endpoint for your resource.",
            }),
            Kind::Model => json!({
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist. If you created the deployment within the \
                            last 5 minutes, please wait a moment and try again.",
            }),
            Kind::Limited => json!({
                "code": "429",
                "message": format!(
                    "Requests to the ChatCompletions_Create Operation have exceeded the token rate limit of your pricing \
                     tier. Please retry after {} seconds.", self.reset.map_or(1, ratelimit::seconds)),
            }),
            Kind::Filter => json!({
                "message": self.message, "type": null, "param": "prompt", "code": "content_filter", "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {
                        "hate": {"filtered": false, "severity": "safe"}, "violence": {"filtered": true, "severity": "high"},
                    },
                },
            }),
            Kind::Path => json!({"code": "404", "message": "Resource not found"}),
            _ => return self.openai(),
        };
        json!({"error": error})
    }

    fn anthropic(&self, number: u64) -> Value {
        let kind = match (self.kind, self.status) {
            (_, 413) => "request_too_large",
            (Kind::Key | Kind::NoKey, _) => "authentication_error",
            (Kind::Forbidden, _) => "permission_error",
            (Kind::Quota, _) => "billing_error",
            (Kind::Model | Kind::Path, _) => "not_found_error",
            (Kind::Limited, _) => "rate_limit_error",
            (Kind::Overloaded, _) => "overloaded_error",
            (Kind::Timeout, _) => "timeout_error",
            (Kind::Internal, _) => "api_error",
            _ => "invalid_request_error",
        };
        let message = match kind {
            "authentication_error" => "invalid x-api-key",
            "overloaded_error" => "Overloaded",
            "api_error" => "Internal server error",
            _ => &self.message,
        };
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": format!("req_mock{number}")})
    }

    fn gemini(&self) -> Value {
        let status = match (self.kind, self.status) {
            (Kind::Key | Kind::NoKey, 400) => "INVALID_ARGUMENT",
            (Kind::Key | Kind::NoKey, _) => "UNAUTHENTICATED",
            (Kind::Forbidden, _) => "PERMISSION_DENIED",
            (Kind::Model | Kind::Path, _) => "NOT_FOUND",
            (Kind::Limited | Kind::Quota | Kind::Credit, _) => "RESOURCE_EXHAUSTED",
            (Kind::Overloaded, _) => "UNAVAILABLE",
            (Kind::Timeout, _) => "DEADLINE_EXCEEDED",
            (Kind::Internal, _) => "INTERNAL",
            _ => "INVALID_ARGUMENT",
        };
        let message = match (self.kind, self.status) {
            (Kind::Key, 400) => "API key not valid. Please pass a valid API key.",
            (Kind::Overloaded, _) => "The model is overloaded. Please try again later.",
            _ => &self.message,
        };
        let mut error = json!({"code": self.status, "message": message, "status": status});
        if self.kind == Kind::Key && self.status == 400 {
            error["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"},
            }]);
        }
        if let (Kind::Limited, Some(reset)) = (self.kind, self.reset) {
            error["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}s", ratelimit::seconds(reset)),
            }]);
        }
        json!({"error": error})
    }

    /// The `code` and the message that OpenAI's responses end with when they fail.
    pub(super) fn of_response(&self) -> (&'static str, &str) {
        let code = match self.kind {
            Kind::Limited | Kind::Quota | Kind::Credit => "rate_limit_exceeded",
            Kind::Invalid | Kind::Missing | Kind::Context | Kind::Filter => "invalid_prompt",
            _ => "server_error",
        };
        (code, &self.message)
    }
}

/// An answer without a content type.
pub(super) fn untyped(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Payload::Whole(body.into()));
    *answer.status_mut() = status;
    answer
}
