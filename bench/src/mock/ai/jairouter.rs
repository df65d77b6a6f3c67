//! JAiRouter's error bodies (F07, F08), and the page that a balancer before a provider sends.

use http::StatusCode;
use serde_json::{Value, json};

use super::error;
use crate::mock::answer::{self, Answer};
use crate::mock::faults::ErrorShape;

/// One of the error bodies, with the ordered status where the shape leaves it open.
pub(in crate::mock) fn failure(shape: ErrorShape, status: Option<StatusCode>) -> Answer {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match shape {
        ErrorShape::Router => {
            let status = status.unwrap_or(unavailable);
            answer::json(status, &router("No healthy instance for the requested model", status.as_str()))
        }
        ErrorShape::Auth => error::untyped(status.unwrap_or(StatusCode::UNAUTHORIZED), auth().to_string()),
        ErrorShape::Documented => {
            let status = status.unwrap_or(unavailable);
            answer::json(status, &documented_body(status.as_u16(), "The request could not be served"))
        }
        ErrorShape::Fallback => answer::typed(status.unwrap_or(unavailable), "application/json", FALLBACK),
        ErrorShape::OkFalse => answer::json(StatusCode::OK, &router("Service rate limit exceeded", "500")),
        ErrorShape::Html => {
            let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
            let body = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
            answer::typed(status, "text/html", body)
        }
    }
}

/// What the same errors are inside of a stream that began well (F06).
pub(super) fn in_stream(shape: ErrorShape) -> String {
    match shape {
        ErrorShape::Router | ErrorShape::OkFalse => router("Service rate limit exceeded", "500").to_string(),
        ErrorShape::Auth => auth().to_string(),
        ErrorShape::Documented => documented_body(503, "The request could not be served").to_string(),
        ErrorShape::Fallback | ErrorShape::Html => FALLBACK.to_owned(),
    }
}

const FALLBACK: &str = "Service is currently degraded, please try again later";

fn router(message: &str, code: &str) -> Value {
    let timestamp = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    json!({"success": false, "message": message, "errorCode": code, "timestamp": timestamp})
}

fn auth() -> Value {
    let message = "请求缺少认证信息，请提供X-API-Key";
    json!({"error": {"message": message, "type": "authentication_error", "code": "AUTH_MISSING"}})
}

/// The documented shape.
pub(super) fn documented_body(status: u16, message: &str) -> Value {
    let kind = match status {
        404 => "not_found",
        429 => "rate_limit_exceeded",
        500 => "internal_error",
        503 => "service_unavailable",
        _ => "invalid_request",
    };
    json!({"error": {"message": message, "type": kind, "code": kind.to_uppercase(), "details": {}}})
}
