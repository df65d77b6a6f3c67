//! What a client is told when nobody served its request: the words for each reason.

use std::time::Duration;

use http::StatusCode;

use crate::ai::dialect::error::Class;
use crate::ai::dialect::translate::Malformed;
use crate::ai::refusal::Refusal;
use crate::observe::Termination;
use crate::observe::ai::TryOutcome;

pub(super) fn limited(provider: &str, wait: Duration) -> Refusal {
    let message =
        format!("the provider {provider} limits the requests of this gateway; the caller's own limits are not reached");
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "PROVIDER_RATE_LIMITED", message, Termination::NoMember)
        .after(seconds(wait))
}

pub(super) fn down(status: StatusCode, class: Class, wait: Option<Duration>) -> Refusal {
    let status = match status.as_u16() {
        500..=599 => status,
        // It blames its client, which is this gateway.
        408 => StatusCode::GATEWAY_TIMEOUT,
        // What is none of a client's statuses, such as a redirect, is a fault of the provider's.
        _ => StatusCode::BAD_GATEWAY,
    };
    let (code, message) = match class {
        Class::Overloaded => ("PROVIDER_OVERLOADED", "the provider is overloaded"),
        Class::Timeout => ("PROVIDER_TIMEOUT", "the provider did not answer in time"),
        _ => ("PROVIDER_ERROR", "the provider failed to serve this request"),
    };
    let refusal = Refusal::new(status, code, message, Termination::UpstreamInvalid);
    match (wait, status) {
        (Some(wait), _) => refusal.after(seconds(wait)),
        (None, StatusCode::SERVICE_UNAVAILABLE) => refusal.after(1),
        _ => refusal,
    }
}

pub(super) fn missed(outcome: TryOutcome) -> Refusal {
    let new = |status, code, message: &'static str, termination| Refusal::new(status, code, message, termination);
    match outcome {
        TryOutcome::ConnectFailure => new(
            StatusCode::BAD_GATEWAY,
            "PROVIDER_UNREACHABLE",
            "the provider could not be reached",
            Termination::UpstreamConnect,
        ),
        TryOutcome::Timeout | TryOutcome::FirstTokenTimeout => new(
            StatusCode::GATEWAY_TIMEOUT,
            "PROVIDER_TIMEOUT",
            "the provider did not answer in time",
            Termination::UpstreamTimeout,
        ),
        TryOutcome::Reset | TryOutcome::Truncated => new(
            StatusCode::BAD_GATEWAY,
            "PROVIDER_DISCONNECTED",
            "the provider closed the connection before its answer was complete",
            Termination::UpstreamReset,
        ),
        _ => new(
            StatusCode::BAD_GATEWAY,
            "PROVIDER_INVALID_ANSWER",
            "the provider sent an answer that cannot be understood",
            Termination::UpstreamInvalid,
        ),
    }
}

pub(super) fn blocked() -> Refusal {
    let message = "something before the provider, such as a firewall, does not let this request through";
    Refusal::new(StatusCode::BAD_GATEWAY, "PROVIDER_BLOCKED", message, Termination::UpstreamInvalid).for_good()
}

/// What is told of an answer that the client's dialect has no words for.
pub(in crate::proxy::ai) fn untold(malformed: &Malformed) -> Refusal {
    let message = format!("the provider's answer cannot be told in this dialect: {malformed}");
    Refusal::new(StatusCode::BAD_GATEWAY, "PROVIDER_INVALID_ANSWER", message, Termination::UpstreamInvalid).for_good()
}

/// Whole seconds, rounded up.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
